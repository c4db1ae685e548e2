"""Training goes on where it stopped: k epochs and m more are k + m epochs, bitwise."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse
from sklearn import neural_network
from sklearn.base import clone, is_classifier

from cbp import MLPClassifier, MLPEstimator, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

K, M = 4, 7
SETTINGS = {
    "adam": {"solver": "adam"},
    "sgd": {"solver": "sgd"},
    "no momentum": {"solver": "sgd", "momentum": 0.0},
    "plain momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.2},
    # The rate falls at the fourth, sixth, ... epoch: within k and within m.
    "adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "tol": 1e3,
        "n_iter_no_change": 1,
    },
    "in order": {"solver": "adam", "shuffle": False},
    "alpha and tanh": {"solver": "adam", "alpha": 0.1, "activation": "tanh"},
}
TASKS = {
    "classification": (MLPClassifier, lambda X: np.digitize(X[:, 0], [-0.5, 0.5])),
    "labels": (MLPClassifier, lambda X: (X > 0).astype(int)),
    "regression": (MLPRegressor, lambda X: X[:, 0] * X[:, 1]),
    "general": (MLPEstimator, lambda X: X[:, :2] ** 2),
}


def problem(task="regression", dtype=np.float64, n=50, **params):
    """An unfitted estimator, X and y."""
    make, target = TASKS[task]
    X = np.random.RandomState(3).normal(size=(n, 4)).astype(dtype)
    defaults = {
        "hidden_layer_sizes": (5, 3),
        "batch_size": 16,
        "learning_rate_init": 0.02,
        "n_iter_no_change": 100,
        "random_state": 7,
    }
    return make(**{**defaults, **params}), X, target(X)


def assert_same_model(one, other):
    np.testing.assert_array_equal(one.network_.params_, other.network_.params_)
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_scores_ == other.validation_scores_
    assert one.best_validation_score_ == other.best_validation_score_
    for name in ("loss_", "best_loss_", "t_"):
        assert getattr(one, name) == getattr(other, name)


def in_k_and_m(model, X, y, weight=None, between=lambda model: model):
    model.set_params(warm_start=True, max_iter=K).fit(X, y, weight)
    return between(model).set_params(max_iter=M).fit(X, y, weight)


def through_a_pickle(model):
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize(
    "between", [lambda model: model, through_a_pickle], ids=["", "pickled"]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_warm_start_goes_on(setting, task, dtype, between):
    model, X, y = problem(task, dtype, **SETTINGS[setting])
    whole = clone(model).set_params(max_iter=K + M).fit(X, y)
    parts = in_k_and_m(model, X, y, between=between)
    assert_same_model(parts, whole)
    assert (whole.n_iter_, parts.n_iter_) == (K + M, M)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_partial_fit_goes_on(setting, task):
    model, X, y = problem(task, **SETTINGS[setting])
    whole = clone(model).set_params(max_iter=K + M).fit(X, y)
    kwargs = {"classes": range(y.shape[-1] if y.ndim > 1 else 3)}
    kwargs = kwargs if is_classifier(model) else {}
    for epoch in range(K + M):
        model.partial_fit(X, y, **kwargs)
        assert model.n_iter_ == len(model.loss_curve_) == epoch + 1
    assert_same_model(model, whole)
    mixed = clone(model).set_params(max_iter=K).fit(X, y)
    for _ in range(M):
        mixed = through_a_pickle(mixed).partial_fit(X, y)
    assert_same_model(mixed, whole)
    assert mixed.n_iter_ == K + M


@pytest.mark.parametrize("form", ["weights", "sparse", "early stopping"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize(
    "between", [lambda model: model, through_a_pickle], ids=["", "pickled"]
)
def test_weights_sparse_X_and_early_stopping_go_on_as_well(between, solver, form):
    model, X, y = problem("classification", solver=solver)
    weight = np.linspace(0, 2, len(X)) if form == "weights" else None
    X = sparse.csr_array(np.where(X > 0, X, 0)) if form == "sparse" else X
    model.set_params(early_stopping=form == "early stopping")
    whole = clone(model).set_params(max_iter=K + M).fit(X, y, weight)
    assert_same_model(in_k_and_m(model, X, y, weight, between), whole)


def test_early_stopping_goes_on_from_the_last_weights_not_from_the_best():
    n_parted = 0
    for seed in range(10):
        # At such a rate the best epoch of the first part is often not its last.
        params = {"early_stopping": True, "learning_rate_init": 0.3}
        model, X, y = problem("regression", **params, random_state=seed)
        whole = clone(model).set_params(max_iter=K + M).fit(X, y)
        first = clone(model).set_params(max_iter=K).fit(X, y)
        n_parted += first.validation_scores_[-1] != first.best_validation_score_
        assert_same_model(in_k_and_m(model, X, y, between=through_a_pickle), whole)
    assert n_parted > 2


@pytest.mark.parametrize("n", [50, 70])
def test_the_best_score_of_other_data_does_not_count(n):
    model, X, y = problem("regression", early_stopping=True, max_iter=200)
    model.fit(X, y)
    assert model.best_validation_score_ > 0.5
    X = np.random.RandomState(4).normal(size=(n, 4))
    model.set_params(warm_start=True, max_iter=40).fit(X, -X[:, 0] * X[:, 1])
    assert model.score(X, -X[:, 0] * X[:, 1]) > 0.0


def test_another_validation_fraction_sets_other_rows_aside():
    model, X, y = problem(early_stopping=True, warm_start=True, max_iter=2)
    for fraction, n_aside in ((0.1, 5), (0.1, 5), (0.3, 15)):
        model.set_params(validation_fraction=fraction).fit(X, y)
        assert len(model._state.rows.validation) == n_aside


def test_scores_of_weights_that_were_replaced_are_not_the_best_any_more():
    model, X, y = problem("regression", early_stopping=True, max_iter=40)
    model.fit(X, y)
    model.coefs_[0] = np.zeros_like(model.coefs_[0])
    model.set_params(warm_start=True, max_iter=1, learning_rate_init=1e-6).fit(X, y)
    assert model.best_validation_score_ == model.validation_scores_[-1]
    assert model.best_validation_score_ < max(model.validation_scores_)
    assert np.abs(model.coefs_[0]).max() < 1e-3


def test_a_new_process_goes_on(tmp_path):
    model, X, y = problem("classification", batch_size=10)
    whole = clone(model).set_params(max_iter=K + M).fit(X, y)
    model.set_params(max_iter=K).fit(X, y)
    saved = tmp_path / "model.pkl"
    saved.write_bytes(pickle.dumps((model, X, y)))
    program = (
        "import pickle, sys; from pathlib import Path; path = Path(sys.argv[1]);"
        "model, X, y = pickle.loads(path.read_bytes());"
        f"[model.partial_fit(X, y) for _ in range({M})];"
        "path.write_bytes(pickle.dumps(model))"
    )
    subprocess.run([sys.executable, "-c", program, saved], env=os.environ, check=True)
    assert_same_model(pickle.loads(saved.read_bytes()), whole)


@pytest.mark.parametrize(
    "seed", [0, np.random.RandomState(0), None], ids=["int", "RandomState", "None"]
)
def test_every_partial_fit_draws_a_new_permutation(seed):
    # Weight and intercept each move by half the error: the last sample decides.
    X, y = np.ones((40, 1)), np.arange(40.0)
    params = {"hidden_layer_sizes": (), "solver": "sgd", "momentum": 0.0, "alpha": 0.0}
    model = MLPRegressor(
        **params, learning_rate_init=0.5, batch_size=1, random_state=seed
    )
    last = [round(model.partial_fit(X, y).predict([[1.0]])[0]) for _ in range(10)]
    assert len(set(last)) > 3
    theirs = neural_network.MLPRegressor(
        **params, learning_rate_init=0.5, batch_size=1, random_state=0
    )
    last = [round(theirs.partial_fit(X, y).predict([[1.0]])[0]) for _ in range(10)]
    assert len(set(last[1:])) == 1  # the defect that is not copied


class Keeps:
    """A callback that keeps the estimator of one epoch."""

    def __init__(self, n_iter):
        self.n_iter = n_iter

    def setup(self, estimator, context): ...
    def teardown(self, estimator, context): ...
    def on_fit_task_begin(self, estimator, context): ...

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        if fitted_estimator.n_iter_ == self.n_iter and context.max_subtasks == 0:
            self.kept = fitted_estimator


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_what_a_callback_kept_goes_on(solver, early_stopping):
    model, X, y = problem(
        solver=solver, early_stopping=early_stopping, learning_rate_init=0.3
    )
    keeps = Keeps(K)
    whole = clone(model).set_callbacks(keeps).set_params(max_iter=K + M).fit(X, y)
    kept = keeps.kept.set_params(warm_start=True, max_iter=M).fit(X, y)
    assert_same_model(kept, whole)
    for array in (*kept.coefs_, *kept.intercepts_):
        assert np.shares_memory(array, kept.network_.params_)


def test_a_random_state_of_the_user_is_drawn_from_and_shared():
    whole_rng, parts_rng = np.random.RandomState(5), np.random.RandomState(5)
    model, X, y = problem("regression", random_state=parts_rng)
    whole = MLPRegressor(**{**model.get_params(), "random_state": whole_rng})
    whole.set_params(max_iter=K + M).fit(X, y)
    assert_same_model(in_k_and_m(model, X, y), whole)
    assert whole_rng.uniform() == parts_rng.uniform()


@pytest.mark.parametrize(
    "changed, lasting",
    [
        ({"learning_rate_init": 0.5}, False),
        ({"momentum": 0.1}, False),
        ({"batch_size": 5}, False),
        ({"alpha": 10.0}, False),
        ({"activation": "tanh"}, False),
        ({"random_state": 99}, True),
        ({"verbose": False}, True),
    ],
    ids=str,
)
def test_parameters_changed_in_between_take_effect(changed, lasting):
    model, X, y = problem(solver="sgd")
    plain = clone(model)
    for _ in range(2):
        model.partial_fit(X, y)
        plain.partial_fit(X, y)
    model.set_params(**changed).partial_fit(X, y)
    plain.partial_fit(X, y)
    same = np.array_equal(model.network_.params_, plain.network_.params_)
    assert same is lasting


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize("sizes", [(5,), (5, 4), (5, 3, 2), ()])
def test_changed_sizes_are_refused_when_training_goes_on(sizes, call):
    model, X, y = problem(warm_start=True, max_iter=2)
    model.fit(X, y)
    before = dict(vars(model), hidden_layer_sizes=sizes)
    model.set_params(hidden_layer_sizes=sizes)
    with pytest.raises(ValueError, match=r"hidden_layer_sizes=.*warm_start=False"):
        getattr(model, call)(X, y)
    assert vars(model) == before


def test_changed_loss_and_number_of_outputs_are_refused_when_training_goes_on():
    model, X, y = problem("general", loss="squared_error", max_iter=2)
    model.set_params(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=r"loss is .squared_error.*would be .poisson."):
        model.set_params(loss="poisson").fit(X, y)
    with pytest.raises(ValueError, match=r"layer_sizes is \(4, 5, 3, 2\)"):
        model.set_params(loss="squared_error").fit(X, y[:, 0])


def test_sizes_may_change_without_warm_start():
    model, X, y = problem(max_iter=2)
    model.fit(X, y).set_params(hidden_layer_sizes=(2,)).fit(X, y)
    assert [w.shape for w in model.coefs_] == [(4, 2), (2, 1)]
    assert len(model.loss_curve_) == 2


def test_dtype_of_the_model_stays_when_training_goes_on():
    model, X, y = problem(dtype=np.float32, max_iter=2)
    model.fit(X, y).partial_fit(X.astype(np.float64), y)
    assert {w.dtype for w in model.coefs_} == {np.dtype(np.float32)}


def test_chunks_of_different_sizes_are_trained_on():
    model, X, y = problem(n=70, max_iter=2)
    for start, stop in ((0, 30), (30, 70), (0, 70), (69, 70)):
        model.partial_fit(X[start:stop], y[start:stop])
    assert (model.n_iter_, model.t_) == (4, 30 + 40 + 70 + 1)


# -- classes -----------------------------------------------------------------------


def test_partial_fit_needs_the_classes_in_its_first_call_only():
    model, X, y = problem("classification")
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, y)
    assert not hasattr(model, "coefs_")
    model.partial_fit(X[y == 1], y[y == 1], classes=[2, 0, 1])
    model.partial_fit(X, y).partial_fit(X, y, classes=[0, 1, 2])
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    for classes in ([0, 1], [0, 1, 3]):
        with pytest.raises(ValueError, match="is not the same as on last call"):
            model.partial_fit(X, y, classes=classes)


@pytest.mark.parametrize("warm_start", [False, True])
def test_partial_fit_takes_some_of_the_classes_but_no_other(warm_start):
    model, X, y = problem("classification", warm_start=warm_start, max_iter=2)
    model.fit(X, y).partial_fit(X[y < 2], y[y < 2])
    before = dict(vars(model))
    with pytest.raises(ValueError, match=r"classes not in `self.classes_`: \[3\]"):
        model.partial_fit(X, y + 1)
    assert vars(model) == before
    with pytest.raises(ValueError, match="classes not in"):
        MLPClassifier().partial_fit(X, y, classes=[0, 2])


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_one_label_a_sample_does_not_become_several_when_training_goes_on(call):
    X = np.random.RandomState(0).normal(size=(50, 4))
    single, several = np.arange(50) % 3, (X[:, :3] > 0).astype(int)
    model = MLPClassifier((3,), max_iter=2, warm_start=True).fit(X, single)
    with pytest.raises(ValueError, match="not fitted with multilabel input"):
        getattr(model, call)(X, several)
    model = MLPClassifier((3,), max_iter=2, warm_start=True).fit(X, several)
    getattr(model, call)(X, single)  # each sample has the one label of three


def test_classes_of_multilabel_y_are_its_columns_or_more():
    X = np.random.RandomState(0).normal(size=(50, 4))
    y = (X[:, :3] > 0).astype(int)
    model = MLPClassifier((3,))
    for _ in range(2):
        model.partial_fit(X, y, classes=[0, 1, 2, 3])
        np.testing.assert_array_equal(model.classes_, [0, 1, 2, 3])
    with pytest.raises(ValueError, match=r"classes not in `self\.classes_`"):
        MLPClassifier().partial_fit(X, y, classes=[0, 1])


def test_warm_start_wants_the_same_classes():
    model, X, y = problem("classification", warm_start=True, max_iter=2)
    model.fit(X, y)
    for other in (y + 1, np.minimum(y, 1)):
        with pytest.raises(ValueError, match="warm_start can only be used where `y`"):
            model.fit(X, other)


def test_classes_are_no_parameter_of_the_regressor():
    X, y = np.eye(3), np.arange(3.0)
    with pytest.raises(TypeError):
        MLPRegressor().partial_fit(X, y, classes=[0, 1, 2])


def test_classes_are_refused_by_an_estimator_that_is_a_regressor():
    model, X, y = problem("general")
    with pytest.raises(ValueError, match="is for classifiers"):
        model.partial_fit(X, y, classes=[0, 1])


@pytest.mark.parametrize("task", TASKS)
def test_partial_fit_is_there_for_solvers_that_go_by_epochs(task):
    model, _, _ = problem(task)
    assert hasattr(model, "partial_fit")
    assert not hasattr(model.set_params(solver="lbfgs"), "partial_fit")
    with pytest.raises(AttributeError) as error:
        _ = model.partial_fit
    assert "lbfgs is not stochastic" in str(error.value.__cause__)


# -- what a failed call leaves -------------------------------------------------------


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_a_call_that_diverges_changes_nothing(call):
    model, X, y = problem(warm_start=True, solver="sgd", max_iter=3)
    model.fit(X, y)
    before, params = dict(vars(model)), model.network_.params_.copy()
    untouched = pickle.dumps(model)
    model.set_params(learning_rate_init=1e300)
    with pytest.raises(ValueError, match="Training diverged"):
        getattr(model, call)(X * 1e150, y * 1e150)
    model.set_params(learning_rate_init=before["learning_rate_init"])
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())
    np.testing.assert_array_equal(model.network_.params_, params)
    assert len(model.loss_curve_) == 3
    assert_same_model(
        model.partial_fit(X, y), pickle.loads(untouched).partial_fit(X, y)
    )


def _fit_that_is_refused(model, X, y):
    with pytest.raises(ValueError):
        model.fit(X, np.full(len(y), np.nan))


@pytest.mark.parametrize(
    "use",
    [
        lambda model, X, y: model.predict(X),
        lambda model, X, y: pickle.dumps(model),
        lambda model, X, y: model.network_.forward(X),
        lambda model, X, y: clone(model),
        lambda model, X, y: model.score(X, y),
        _fit_that_is_refused,
    ],
    ids=["predict", "pickle", "network_", "clone", "score", "refused fit"],
)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_what_only_reads_leaves_arrays_of_the_user_in_their_place(use, early_stopping):
    model, X, y = problem(warm_start=True, max_iter=2, early_stopping=early_stopping)
    mine = np.zeros_like(model.fit(X, y).coefs_[0])
    model.coefs_[0] = mine
    use(model, X, y)
    assert model.coefs_[0] is mine
    before = model.predict(X)
    mine += 1.0
    assert not np.array_equal(model.predict(X), before)


def test_training_begins_with_weights_that_were_set_by_hand():
    fitted, X, y = problem("classification", max_iter=1, shuffle=False)
    fitted.fit(X, y)
    model = clone(fitted)
    for name in ("coefs_", "intercepts_", "out_activation_", "classes_"):
        setattr(model, name, getattr(fitted, name))
    model._label_binarizer = fitted._label_binarizer
    model.set_params(warm_start=True)
    fitted.set_params(warm_start=True)
    del fitted._state
    np.testing.assert_array_equal(model.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(model.fit(X, y).coefs_[0], fitted.fit(X, y).coefs_[0])
    assert is_classifier(model)
