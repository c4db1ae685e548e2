"""One call of fit or partial_fit: where it begins, who trains, what is left of it.

Between an estimator, which has checked and encoded what the user gave, and `training`,
which knows no estimators. What is left of a fit are attributes: scikit-learn's, to be
looked at, and two private: `_network`, and `_state`, the `TrainingState` from which a
later call goes on exactly where this one stopped.
"""

import warnings
from copy import deepcopy
from dataclasses import replace
from functools import partial
from math import ceil
from numbers import Integral

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from cbp.data.rows import Rows
from cbp.data.splitting import split, split_by_class
from cbp.data.targets import accuracy, r2
from cbp.functions.losses import resolve_loss
from cbp.network.network import Network
from cbp.training.early_stopping import HeldOutScore
from cbp.training.lbfgs import LBFGSTrainer
from cbp.training.record import Record
from cbp.training.schedules import resolve_schedule
from cbp.training.solvers import resolve_solver
from cbp.training.state import TrainingState
from cbp.training.threads import threads_for
from cbp.training.trainer import Trainer

#: Attributes that only some fits leave; those of an earlier fit have to go.
OPTIONAL = ("classes_", "_label_binarizer", "record_")


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
        self.goes_on = goes_on
        before = getattr(estimator, "_state", None) if goes_on else None
        self.before = before or TrainingState()
        self.rng = self._random_state()
        self.network = self._network()
        self.state = self._state()
        epochs = 1 if incremental else estimator.max_iter
        work = X.shape[0] * self.network.n_params * epochs
        self.n_threads = threads_for(work, estimator.n_jobs)
        self.record = Record() if estimator.record == "summary" else None
        self.trainer = (
            self._stochastic() if self.state.solver.is_stochastic else self._lbfgs()
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
        seed, before = self.estimator.random_state, self.before.rng
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
        if not self.goes_on:
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

    def _state(self):
        """Where training begins, but for the parameters."""
        estimator, before = self.estimator, self.before
        solver = resolve_solver(estimator.solver, estimator)
        state = TrainingState.begin(
            self.network.params_,
            solver,
            schedule=resolve_schedule(estimator.learning_rate, solver, estimator),
            learning_rate_init=float(estimator.learning_rate_init),
            rng=self.rng,
            rows=self._rows() if solver.is_stochastic else None,
            history=before.history.next_call(counts_on=self.incremental),
        )
        state.take_up(before)
        return state

    def _lbfgs(self):
        estimator = self.estimator
        return LBFGSTrainer(
            self.network,
            self.state,
            max_iter=estimator.max_iter,
            tol=estimator.tol,
            n_threads=self.n_threads,
            verbose=estimator.verbose,
            record=self.record,
        )

    def _stochastic(self):
        estimator = self.estimator
        trainer = Trainer(
            self.network,
            self.state,
            batch_size=estimator.batch_size,
            shuffle=estimator.shuffle,
            max_iter=estimator.max_iter,
            tol=estimator.tol,
            n_iter_no_change=estimator.n_iter_no_change,
            n_threads=self.n_threads,
            verbose=estimator.verbose,
            record=self.record,
        )
        if estimator.early_stopping:
            trainer.score = self._score()
            self._resume_early_stopping(trainer.score)
        return trainer

    def _rows(self):
        """The rows of the call before, if they are as many; else a new split."""
        n = self.targets.shape[0]
        early_stopping, before = self.estimator.early_stopping, self.before.rows
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

    def _score(self):
        """What scores the network on the rows set aside."""
        aside, weight = self.state.rows.validation, self.sample_weight
        if weight is not None:
            weight = weight[aside]
            if not weight.any():
                raise ValueError(
                    "sample_weight is zero for every sample of the validation set; "
                    f"raise validation_fraction={self.estimator.validation_fraction}."
                )
        binarizer = self.encoding.get("_label_binarizer")
        return HeldOutScore(
            self.network,
            self.X,
            aside,
            self.targets[aside],
            r2 if binarizer is None else partial(accuracy, binarizer),
            sample_weight=weight,
            n_threads=self.n_threads,
        )

    def _resume_early_stopping(self, score):
        """Go on from before the best parameters were restored, if they still are."""
        params = self.network.params_
        if self.before.was_restored(params):
            # Of the samples set aside now, which need not be those of the call before.
            best = score()
            if np.isfinite(best):
                self.state.history.best_validation_score = best
                self.state.best_params = params.copy()
            self.network.params_ = self.before.last_params

    # -- what is left of it ------------------------------------------------------

    def attributes(self):
        """The attributes of the estimator after training."""
        return self._attributes(self.network, self.state)

    def attributes_if_stopped(self):
        """`attributes` as if training had stopped now, apart from what goes on."""
        network, state = deepcopy((self.network, self.state))
        if self._stops_early:
            state.restore_best(network)
        return self._attributes(network, state)

    @property
    def _stops_early(self):
        return isinstance(self.trainer, Trainer) and self.trainer.score is not None

    def _attributes(self, network, state):
        """What `network` and `state` come to, with the calls before."""
        stops_early = self._stops_early
        history = state.history.joined_to(self.before.history, self.incremental)
        if stops_early:
            history.best_loss = np.inf
        else:
            history.validation_scores = []
        # The global generator is not the model's.
        rng = None if self.rng is np.random.mtrand._rand else state.rng
        loss_curve = history.loss_curve
        return {
            **self.encoding,
            **self._recorded(),
            "_network": network,
            "_state": replace(state, history=history, rng=rng),
            # Of scikit-learn's own name, under which other packages look for it.
            "_no_improvement_count": history.no_improvement_count,
            "coefs_": network.coefs_,
            "intercepts_": network.intercepts_,
            "n_layers_": len(network.layer_sizes),
            "n_outputs_": network.layer_sizes[-1],
            "n_iter_": history.n_iter,
            "t_": history.t,
            "loss_": loss_curve[-1] if loss_curve else np.nan,
            "best_loss_": None if stops_early else history.best_loss,
            "loss_curve_": loss_curve,
            "validation_scores_": history.validation_scores if stops_early else None,
            "best_validation_score_": (
                history.best_validation_score if stops_early else None
            ),
        }

    def _recorded(self):
        """The record, if there is one, whose lists grow as that of losses does."""
        if self.record is None:
            return {}
        before = getattr(self.estimator, "record_", None) if self.goes_on else None
        return {"record_": self.record.joined_to(before or Record(), self.incremental)}


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
