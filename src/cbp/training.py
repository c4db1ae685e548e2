"""Training: the state of the solvers, the loop over the epochs, and when it stops.

Knows a network and the propagator it lends, which runs the batches of an epoch;
knows nothing of estimators. The rules, and the random stream that orders the samples,
are those of scikit-learn's multilayer perceptron: the same seed gives the same model.

What outlives an epoch is kept in dataclasses (`Adam` or `SGD`, and `History`) whose
fields are numbers, strings, lists of numbers and flat arrays, so that they can be
saved, loaded and trained on. The arrays belong to the solver; the propagator writes
into them, and into ``network.params_``, at the end of an epoch only.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from cbp.network import Network

#: Seconds for which a propagator works before Python gets to see a Ctrl-C: a tenth of
#: the half second within which it has to be answered.
SECONDS_BETWEEN_SIGNALS = 0.05

#: Rows of a batch for batch_size="auto", and the learning rate at which the adaptive
#: schedule gives up and by what it divides before; all scikit-learn's.
AUTO_BATCH_SIZE = 200
SMALLEST_LEARNING_RATE = 1e-6
ADAPTIVE_DIVISOR = 5.0


@dataclass
class Adam:
    """State of Adam (Kingma and Ba 2015, the form of section 2 with epsilon-hat).

    Parameters
    ----------
    m, v : ndarray of shape (n_params,)
        Running means of the gradient and of its square.
    learning_rate_init : float, default=0.001
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay of the two means.
    epsilon : float, default=1e-8
    steps : int, default=0
        Number of updates made, t of the bias correction.
    """

    m: np.ndarray
    v: np.ndarray
    learning_rate_init: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    steps: int = 0

    schedule = "constant"

    @classmethod
    def for_network(cls, network, **hyperparameters):
        """Adam before its first update of `network`."""
        zeros = np.zeros_like
        return cls(zeros(network.params_), zeros(network.params_), **hyperparameters)

    @property
    def learning_rate(self):
        """The current learning rate, before the correction of Adam's bias."""
        return self.learning_rate_init

    def attach(self, propagator):
        """Let `propagator` train with this state."""
        propagator.use_adam(
            self.m,
            self.v,
            self.steps,
            self.learning_rate,
            self.beta_1,
            self.beta_2,
            self.epsilon,
        )

    def count(self, steps):
        """Take note that `steps` updates were made in all."""
        self.steps = steps

    def epoch_ends(self, t):
        """After `t` samples: the learning rate stays."""

    def plateau(self):
        """The loss has stopped improving: whether training stops."""
        return True


@dataclass
class SGD:
    """State of stochastic gradient descent with momentum and a schedule.

    Parameters
    ----------
    velocity : ndarray of shape (n_params,)
    learning_rate_init : float, default=0.001
    schedule : {'constant', 'invscaling', 'adaptive'}, default='constant'
        'invscaling' divides the initial rate by (t + 1)^power_t after t samples;
        'adaptive' divides the rate by 5 whenever the loss stops improving.
    power_t : float, default=0.5
    momentum : float, default=0.9
    nesterov : bool, default=True
    learning_rate : float or None, default=None
        The current rate; None for `learning_rate_init`.
    """

    velocity: np.ndarray
    learning_rate_init: float = 0.001
    schedule: str = "constant"
    power_t: float = 0.5
    momentum: float = 0.9
    nesterov: bool = True
    learning_rate: float | None = None

    def __post_init__(self):
        if self.learning_rate is None:
            self.learning_rate = self.learning_rate_init

    @classmethod
    def for_network(cls, network, **hyperparameters):
        """SGD before its first update of `network`."""
        return cls(np.zeros_like(network.params_), **hyperparameters)

    def attach(self, propagator):
        """Let `propagator` train with this state."""
        propagator.use_sgd(
            self.velocity, self.learning_rate, self.momentum, self.nesterov
        )

    def count(self, steps):
        """Nothing in this rule depends on how many updates were made."""

    def epoch_ends(self, t):
        """After `t` samples: the learning rate of the next epoch."""
        if self.schedule == "invscaling":
            self.learning_rate = self.learning_rate_init / (t + 1) ** self.power_t

    def plateau(self):
        """The loss has stopped improving: whether training stops."""
        if self.schedule != "adaptive" or self.learning_rate <= SMALLEST_LEARNING_RATE:
            return True
        self.learning_rate /= ADAPTIVE_DIVISOR
        return False


@dataclass
class History:
    """What training has recorded over its finished epochs.

    Parameters
    ----------
    loss_curve : list of float
        Loss of each epoch: the mean over its samples of the loss of their batch
        before that batch's update, penalty included.
    best_loss : float
        Smallest entry of `loss_curve`.
    no_improvement_count : int
        Epochs since the loss last fell by `tol`.
    n_iter : int
        Number of epochs.
    t : int
        Number of samples seen.
    """

    loss_curve: list[float] = field(default_factory=list)
    best_loss: float = math.inf
    no_improvement_count: int = 0
    n_iter: int = 0
    t: int = 0

    def add(self, loss, n_samples, tol):
        """Record an epoch of `n_samples` samples."""
        self.loss_curve.append(loss)
        self.n_iter += 1
        self.t += n_samples
        improved = loss <= self.best_loss - tol
        self.no_improvement_count = 0 if improved else self.no_improvement_count + 1
        self.best_loss = min(self.best_loss, loss)


@dataclass
class Trainer:
    """Trains a network epoch by epoch until it converges or may go no further.

    Parameters
    ----------
    network : Network
        Its `params_` are trained in place.
    solver : Adam or SGD
    rng : numpy.random.RandomState
        Orders the samples: one draw of `shuffle` before each epoch.
    batch_size : int or 'auto', default='auto'
        Rows per update; 'auto' is min(200, n). The last batch of an epoch may be
        shorter.
    shuffle : bool, default=True
        Whether each epoch shuffles the order of the epoch before.
    max_iter : int, default=200
        Largest number of epochs.
    tol : float, default=1e-4
        An epoch improves if its loss is below the best one by at least this.
    n_iter_no_change : int or inf, default=10
        The solver is told of a plateau after more epochs than this without
        improvement.
    verbose : bool, default=False
        Whether to print the loss of each epoch and why training stops.
    on_epoch_begin : callable or None, default=None
        Called before each epoch.
    on_epoch : callable or None, default=None
        Called after each epoch; training stops if it returns True.
    history : History, optional
        Filled while training.
    """

    network: Network
    solver: Adam | SGD
    rng: np.random.RandomState
    batch_size: int | str = "auto"
    shuffle: bool = True
    max_iter: int = 200
    tol: float = 1e-4
    n_iter_no_change: float = 10
    verbose: bool = False
    on_epoch_begin: Callable[[], None] | None = None
    on_epoch: Callable[[], bool] | None = None
    history: History = field(default_factory=History)

    def train(self, X, y, sample_weight=None):
        """Run the epochs.

        However this ends, ``network.params_`` and the solver hold the state after the
        last finished batch and `history` that after the last finished epoch.

        Parameters
        ----------
        X : ndarray of shape (n, n_0)
            Of the network's dtype, with contiguous rows. Read in place.
        y : ndarray of shape (n, n_L)
            Contiguous, of the network's dtype.
        sample_weight : ndarray of shape (n,), default=None
            Contiguous, of the network's dtype.

        Raises
        ------
        ValueError
            If the loss of an epoch, or a parameter in the end, is not finite.
        KeyboardInterrupt
            On Ctrl-C, between two batches.
        """
        batch_size = _rows_per_batch(self.batch_size, X.shape[0])
        order = np.arange(X.shape[0], dtype=np.intp)
        propagator = self.network.make_propagator()
        for _ in range(self.max_iter):
            if self.on_epoch_begin is not None:
                self.on_epoch_begin()
            if self.shuffle:
                # Shuffling the running order in place moves its entries as
                # scikit-learn's order[shuffled arange(n)] does, without the
                # two more vectors.
                self.rng.shuffle(order)
            loss = self._run_epoch(propagator, X, y, sample_weight, order, batch_size)
            if self._ends_with(loss, X.shape[0]):
                break
        else:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) "
                "reached and the optimization hasn't converged yet. "
                "Raise max_iter, or tol if the loss is good enough.",
                ConvergenceWarning,
                stacklevel=2,
            )
        # The loss of an epoch is that before its last update.
        if not np.isfinite(self.network.params_).all():
            raise ValueError(self._diverged("a weight is not finite"))

    def _run_epoch(self, propagator, X, y, sample_weight, order, batch_size):
        self.solver.attach(propagator)
        propagator.begin_epoch(
            self.network.params_, X, y, sample_weight, order, batch_size
        )
        try:
            while not propagator.advance(SECONDS_BETWEEN_SIGNALS):
                pass
        finally:
            loss, steps = propagator.end_epoch()
            self.solver.count(steps)
        return loss

    def _ends_with(self, loss, n_samples):
        """Record an epoch; True if it was the last one."""
        history = self.history
        history.add(loss, n_samples, self.tol)
        if self.verbose:
            print(f"Iteration {history.n_iter}, loss = {loss:.8f}")
        if not math.isfinite(loss):
            raise ValueError(self._diverged(f"the loss is {loss}"))
        self.solver.epoch_ends(history.t)
        stops = history.no_improvement_count > self.n_iter_no_change
        if stops:
            stops = self._stops_at_plateau()
            history.no_improvement_count = 0
        # The hook hears of the last epoch, too.
        return bool(self.on_epoch is not None and self.on_epoch()) or stops

    def _stops_at_plateau(self):
        stops = self.solver.plateau()
        if not stops:
            outcome = f"Setting learning rate to {self.solver.learning_rate:f}"
        elif self.solver.schedule == "adaptive":
            outcome = "Learning rate too small. Stopping."
        else:
            outcome = "Stopping."
        if self.verbose:
            print(
                f"Training loss did not improve more than tol={self.tol:f} for "
                f"{self.n_iter_no_change} consecutive epochs. {outcome}"
            )
        return stops

    def _diverged(self, what):
        # Targets of the other losses are labels or counts, which have their scale.
        scaled = {"squared_error": "X and y", "sum_of_squares": "X and y"}
        return (
            f"Training diverged: {what} in epoch {self.history.n_iter}. Scale "
            f"{scaled.get(self.network.loss, 'X')}, with "
            "sklearn.preprocessing.StandardScaler for example, or lower "
            f"learning_rate_init={self.solver.learning_rate_init!r}."
        )


def _rows_per_batch(batch_size, n_samples):
    if batch_size == "auto":
        return min(AUTO_BATCH_SIZE, n_samples)
    if batch_size > n_samples:
        warnings.warn(
            f"batch_size={batch_size} is larger than the {n_samples} samples and is "
            "clipped to their number.",
            stacklevel=3,
        )
    return min(int(batch_size), n_samples)
