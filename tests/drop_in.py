"""What tests share that hold our estimators beside scikit-learn's."""

from functools import partial

import numpy as np
import pytest
from sklearn import neural_network

import cbp

#: For the modules that import from here.
MARKS = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # Names of columns get lost on the way only where a test expects it.
    pytest.mark.filterwarnings("error:X .* feature names:UserWarning"),
]

#: Difference, relative or absolute, that rounding may make in float64.
TOLERANCE = 1e-8

QUICK = {
    "hidden_layer_sizes": (8,),
    "learning_rate_init": 0.02,
    "batch_size": 20,
    "max_iter": 12,
    "random_state": 0,
}

#: Our estimator -> what takes the parameters of scikit-learn's MLP and makes one.
CLASSIFIERS = {
    "MLPClassifier": cbp.MLPClassifier,
    "MLPEstimator": partial(cbp.MLPEstimator, "log_loss"),
}
REGRESSORS = {
    "MLPRegressor": cbp.MLPRegressor,
    "MLPEstimator": partial(cbp.MLPEstimator, "squared_error"),
}


class MLPClassifier(neural_network.MLPClassifier):
    """scikit-learn's, with the one method of ours that it lacks.

    Tools that find logits may take them in the place of probabilities.
    """

    def decision_function(self, X):
        outputs, self.out_activation_ = self.out_activation_, "identity"
        z = self._forward_pass_fast(X)
        self.out_activation_ = outputs
        return z.ravel() if z.shape[1] == 1 else z


def samples(task, n_samples=60, seed=0, n_features=4, noise=0.5, dtype=np.float64):
    """X (n, n_features) and targets that depend on it, and on chance."""
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(n_samples, n_features)).astype(dtype)
    signal = X @ rng.normal(size=(n_features, 3))
    signal += noise * rng.normal(size=(n_samples, 3))
    signal -= np.median(signal, axis=0)  # so that no class is rare
    codes = signal.argmax(axis=1)
    names = np.array(["a", "b", "c"])[codes]
    targets = {
        "binary": np.where(signal[:, 0] > 0, "yes", "no"),
        "multiclass": names,
        "codes": codes,
        "multilabel": (signal > 0).astype(int),
        "two labels": np.column_stack((names, np.where(X[:, 0] > 0, "yes", "no"))),
        "partly labelled": np.where(rng.uniform(size=n_samples) < 0.5, codes, -1),
        "regression": signal[:, 0],
        "multi-output": signal,
        "poisson": np.floor(2 * np.exp(np.tanh(signal[:, 0]))),
    }
    return X, targets[task]


def classifiers(name, **params):
    """Ours of this name and scikit-learn's, with the same parameters."""
    params = {**QUICK, **params}
    return CLASSIFIERS[name](**params), MLPClassifier(**params)


def regressors(name, **params):
    params = {**QUICK, **params}
    return REGRESSORS[name](**params), neural_network.MLPRegressor(**params)


def estimators(task, general=True, **params):
    """Ours for this task, MLPEstimator or the special case, and scikit-learn's."""
    if task in ("regression", "multi-output"):
        return regressors("MLPEstimator" if general else "MLPRegressor", **params)
    return classifiers("MLPEstimator" if general else "MLPClassifier", **params)


def assert_same(actual, expected):
    """Labels are equal, numbers up to rounding; lists are of either."""
    if isinstance(expected, list):
        assert len(actual) == len(expected)
        for a, e in zip(actual, expected, strict=True):
            assert_same(a, e)
        return
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(actual, expected, TOLERANCE, TOLERANCE)
    else:
        np.testing.assert_array_equal(actual, expected)


def assert_says_something(predicted):
    """No comparison of predictions that are all the same could fail."""
    assert len(np.unique(predicted, axis=0)) > 1


#: What one may ask of a classifier; a regressor predicts.
RESPONSES = ("predict", "predict_proba", "decision_function")


def assert_same_responses(ours, theirs, X):
    assert_says_something(theirs.predict(X))
    for response in RESPONSES:
        assert hasattr(ours, response) is hasattr(theirs, response)
        if hasattr(theirs, response):
            assert_same(getattr(ours, response)(X), getattr(theirs, response)(X))
