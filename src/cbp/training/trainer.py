"""Training: the loop over the epochs, and when it stops.

Knows a network and the propagator it lends, which runs the batches of an epoch;
knows nothing of estimators. The rules, and the random stream that orders the samples,
are those of scikit-learn's multilayer perceptron: the same seed gives the same model.

What outlives an epoch is in `TrainingState`. The propagator writes into its moments,
and into ``network.params_``, when training ends, or after each epoch if anybody looks
at them in between.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from cbp.data._shuffle import shuffle
from cbp.data.rows import Rows
from cbp.network.network import Network
from cbp.training.record import Record
from cbp.training.state import TrainingState

#: Seconds for which a propagator works before Python gets to see a Ctrl-C: a tenth of
#: the half second within which it has to be answered.
SECONDS_BETWEEN_SIGNALS = 0.05

#: Rows of a batch for batch_size="auto", scikit-learn's.
AUTO_BATCH_SIZE = 200


@dataclass
class Trainer:
    """Trains a network epoch by epoch until it converges or may go no further.

    Parameters
    ----------
    network : Network
        Its `params_` are trained in place.
    state : TrainingState
        From which training goes on, and which it leaves. Its generator draws once
        before each epoch that is shuffled.
    batch_size : int or 'auto', default='auto'
        Rows per update; 'auto' is min(200, n). The last batch of an epoch may be
        shorter.
    shuffle : bool, default=True
        Whether each epoch shuffles the order of the epoch before.
    max_iter : int, default=200
        Largest number of epochs, and those that the schedule is laid out for.
    tol : float, default=1e-4
        An epoch improves if its loss is below the best one by at least this, or its
        score above the best one.
    n_iter_no_change : int or inf, default=10
        The solver is told of a plateau after more epochs than this without
        improvement.
    score : callable or None, default=None
        Returns the score of the network as it is, nan if it predicts no numbers. For
        early stopping: scores judge the epochs in the place of the loss, and the
        parameters of the best one are kept.
    n_threads : int, default=1
        Threads at most; the result is the same for any number.
    verbose : bool, default=False
        Whether to print the loss of each epoch and why training stops.
    on_epoch_begin : callable or None, default=None
        Called before each epoch.
    on_epoch : callable or None, default=None
        Called after each epoch; training stops if it returns True.
    record : Record or None, default=None
        Filled while training, if there is one.
    """

    network: Network
    state: TrainingState
    batch_size: int | str = "auto"
    shuffle: bool = True
    max_iter: int = 200
    tol: float = 1e-4
    n_iter_no_change: float = 10
    score: Callable[[], float] | None = None
    n_threads: int = 1
    verbose: bool = False
    on_epoch_begin: Callable[[], None] | None = None
    on_epoch: Callable[[], bool] | None = None
    record: Record | None = None

    def train(self, X, y, sample_weight=None):
        """Run epochs until one is the last; warn if `max_iter` cuts training short.

        However this ends, ``network.params_`` and the moments are those after the last
        finished batch and the history is that after the last finished epoch. With early
        stopping the network then holds the best parameters.

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
        state, history = self.state, self.state.history
        if history.no_improvement_count > self.n_iter_no_change:
            # What stopped an earlier run says nothing about this one.
            history.no_improvement_count = 0
        if state.rows is None:
            state.rows = Rows.all(X.shape[0])
        batch_size = _rows_per_batch(self.batch_size, len(state.rows.order))
        propagator = self.network.make_propagator(self.n_threads)
        if self.record is not None:
            propagator.use_summary()
        data = X, y, sample_weight, batch_size
        try:
            stops = any(self._epoch_is_last(propagator, data) for _ in range(n_epochs))
        finally:
            if propagator.in_training:
                propagator.end_training()
            if self.score is not None:
                state.restore_best(self.network)
        # The loss of an epoch is that before its last update.
        if not np.isfinite(self.network.params_).all():
            raise DivergenceError(self._diverged("a weight is not finite"))
        return stops

    @property
    def _is_watched(self):
        """Whether anybody looks at the network, or changes it, between two epochs."""
        watchers = self.on_epoch_begin, self.on_epoch, self.score
        return any(watcher is not None for watcher in watchers)

    def _epoch_is_last(self, propagator, data):
        if self.on_epoch_begin is not None:
            self.on_epoch_begin()
        state, order = self.state, self.state.rows.order
        if self.shuffle:
            # Shuffling the running order in place moves its entries as
            # scikit-learn's order[shuffled arange(n)] does, without the
            # two more vectors.
            shuffle(state.rng, order)
        if not propagator.in_training:
            propagator.use_solver(state.solver, state.moments, state.steps)
            propagator.begin_training(self.network.params_, *data)
        propagator.begin_epoch(order, self._rates(len(order), data[-1]))
        try:
            while not propagator.advance(SECONDS_BETWEEN_SIGNALS):
                pass
        finally:
            loss, state.steps = propagator.end_epoch()
            if self._is_watched:
                propagator.end_training()
        if self.record is not None:
            self.record.add(*propagator.summary())
        stops = self._judge(loss, len(order))
        # The hook hears of the last epoch, too.
        return bool(self.on_epoch is not None and self.on_epoch()) or stops

    def _rates(self, n_samples, batch_size):
        """The learning rate of each batch of the next epoch."""
        state = self.state
        n_batches = -(-n_samples // batch_size)
        epoch = state.history.n_iter
        return state.schedule.rates(
            state.learning_rate, n_batches, epoch, self.max_iter
        )

    def _judge(self, loss, n_samples):
        """Record an epoch; True if it was the last one."""
        state, history = self.state, self.state.history
        history.add(loss, n_samples)
        if self.verbose:
            print(f"Iteration {history.n_iter}, loss = {loss:.8f}")
        if self.score is None:
            if not math.isfinite(loss):
                raise DivergenceError(self._diverged(f"the loss is {loss}"))
            history.judge_loss(self.tol)
        else:
            score = self.score()
            if history.judge_score(score, self.tol):
                state.best_params = self.network.params_.copy()
            if self.verbose:
                print(f"Validation score: {score:f}")
            if math.isnan(score):
                return self._stops_diverged()
        state.learning_rate = state.schedule.after_epoch(
            state.learning_rate, state.learning_rate_init, history.t
        )
        if history.no_improvement_count <= self.n_iter_no_change:
            return False
        return self._stops_at_plateau()

    def _stops_at_plateau(self):
        state = self.state
        rate = state.schedule.at_plateau(state.learning_rate)
        if rate is None:
            outcome = state.schedule.last_words
        else:
            outcome = f"Setting learning rate to {rate:f}"
            state.learning_rate, state.history.no_improvement_count = rate, 0
        if self.verbose:
            judged = "Training loss" if self.score is None else "Validation score"
            print(
                f"{judged} did not improve more than tol={self.tol:f} for "
                f"{self.n_iter_no_change} consecutive epochs. {outcome}"
            )
        return rate is None

    def _stops_diverged(self):
        """Nothing gets better once no numbers are predicted; the best is kept."""
        if self.state.best_params is None:
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
            f"{what} in epoch {self.state.history.n_iter}",
            self.network,
            f"lower learning_rate_init={self.state.learning_rate_init!r}",
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
