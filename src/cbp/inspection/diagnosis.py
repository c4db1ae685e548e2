"""What keeps a network from learning: measured, judged, with advice.

Each check is a function that looks at the `Evidence` and yields findings; `CHECKS`
lists them. The limits are named constants, with the reason for their size.
"""

from dataclasses import dataclass

import numpy as np

from cbp.estimators.base import MLPEstimator
from cbp.formulas.formula import six_digits
from cbp.formulas.tables import html_list, html_table, text_table
from cbp.inspection.evidence import FEW_ROWS, LEFT, Evidence, column_sizes

#: Size of delta^1 over that of delta^L. sigma' is 1/4 at most: five layers of logistic
#: nodes with weights of order 1 come to 1e-3. Upwards, a choice: as far the other way.
VANISHING, EXPLODING = 1e-3, 1e3

#: Share of a layer's nodes that may be dead. A choice, above what is seen in nets that
#: learn well: up to 44 % on the digits, of 16 or 32 relus trained by lbfgs.
DEAD_SHARE = 0.5

#: Share of a layer's nodes and samples that may be saturated. A choice: most of the
#: error signal is blocked.
SATURATED_SHARE = 0.5

#: ||change of W^l|| / ||W^l|| of one step. The rule of thumb of Stanford's CS231n is
#: 1e-3; nets that have been trained come a good deal lower.
SMALL_UPDATE, LARGE_UPDATE = 1e-6, 5e-2

#: Loss over that of the best constant prediction, from which on nothing was learned. A
#: choice: 1 % may be luck.
CHANCE = 0.99

#: Root mean square of a column of X, or of y, beyond which it is not of order 1, for
#: which the first weights are drawn. A choice: scaled columns and pixels of 0 to 1 pass
#: by far.
LARGE_SCALE, SMALL_SCALE = 10.0, 1e-2


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes
    ----------
    name : str
        Which: 'diverging', 'vanishing', 'exploding', 'dead', 'saturated',
        'small updates', 'large updates', 'chance', 'unscaled X', 'unscaled y',
        'cannot overfit'.
    message : str
        What was measured, and where.
    advice : str
        What to do.
    """

    name: str
    message: str
    advice: str


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """The outcome of `diagnose`; shows itself as a report.

    Attributes
    ----------
    findings : list of Finding
        Empty if all is well.
    layers : list of LayerReport
    loss : float
        Mean loss of the samples, without penalty.
    chance_loss : float
        That of the best prediction that is the same for all samples.
    """

    findings: list
    layers: list
    loss: float
    chance_loss: float

    def __repr__(self):
        found = (f"- {f.name}: {f.message} {f.advice}" for f in self.findings)
        return "\n".join(
            [self._loss_line, text_table(*self._table), self._verdict, *found]
        )

    def _repr_html_(self):
        found = html_list((f"{f.name}: {f.message}", f.advice) for f in self.findings)
        table = html_table(*self._table)
        return (
            f"<div><p>{self._loss_line}</p>{table}<p>{self._verdict}</p>{found}</div>"
        )

    @property
    def _loss_line(self):
        return (
            f"Loss {six_digits(self.loss)}; of the best constant prediction "
            f"{six_digits(self.chance_loss)}."
        )

    @property
    def _verdict(self):
        n = len(self.findings)
        return {0: "No findings.", 1: "One finding:"}.get(n, f"{n} findings:")

    @property
    def _table(self):
        header = (
            "layer",
            "nodes",
            "delta",
            "/ above",
            "dead",
            "saturated",
            "update / W",
        )
        return header, [
            (
                str(r.layer),
                str(r.n_nodes),
                _shown(r.delta, "{:.2e}"),
                _shown(r.delta_ratio, "{:.3g}"),
                _shown(r.dead_share, "{:.0%}"),
                _shown(r.saturated_share, "{:.0%}"),
                _shown(r.update_ratio, "{:.1e}"),
            )
            for r in self.layers
        ]


def _shown(value, form):
    return "" if np.isnan(value) else form.format(value)


def diagnose(est, X, y, sample_weight=None):
    """Find out what keeps a fitted network from learning.

    Looks at up to 2048 rows, evenly spaced over those of a weight above 0. Makes copies
    of the estimator train, without its callbacks: one step more on a batch, and anew on
    20 rows, which takes up to 2000 steps.

    Parameters
    ----------
    est : fitted MLPEstimator, MLPClassifier or MLPRegressor
        It is not changed.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        What it was trained on.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    sample_weight : array-like of shape (n_samples,), or number, default=None

    Returns
    -------
    diagnosis : Diagnosis
        ``diagnosis.findings``, what was measured in each layer, and a report.

        - diverging: the loss, penalty included, is not finite, or one more step of the
          solver leads to numbers that are not.
        - vanishing, exploding: the root mean square of delta^1 is below 1e-3, or above
          1e3, of that of delta^L.
        - dead: more than half of a layer's relus are active on no row.
        - saturated: g'(z) of logistic or tanh is below 5 % of its maximum on more than
          half of a layer's nodes and rows.
        - small updates, large updates: a step of the solver changes W^l by less than
          1e-6, or more than 5 %, of its norm. About 1e-3 is healthy. If W^l is 0 there
          is no norm, and no finding.
        - chance: the loss is that of a constant prediction.
        - unscaled X, unscaled y: a column's root mean square is above 10, or those of
          all columns are below 0.01.
        - cannot overfit: training anew on 20 rows does not learn them by heart.

    Raises
    ------
    TypeError
        If `est` is not an estimator of cbp.
    NotFittedError
        If it is not fitted.
    ValueError
        If X, y or the weights do not fit what it was trained on.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from cbp import MLPClassifier, diagnose
    >>> X, y = load_iris(return_X_y=True)
    >>> slow = MLPClassifier((5,), learning_rate_init=1e-9, random_state=0)
    >>> [finding.name for finding in diagnose(slow.fit(X, y), X, y).findings]
    ['small updates', 'small updates', 'chance', 'cannot overfit']
    """
    if not isinstance(est, MLPEstimator):
        raise TypeError(
            f"est is of the type {type(est).__name__}; give a fitted estimator of "
            "cbp. Of a pipeline give the last step, with X as the steps before it "
            "transform it."
        )
    # Where numbers overflow, a finding says so.
    with np.errstate(over="ignore", invalid="ignore"):
        evidence = Evidence(est, X, y, sample_weight)
        return Diagnosis(
            [finding for check in CHECKS for finding in check(evidence)],
            evidence.layers,
            evidence.loss,
            evidence.chance_loss,
        )


# -- checks ------------------------------------------------------------------------


def finite_numbers(evidence):
    if not np.isfinite(evidence.result.loss):
        what = f"The loss, penalty included, is {evidence.result.loss}"
    elif evidence.step_diverges:
        what = "One more step of the solver leads to numbers that are not finite"
    else:
        return
    largest = max(np.abs(W).max() for W in evidence.network.coefs_)
    yield Finding(
        "diverging",
        f"{what}; the largest weight is {largest:.1e}.",
        "Train anew with X and y scaled, a larger alpha, or, with adam and sgd, a "
        "lower learning_rate_init.",
    )


def delta_sizes(evidence):
    """Whether the error signal gets lost, or out of hand, on its way down."""
    deltas = [report.delta for report in evidence.layers]
    if len(deltas) < 2 or not deltas[-1] or evidence.has_dead_layer:
        return
    ratio = deltas[0] / deltas[-1]
    message = (
        f"The root mean square of delta^1 is {ratio:.1e} times that of "
        f"delta^{len(deltas)}: the first layers learn {{}} the last."
    )
    if ratio < VANISHING:
        yield Finding(
            "vanishing",
            message.format("far more slowly than"),
            f"Use activation='relu' instead of {evidence.network.activation!r}, or "
            "fewer hidden layers; scale X.",
        )
    elif ratio > EXPLODING:
        yield Finding(
            "exploding",
            message.format("far more wildly than"),
            "Lower learning_rate_init, raise alpha, or use fewer hidden layers; look "
            "for huge coefs_.",
        )


def dead_nodes(evidence):
    for report in evidence.hidden:
        if report.dead_share > DEAD_SHARE:
            yield Finding(
                "dead",
                f"{round(report.dead_share * report.n_nodes)} of the {report.n_nodes} "
                f"relus of layer {report.layer} are active on none of "
                f"{len(evidence.targets)} rows: no error signal passes them any more.",
                "Lower learning_rate_init and train anew; scale X; or use fewer nodes, "
                "or activation='tanh'.",
            )


def saturated_nodes(evidence):
    for report in evidence.hidden:
        if report.saturated_share > SATURATED_SHARE:
            yield Finding(
                "saturated",
                f"{report.saturated_share:.0%} of the activations of layer "
                f"{report.layer} lie where {evidence.network.activation} is flat.",
                "Scale X to a mean of 0 and a deviation of 1, lower "
                "learning_rate_init, or raise alpha.",
            )


def update_sizes(evidence):
    rate = f"learning_rate_init={evidence.est.learning_rate_init!r}"
    for report in evidence.layers:
        message = (
            f"A step changes W^{report.layer} by {report.update_ratio:.1e} of its "
            "norm; about 1e-3 is healthy."
        )
        # Without error signals, or across a dead layer, no rate makes a step larger.
        learns = report.delta > 0 and not evidence.has_dead_layer
        if report.update_ratio < SMALL_UPDATE and learns:
            yield Finding(
                "small updates", message, f"Raise {rate}; look for huge coefs_."
            )
        # A weight matrix of zeros has no size for a step, of ratio inf, to exceed.
        elif LARGE_UPDATE < report.update_ratio < np.inf:
            yield Finding(
                "large updates",
                message,
                f"Lower {rate}; scale X; lower alpha={evidence.est.alpha!r} if the "
                "weights have shrunk to nearly 0.",
            )


def loss_against_chance(evidence):
    if evidence.chance_loss > 0 and evidence.loss >= CHANCE * evidence.chance_loss:
        yield Finding(
            "chance",
            f"The loss {six_digits(evidence.loss)} is no better than that of the best "
            f"constant prediction, {six_digits(evidence.chance_loss)}.",
            "Train longer (max_iter, tol) or with another learning_rate_init; see the "
            "other findings; else X may say nothing about y.",
        )


def scale_of_X(evidence):
    sizes = column_sizes(evidence.X)
    names = getattr(evidence.est, "feature_names_in_", np.arange(sizes.size))
    largest = int(np.argmax(sizes))
    advice = "Scale the columns: make_pipeline(StandardScaler(), estimator)."
    if sizes[largest] > LARGE_SCALE:
        n_large = np.count_nonzero(sizes > LARGE_SCALE)
        yield Finding(
            "unscaled X",
            f"{n_large} of {sizes.size} columns are far from order 1; the largest, "
            f"column {names[largest]}, has a root mean square of {sizes[largest]:.3g}.",
            advice,
        )
    elif 0 < sizes[largest] < SMALL_SCALE:
        yield Finding(
            "unscaled X",
            f"No column's root mean square is larger than {sizes[largest]:.3g}.",
            advice,
        )


def scale_of_y(evidence):
    if not evidence.network.C_0.y_has_scale:
        return
    size = column_sizes(evidence.targets).max()
    spread = evidence.targets.std(axis=0).max()
    if size > LARGE_SCALE or 0 < spread < SMALL_SCALE:
        yield Finding(
            "unscaled y",
            f"The root mean square of y is {size:.3g}, its deviation {spread:.3g}.",
            "Scale it: TransformedTargetRegressor(estimator, "
            "transformer=StandardScaler()).",
        )


def few_rows(evidence):
    left = evidence.few_rows_loss
    n = min(FEW_ROWS, len(evidence.targets))
    if left >= LEFT:
        outcome = (
            "diverges"
            if left == np.inf
            else f"leaves {left:.0%} of the loss that a constant prediction has"
        )
        yield Finding(
            "cannot overfit",
            f"Training anew on {n} rows alone, without penalty, {outcome}.",
            "Look for rows that are alike but have other y, too small a network, or a "
            "learning_rate_init that is too small or too large; scale X and y.",
        )


CHECKS = (
    *(finite_numbers, delta_sizes, dead_nodes, saturated_nodes, update_sizes),
    *(loss_against_chance, scale_of_X, scale_of_y, few_rows),
)
