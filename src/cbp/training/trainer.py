"""Training: the state of the solvers, the loop over the epochs, and when it stops.

Knows a network and the propagator it lends, which runs the batches of an epoch;
knows nothing of estimators. The rules, and the random stream that orders the samples,
are those of scikit-learn's multilayer perceptron: the same seed gives the same model.

What outlives an epoch is kept in dataclasses (`Adam` or `SGD`, `Rows`, `History`) whose
fields are numbers, strings, lists of numbers and flat arrays, so that they can be
saved, loaded and trained on: k epochs and m more, with the generator that orders the
samples, are the k + m epochs of one run to the last bit. The arrays belong to the
solver; the propagator writes into them, and into ``network.params_``, when training
ends, or after each epoch if anybody looks at them in between.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from cbp.data._shuffle import shuffle
from cbp.network.network import Network
from cbp.training.record import Record

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

    def resume(self, before):
        """Go on from the moments that `before` has reached."""
        self.m, self.v, self.steps = before.m.copy(), before.v.copy(), before.steps

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

    def resume(self, before):
        """Go on from the velocity, and the rate, that `before` has reached."""
        self.velocity = before.velocity.copy()
        planned = (self.schedule, self.learning_rate_init)
        if planned == (before.schedule, before.learning_rate_init):
            self.learning_rate = before.learning_rate

    def attach(self, propagator):
        """Let `propagator` train with this state."""
        propagator.use_sgd(self.velocity, self.momentum, self.nesterov)

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
class Rows:
    """Which rows of X train, in their running order, and which are set aside.

    Parameters
    ----------
    order : ndarray of shape (n_train,)
        Indices of rows; each epoch shuffles them once more.
    validation : ndarray of shape (n_validation,) or None, default=None
        Indices of the rows that early stopping scores; None without it.
    """

    order: np.ndarray
    validation: np.ndarray | None = None

    @classmethod
    def all(cls, n):
        """All n rows train."""
        return cls(np.arange(n, dtype=np.intp))

    def copy(self):
        """The same rows, whose order can be shuffled apart from this one."""
        return replace(self, order=self.order.copy())

    @property
    def n(self):
        """How many rows there are in all."""
        return len(self.order) + self.n_aside

    @property
    def n_aside(self):
        """How many of them do not train."""
        return 0 if self.validation is None else len(self.validation)

    def __getstate__(self):
        # Up to 2^16 or 2^32 rows take a quarter or half of the space in a file.
        small = np.min_scalar_type(self.n)
        return {
            name: None if rows is None else rows.astype(small)
            for name, rows in vars(self).items()
        }

    def __setstate__(self, state):
        for name, rows in state.items():
            setattr(self, name, None if rows is None else rows.astype(np.intp))


@dataclass
class History:
    """What training has recorded over its finished epochs.

    Parameters
    ----------
    loss_curve : list of float
        Loss of each epoch: the mean over its samples of the loss of their batch
        before that batch's update, penalty included.
    best_loss : float
        Smallest loss of an epoch.
    validation_scores : list of float
        Score of the rows set aside after each epoch; empty without early stopping.
    best_validation_score : float
        Largest of them.
    no_improvement_count : int
        Epochs since the loss last fell, or the score rose, by `tol`.
    n_iter : int
        Number of epochs.
    t : int
        Number of samples seen.
    """

    loss_curve: list[float] = field(default_factory=list)
    best_loss: float = math.inf
    validation_scores: list[float] = field(default_factory=list)
    best_validation_score: float = -math.inf
    no_improvement_count: int = 0
    n_iter: int = 0
    t: int = 0

    def add(self, loss, n_samples):
        """Record an epoch of `n_samples` samples."""
        self.loss_curve.append(np.float64(loss))  # as scikit-learn's users expect
        self.n_iter += 1
        self.t += n_samples

    def judge_loss(self, tol):
        """Count the epoch unless its loss improves on the best by `tol`."""
        loss = self.loss_curve[-1]
        self._count(loss > self.best_loss - tol)
        self.best_loss = min(self.best_loss, loss)

    def judge_score(self, score, tol):
        """Count the epoch unless `score` improves by `tol`; whether it is the best."""
        self.validation_scores.append(score)
        self._count(score < self.best_validation_score + tol)
        is_best = score > self.best_validation_score
        if is_best:
            self.best_validation_score = score
        return is_best

    def _count(self, stays):
        self.no_improvement_count = self.no_improvement_count + 1 if stays else 0


@dataclass
class EarlyStopping:
    """Scores the network after each epoch and keeps the best parameters.

    Parameters
    ----------
    score : callable
        Returns the score of the network as it is; nan if it predicts no numbers.
    best_params : ndarray of shape (n_params,) or None, default=None
        Parameters of the best score so far.
    last_params : ndarray of shape (n_params,) or None, default=None
        Where training had got to when the best parameters were put back.
    """

    score: Callable[[], float]
    best_params: np.ndarray | None = None
    last_params: np.ndarray | None = None

    def judge(self, network, history, tol):
        """Score an epoch; returns the score."""
        score = float(self.score())
        if history.judge_score(score, tol):
            self.best_params = network.params_.copy()
        return score

    def restore(self, network):
        """Put the best parameters back into the network."""
        self.last_params = network.params_.copy()
        if self.best_params is not None:
            network.params_ = self.best_params


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
    rows : Rows or None, default=None
        The rows that train; all of them by default.
    batch_size : int or 'auto', default='auto'
        Rows per update; 'auto' is min(200, n). The last batch of an epoch may be
        shorter.
    shuffle : bool, default=True
        Whether each epoch shuffles the order of the epoch before.
    max_iter : int, default=200
        Largest number of epochs.
    tol : float, default=1e-4
        An epoch improves if its loss is below the best one by at least this, or its
        score above the best one.
    n_iter_no_change : int or inf, default=10
        The solver is told of a plateau after more epochs than this without
        improvement.
    early_stopping : EarlyStopping or None, default=None
        Judges the epochs in the place of the loss.
    n_threads : int, default=1
        Threads at most; the result is the same for any number.
    verbose : bool, default=False
        Whether to print the loss of each epoch and why training stops.
    on_epoch_begin : callable or None, default=None
        Called before each epoch.
    on_epoch : callable or None, default=None
        Called after each epoch; training stops if it returns True.
    history : History, optional
        Filled while training; of an earlier run, to go on from there.
    record : Record or None, default=None
        Filled while training, if there is one.
    """

    network: Network
    solver: Adam | SGD
    rng: np.random.RandomState
    rows: Rows | None = None
    batch_size: int | str = "auto"
    shuffle: bool = True
    max_iter: int = 200
    tol: float = 1e-4
    n_iter_no_change: float = 10
    early_stopping: EarlyStopping | None = None
    n_threads: int = 1
    verbose: bool = False
    on_epoch_begin: Callable[[], None] | None = None
    on_epoch: Callable[[], bool] | None = None
    history: History = field(default_factory=History)
    record: Record | None = None

    def train(self, X, y, sample_weight=None):
        """Run epochs until one is the last; warn if `max_iter` cuts training short.

        However this ends, ``network.params_`` and the solver hold the state after the
        last finished batch and `history` that after the last finished epoch. With
        early stopping the network then holds the best parameters.

        Parameters
        ----------
        X : ndarray of shape (n, n_0), or its canonical CSR
            Of the network's dtype, with contiguous rows. Read in place.
        y : ndarray of shape (n, n_L), or codes of classes of shape (n,)
            Contiguous, of the network's dtype; the codes, for log_loss on softmax
            outputs, of int32.
        sample_weight : ndarray of shape (n,), default=None
            Contiguous, of the network's dtype.

        Raises
        ------
        DivergenceError
            If the loss of an epoch, or a parameter in the end, is not finite.
        KeyboardInterrupt
            On Ctrl-C, between two batches.
        """
        converged = self.run_epochs(self.max_iter, X, y, sample_weight)
        if not converged:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) "
                "reached and the optimization hasn't converged yet. "
                "Raise max_iter, or tol if the loss is good enough.",
                ConvergenceWarning,
                stacklevel=2,
            )

    def run_epochs(self, n_epochs, X, y, sample_weight=None):
        """As `train`, at most `n_epochs`; returns whether training is to stop."""
        if self.history.no_improvement_count > self.n_iter_no_change:
            # What stopped an earlier run says nothing about this one.
            self.history.no_improvement_count = 0
        self.rows = rows = self.rows or Rows.all(X.shape[0])
        batch_size = _rows_per_batch(self.batch_size, len(rows.order))
        propagator = self.network.make_propagator(self.n_threads)
        if self.record is not None:
            propagator.use_summary()
        data = X, y, sample_weight, batch_size
        try:
            stops = any(self._epoch_is_last(propagator, data) for _ in range(n_epochs))
        finally:
            if propagator.in_training:
                propagator.end_training()
            if self.early_stopping is not None:
                self.early_stopping.restore(self.network)
        # The loss of an epoch is that before its last update.
        if not np.isfinite(self.network.params_).all():
            raise DivergenceError(self._diverged("a weight is not finite"))
        return stops

    @property
    def _is_watched(self):
        """Whether anybody looks at the network, or changes it, between two epochs."""
        watchers = self.on_epoch_begin, self.on_epoch, self.early_stopping
        return any(watcher is not None for watcher in watchers)

    def _epoch_is_last(self, propagator, data):
        if self.on_epoch_begin is not None:
            self.on_epoch_begin()
        order = self.rows.order
        if self.shuffle:
            # Shuffling the running order in place moves its entries as
            # scikit-learn's order[shuffled arange(n)] does, without the
            # two more vectors.
            shuffle(self.rng, order)
        if not propagator.in_training:
            self.solver.attach(propagator)
            propagator.begin_training(self.network.params_, *data)
        propagator.begin_epoch(order, self.solver.learning_rate)
        try:
            while not propagator.advance(SECONDS_BETWEEN_SIGNALS):
                pass
        finally:
            loss, steps = propagator.end_epoch()
            self.solver.count(steps)
            if self._is_watched:
                propagator.end_training()
        if self.record is not None:
            self.record.add(*propagator.summary())
        stops = self._judge(loss, len(order))
        # The hook hears of the last epoch, too.
        return bool(self.on_epoch is not None and self.on_epoch()) or stops

    def _judge(self, loss, n_samples):
        """Record an epoch; True if it was the last one."""
        history = self.history
        history.add(loss, n_samples)
        if self.verbose:
            print(f"Iteration {history.n_iter}, loss = {loss:.8f}")
        if self.early_stopping is None:
            if not math.isfinite(loss):
                raise DivergenceError(self._diverged(f"the loss is {loss}"))
            history.judge_loss(self.tol)
        else:
            score = self.early_stopping.judge(self.network, history, self.tol)
            if self.verbose:
                print(f"Validation score: {score:f}")
            if math.isnan(score):
                return self._stops_diverged()
        self.solver.epoch_ends(history.t)
        if history.no_improvement_count <= self.n_iter_no_change:
            return False
        return self._stops_at_plateau()

    def _stops_at_plateau(self):
        stops = self.solver.plateau()
        if not stops:
            outcome = f"Setting learning rate to {self.solver.learning_rate:f}"
            self.history.no_improvement_count = 0
        elif self.solver.schedule == "adaptive":
            outcome = "Learning rate too small. Stopping."
        else:
            outcome = "Stopping."
        if self.verbose:
            judged = (
                "Training loss" if self.early_stopping is None else "Validation score"
            )
            print(
                f"{judged} did not improve more than tol={self.tol:f} for "
                f"{self.n_iter_no_change} consecutive epochs. {outcome}"
            )
        return stops

    def _stops_diverged(self):
        """Nothing gets better once no numbers are predicted; the best is kept."""
        if self.early_stopping.best_params is None:
            raise DivergenceError(self._diverged("what it predicts is not finite"))
        warnings.warn(
            f"{self._diverged('what it predicts is not finite')} The weights of the "
            "best validation score are kept.",
            ConvergenceWarning,
            stacklevel=2,
        )
        return True

    def _diverged(self, what):
        return divergence_message(
            f"{what} in epoch {self.history.n_iter}",
            self.network,
            f"lower learning_rate_init={self.solver.learning_rate_init!r}",
        )


class DivergenceError(ValueError):
    """Training has led to a loss or parameters that are not finite."""


def divergence_message(what, network, remedy):
    """A sentence for the user whose training has led to numbers that are none."""
    scaled = "X and y" if network.C_0.y_has_scale else "X"
    return (
        "Solver produced non-finite parameter weights. The input data may contain "
        f"large values and need to be preprocessed. Training diverged: {what}. Scale "
        f"{scaled}, with sklearn.preprocessing.StandardScaler "
        f"for example, or {remedy}."
    )


def _rows_per_batch(batch_size, n_samples):
    if batch_size == "auto":
        return min(AUTO_BATCH_SIZE, n_samples)
    if batch_size > n_samples:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to "
            f"be clipped from {batch_size} to {n_samples}.",
            stacklevel=3,
        )
    return min(int(batch_size), n_samples)
