"""Fitted estimators go from scikit-learn to cbp and back, and predict the same."""

import numpy as np
import pandas as pd
import pytest
from sklearn import neural_network
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import cbp
from cbp import MLPClassifier, MLPEstimator, MLPRegressor, from_sklearn, to_sklearn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

TASKS = {
    "binary": ("MLPClassifier", {}, lambda X: np.where(X[:, 0] > 0, "yes", "no")),
    "multiclass": ("MLPClassifier", {}, lambda X: np.digitize(X[:, 0], [-0.5, 0.5])),
    "multilabel": ("MLPClassifier", {}, lambda X: (X > 0).astype(int)),
    "regression": ("MLPRegressor", {}, lambda X: X[:, 0]),
    "multi-output": ("MLPRegressor", {}, lambda X: X[:, :2]),
    "poisson": (
        "MLPRegressor",
        {"loss": "poisson"},
        lambda X: np.floor(np.exp(X[:, 0])),
    ),
}
SETTINGS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate": "invscaling"},
    "lbfgs": {"solver": "lbfgs"},
    "early stopping": {"early_stopping": True},
    "no hidden layer": {"hidden_layer_sizes": ()},
}


def fitted(module, task, dtype=np.float64, **params):
    name, own, target = TASKS[task]
    X = np.random.RandomState(0).normal(size=(50, 4)).astype(dtype)
    params = {"hidden_layer_sizes": (5, 3), "max_iter": 8, "random_state": 0, **params}
    return getattr(module, name)(**own, **params).fit(X, target(X)), X, target(X)


def assert_same_predictions(one, other, X):
    tolerance = 1e-12 if X.dtype == np.float64 else 1e-5
    predicted = one.predict(X)
    if predicted.dtype.kind == "f":
        np.testing.assert_allclose(other.predict(X), predicted, tolerance, tolerance)
    else:
        np.testing.assert_array_equal(other.predict(X), predicted)
        np.testing.assert_allclose(
            other.predict_proba(X), one.predict_proba(X), tolerance, tolerance
        )
    assert other.predict(X).dtype == predicted.dtype


def public(estimator):
    return {name for name in vars(estimator) if name.endswith("_")}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("task", TASKS)
def test_a_converted_estimator_predicts_the_same(task, setting, dtype):
    for source, convert in (
        (neural_network, from_sklearn),
        (cbp, to_sklearn),
    ):
        estimator, X, y = fitted(source, task, dtype, **SETTINGS[setting])
        converted = convert(estimator)
        assert_same_predictions(estimator, converted, X)
        score = estimator.score(X, y)
        assert converted.score(X, y) == pytest.approx(score, rel=1e-4, abs=1e-6)
        assert public(converted) >= public(estimator)
        for name in public(estimator) - {"coefs_", "intercepts_", "classes_"}:
            assert getattr(converted, name) == getattr(estimator, name)
        ours, theirs = (params.get_params() for params in (estimator, converted))
        for params in (ours, theirs):
            params.pop("n_jobs", None)
            params.pop("record", None)
        assert ours == theirs


@pytest.mark.parametrize("setting", sorted(SETTINGS))
@pytest.mark.parametrize("task", TASKS)
def test_there_and_back_is_the_same_estimator(task, setting):
    estimator, X, _ = fitted(cbp, task, **SETTINGS[setting])
    again = from_sklearn(to_sklearn(estimator))
    assert type(again) is type(estimator)
    np.testing.assert_array_equal(again.network_.params_, estimator.network_.params_)
    np.testing.assert_array_equal(again.predict(X), estimator.predict(X))


@pytest.mark.parametrize("source", [cbp, neural_network], ids=["cbp", "scikit-learn"])
@pytest.mark.parametrize("task", TASKS)
def test_the_converted_estimator_has_arrays_of_its_own(task, source):
    estimator, X, _ = fitted(source, task)
    before = estimator.predict(X)
    converted = to_sklearn(estimator) if source is cbp else from_sklearn(estimator)
    for array in (*converted.coefs_, *converted.intercepts_):
        array[:] = 0.0
    converted.loss_curve_.clear()
    np.testing.assert_array_equal(estimator.predict(X), before)
    assert estimator.loss_curve_


@pytest.mark.parametrize("call", ["fit", "partial_fit", "warm-started fit"])
@pytest.mark.parametrize("setting", ["adam", "lbfgs"])
@pytest.mark.parametrize("task", TASKS)
def test_training_goes_on_after_a_conversion_as_on_the_other_side(task, setting, call):
    estimator, X, y = fitted(neural_network, task, **SETTINGS[setting], alpha=0.0)
    ours = from_sklearn(estimator).set_params(solver="adam", shuffle=False)
    theirs = to_sklearn(ours)
    if call == "partial_fit":
        ours.partial_fit(X, y)
        theirs.partial_fit(X, y)
    else:
        for model in (ours, theirs):
            model.set_params(warm_start=call != "fit", max_iter=3).fit(X, y)
    for w, w_theirs in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(w, w_theirs, rtol=1e-8, atol=1e-10)


def test_parameters_changed_after_fit_do_not_change_what_is_predicted():
    ours, X, _ = fitted(cbp, "regression")
    theirs = to_sklearn(ours.set_params(activation="tanh", loss="poisson"))
    assert_same_predictions(ours, theirs, X)


def test_a_random_state_is_not_shared():
    rng = np.random.RandomState(0)
    ours, X, y = fitted(cbp, "regression", random_state=rng)
    before = rng.get_state()[1].copy()
    to_sklearn(ours).fit(X, y)
    from_sklearn(to_sklearn(ours)).fit(X, y)
    np.testing.assert_array_equal(rng.get_state()[1], before)


def test_an_estimator_that_lacks_a_later_parameter_is_taken():
    theirs, X, _ = fitted(neural_network, "regression")
    before = theirs.predict(X)
    del theirs.loss  # which came with scikit-learn 1.7
    np.testing.assert_allclose(from_sklearn(theirs).predict(X), before, rtol=1e-12)


def test_subclasses_are_converted_by_the_parameters_that_the_other_side_knows():
    class Theirs(neural_network.MLPRegressor):
        def __init__(self, extra, hidden_layer_sizes=(3,), max_iter=5):
            super().__init__(hidden_layer_sizes=hidden_layer_sizes, max_iter=max_iter)
            self.extra = extra

    class Ours(MLPRegressor):
        def __init__(self, extra, hidden_layer_sizes=(3,), max_iter=5):
            super().__init__(hidden_layer_sizes=hidden_layer_sizes, max_iter=max_iter)
            self.extra = extra

    X = np.random.RandomState(0).normal(size=(20, 3))
    theirs, ours = Theirs("x").fit(X, X[:, 0]), Ours("x").fit(X, X[:, 0])
    assert_same_predictions(theirs, from_sklearn(theirs), X)
    assert_same_predictions(ours, to_sklearn(ours), X)


def test_feature_names_go_along():
    X = pd.DataFrame(np.eye(4), columns=list("abcd"))
    theirs = neural_network.MLPRegressor(max_iter=2).fit(X, np.arange(4.0))
    ours = from_sklearn(theirs)
    ours.predict(X)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        ours.predict(X.to_numpy())
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        to_sklearn(ours).predict(X.to_numpy())


@pytest.mark.parametrize(
    "loss, name",
    [
        ("log_loss", "MLPClassifier"),
        ("squared_error", "MLPRegressor"),
        ("poisson", "MLPRegressor"),
    ],
)
def test_the_general_estimator_becomes_what_its_loss_makes_it(loss, name):
    X, y = np.eye(4), np.array([0, 1, 2, 0])
    ours = MLPEstimator(loss, (3,), max_iter=3, random_state=0).fit(X, y)
    theirs = to_sklearn(ours)
    assert type(theirs) is getattr(neural_network, name)
    np.testing.assert_allclose(theirs.predict(X), ours.predict(X))


def test_what_cannot_be_converted_is_refused():
    X, y = np.eye(4), np.arange(4.0)
    doubled = MLPRegressor("sum_of_squares", max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match="no loss='sum_of_squares'"):
        to_sklearn(doubled)
    with pytest.raises(TypeError, match="not LogisticRegression"):
        from_sklearn(LogisticRegression())
    with pytest.raises(TypeError, match="not Pipeline; of a pipeline give the step"):
        to_sklearn(make_pipeline(MLPClassifier()))
    with pytest.raises(NotFittedError):
        to_sklearn(MLPClassifier())
    with pytest.raises(NotFittedError):
        from_sklearn(neural_network.MLPClassifier())
