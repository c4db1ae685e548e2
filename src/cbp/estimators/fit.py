"""One call of fit or partial_fit: where it begins, who trains, what is left of it.

Between an estimator, which has checked and encoded what the user gave, and
`training` or `lbfgs`, which know no estimators. What is left of a fit are attributes:
scikit-learn's public ones, and behind underscores what a later call needs to go on
exactly where this one stopped:

    _optimizer              Adam or SGD: moments, velocity, current rate
    _random_state           the generator that orders the samples
    _rows                   the running order of the rows, and which are set aside
    _restored               with early stopping: where training was when it ended
    _no_improvement_count   epochs without improvement so far
"""

import warnings
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from math import ceil
from numbers import Integral

import numpy as np
from scipy.sparse import issparse
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from cbp.data.chunks import slices
from cbp.data.rows import Rows
from cbp.data.splitting import split, split_by_class
from cbp.data.targets import accuracy, r2
from cbp.functions.losses import resolve_loss
from cbp.network.network import Network
from cbp.training.early_stopping import EarlyStopping
from cbp.training.history import History
from cbp.training.lbfgs import LBFGS
from cbp.training.record import Record
from cbp.training.solvers import SGD, Adam
from cbp.training.threads import threads_for
from cbp.training.trainer import Trainer

#: Bytes of the rows set aside that are copied out of X at a time to be scored.
BLOCK_BYTES = 1 << 24

#: Attributes that only some fits leave; those of an earlier fit have to go.
OPTIONAL = (
    *("classes_", "_label_binarizer", "record_"),
    *("_optimizer", "_random_state", "_rows", "_restored", "_no_improvement_count"),
)


@dataclass
class Restored:
    """The parameters that early stopping put back, and those it put them in place of.

    Training goes on from the latter as long as nobody has changed the former.
    """

    best: np.ndarray
    last: np.ndarray


class Fit:
    """Makes the network and the trainer of one call, and the attributes it leaves.

    Parameters
    ----------
    estimator : MLPEstimator
        Whose parameters have been checked.
    X, y, sample_weight
        As the user means them, X and `sample_weight` as the kernels read them.
    targets : ndarray of shape (n, n_outputs), or codes of classes of shape (n,)
        y as the network sees it.
    encoding : dict
        Attributes that say how y was encoded.
    goes_on : bool
        Whether training goes on from what the estimator holds.
    incremental : bool
        Whether this is partial_fit.
    """

    def __init__(
        self, estimator, X, y, sample_weight, targets, encoding, goes_on, incremental
    ):
        self.estimator = estimator
        self.X, self.y, self.sample_weight = X, y, sample_weight
        self.targets, self.encoding = targets, encoding
        self.incremental = incremental
        self.before = dict(vars(estimator)) if goes_on else {}
        self.early_stopping = None
        self.rng = self._random_state()
        self.network = self._network()
        epochs = 1 if incremental else estimator.max_iter
        work = X.shape[0] * self.network.n_params * epochs
        self.n_threads = threads_for(work, estimator.n_jobs)
        self.record = Record() if estimator.record == "summary" else None
        self.trainer = (
            self._lbfgs() if estimator.solver == "lbfgs" else self._stochastic()
        )

    def train(self):
        """Run all epochs, or the one of partial_fit."""
        data = (self.X, self.targets, self.sample_weight)
        if self.incremental:
            self.trainer.run_epochs(1, *data)
        else:
            self.trainer.train(*data)

    # -- where it begins ---------------------------------------------------------

    def _random_state(self):
        seed, before = self.estimator.random_state, self.before.get("_random_state")
        if before is None or isinstance(seed, np.random.RandomState):
            return check_random_state(seed)
        return deepcopy(before)

    def _network(self):
        estimator = self.estimator
        settings = {
            "activation": estimator.activation,
            "output_activation": self.encoding["out_activation_"],
            "loss": estimator.loss,
            "alpha": estimator.alpha,
            "dtype": self.X.dtype,
        }
        hidden_sizes = _hidden_sizes(estimator.hidden_layer_sizes)
        sizes = (self.X.shape[1], *hidden_sizes, self._n_outputs())
        if not self.before:
            return Network(sizes, **settings, random_state=self.rng)
        trained = estimator.network_
        same_loss = trained.C_0 == resolve_loss(estimator.loss)
        for name, wanted, is_same in (
            ("layer_sizes", sizes, trained.layer_sizes == sizes),
            ("loss", estimator.loss, same_loss),
        ):
            if not is_same:
                raise ValueError(
                    f"Training cannot go on: {name} is {getattr(trained, name)!r} in "
                    f"the fitted network, but would be {wanted!r} with this y and "
                    f"hidden_layer_sizes={estimator.hidden_layer_sizes!r}. Set the "
                    "parameters back, or start anew: warm_start=False and fit."
                )
        return Network(sizes, **settings, params=trained.copy_params())

    def _n_outputs(self):
        if self.targets.ndim == 1:
            return len(self.encoding["classes_"])
        return self.targets.shape[1]

    def _lbfgs(self):
        estimator = self.estimator
        return LBFGS(
            self.network,
            max_iter=estimator.max_iter,
            max_fun=estimator.max_fun,
            tol=estimator.tol,
            n_threads=self.n_threads,
            verbose=estimator.verbose,
            history=self._history(),
            record=self.record,
        )

    def _stochastic(self):
        estimator = self.estimator
        trainer = Trainer(
            self.network,
            self._solver(),
            self.rng,
            rows=self._rows(),
            batch_size=estimator.batch_size,
            shuffle=estimator.shuffle,
            max_iter=estimator.max_iter,
            tol=estimator.tol,
            n_iter_no_change=estimator.n_iter_no_change,
            n_threads=self.n_threads,
            verbose=estimator.verbose,
            history=self._history(),
            record=self.record,
        )
        if estimator.early_stopping:
            self.early_stopping = EarlyStopping(self._validation(trainer.rows))
            self._resume_early_stopping(trainer.history)
            trainer.early_stopping = self.early_stopping
        return trainer

    def _solver(self):
        estimator, before = self.estimator, self.before.get("_optimizer")
        if estimator.solver == "adam":
            solver = Adam.for_network(
                self.network,
                learning_rate_init=float(estimator.learning_rate_init),
                beta_1=float(estimator.beta_1),
                beta_2=float(estimator.beta_2),
                epsilon=float(estimator.epsilon),
            )
        else:
            solver = SGD.for_network(
                self.network,
                learning_rate_init=float(estimator.learning_rate_init),
                schedule=estimator.learning_rate,
                power_t=float(estimator.power_t),
                momentum=float(estimator.momentum),
                nesterov=bool(estimator.nesterovs_momentum),
            )
        if type(before) is type(solver):
            solver.resume(before)
        return solver

    def _history(self):
        before = self.before
        history = History(
            no_improvement_count=before.get("_no_improvement_count", 0),
            n_iter=before.get("n_iter_", 0) if self.incremental else 0,
            t=before.get("t_", 0),
        )
        if before.get("best_loss_") is not None:
            history.best_loss = before["best_loss_"]
        return history

    def _rows(self):
        """The rows of the call before, if they are as many; else a new split."""
        n = self.targets.shape[0]
        early_stopping = self.estimator.early_stopping
        before = self.before.get("_rows")
        fraction = self.estimator.validation_fraction
        n_aside = ceil(fraction * n) if early_stopping else 0
        if before is not None and (before.n, before.n_aside) == (n, n_aside):
            return before.copy()
        if not early_stopping:
            return Rows.all(n)
        if n_aside == n:
            raise ValueError(
                f"validation_fraction={fraction} sets all {n} samples aside; lower it."
            )
        rows = Rows(*self._split(n, n_aside)) if n_aside else Rows.all(n)
        if rows.n_aside < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                f"({fraction}) or the size of your dataset."
            )
        return rows

    def _split(self, n, n_aside):
        """Indices of the rows that train, and of those set aside."""
        binarizer = self.encoding.get("_label_binarizer")
        if binarizer is None or binarizer.y_type_.startswith("multilabel"):
            return split(n, n_aside, self.rng)
        try:
            return split_by_class(self.targets.ravel(), n_aside, self.rng)
        except ValueError as error:
            if binarizer.y_type_ == "binary":
                # Refuses it in the words that users of scikit-learn know.
                return train_test_split(
                    np.arange(n), test_size=n_aside, stratify=self.targets > 0
                )
            # Where scikit-learn does not stratify, it does not refuse either.
            warnings.warn(
                f"The rows set aside do not have the classes in equal shares: {error} "
                f"Raise validation_fraction={self.estimator.validation_fraction}.",
                stacklevel=2,
            )
            return split(n, n_aside, self.rng)

    # -- early stopping ----------------------------------------------------------

    def _validation(self, rows):
        """A function that scores the network on the rows set aside."""
        aside, network = rows.validation, self.network
        targets, weight = self.targets[aside], self.sample_weight
        if weight is not None:
            weight = weight[aside]
            if not weight.any():
                raise ValueError(
                    "sample_weight is zero for every sample of the validation set; "
                    f"raise validation_fraction={self.estimator.validation_fraction}."
                )
        binarizer = self.encoding.get("_label_binarizer")
        metric = r2 if binarizer is None else partial(accuracy, binarizer)
        a = np.empty((len(aside), network.layer_sizes[-1]), network.dtype)
        propagator = network.make_propagator(self.n_threads)
        blocks = _Blocks(self.X, aside)

        def score():
            for block, X in blocks:
                propagator.forward(network.params_, X, a[block])
                del X  # before the next block is made
            return metric(a, targets, weight) if np.isfinite(a).all() else np.nan

        return score

    def _resume_early_stopping(self, history):
        """Go on from before the best parameters were restored, if they still are."""
        restored, params = self.before.get("_restored"), self.network.params_
        if restored is not None and np.array_equal(params, restored.best):
            # Of the samples set aside now, which need not be those of the call before.
            score = self.early_stopping.score()
            if np.isfinite(score):
                history.best_validation_score = float(score)
                self.early_stopping.best_params = params.copy()
            self.network.params_ = restored.last

    # -- what is left of it ------------------------------------------------------

    def attributes(self):
        """The attributes of the estimator after training."""
        network, early_stopping = self.network, self.early_stopping
        return {
            **self._outcome(network),
            **self._recorded(),
            **self._state(network, early_stopping),
        }

    def attributes_if_stopped(self):
        """`attributes` as if training had stopped now, apart from what goes on."""
        network, early_stopping = deepcopy((self.network, self.early_stopping))
        if early_stopping is not None:
            early_stopping.restore(network)
        return {
            **self._outcome(network),
            **self._recorded(),
            **deepcopy(self._state(network, early_stopping)),
        }

    def _state(self, network, early_stopping):
        """What a later call goes on from."""
        trainer = self.trainer
        state = {"_no_improvement_count": trainer.history.no_improvement_count}
        if self.rng is not np.random.mtrand._rand:
            state["_random_state"] = self.rng
        if isinstance(trainer, Trainer):
            state["_optimizer"], state["_rows"] = trainer.solver, trainer.rows
        if early_stopping is not None and early_stopping.last_params is not None:
            best = network.params_.copy()
            state["_restored"] = Restored(best, early_stopping.last_params)
        return state

    def _outcome(self, network):
        history = self.trainer.history
        stops_early = self.early_stopping is not None
        before = self.before.get
        loss_curve = self._longer(before("loss_curve_"), history.loss_curve)
        return {
            **self.encoding,
            "_network": network,
            "coefs_": network.coefs_,
            "intercepts_": network.intercepts_,
            "n_layers_": len(network.layer_sizes),
            "n_outputs_": network.layer_sizes[-1],
            "n_iter_": history.n_iter,
            "t_": history.t,
            "loss_": loss_curve[-1] if loss_curve else np.nan,
            "best_loss_": None if stops_early else history.best_loss,
            "loss_curve_": loss_curve,
            "validation_scores_": (
                self._longer(before("validation_scores_"), history.validation_scores)
                if stops_early
                else None
            ),
            "best_validation_score_": (
                history.best_validation_score if stops_early else None
            ),
        }

    def _recorded(self):
        """The record, if there is one, whose lists grow as that of losses does."""
        if self.record is None:
            return {}
        before = vars(self.before.get("record_", Record()))
        fields = vars(self.record).items()
        longer = {name: self._longer(before[name], epochs) for name, epochs in fields}
        return {"record_": Record(**longer)}

    def _longer(self, before, values):
        """The list of the call before, if there is one, with the values of this one."""
        if self.incremental and before is not None:
            # In place, as a copy in each of many calls would cost their square.
            before.extend(values)
            return before
        return [*(before or ()), *values]


class _Blocks:
    """Some rows of X, time and again, in blocks: (slice, X[rows[slice]]).

    Rows that fit into one block are copied once, others anew each time.
    """

    def __init__(self, X, rows):
        n_bytes = X.data.nbytes + X.indices.nbytes if issparse(X) else X.nbytes
        rows_per_block = max(1, BLOCK_BYTES * X.shape[0] // max(1, n_bytes))
        self.X, self.rows = X, rows
        self.slices = slices(len(rows), rows_per_block)
        self.only = X[rows] if len(self.slices) == 1 else None

    def __iter__(self):
        for block in self.slices:
            rows = self.rows[block]
            yield block, self.X[rows] if self.only is None else self.only


def _hidden_sizes(sizes):
    sizes = (sizes,) if isinstance(sizes, Integral) else tuple(sizes)
    if any(isinstance(size, bool) or not isinstance(size, Integral) for size in sizes):
        raise ValueError(
            f"hidden_layer_sizes must hold integers, got {list(sizes)}; give one "
            "for each hidden layer, or () for none."
        )
    if any(size <= 0 for size in sizes):
        raise ValueError(
            f"hidden_layer_sizes must be > 0, got {list(sizes)}; give one integer "
            "for each hidden layer, or () for none."
        )
    return sizes
