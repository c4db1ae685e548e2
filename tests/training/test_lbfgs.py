"""The solver 'lbfgs': scipy's search over the kernels' loss and gradient."""

import signal
import threading

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from cbp import MLPClassifier, MLPEstimator, MLPRegressor

QUICK = {"solver": "lbfgs", "hidden_layer_sizes": (4,), "random_state": 0}


def samples(dtype=np.float64, n_samples=60):
    X = np.random.RandomState(0).normal(size=(n_samples, 3)).astype(dtype)
    return X, X[:, 0] * X[:, 1] + X[:, 2]


@pytest.mark.filterwarnings("ignore:lbfgs failed")  # the one that is cut off
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize(
    "model, target",
    [
        (MLPClassifier(), lambda y: y > 0),
        (MLPClassifier(), lambda y: np.digitize(y, [-1, 1])),
        (MLPClassifier(), lambda y: np.column_stack([y > 0, y > 1]).astype(int)),
        (MLPRegressor(), lambda y: y),
        (MLPRegressor(), lambda y: np.column_stack([y, -2 * y])),
        (MLPRegressor("poisson"), lambda y: np.floor(np.exp(y / 2))),
        (MLPEstimator("sum_of_squares"), lambda y: y),
    ],
    ids=[
        *("binary", "multiclass", "multilabel", "regression", "multi-output"),
        *("poisson", "sum_of_squares"),
    ],
)
def test_it_ends_at_a_minimum(model, target, activation, dtype):
    X, y = samples(dtype)
    y = target(y)
    model = clone(model).set_params(
        **QUICK, activation=activation, alpha=0.1, max_iter=2000
    )
    start = model.set_params(max_fun=1).fit(X, y).network_
    model.set_params(max_fun=15000).fit(X, y)
    assert {w.dtype for w in [*model.coefs_, *model.intercepts_]} == {np.dtype(dtype)}
    targets = y
    if hasattr(model, "_label_binarizer"):
        targets = model._label_binarizer.transform(y)
    loss, gradient = model.network_.loss_and_grad(X, targets)
    assert loss == pytest.approx(
        model.loss_, rel=1e-12 if dtype == np.float64 else 1e-5
    )
    at_start = start.loss_and_grad(X, targets)[1]
    # Where relu has its kinks the gradient jumps, and need not become small.
    share = 0.2 if activation == "relu" else 0.02
    assert np.linalg.norm(gradient) < share * np.linalg.norm(at_start)
    assert model.loss_ == min(model.loss_curve_) == model.best_loss_
    assert len(model.loss_curve_) == model.n_iter_
    assert np.all(np.diff(model.loss_curve_) <= 0)


@pytest.mark.parametrize(
    "limit, value, message",
    [("max_iter", 3, "max_iter=3"), ("max_fun", 4, "max_fun=4")],
)
def test_limits_end_the_search_with_a_warning(limit, value, message):
    X, y = samples()
    model = MLPRegressor(**QUICK).set_params(**{limit: value})
    with pytest.warns(ConvergenceWarning, match=f"(?s)lbfgs failed to conv.*{message}"):
        model.fit(X, y)
    assert model.n_iter_ <= value


def test_fitted_attributes_are_scikit_learns_and_the_course_of_the_search():
    X, y = samples()
    ours = MLPRegressor(**QUICK, max_iter=500).fit(X, y)
    theirs = neural_network.MLPRegressor(**QUICK, max_iter=500).fit(X, y)
    added = {"loss_curve_", "best_loss_", "validation_scores_"}
    added |= {"best_validation_score_"}

    def public(model):
        return {name for name in vars(model) if name.endswith("_")}

    assert public(ours) == public(theirs) | added
    assert ours.t_ == theirs.t_ == 0
    assert ours.validation_scores_ is ours.best_validation_score_ is None


def test_warm_start_goes_on_from_the_weights_that_are_there():
    X, y = samples()
    model = MLPRegressor(**QUICK, max_iter=1000, tol=1e-6).fit(X, y)
    loss = model.loss_
    with pytest.warns(ConvergenceWarning):
        model.set_params(warm_start=True, max_iter=1, tol=0.0).fit(X, y)
    assert model.loss_ <= loss * (1 + 1e-12)
    assert len(model.loss_curve_) > 1
    model.coefs_[0] = np.zeros_like(model.coefs_[0])
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    assert model.loss_curve_[-1] > loss


def test_solvers_may_take_turns():
    X, y = samples()
    model = MLPRegressor(**{**QUICK, "solver": "adam"}, warm_start=True, max_iter=3)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
        model.set_params(solver="lbfgs", max_iter=2).fit(X, y)
        before = model.loss_
        model.set_params(solver="sgd", max_iter=1).fit(X, y)
    assert before < model.loss_curve_[0]
    assert len(model.loss_curve_) == 6
    assert model.t_ == 4 * len(X)


def test_sample_weights_count():
    X, y = samples()
    weight = np.random.RandomState(1).randint(0, 3, len(X))
    repeated = MLPRegressor(**QUICK, max_iter=30, alpha=0.01)
    weighted = MLPRegressor(**QUICK, max_iter=30, alpha=0.01)
    with pytest.warns(ConvergenceWarning):
        repeated.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
        weighted.fit(X, y, weight)
    np.testing.assert_allclose(weighted.coefs_[0], repeated.coefs_[0], rtol=1e-6)


def test_verbose_prints_the_loss_of_each_iteration(capsys):
    X, y = samples()
    model = MLPRegressor(**QUICK, max_iter=500, verbose=True).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"Iteration {i}, loss = {loss:.8f}"
        for i, loss in enumerate(model.loss_curve_, start=1)
    ]


class StopsAfter:
    """A callback that counts and ends training."""

    def __init__(self, n):
        self.n, self.calls = n, []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        self.calls.append(f"end {context.task_name}")
        return fitted_estimator.n_iter_ == self.n


def test_callbacks_hear_of_each_iteration_and_can_stop():
    X, y = samples()
    callback = StopsAfter(3)
    model = MLPRegressor(**QUICK).set_callbacks(callback).fit(X, y)
    assert model.n_iter_ == 3
    iterations = ["begin epoch", "end epoch"] * 3
    assert callback.calls == ["begin fit", *iterations, "end fit"]


def test_numbers_too_large_are_refused_and_change_nothing():
    X, y = samples()
    model = MLPRegressor(**QUICK, max_iter=500).fit(X, y)
    before = dict(vars(model))
    with pytest.raises(ValueError, match="Training diverged: the loss is"):
        model.fit(X * 1e200, y * 1e200)
    assert vars(model) == before


def test_ctrl_c_keeps_the_weights_of_the_last_iteration():
    X, y = samples()

    class Interrupts(StopsAfter):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator):
            super().on_fit_task_end(
                estimator, context, fitted_estimator=fitted_estimator
            )
            if len(self.calls) > 6:
                self.params = fitted_estimator.network_.params_.copy()
                signal.raise_signal(signal.SIGINT)

    assert threading.current_thread() is threading.main_thread()
    callback = Interrupts(None)
    model = MLPRegressor(**QUICK).set_callbacks(callback)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    np.testing.assert_array_equal(model.network_.params_, callback.params)
    assert model.n_iter_ == len(model.loss_curve_) == 3
