"""The loss of each epoch, and the score of the samples set aside, as a picture."""

import numpy as np

from cbp.inspection.displays.plotting import (
    NEGATIVE,
    POSITIVE,
    axes_for,
    bare,
    only_whole_numbers,
    set_title,
)
from cbp.inspection.displays.wording import short
from cbp.inspection.samples import check_model, unit_of


class LossCurveDisplay:
    """The loss of each epoch, with the validation scores if there are any.

    The best epoch is marked: that of the largest score, whose weights early stopping
    keeps; without scores that of the least loss.

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,)
        C of each epoch.
    validation_scores : array-like of shape (n_scores,), default=None
        Scores after each of the last `n_scores` epochs: those before, of an estimator
        that was trained in several calls, were without early stopping.
    unit : str, default='epoch'
        What one value stands for: an epoch, or an iteration of L-BFGS.

    Attributes
    ----------
    best_epoch_ : int
        Counted from 1, as the axis is.
    ax_ : matplotlib Axes
    scores_ax_ : matplotlib Axes or None
        The axes of the scores, which share those of the epochs.
    figure_ : matplotlib Figure
    line_ : Line2D
        The losses.
    scores_line_ : Line2D or None
        The scores.
    best_line_ : Line2D
        The vertical line at the best epoch.
    best_label_ : Text

    Raises
    ------
    ValueError
        If there is no loss, or `validation_scores` holds none or more than losses.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from cbp import LossCurveDisplay, MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier((5,), solver="lbfgs", max_iter=1000, random_state=0)
    >>> display = LossCurveDisplay.from_estimator(clf.fit(X, y))
    >>> display.line_.get_ydata()[-1] == clf.loss_
    np.True_
    >>> plt.close(display.figure_)
    """

    def __init__(self, *, loss_curve, validation_scores=None, unit="epoch"):
        self.loss_curve = np.asarray(loss_curve, dtype=np.float64)
        self.validation_scores = (
            None
            if validation_scores is None
            else np.asarray(validation_scores, dtype=np.float64)
        )
        self.unit = unit
        n_epochs = self.loss_curve.size
        if n_epochs == 0:
            raise ValueError(f"loss_curve=[] holds no {unit}; give one loss at least.")
        if validation_scores is not None and not (
            0 < self.validation_scores.size <= n_epochs
        ):
            raise ValueError(
                f"validation_scores holds {self.validation_scores.size} scores of "
                f"{n_epochs} {unit}s; give one for each of the last, or None."
            )

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Draw the losses that an estimator has kept of its training.

        Parameters
        ----------
        estimator : fitted MLPEstimator, MLPClassifier or MLPRegressor
        ax : matplotlib Axes, default=None
            None: axes of their own.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is no estimator of this package; a Network keeps no losses.
        ValueError
            If its `loss_curve_` is empty: training was interrupted during the first
            epoch, or it was converted from scikit-learn, whose L-BFGS keeps no losses.
        ImportError
            If matplotlib is not installed.
        """
        check_model(estimator)
        if not hasattr(estimator, "loss_curve_"):
            raise TypeError(
                f"estimator is a {type(estimator).__name__} that has no loss_curve_; "
                "give an estimator that its fit has trained."
            )
        unit = unit_of(estimator)
        if len(estimator.loss_curve_) == 0:
            raise ValueError(
                f"loss_curve_=[] holds no {unit}: {_why_empty(estimator)}. Fit again."
            )
        # Without any score if Ctrl-C came before the first.
        display = cls(
            loss_curve=estimator.loss_curve_,
            validation_scores=estimator.validation_scores_ or None,
            unit=unit,
        )
        return display.plot(ax)

    def plot(self, ax=None):
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: axes of their own.

        Returns
        -------
        self : LossCurveDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.ax_, self.figure_ = axes_for(self, ax, figsize=(6, 4))
        self.scores_ax_ = self.scores_line_ = None
        losses = self.loss_curve
        (self.line_,) = self.ax_.plot(self._epochs_of(losses), losses, color="black")
        self.ax_.set(xlabel=self.unit, ylabel="C, the loss")
        self.ax_.set_ylim(bottom=min(0, np.min(losses)))
        set_title(self.ax_, _verdict(losses))
        bare(self.ax_)
        only_whole_numbers(self.ax_.xaxis)
        if self.validation_scores is not None:
            self._plot_scores()
        self._mark_best()
        return self

    def _plot_scores(self):
        scores = self.validation_scores
        self.scores_ax_ = self.ax_.twinx()
        (self.scores_line_,) = self.scores_ax_.plot(
            self._epochs_of(scores), scores, color=POSITIVE, linestyle="--"
        )
        self.scores_ax_.set_ylabel("validation score (dashed)", color=POSITIVE)
        self.scores_ax_.tick_params(axis="y", colors=POSITIVE)
        self.scores_ax_.spines["top"].set_visible(False)

    def _mark_best(self):
        """A vertical line at the best epoch, its value beside it."""
        if self.validation_scores is None:
            values, what, best = self.loss_curve, "least loss", np.argmin
        else:
            values, what, best = self.validation_scores, "best score", np.nanargmax
        at = best(values)
        self.best_epoch_ = int(self._epochs_of(values)[at])
        self.best_line_ = self.ax_.axvline(
            self.best_epoch_, color=NEGATIVE, linestyle=":", zorder=1
        )
        is_late = self.best_epoch_ > len(self.loss_curve) / 2 + 1
        self.best_label_ = self.ax_.annotate(
            f"{what} {short(values[at])},\n{self.unit} {self.best_epoch_}",
            xy=(self.best_epoch_, 0.5),
            xycoords=self.ax_.get_xaxis_transform(),
            xytext=(-5 if is_late else 5, 0),
            textcoords="offset points",
            ha="right" if is_late else "left",
            va="center",
        )

    def _epochs_of(self, values):
        """The epochs of values that end with the last one, counted from 1."""
        n_epochs = len(self.loss_curve)
        return np.arange(n_epochs - len(values), n_epochs) + 1


def _why_empty(estimator):
    if estimator.n_iter_ > 0:
        return f"scikit-learn, where it was fitted, keeps none with {estimator.solver}"
    return "training was interrupted during the first"


def _verdict(losses):
    """What the curve shows, in a sentence."""
    if len(losses) == 1:
        return f"The loss is {short(losses[0])}"
    verb = "falls" if losses[-1] < losses[0] else "does not fall:"
    return f"The loss {verb} from {short(losses[0])} to {short(losses[-1])}"
