"""Solvers: all that is known of each, in one record.

Design
------
`Solver` is what the others ask: the kernels for the name, the hyperparameters and the
moments, the reference for the update of one parameter, the estimators for what they say
of it. What a solver has reached is no part of it: its moments are in `TrainingState`.

To add one: a class here, entered in `SOLVERS`; in `kernels/simd/simd.h` a line in
CBP_SOLVERS and in `kernels/simd/update.h` a case.
"""

import math
from dataclasses import astuple, dataclass
from typing import ClassVar

from cbp.functions.spec import Spec, named, resolve


class Solver(Spec):
    """The rule by which parameters are updated from the gradient of a batch.

    Attributes
    ----------
    name : str
        Its shorthand.
    text : str
        What it is, in a line of a docstring.
    moments : tuple of str
        Names of the numbers, two at most, that it keeps of each parameter from step to
        step. They begin with 0.
    is_stochastic : bool
        Whether it makes a step for each batch. One that does not has neither `moments`
        nor `update`.
    """

    text: ClassVar[str]
    moments: ClassVar[tuple[str, ...]] = ()
    is_stochastic: ClassVar[bool] = True

    @property
    def hyperparameters(self):
        """Its parameters as floats, in the order in which the kernels take them."""
        return tuple(map(float, astuple(self)))

    def update(self, t, rate, gradient, w, *moments, is_coef=True):
        """One parameter after step t.

        Parameters
        ----------
        t : int
            Number of this step, from 1 on.
        rate : float
            The learning rate.
        gradient : float
            dC/dw, with the penalty's part.
        w : float
            The parameter.
        *moments : float
            Of this parameter.
        is_coef : bool, default=True
            Whether it is a weight; intercepts do not decay.

        Returns
        -------
        w, *moments : float
            As they are afterwards.
        """
        raise NotImplementedError


@dataclass
class SGD(Solver):
    """Stochastic gradient descent with momentum (Sutskever et al. 2013).

    Parameters
    ----------
    momentum : float, default=0.9
        From 0 to 1.
    nesterovs_momentum : bool, default=True
        Whether the step looks one velocity ahead.

    Examples
    --------
    >>> import cbp
    >>> cbp.solvers.SGD(nesterovs_momentum=False).update(1, 0.5, 2.0, 3.0, 0.0)
    (2.0, -1.0)
    """

    momentum: float = 0.9
    nesterovs_momentum: bool = True

    name = "sgd"
    text = "stochastic gradient descent with momentum"
    moments = ("velocity",)
    ranges = {"momentum": "[0, 1]", "nesterovs_momentum": "bool"}  # noqa: RUF012

    def update(self, t, rate, gradient, w, velocity, is_coef=True):
        velocity = self.momentum * velocity - rate * gradient
        if self.nesterovs_momentum:
            return w + self.momentum * velocity - rate * gradient, velocity
        return w + velocity, velocity


@dataclass
class Adam(Solver):
    """Adam (Kingma and Ba 2015, the form with epsilon-hat at the end of section 2).

    Parameters
    ----------
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay of the running means of the gradient and of its square, in [0, 1).
    epsilon : float, default=1e-8
        Keeps the step from dividing by zero.
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    name = "adam"
    text = "Adam (Kingma and Ba 2015)"
    moments = ("m", "v")
    ranges = {  # noqa: RUF012
        "beta_1": "[0, 1)",
        "beta_2": "[0, 1)",
        "epsilon": "(0, inf)",
    }

    def update(self, t, rate, gradient, w, m, v, is_coef=True):
        m = self.beta_1 * m + (1.0 - self.beta_1) * gradient
        v = self.beta_2 * v + (1.0 - self.beta_2) * gradient * gradient
        # Both bias corrections in one factor, so epsilon meets the uncorrected v.
        rate = rate * math.sqrt(1.0 - self.beta_2**t) / (1.0 - self.beta_1**t)
        return w - rate * m / (math.sqrt(v) + self.epsilon), m, v


@dataclass
class AdamW(Adam):
    """Adam with weights that decay by themselves (Loshchilov and Hutter 2019).

    Each step takes rate * weight_decay of every coef away from it, beside the step of
    Adam, whose division would let weights with large gradients decay less. Intercepts
    do not decay. The penalty `alpha` of the estimators comes on top; alpha=0 leaves the
    decay alone.

    Parameters
    ----------
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay of the running means of the gradient and of its square, in [0, 1).
    epsilon : float, default=1e-8
        Keeps the step from dividing by zero.
    weight_decay : float, default=0.01

    Examples
    --------
    >>> import cbp
    >>> w, m, v = cbp.solvers.AdamW(weight_decay=0.5).update(1, 0.1, 0.0, 1.0, 0.0, 0.0)
    >>> w
    0.95
    """

    weight_decay: float = 0.01

    name = "adamw"
    text = "Adam with decoupled weight decay (Loshchilov and Hutter 2019)"
    ranges = Adam.ranges | {"weight_decay": "[0, inf)"}

    def update(self, t, rate, gradient, w, m, v, is_coef=True):
        m = self.beta_1 * m + (1.0 - self.beta_1) * gradient
        v = self.beta_2 * v + (1.0 - self.beta_2) * gradient * gradient
        m_hat = m / (1.0 - self.beta_1**t)
        v_hat = v / (1.0 - self.beta_2**t)
        kept = 1.0 - rate * self.weight_decay if is_coef else 1.0
        return kept * w - rate * m_hat / (math.sqrt(v_hat) + self.epsilon), m, v


@dataclass
class LBFGS(Solver):
    """scipy's L-BFGS-B, which takes all samples at once (Liu and Nocedal 1989).

    Parameters
    ----------
    max_fun : int, default=15000
        Largest number of evaluations of the loss.
    """

    max_fun: int = 15000

    name = "lbfgs"
    text = "scipy's L-BFGS-B, which takes all samples at once"
    is_stochastic = False
    ranges = {"max_fun": "int [1, inf)"}  # noqa: RUF012


#: By name.
SOLVERS = named(LBFGS, SGD, Adam, AdamW)


def resolve_solver(solver, owner=None):
    """The record that a name, or a record, stands for.

    Parameters
    ----------
    solver : str or Solver
    owner : MLPEstimator, default=None
        A name takes those of its parameters that are called like the solver's.
    """
    return resolve("solver", solver, SOLVERS, owner)


def is_stochastic(solver):
    """Whether a solver, as a user gave it, makes a step for each batch."""
    known = SOLVERS.get(solver) if isinstance(solver, str) else solver
    return getattr(known, "is_stochastic", True)
