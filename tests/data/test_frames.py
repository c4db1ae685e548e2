"""Frames of pandas and polars, series, and sparse matrices do for X and y."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from drop_in import (
    MARKS,
    assert_same,
    assert_same_responses,
    classifiers,
    estimators,
    regressors,
    samples,
)
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, StandardScaler

pytestmark = MARKS


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
