"""`TrainingState`: what the next epoch depends on, beside parameters and samples."""

from dataclasses import dataclass, field, replace

import numpy as np

from cbp.data.rows import Rows
from cbp.training.history import History
from cbp.training.schedules import Constant, Schedule
from cbp.training.solvers import Solver


@dataclass
class TrainingState:
    """All that an epoch depends on, beside the parameters of the network and the data.

    What goes on from an earlier epoch goes on from this, and nothing else: further
    calls of fit and partial_fit, the copies that callbacks are given, pickles. Its
    fields are records, numbers, lists of numbers and flat arrays. k epochs and m more
    are the k + m epochs of one run to the last bit.

    Parameters
    ----------
    solver : Solver or None, default=None
        None if nothing is known of the solver so far.
    schedule : Schedule, default=Constant()
    learning_rate_init : float, default=0.001
    learning_rate : float or None, default=None
        The rate that the schedule has reached; None for the initial one.
    moments : list of ndarray of shape (n_params,), default=[]
        Those of the solver, in its order.
    steps : int, default=0
        Updates made with these moments.
    rng : numpy.random.RandomState or None, default=None
        Orders the samples. None for the global generator of NumPy, which is no part of
        a model.
    rows : Rows or None, default=None
        The rows that train, and those set aside. None for all, as they stand.
    history : History, optional
    best_params : ndarray of shape (n_params,) or None, default=None
        With early stopping, those of the best score so far.
    last_params : ndarray of shape (n_params,) or None, default=None
        With early stopping, where training had got to when the best parameters were
        put in their place.
    """

    solver: Solver | None = None
    schedule: Schedule = field(default_factory=Constant)
    learning_rate_init: float = 0.001
    learning_rate: float | None = None
    moments: list[np.ndarray] = field(default_factory=list)
    steps: int = 0
    rng: np.random.RandomState | None = None
    rows: Rows | None = None
    history: History = field(default_factory=History)
    best_params: np.ndarray | None = None
    last_params: np.ndarray | None = None

    def __post_init__(self):
        if self.learning_rate is None:
            self.learning_rate = self.learning_rate_init

    @classmethod
    def begin(cls, params, solver, **fields):
        """The state before the first step of `solver` from `params`."""
        moments = [np.zeros_like(params) for _ in solver.moments]
        return cls(solver, moments=moments, **fields)

    def take_up(self, before):
        """Go on from what the same solver, and schedule, had reached before."""
        sizes = [moment.size for moment in self.moments]
        if type(self.solver) is type(before.solver) and (
            sizes == [moment.size for moment in before.moments]
        ):
            self.moments = [moment.copy() for moment in before.moments]
            self.steps = before.steps
        planned = self.schedule, self.learning_rate_init
        if planned == (before.schedule, before.learning_rate_init):
            self.learning_rate = before.learning_rate

    def restore_best(self, network):
        """Put the best parameters into the network, and keep those that it has."""
        self.last_params = network.params_.copy()
        if self.best_params is None:
            self.best_params = self.last_params
        network.params_ = self.best_params

    def was_restored(self, params):
        """Whether `params` are the best ones, put in the place of the last ones."""
        return self.last_params is not None and np.array_equal(self.best_params, params)

    def saved_beside(self, params):
        """This state without the best parameters, which `params` are or never were."""
        last = self.last_params if self.was_restored(params) else None
        return replace(self, best_params=None, last_params=last)

    def loaded_beside(self, params):
        """The inverse of `saved_beside`."""
        best = None if self.last_params is None else params.copy()
        return replace(self, best_params=best)
