"""Activation functions: all that is known of each, in one record.

Design
------
`Activation` is what the others ask: the reference for g and g' of one number, whoever
looks at gradients for g' of whole arrays, a network for the bounds of its first
weights, the kernels for the name, the parameters, and for what g' is computed from.

To add one: a class here, entered in `ACTIVATIONS`; in `kernels/simd/simd.h` a line in
CBP_ACTIVATIONS and in `kernels/simd/activation.h` a case for g and one for g'.
"""

import math
from dataclasses import astuple, dataclass
from typing import ClassVar

import numpy as np
from scipy.special import expit, softmax

from cbp.functions.ieee import exp, sum_exp
from cbp.functions.spec import Spec, named, resolve


class Activation(Spec):
    """g, applied to the weighted inputs z of a layer: a = g(z).

    Attributes
    ----------
    name : str
        Its shorthand.
    formula, latex : str
        g(z) as text and in LaTeX.
    slope_from : {'a', 'z', None}
        What the kernels compute g' from: the activation, for which z of hidden layers
        need not be kept, the weighted input, or nothing.
    kinks : tuple of float
        The z at which g' jumps; it is then taken from the left.
    steepest : float or None
        The largest g', of functions that are flat on both sides.
    dies : bool
        Whether a node can have g' = 0 for every sample and yet not be saturated.
    couples : bool
        Whether the activation of a node depends on the z of the others.
    scale : float
        Initial weights are uniform up to the root of this over n_{l-1} + n_l
        (Glorot and Bengio 2010; 2 for the logistic function, as in scikit-learn).
    work : int
        About what it costs, in multiply-adds.
    """

    formula: ClassVar[str]
    latex: ClassVar[str]
    slope_from: ClassVar[str | None] = "a"
    kinks: ClassVar[tuple[float, ...]] = ()
    steepest: ClassVar[float | None] = None
    dies: ClassVar[bool] = False
    couples: ClassVar[bool] = False
    scale: ClassVar[float] = 6.0
    work: ClassVar[int] = 0

    @property
    def parameters(self):
        """Its parameters as floats, in the order in which the kernels take them."""
        return tuple(map(float, astuple(self)))

    def g(self, z):
        """g(z) of one number."""
        raise NotImplementedError

    def g_prime(self, z):
        """g'(z) of one number."""
        raise NotImplementedError

    def layer(self, z):
        """a of a layer, a list of numbers like z."""
        return [self.g(z_j) for z_j in z]

    def slopes(self, z):
        """da_j/dz_j of every node, from what loses no digits.

        Parameters
        ----------
        z : ndarray of shape (n, n_l), or of any other

        Returns
        -------
        slopes : ndarray of the shape of z, float64
        """
        slopes = np.frompyfunc(self.g_prime, 1, 1)(np.asarray(z, np.float64))
        return np.asarray(slopes, np.float64)


@dataclass
class Identity(Activation):
    """z itself."""

    name = "identity"
    formula = "z"
    latex = "z"
    slope_from = None

    def g(self, z):
        return z

    def g_prime(self, z):
        return 1.0

    def slopes(self, z):
        return np.ones_like(z, np.float64)


@dataclass
class Logistic(Activation):
    """The logistic function, 1 / (1 + e^-z)."""

    name = "logistic"
    formula = "1 / (1 + e^-z)"
    latex = r"\frac{1}{1 + e^{-z}}"
    steepest = 0.25
    scale = 2.0
    work = 25

    def g(self, z):
        if z >= 0.0:
            return 1.0 / (1.0 + exp(-z))
        return exp(z) / (1.0 + exp(z))  # against overflow

    def g_prime(self, z):
        return self.g(z) * (1.0 - self.g(z))

    def slopes(self, z):
        z = np.asarray(z, np.float64)
        return expit(z) * expit(-z)


@dataclass
class Tanh(Activation):
    """The hyperbolic tangent."""

    name = "tanh"
    formula = "tanh z"
    latex = r"\tanh z"
    steepest = 1.0
    work = 25

    def g(self, z):
        return math.tanh(z)

    def g_prime(self, z):
        return 1.0 - math.tanh(z) * math.tanh(z)

    def slopes(self, z):
        with np.errstate(over="ignore"):  # cosh is inf: 1/inf is right
            return 1.0 / np.cosh(np.asarray(z, np.float64)) ** 2


@dataclass
class ReLU(Activation):
    """max(z, 0), with g'(0) = 0."""

    name = "relu"
    formula = "max(z, 0)"
    latex = r"\max(z, 0)"
    kinks = (0.0,)
    dies = True

    def g(self, z):
        return 0.0 if z <= 0.0 else z  # asked so that NaN stays NaN

    def g_prime(self, z):
        return 1.0 if z > 0.0 else 0.0

    def slopes(self, z):
        return (np.asarray(z) > 0).astype(np.float64)


@dataclass
class LeakyReLU(Activation):
    """z above 0, alpha z below, with g'(0) = alpha (Maas et al. 2013).

    Parameters
    ----------
    alpha : float, default=0.01
        The slope below 0, at least 0.

    Examples
    --------
    >>> import cbp
    >>> cbp.activations.LeakyReLU(0.2).g(-1.0)
    -0.2
    """

    alpha: float = 0.01

    name = "leaky_relu"
    formula = "z if z > 0, else alpha z"
    latex = r"\begin{cases} z & z > 0 \\ \alpha z & z \le 0 \end{cases}"
    ranges = {"alpha": "[0, inf)"}  # noqa: RUF012
    kinks = (0.0,)

    def g(self, z):
        return self.alpha * z if z <= 0.0 else z

    def g_prime(self, z):
        return 1.0 if z > 0.0 else self.alpha

    def slopes(self, z):
        return np.where(np.asarray(z) > 0, 1.0, self.alpha)


@dataclass
class GELU(Activation):
    """z Phi(z), Phi being the normal distribution function (Hendrycks, Gimpel 2016)."""

    name = "gelu"
    formula = "z Phi(z)"
    latex = r"z \Phi(z)"
    slope_from = "z"
    work = 40

    def g(self, z):
        # Far below 0 Phi is 0, and -inf times 0 would be NaN.
        return max(z, -40.0) * self._Phi(z) if z <= 0.0 else z * self._Phi(z)

    def g_prime(self, z):
        near = min(max(z, -40.0), 40.0)  # where the density is 0 to the last bit
        density = math.exp(-0.5 * near * near) / math.sqrt(2.0 * math.pi)
        return self._Phi(z) + near * density

    @staticmethod
    def _Phi(z):
        return 0.5 * math.erfc(-z / math.sqrt(2.0))


@dataclass
class Exp(Activation):
    """e^z, the inverse link of counts; for outputs only."""

    name = "exp"
    formula = "e^z"
    latex = "e^z"

    def g(self, z):
        return exp(z)

    def g_prime(self, z):
        return exp(z)

    def slopes(self, z):
        with np.errstate(over="ignore"):  # e^710 is inf
            return np.exp(np.asarray(z, np.float64))


@dataclass
class Softmax(Activation):
    """e^{z_j} / sum_k e^{z_k}, which couples the nodes of a layer; for outputs only."""

    name = "softmax"
    formula = "e^z_j / sum_k e^z_k"
    latex = r"\frac{e^{z_j}}{\sum_k e^{z_k}}"
    couples = True

    def layer(self, z):
        M, total = sum_exp(z)
        return [exp(z_j - M) / total for z_j in z]

    def slopes(self, z):
        """The diagonal of the Jacobian."""
        # 1 - a_j is the sum of the others: the difference would lose its digits.
        nodes = range(np.shape(z)[1])
        return np.stack([self.jacobian_row(z, j)[:, j] for j in nodes], axis=1)

    def jacobian_row(self, z, j):
        """da_m/dz_j for every node m: a row of the (symmetric) Jacobian.

        Parameters
        ----------
        z : ndarray of shape (n, n_L)
        j : int

        Returns
        -------
        row : ndarray of shape (n, n_L), float64
            a_m (1 - a_j) for m = j, else -a_m a_j.
        """
        a = softmax(np.asarray(z, np.float64), axis=1)
        row = -a * a[:, [j]]
        row[:, j] = a[:, j] * np.delete(a, j, axis=1).sum(axis=1)
        return row


#: Of hidden layers, by name.
ACTIVATIONS = named(Identity, Logistic, Tanh, ReLU, LeakyReLU, GELU)

#: Of the output layer.
OUTPUT_ACTIVATIONS = ACTIVATIONS | named(Softmax, Exp)


def resolve_activation(activation, what="activation", activations=ACTIVATIONS):
    """The record that a name, or a record, stands for."""
    return resolve(what, activation, activations)
