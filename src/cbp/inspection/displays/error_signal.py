"""How large delta is in each layer: over the samples, or over the epochs."""

import numpy as np

from cbp.inspection.displays.plotting import (
    axes_for,
    bare,
    label_layers,
    lines_by_layer,
    set_title,
    whole_decades,
)
from cbp.inspection.displays.wording import LEAST_CHANGE, change, fold, percent, short
from cbp.inspection.samples import backprop_of, record_of, unit_of

#: The strip of a layer: quantiles between which a bar lies, its height, its grey.
BARS = ((0, 6, 0.16, "0.8"), (1, 5, 0.44, "0.65"), (2, 4, 0.72, "0.45"))
MEDIAN = 3


class ErrorSignalDisplay:
    """The sizes of the error signals delta^l = dC_0/dz^l, layer by layer.

    Of samples, it shows how |delta^l| is distributed over samples and nodes: a strip
    for each layer, from quantiles of all the values that are not zero, and the share of
    those that are. Of a record, the size of delta^l in each epoch: a line for each
    layer.

    Parameters
    ----------
    quantiles : array-like of shape (L, 7), default=None
        Of |delta^l| where it is not zero, at `LEVELS`; nan for a layer without any.
    zero_shares : array-like of shape (L,), default=None
        Share of the values of delta^l that are exactly zero. Goes with `quantiles`.
    delta_norms : array-like of shape (n_epochs, L), default=None
        Root mean square of delta^l in each epoch. Instead of `quantiles`.
    unit : str, default='epoch'
        What one value of a record stands for: an epoch, or an iteration of L-BFGS.

    Attributes
    ----------
    LEVELS : tuple of 7 floats
        The levels of the quantiles.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    bars_ : list of L lists of BarContainer
        The bars of each layer, outermost first; empty where all is zero.
    medians_ : list of L LineCollection or None
    zero_labels_ : list of L Text
        How many are zero, to the right of each strip.
    lines_ : list of L Line2D
        With `delta_norms`.
    labels_ : list of L Annotation
        The names of the lines.

    Raises
    ------
    ValueError
        Unless either the first two or `delta_norms` are given.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from cbp import ErrorSignalDisplay, MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier((5,), solver="lbfgs", max_iter=1000, random_state=0)
    >>> display = ErrorSignalDisplay.from_estimator(clf.fit(X, y), X, y)
    >>> display.quantiles.shape
    (2, 7)
    >>> plt.close(display.figure_)
    """

    LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)

    def __init__(
        self, *, quantiles=None, zero_shares=None, delta_norms=None, unit="epoch"
    ):
        if (quantiles is None) != (zero_shares is None) or (
            (quantiles is None) == (delta_norms is None)
        ):
            raise ValueError(
                "Give quantiles with zero_shares, or delta_norms alone; "
                "from_estimator finds them."
            )
        self.quantiles = _floats(quantiles)
        self.zero_shares = _floats(zero_shares)
        self.delta_norms = _floats(delta_norms)
        self.unit = unit

    @classmethod
    def from_estimator(cls, estimator, X=None, y=None, *, ax=None):
        """Draw the error signals of samples, or those that a fit has recorded.

        Parameters
        ----------
        estimator : Network or fitted MLPEstimator, MLPClassifier, MLPRegressor
        X : {array-like, sparse matrix} of shape (n, n_0), default=None
            None, with y: what ``fit`` has recorded with ``record="summary"``.
        y : array-like, default=None
            Labels or numbers, as for `fit`.
        ax : matplotlib Axes, default=None
            None: axes of their own.

        Returns
        -------
        display : ErrorSignalDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is neither an estimator of this package nor a Network.
        ValueError
            If only one of X and y is given, they do not fit the model, there is no
            record, or delta is not finite.
        ImportError
            If matplotlib is not installed.
        """
        if X is None and y is None:
            norms = record_of(estimator).delta_norms
            return cls(delta_norms=norms, unit=unit_of(estimator)).plot(ax)
        delta = backprop_of(estimator, X, y).delta[1:]
        sizes = [np.abs(d, dtype=np.float64).ravel() for d in delta]
        display = cls(
            quantiles=[_quantiles(d) for d in sizes],
            zero_shares=[np.mean(d == 0) for d in sizes],
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
        self : ErrorSignalDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if self.quantiles is None:
            self.ax_, self.figure_ = axes_for(self, ax, figsize=(6, 4))
            self._plot_epochs()
        else:
            height = 1.6 + 0.5 * len(self.quantiles)
            self.ax_, self.figure_ = axes_for(self, ax, figsize=(6, height))
            self._plot_strips()
        return self

    def _plot_epochs(self):
        self.lines_ = lines_by_layer(self.ax_, self.delta_norms, self.unit)
        whole_decades(self.ax_.yaxis, self.delta_norms)
        self.labels_ = label_layers(self.ax_, self.delta_norms[-1])
        self.ax_.set_ylabel(r"root mean square of $\delta^l$")
        set_title(self.ax_, _verdict_on_epochs(self.delta_norms))

    def _plot_strips(self):
        n_layers = len(self.quantiles)
        self.bars_ = [self._plot_bars(layer) for layer in range(1, n_layers + 1)]
        self.medians_ = [self._plot_median(layer) for layer in range(1, n_layers + 1)]
        self.zero_labels_ = [
            self.ax_.annotate(
                f"{percent(share)} zero",
                xy=(1.02, layer),
                xycoords=self.ax_.get_yaxis_transform(),
                va="center",
                annotation_clip=False,
            )
            for layer, share in enumerate(self.zero_shares, 1)
        ]
        names = [f"layer {layer}" for layer in range(1, n_layers)] + ["output layer"]
        self.ax_.set_yticks(range(1, n_layers + 1), names)
        self.ax_.set_ylim(0.4, n_layers + 0.6)
        whole_decades(self.ax_.xaxis, self.quantiles)
        self.ax_.set_xlabel(r"$|\delta^l|$ where not zero: median; 50, 90, 98 %")
        set_title(self.ax_, _verdict_on_layers(self.quantiles[:, MEDIAN]))
        self.ax_.tick_params(axis="y", length=0)
        bare(self.ax_)

    def _plot_bars(self, layer):
        """The strip of a layer: nested bars, the inner ones higher and darker."""
        at = self.quantiles[layer - 1]
        if np.isnan(at).any():
            return []
        return [
            self.ax_.barh(layer, at[high] - at[low], height, left=at[low], color=grey)
            for low, high, height, grey in BARS
        ]

    def _plot_median(self, layer):
        median = self.quantiles[layer - 1, MEDIAN]
        if np.isnan(median):
            return None
        return self.ax_.vlines(median, layer - 0.4, layer + 0.4, color="black", lw=2)


def _floats(values):
    return None if values is None else np.asarray(values, dtype=np.float64)


def _quantiles(sizes):
    """The quantiles of |delta^l| where it is not zero; nan if it is everywhere."""
    sizes = sizes[sizes > 0]
    if sizes.size == 0:
        return np.full(len(ErrorSignalDisplay.LEVELS), np.nan)
    return np.quantile(sizes, ErrorSignalDisplay.LEVELS)


def _verdict_on_layers(medians):
    """What the strips show, in a sentence."""
    silent = [str(layer) for layer, m in enumerate(medians, 1) if np.isnan(m)]
    if silent:
        return f"No error signal in layer {', '.join(silent)}"
    if len(medians) == 1:
        return f"Half of all |δ| are below {short(medians[0])}"
    way = f"from layer {len(medians)} to layer 1"
    return f"On its way {way} the median |δ| {change(medians[-1], medians[0])}"


def _verdict_on_epochs(norms):
    """What the lines show, in a sentence."""
    first, last = norms[0], norms[-1]
    if len(norms) == 1 or not (first.all() and last.all()):
        sizes = f"{short(last.min())} to {short(last.max())}"
        return f"In the end the layers' error signals are {sizes}"
    ratios = first / last
    shrinks = ratios >= LEAST_CHANGE
    if shrinks.all():
        return f"Each layer's error signal shrinks, at least {fold(ratios.min())}"
    n_shrunk = np.count_nonzero(shrinks)
    return f"The error signal shrinks in {n_shrunk} of {len(last)} layers"
