"""The same data and random_state give the model that scikit-learn gives.

Hundreds of configurations are drawn at random, each from its seed alone, and fitted by
both. Short fits are compared number by number, long ones by their scores, as rounding
may grow with every update.

Where ours differs on purpose (docs/differences.md), the difference is undone in
scikit-learn, so that everything else can be compared; see `differences_undone`.

A tolerance is only as good as the worst configuration. What magnifies rounding is
therefore not drawn: rates at which training diverges, penalties divided by a weight
close to 0, an Adam that divides by next to nothing.
"""

import math
import warnings
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import sparse
from scipy.special import log_softmax
from sklearn import datasets, neural_network
from sklearn.model_selection import train_test_split
from sklearn.neural_network import _base, _multilayer_perceptron
from sklearn.preprocessing import StandardScaler

import cbp

pytestmark = pytest.mark.usefixtures("one_thread")

SINGLE_LABEL = ("binary", "multiclass")
CLASSIFICATION = (*SINGLE_LABEL, "multilabel")
TASKS = (*CLASSIFICATION, "regression", "multi-output", "poisson")

#: Difference, relative or absolute, that rounding may make in a dozen epochs, and in a
#: dozen steps of lbfgs, whose line search divides small differences by small ones. The
#: largest of some thousand configurations were 1e-13 and 1e-10.
TOLERANCE = {"stochastic": 1e-8, "lbfgs": 1e-5}

#: The same for three epochs in float32, a thousand roundings; it was up to 20.
TOLERANCE_FLOAT32 = 1e-4

#: Updates of one fit, which bound the time that it takes and the growth of rounding.
MOST_UPDATES = 150


# -- configurations --------------------------------------------------------------


@dataclass
class Configuration:
    """What is fitted to what.

    Parameters
    ----------
    task : str
        One of `TASKS`.
    n_samples, n_features : int
    n_outputs : int
        Number of classes of a single label, else of columns of y (1: y is a vector).
    labels : {'int', 'str'}
        What the classes of a single label are called.
    container : str
        'dense', or the class of scipy.sparse that holds X.
    weights : {'none', 'uniform', 'integer', 'with zeros'}
    params : dict
        Parameters of the estimator.
    """

    task: str
    n_samples: int
    n_features: int
    n_outputs: int
    labels: str
    container: str
    weights: str
    params: dict

    @property
    def n_validation(self):
        """Samples that are set aside for early stopping."""
        if not self.params.get("early_stopping"):
            return 0
        return math.ceil(self.params["validation_fraction"] * self.n_samples)

    @property
    def n_training(self):
        return self.n_samples - self.n_validation

    @property
    def batch_size(self):
        """Samples of each batch but the last."""
        if self.params["solver"] == "lbfgs":
            return self.n_samples
        batch_size = self.params["batch_size"]
        return min(200 if batch_size == "auto" else batch_size, self.n_training)

    @property
    def smallest_part(self):
        """Samples of the last batch or, if there are fewer, of the validation set."""
        parts = {self.n_training % self.batch_size, self.batch_size, self.n_validation}
        return min(parts - {0})

    def classes(self):
        """Our estimator and scikit-learn's."""
        name = "MLPClassifier" if self.task in CLASSIFICATION else "MLPRegressor"
        return getattr(cbp, name), getattr(neural_network, name)


def pick(rng, *options):
    return options[rng.randint(len(options))]


def uniform(rng, low, high):
    return float(rng.uniform(low, high))


def log_uniform(rng, low, high):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def draw_configuration(rng, solver, tasks=TASKS):
    """A random `Configuration` for 'lbfgs' or a 'stochastic' solver ('sgd', 'adam')."""
    task = pick(rng, *tasks)
    n_outputs = {
        "binary": 2,
        "multiclass": int(rng.randint(3, 6)),
        "multilabel": int(rng.randint(2, 5)),
        "regression": 1,
        "multi-output": int(rng.randint(2, 5)),
        "poisson": int(rng.randint(1, 4)),
    }[task]
    # Enough for two samples of each class on both sides of a split.
    n_samples = max(int(log_uniform(rng, 5, 301)), 4 * n_outputs)
    configuration = Configuration(
        task,
        n_samples,
        n_features=int(rng.randint(1, 11)),
        n_outputs=n_outputs,
        labels=pick(rng, "int", "str"),
        container=pick(
            rng,
            *("dense", "dense", "dense", "dense"),
            *("csr_array", "csc_array", "csr_matrix", "csc_matrix"),
        ),
        weights=pick(rng, "none", "none", "uniform", "integer", "with zeros"),
        params={
            "hidden_layer_sizes": pick(
                rng,
                int(rng.randint(1, 21)),
                tuple(rng.randint(1, 21, size=rng.randint(4)).tolist()),
            ),
            "activation": pick(rng, "identity", "logistic", "tanh", "relu"),
            "max_iter": int(rng.randint(1, 13)),
            "random_state": int(rng.randint(1000)),
        },
    )
    params = configuration.params
    if task == "poisson":
        params["loss"] = "poisson"
    if solver == "lbfgs":
        params |= draw_lbfgs(rng)
    else:
        params |= draw_stochastic(rng, n_samples)
        params |= pick(rng, draw_sgd, draw_adam)(rng)
        if task == "poisson" and params["solver"] == "sgd":
            params["learning_rate_init"] /= 20  # the gradient of exp(z) is steep
        if pick(rng, True, False, False):
            params |= draw_early_stopping(rng, n_samples, n_outputs)
        n_batches = -(-configuration.n_training // configuration.batch_size)
        most = max(1, MOST_UPDATES // n_batches)
        params["max_iter"] = min(params["max_iter"], most)
    return configuration


def draw_stochastic(rng, n_samples):
    """Parameters that 'sgd' and 'adam' share."""
    return {
        # The gradient of the penalty is divided by the weights of a batch, which may
        # be one sample.
        "alpha": pick(rng, 0.0, 1e-4, log_uniform(rng, 1e-5, 0.1)),
        "batch_size": pick(
            rng,
            "auto",
            int(log_uniform(rng, 1, n_samples + 1)),
            int(log_uniform(rng, 1, n_samples + 1)),
            n_samples + int(rng.randint(1, 50)),
        ),
        "shuffle": pick(rng, True, True, False),
        # From a distribution without atoms but 0: no loss or score lies within
        # rounding of a bound, and at 0 neither rises nor falls by so little.
        "tol": pick(rng, 0.0, 1e-4, log_uniform(rng, 1e-3, 1.0)),
        "n_iter_no_change": pick(rng, 1, 1, 2, 3, 10, np.inf),
    }


def draw_sgd(rng):
    drawn = {
        "solver": "sgd",
        "learning_rate": pick(rng, "constant", "invscaling", "adaptive"),
        "learning_rate_init": log_uniform(rng, 1e-3, 0.02),
        "power_t": pick(rng, 0.5, uniform(rng, 0.0, 1.0)),
        "momentum": pick(rng, 0.0, 0.9, uniform(rng, 0.0, 0.9)),
        "nesterovs_momentum": pick(rng, True, False),
    }
    if drawn["learning_rate"] == "adaptive" and pick(rng, True, False):
        # In reach of the rate at which the schedule gives up. The loss hardly moves
        # then: only a tol above 0 decides the same whatever the rounding.
        drawn |= {
            "learning_rate_init": log_uniform(rng, 1e-6, 1e-4),
            "tol": log_uniform(rng, 1e-3, 1.0),
            "n_iter_no_change": 1,
        }
    return drawn


def draw_adam(rng):
    # The mean of the gradient is at most a multiple of the root of that of its square,
    # and a step bounded, as long as beta_1 ** 2 < beta_2 or both are 0. A step changes
    # by learning_rate / epsilon times what rounding changes in the gradient, at most.
    beta_1, beta_2 = pick(
        rng,
        (0.9, 0.999),
        (uniform(rng, 0.0, 0.9), uniform(rng, 0.9, 0.9999)),
        (0.0, 0.0),
    )
    return {
        "solver": "adam",
        "learning_rate_init": log_uniform(rng, 1e-3, 0.05),
        "beta_1": beta_1,
        "beta_2": beta_2,
        "epsilon": pick(rng, 1e-8, log_uniform(rng, 1e-8, 0.1)),
    }


def draw_early_stopping(rng, n_samples, n_outputs):
    # A sample of each class at least, as the stratified split wants it, and two for
    # the variance that R^2 divides by.
    least = max(2, n_outputs) / n_samples
    return {
        "early_stopping": True,
        "validation_fraction": uniform(rng, least, max(least, 0.5)),
    }


def draw_lbfgs(rng):
    return {
        "solver": "lbfgs",
        "alpha": pick(rng, 0.0, 1e-4, log_uniform(rng, 1e-4, 1.0)),
        "tol": log_uniform(rng, 1e-5, 0.1),
        "max_fun": pick(rng, 15000, int(rng.randint(2, 15))),
    }


def draw_samples(rng, configuration, dtype=np.float64):
    """X, y and the weights (None or an array) of a configuration."""
    n, n_outputs = configuration.n_samples, configuration.n_outputs
    X = rng.uniform(-1.5, 1.5, (n, configuration.n_features)).astype(dtype)
    if configuration.container != "dense":
        X *= rng.uniform(size=X.shape) < 0.5
    signal = X @ rng.normal(size=(X.shape[1], n_outputs))
    signal += rng.normal(size=signal.shape)
    y = draw_targets(rng, configuration, signal)
    if configuration.container != "dense":
        X = getattr(sparse, configuration.container)(X)
    return X, y, draw_weights(rng, configuration)


def draw_targets(rng, configuration, signal):
    """y that depends on the signal (n, n_outputs)."""
    n_outputs = configuration.n_outputs
    if configuration.task in SINGLE_LABEL:
        names = rng.choice(1000, n_outputs, replace=False) - 500
        encoded = signal.argmax(axis=1)
        # Each class twice at least, so that a stratified split has something to split.
        encoded[: 2 * n_outputs] = np.arange(2 * n_outputs) % n_outputs
        return names.astype(configuration.labels)[encoded]
    if configuration.task == "multilabel":
        return (signal > 0).astype(int)
    if configuration.task == "poisson":
        signal = rng.poisson(np.exp(np.tanh(signal))).astype(float)
    return signal[:, 0] if n_outputs == 1 else signal


def draw_weights(rng, configuration):
    # Not close to 0: the gradient of the penalty is divided by them.
    n = configuration.n_samples
    if configuration.weights == "none":
        return None
    if configuration.weights == "integer":
        return rng.randint(1, 4, size=n)
    weights = rng.uniform(0.5, 2.0, size=n)
    if configuration.weights == "with zeros":
        # scikit-learn divides by the weights of every batch: none may have only zeros.
        n_zeros = min(configuration.smallest_part - 1, n // 3)
        weights[rng.choice(n, n_zeros, replace=False)] = 0.0
    return weights


# -- both fits -------------------------------------------------------------------


def summed_squared_error(y_true, y_pred, sample_weight=None):
    return 0.5 * np.average((y_true - y_pred) ** 2, 0, weights=sample_weight).sum()


def stratified_split(*arrays, stratify, **params):
    """train_test_split for X, indicators of classes, and perhaps weights."""
    # By the index of the class, whose order is that of classes_.
    return train_test_split(*arrays, stratify=arrays[1].argmax(axis=1), **params)


def use_exact_log_losses(patch):
    """Let scikit-learn take log losses from the weighted inputs of the output layer."""
    z = {}

    def remembering(activate):
        def activate_inplace(X):
            z["last"] = X.copy()
            activate(X)

        return activate_inplace

    def logistic_loss(y_true, y_prob, sample_weight=None):
        losses = np.logaddexp(0, np.where(y_true, -z["last"], z["last"]))
        return np.average(losses, axis=0, weights=sample_weight).sum()

    def softmax_loss(y_true, y_prob, sample_weight=None):
        losses = np.where(y_true, -log_softmax(z["last"], axis=1), 0.0)
        return np.average(losses, axis=0, weights=sample_weight).sum()

    for name in ("logistic", "softmax"):
        patch.setitem(_base.ACTIVATIONS, name, remembering(_base.ACTIVATIONS[name]))
    patch.setitem(_base.LOSS_FUNCTIONS, "binary_log_loss", logistic_loss)
    patch.setitem(_base.LOSS_FUNCTIONS, "log_loss", softmax_loss)


@contextmanager
def differences_undone(task):
    """scikit-learn without what we do not copy from it.

    - With k outputs it reports 1/k of the squared error whose gradient it uses; ours
      is the sum over the outputs.
    - It clips probabilities at 2^-52 before it takes their logarithm, but not in the
      gradient. It does not take long training to get there: a trial step of lbfgs does.
    - It stratifies the split for early stopping if y is binary only; we do for every
      single label.
    """
    with pytest.MonkeyPatch.context() as patch:
        if task == "multi-output":
            patch.setitem(_base.LOSS_FUNCTIONS, "squared_error", summed_squared_error)
        if task in CLASSIFICATION:
            use_exact_log_losses(patch)
        if task == "multiclass":
            patch.setattr(_multilayer_perceptron, "train_test_split", stratified_split)
        yield


def fit(model, X, y, weight):
    """The names of the warnings that users get to see."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y, weight)
    categories = [warning.category for warning in caught]
    return sorted(c.__name__ for c in categories if issubclass(c, UserWarning))


def fit_both(configuration, X, y, weight):
    """Our estimator and scikit-learn's, fitted, after the same warnings."""
    Ours, Theirs = configuration.classes()
    ours, theirs = Ours(**configuration.params), Theirs(**configuration.params)
    with differences_undone(configuration.task):
        expected = fit(theirs, X, y, weight)
    assert fit(ours, X, y, weight) == expected
    return ours, theirs


def assert_close(actual, expected, tolerance, name):
    """`expected` is a number, an array, or a list of them."""
    if not isinstance(expected, list):
        actual, expected = [actual], [expected]
    assert len(actual) == len(expected), name
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance, err_msg=name)


def assert_same_model(ours, theirs, tolerance):
    """Every public attribute that scikit-learn sets in fit has the same value."""
    for name, expected in vars(theirs).items():
        if name.startswith("_") or not name.endswith("_"):
            continue
        actual = getattr(ours, name)
        if expected is None or isinstance(expected, (int, str)):
            assert actual == expected, name
        elif name == "classes_":
            np.testing.assert_array_equal(actual, expected, strict=True)
        else:
            assert_close(actual, expected, tolerance, name)


def assert_same_predictions(ours, theirs, X, tolerance):
    predicted, expected = ours.predict(X), theirs.predict(X)
    assert predicted.shape == expected.shape
    if not hasattr(theirs, "classes_"):
        assert_close(predicted, expected, tolerance, "predict")
        return
    np.testing.assert_array_equal(predicted, expected, strict=True)
    expected = theirs.predict_proba(X)
    assert_close(ours.predict_proba(X), expected, tolerance, "predict_proba")
    # Not by their logarithms: of a probability near 0, theirs is that of a rounded one.
    p = np.exp(ours.predict_log_proba(X))
    assert_close(p, expected, tolerance, "predict_log_proba")


# -- short fits, number by number ------------------------------------------------


@pytest.mark.parametrize("seed", range(300), ids="seed {}".format)
def test_sgd_and_adam_give_scikit_learns_model(seed):
    rng = np.random.RandomState(seed)
    configuration = draw_configuration(rng, "stochastic")
    print(configuration)  # pytest shows it if the test fails
    X, y, weight = draw_samples(rng, configuration)
    ours, theirs = fit_both(configuration, X, y, weight)
    assert_same_model(ours, theirs, TOLERANCE["stochastic"])
    assert_same_predictions(ours, theirs, X, TOLERANCE["stochastic"])


@pytest.mark.parametrize("seed", range(100), ids="seed {}".format)
def test_lbfgs_gives_scikit_learns_model(seed):
    rng = np.random.RandomState(seed)
    configuration = draw_configuration(rng, "lbfgs")
    print(configuration)
    X, y, weight = draw_samples(rng, configuration)
    ours, theirs = fit_both(configuration, X, y, weight)
    assert_same_model(ours, theirs, TOLERANCE["lbfgs"])
    assert_same_predictions(ours, theirs, X, TOLERANCE["lbfgs"])


@pytest.mark.parametrize("seed", range(50), ids="seed {}".format)
def test_partial_fit_gives_scikit_learns_model(seed):
    rng = np.random.RandomState(seed)
    configuration = draw_configuration(rng, "stochastic")
    params = configuration.params
    params["early_stopping"] = False  # refused by partial_fit
    if configuration.weights == "with zeros":
        configuration.weights = "uniform"  # a batch of a part might have only zeros
    print(configuration)
    X, y, weight = draw_samples(rng, configuration)
    # Two calls with as many rows never follow each other: ours goes on shuffling their
    # running order then, as the epochs of a fit do.
    half = len(y) // 2
    every = slice(None)
    parts = (every, slice(half), every, slice(half, None), every)
    classes = {}
    if configuration.task in CLASSIFICATION:
        labels = range(y.shape[1]) if configuration.task == "multilabel" else set(y)
        classes = {"classes": sorted(labels)}
    fitted = []
    for MLP in configuration.classes():
        # An int would give every call of scikit-learn's the same permutation.
        random_state = np.random.RandomState(params["random_state"])
        model = MLP(**{**params, "random_state": random_state})
        with differences_undone(configuration.task), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            for part in parts:
                sample_weight = None if weight is None else weight[part]
                model.partial_fit(X[part], y[part], sample_weight, **classes)
        fitted.append(model)
    ours, theirs = fitted
    theirs.n_iter_ = len(parts)  # scikit-learn's is that of the last call
    assert_same_model(ours, theirs, TOLERANCE["stochastic"])
    assert_same_predictions(ours, theirs, X, TOLERANCE["stochastic"])


@pytest.mark.parametrize("seed", range(50), ids="seed {}".format)
@pytest.mark.parametrize("solver", TOLERANCE)
def test_warm_start_gives_scikit_learns_model(solver, seed):
    rng = np.random.RandomState(seed)
    configuration = draw_configuration(rng, solver)
    params = configuration.params
    # scikit-learn goes on counting epochs without improvement where the last fit
    # ended, and forgets which weights had the best validation score.
    params |= {"n_iter_no_change": np.inf, "early_stopping": False, "warm_start": True}
    if solver == "stochastic":
        # Ours goes on with the moments and the rate of the last fit, scikit-learn
        # begins anew: plain gradient descent has neither.
        params |= {"solver": "sgd", "momentum": 0.0, "learning_rate": "constant"}
        params["learning_rate_init"] = 1e-3  # at which no task diverges
    if configuration.weights == "with zeros":
        configuration.weights = "uniform"  # a batch of a part might have only zeros
    print(configuration)
    X, y, weight = draw_samples(rng, configuration)
    ours, theirs = (
        MLP(**{**params, "random_state": np.random.RandomState(seed)})
        for MLP in configuration.classes()
    )
    # Not as many rows again, whose running order ours would go on shuffling.
    for part in (slice(-1), slice(None)):
        sample_weight = None if weight is None else weight[part]
        with differences_undone(configuration.task):
            expected = fit(theirs, X[part], y[part], sample_weight)
        assert fit(ours, X[part], y[part], sample_weight) == expected
    assert_same_model(ours, theirs, TOLERANCE[solver])
    assert_same_predictions(ours, theirs, X, TOLERANCE[solver])


@pytest.mark.parametrize("seed", range(40), ids="seed {}".format)
def test_float32_stays_float32_and_close_to_scikit_learns(seed):
    rng = np.random.RandomState(seed)
    configuration = draw_configuration(rng, "stochastic", CLASSIFICATION)
    params = configuration.params
    # What decides by comparing, or divides by a gradient close to 0, would magnify the
    # rounding of float32.
    params |= {"n_iter_no_change": np.inf, "early_stopping": False}
    params |= {"max_iter": min(params["max_iter"], 3)}
    params |= {"epsilon": max(params.get("epsilon", 0.0), 1e-3)}
    print(configuration)
    X, y, weight = draw_samples(rng, configuration, np.float32)
    ours, theirs = fit_both(configuration, X, y, weight)
    assert_same_model(ours, theirs, TOLERANCE_FLOAT32)
    probabilities = ours.predict_proba(X), ours.predict_log_proba(X)
    arrays = [*ours.coefs_, *ours.intercepts_, *probabilities]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    expected = theirs.predict_proba(X)
    assert_close(probabilities[0], expected, TOLERANCE_FLOAT32, "predict_proba")


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("n_outputs", [2, 5])
def test_loss_of_k_outputs_is_k_times_what_scikit_learn_reports(n_outputs, solver):
    rng = np.random.RandomState(n_outputs)
    X, y = rng.normal(size=(50, 3)), rng.normal(size=(50, n_outputs))
    params = {"solver": solver, "max_iter": 5, "random_state": 0, "batch_size": 20}
    # The penalty is not multiplied, and tol is compared with the loss.
    params |= {"alpha": 0.0, "tol": 0.0}
    ours, theirs = cbp.MLPRegressor(**params), neural_network.MLPRegressor(**params)
    assert fit(ours, X, y, None) == fit(theirs, X, y, None)
    tolerance = TOLERANCE["stochastic"]
    for name in ("coefs_", "intercepts_"):
        assert_close(getattr(ours, name), getattr(theirs, name), tolerance, name)
    expected = [n_outputs * loss for loss in theirs.loss_curve_]
    assert_close(ours.loss_curve_, expected, tolerance, "loss_curve_")
    assert_close(
        ours.best_loss_, n_outputs * theirs.best_loss_, tolerance, "best_loss_"
    )


# -- long fits, by their scores --------------------------------------------------

#: Data of scikit-learn -> function that loads them, and the name of the estimator.
DATA = {
    "digits": (datasets.load_digits, "MLPClassifier"),
    "breast cancer": (datasets.load_breast_cancer, "MLPClassifier"),
    "diabetes": (datasets.load_diabetes, "MLPRegressor"),
}


def scaled_split(load):
    """X_train, X_test, y_train, y_test with columns of mean 0 and variance 1."""
    X, y = load(return_X_y=True)
    if load is datasets.load_diabetes:
        y = (y - y.mean()) / y.std()
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    scaler = StandardScaler().fit(X_train)
    return scaler.transform(X_train), scaler.transform(X_test), y_train, y_test


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("name", DATA)
def test_default_parameters_score_what_scikit_learn_scores(name, solver):
    load, estimator = DATA[name]
    params = {"solver": solver, "random_state": 0}
    if name == "diabetes" and solver == "lbfgs":
        # By default lbfgs comes to fit the noise, and rounding decides how.
        params["alpha"] = 10.0
    X_train, X_test, y_train, y_test = scaled_split(load)
    scores = [
        getattr(module, estimator)(**params).fit(X_train, y_train).score(X_test, y_test)
        for module in (cbp, neural_network)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.01)
    assert scores[0] > (0.2 if name == "diabetes" else 0.9)
