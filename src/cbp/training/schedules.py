"""Schedules of the learning rate: all that is known of each, in one record.

To add one: a class here, entered in `SCHEDULES`.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cbp.functions.spec import Spec, named, resolve


class Schedule(Spec):
    """How the learning rate changes in the course of training.

    Attributes
    ----------
    name : str
        Its shorthand.
    text : str
        What it does, in a line of a docstring.
    solvers : tuple of str or None
        Names of the solvers that it acts with; None for all that are stochastic. Those
        of scikit-learn act with 'sgd' only, as they do there.
    """

    text: ClassVar[str]
    solvers: ClassVar[tuple[str, ...] | None] = None

    #: What training says when it ends because the loss stays where it is.
    last_words: ClassVar[str] = "Stopping."

    def rates(self, rate, n_batches, epoch, n_epochs):
        """The rate of each batch of an epoch.

        Parameters
        ----------
        rate : float
            What `after_epoch` and `at_plateau` have led to.
        n_batches : int
            Of the epoch.
        epoch : int
            Number of epochs before this one; there may be more than `n_epochs`.
        n_epochs : int
            How many epochs there will be at most.

        Returns
        -------
        rates : ndarray of shape (n_batches,), float64
        """
        rates = np.empty(n_batches)
        rates.fill(rate)
        return rates

    def after_epoch(self, rate, initial, t):
        """The rate of the next epoch, after t samples."""
        return rate

    def at_plateau(self, rate):
        """The rate to go on with when the loss stays where it is; None to stop."""


@dataclass
class Constant(Schedule):
    """The initial rate throughout."""

    name = "constant"
    text = "`learning_rate_init` throughout"


@dataclass
class InverseScaling(Schedule):
    """The initial rate divided by (t + 1)^power_t, t being the number of samples seen.

    Parameters
    ----------
    power_t : float, default=0.5

    Examples
    --------
    >>> import cbp
    >>> cbp.schedules.InverseScaling().after_epoch(0.1, initial=0.1, t=99)
    0.01
    """

    power_t: float = 0.5

    name = "invscaling"
    text = "`learning_rate_init` / (t + 1)^power_t, t being the number of samples seen"
    solvers = ("sgd",)
    ranges = {"power_t": "[0, inf)"}  # noqa: RUF012

    def after_epoch(self, rate, initial, t):
        return initial / (t + 1) ** self.power_t


@dataclass
class Adaptive(Schedule):
    """The rate is divided by 5 whenever the loss stays where it is, down to 1e-6."""

    name = "adaptive"
    text = (
        "the rate is divided by 5 each time the loss has not improved by `tol` for "
        "more than `n_iter_no_change` epochs; training stops below 1e-6"
    )
    solvers = ("sgd",)
    last_words = "Learning rate too small. Stopping."

    #: The least rate that is divided, and by what; both scikit-learn's.
    smallest: ClassVar[float] = 1e-6
    divisor: ClassVar[float] = 5.0

    def at_plateau(self, rate):
        return rate / self.divisor if rate > self.smallest else None


@dataclass
class Cosine(Schedule):
    """Half a cosine from the initial rate to 0 (Loshchilov and Hutter 2017).

    Each batch has a rate of its own. The cosine lasts for the `max_iter` epochs of a
    fit, or for as many calls of partial_fit; after them the rate is 0.

    Parameters
    ----------
    warmup : float, default=0.0
        Share of training, in [0, 1), before the cosine, in which the rate rises from 0
        in a straight line.
    restarts : int, default=0
        How many times the cosine begins anew, in equal parts of what is left.

    Examples
    --------
    >>> import cbp
    >>> cbp.schedules.Cosine().rates(0.1, n_batches=2, epoch=0, n_epochs=1).round(4)
    array([0.0854, 0.0146])
    """

    warmup: float = 0.0
    restarts: int = 0

    name = "cosine"
    text = "half a cosine from `learning_rate_init` to 0 over `max_iter` epochs"
    ranges = {"warmup": "[0, 1)", "restarts": "int [0, inf)"}  # noqa: RUF012

    def rates(self, rate, n_batches, epoch, n_epochs):
        # In the middle of a batch, so that neither the first nor the last has 0.
        progress = (epoch + (np.arange(n_batches) + 0.5) / n_batches) / n_epochs
        after = np.maximum(progress - self.warmup, 0.0) / (1.0 - self.warmup)
        of_cycle = np.where(after < 1.0, after * (self.restarts + 1) % 1.0, 1.0)
        cosine = 0.5 * (1.0 + np.cos(np.pi * of_cycle))
        if self.warmup > 0.0:
            cosine *= np.minimum(progress / self.warmup, 1.0)
        return rate * cosine


#: By name.
SCHEDULES = named(Constant, InverseScaling, Adaptive, Cosine)


def resolve_schedule(schedule, solver, owner=None):
    """The record that a name, or a record, stands for; constant if it does not act.

    Parameters
    ----------
    schedule : str or Schedule
        As an estimator's `learning_rate`.
    solver : Solver
    owner : MLPEstimator, default=None
        A name takes those of its parameters that are called like the schedule's.
    """
    schedule = resolve("learning_rate", schedule, SCHEDULES, owner)
    acts = schedule.solvers is None or solver.name in schedule.solvers
    return schedule if acts else Constant()
