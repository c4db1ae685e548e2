"""Early stopping: the score of rows set aside judges the epochs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass
class EarlyStopping:
    """Scores the network after each epoch and keeps the best parameters.

    Parameters
    ----------
    score : callable
        Returns the score of the network as it is; nan if it predicts no numbers.
    best_params : ndarray of shape (n_params,) or None, default=None
        Parameters of the best score so far.
    last_params : ndarray of shape (n_params,) or None, default=None
        Where training had got to when the best parameters were put back.
    """

    score: Callable[[], float]
    best_params: np.ndarray | None = None
    last_params: np.ndarray | None = None

    def judge(self, network, history, tol):
        """Score an epoch; returns the score."""
        score = float(self.score())
        if history.judge_score(score, tol):
            self.best_params = network.params_.copy()
        return score

    def restore(self, network):
        """Put the best parameters back into the network."""
        self.last_params = network.params_.copy()
        if self.best_params is not None:
            network.params_ = self.best_params
