"""Models to explore, and how to read the page that `explore` makes of them."""

import json
import re
import warnings

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning

from cbp import MLPClassifier, MLPRegressor, Network

N_SAMPLES, N_FEATURES = 12, 5


def _targets(kind, rng):
    return {
        "classes": np.array(["ant", "bee", "cow"])[np.arange(N_SAMPLES) % 3],
        "two classes": np.array(["no", "yes"])[np.arange(N_SAMPLES) % 2],
        "labels": np.eye(3, dtype=int)[np.arange(N_SAMPLES) % 3] | rng.integers(2),
        "number": rng.normal(size=N_SAMPLES),
        "numbers": rng.normal(size=(N_SAMPLES, 2)),
        "counts": rng.poisson(2.0, N_SAMPLES),
    }[kind]


#: name -> estimator, kind of y, dtype or form of X.
MODELS = {
    "classes": (MLPClassifier((4, 3), "tanh"), "classes", np.asarray),
    "two classes": (MLPClassifier((4,), "logistic"), "two classes", np.asarray),
    "labels": (MLPClassifier((4,), "relu"), "labels", np.asarray),
    "number": (MLPRegressor(hidden_layer_sizes=(4,)), "number", np.asarray),
    "numbers": (MLPRegressor(hidden_layer_sizes=(4, 3)), "numbers", np.asarray),
    "counts": (MLPRegressor("poisson", (3,), "tanh"), "counts", np.asarray),
    "no hidden layer": (MLPClassifier(()), "classes", np.asarray),
    "no penalty": (MLPClassifier((3,), alpha=0.0), "classes", np.asarray),
    "strong penalty": (MLPClassifier((3,), alpha=9.0), "classes", np.asarray),
    "sparse": (MLPClassifier((3,)), "classes", csr_matrix),
    "float32": (MLPClassifier((3,), "tanh"), "classes", np.float32),
}


def fitted(name, seed=0):
    """One of the models, fitted, with its X and y."""
    model, kind, form = MODELS[name]
    rng = np.random.default_rng(seed)
    X = form(rng.normal(size=(N_SAMPLES, N_FEATURES)))
    y = _targets(kind, rng)
    est = type(model)(**model.get_params())
    est.set_params(max_iter=5, learning_rate_init=0.05, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return est.fit(X, y), X, y


def softmax_network(sizes, n, seed=0, **settings):
    """A Network that classifies, with random samples."""
    rng = np.random.default_rng(seed)
    net = Network(
        sizes,
        output_activation="softmax",
        loss="log_loss",
        random_state=seed,
        **settings,
    )
    y = np.eye(sizes[-1])[rng.integers(sizes[-1], size=n)]
    return net, rng.normal(size=(n, sizes[0])), y


def data_of(explorer):
    """What the page has to show."""
    pattern = r'<script type="application/json" id="data">(.*?)</script>'
    (text,) = re.findall(pattern, explorer.html, re.DOTALL)
    return json.loads(text)


def mean(values, sample_weight=None):
    """The mean of rows of values, which may be sparse, in float64."""
    dense = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
    return np.average(dense.astype(np.float64), axis=0, weights=sample_weight)
