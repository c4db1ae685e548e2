"""How large the gradient is in each layer, and how much its steps change."""

import numpy as np

from cbp.inspection.displays.plotting import (
    GLYPHS,
    MARKERS,
    NEGATIVE,
    POSITIVE,
    axes_for,
    bare,
    label_ends,
    label_layers,
    lines_by_layer,
    only_whole_numbers,
    set_title,
    whole_decades,
)
from cbp.inspection.displays.wording import change
from cbp.inspection.samples import backprop_of, record_of, unit_of
from cbp.training.record import root_mean_square

#: Steps that change weights by about 1e-3 of their size train well (Karpathy, CS231n,
#: "Neural Networks Part 3", ratio of weights to updates); a factor of ten either way.
#: A rule of thumb, to judge by eye: `diagnose`, which advises changes, is more patient
#: and speaks only of ratios that mean clear trouble.
HEALTHY = (1e-4, 1e-2)


class GradientFlowDisplay:
    """The sizes of the gradient, layer by layer: does it reach the first ones?

    Of samples, it shows the norms of the gradient and of delta^l in each layer. Of a
    record, above, the norm of the gradient in each epoch, and, below, by how much of
    their size a step changed the weights. A band marks the ratios from 1e-4 to 1e-2,
    which are healthy by a rule of thumb: 1e-3, give or take a factor of ten. `diagnose`
    is more patient and speaks only outside 1e-6 to 5e-2, of clear trouble.

    The gradient is that of the mean loss, without the penalty, whose part would hide
    that no error signal arrives.

    Parameters
    ----------
    grad_norms : array-like of shape (L,) or (n_epochs, L)
        Euclidean norm of dC/dW^l and dC/db^l together, without the penalty's part; in
        each epoch, with `update_ratios`.
    delta_norms : array-like of shape (L,), default=None
        Root mean square of delta^l over samples and nodes.
    update_ratios : array-like of shape (n_epochs, L), default=None
        Norm of the change of W^l in a step over that of W^l. Instead of `delta_norms`.
    unit : str, default='epoch'
        What one value of a record stands for: an epoch, or an iteration of L-BFGS.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With `update_ratios` it is empty, and holds the `axes_`.
    axes_ : list of two matplotlib Axes
        With `update_ratios`: of the norms and of the ratios.
    figure_ : matplotlib Figure
    lines_ : list of Line2D
        Of the gradient and of delta; of a record, of the gradient in each layer.
    labels_ : list of Annotation
        The names of these lines.
    ratio_lines_, ratio_labels_ : lists of L Line2D and of L Annotation
        With `update_ratios`.
    band_ : Patch
        The ratios from 1e-4 to 1e-2, with `update_ratios`.

    Raises
    ------
    ValueError
        Unless one of `delta_norms` and `update_ratios` is given.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from cbp import GradientFlowDisplay, MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier((5,), solver="lbfgs", max_iter=1000, random_state=0)
    >>> display = GradientFlowDisplay.from_estimator(clf.fit(X, y), X, y)
    >>> display.grad_norms.shape
    (2,)
    >>> plt.close(display.figure_)
    """

    def __init__(
        self, *, grad_norms, delta_norms=None, update_ratios=None, unit="epoch"
    ):
        if (delta_norms is None) == (update_ratios is None):
            raise ValueError(
                "Give either delta_norms or update_ratios; from_estimator finds them."
            )
        self.grad_norms = np.asarray(grad_norms, dtype=np.float64)
        self.delta_norms = (
            None if delta_norms is None else np.asarray(delta_norms, dtype=np.float64)
        )
        self.update_ratios = (
            None
            if update_ratios is None
            else np.asarray(update_ratios, dtype=np.float64)
        )
        self.unit = unit

    @classmethod
    def from_estimator(cls, estimator, X=None, y=None, *, ax=None):
        """Draw the gradient of samples, or what a fit has recorded of it.

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
        display : GradientFlowDisplay

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
            record = record_of(estimator)
            display = cls(
                grad_norms=record.grad_norms,
                update_ratios=record.update_ratios,
                unit=unit_of(estimator),
            )
        else:
            result = backprop_of(estimator, X, y)
            display = cls(
                grad_norms=_grad_norms(result),
                delta_norms=[root_mean_square(delta) for delta in result.delta[1:]],
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
        self : GradientFlowDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if self.update_ratios is None:
            self.ax_, self.figure_ = axes_for(self, ax, figsize=(6, 4))
            self._plot_layers()
        else:
            self.ax_, self.figure_ = axes_for(self, ax, figsize=(6, 6))
            self._plot_epochs()
        return self

    def _plot_layers(self):
        ax = self.ax_
        layers = np.arange(1, len(self.grad_norms) + 1)
        norms = np.array([self.grad_norms, self.delta_norms])
        self.lines_ = [
            *ax.plot(layers, norms[0], color=POSITIVE, ls="-", marker=MARKERS[0]),
            *ax.plot(layers, norms[1], color=NEGATIVE, ls="--", marker=MARKERS[1]),
        ]
        whole_decades(ax.yaxis, norms)
        names = [f"{GLYPHS[0]} gradient", rf"{GLYPHS[1]} $\delta^l$"]
        self.labels_ = label_ends(ax, norms[:, -1], names)
        ax.set_xlabel("layer, from the first to the output")
        ax.set_ylabel(r"norm of the gradient, root mean square of $\delta^l$")
        set_title(ax, _verdict_on_layers(self.grad_norms))
        only_whole_numbers(ax.xaxis)
        bare(ax)

    def _plot_epochs(self):
        self.ax_.set_axis_off()
        above = self.ax_.inset_axes((0, 0.56, 1, 0.44))
        below = self.ax_.inset_axes((0, 0, 1, 0.44), sharex=above)
        self.axes_ = [above, below]
        self.lines_ = lines_by_layer(above, self.grad_norms, self.unit)
        whole_decades(above.yaxis, self.grad_norms)
        self.labels_ = label_layers(above, self.grad_norms[-1])
        above.set(xlabel="", ylabel="norm of the gradient")
        above.tick_params(labelbottom=False)
        set_title(above, _verdict_on_epochs(self.update_ratios))
        self.band_ = below.axhspan(*HEALTHY, color="0.9", zorder=0)
        self.ratio_lines_ = lines_by_layer(below, self.update_ratios, self.unit)
        whole_decades(below.yaxis, np.append(self.update_ratios, HEALTHY))
        self.ratio_labels_ = label_layers(below, self.update_ratios[-1])
        below.set_ylabel("update / weights\n(grey: healthy)")


def _grad_norms(result):
    layers = range(1, len(result.delta))
    grads = [result.mean_grads(layer) for layer in layers]
    return [np.hypot(np.linalg.norm(dW), np.linalg.norm(db)) for dW, db in grads]


def _verdict_on_layers(norms):
    """What the norms of the layers show, in a sentence."""
    if not norms.all():
        silent = ", ".join(str(layer) for layer in np.flatnonzero(norms == 0) + 1)
        return f"The gradient is zero in layer {silent}"
    if len(norms) == 1:
        return f"The gradient's norm is {norms[0]:.2g}"
    changes = change(norms[-1], norms[0])
    return f"From layer {len(norms)} to layer 1 the gradient {changes}"


def _verdict_on_epochs(ratios):
    """What the last epoch shows, in a sentence."""
    least, most = HEALTHY
    n_healthy = np.count_nonzero((ratios[-1] >= least) & (ratios[-1] <= most))
    n_layers = ratios.shape[1]
    return f"The last updates of {n_healthy} of {n_layers} layers have a healthy size"
