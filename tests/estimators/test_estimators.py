"""The estimators keep scikit-learn's contract and refuse what they cannot use."""

import copy
import dataclasses
import inspect
import pickle
import tracemalloc
import warnings
from functools import partial

import drop_in
import numpy as np
import pytest
from scipy import sparse
from sklearn import config_context, neural_network
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, check_cv
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils._testing import assert_allclose_dense_sparse
from sklearn.utils.estimator_checks import (
    estimator_checks_generator,
    parametrize_with_checks,
)

from cbp import MLPClassifier, MLPEstimator, MLPRegressor, Network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ESTIMATORS = {
    "MLPClassifier": MLPClassifier,
    "MLPRegressor": MLPRegressor,
    "MLPEstimator": MLPEstimator,
}
QUICK = {"hidden_layer_sizes": (3,), "max_iter": 2, "random_state": 0}


def samples(task, n_samples=40, seed=0, dtype=np.float64):
    """X (n, 3) and targets that depend on it alone."""
    return drop_in.samples(task, n_samples, seed, n_features=3, noise=0.0, dtype=dtype)


def estimator(task, **params):
    params = {**QUICK, **params}
    if task in ("binary", "multiclass", "multilabel"):
        return MLPClassifier(**params)
    return MLPRegressor("poisson" if task == "poisson" else "squared_error", **params)


TASKS = ("binary", "multiclass", "multilabel", "regression", "multi-output", "poisson")


# -- scikit-learn's own checks ---------------------------------------------------


CHECKED = {"hidden_layer_sizes": (10,), "learning_rate_init": 0.02, "max_iter": 50}


class Single:
    """Mixed into an estimator: trains in float32 whatever it is given."""

    _dtypes = (np.float32,)

    def predict(self, X):
        # A check wants floats of double precision, having given such an X.
        y = super().predict(X)
        return y.astype(np.float64) if y.dtype == np.float32 else y


class SingleClassifier(Single, MLPClassifier):
    pass


class SingleRegressor(Single, MLPRegressor):
    pass


class SingleEstimator(Single, MLPEstimator):
    pass


@parametrize_with_checks(
    [
        MLPClassifier(**CHECKED),
        MLPRegressor(**CHECKED),
        MLPRegressor("sum_of_squares", **CHECKED),
        MLPEstimator(**CHECKED),
        MLPEstimator("log_loss", **CHECKED),
        SingleClassifier(**CHECKED),
        SingleRegressor(**CHECKED),
        SingleEstimator(**CHECKED),
        SingleEstimator("log_loss", **CHECKED),
        MLPRegressor(**{**CHECKED, "solver": "lbfgs"}),
    ]
)
def test_scikit_learn_checks(estimator, check, monkeypatch):
    if isinstance(estimator, Single):
        # What scikit-learn's assert_allclose takes for float32; this one, which wants
        # weights to be as good as repetitions, knows float64 only.
        close = partial(assert_allclose_dense_sparse, rtol=1e-4, atol=1e-6)
        monkeypatch.setattr(estimator_checks, "assert_allclose_dense_sparse", close)
    check(estimator)


@pytest.mark.parametrize(
    "estimator, check",
    [
        pytest.param(estimator, check, id=f"{number}-{check.func.__name__}")
        for number, (estimator, check) in enumerate(
            estimator_checks_generator(MLPEstimator("poisson", **CHECKED))
        )
        # This one trains on negative y, whatever the tag positive_only says.
        if check.func.__name__ != "check_regressor_multioutput"
    ],
)
def test_scikit_learn_checks_of_a_poisson_regression(estimator, check):
    check(estimator)


def test_poisson_regression_of_several_outputs():
    X, y = samples("poisson")
    both = np.column_stack([y, y + 1])
    model = MLPEstimator("poisson", **QUICK).fit(X, both)
    assert model.predict(X).shape == (40, 2)
    assert (model.predict(X) > 0).all()


def test_single_precision_is_checked_in_single_precision():
    X, y = samples("binary")
    assert SingleClassifier(**QUICK).fit(X, y).coefs_[0].dtype == np.float32


# -- parameters and tags ---------------------------------------------------------


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_signature_is_scikit_learns_with_n_jobs_and_record(name):
    ours = list(inspect.signature(ESTIMATORS[name]).parameters.values())
    theirs = inspect.signature(getattr(neural_network, name)).parameters.values()
    assert ours[:-2] == list(theirs)
    assert [str(parameter) for parameter in ours[-2:]] == ["n_jobs=None", "record=None"]
    assert {parameter.kind for parameter in ours[-2:]} == {
        inspect.Parameter.KEYWORD_ONLY
    }


def test_signature_of_the_general_estimator_is_the_regressors():
    assert inspect.signature(MLPEstimator) == inspect.signature(MLPRegressor)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_parameter_is_documented_with_its_default(name):
    doc = inspect.getdoc(ESTIMATORS[name])
    section = doc.split("Parameters\n")[1].split("Attributes\n")[0]
    for parameter in inspect.signature(ESTIMATORS[name]).parameters.values():
        entry = section.split(f"\n{parameter.name} : ")[1].split("\n    ")
        header = " ".join(entry[:2])
        shown = header.split("default=")[1].split("\n")[0].split(" ")[0]
        assert eval(shown, {"numpy": np}) == parameter.default


@pytest.mark.parametrize(
    "estimator, classifies",
    [
        (MLPClassifier(), True),
        (MLPRegressor(), False),
        (MLPRegressor("poisson"), False),
        (MLPEstimator(), False),
        (MLPEstimator("sum_of_squares"), False),
        (MLPEstimator("poisson"), False),
        (MLPEstimator("log_loss"), True),
    ],
    ids=str,
)
def test_loss_decides_what_the_tags_say(estimator, classifies):
    tags = get_tags(estimator)
    assert is_classifier(estimator) is classifies
    assert is_regressor(estimator) is not classifies
    assert (tags.classifier_tags is not None) is classifies
    assert (tags.regressor_tags is None) is classifies
    assert tags.target_tags.required
    assert tags.target_tags.positive_only is (estimator.loss == "poisson")
    assert tags.input_tags.sparse
    if classifies:
        assert tags.classifier_tags.multi_label
    else:
        assert tags.target_tags.multi_output


@pytest.mark.parametrize("name", ["predict_proba", "predict_log_proba"])
def test_probabilities_are_there_for_classifiers_only(name):
    assert hasattr(MLPClassifier(), name)
    assert hasattr(MLPEstimator("log_loss"), name)
    assert not hasattr(MLPRegressor(), name)
    with pytest.raises(AttributeError):
        getattr(MLPEstimator("poisson"), name)


@pytest.mark.parametrize("classifier", [MLPClassifier, MLPEstimator])
def test_grid_search_stratifies_for_a_classifier(classifier):
    X, y = make_blobs(60, centers=[[-4, 0], [4, 0], [0, 4]], random_state=0)
    X, y = X[np.argsort(y)], np.sort(y)
    model = classifier(hidden_layer_sizes=(8,), learning_rate_init=0.05, max_iter=30)
    model.set_params(random_state=0)
    if classifier is MLPEstimator:
        model.set_params(loss="log_loss")
    assert isinstance(check_cv(3, y, classifier=is_classifier(model)), StratifiedKFold)
    # Sorted by class, folds that were not stratified would miss a class in training.
    search = GridSearchCV(model, {"alpha": [1e-4, 1e-2]}, cv=3).fit(X, y)
    assert search.best_score_ > 0.8


@pytest.mark.parametrize(
    "task, special, loss",
    [
        ("multiclass", MLPClassifier(**QUICK), "log_loss"),
        ("regression", MLPRegressor(**QUICK), "squared_error"),
        ("poisson", MLPRegressor("poisson", **QUICK), "poisson"),
    ],
)
def test_special_cases_are_the_general_estimator(task, special, loss):
    X, y = samples(task)
    general = MLPEstimator(loss, **QUICK).fit(X, y)
    special.fit(X, y)
    np.testing.assert_array_equal(special.network_.params_, general.network_.params_)
    np.testing.assert_array_equal(special.predict(X), general.predict(X))
    assert special.score(X, y) == general.score(X, y)


def test_sizes_that_are_no_integers_are_named_as_the_user_knows_them():
    for sizes in (True, [True], (5.0,)):
        with pytest.raises(ValueError, match="hidden_layer_sizes must hold integers"):
            MLPRegressor(hidden_layer_sizes=sizes).fit(GOOD_X, GOOD_Y)


def test_validation_of_parameters_can_be_left_out():
    X, y = samples("binary")
    with config_context(skip_parameter_validation=True):
        MLPClassifier(**QUICK, shuffle=1).fit(X, y)


# -- what is fitted --------------------------------------------------------------


@pytest.mark.parametrize(
    "task, out_activation, n_outputs",
    [
        ("binary", "logistic", 1),
        ("multiclass", "softmax", 3),
        ("multilabel", "logistic", 3),
        ("regression", "identity", 1),
        ("multi-output", "identity", 3),
        ("poisson", "exp", 1),
    ],
)
def test_fitted_attributes_are_scikit_learns(task, out_activation, n_outputs):
    X, y = samples(task)
    model = estimator(task, hidden_layer_sizes=(4, 2)).fit(X, y)
    base = (
        neural_network.MLPClassifier
        if is_classifier(model)
        else (neural_network.MLPRegressor)
    )
    params = model.get_params()
    del params["n_jobs"], params["record"]
    theirs = base(**params).fit(X, y)
    public = {name for name in vars(theirs) if name.endswith("_")}
    assert {name for name in vars(model) if name.endswith("_")} == public
    for name in public - {"coefs_", "intercepts_", "loss_curve_", "classes_"}:
        assert type(getattr(model, name)) is type(getattr(theirs, name)) or isinstance(
            getattr(theirs, name), float
        )
    assert [w.shape for w in model.coefs_] == [w.shape for w in theirs.coefs_]
    assert [b.shape for b in model.intercepts_] == [b.shape for b in theirs.intercepts_]
    assert model.out_activation_ == theirs.out_activation_ == out_activation
    assert model.n_outputs_ == theirs.n_outputs_ == n_outputs
    assert model.n_layers_ == theirs.n_layers_ == 4
    assert model.n_iter_ == len(model.loss_curve_) == 2
    assert model.loss_ == model.loss_curve_[-1]
    assert model.best_loss_ == min(model.loss_curve_)
    assert model.t_ == 80
    assert model.validation_scores_ is model.best_validation_score_ is None
    np.testing.assert_array_equal(
        model.predict(X[:1]).shape, theirs.predict(X[:1]).shape
    )
    if is_classifier(model):
        np.testing.assert_array_equal(model.classes_, theirs.classes_)
        assert isinstance(model._label_binarizer, LabelBinarizer)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_losses_are_numbers_of_numpy_as_in_scikit_learn(solver):
    X, y = samples("regression")
    model = MLPRegressor(**QUICK, solver=solver).fit(X, y)
    for loss in (model.loss_, model.best_loss_, *model.loss_curve_):
        assert type(loss) is np.float64


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, -1), (2, 0), (False, True)])
@pytest.mark.parametrize("form", [np.array, sparse.csr_matrix], ids=["dense", "sparse"])
def test_an_indicator_is_any_number_but_zero(values, form):
    X, _ = samples("multilabel")
    is_label = np.random.RandomState(1).uniform(size=(40, 3)) < 0.5
    y = np.where(is_label, *values[::-1]) if values[0] == 0 else is_label * values[0]
    plain = estimator("multilabel").fit(X, (y != 0).astype(int))
    model = estimator("multilabel").fit(X, form(y))
    np.testing.assert_array_equal(model.coefs_[0], plain.coefs_[0])


def test_many_classes_are_taken_without_a_word():
    X, y = np.random.RandomState(0).normal(size=(60, 3)), np.arange(60) // 1.5
    model = MLPClassifier(**QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y).partial_fit(X[:30], y[:30]).predict(X)


@pytest.mark.parametrize(
    "X",
    [
        np.full((2, 3), "1"),
        np.full((2, 3), b"1"),
        [["1", "2", "3"]],
        np.zeros((2, 3), "datetime64[s]"),
        np.zeros((2, 3), "timedelta64[s]"),
        np.zeros((2, 3), complex),
        np.zeros((2, 3, 1)),
        np.zeros(3),
        np.zeros((0, 3)),
        np.zeros((2, 2)),
        np.full((2, 3), np.nan),
        sparse.csr_matrix((2, 2)),
    ],
    ids=[
        *("text", "bytes", "text in a list", "dates", "durations", "complex"),
        *("3 dimensions", "1 dimension", "no rows", "fewer columns", "NaN", "sparse"),
    ],
)
def test_prediction_refuses_what_scikit_learns_refuses(X):
    good, y = samples("binary")
    theirs = neural_network.MLPClassifier(**QUICK).fit(good, y)
    ours = MLPClassifier(**QUICK).fit(good, y)
    for method in ("predict", "predict_proba", "predict_log_proba"):
        with pytest.raises((ValueError, TypeError)) as expected:
            getattr(theirs, method)(X)
        with pytest.raises(expected.type if expected.type is ValueError else TypeError):
            getattr(ours, method)(X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("task", TASKS)
def test_dtype_of_X_is_that_of_the_model(task, dtype):
    X, y = samples(task, dtype=dtype)
    model = estimator(task).fit(X, y)
    arrays = [*model.coefs_, *model.intercepts_, model.network_.params_]
    if is_classifier(model):
        arrays += [model.predict_proba(X), model.predict_log_proba(X)]
    else:
        arrays += [model.predict(X)]
    assert {array.dtype for array in arrays} == {np.dtype(dtype)}


@pytest.mark.parametrize("dtype", [np.int64, np.float16, np.uint8, bool, object])
def test_other_dtypes_of_X_become_float64(dtype):
    X = (np.random.RandomState(0).uniform(0, 5, (20, 2))).astype(dtype)
    model = MLPRegressor(**QUICK).fit(X, np.arange(20))
    assert model.coefs_[0].dtype == np.float64


#: The least score on the training data after 80 epochs; by chance 1/2, 1/3, 1/8, 0.
LEAST_SCORE = {
    "binary": 0.95,
    "multiclass": 0.95,
    "multilabel": 0.9,
    "regression": 0.97,
    "multi-output": 0.97,
    "poisson": 0.75,
}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("task", TASKS)
def test_learns(task, seed):
    X, y = samples(task, 100, seed)
    model = estimator(
        task,
        hidden_layer_sizes=(8,),
        learning_rate_init=0.02,
        batch_size=10,
        max_iter=80,
        random_state=seed,
    ).fit(X, y)
    assert model.score(X, y) > LEAST_SCORE[task]
    weight = np.random.RandomState(seed).uniform(size=100)
    metric = accuracy_score if is_classifier(model) else r2_score
    expected = metric(y, model.predict(X), sample_weight=weight)
    assert model.score(X, y, weight) == MLPEstimator.score(model, X, y, weight)
    assert model.score(X, y, weight) == pytest.approx(expected)


def test_probabilities_are_those_of_the_classes():
    for task, n_columns in (("binary", 2), ("multiclass", 3)):
        X, y = samples(task)
        model = estimator(task, max_iter=20).fit(X, y)
        p = model.predict_proba(X)
        assert p.shape == (40, n_columns)
        np.testing.assert_allclose(p.sum(axis=1), 1.0)
        np.testing.assert_array_equal(model.classes_[p.argmax(1)], model.predict(X))
        np.testing.assert_allclose(np.log(p), model.predict_log_proba(X))
    X, y = samples("multilabel")
    model = estimator("multilabel").fit(X, y)
    p = model.predict_proba(X)
    np.testing.assert_array_equal(p > 0.5, model.predict(X))
    np.testing.assert_allclose(np.log(p), model.predict_log_proba(X))


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_log_probabilities_are_finite_where_probabilities_are_zero(task):
    X, y = samples(task)
    model = estimator(task, hidden_layer_sizes=()).fit(X, y)
    model.coefs_[0] *= 1e4
    assert (model.predict_proba(X) == 0).any()
    assert np.isfinite(model.predict_log_proba(X)).all()


def test_one_class_is_predicted_always():
    X, _ = samples("binary")
    model = MLPClassifier(**QUICK).fit(X, ["only"] * 40)
    assert set(model.predict(X)) == {"only"}


def test_sparse_indicator_matrix_is_predicted_sparse():
    X, y = samples("multilabel")
    dense = estimator("multilabel").fit(X, y).predict(X)
    predicted = estimator("multilabel").fit(X, sparse.csr_matrix(y)).predict(X)
    assert sparse.issparse(predicted)
    np.testing.assert_array_equal(predicted.toarray(), dense)


def test_general_estimator_forgets_its_classes_when_it_becomes_a_regressor():
    X, y = samples("binary")
    model = MLPEstimator("log_loss", **QUICK).fit(X, y)
    model.set_params(loss="squared_error").fit(X, y == "yes")
    assert not hasattr(model, "classes_")
    assert model.predict(X).dtype == np.float64


def test_parameters_changed_after_fit_take_effect_at_the_next_fit_only():
    X, y = samples("regression")
    model = MLPRegressor(**QUICK).fit(X, y)
    before = model.predict(X)
    model.set_params(activation="tanh", hidden_layer_sizes=(7,), alpha=3.0)
    np.testing.assert_array_equal(model.predict(X), before)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), before)


# -- X in memory -----------------------------------------------------------------


def _unaligned(X):
    buffer = bytearray(X.nbytes + 1)
    buffer[1:] = X.tobytes()
    return np.frombuffer(buffer, X.dtype, X.size, offset=1).reshape(X.shape)


def _read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def _mapped(X, tmp_path):
    np.save(tmp_path / "X.npy", X)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "every other row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "some columns": lambda X: np.hstack([X, X])[:, : X.shape[1]],
    "every other column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "backwards": lambda X: X[::-1].copy()[::-1],
    "read-only": _read_only,
    "byte-swapped": lambda X: X.astype(X.dtype.newbyteorder("S")),
    "unaligned": _unaligned,
    "list": lambda X: X.tolist(),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_of_X_does_not_matter(layout, dtype):
    X, y = samples("regression", dtype=dtype)
    given = LAYOUTS[layout](X)
    if layout == "list":
        X = X.astype(np.float64)
    plain, model = MLPRegressor(**QUICK).fit(X, y), MLPRegressor(**QUICK).fit(given, y)
    np.testing.assert_array_equal(model.network_.params_, plain.network_.params_)
    np.testing.assert_array_equal(model.predict(given), plain.predict(X))
    assert model.network_.dtype == X.dtype


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"list"}))
def test_layout_of_y_and_weights_does_not_matter(layout):
    X, y = samples("multi-output")
    weight = np.linspace(0, 2, 40)[:, np.newaxis]
    plain = MLPRegressor(**QUICK).fit(X, y, weight[:, 0])
    change = LAYOUTS[layout]
    model = MLPRegressor(**QUICK).fit(X, change(y), change(weight)[:, 0])
    np.testing.assert_array_equal(model.network_.params_, plain.network_.params_)


@pytest.mark.parametrize("dtype", [bool, int, np.float32])
@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"list", "byte-swapped"}))
def test_layout_of_labels_does_not_matter(layout, dtype):
    X, y = samples("multilabel")
    plain = MLPClassifier(**QUICK).fit(X, y)
    model = MLPClassifier(**QUICK).fit(X, LAYOUTS[layout](y.astype(dtype)))
    np.testing.assert_array_equal(model.network_.params_, plain.network_.params_)


def test_one_number_for_a_weight_is_that_weight_for_all():
    X, y = samples("regression")
    plain = MLPRegressor(**QUICK).fit(X, y, np.full(len(X), 2.0))
    model = MLPRegressor(**QUICK).fit(X, y, 2.0)
    np.testing.assert_array_equal(model.network_.params_, plain.network_.params_)


def test_memory_mapped_X_is_read(tmp_path):
    X, y = samples("regression")
    plain = MLPRegressor(**QUICK).fit(X, y)
    model = MLPRegressor(**QUICK).fit(_mapped(X, tmp_path), y)
    np.testing.assert_array_equal(model.network_.params_, plain.network_.params_)


def peak_memory_of_fit(model, X, y):
    tracemalloc.start()
    model.fit(X, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_X_is_not_copied(dtype):
    X = np.random.RandomState(0).normal(size=(1000, 200)).astype(dtype)
    model = MLPRegressor(hidden_layer_sizes=(), max_iter=1, batch_size=10)
    few, many = X[:100], X
    peak_memory_of_fit(model, few, few[:, 0].copy())  # imports the implementation
    growth = peak_memory_of_fit(model, many, many[:, 0].copy())
    growth -= peak_memory_of_fit(model, few, few[:, 0].copy())
    assert growth < (many.nbytes - few.nbytes) / 3


def test_labels_are_encoded_once_and_in_the_dtype_of_X():
    n, n_classes = 20_000, 20
    X = np.random.RandomState(0).normal(size=(n, 1)).astype(np.float32)
    y = np.arange(n) % n_classes
    model = MLPClassifier(hidden_layer_sizes=(), max_iter=1)
    peak_memory_of_fit(model, X[:100], y[:100])
    targets = n * n_classes * X.itemsize
    assert peak_memory_of_fit(model, X, y) < 1.8 * targets


def test_fit_changes_nothing_it_was_given():
    X, y = samples("multi-output")
    weight = np.linspace(0, 1, 40)
    before = X.copy(), y.copy(), weight.copy()
    MLPRegressor(**QUICK).fit(X, y, weight)
    for array, original in zip((X, y, weight), before, strict=True):
        np.testing.assert_array_equal(array, original)


# -- refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "params, match",
    [
        ({"max_fun": 0}, "The 'max_fun' parameter"),
        ({"validation_fraction": 1.0}, "The 'validation_fraction' parameter"),
        ({"n_jobs": 0}, "The 'n_jobs' parameter of MLPRegressor must be None, an int"),
        ({"hidden_layer_sizes": (3, 0)}, r"hidden_layer_sizes must be > 0, got \[3, 0"),
        ({"hidden_layer_sizes": -1}, "hidden_layer_sizes"),
        (
            {"hidden_layer_sizes": (2.5,)},
            r"hidden_layer_sizes must hold integers, got \[2.5",
        ),
        ({"hidden_layer_sizes": [[2, 3]]}, "hidden_layer_sizes"),
        ({"activation": "sigmoid"}, "The 'activation' parameter of .* must be a str"),
        ({"solver": "newton"}, "The 'solver' parameter"),
        ({"alpha": -1.0}, "The 'alpha' parameter"),
        ({"alpha": np.inf}, "alpha"),
        ({"batch_size": 0}, "The 'batch_size' parameter"),
        ({"batch_size": 2.5}, "The 'batch_size' parameter"),
        ({"learning_rate": "linear"}, "The 'learning_rate' parameter"),
        ({"learning_rate_init": 0.0}, "The 'learning_rate_init' parameter"),
        ({"power_t": -0.5}, "The 'power_t' parameter"),
        ({"max_iter": 0}, "The 'max_iter' parameter"),
        ({"random_state": "seed"}, "The 'random_state' parameter"),
        ({"tol": -1e-4}, "The 'tol' parameter"),
        ({"momentum": 1.5}, "The 'momentum' parameter"),
        ({"beta_1": 1.0}, "The 'beta_1' parameter"),
        ({"beta_2": -0.1}, "The 'beta_2' parameter"),
        ({"epsilon": 0.0}, "The 'epsilon' parameter"),
        ({"n_iter_no_change": 0}, "The 'n_iter_no_change' parameter"),
        ({"n_iter_no_change": 2.5}, "The 'n_iter_no_change' parameter"),
        ({"n_jobs": "all"}, "The 'n_jobs' parameter"),
        ({"n_jobs": 1.5}, "The 'n_jobs' parameter"),
        ({"record": "everything"}, "The 'record' parameter of .* among {'summary'}"),
        ({"loss": "absolute_error"}, "The 'loss' parameter"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_parameter_is_refused_by_name(params, match):
    X, y = samples("regression")
    model = MLPRegressor(**{**QUICK, **params})
    with pytest.raises(ValueError, match=match):
        model.fit(X, y)
    assert set(vars(model)) == set(model.get_params())


def test_loss_of_the_special_cases_is_restricted():
    X, y = samples("regression")
    with pytest.raises(ValueError, match="The 'loss' parameter of MLPRegressor"):
        MLPRegressor("log_loss").fit(X, y)
    assert "loss" not in MLPClassifier().get_params()
    assert MLPClassifier().loss == "log_loss"


GOOD_X, GOOD_Y = samples("regression", seed=1)


def _with(value, array=GOOD_X):
    array = array.copy()
    array[3] = value
    return array


BAD_DATA = {
    "NaN in X": ((_with(np.nan), GOOD_Y), ValueError, "Input X contains NaN"),
    "infinity in X": ((_with(np.inf), GOOD_Y), ValueError, "Input X contains inf"),
    "one-dimensional X": ((GOOD_X[0], GOOD_Y), ValueError, "Expected 2D array"),
    "three-dimensional X": ((GOOD_X[None], GOOD_Y), ValueError, "dim 3"),
    "no rows": ((GOOD_X[:0], GOOD_Y[:0]), ValueError, "0 sample"),
    "no columns": ((GOOD_X[:, :0], GOOD_Y), ValueError, "0 feature"),
    "text in X": ((np.full((40, 3), "a"), GOOD_Y), ValueError, "to numeric|to float"),
    "complex X": ((GOOD_X * 1j, GOOD_Y), ValueError, "Complex data not supported"),
    "fewer y": ((GOOD_X, GOOD_Y[:-1]), ValueError, "inconsistent numbers of samples"),
    "no y": ((GOOD_X, None), ValueError, "requires y to be passed"),
    "NaN in y": ((GOOD_X, _with(np.nan, GOOD_Y)), ValueError, "y contains NaN"),
    "infinity in y": ((GOOD_X, _with(-np.inf, GOOD_Y)), ValueError, "y contains inf"),
    "text in y": ((GOOD_X, GOOD_Y.astype(str)), ValueError, "y must hold numbers"),
    "sparse y": (
        (GOOD_X, sparse.csr_array(GOOD_X)),
        TypeError,
        r"y is sparse.*y\.toarray\(\)",
    ),
    "y too large for float32": (
        (GOOD_X.astype(np.float32), _with(1e300, GOOD_Y)),
        ValueError,
        "Input y contains infinity or a value too large for dtype..float32",
    ),
    "fewer weights": ((GOOD_X, GOOD_Y, np.ones(39)), ValueError, "sample_weight"),
    "two-dimensional weights": (
        (GOOD_X, GOOD_Y, np.ones((40, 1))),
        ValueError,
        "sample_weight",
    ),
    "NaN in weights": (
        (GOOD_X, GOOD_Y, _with(np.nan, np.ones(40))),
        ValueError,
        "sample_weight contains NaN",
    ),
    "negative weight": (
        (GOOD_X, GOOD_Y, _with(-1.0, np.ones(40))),
        ValueError,
        "sample_weight must not be negative",
    ),
    "weights of zero": ((GOOD_X, GOOD_Y, np.zeros(40)), ValueError, "sample_weight"),
}


def assert_unchanged(model, before):
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())


@pytest.mark.parametrize("fitted", [False, True], ids=["unfitted", "fitted"])
@pytest.mark.parametrize("data", BAD_DATA)
def test_bad_data_is_refused_and_changes_nothing(data, fitted):
    arguments, error, match = BAD_DATA[data]
    model = MLPRegressor(**QUICK)
    if fitted:
        model.fit(GOOD_X[:, :2], GOOD_Y)
        weights = model.network_.params_.copy()
    before = dict(vars(model))
    with pytest.raises(error, match=match):
        model.fit(*arguments)
    assert_unchanged(model, before)
    if fitted:
        np.testing.assert_array_equal(model.network_.params_, weights)
        assert model.predict(GOOD_X[:, :2]).shape == (40,)
    else:
        with pytest.raises(NotFittedError):
            model.predict(GOOD_X)


@pytest.mark.parametrize(
    "y, match",
    [
        (GOOD_Y, "Unknown label type: continuous"),
        (np.arange(80).reshape(40, 2) % 3, "[Mm]ultioutput"),
        (np.full(40, np.nan), "y contains NaN"),
    ],
    ids=["numbers", "several classes of labels", "NaN"],
)
def test_y_that_is_no_label_is_refused_by_a_classifier(y, match):
    model = MLPClassifier(**QUICK)
    with pytest.raises(ValueError, match=match):
        model.fit(GOOD_X, y)
    assert set(vars(model)) == {*model.get_params(), "loss"}


def test_negative_y_is_refused_by_poisson():
    with pytest.raises(ValueError, match=r"y must not be negative.*poisson.*-1\.0"):
        MLPRegressor("poisson").fit(GOOD_X, _with(-1.0, np.ones(40)))


@pytest.mark.parametrize(
    "X, match",
    [
        (GOOD_X[:, :2], "X has 2 features, but MLPRegressor is expecting 3"),
        (_with(np.nan), "X contains NaN"),
        (_with(-np.inf), "X contains inf"),
        (GOOD_X[:0], "0 sample"),
        (GOOD_X[0], "Expected 2D array"),
    ],
    ids=["columns", "NaN", "infinity", "no rows", "one row as vector"],
)
def test_bad_data_is_refused_by_predict(X, match):
    model = MLPRegressor(**QUICK).fit(GOOD_X, GOOD_Y)
    with pytest.raises(ValueError, match=match):
        model.predict(X)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_nothing_is_predicted_before_fit(name):
    model = ESTIMATORS[name]()
    with pytest.raises(NotFittedError):
        model.predict(GOOD_X)
    assert not hasattr(model, "network_")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_divergence_stops_at_its_epoch_with_advice(seed, dtype):
    X, y = samples("regression", seed=seed, dtype=dtype)
    model = MLPRegressor(
        hidden_layer_sizes=(),
        solver="sgd",
        learning_rate_init=1e6,
        batch_size=10,
        max_iter=1000,
        random_state=seed,
    )
    match = (
        r"Training diverged: .* in epoch \d{1,2}\. Scale X and y, with "
        r"sklearn\.preprocessing\.StandardScaler .* learning_rate_init=1000000\.0"
    )
    before = dict(vars(model))
    with pytest.raises(ValueError, match=match):
        model.fit(X, y)
    assert_unchanged(model, before)


# -- coefs_, intercepts_ and network_ --------------------------------------------


def test_coefs_and_intercepts_are_views_of_the_network():
    X, y = samples("regression")
    model = MLPRegressor(**QUICK).fit(X, y)
    network = model.network_
    assert isinstance(network, Network)
    assert network is model.network_
    for array in (*model.coefs_, *model.intercepts_):
        assert np.shares_memory(array, network.params_)
    np.testing.assert_array_equal(network.forward(X)[:, 0], model.predict(X))


def _fresh():
    X, y = samples("regression")
    return MLPRegressor(**QUICK).fit(X, y), X


def _unpickled():
    model, X = _fresh()
    return pickle.loads(pickle.dumps(model)), X


def _replace_array(model):
    model.coefs_[0] = np.zeros((3, 3))


def _replace_list(model):
    model.coefs_ = [np.zeros((3, 3)), model.coefs_[1].copy()]


def _change_in_place(model):
    model.coefs_[0][:] = 0.0


@pytest.mark.parametrize("make", [_fresh, _unpickled])
@pytest.mark.parametrize("change", [_replace_array, _replace_list, _change_in_place])
def test_changed_weights_take_effect(change, make):
    model, X = make()
    assert np.ptp(model.predict(X)) > 0
    change(model)
    assert np.ptp(model.predict(X)) == 0
    assert not model.network_.coefs_[0].any()
    assert not model.network_.params_[:9].any()
    # and once more, in the array that is there now
    model.coefs_[0][:] = 1.0
    assert np.ptp(model.predict(X)) > 0
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_weights_of_other_sizes_that_fit_each_other_make_another_network():
    X, y = samples("multiclass")
    theirs = neural_network.MLPClassifier((5,), max_iter=3, random_state=0).fit(X, y)
    ours = MLPClassifier((5,), max_iter=3, random_state=0).fit(X, y)
    for model in (theirs, ours):  # without two of the nodes
        W1, W2 = model.coefs_
        model.coefs_ = [W1[:, [0, 2, 4]], W2[[0, 2, 4]]]
        model.intercepts_[0] = model.intercepts_[0][[0, 2, 4]]
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X))
    assert ours.network_.layer_sizes == (3, 3, 3)
    again = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(again.predict_proba(X), ours.predict_proba(X))


def test_another_output_activation_counts_for_predictions():
    X, y = samples("regression")
    theirs = neural_network.MLPRegressor(**QUICK).fit(X, y)
    ours = MLPRegressor(**QUICK).fit(X, y)
    for model in (theirs, ours):
        model.out_activation_ = "logistic"
    assert ours.predict(X).min() > 0
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize(
    "make",
    [tuple, lambda arrays: np.array(arrays, dtype=object)],
    ids=["tuple", "array"],
)
def test_lists_of_weights_may_be_other_sequences(make):
    X, y = samples("regression")
    model = estimator("regression", hidden_layer_sizes=(4, 2)).fit(X, y)
    before = model.predict(X)
    model.coefs_ = make(model.coefs_)
    np.testing.assert_array_equal(model.predict(X), before)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), before)


def test_without_its_weights_an_estimator_is_not_fitted():
    model, X = _fresh()
    for name in [name for name in vars(model) if name.endswith("_")]:
        delattr(model, name)
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_weights_of_another_shape_are_refused():
    model, X = _fresh()
    model.coefs_[0] = np.zeros((3, 4))
    with pytest.raises(ValueError, match=r"coefs_\[1\] has shape \(3, 1\).*\(4, 1\)"):
        model.predict(X)


def test_new_fit_leaves_the_weights_of_the_last_one_alone():
    model, X = _fresh()
    _, y = samples("regression")
    coefs, before = model.coefs_, model.coefs_[0].copy()
    model.set_params(max_iter=3).fit(X, y)
    assert model.coefs_ is not coefs
    np.testing.assert_array_equal(coefs[0], before)


# -- pickle, copy, clone ---------------------------------------------------------


@pytest.mark.parametrize(
    "duplicate",
    [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy, copy.copy],
    ids=["pickle", "deepcopy", "copy"],
)
@pytest.mark.parametrize("task", TASKS)
def test_duplicate_predicts_the_same_from_its_own_weights(task, duplicate):
    X, y = samples(task, dtype=np.float32)
    model = estimator(task).fit(X, y)
    before = model.predict(X)
    twin = duplicate(model)
    np.testing.assert_array_equal(twin.predict(X), before)
    assert twin.network_.dtype == np.float32
    assert vars(twin).keys() == vars(model).keys()
    for array in (*twin.coefs_, *twin.intercepts_):
        assert np.shares_memory(array, twin.network_.params_)
        array[:] = 0.0
    np.testing.assert_array_equal(model.predict(X), before)


def _leaves(state):
    if isinstance(state, dict):
        state = list(state.items())
    if dataclasses.is_dataclass(state):
        state = list(vars(state).values())
    if isinstance(state, (list, tuple)):
        for item in state:
            yield from _leaves(item)
    else:
        yield state


@pytest.mark.parametrize("task", TASKS)
def test_pickle_holds_plain_values_the_weights_and_the_moments(task):
    X, y = samples(task)
    model = estimator(task, hidden_layer_sizes=(50, 60)).fit(X, y)
    plain = {int, float, bool, str, type(None), np.ndarray, LabelBinarizer}
    plain |= {np.float64, np.random.RandomState}
    assert {type(leaf) for leaf in _leaves(model.__getstate__())} <= plain
    held = 3 * model.network_.params_.nbytes  # m and v of Adam
    assert held < len(pickle.dumps(model)) < held + 8000


@pytest.mark.parametrize("n_samples, itemsize", [(200, 1), (3000, 2), (70_000, 4)])
def test_pickle_takes_few_bytes_for_each_row(n_samples, itemsize):
    X, y = samples("regression", n_samples)
    params = {**QUICK, "max_iter": 1, "batch_size": n_samples}
    few = MLPRegressor(**params).fit(X[:10], y[:10])
    many = MLPRegressor(**params).fit(X, y)
    grown = len(pickle.dumps(many)) - len(pickle.dumps(few))
    assert grown < itemsize * n_samples + 200


def test_pickle_with_weights_that_do_not_fit_is_refused():
    model, _ = _fresh()
    state = model.__getstate__()
    for coefs in ([np.zeros((3, 3)), np.zeros((4, 1))], [np.zeros(3)], []):
        with pytest.raises(ValueError, match="coefs_"):
            MLPRegressor().__setstate__({**state, "coefs_": coefs})


def test_unpickling_leaves_the_global_random_stream_alone():
    model, _ = _fresh()
    pickled = pickle.dumps(model)
    np.random.seed(0)
    expected = np.random.uniform()
    np.random.seed(0)
    pickle.loads(pickled)
    assert np.random.uniform() == expected


def test_clone_is_unfitted_and_keeps_the_parameters():
    model = MLPEstimator("log_loss", (4, 2), "tanh", alpha=0.5).fit(*samples("binary"))
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert not hasattr(twin, "coefs_")


# -- callbacks -------------------------------------------------------------------


class Recorder:
    """Notes what a callback is told; stops after `stop_after` epochs."""

    def __init__(self, stop_after=None):
        self.calls, self.fitted = [], []
        self.stop_after = stop_after

    def setup(self, estimator, context):
        self.calls.append(("setup", context.max_subtasks))

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X, y, metadata):
        self.given = X, y, metadata
        self.calls.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        self.calls.append(f"end {context.task_name}")
        self.fitted.append(fitted_estimator)
        return len(self.fitted) == self.stop_after


@pytest.mark.parametrize("weight", [None, np.ones(40)], ids=["", "weights"])
def test_callback_is_told_of_the_fit_and_of_every_epoch(weight):
    X, y = samples("multiclass")
    recorder = Recorder()
    model = MLPClassifier(**QUICK).set_callbacks(recorder)
    assert model.fit(X, y, weight) is model
    epoch = ["begin epoch", "end epoch"]
    assert recorder.calls == [
        ("setup", 2),
        "begin fit",
        *epoch,
        *epoch,
        "end fit",
        "teardown",
    ]
    np.testing.assert_array_equal(recorder.given[0], X)
    np.testing.assert_array_equal(recorder.given[1], y)
    if weight is None:
        assert recorder.given[2] is None
    else:
        np.testing.assert_array_equal(recorder.given[2]["sample_weight"], weight)


@pytest.mark.parametrize("task", TASKS)
def test_callback_gets_the_estimator_as_if_training_had_stopped(task):
    X, y = samples(task)
    recorder = Recorder()
    params = {"max_iter": 4, "batch_size": 10}
    model = estimator(task, **params).set_callbacks(recorder).fit(X, y)
    for n_iter, fitted in enumerate(recorder.fitted[:-1], start=1):
        stopped = estimator(task, **{**params, "max_iter": n_iter}).fit(X, y)
        assert fitted.n_iter_ == n_iter
        assert fitted.loss_curve_ == stopped.loss_curve_
        np.testing.assert_array_equal(fitted.network_.params_, stopped.network_.params_)
        np.testing.assert_array_equal(fitted.predict(X), stopped.predict(X))
    np.testing.assert_array_equal(recorder.fitted[-1].predict(X), model.predict(X))
    without = estimator(task, **params).fit(X, y)
    np.testing.assert_array_equal(without.network_.params_, model.network_.params_)


def test_callback_gets_estimators_of_the_new_shape_at_a_second_fit():
    recorder = Recorder()
    model = MLPRegressor(**QUICK).fit(GOOD_X[:, :2], GOOD_Y)
    model.set_callbacks(recorder).fit(GOOD_X, GOOD_Y)
    assert [f.n_features_in_ for f in recorder.fitted] == [3, 3, 3]
    assert recorder.fitted[0].predict(GOOD_X).shape == (40,)


def test_callback_stops_training():
    recorder = Recorder(stop_after=3)
    model = MLPRegressor(**{**QUICK, "max_iter": 50}).set_callbacks(recorder)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model.fit(GOOD_X, GOOD_Y)
    assert model.n_iter_ == 3
    assert recorder.calls[-2:] == ["end fit", "teardown"]


def test_callback_that_fails_leaves_the_estimator_as_it_was_and_is_torn_down():
    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator):
            raise RuntimeError("from the callback")

    failing = Failing()
    model = MLPRegressor(**QUICK).fit(GOOD_X, GOOD_Y).set_callbacks(failing)
    before = dict(vars(model))
    with pytest.raises(RuntimeError, match="from the callback"):
        model.fit(GOOD_X[:, :1], GOOD_Y)
    assert_unchanged(model, before)
    assert failing.calls[-1] == "teardown"


def test_progress_bar_of_scikit_learn_shows_the_epochs(capsys):
    MLPRegressor(**QUICK).set_callbacks(ProgressBar()).fit(GOOD_X, GOOD_Y)
    assert "MLPRegressor" in capsys.readouterr().out


def test_scoring_monitor_of_scikit_learn_scores_every_epoch():
    X, y = samples("multiclass")
    monitor = ScoringMonitor(scoring="accuracy")
    model = MLPClassifier(**QUICK).set_callbacks(monitor).fit(X, y)
    scores = [row["accuracy"] for row in monitor.get_logs().data]
    assert len(scores) == 3
    assert scores[-1] == model.score(X, y)


def test_callbacks_propagate_through_a_grid_search():
    X, y = samples("multiclass")
    bar = ProgressBar(max_propagation_depth=None)
    search = GridSearchCV(MLPClassifier(**QUICK), {"alpha": [0.0, 1.0]}, cv=2)
    assert search.set_callbacks(bar).fit(X, y).best_estimator_.n_iter_ == 2


@pytest.mark.parametrize("hidden", [(4, 4), (20, 20)])
def test_entries_replaced_by_views_of_themselves_take_effect_once(hidden):
    X, y = samples("regression")
    model = MLPRegressor(**{**QUICK, "hidden_layer_sizes": hidden}).fit(X, y)
    first, second = (w.copy() for w in model.coefs_[:2])
    model.coefs_[0], model.coefs_[1] = model.coefs_[0][::-1], model.coefs_[1].T
    predictions = [model.predict(X) for _ in range(3)]
    again = pickle.loads(pickle.dumps(model)).predict(X)
    for array in (*predictions[1:], again):
        np.testing.assert_array_equal(array, predictions[0])
    np.testing.assert_array_equal(model.coefs_[0], first[::-1])
    np.testing.assert_array_equal(model.coefs_[1], second.T)


def test_entries_that_change_places_are_not_mixed_up():
    X, y = samples("regression")
    model = MLPRegressor(**{**QUICK, "hidden_layer_sizes": (4, 4, 4)}).fit(X, y)
    _, second, third, _ = (w.copy() for w in model.coefs_)
    model.coefs_[1], model.coefs_[2] = model.coefs_[2], model.coefs_[1]
    model.predict(X)
    np.testing.assert_array_equal(model.coefs_[1], third)
    np.testing.assert_array_equal(model.coefs_[2], second)


def test_what_is_written_through_network_stays_written():
    X, y = samples("regression")
    model = MLPRegressor(**QUICK).fit(X, y)
    model.coefs_[0] = model.coefs_[0].copy()
    network = model.network_
    network.params_ = np.zeros_like(network.params_)
    np.testing.assert_array_equal(model.predict(X), 0)
    np.testing.assert_array_equal(network.forward(X), 0)


def test_a_fitted_estimator_predicts_by_the_loss_it_was_trained_on():
    X, y = samples("regression")
    model = MLPEstimator(**{**QUICK, "loss": "squared_error"}).fit(X, y)
    score = model.score(X, y)
    model.set_params(loss="log_loss")
    assert not hasattr(model, "predict_proba")
    assert model.score(X, y) == score


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_epsilon_too_small_for_the_dtype_divides_nothing_by_zero(dtype):
    X, y = samples("regression", dtype=dtype)
    X = np.column_stack([X, np.zeros_like(X[:, 0])])  # its gradient is 0
    model = MLPRegressor(**{**QUICK, "epsilon": 1e-310, "alpha": 0.0}).fit(X, y)
    assert np.isfinite(model.network_.params_).all()
