"""The codes of classes train a softmax as the indicators of the same classes do."""

import numpy as np
import pytest
from problems import n_params, rates_of

from cbp import MLPClassifier, Network
from cbp.kernels import propagator as kernels
from cbp.reference import propagator as reference
from cbp.training.solvers import SGD

pytestmark = pytest.mark.emulated

RTOL = {np.float64: 1e-12, np.float32: 1e-5}
ISAS = kernels.available_instruction_sets()


def trained(Propagator, dtype, sizes, X, y, weight, batch_size):
    """Loss, gradient, and what two epochs leave, with targets y."""
    make = (sizes, "tanh", "softmax", "log_loss", 0.25, np.dtype(dtype))
    propagator = Propagator(*make)
    params = np.random.default_rng(0).normal(size=n_params(sizes)).astype(dtype)
    grad, velocity = np.empty_like(params), np.zeros_like(params)
    losses = [propagator.loss_and_grad(params, X, y, weight, grad)]
    order = np.random.default_rng(1).permutation(len(X))
    propagator.use_solver(SGD(0.9, True), [velocity])
    propagator.begin_training(params, X, y, weight, batch_size)
    for _ in range(2):
        propagator.begin_epoch(order, rates_of(0.1, len(order), batch_size))
        assert propagator.advance(60.0)
        losses.append(propagator.end_epoch()[0])
    propagator.end_training()
    return [np.array(losses), grad, params, velocity]


def problem(dtype, n, n_classes):
    rng = np.random.default_rng(n)
    X, weight = rng.normal(size=(n, 5)), rng.uniform(0.5, 2.0, n)
    codes = rng.integers(n_classes, size=n).astype(np.int32)
    return X.astype(dtype), codes, weight.astype(dtype)


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("n_classes", [3, 10, 33])
@pytest.mark.parametrize("n", [1, 40, 700])
@pytest.mark.parametrize("isa", ISAS)
def test_codes_are_the_indicators_to_the_kernels(monkeypatch, isa, n, n_classes, dtype):
    monkeypatch.setenv("CBP_ISA", isa)
    X, codes, weight = problem(dtype, n, n_classes)
    indicators = np.eye(n_classes, dtype=dtype)[codes]
    for weights in (None, weight):
        given = (dtype, (5, 7, n_classes), X)
        of_codes = trained(kernels.Propagator, *given, codes, weights, 300)
        expected = trained(kernels.Propagator, *given, indicators, weights, 300)
        for computed, wanted in zip(of_codes, expected, strict=True):
            np.testing.assert_allclose(computed, wanted, RTOL[dtype], RTOL[dtype])


def test_codes_in_the_kernels_and_in_the_reference():
    X, codes, weight = problem(np.float64, 30, 4)
    given = (np.float64, (5, 7, 4), X, codes, weight, 8)
    computed = trained(kernels.Propagator, *given)
    expected = trained(reference.Propagator, *given)
    for ours, wanted in zip(computed, expected, strict=True):
        np.testing.assert_allclose(ours, wanted, 1e-10, 1e-12)


@pytest.mark.parametrize("implementation", [kernels, reference])
@pytest.mark.parametrize(
    ("loss", "output", "y"),
    [
        ("log_loss", "softmax", np.array([0, 4], np.int32)),
        ("log_loss", "softmax", np.array([-1, 0], np.int32)),
        ("log_loss", "softmax", np.array([0, 1, 2], np.int32)),
        ("log_loss", "softmax", np.array([0, 9, 1, 9], np.int32)[::2]),
        ("log_loss", "softmax", np.array([0, 1])),
        ("log_loss", "softmax", np.array([0.0, 1.0])),
        ("log_loss", "logistic", np.array([0, 1], np.int32)),
        ("squared_error", "softmax", np.array([0, 1], np.int32)),
    ],
)
def test_only_codes_of_classes_stand_for_indicators(implementation, loss, output, y):
    make = ((2, 4), "tanh", output, loss, 0.0, np.dtype(float))
    propagator = implementation.Propagator(*make)
    params = np.zeros(n_params((2, 4)))
    with pytest.raises((TypeError, ValueError), match="y "):
        propagator.loss_and_grad(params, np.zeros((2, 2)), y, None, np.empty(12))


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_loss_of_a_classifier_is_that_of_the_indicators(solver):
    X, codes, weight = problem(np.float64, 50, 4)
    labels = np.array([7, -2, 30, 11])
    model = MLPClassifier(
        (6,), solver=solver, batch_size=50, max_iter=1, random_state=0
    ).fit(X, labels[codes], weight)
    indicators = model.classes_ == labels[codes][:, np.newaxis]
    network = model.network_
    if solver != "lbfgs":  # the loss before its last update
        start = {**network.settings, "random_state": 0}
        network = Network(network.layer_sizes, **start)
    loss, _ = network.loss_and_grad(X, indicators, weight)
    assert model.loss_ == pytest.approx(loss, rel=1e-9)
