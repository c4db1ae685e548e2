"""Losses: all that is known of each, in one record.

Design
------
`Loss` is what the others ask: the reference for C_0 of a sample and its slope, whoever
looks at gradients for the slopes of whole arrays, a network which targets are allowed
and which outputs go with it, an estimator whether it predicts classes.

A loss is canonical with an output activation if delta^L comes to a^L - y: the poles of
dC_0/da (y/a and the like) have cancelled against g'. Only that is computed then.

To add one: a class here, entered in `LOSSES`; in `kernels/simd/simd.h` a line in
CBP_LOSSES and in `kernels/simd/output.h` a case.
"""

import math
from dataclasses import astuple, dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import entr, logsumexp, xlogy

from cbp.functions.activations import OUTPUT_ACTIVATIONS, resolve_activation
from cbp.functions.ieee import exp, log, sum_exp
from cbp.functions.spec import Spec, named, resolve


class Loss(Spec):
    """C_0 of one sample with outputs a = g(z) and targets y.

    Attributes
    ----------
    name : str
        Its shorthand.
    formula, latex : str
        The summand of one output, as text and in LaTeX.
    outputs : tuple of str
        The output activations for which it is defined.
    canonical : tuple of str
        Those for which delta^L = a^L - y.
    classifies : bool
        Whether targets are classes.
    output : str or None
        The output activation of a regressor; a classifier's depends on y.
    y_has_scale : bool
        Whether the targets are numbers that can be scaled: no labels, no counts.
    positive_only : bool
        Whether no target may be negative.
    text : str
        C_0 in a line of an estimator's documentation.
    """

    formula: ClassVar[str]
    latex: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]] = tuple(OUTPUT_ACTIVATIONS)
    canonical: ClassVar[tuple[str, ...]] = ()
    classifies: ClassVar[bool] = False
    output: ClassVar[str | None] = "identity"
    y_has_scale: ClassVar[bool] = True
    positive_only: ClassVar[bool] = False
    text: ClassVar[str]

    @property
    def parameters(self):
        """Its parameters as floats, in the order in which the kernels take them."""
        return tuple(map(float, astuple(self)))

    def is_canonical(self, output):
        """Whether delta^L = a^L - y with this output activation."""
        return output.name in self.canonical

    def takes_codes(self, output):
        """Whether y may be, instead of 0 and 1 of each output, the one that is 1."""
        return False

    def of_output(self, z, a, y):
        """The summand of one output."""
        raise NotImplementedError

    def of_sample(self, output, z, a, y):
        """C_0, of lists z^L, a^L and y."""
        C_0 = 0.0
        for z_j, a_j, y_j in zip(z, a, y, strict=True):
            C_0 += self.of_output(z_j, a_j, y_j)
        return C_0

    def slope(self, a, y):
        """dC_0/da of one output; not asked for where the pair is canonical."""
        raise NotImplementedError

    def slopes(self, output, z, a, y):
        """dC_0/da^L_j of every output node j.

        Parameters
        ----------
        output : Activation
        z, a, y : ndarray of shape (n, n_L)
            z^L, a^L and the targets.

        Returns
        -------
        slopes : ndarray of shape (n, n_L), float64
            Infinite where e^|z| is. What can be computed from z is, so that nothing is
            lost where a has been rounded to 0 or 1.
        """
        arrays = (np.asarray(values, np.float64) for values in (a, y))
        return np.asarray(np.frompyfunc(self.slope, 2, 1)(*arrays), np.float64)

    def check_targets(self, output, y):
        """Raise a ValueError unless C_0 is defined for the targets y (n, n_L)."""

    def of_constant(self, output, y, weight=None):
        """The mean loss of the best prediction that is the same for every sample.

        Parameters
        ----------
        output : Activation
        y : ndarray of shape (n, n_L)
        weight : ndarray of shape (n,), default=None
        """
        raise NotImplementedError


class _Squares(Loss):
    """factor (a - y)^2."""

    factor: ClassVar[float]

    def of_output(self, z, a, y):
        return self.factor * (a - y) * (a - y)

    def slope(self, a, y):
        return 2.0 * self.factor * (a - y)

    def slopes(self, output, z, a, y):
        return 2.0 * self.factor * (np.float64(a) - np.float64(y))

    def of_constant(self, output, y, weight=None):
        mean = np.average(y, axis=0, weights=weight)
        losses = self.factor * (y - mean) ** 2
        return float(np.average(losses.sum(axis=1), weights=weight))


@dataclass
class SquaredError(_Squares):
    """1/2 (a - y)^2."""

    name = "squared_error"
    formula = "1/2 (a - y)^2"
    latex = r"\frac{1}{2} (a - y)^2"
    canonical = ("identity",)
    text = "1/2 (a - y)^2"
    factor = 0.5


@dataclass
class SumOfSquares(_Squares):
    """(a - y)^2."""

    name = "sum_of_squares"
    formula = "(a - y)^2"
    latex = "(a - y)^2"
    text = "(a - y)^2"
    factor = 1.0


@dataclass
class LogLoss(Loss):
    """The negative log-likelihood of classes.

    With softmax outputs -y ln a of several classes; with logistic outputs
    -y ln a - (1 - y) ln(1 - a) of two classes, or of each of several labels.
    """

    name = "log_loss"
    formula = "-y ln a - (1 - y) ln(1 - a), with softmax -y ln a"
    latex = r"-y \ln a - (1 - y) \ln (1 - a)"
    outputs = ("logistic", "softmax")
    canonical = ("logistic", "softmax")
    classifies = True
    output = None
    y_has_scale = False
    text = (
        "the negative log-likelihood of classes, with softmax outputs for several "
        "classes and logistic outputs for two classes or multilabel y"
    )

    def takes_codes(self, output):
        return output.couples

    def of_sample(self, output, z, a, y):
        """C_0; logarithms of a are taken from z, as a rounded a may be 0 or 1."""
        if not output.couples:
            return super().of_sample(output, z, a, y)
        M, total = sum_exp(z)
        C_0 = 0.0
        for z_j, y_j in zip(z, y, strict=True):
            # z - M comes first, as M + ln(sum) would round ln(sum)
            C_0 += y_j * (log(total) - (z_j - M))
        return C_0

    def of_output(self, z, a, y):
        # max(z, 0), asked so that NaN stays NaN
        return (0.0 if z <= 0.0 else z) - z * y + math.log1p(exp(-abs(z)))

    def slopes(self, output, z, a, y):
        z, y = np.asarray(z, np.float64), np.asarray(y, np.float64)
        with np.errstate(over="ignore"):
            if output.couples:  # -y/a
                inverse = np.exp(logsumexp(z, axis=1, keepdims=True) - z)
                return np.where(y > 0, -inverse, 0.0)
            # -1/a where y is 1, 1/(1 - a) where it is 0
            return np.where(y > 0, -1.0 - np.exp(-z), 1.0 + np.exp(z))

    def check_targets(self, output, y):
        if not np.isin(y, (0, 1)).all():
            raise ValueError(
                "y must hold 0 and 1 only for log_loss, one column per output; "
                f"it holds {y[~np.isin(y, (0, 1))][0]}. Encode labels first."
            )
        if output.couples:
            wrong = np.flatnonzero(y.sum(axis=1) != 1)
            if wrong.size:
                raise ValueError(
                    "y must have one 1 in every row for log_loss on softmax outputs; "
                    f"row {wrong[0]} has {int(y[wrong[0]].sum())}."
                )

    def of_constant(self, output, y, weight=None):
        mean = np.average(y, axis=0, weights=weight)
        if output.couples:
            return float(entr(mean).sum())
        return float((entr(mean) + entr(1 - mean)).sum())


@dataclass
class Poisson(Loss):
    """Half the Poisson deviance of counts y >= 0, y ln(y/a) - y + a."""

    name = "poisson"
    formula = "y ln(y/a) - y + a"
    latex = r"y \ln (y / a) - y + a"
    outputs = ("exp",)
    canonical = ("exp",)
    output = "exp"
    y_has_scale = False
    positive_only = True
    text = "half the Poisson deviance of counts y >= 0, with exp outputs"

    def of_output(self, z, a, y):
        """y ln(y/a) - y + a with a = e^z and 0 ln 0 = 0.

        With t = ln y - z it is y (t + e^-t - 1). Near its minimum, where the terms
        cancel, a rounding error in t then counts only squared.
        """
        if y == 0.0:
            return a
        t = log(y) - z
        if abs(t) < 1.0:
            return y * (t + math.expm1(-t))
        return y * log(y) - y * z - y + a

    def slopes(self, output, z, a, y):
        z, y = np.asarray(z, np.float64), np.asarray(y, np.float64)
        with np.errstate(over="ignore"):  # 1 - y/a, and 1 where y is 0
            inverse = np.exp(-z, out=np.zeros_like(z), where=y > 0)
            return 1.0 - y * inverse

    def check_targets(self, output, y):
        if (y < 0).any():
            raise ValueError(
                f"y must not be negative for loss='poisson'; it holds {y.min()}."
            )

    def of_constant(self, output, y, weight=None):
        mean = np.average(y, axis=0, weights=weight)
        losses = xlogy(y, y) - xlogy(y, mean)
        return float(np.average(losses.sum(axis=1), weights=weight))


@dataclass
class Huber(Loss):
    """1/2 (a - y)^2 up to |a - y| = delta, beyond it its tangent (Huber 1964).

    Parameters
    ----------
    delta : float, default=1.0
        Where the loss becomes linear: what is farther off counts as an outlier.

    Examples
    --------
    >>> import cbp
    >>> cbp.losses.Huber(delta=0.5).of_output(None, 2.0, 0.0)
    0.875
    """

    delta: float = 1.0

    name = "huber"
    formula = "1/2 (a - y)^2 if |a - y| <= delta, else delta (|a - y| - delta/2)"
    latex = (
        r"\begin{cases} \frac{1}{2} (a - y)^2 & |a - y| \le \delta \\"
        r" \delta (|a - y| - \frac{\delta}{2}) & |a - y| > \delta \end{cases}"
    )
    outputs = ("identity",)
    ranges = {"delta": "(0, inf)"}  # noqa: RUF012
    text = "1/2 (a - y)^2, but linear beyond an error of 1; other: `cbp.losses.Huber`"

    def of_output(self, z, a, y):
        # Where it is linear, this is delta (|a - y| - delta/2).
        return self.slope(a, y) * ((a - y) - 0.5 * self.slope(a, y))

    def slope(self, a, y):
        error = a - y
        return math.copysign(self.delta, error) if abs(error) > self.delta else error

    def of_constant(self, output, y, weight=None):
        def mean_loss(constant, column):
            losses = [self.of_output(None, constant, y_i) for y_i in column]
            return np.average(losses, weights=weight)

        least = 0.0
        for column in y.T:
            bounds = column.min(), column.max()  # of a convex function's minimum
            if bounds[0] < bounds[1]:
                least += minimize_scalar(mean_loss, bounds=bounds, args=(column,)).fun
        return float(least)


#: By name.
LOSSES = named(SquaredError, SumOfSquares, LogLoss, Poisson, Huber)

#: Those of regressors.
REGRESSION_LOSSES = {name: loss for name, loss in LOSSES.items() if not loss.classifies}


def resolve_loss(loss):
    """The record that a name, or a record, stands for."""
    return resolve("loss", loss, LOSSES)


def said_of(loss, attribute):
    """An attribute of a loss as a user gave it; False if he is mistaken in the loss."""
    known = LOSSES.get(loss) if isinstance(loss, str) else loss
    return getattr(known, attribute, False)


def classifies(loss):
    """Whether a loss, as a user gave it, is for classes."""
    return said_of(loss, "classifies")


def resolve_functions(activation, output_activation, loss):
    """The records of a network from names or records of functions that go together.

    Returns
    -------
    hidden, output : Activation
    loss : Loss

    Raises
    ------
    ValueError
        If one is unknown, or the loss is not defined for the output activation.
    """
    hidden = resolve_activation(activation)
    output = resolve_activation(
        output_activation, "output_activation", OUTPUT_ACTIVATIONS
    )
    loss = resolve_loss(loss)
    check_pair(loss, output)
    return hidden, output, loss


def check_pair(loss, output):
    """Raise a ValueError unless the loss is defined for the output activation."""
    if output.name not in loss.outputs:
        raise ValueError(
            f"loss={loss.name!r} is not defined for output_activation="
            f"{output.name!r}; it goes with {' or '.join(loss.outputs)}."
        )
