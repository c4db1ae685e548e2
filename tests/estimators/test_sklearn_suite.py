"""scikit-learn's own tests of its multilayer perceptrons, run on ours.

Their test module is imported with our classes in the place of theirs, and every test
in it is a test of this module: pytest collects it with its parameters and fixtures.

`REPLACED` names what cannot be asked of another implementation, since it reaches into
private members of scikit-learn's; a test of the same name and content stands here.
"""

import importlib
import sys
import warnings

import numpy as np
import pytest
from problems import central_difference
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import LabelBinarizer

from cbp import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.usefixtures("one_thread")

SUITE = "sklearn.neural_network.tests.test_mlp"

#: Test of theirs that is replaced by ours -> why.
REPLACED = {
    "test_gradient": "calls _loss_grad_lbfgs with the buffers of the backward pass",
}


def _suite_with_our_classes():
    """Their module, whose decorators have seen our classes already."""
    # As pytest does for what it collects: an assertion that fails shows its values.
    pytest.register_assert_rewrite(SUITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neural_network, "MLPClassifier", MLPClassifier)
        patch.setattr(neural_network, "MLPRegressor", MLPRegressor)
        theirs = sys.modules.pop(SUITE, None)
        try:
            return importlib.import_module(SUITE)
        finally:
            # Whoever imports the name later gets the tests of scikit-learn's classes.
            sys.modules.pop(SUITE, None)
            if theirs is not None:
                sys.modules[SUITE] = theirs


suite = _suite_with_our_classes()
globals().update(
    {
        name: value
        for name, value in vars(suite).items()
        if name.startswith("test_") and name not in REPLACED
    }
)


@pytest.fixture(params=[0, 1, 2, 42])
def global_random_seed(request):
    """What scikit-learn's conftest provides; there it is 42 unless asked for more."""
    return request.param


# -- nothing is left out ---------------------------------------------------------


def test_suite_is_theirs_with_our_classes():
    assert suite.MLPClassifier is MLPClassifier
    assert suite.MLPRegressor is MLPRegressor
    parameters = [
        value
        for test in vars(suite).values()
        for mark in getattr(test, "pytestmark", [])
        if mark.name == "parametrize"
        for value in mark.args[1]
    ]
    assert MLPClassifier in parameters
    for value in parameters:
        assert not getattr(value, "__module__", "").startswith("sklearn.neural_network")


def test_all_of_the_suite_is_collected(request):
    theirs = {name for name in vars(suite) if name.startswith("test_")}
    collected = request.node.getparent(pytest.Module).collect()
    assert theirs <= {item.originalname for item in collected}


def test_only_what_is_listed_is_replaced():
    assert set(REPLACED) <= set(vars(suite))
    for name, test in vars(suite).items():
        if name.startswith("test_"):
            assert (globals()[name] is not test) == (name in REPLACED)


# -- what is replaced ------------------------------------------------------------


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("n_labels", [2, 3])
def test_gradient(n_labels, activation, global_random_seed):
    """The gradient is the difference quotient of the loss."""
    rng = np.random.RandomState(global_random_seed)
    X, y = rng.uniform(size=(5, 10)), 1 + np.arange(1, 6) % n_labels
    mlp = MLPClassifier(
        activation=activation,
        hidden_layer_sizes=10,
        solver="lbfgs",
        alpha=1e-5,
        max_iter=1,
        random_state=1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mlp.fit(X, y)
    network, Y = mlp.network_, LabelBinarizer().fit_transform(y)

    def loss(params):
        return network.loss_and_grad(X, Y, params=params)[0]

    _, gradient = network.loss_and_grad(X, Y)
    params = network.params_
    quotient = [
        central_difference(loss, params, i, step=1e-4) for i in range(params.size)
    ]
    np.testing.assert_allclose(gradient, quotient, rtol=1e-6, atol=1e-10)
