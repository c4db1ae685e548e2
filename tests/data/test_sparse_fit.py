"""Sparse X through the estimators: the model of dense X to the last bit, unchanged."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse

from cbp import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FORMS = (
    sparse.csr_matrix,
    sparse.csr_array,
    sparse.csc_matrix,
    sparse.csc_array,
    sparse.coo_array,
    sparse.lil_array,
)
SETTINGS = {
    "adam": {},
    "sgd": {"solver": "sgd"},
    "lbfgs": {"solver": "lbfgs"},
    "early stopping": {"early_stopping": True},
    "no hidden layer": {"hidden_layer_sizes": ()},
}


def problem(dtype=np.float64, n=60):
    rng = np.random.RandomState(0)
    X = np.where(rng.uniform(size=(n, 30)) < 0.2, rng.normal(size=(n, 30)), 0)
    X = X.astype(dtype)
    return X, X[:, :10].sum(axis=1)


def estimator(make=MLPRegressor, **params):
    quick = {"hidden_layer_sizes": (6,), "max_iter": 5, "batch_size": 13}
    return make(**{**quick, "random_state": 0, **params})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_the_model_is_that_of_dense_X(form, setting, dtype):
    X, y = problem(dtype)
    dense = estimator(**SETTINGS[setting]).fit(X, y)
    given = form(X)
    model = estimator(**SETTINGS[setting]).fit(given, y)
    np.testing.assert_array_equal(model.network_.params_, dense.network_.params_)
    assert model.loss_curve_ == dense.loss_curve_
    assert model.network_.dtype == dtype
    for rows in (given, X):
        np.testing.assert_array_equal(model.predict(rows), dense.predict(X))
    np.testing.assert_array_equal(given.toarray(), X)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_classifiers_take_it_in_every_method(kind):
    X, y = problem()
    targets = {
        "binary": y > 0,
        "multiclass": np.digitize(y, [-0.5, 0.5]),
        "multilabel": (X[:, :3] > 0).astype(int),
    }
    rows = sparse.csr_array(X)
    classes = range(3 if kind != "binary" else 2)
    dense, model = estimator(MLPClassifier), estimator(MLPClassifier)
    for _ in range(2):
        dense.partial_fit(X, targets[kind], classes=classes)
        model.partial_fit(rows, targets[kind], classes=classes)
    for method in ("predict", "predict_proba", "predict_log_proba"):
        np.testing.assert_array_equal(
            getattr(model, method)(rows), getattr(dense, method)(X)
        )
    assert model.score(rows, targets[kind]) == dense.score(X, targets[kind])


def test_duplicates_are_summed_and_the_matrix_left_alone():
    X = sparse.coo_array(([1.0, 2.0, 3.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    rows = sparse.csr_array(
        (np.array([2.0, 1.0, 3.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), (2, 2)
    )
    dense = estimator().fit(X.toarray(), [1.0, 2.0])
    for given in (X, rows):
        model = estimator().fit(given, [1.0, 2.0])
        np.testing.assert_array_equal(model.coefs_[0], dense.coefs_[0])
    np.testing.assert_array_equal(rows.data, [2.0, 1.0, 3.0])


def test_integers_and_booleans_become_float64():
    X, y = problem()
    for dtype in (int, bool):
        model = estimator().fit(sparse.csr_array((X > 0).astype(dtype)), y)
        assert model.coefs_[0].dtype == np.float64


def test_training_and_predicting_take_no_memory_for_the_zeros():
    n, n_features = 2000, 20_000
    X = sparse.random_array((n, n_features), density=1e-3, format="csr", rng=0)
    y = np.asarray(X.sum(axis=1)).ravel()
    model = estimator(hidden_layer_sizes=(2,), max_iter=2, batch_size=500)
    model.fit(X, y)
    tracemalloc.start()
    model.fit(X, y)
    model.predict(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # X as a dense matrix would take 320 MB. Weights, gradient and moments are 40,000
    # numbers each, plain and padded to 4 columns.
    assert peak < 10e6


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(bad):
    X, y = problem()
    X[3, 4] = bad
    model = estimator()
    with pytest.raises(ValueError, match="Input X contains"):
        model.fit(sparse.csr_array(X), y)
    good, y = problem()
    model.fit(good, y)
    with pytest.raises(ValueError, match="X contains"):
        model.predict(sparse.csr_array(X))


def test_shapes_that_do_not_fit_are_refused():
    X, y = problem()
    model = estimator().fit(sparse.csr_array(X), y)
    with pytest.raises(ValueError, match=r"X has 29 features, but .* expecting 30"):
        model.predict(sparse.csr_array(X[:, :29]))
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples"):
        model.fit(sparse.csr_array(X), y[:-1])
