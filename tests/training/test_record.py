"""record="summary": what a fit says of its epochs, and that it changes nothing else."""

import dataclasses
import pickle
import warnings

import numpy as np
import pytest
from matplotlib import pyplot as plt
from scipy import sparse
from sklearn.base import clone

from cbp import (
    ErrorSignalDisplay,
    GradientFlowDisplay,
    MLPClassifier,
    MLPEstimator,
    MLPRegressor,
    Record,
    from_sklearn,
    to_sklearn,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

HIDDEN = (7, 5)
FIELDS = [field.name for field in dataclasses.fields(Record)]
SOLVERS = {
    "adam": {},
    "sgd": {"solver": "sgd", "momentum": 0.0},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd", "learning_rate": "invscaling"},
}


def samples(dtype=np.float64, n=60):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n, 3)).astype(dtype)
    weight = rng.uniform(0.5, 2.0, n).astype(dtype)
    return X, np.column_stack([X[:, 0] * X[:, 1], X[:, 2]]), weight


def estimator(Estimator=MLPRegressor, **params):
    defaults = {
        "hidden_layer_sizes": HIDDEN,
        "max_iter": 3,
        "learning_rate_init": 0.01,
        "random_state": 0,
        "record": "summary",
    }
    return Estimator(**{**defaults, **params})


def by_hand(network, X, y, weight):
    """delta_norms, grad_norms and dead_shares of all samples, from `backprop`."""
    told = network.backprop(X, y, weight)
    v = np.ones(len(X)) if weight is None else weight
    delta_norms = [
        np.sqrt(np.mean((v[:, np.newaxis] * delta) ** 2)) for delta in told.delta[1:]
    ]
    unpenalised = [
        np.linalg.norm(gradient - network.alpha * W / v.sum())
        for gradient, W in zip(told.coef_grads, network.coefs_, strict=True)
    ]
    intercepts = [np.linalg.norm(gradient) for gradient in told.intercept_grads]
    dead_shares = [
        np.mean(~(a > 0).any(axis=0)) if network.activation == "relu" else 0.0
        for a in told.a[1:-1]
    ]
    return delta_norms, np.hypot(unpenalised, intercepts), dead_shares


def update_ratios(before, after):
    return [
        np.linalg.norm(W_after - W) / np.linalg.norm(W)
        for W, W_after in zip(before, after, strict=True)
    ]


def epoch(record, i):
    return [getattr(record, name)[i] for name in FIELDS]


def bits(model):
    return model.network_.params_.tobytes(), list(model.loss_curve_)


# ---- the numbers -------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
def test_an_epoch_of_one_batch_is_that_of_backprop(solver, weighted, activation):
    X, y, weight = samples()
    given = weight if weighted else None
    model = estimator(
        activation=activation, batch_size=60, alpha=0.5, **SOLVERS[solver]
    )
    model.partial_fit(X, y, given)
    for i in range(1, 4):
        network = model.network_
        expected = by_hand(network, X, y, given)
        before = [W.copy() for W in model.coefs_]
        model.partial_fit(X, y, given)
        delta_norms, grad_norms, ratios, dead_shares = epoch(model.record_, i)
        np.testing.assert_allclose(delta_norms, expected[0], 1e-10)
        np.testing.assert_allclose(grad_norms, expected[1], 1e-10)
        np.testing.assert_allclose(dead_shares, expected[2], 1e-15)
        np.testing.assert_allclose(ratios, update_ratios(before, model.coefs_), 1e-10)


def test_an_epoch_tells_of_all_its_signals_and_of_its_last_step():
    X, y, _ = samples(n=50)
    batches = [slice(0, 20), slice(20, 40), slice(40, 50)]
    whole = estimator(batch_size=20, shuffle=False).partial_fit(X, y).record_
    apart = estimator(shuffle=False)
    for rows in batches:
        apart.partial_fit(X[rows], y[rows])
    of_batches = np.array(apart.record_.delta_norms)
    squares = np.average(of_batches**2, axis=0, weights=[20, 20, 10])
    np.testing.assert_allclose(whole.delta_norms, [np.sqrt(squares)], 1e-10)
    assert whole.grad_norms == apart.record_.grad_norms[-1:]
    assert whole.update_ratios == apart.record_.update_ratios[-1:]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_an_iteration_of_lbfgs_is_told_of_where_it_arrives(weighted, dtype):
    X, y, weight = samples(dtype)
    given = weight if weighted else None
    rtol = 1e-10 if dtype == np.float64 else 1e-4
    model = estimator(solver="lbfgs", alpha=0.5, max_iter=6).fit(X, y, given)
    assert model.n_iter_ == len(model.record_.delta_norms) == 6
    shorter = estimator(solver="lbfgs", alpha=0.5, max_iter=5).fit(X, y, given)
    expected = by_hand(model.network_, X, y, given)
    delta_norms, grad_norms, ratios, dead_shares = epoch(model.record_, -1)
    np.testing.assert_allclose(delta_norms, expected[0], rtol)
    np.testing.assert_allclose(grad_norms, expected[1], rtol)
    np.testing.assert_allclose(dead_shares, expected[2], rtol)
    expected = update_ratios(shorter.coefs_, model.coefs_)
    np.testing.assert_allclose(ratios, expected, rtol)


def test_lbfgs_that_begins_at_a_minimum_tells_of_it():
    X, y, _ = samples()
    model = estimator(solver="lbfgs", max_iter=500, tol=1.0, warm_start=True).fit(X, y)
    n_epochs = len(model.loss_curve_)
    model.fit(X, y)
    assert len(model.record_.delta_norms) == len(model.loss_curve_) == n_epochs + 1
    expected = by_hand(model.network_, X, y, None)
    np.testing.assert_allclose(model.record_.delta_norms[-1], expected[0], 1e-10)
    assert model.record_.update_ratios[-1] == [0.0, 0.0, 0.0]


def test_lbfgs_that_finds_no_way_down_tells_of_where_it_began():
    """At a kink: any step lets the second sample in, which loses more than is won."""
    X, y = np.array([[0.01], [0.0]]), np.array([4.0, -4.0])
    params = {"hidden_layer_sizes": (1,), "alpha": 0.0, "warm_start": True}
    model = estimator(solver="lbfgs", max_iter=1, **params).fit(X, y)
    for values, start in zip(
        (*model.coefs_, *model.intercepts_), (1.0, 5.0, 0.0, 0.5), strict=True
    ):
        values[:] = start
    model.fit(X, y)
    assert model.n_iter_ == 0
    expected = by_hand(model.network_, X, y, None)
    np.testing.assert_allclose(model.record_.delta_norms[-1], expected[0], 1e-10)
    np.testing.assert_allclose(model.record_.grad_norms[-1], expected[1], 1e-10)


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_a_step_from_weights_of_zero_is_infinitely_large(solver):
    X, y, _ = samples()
    params = {"solver": solver, "momentum": 0.0, "warm_start": True, "max_iter": 1}
    model = estimator(**params).fit(X, y)
    for W in model.coefs_:
        W[:] = 0.0
    model.set_params(activation="identity").fit(X, y)
    # No error signal passes the zeros.
    assert model.record_.update_ratios[1] == [0.0, 0.0, np.inf]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_dead_nodes_are_counted(solver):
    X, y, _ = samples()
    model = estimator(solver=solver, warm_start=True, max_iter=1).fit(X, y)
    model.intercepts_[0][:3] = -1000.0
    model.intercepts_[1][:] = -1000.0
    model.fit(X, y)
    first, second = model.record_.dead_shares[-1]
    assert (first, second) == (pytest.approx(3 / 7), 1.0)
    assert model.record_.delta_norms[-1][0] == model.record_.grad_norms[-1][0] == 0.0


# ---- what is kept ------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"solver": "sgd", "batch_size": 7},
        {"solver": "lbfgs"},
        {"early_stopping": True, "validation_fraction": 0.2},
        {"activation": "logistic", "hidden_layer_sizes": (5,) * 5},
        {"hidden_layer_sizes": ()},
    ],
    ids=["adam", "sgd", "lbfgs", "early stopping", "deep", "no hidden layer"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("task", ["regression", "classes", "labels"])
def test_the_model_is_bitwise_the_same_without_a_record(task, dtype, params):
    X, Y, weight = samples(dtype)
    y = {"regression": Y, "classes": Y[:, 0] > 0, "labels": (Y > 0).astype(int)}[task]
    Estimator = MLPRegressor if task == "regression" else MLPClassifier
    with_one = estimator(Estimator, **params).fit(X, y, weight)
    without = estimator(Estimator, **{**params, "record": None}).fit(X, y, weight)
    assert bits(with_one) == bits(without)
    assert not hasattr(without, "record_")
    n_epochs, n_layers = len(with_one.loss_curve_), with_one.n_layers_ - 1
    for name in FIELDS:
        shape = n_epochs, n_layers - (name == "dead_shares")
        assert np.shape(getattr(with_one.record_, name)) == shape
        assert np.isfinite(getattr(with_one.record_, name)).all()


def test_any_n_jobs_gives_bitwise_the_same_record():
    X = np.random.RandomState(0).normal(size=(1000, 64)).astype(np.float32)
    y = X[:, :3].argmax(axis=1)
    params = {"hidden_layer_sizes": (96,), "batch_size": 500}
    one, *others = (
        estimator(MLPClassifier, n_jobs=n_jobs, **params).fit(X, y)
        for n_jobs in (1, 2, 3)
    )
    assert all(other.record_ == one.record_ for other in others)


def test_sparse_X_has_the_record_of_dense_X():
    X, y, weight = samples()
    X[X < 0.5] = 0.0
    dense, csr = (estimator().fit(A, y, weight) for A in (X, sparse.csr_array(X)))
    assert csr.record_ == dense.record_


def test_a_record_grows_with_partial_fit_and_warm_start_as_the_losses_do():
    X, y, _ = samples()
    whole = estimator(max_iter=6).fit(X, y)
    warm = estimator(warm_start=True).fit(X, y)
    first = warm.record_
    assert warm.fit(X, y).record_ == whole.record_
    assert len(first.delta_norms) == 3  # that of the first fit is not touched
    increments = estimator()
    for _ in range(6):
        increments.partial_fit(X, y)
    assert increments.record_ == whole.record_
    assert bits(increments) == bits(warm) == bits(whole)
    again = whole.set_params(max_iter=2).fit(X, y)
    assert len(again.record_.grad_norms) == 2


def test_a_callback_sees_the_record_of_the_epochs_so_far():
    X, y, _ = samples()
    seen = []

    class Looks:
        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, fitted_estimator):
            seen.append(fitted_estimator.record_)

    for solver in ("adam", "lbfgs"):
        seen.clear()
        model = estimator(solver=solver).set_callbacks(Looks()).fit(X, y)
        assert [len(record.delta_norms) for record in seen] == [1, 2, 3, 3]
        assert seen[1].update_ratios == model.record_.update_ratios[:2]
        unwatched = estimator(solver=solver).fit(X, y)
        assert unwatched.record_ == model.record_


def test_without_record_the_next_fit_leaves_none():
    X, y, _ = samples()
    model = estimator(warm_start=True).fit(X, y)
    model.set_params(record=None).fit(X, y)
    assert not hasattr(model, "record_")
    model.set_params(record="summary").fit(X, y)
    assert len(model.record_.delta_norms) == 3
    assert len(model.loss_curve_) == 9


def test_a_failed_fit_leaves_the_record_alone():
    X, y, _ = samples()
    for params in ({}, {"solver": "lbfgs"}):
        model = estimator(**params).fit(X, y)
        before, epochs = model.record_, len(model.record_.delta_norms)
        with warnings.catch_warnings(), pytest.raises(ValueError, match="diverged"):
            warnings.simplefilter("ignore", RuntimeWarning)
            model.fit(X * 1e200, y * 1e200)
        assert model.record_ is before
        assert len(before.delta_norms) == epochs


@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor, MLPEstimator])
def test_record_is_a_parameter_like_any_other(Estimator):
    X, y, _ = samples()
    model = estimator(Estimator)
    assert clone(model).get_params()["record"] == "summary"
    model.fit(X, y[:, 0].round())
    assert "record='summary'" in repr(model)
    converted = to_sklearn(model)
    assert "record" not in converted.get_params()
    assert not hasattr(converted, "record_")
    assert from_sklearn(converted).record is None
    with pytest.raises(ValueError, match="'record' parameter"):
        model.set_params(record=True).fit(X, y[:, 0])


def test_a_record_pickles_prints_and_compares():
    X, y, _ = samples()
    model = estimator().fit(X, y)
    loaded = pickle.loads(pickle.dumps(model))
    assert loaded.record_ == model.record_
    assert loaded.record_ is not model.record_
    assert repr(model.record_) == "Record(3 epochs, 3 layers)"
    assert repr(Record()) == "Record(0 epochs, 0 layers)"
    loaded.partial_fit(X, y)
    model.partial_fit(X, y)
    assert loaded.record_ == model.record_


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("Display", [ErrorSignalDisplay, GradientFlowDisplay])
def test_displays_draw_a_record(Display, solver):
    X, y, _ = samples()
    model = estimator(solver=solver).fit(X, y)
    display = Display.from_estimator(model)
    drawn = np.transpose([line.get_ydata() for line in display.lines_])
    norms = "delta_norms" if Display is ErrorSignalDisplay else "grad_norms"
    np.testing.assert_array_equal(drawn, getattr(model.record_, norms))
    plt.close(display.figure_)
