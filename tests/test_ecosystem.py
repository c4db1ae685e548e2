"""cbp's estimators work wherever scikit-learn's do.

What scikit-learn, pandas, polars, joblib, skops and matplotlib do with an estimator
they do with ours, and wherever scikit-learn's MLP gives something to compare, ours
gives the same from the same random_state: exactly where labels and choices come out,
up to rounding where numbers do.
"""

import os
import pickle
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import skops.io
from matplotlib import pyplot as plt
from scipy import sparse
from scipy.stats import loguniform
from sklearn import neural_network
from sklearn.base import clone, config_context, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SequentialFeatureSelector
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.inspection import (
    DecisionBoundaryDisplay,
    PartialDependenceDisplay,
    partial_dependence,
    permutation_importance,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    learning_curve,
    validation_curve,
)
from sklearn.multiclass import (
    OneVsOneClassifier,
    OneVsRestClassifier,
    OutputCodeClassifier,
)
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_limits

import cbp
from cbp import network

pytestmark = [
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


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads make nothing of small products but spin for the cores of others."""
    with threadpool_limits(1):
        yield


def samples(task, n_samples=60, seed=0):
    """X (n, 4) and targets that depend on it, and on chance."""
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(n_samples, 4))
    signal = X @ rng.normal(size=(4, 3)) + rng.normal(size=(n_samples, 3)) / 2
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
    return CLASSIFIERS[name](**params), neural_network.MLPClassifier(**params)


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


# -- meta-estimators -------------------------------------------------------------

#: What scikit-learn makes of a classifier, and of which y it learns.
OF_CLASSIFIERS = {
    "Pipeline": (lambda mlp: make_pipeline(StandardScaler(), mlp), "multiclass"),
    "CalibratedClassifierCV": (
        lambda mlp: CalibratedClassifierCV(mlp, cv=3),
        "binary",
    ),
    "isotonic CalibratedClassifierCV": (
        lambda mlp: CalibratedClassifierCV(mlp, method="isotonic", cv=3),
        "multiclass",
    ),
    "BaggingClassifier": (
        lambda mlp: BaggingClassifier(mlp, 3, max_features=3, random_state=0),
        "multiclass",
    ),
    "AdaBoostClassifier": (
        lambda mlp: AdaBoostClassifier(mlp, n_estimators=3, random_state=0),
        "multiclass",
    ),
    "soft VotingClassifier": (
        lambda mlp: VotingClassifier(
            [("mlp", mlp), ("tree", DecisionTreeClassifier(random_state=0))],
            voting="soft",
        ),
        "multiclass",
    ),
    "StackingClassifier": (
        lambda mlp: StackingClassifier([("mlp", mlp)], LogisticRegression(), cv=3),
        "multiclass",
    ),
    "OneVsRestClassifier": (OneVsRestClassifier, "multiclass"),
    "OneVsRestClassifier of several labels": (OneVsRestClassifier, "multilabel"),
    "OneVsOneClassifier": (OneVsOneClassifier, "multiclass"),
    "OutputCodeClassifier": (
        lambda mlp: OutputCodeClassifier(mlp, random_state=0),
        "multiclass",
    ),
    "MultiOutputClassifier": (MultiOutputClassifier, "two labels"),
    "ClassifierChain": (
        lambda mlp: ClassifierChain(mlp, order=[2, 0, 1], cv=2),
        "multilabel",
    ),
    "SelfTrainingClassifier": (
        lambda mlp: SelfTrainingClassifier(mlp, threshold=0.6, max_iter=3),
        "partly labelled",
    ),
    "FixedThresholdClassifier": (
        lambda mlp: FixedThresholdClassifier(mlp, threshold=0.7, pos_label="yes"),
        "binary",
    ),
    "TunedThresholdClassifierCV": (
        lambda mlp: TunedThresholdClassifierCV(mlp, cv=3, thresholds=20),
        "binary",
    ),
    "SequentialFeatureSelector": (
        lambda mlp: make_pipeline(
            SequentialFeatureSelector(mlp, n_features_to_select=2, cv=2), clone(mlp)
        ),
        "multiclass",
    ),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("meta", OF_CLASSIFIERS)
def test_what_is_made_of_a_classifier_predicts_as_if_made_of_scikit_learns(meta, name):
    make, task = OF_CLASSIFIERS[meta]
    X, y = samples(task)
    ours, theirs = (make(mlp).fit(X, y) for mlp in classifiers(name))
    assert_same_responses(ours, theirs, X)


OF_REGRESSORS = {
    "Pipeline": (lambda mlp: make_pipeline(StandardScaler(), mlp), "multi-output"),
    "BaggingRegressor": (
        lambda mlp: BaggingRegressor(mlp, 3, max_samples=0.7, random_state=0),
        "regression",
    ),
    "AdaBoostRegressor": (
        lambda mlp: AdaBoostRegressor(mlp, n_estimators=3, random_state=0),
        "regression",
    ),
    "VotingRegressor": (
        lambda mlp: VotingRegressor(
            [("mlp", mlp), ("tree", DecisionTreeRegressor(random_state=0))]
        ),
        "regression",
    ),
    "StackingRegressor": (
        lambda mlp: StackingRegressor(
            [("mlp", mlp), ("ridge", Ridge())], clone(mlp), cv=3
        ),
        "regression",
    ),
    "MultiOutputRegressor": (MultiOutputRegressor, "multi-output"),
    "RegressorChain": (lambda mlp: RegressorChain(mlp, cv=2), "multi-output"),
    "TransformedTargetRegressor": (
        lambda mlp: TransformedTargetRegressor(mlp, transformer=StandardScaler()),
        "regression",
    ),
    "TransformedTargetRegressor of several outputs": (
        lambda mlp: TransformedTargetRegressor(
            mlp, func=np.arcsinh, inverse_func=np.sinh
        ),
        "multi-output",
    ),
}


@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.parametrize("meta", OF_REGRESSORS)
def test_what_is_made_of_a_regressor_predicts_as_if_made_of_scikit_learns(meta, name):
    make, task = OF_REGRESSORS[meta]
    X, y = samples(task)
    ours, theirs = (make(mlp).fit(X, y) for mlp in regressors(name))
    assert_says_something(theirs.predict(X))
    assert_same(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize(
    "meta, task",
    [
        (OneVsRestClassifier, "multiclass"),
        (OneVsOneClassifier, "codes"),  # fails with strings, whatever is within
        (MultiOutputClassifier, "two labels"),
        (MultiOutputRegressor, "multi-output"),
    ],
)
def test_partial_fit_reaches_every_estimator_within(meta, task):
    X, y = samples(task)
    first_call = {"classes": np.unique(y)}
    if task == "two labels":
        first_call = {"classes": [np.unique(column) for column in y.T]}
    elif task == "multi-output":
        first_call = {}
    # Unshuffled: each partial_fit of scikit-learn's begins the same permutations anew.
    ours, theirs = (meta(mlp) for mlp in estimators(task, shuffle=False))
    for many in (ours, theirs):
        many.partial_fit(X[:40], y[:40], **first_call)
        for _ in range(4):
            many.partial_fit(X[20:], y[20:])
    assert_same_responses(ours, theirs, X)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_adaboost_makes_use_of_the_weights(name):
    X, y = samples("multiclass")
    boosted = AdaBoostClassifier(classifiers(name)[0], n_estimators=2, random_state=0)
    first, second = boosted.fit(X, y).estimators_
    unweighted = clone(second).fit(X, y)
    assert (first.predict(X) != y).any()  # else there would be no second one
    assert abs(second.coefs_[0] - unweighted.coefs_[0]).max() > 1e-3


def test_frozen_estimator_is_calibrated_and_left_as_it_is():
    X, y = samples("binary")
    calibrated = []
    for mlp in classifiers("MLPClassifier"):
        mlp.fit(X[:40], y[:40])
        before = mlp.predict_proba(X)
        frozen = FrozenEstimator(mlp)
        assert clone(frozen).fit(X[:5], y[:5]).estimator is mlp
        calibrated.append(CalibratedClassifierCV(frozen, cv=2).fit(X[40:], y[40:]))
        np.testing.assert_array_equal(mlp.predict_proba(X), before)
    assert_same_responses(*calibrated, X)


# -- searches, scores, curves ----------------------------------------------------

GRID = {"alpha": [1e-4, 3.0, 30.0], "hidden_layer_sizes": [(4,), (8, 4)]}
SEARCHES = {
    "GridSearchCV": lambda mlp: GridSearchCV(mlp, GRID, cv=3),
    "HalvingGridSearchCV of samples": lambda mlp: HalvingGridSearchCV(
        mlp, GRID, cv=3, factor=2, min_resources=30, random_state=0
    ),
    "HalvingGridSearchCV of epochs": lambda mlp: HalvingGridSearchCV(
        mlp,
        GRID,
        **{"cv": 3, "resource": "max_iter", "min_resources": 2, "max_resources": 12},
        random_state=0,
    ),
    "RandomizedSearchCV": lambda mlp: RandomizedSearchCV(
        mlp,
        {"alpha": loguniform(1e-4, 30.0), "hidden_layer_sizes": [(4,), (8, 4)]},
        n_iter=5,
        cv=3,
        random_state=0,
    ),
}


@pytest.mark.parametrize("general", [False, True], ids=["special", "general"])
@pytest.mark.parametrize("task", ["multiclass", "regression"])
@pytest.mark.parametrize("search", SEARCHES)
def test_search_chooses_what_it_chooses_for_scikit_learns_estimator(
    search, task, general
):
    X, y = samples(task)
    make = SEARCHES[search]
    ours, theirs = (make(mlp).fit(X, y) for mlp in estimators(task, general))
    scores = theirs.cv_results_["mean_test_score"]
    assert_says_something(scores)
    assert_same(ours.cv_results_["mean_test_score"], scores)
    assert ours.best_params_ == theirs.best_params_
    assert_same_responses(ours, theirs, X)


@pytest.mark.parametrize("general", [False, True], ids=["special", "general"])
@pytest.mark.parametrize(
    "task, scoring",
    [
        ("binary", "roc_auc"),
        ("multiclass", None),
        ("multiclass", "neg_log_loss"),
        ("multilabel", "f1_macro"),
        ("regression", None),
        ("multi-output", "neg_mean_absolute_error"),
    ],
)
def test_cross_val_score_is_that_of_scikit_learns_estimator(task, scoring, general):
    X, y = samples(task)
    ours, theirs = (
        cross_val_score(mlp, X, y, cv=3, scoring=scoring)
        for mlp in estimators(task, general)
    )
    assert_same(ours, theirs)


@pytest.mark.parametrize(
    "task, method",
    [
        ("binary", "predict_proba"),
        ("multiclass", "predict_proba"),
        ("multiclass", "predict_log_proba"),
        ("multiclass", "predict"),
        ("multi-output", "predict"),
    ],
)
def test_cross_val_predict_gives_what_scikit_learns_estimator_gives(task, method):
    X, y = samples(task)
    ours, theirs = (
        cross_val_predict(mlp, X, y, cv=3, method=method) for mlp in estimators(task)
    )
    assert_says_something(theirs)
    assert_same(ours, theirs)


@pytest.mark.parametrize("incremental", [False, True], ids=["fit", "partial_fit"])
@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_learning_curve_is_that_of_scikit_learns_estimator(task, incremental):
    X, y = samples(task)
    # Each partial_fit of scikit-learn's begins the same permutations anew.
    ours, theirs = (
        learning_curve(
            mlp.set_params(shuffle=not incremental, batch_size=8),
            X,
            y,
            train_sizes=[0.5, 0.7, 1.0],
            cv=3,
            shuffle=True,
            random_state=0,
            exploit_incremental_learning=incremental,
        )
        for mlp in estimators(task)
    )
    assert_says_something(theirs[1])
    assert_same(list(ours), list(theirs))


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_validation_curve_is_that_of_scikit_learns_estimator(task):
    X, y = samples(task)
    varied = {"param_name": "alpha", "param_range": [1e-4, 1.0, 30.0], "cv": 3}
    ours, theirs = (validation_curve(mlp, X, y, **varied) for mlp in estimators(task))
    assert_says_something(theirs[0])
    assert_same(list(ours), list(theirs))


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_candidates_that_race_chunk_by_chunk_finish_as_scikit_learns(task):
    X, y = samples(task, n_samples=160)
    chunks = np.split(np.arange(120), 4)
    first_call = {"classes": np.unique(y)} if task == "multiclass" else {}

    def race(kind):
        # Unshuffled: each partial_fit of scikit-learn's begins the same permutations
        # anew.
        candidates = {
            rate: estimators(task, learning_rate_init=rate, shuffle=False)[kind]
            for rate in (1e-4, 1e-3, 0.01, 0.05)
        }
        scores = []
        for chunk in chunks:
            for mlp in candidates.values():
                known = {} if hasattr(mlp, "coefs_") else first_call
                mlp.partial_fit(X[chunk], y[chunk], **known)
            reached = {c: mlp.score(X[120:], y[120:]) for c, mlp in candidates.items()}
            scores += reached.values()
            if len(candidates) > 1:
                del candidates[min(reached, key=reached.get)]
        (winner,) = candidates
        return winner, scores, candidates[winner].predict(X)

    (ours, our_scores, our_y), (theirs, their_scores, their_y) = race(0), race(1)
    assert ours == theirs
    assert_same(our_scores, their_scores)
    assert_says_something(their_y)
    assert_same(our_y, their_y)


# -- inspection ------------------------------------------------------------------


@pytest.fixture
def ax():
    plt.switch_backend("Agg")
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_permutation_importance_is_that_of_scikit_learns_estimator(task):
    X, y = samples(task)
    ours, theirs = (
        permutation_importance(mlp.fit(X, y), X, y, n_repeats=3, random_state=0)
        for mlp in estimators(task)
    )
    assert_says_something(theirs.importances)
    assert_same(ours.importances, theirs.importances)


@pytest.mark.parametrize("kind", ["average", "individual"])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_partial_dependence_is_that_of_scikit_learns_estimator(task, kind):
    X, y = samples(task)
    ours, theirs = (
        partial_dependence(mlp.fit(X, y), X, [0], grid_resolution=7, kind=kind)[kind]
        for mlp in estimators(task)
    )
    assert_says_something(theirs.ravel())
    assert_same(ours, theirs)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_partial_dependence_is_displayed(name, ax):
    X, y = samples("binary")
    mlp = classifiers(name)[0].fit(X, y)
    features = {"features": [0, (1, 2)], "grid_resolution": 5}
    display = PartialDependenceDisplay.from_estimator(mlp, X, **features, ax=ax)
    line, surface = display.pd_results
    expected = partial_dependence(mlp, X, [0], grid_resolution=5)["average"]
    np.testing.assert_array_equal(line["average"], expected)
    assert surface["average"].shape == (1, 5, 5)
    np.testing.assert_array_equal(display.lines_[0, 0].get_ydata(), expected[0])


@pytest.mark.parametrize("response", ["auto", "predict", "predict_proba"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_decision_boundary_is_that_of_scikit_learns_estimator(task, response, ax):
    if (task, response) == ("regression", "predict_proba"):
        response = "auto"
    X, y = samples(task)
    ours, theirs = (
        DecisionBoundaryDisplay.from_estimator(
            mlp.fit(X[:, :2], y),
            X[:, :2],
            grid_resolution=9,
            response_method=response,
            ax=ax,
        ).response
        for mlp in estimators(task)
    )
    assert_says_something(theirs)
    assert_same(ours, theirs)


@pytest.mark.parametrize("mlp", [cbp.MLPClassifier, cbp.MLPRegressor, cbp.MLPEstimator])
@pytest.mark.parametrize("fitted", [False, True])
def test_notebook_shows_the_parameters_and_links_to_the_documentation(mlp, fitted):
    model = mlp(hidden_layer_sizes=(17, 19), max_iter=1, learning_rate_init=0.0625)
    if fitted:
        model.fit(np.eye(2), [0, 1])
    html = model._repr_html_()
    assert mlp.__name__ in html
    for name, value in model.get_params().items():
        assert name in html
        assert repr(value).replace("'", "&#x27;") in html
    assert 'href="https://' in html


# -- frames and sparse matrices --------------------------------------------------

NAMES = ["height", "width", "depth", "weight"]
FRAMES = {
    "pandas": lambda X, names=NAMES: pd.DataFrame(X, columns=names),
    "polars": lambda X, names=NAMES: pl.DataFrame(X, schema=list(names)),
}


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_frame_gives_the_model_of_the_array_and_its_names(task, frame):
    X, y = samples(task)
    of_frame, of_array = (
        estimators(task)[0].fit(given, y) for given in (FRAMES[frame](X), X)
    )
    assert list(of_frame.feature_names_in_) == NAMES
    assert of_frame.feature_names_in_.dtype == object
    assert not hasattr(of_array, "feature_names_in_")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        predicted = of_frame.predict(FRAMES[frame](X))
    np.testing.assert_array_equal(predicted, of_array.predict(X))


@pytest.mark.parametrize("frame", FRAMES)
def test_names_are_compared_with_those_of_the_fit(frame):
    X, y = samples("binary")
    make = FRAMES[frame]
    model = classifiers("MLPClassifier")[0].fit(make(X), y)
    expected = model.predict(make(X))
    message = "X does not have valid feature names, but MLPClassifier was fitted with"
    for method in ("predict", "predict_proba"):
        with pytest.warns(UserWarning, match=message):
            getattr(model, method)(X)
    with pytest.warns(UserWarning, match=message):
        np.testing.assert_array_equal(model.predict(X), expected)
    reordered = make(X[:, ::-1], NAMES[::-1])
    renamed = make(X, [*NAMES[:3], "mass"])
    fewer = make(X[:, :3], NAMES[:3])
    for wrong in (reordered, renamed, fewer):
        with pytest.raises(ValueError, match="feature names should match those that"):
            model.predict(wrong)
    with pytest.raises(ValueError, match="feature names should match those that"):
        model.partial_fit(reordered, y)
    np.testing.assert_array_equal(model.predict(make(X)), expected)
    model.fit(X, y)
    with pytest.warns(UserWarning, match="X has feature names, but MLPClassifier was"):
        model.predict(make(X))


@pytest.mark.parametrize("dtypes", [["float32"] * 4, ["float32", "float64"] * 2])
@pytest.mark.parametrize("frame", FRAMES)
def test_columns_decide_the_dtype_as_for_scikit_learns_estimator(frame, dtypes):
    X, y = samples("regression")
    X = FRAMES[frame](X)
    for name, dtype in zip(NAMES, dtypes, strict=True):
        if frame == "pandas":
            X[name] = X[name].astype(dtype)
        else:
            polars_dtype = pl.Float32 if dtype == "float32" else pl.Float64
            X = X.with_columns(pl.col(name).cast(polars_dtype))
    ours, theirs = (mlp.fit(X, y) for mlp in regressors("MLPRegressor"))
    assert ours.coefs_[0].dtype == theirs.coefs_[0].dtype
    assert ours.predict(X).dtype == theirs.predict(X).dtype


SERIES = {
    "pandas str": lambda y: pd.Series(y, dtype="str"),
    "pandas object": lambda y: pd.Series(y, dtype=object),
    "pandas string": lambda y: pd.Series(y, dtype="string"),
    "pandas category": lambda y: pd.Series(y, dtype="category"),
    "pandas Int64": lambda y: pd.Series(y == "yes", dtype="Int64"),
    "pandas boolean": lambda y: pd.Series(y == "yes", dtype="boolean"),
    "pandas frame": lambda y: pd.DataFrame({"y": y}),
    "polars String": lambda y: pl.Series(y.tolist()),
    "polars Categorical": lambda y: pl.Series(y.tolist(), dtype=pl.Categorical),
    "polars Enum": lambda y: pl.Series(y.tolist(), dtype=pl.Enum(["yes", "no"])),
    "polars Boolean": lambda y: pl.Series((y == "yes").tolist()),
}


@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
@pytest.mark.parametrize("series", SERIES)
def test_labels_in_a_series_are_those_of_scikit_learns_estimator(series):
    X, y = samples("binary")
    y = SERIES[series](y)
    ours, theirs = (mlp.fit(X, y) for mlp in classifiers("MLPClassifier"))
    assert_same(ours.classes_, theirs.classes_)
    assert_same_responses(ours, theirs, X)
    assert ours.score(X, y) == theirs.score(X, y)


@pytest.mark.parametrize("series", [pd.Series, pl.Series], ids=["pandas", "polars"])
def test_numbers_and_weights_in_a_series_are_those_of_the_array(series):
    X, y = samples("regression")
    weight = np.random.RandomState(0).uniform(0.5, 2.0, len(y))
    ours, expected = (
        regressors("MLPRegressor")[0].fit(X, kind(y), kind(weight))
        for kind in (series, np.asarray)
    )
    np.testing.assert_array_equal(ours.predict(X), expected.predict(X))
    assert ours.score(X, series(y), series(weight)) == expected.score(X, y, weight)


def test_column_transformer_of_a_frame_feeds_the_estimator():
    X, y = samples("multiclass")
    rng = np.random.RandomState(1)
    frame = FRAMES["pandas"](X).assign(
        colour=pd.Series(rng.choice(["red", "green", "blue"], len(y)), dtype="str"),
        origin=pd.Series(rng.choice(["north", "south"], len(y)), dtype="category"),
    )
    frame.loc[::7, "width"] = np.nan
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), NAMES),
            ("names", OneHotEncoder(), ["colour", "origin"]),
        ]
    )
    ours, theirs = (
        make_pipeline(columns, mlp).fit(frame, y) for mlp in estimators("multiclass")
    )
    assert ours[-1].n_features_in_ == 4 + 3 + 2
    assert_same_responses(ours, theirs, frame)


@pytest.mark.parametrize("transform", FRAMES)
def test_transformer_that_puts_out_frames_feeds_the_estimator(transform):
    X, y = samples("regression")
    scaler = StandardScaler().set_output(transform=transform)
    frame = FRAMES[transform](X)
    ours, theirs = (
        make_pipeline(scaler, mlp).fit(frame, y) for mlp in estimators("regression")
    )
    assert list(ours[-1].feature_names_in_) == NAMES
    assert_same_responses(ours, theirs, frame)


TOPIC_OF = {
    "the kernel adds a block of rows": "code",
    "a block of the rows fits the cache": "code",
    "each row of a block is loaded once": "code",
    "a cache line holds a row": "code",
    "rain falls on the quiet harbour": "weather",
    "the harbour waits for rain": "weather",
    "the quiet boats wait in the rain": "weather",
    "clouds over the harbour bring rain": "weather",
}
TEXTS, TOPICS = list(TOPIC_OF) * 3, list(TOPIC_OF.values()) * 3


def test_texts_are_classified_by_a_pipeline_of_sparse_matrices():
    vectorizer = make_pipeline(TfidfVectorizer(), MaxAbsScaler())
    assert sparse.issparse(vectorizer.fit_transform(TEXTS))
    ours, theirs = (
        make_pipeline(vectorizer, mlp).fit(TEXTS, TOPICS)
        for mlp in classifiers("MLPClassifier")
    )
    assert_same_responses(ours, theirs, TEXTS)
    assert ours.score(TEXTS, TOPICS) > 0.9


@pytest.mark.parametrize("container", ["csr_array", "csc_array", "csr_matrix"])
def test_vectors_of_texts_give_the_model_that_scikit_learn_gives(container):
    vectors = TfidfVectorizer().fit_transform(TEXTS)
    vectors = getattr(sparse, container)(vectors)
    ours, theirs = (
        mlp.fit(vectors, TOPICS) for mlp in classifiers("MLPEstimator", batch_size=8)
    )
    assert_same_responses(ours, theirs, vectors)
    assert_same(ours.predict_proba(vectors), theirs.predict_proba(vectors.toarray()))
    scores = [cross_val_score(mlp, vectors, TOPICS, cv=3) for mlp in (ours, theirs)]
    assert_same(*scores)


# -- metadata routing ------------------------------------------------------------


@pytest.fixture
def routing():
    with config_context(enable_metadata_routing=True):
        yield


@pytest.fixture
def weight():
    return np.random.RandomState(3).uniform(0.1, 3.0, 60)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_weights_are_routed_through_a_pipeline(task, weight, routing):
    X, y = samples(task)
    mlp = estimators(task)[0]
    requests = clone(mlp).set_fit_request(sample_weight=True)
    requests.set_score_request(sample_weight=True)
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    pipeline = make_pipeline(scaler, requests).fit(X, y, sample_weight=weight)
    scaled = StandardScaler().fit_transform(X)
    direct = clone(mlp).fit(scaled, y, weight)
    unweighted = clone(mlp).fit(scaled, y)
    predicted = direct.predict(scaled)
    np.testing.assert_array_equal(pipeline.predict(X), predicted)
    assert abs(direct.coefs_[0] - unweighted.coefs_[0]).max() > 1e-3
    score = pipeline.score(X, y, sample_weight=weight)
    assert score == direct.score(scaled, y, weight) != direct.score(scaled, y)
    with pytest.raises(UnsetMetadataPassedError):
        make_pipeline(scaler, mlp).fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_weights_are_routed_through_a_grid_search(task, weight, routing):
    X, y = samples(task)
    mlp = estimators(task)[0]
    requests = clone(mlp).set_fit_request(sample_weight=True)
    requests.set_score_request(sample_weight=True)
    halves = np.arange(60) % 2 == 0
    cv = [(np.flatnonzero(halves), np.flatnonzero(~halves))]
    search = GridSearchCV(requests, {"alpha": [1e-4, 10.0]}, cv=cv)
    search.fit(X, y, sample_weight=weight)
    expected = [
        clone(mlp)
        .set_params(alpha=alpha)
        .fit(X[halves], y[halves], weight[halves])
        .score(X[~halves], y[~halves], weight[~halves])
        for alpha in (1e-4, 10.0)
    ]
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], expected)
    best = clone(mlp).set_params(**search.best_params_).fit(X, y, weight)
    np.testing.assert_array_equal(search.predict(X), best.predict(X))
    np.testing.assert_array_equal(search.best_estimator_.coefs_[0], best.coefs_[0])


@pytest.mark.parametrize(
    "meta, task",
    [(MultiOutputClassifier, "two labels"), (MultiOutputRegressor, "multi-output")],
)
def test_weights_are_routed_to_partial_fit(meta, task, weight, routing):
    X, Y = samples(task)
    mlp = estimators(task)[0]
    requests = clone(mlp).set_partial_fit_request(sample_weight=True)
    many = meta(requests)
    is_labels = task == "two labels"
    first_call = {"classes": [np.unique(y) for y in Y.T]} if is_labels else {}
    many.partial_fit(X, Y, sample_weight=weight, **first_call)
    many.partial_fit(X, Y, sample_weight=weight)
    for k, fitted in enumerate(many.estimators_):
        known = {"classes": np.unique(Y[:, k])} if is_labels else {}
        direct = clone(mlp).partial_fit(X, Y[:, k], weight, **known)
        direct.partial_fit(X, Y[:, k], weight)
        np.testing.assert_array_equal(fitted.coefs_[0], direct.coefs_[0])
    if is_labels:
        many = meta(requests.set_partial_fit_request(sample_weight=None))
    else:
        many = meta(clone(mlp))
    with pytest.raises(UnsetMetadataPassedError):
        many.partial_fit(X, Y, sample_weight=weight, **first_call)


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
    here, there = (
        GridSearchCV(model, GRID, cv=3, n_jobs=n_jobs).fit(X, y) for n_jobs in (1, None)
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
    make = network.Network._propagator_of
    monkeypatch.setattr(
        network.Network,
        "_propagator_of",
        lambda self, *args: Watched(make(self, *args), inside),
    )
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
