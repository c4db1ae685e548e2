"""Ctrl-C is raised soon, and what was learnt until then is kept."""

import os
import pickle
import signal
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from sklearn.base import is_classifier

from cbp import MLPClassifier, MLPRegressor, Network
from cbp.training.solvers import SGD, Adam
from cbp.training.state import TrainingState
from cbp.training.trainer import Trainer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

#: The promise of the documentation, in seconds.
SOON = 0.5


@contextmanager
def ctrl_c(after):
    """Press Ctrl-C after so many seconds; yields when it was pressed."""
    pressed = []
    # A shell that puts the tests into the background has them ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def press():
        pressed.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(after, press)
    timer.start()
    try:
        yield pressed
    finally:
        timer.cancel()
        timer.join()
        signal.signal(signal.SIGINT, before)


def endless(Estimator, **params):
    return Estimator(
        max_iter=10**9, tol=0.0, n_iter_no_change=np.inf, random_state=0, **params
    )


def problem(Estimator, n_samples, n_features=20):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n_samples, n_features)).astype(np.float32)
    return X, (X[:, 0] > 0 if Estimator is MLPClassifier else np.tanh(X[:, 0]))


CASES = {
    "many short epochs": (20, {"hidden_layer_sizes": (4,)}),
    "one long epoch": (200_000, {"hidden_layer_sizes": (200,), "batch_size": 20}),
}
if os.environ.get("CBP_IMPLEMENTATION") != "reference":
    # The reference looks up between batches only, the kernels within them.
    params = {"hidden_layer_sizes": (1000, 1000), "batch_size": 20_000}
    CASES["one long batch"] = (20_000, params)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_ctrl_c_is_raised_soon_and_leaves_a_fitted_estimator(Estimator, case):
    n_samples, params = CASES[case]
    X, y = problem(Estimator, n_samples)
    model = endless(Estimator, **params)
    with ctrl_c(after=1.0) as pressed, pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert time.perf_counter() - pressed[0] < SOON

    assert np.isfinite(model.network_.params_).all()
    assert model.n_iter_ == len(model.loss_curve_)
    assert model.t_ == model.n_iter_ * n_samples
    assert model.predict(X[:10]).shape == (10,)
    assert hasattr(model, "classes_") is is_classifier(model)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X[:10]), model.predict(X[:10]))
    model.set_params(max_iter=1, batch_size="auto").fit(X[:50], y[:50])
    assert model.n_iter_ == 1


def test_ctrl_c_keeps_what_the_epochs_before_have_learnt():
    X, y = problem(MLPRegressor, 100)
    params = {"hidden_layer_sizes": (), "learning_rate_init": 0.01}
    model = endless(MLPRegressor, **params, record="summary")
    with ctrl_c(after=0.5), pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert model.n_iter_ == len(model.record_.grad_norms) > 1
    assert model.loss_ == model.loss_curve_[-1] < model.loss_curve_[0]
    initial = Network((20, 1), dtype=np.float32, random_state=0)
    assert abs(model.network_.params_ - initial.params_).max() > 0.001


def test_ctrl_c_in_a_second_fit_replaces_the_first():
    X, y = problem(MLPRegressor, 100)
    model = MLPRegressor(hidden_layer_sizes=(2,), max_iter=1).fit(X[:, :3], y)
    model.set_params(max_iter=10**9, tol=0.0, n_iter_no_change=np.inf)
    with ctrl_c(after=0.3), pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert model.n_features_in_ == 20
    assert model.coefs_[0].shape == (20, 2)
    assert model.predict(X).shape == (100,)


class Interrupting:
    """Data whose conversion is interrupted."""

    shape = (10, 2)

    def __len__(self):
        return 10

    def __array__(self, dtype=None, copy=None):
        raise KeyboardInterrupt


def test_ctrl_c_before_training_changes_nothing():
    X, y = problem(MLPRegressor, 10)
    model = MLPRegressor(hidden_layer_sizes=(2,), max_iter=1).fit(X, y)
    before = dict(vars(model))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X[:, :2], Interrupting())
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())


class Impatient:
    """A network whose propagator works in slices of 0 s and stops in one of them."""

    def __init__(self, network, slices):
        self.network = network
        self.params_, self.loss = network.params_, network.loss
        self.slices = slices

    def make_propagator(self, n_threads):
        self.inner = self.network.make_propagator(n_threads)
        return self

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def advance(self, seconds):
        if self.slices == 0:
            raise KeyboardInterrupt
        self.slices -= 1
        return self.inner.advance(0.0)


@pytest.mark.parametrize("slices", [0, 1, 2, 3])
@pytest.mark.parametrize("solver", [Adam(), SGD()], ids=repr)
def test_weights_and_solver_are_those_after_the_last_finished_batch(solver, slices):
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 1))

    def trained(n_samples, slices):
        network = Network((3, 4, 1), alpha=0.1, random_state=0)
        state = TrainingState.begin(network.params_, solver, learning_rate_init=0.1)
        trainer = Trainer(
            Impatient(network, slices),
            state,
            batch_size=5,
            shuffle=False,
            max_iter=1,
            on_epoch=lambda: True,
        )
        try:
            trainer.train(X[:n_samples], y[:n_samples])
        except KeyboardInterrupt:
            pass
        return [network.params_, *state.moments]

    # Each slice of 0 s finishes just one batch.
    initial = Network((3, 4, 1), random_state=0).params_
    expected = [initial] + [np.zeros_like(initial)] * len(solver.moments)
    if slices > 0:
        expected = trained(5 * slices, slices=-1)
    interrupted = trained(30, slices)
    assert len(interrupted) == len(expected)
    for array, wanted in zip(interrupted, expected, strict=True):
        np.testing.assert_array_equal(array, wanted)
