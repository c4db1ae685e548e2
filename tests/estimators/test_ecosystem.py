"""cbp's estimators work wherever scikit-learn's do.

What scikit-learn, pandas, polars, joblib, skops and matplotlib do with an estimator
they do with ours, and wherever scikit-learn's MLP gives something to compare, ours
gives the same from the same random_state: exactly where labels and choices come out,
up to rounding where numbers do.
"""

import numpy as np
import pytest
from drop_in import (
    CLASSIFIERS,
    MARKS,
    REGRESSORS,
    assert_same,
    assert_same_responses,
    assert_says_something,
    classifiers,
    estimators,
    regressors,
    samples,
)
from matplotlib import pyplot as plt
from scipy.stats import loguniform
from sklearn.base import clone, config_context
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
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
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import SequentialFeatureSelector
from sklearn.frozen import FrozenEstimator
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
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import cbp

pytestmark = MARKS


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
