"""What training has recorded over its finished epochs."""

import math
from dataclasses import dataclass, field, replace

import numpy as np


def joined(before, after, lists, in_place):
    """name -> the list of that name of `before`, followed by that of `after`.

    In place the former grow, as a copy in each of many calls would cost the square of
    their number.
    """
    grown = {name: getattr(before, name) for name in lists}
    if not in_place:
        grown = {name: list(values) for name, values in grown.items()}
    for name, values in grown.items():
        values.extend(getattr(after, name))
    return grown


@dataclass
class History:
    """What training has recorded over its finished epochs.

    Parameters
    ----------
    loss_curve : list of float
        Loss of each epoch: the mean over its samples of the loss of their batch
        before that batch's update, penalty included.
    best_loss : float
        Smallest loss of an epoch.
    validation_scores : list of float
        Score of the rows set aside after each epoch; empty without early stopping.
    best_validation_score : float
        Largest of them.
    no_improvement_count : int
        Epochs since the loss last fell, or the score rose, by `tol`.
    n_iter : int
        Number of epochs.
    t : int
        Number of samples seen.
    """

    loss_curve: list[float] = field(default_factory=list)
    best_loss: float = math.inf
    validation_scores: list[float] = field(default_factory=list)
    best_validation_score: float = -math.inf
    no_improvement_count: int = 0
    n_iter: int = 0
    t: int = 0

    def add(self, loss, n_samples):
        """Record an epoch of `n_samples` samples."""
        self.loss_curve.append(np.float64(loss))  # as scikit-learn's users expect
        self.n_iter += 1
        self.t += n_samples

    def next_call(self, counts_on):
        """For another call: it judges by the same best loss, and its lists are empty.

        Epochs are counted on from this history's, or from 0.
        """
        n_iter = self.n_iter if counts_on else 0
        return replace(
            self,
            loss_curve=[],
            validation_scores=[],
            best_validation_score=-math.inf,
            n_iter=n_iter,
        )

    def joined_to(self, before, in_place):
        """This history with the lists of the calls before in front of its own."""
        lists = "loss_curve", "validation_scores"
        return replace(self, **joined(before, self, lists, in_place))

    def judge_loss(self, tol):
        """Count the epoch unless its loss improves on the best by `tol`."""
        loss = self.loss_curve[-1]
        self._count(loss > self.best_loss - tol)
        self.best_loss = min(self.best_loss, loss)

    def judge_score(self, score, tol):
        """Count the epoch unless `score` improves by `tol`; whether it is the best."""
        self.validation_scores.append(score)
        self._count(score < self.best_validation_score + tol)
        is_best = score > self.best_validation_score
        if is_best:
            self.best_validation_score = score
        return is_best

    def _count(self, stays):
        self.no_improvement_count = self.no_improvement_count + 1 if stays else 0
