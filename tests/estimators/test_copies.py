"""Fitted estimators go through files, processes and threads, and go on training."""

import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import joblib
import numpy as np
import pytest
import skops.io
from drop_in import MARKS, QUICK, assert_says_something, estimators, samples
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

import cbp
from cbp.network import lending, network

pytestmark = MARKS


# -- copies, files, processes ----------------------------------------------------

#: Name -> task, parameters, and how it is trained.
TRAINED = {
    "binary": ("binary", {}, "fit"),
    "multiclass sgd": ("multiclass", {"solver": "sgd"}, "fit"),
    "multilabel": ("multilabel", {"hidden_layer_sizes": ()}, "fit"),
    "regression": ("regression", {"activation": "tanh"}, "fit"),
    "multi-output": ("multi-output", {"hidden_layer_sizes": (8, 5)}, "fit"),
    "poisson": ("poisson", {}, "fit"),
    "general estimator": ("regression", {"loss": "sum_of_squares"}, "fit"),
    "lbfgs": ("multiclass", {"solver": "lbfgs"}, "fit"),
    "early stopping": (
        "multiclass",
        {"early_stopping": True, "n_iter_no_change": 2, "validation_fraction": 0.3},
        "fit",
    ),
    "partial_fit": ("multiclass", {}, "partial_fit"),
    "record": ("multiclass", {"record": "summary"}, "fit"),
    "partial_fit of sgd": ("regression", {"solver": "sgd"}, "partial_fit"),
    "own random stream": (
        "regression",
        {"random_state": np.random.RandomState(5)},
        "partial_fit",
    ),
}


def trained(name):
    """The fitted estimator of this name, and the X and y it has seen."""
    task, params, method = TRAINED[name]
    params = {**QUICK, **params}
    if "loss" in params:
        model = cbp.MLPEstimator(**params)
    elif task in ("regression", "multi-output", "poisson"):
        loss = "poisson" if task == "poisson" else "squared_error"
        model = cbp.MLPRegressor(loss, **params)
    else:
        model = cbp.MLPClassifier(**params)
    model = clone(model)  # and with it a random_state that has a state
    X, y = samples(task)
    if method == "fit":
        return model.fit(X, y), X, y
    first_call = {"classes": np.unique(y)} if is_classifier(model) else {}
    for rows in (slice(None, 40), slice(30, None)):
        model.partial_fit(X[rows], y[rows], **first_call)
    return model, X, y


def go_on(model, X, y):
    if model.solver == "lbfgs" or model.early_stopping:
        return model.set_params(warm_start=True, max_iter=20).fit(X, y)
    return model.partial_fit(X, y)


def assert_equal(ours, expected, X):
    """Both estimators predict the same, bit by bit."""
    np.testing.assert_array_equal(ours.predict(X), expected.predict(X), strict=True)
    if is_classifier(expected):
        for name in ("predict_proba", "predict_log_proba"):
            actual, wanted = getattr(ours, name)(X), getattr(expected, name)(X)
            np.testing.assert_array_equal(actual, wanted, strict=True)


def assert_goes_on_as(copied, model, X, y):
    """A copy predicts the same, goes on the same, and leaves the model alone."""
    assert type(copied) is type(model)
    assert_equal(copied, model, X)
    params, n_epochs = model.network_.params_.copy(), len(model.loss_curve_)
    assert go_on(copied, X, y) is copied
    np.testing.assert_array_equal(model.network_.params_, params)
    go_on(model, X, y)
    assert len(model.loss_curve_) > n_epochs
    assert copied.loss_curve_ == model.loss_curve_
    assert getattr(copied, "record_", None) == getattr(model, "record_", None)
    np.testing.assert_array_equal(copied.network_.params_, model.network_.params_)
    assert_equal(copied, model, X)


def through_joblib(model, path, compress=0, mmap_mode=None):
    joblib.dump(model, path, compress=compress)
    return joblib.load(path, mmap_mode=mmap_mode)


def through_skops(model, path):
    """The user has to trust cbp, and nothing else."""
    skops.io.dump(model, path)
    unknown = skops.io.get_untrusted_types(file=path)
    trusted = [name for name in unknown if name.startswith("cbp.")]
    return skops.io.load(path, trusted=trusted)


FILES = {
    "joblib": through_joblib,
    "joblib compressed": partial(through_joblib, compress=3),
    "joblib memory-mapped": partial(through_joblib, mmap_mode="r"),
    "skops": through_skops,
}


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("file", FILES)
def test_estimator_from_a_file_predicts_the_same_and_goes_on(file, name, tmp_path):
    model, X, y = trained(name)
    assert_goes_on_as(FILES[file](model, tmp_path / "model"), model, X, y)


def test_skops_refuses_cbp_without_the_users_trust():
    model, _, _ = trained("binary")
    with pytest.raises(skops.io.exceptions.UntrustedTypesFoundException, match="cbp"):
        skops.io.loads(skops.io.dumps(model))


@pytest.mark.parametrize("name", TRAINED)
def test_clone_of_a_fitted_estimator_is_unfitted_and_learns_the_same(name):
    model, X, y = trained(name)
    copied = clone(model)
    assert vars(copied).keys() == vars(type(model)()).keys()
    with pytest.raises(NotFittedError):
        copied.predict(X)
    if isinstance(model.random_state, np.random.RandomState):
        model = clone(copied)  # as the stream of a fitted one has moved on
    np.testing.assert_array_equal(
        copied.fit(X, y).network_.params_, model.fit(X, y).network_.params_
    )


IN_ANOTHER_PROCESS = """
import pickle, sys, warnings

warnings.simplefilter("ignore")
for name, (model, X, y) in (cases := pickle.load(sys.stdin.buffer)).items():
    predicted = model.predict(X)
    if hasattr(model, "partial_fit") and not model.early_stopping:
        model.partial_fit(X, y)
    cases[name] = model, predicted
pickle.dump(cases, sys.stdout.buffer)
"""


def test_pickles_are_understood_by_another_process():
    cases = {name: trained(name) for name in TRAINED}
    process = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        input=pickle.dumps(cases),
        stdout=subprocess.PIPE,
        check=True,
    )
    returned = pickle.loads(process.stdout)
    for name, (model, X, y) in cases.items():
        there, predicted = returned[name]
        np.testing.assert_array_equal(predicted, model.predict(X), strict=True)
        if hasattr(model, "partial_fit") and not model.early_stopping:
            model.partial_fit(X, y)
        assert_equal(there, model, X)


@pytest.fixture
def processes():
    """joblib works in processes and maps all arrays into them, for reading only."""
    with joblib.parallel_config("loky", n_jobs=2, max_nbytes=1):
        yield


def test_fits_in_processes_come_back_and_go_on(processes):
    names = [name for name in TRAINED if TRAINED[name][2] == "fit"]
    cases = [trained(name) for name in names]
    returned = joblib.Parallel()(
        joblib.delayed(clone(model).fit)(X, y) for model, X, y in cases
    )
    for there, (model, X, y) in zip(returned, cases, strict=True):
        assert_goes_on_as(there, model, X, y)


def test_fitted_estimators_go_on_in_processes_and_predict_there(processes):
    names = [name for name in TRAINED if TRAINED[name][2] == "partial_fit"]
    cases = [trained(name) for name in names]
    parallel = joblib.Parallel()
    predicted = parallel(joblib.delayed(model.predict)(X) for model, X, _ in cases)
    returned = parallel(joblib.delayed(m.partial_fit)(X, y) for m, X, y in cases)
    results = zip(returned, predicted, cases, strict=True)
    for there, predicted_there, (model, X, y) in results:
        np.testing.assert_array_equal(predicted_there, model.predict(X))
        assert_goes_on_as(there, model.partial_fit(X, y), X, y)


def test_grid_search_in_processes_finds_what_it_finds_in_one(processes):
    X, y = samples("multiclass")
    model = estimators("multiclass")[0]
    grid = {"alpha": [1e-4, 3.0], "hidden_layer_sizes": [(4,), (8, 4)]}
    here, there = (
        GridSearchCV(model, grid, cv=3, n_jobs=n_jobs).fit(X, y) for n_jobs in (1, None)
    )
    for name in ("mean_test_score", "rank_test_score"):
        np.testing.assert_array_equal(there.cv_results_[name], here.cv_results_[name])
    assert_equal(there.best_estimator_, here.best_estimator_, X)


# -- threads ---------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAINED)
def test_fits_at_once_in_threads_are_those_one_after_the_other(name):
    model, X, y = trained(name)
    seeds = range(8)
    one_by_one, at_once = (
        joblib.Parallel(n_jobs=n_jobs, backend="threading")(
            joblib.delayed(clone(model).set_params(random_state=seed).fit)(X, y)
            for seed in seeds
        )
        for n_jobs in (1, 8)
    )
    assert_says_something(np.array([m.coefs_[0] for m in at_once]))
    for ours, expected in zip(at_once, one_by_one, strict=True):
        np.testing.assert_array_equal(ours.network_.params_, expected.network_.params_)
        assert ours.loss_curve_ == expected.loss_curve_


def _fitted(model):
    return model


def _unpickled(model):
    return pickle.loads(pickle.dumps(model))


def _with_another_entry(model):
    model.coefs_[0] = model.coefs_[0] * 2
    return model


@pytest.mark.parametrize("make", [_fitted, _unpickled, _with_another_entry])
@pytest.mark.parametrize("name", ["multiclass sgd", "multilabel", "multi-output"])
def test_threads_may_predict_with_one_estimator(name, make):
    n_threads, repeats = 6, 30
    model = make(trained(name)[0])
    respond = model.predict_proba if is_classifier(model) else model.predict
    rng = np.random.RandomState(0)
    parts = [rng.normal(size=(50 + 200 * k, 4)) for k in range(n_threads)]
    at_once = threading.Barrier(n_threads)

    def predict(X):
        at_once.wait()
        return [respond(X) for _ in range(repeats)]

    with ThreadPoolExecutor(n_threads) as pool:
        in_threads = list(pool.map(predict, parts))
    for X, responses in zip(parts, in_threads, strict=True):
        expected = respond(X)
        assert_says_something(expected)
        for response in responses:
            np.testing.assert_array_equal(response, expected)


class Watched:
    """A propagator that says whether one of its kernels is running."""

    def __init__(self, propagator, inside):
        self.propagator, self.inside = propagator, inside

    def __getattr__(self, name):
        attribute = getattr(self.propagator, name)
        if name not in ("advance", "forward", "loss_and_grad"):
            return attribute

        def call(*args):
            self.inside.append(name)
            try:
                return attribute(*args)
            finally:
                self.inside.pop()

        return call


@pytest.fixture
def inside(monkeypatch):
    """The names of the kernels that are running, of all networks made from now on."""
    inside = []
    make = lending.new_propagator

    def watched(*spec, **options):
        return Watched(make(*spec, **options), inside)

    for user in (lending, network):
        monkeypatch.setattr(user, "new_propagator", watched)
    return inside


@pytest.fixture
def threads_run_until_they_let_go():
    """A thread that holds the lock of the interpreter is not asked to give it up."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.skipif(
    os.environ.get("CBP_IMPLEMENTATION") == "reference",
    reason="the reference is Python code itself",
)
@pytest.mark.parametrize(
    "kernel, method, params",
    [
        ("advance", "fit", {"solver": "adam"}),
        ("advance", "partial_fit", {"solver": "sgd"}),
        ("loss_and_grad", "fit", {"solver": "lbfgs"}),
        ("forward", "predict", {}),
    ],
)
def test_python_runs_on_while_a_kernel_runs(
    kernel, method, params, inside, threads_run_until_they_let_go
):
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(1000, 20)), rng.normal(size=1000)
    params = {"hidden_layer_sizes": (200, 200), "batch_size": 1000, **params}
    model = cbp.MLPRegressor(**params, max_iter=1, random_state=0)
    args = (X, y)
    if method == "predict":
        model.fit(X, y)
        args = (X,)
    seen = []

    def work():
        for _ in range(100):
            getattr(model, method)(*args)
            if seen.count(kernel) >= 20:
                break

    thread = threading.Thread(target=work)
    thread.start()
    pause = threading.Event()
    while thread.is_alive():
        seen += inside
        pause.wait(0.0002)  # lets go, and comes back only while nobody else holds on
    thread.join()
    assert seen.count(kernel) >= 20
