"""Solvers and schedules, by name and as records, in training."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

import cbp
from cbp.kernels import propagator as kernels

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.linspace(-2, 2, 40).reshape(20, 2)
y = X[:, 0] ** 2 - X[:, 1]


def weights(**params):
    params = {"max_iter": 5, "random_state": 0, "learning_rate_init": 0.1, **params}
    return cbp.MLPRegressor(hidden_layer_sizes=(4,), **params).fit(X, y).coefs_[0]


@pytest.mark.parametrize(
    "by_name, by_record",
    [
        (
            {"solver": "sgd", "momentum": 0.5, "nesterovs_momentum": False},
            {"solver": cbp.solvers.SGD(0.5, False)},
        ),
        (
            {"solver": "adam", "beta_1": 0.5, "beta_2": 0.6, "epsilon": 0.1},
            {"solver": cbp.solvers.Adam(0.5, 0.6, 0.1)},
        ),
        ({"solver": "lbfgs", "max_fun": 3}, {"solver": cbp.solvers.LBFGS(3)}),
        (
            {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.7},
            {
                "solver": cbp.solvers.SGD(),
                "learning_rate": cbp.schedules.InverseScaling(0.7),
            },
        ),
    ],
)
def test_a_name_takes_the_parameters_of_the_estimator(by_name, by_record):
    expected = weights(**by_name)
    np.testing.assert_array_equal(weights(**by_record), expected)
    others = {"momentum": 0.1, "beta_1": 0.2, "epsilon": 0.3, "max_fun": 1}
    others |= {"power_t": 0.1, "nesterovs_momentum": True, "beta_2": 0.1}
    np.testing.assert_array_equal(weights(**by_record, **others), expected)


def test_a_search_tries_parameters_of_solvers():
    model = cbp.MLPRegressor(
        hidden_layer_sizes=(4,), solver=cbp.solvers.Adam(), max_iter=3
    )
    grid = {"solver__beta_1": [0.1, 0.3]}
    search = GridSearchCV(model, grid, cv=2).fit(X, y)
    assert search.best_estimator_.solver.beta_1 == search.best_params_["solver__beta_1"]
    assert model.solver == cbp.solvers.Adam()


def test_training_goes_on_by_the_solver_as_it_is_now():
    solver = cbp.solvers.SGD()
    model = cbp.MLPRegressor(hidden_layer_sizes=(4,), solver=solver, random_state=0)
    trained_by = model.partial_fit(X, y)._state.solver
    solver.momentum = 0.0
    assert trained_by == cbp.solvers.SGD()
    assert model.partial_fit(X, y)._state.solver == cbp.solvers.SGD(0.0)


@pytest.mark.parametrize("name", ["invscaling", "adaptive"])
def test_schedules_of_scikit_learn_act_with_sgd_only_as_there(name):
    np.testing.assert_array_equal(
        weights(solver="adam", learning_rate=name), weights(solver="adam")
    )
    assert not np.array_equal(
        weights(solver="sgd", learning_rate=name, max_iter=60, tol=0.1),
        weights(solver="sgd", max_iter=60, tol=0.1),
    )


def test_a_solver_without_a_case_in_the_kernels_is_refused():
    class Unknown(cbp.solvers.SGD):
        name = "unknown"

    spec = (1, 1), "relu", "identity", "huber", 0.0, np.float64
    with pytest.raises(ValueError, match="kernels have no case for"):
        kernels.Propagator(*spec).use_solver(Unknown(), [np.zeros(2)])


def test_adamw_is_algorithm_2_of_its_authors():
    beta_1, beta_2, epsilon, weight_decay, rate = 0.8, 0.9, 1e-3, 0.3, 0.05
    solver = cbp.solvers.AdamW(beta_1, beta_2, epsilon, weight_decay)
    gradients = np.array([0.5, -2.0, 0.25, 1.0])
    w, m, v = 0.7, 0.0, 0.0
    theta, first, second = 0.7, 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        w, m, v = solver.update(t, rate, g, w, m, v)
        first = beta_1 * first + (1 - beta_1) * g
        second = beta_2 * second + (1 - beta_2) * g**2
        step = first / (1 - beta_1**t) / (np.sqrt(second / (1 - beta_2**t)) + epsilon)
        theta -= rate * (step + weight_decay * theta)
    np.testing.assert_allclose([w, m, v], [theta, first, second], 1e-14)
    b, *_ = solver.update(1, rate, 0.0, 0.7, 0.0, 0.0, is_coef=False)
    assert b == 0.7


def test_weights_decay_and_intercepts_do_not():
    start = cbp.Network((2, 4, 1), random_state=0)
    model = cbp.MLPRegressor(
        hidden_layer_sizes=(4,),
        solver=cbp.solvers.AdamW(weight_decay=0.5),
        alpha=0.0,
        learning_rate_init=0.1,
        warm_start=True,
        max_iter=1,
        random_state=0,
    ).fit(X, y)
    # No error, no gradient: only what decays changes.
    model.coefs_ = [0 * start.coefs_[0], start.coefs_[1]]
    model.intercepts_ = [np.full(4, -1.0), np.full(1, 0.25)]
    del model._state
    model.fit(X, np.full(len(X), 0.25))
    np.testing.assert_allclose(model.coefs_[1], 0.95 * start.coefs_[1], 1e-15)
    np.testing.assert_array_equal(model.intercepts_[0], -1.0)
    np.testing.assert_array_equal(model.intercepts_[1], 0.25)


@pytest.mark.parametrize("warmup, restarts", [(0.0, 0), (0.25, 0), (0.0, 3), (0.4, 1)])
def test_cosine_falls_from_the_rate_to_0_in_each_of_its_parts(warmup, restarts):
    n_epochs, n_batches, rate = 20, 50, 0.3
    schedule = cbp.schedules.Cosine(warmup, restarts)
    rates = np.concatenate(
        [schedule.rates(rate, n_batches, epoch, n_epochs) for epoch in range(n_epochs)]
    )
    assert ((rates > 0) & (rates < rate)).all()
    n_rising = round(warmup * rates.size)
    rising = (np.arange(n_rising) + 0.5) / max(n_rising, 1) * rate
    np.testing.assert_allclose(rates[:n_rising], rising, 1e-12)
    for part in np.split(rates[n_rising:], restarts + 1):
        angle = np.pi * (np.arange(part.size) + 0.5) / part.size
        np.testing.assert_allclose(part, rate * np.cos(angle / 2) ** 2, 1e-9)
    beyond = schedule.rates(rate, n_batches, n_epochs, n_epochs)
    np.testing.assert_array_equal(beyond, 0.0)


@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw"])
def test_cosine_acts_with_every_solver_that_goes_by_batches(solver):
    steady, annealed = (
        weights(solver=solver, learning_rate=name) for name in ("constant", "cosine")
    )
    assert not np.array_equal(steady, annealed)


def test_calls_of_partial_fit_go_along_the_cosine_of_a_fit():
    params = {"hidden_layer_sizes": (4,), "max_iter": 5, "random_state": 0}
    params |= {"learning_rate": cbp.schedules.Cosine(0.2, 1), "batch_size": 7}
    at_once, by_calls = cbp.MLPRegressor(**params), cbp.MLPRegressor(**params)
    at_once.fit(X, y)
    for _ in range(5):
        by_calls.partial_fit(X, y)
    np.testing.assert_array_equal(by_calls.coefs_[0], at_once.coefs_[0])
    np.testing.assert_array_equal(
        by_calls.partial_fit(X, y).coefs_[0], at_once.coefs_[0]
    )
