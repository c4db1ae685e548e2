"""Training: the loop over the epochs, and when it stops.

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
from dataclasses import dataclass, field

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from cbp.data._shuffle import shuffle
from cbp.data.rows import Rows
from cbp.network.network import Network
from cbp.training.early_stopping import EarlyStopping
from cbp.training.history import History
from cbp.training.record import Record
from cbp.training.solvers import SGD, Adam

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
