"""How many threads there may be: cores, OMP_NUM_THREADS, workers of joblib, n_jobs."""

import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import joblib
import numpy as np
import pytest
from sklearn.base import clone

from cbp import MLPClassifier, MLPEstimator, MLPRegressor
from cbp.export.scikit_learn import from_sklearn, to_sklearn
from cbp.network import lending, network
from cbp.training import threads
from cbp.training.threads import WORTH_COUNTING, available_threads, threads_for

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def eight_cores(monkeypatch):
    """A process that may use eight cores; joblib asks affinity and container."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)


@pytest.mark.parametrize(
    "n_jobs, expected",
    [
        (None, 8),
        (1, 1),
        (2, 2),
        (8, 8),
        (9, 8),
        (10**9, 8),
        (np.int64(3), 3),
        (-1, 8),
        (-2, 7),
        (-8, 1),
        (-9, 1),
        (np.int32(-3), 6),
    ],
)
def test_n_jobs_is_a_number_of_cores_as_in_joblib(eight_cores, n_jobs, expected):
    available = available_threads(n_jobs)
    assert available == expected
    assert type(available) is int


def test_there_is_always_one_thread(monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 1)
    assert {available_threads(n_jobs) for n_jobs in (None, 5, -1, -2)} == {1}


def test_zero_is_refused():
    with pytest.raises(ValueError, match="n_jobs=0 has no meaning; use None"):
        available_threads(0)


@pytest.mark.parametrize(
    "value, expected",
    [
        *[("3", 3), (" 3 ", 3), ("4,2", 4), ("1", 1), ("1,8", 1)],
        *[("8", 8), ("64", 8), ("99999999999999999999", 8)],
        *[("", 8), ("0", 8), ("-3", 8), ("many", 8), (",2", 8), ("2.5", 8), ("0x3", 8)],
    ],
)
def test_OMP_NUM_THREADS_bounds_the_default(eight_cores, monkeypatch, value, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert available_threads() == expected
    # What the user says is not overruled by what the system sets for all programs.
    assert available_threads(-1) == 8
    assert available_threads(5) == 5


def printed(program, **env):
    environ = {name: v for name, v in os.environ.items() if name != "OMP_NUM_THREADS"}
    program += "; from cbp.training.threads import available_threads"
    program += "; print(available_threads())"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=environ | env,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(run.stdout)


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="the system has no CPU affinity"
)
def test_affinity_of_the_process_counts():
    core = min(os.sched_getaffinity(0))
    assert printed(f"import os; os.sched_setaffinity(0, [{core}])") == 1


def test_limit_of_joblibs_own_variable_counts():
    assert printed("pass", LOKY_MAX_CPU_COUNT="1") == 1


# -- no more threads than cores, where workers have them all -----------------------


def available_in_worker(*n_jobs):
    """Runs in a worker, of eight cores whatever the machine has."""
    joblib.cpu_count = lambda: 8
    os.environ.pop("OMP_NUM_THREADS", None)
    return [available_threads(n) for n in n_jobs]


def in_joblib(backend, *n_jobs, n_workers=2):
    task = joblib.delayed(available_in_worker)(*n_jobs)
    return joblib.Parallel(n_jobs=n_workers, backend=backend)([task] * 2)[0]


def in_nested_joblib(*n_jobs):
    task = joblib.delayed(in_joblib)("threading", *n_jobs)
    return joblib.Parallel(n_jobs=2, backend="threading")([task] * 2)[0]


def in_pool(*n_jobs):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(available_in_worker, n_jobs)


def in_executor(*n_jobs):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(available_in_worker, *n_jobs).result()


WORKERS = {
    "loky": partial(in_joblib, "loky"),
    "threading": partial(in_joblib, "threading"),
    "multiprocessing": partial(in_joblib, "multiprocessing"),
    "nested": in_nested_joblib,
    "pool": in_pool,
    "executor": in_executor,
}


@pytest.mark.parametrize("where", WORKERS)
def test_a_worker_has_one_thread_unless_the_user_says_how_many(eight_cores, where):
    found = WORKERS[where](None, -1, -2, 1, 3, 99)
    assert found == [1, 1, 1, 1, 3, 8]


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_one_job_of_joblib_is_no_worker(eight_cores, backend):
    assert in_joblib(backend, None, n_workers=1) == [8]


@pytest.mark.parametrize("backend", ["loky", "threading"])
@pytest.mark.parametrize("configured, expected", [(3, 3), (1, 1), (99, 8), (-1, 8)])
def test_default_is_what_joblib_is_configured_to(
    eight_cores, backend, configured, expected
):
    with joblib.parallel_config(backend, n_jobs=configured):
        assert available_threads() == expected
        assert available_threads(2) == 2
    assert available_threads() == 8


def test_little_work_does_not_look_at_the_machine(monkeypatch):
    def fail():
        raise AssertionError

    monkeypatch.setattr(threads, "available_threads", fail)
    for n_jobs in (None, 1, 4, -1, 0):
        assert threads_for(WORTH_COUNTING - 1, n_jobs) == 1


def test_much_work_does(eight_cores):
    assert threads_for(WORTH_COUNTING, None) == 8
    assert threads_for(WORTH_COUNTING, 3) == 3


# -- what estimators make of it ----------------------------------------------------


@pytest.fixture
def handed_down(eight_cores, monkeypatch):
    """The numbers of threads that the propagators of all networks are made with."""
    numbers = []
    make = lending.new_propagator

    def record(*spec, n_threads=1):
        numbers.append(n_threads)
        return make(*spec, n_threads=n_threads)

    for user in (lending, network):
        monkeypatch.setattr(user, "new_propagator", record)
    monkeypatch.setattr(threads, "WORTH_COUNTING", 1000)
    return numbers


X = np.random.RandomState(0).normal(size=(60, 4))
y = X[:, 0] > 0


@pytest.mark.parametrize(
    "params",
    [
        pytest.param({}, id="adam"),
        pytest.param({"solver": "lbfgs"}, id="lbfgs"),
        pytest.param({"early_stopping": True}, id="early stopping"),
    ],
)
@pytest.mark.parametrize("n_jobs, expected", [(None, 8), (1, 1), (3, 3), (-2, 7)])
def test_fit_hands_n_jobs_down(handed_down, params, n_jobs, expected):
    MLPClassifier((5,), max_iter=2, n_jobs=n_jobs, **params).fit(X, y)
    assert set(handed_down) == {expected}


def test_partial_fit_hands_n_jobs_down(handed_down):
    model = MLPRegressor(hidden_layer_sizes=(50,), n_jobs=4).partial_fit(X, y)
    model.set_params(n_jobs=2).partial_fit(X, y)
    assert handed_down == [4, 2]
    model.partial_fit(X[:2], y[:2])
    assert handed_down[2:] == [1]


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_prediction_hands_n_jobs_down_if_there_are_many_rows(handed_down, method):
    model = MLPClassifier((5,), max_iter=1, n_jobs=4).fit(X, y)
    expected = getattr(model, method)(X)
    handed_down.clear()
    model.set_params(n_jobs=3)
    np.testing.assert_array_equal(getattr(model, method)(X), expected)
    assert handed_down == [3]
    for _ in range(2):
        few = getattr(model, method)(X[:2])
    np.testing.assert_array_equal(few, expected[:2])
    assert handed_down == [3, 1], "the workspace for few rows is kept"


def test_logarithms_of_rounded_probabilities_take_n_jobs_too(handed_down):
    model = MLPClassifier((), max_iter=1, n_jobs=2).fit(X, y)
    model.coefs_[0] *= 1e6
    handed_down.clear()
    model.predict_log_proba(np.vstack([X] * 10))
    assert handed_down == [2, 2]


def test_bulk_prediction_refuses_zero_as_fit_does(handed_down):
    model = MLPClassifier((5,), max_iter=1).fit(X, y)
    model.set_params(n_jobs=0)
    with pytest.raises(ValueError, match="n_jobs=0 has no meaning"):
        model.predict(X)


@pytest.mark.parametrize("n_jobs", [None, 2, -1, -3, np.int64(2)])
@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor, MLPEstimator])
def test_n_jobs_is_a_parameter_like_any_other(Estimator, n_jobs):
    model = Estimator(hidden_layer_sizes=(3,), max_iter=1).set_params(n_jobs=n_jobs)
    assert clone(model).get_params()["n_jobs"] == n_jobs
    model.fit(X, y)
    assert model.n_jobs == n_jobs
    loaded = pickle.loads(pickle.dumps(model))
    assert loaded.get_params()["n_jobs"] == n_jobs
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    converted = to_sklearn(model)
    assert "n_jobs" not in converted.get_params()
    assert from_sklearn(converted).n_jobs is None


@pytest.mark.parametrize("params", [{"solver": "adam"}, {"solver": "lbfgs"}])
def test_any_n_jobs_gives_bitwise_the_same_model(params):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(1000, 64)).astype(np.float32)
    y = X[:, :3].argmax(axis=1)

    def fit(n_jobs):
        model = MLPClassifier(
            (96,), batch_size=500, max_iter=4, random_state=0, n_jobs=n_jobs, **params
        )
        return model.fit(X, y)

    one = fit(1)
    probabilities = one.predict_proba(np.vstack([X] * 5))
    for n_jobs in (None, 2, 3):
        model = fit(n_jobs)
        np.testing.assert_array_equal(model.network_.params_, one.network_.params_)
        np.testing.assert_array_equal(
            model.predict_proba(np.vstack([X] * 5)), probabilities
        )
