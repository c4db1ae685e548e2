"""Each finding on a network made to have it, and none on networks that are well."""

import xml.etree.ElementTree as ET
from threading import Lock

import numpy as np
import pytest
from drop_in import samples
from scipy.sparse import csr_array
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.preprocessing import StandardScaler

import cbp
from cbp import MLPClassifier, MLPEstimator, MLPRegressor, diagnose

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SEED = 0


def digits():
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def diabetes():
    """The diabetes data, inputs and target scaled."""
    X, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(X), (y - y.mean()) / y.std()


def found(est, X, y):
    return {finding.name for finding in diagnose(est, X, y).findings}


# -- silence -----------------------------------------------------------------------

HEALTHY = {
    "relu": lambda: (MLPClassifier((64,), max_iter=60), digits()),
    "tanh": lambda: (MLPClassifier((32, 32), "tanh", max_iter=60), digits()),
    "logistic": lambda: (MLPClassifier((32,), "logistic", max_iter=100), digits()),
    "deep": lambda: (MLPClassifier((32,) * 5, max_iter=40), digits()),
    "sgd": lambda: (
        MLPClassifier((32,), solver="sgd", learning_rate_init=0.05, max_iter=60),
        digits(),
    ),
    "lbfgs": lambda: (
        MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", alpha=1.0),
        diabetes(),
    ),
    "early stopping": lambda: (
        MLPClassifier((64,), early_stopping=True, max_iter=60),
        digits(),
    ),
    "regression": lambda: (MLPRegressor(hidden_layer_sizes=(50,)), diabetes()),
    "without hidden layers": lambda: (MLPClassifier((), max_iter=60), digits()),
}


@pytest.mark.parametrize("case", HEALTHY)
def test_a_healthy_network_is_left_in_peace(case):
    est, (X, y) = HEALTHY[case]()
    diagnosis = diagnose(est.set_params(random_state=SEED).fit(X, y), X, y)
    assert diagnosis.findings == []
    assert diagnosis.loss < diagnosis.chance_loss
    assert "No findings." in repr(diagnosis)


# -- findings ----------------------------------------------------------------------


def test_vanishing_error_signals():
    X, y = digits()
    deep = MLPClassifier((30,) * 6, "logistic", max_iter=10, random_state=SEED)
    diagnosis = diagnose(deep.fit(X, y), X, y)
    first = diagnosis.findings[0]
    assert first.name == "vanishing"
    assert "delta^1" in first.message and "delta^7" in first.message
    assert "relu" in first.advice
    ratios = [report.delta_ratio for report in diagnosis.layers[:-1]]
    assert max(ratios) < 1


def test_exploding_error_signals():
    X, y = diabetes()
    est = MLPRegressor(
        hidden_layer_sizes=(20,) * 4, activation="identity", max_iter=2
    ).fit(X, y)
    for W in est.coefs_[1:]:
        W *= 30
    assert "exploding" in found(est, X, y)


def test_dead_relus_are_counted_by_layer():
    X, y = digits()
    est = MLPClassifier((10, 8), max_iter=20, random_state=SEED).fit(X, y)
    est.intercepts_[1][:] = np.where(np.arange(8) < 6, -1e3, 1e3)
    diagnosis = diagnose(est, X, y)
    dead = [finding for finding in diagnosis.findings if finding.name == "dead"]
    assert len(dead) == 1
    assert "6 of the 8 relus of layer 2" in dead[0].message
    assert diagnosis.layers[1].dead_share == 0.75
    assert np.isnan(diagnosis.layers[2].dead_share)


def test_a_layer_that_is_wholly_dead_is_not_called_vanishing():
    X, y = digits()
    est = MLPClassifier((10, 8), max_iter=20, random_state=SEED).fit(X, y)
    est.intercepts_[1][:] = -1e3
    names = found(est, X, y)
    assert "dead" in names
    assert "vanishing" not in names


def test_no_rate_is_too_small_for_layers_that_nothing_reaches():
    X, y = digits()
    est = MLPClassifier((10,), solver="sgd", momentum=0.0, alpha=0.0, max_iter=2)
    est.set_params(random_state=SEED).fit(X, y).intercepts_[0][:] = -1e3
    assert [report.update_ratio for report in diagnose(est, X, y).layers] == [0, 0]
    assert "small updates" not in found(est, X, y)


def test_no_rate_is_too_small_for_a_network_without_errors():
    X = np.arange(40.0).reshape(20, 2) / 40
    est = MLPRegressor(hidden_layer_sizes=(), solver="sgd", momentum=0.0, alpha=0.0)
    est.set_params(max_iter=2).fit(X, X[:, 0])
    est.coefs_[0][:], est.intercepts_[0][:] = [[1.0], [0.0]], 0.0
    (report,) = diagnose(est, X, X[:, 0]).layers
    assert report.delta == report.update_ratio == 0
    assert "small updates" not in found(est, X, X[:, 0])


@pytest.mark.parametrize("activation", ["tanh", "logistic"])
def test_saturated_nodes(activation):
    X, y = digits()
    est = MLPClassifier((20,), activation, max_iter=20, random_state=SEED).fit(X, y)
    est.coefs_[0] *= 100
    diagnosis = diagnose(est, X, y)
    saturated = [f for f in diagnosis.findings if f.name == "saturated"]
    assert len(saturated) == 1
    assert f"layer 1 lie where {activation} is flat" in saturated[0].message


@pytest.mark.parametrize(
    "solver, rate, name, advice",
    [
        ("adam", 1e-10, "small updates", "Raise"),
        ("adam", 1.0, "large updates", "Lower"),
        ("sgd", 1e-8, "small updates", "Raise"),
        ("sgd", 2.0, "large updates", "Lower"),
    ],
)
def test_updates_that_are_too_small_or_too_large(solver, rate, name, advice):
    X, y = digits()
    est = MLPClassifier((16,), solver=solver, learning_rate_init=rate, max_iter=1)
    findings = diagnose(est.set_params(random_state=SEED).fit(X, y), X, y).findings
    updates = [finding for finding in findings if finding.name.endswith("updates")]
    assert {finding.name for finding in updates} == {name}
    assert updates[0].advice.startswith(f"{advice} learning_rate_init={rate!r}; ")


UPDATE_WEIGHTS = {
    "none": lambda n: None,
    "other ones": lambda n: np.linspace(0.1, 3, n),
    "of rows at the end only": lambda n: np.where(np.arange(n) < 300, 0.0, 1.0),
}


@pytest.mark.parametrize("case", UPDATE_WEIGHTS)
def test_update_ratios_are_those_of_a_step_on_rows_from_end_to_end(case):
    X, y = digits()
    X, y = X[np.argsort(y)], np.sort(y)
    weight = UPDATE_WEIGHTS[case](len(y))
    est = MLPClassifier((16,), max_iter=5, batch_size=100, random_state=SEED)
    reports = diagnose(est.fit(X, y, weight), X, y, weight).layers
    before = [W.copy() for W in est.coefs_]
    rows = np.arange(len(y)) if weight is None else np.flatnonzero(weight)
    batch = rows[np.linspace(0, len(rows) - 1, 100).astype(int)]
    est.partial_fit(X[batch], y[batch], None if weight is None else weight[batch])
    for report, old, new in zip(reports, before, est.coefs_, strict=True):
        ratio = np.linalg.norm(new - old) / np.linalg.norm(old)
        assert report.update_ratio == pytest.approx(ratio, rel=1e-6)


def test_update_ratios_of_zeros_are_those_of_a_record():
    X, y = diabetes()
    X, y = X[:100], y[:100]
    est = MLPRegressor(hidden_layer_sizes=(4,), activation="tanh", solver="sgd")
    est.set_params(momentum=0.0, alpha=0.0, max_iter=2, random_state=SEED).fit(X, y)
    for W in est.coefs_:
        W[:] = 0.0
    diagnosis = diagnose(est, X, y)
    ratios = [report.update_ratio for report in diagnosis.layers]
    assert ratios == [0.0, np.inf]  # no error signal passes W^2, which then changes
    assert "large updates" not in {finding.name for finding in diagnosis.findings}
    record = est.set_params(record="summary").partial_fit(X, y).record_
    assert ratios == record.update_ratios[-1]


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
@pytest.mark.parametrize("make", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("size", [1e200, 1e308])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_weights_too_large_to_go_on_with(make, activation, solver, size):
    X, y = samples("binary" if make is MLPClassifier else "regression")
    est = make(hidden_layer_sizes=(4,), activation=activation, solver=solver)
    est.set_params(max_iter=2, random_state=SEED).fit(X, y).coefs_[0][0, 0] = size
    first = diagnose(est, X, y).findings[0]
    assert first.name == "diverging"
    assert f"the largest weight is {size:.1e}" in first.message


def test_a_step_that_diverges():
    X, y = diabetes()
    est = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, solver="sgd")
    est.set_params(random_state=SEED).fit(X, y).set_params(learning_rate_init=1e308)
    diagnosis = diagnose(est, X, 1e6 * y)
    first, *_, last = diagnosis.findings
    assert np.isfinite(diagnosis.loss)
    assert first.name == "diverging"
    assert first.message.startswith("One more step of the solver leads to numbers")
    assert all(np.isnan(report.update_ratio) for report in diagnosis.layers)
    assert last.name == "cannot overfit"
    assert last.message.endswith("without penalty, diverges.")


def test_parameters_that_fit_refuses_are_not_called_divergence():
    X, y = diabetes()
    est = MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match="max_fun"):
        diagnose(est.set_params(max_fun=-1), X, y)


def test_a_loss_no_better_than_chance():
    rng = np.random.default_rng(SEED)
    X, y = rng.normal(size=(500, 3)), rng.integers(3, size=500)
    est = MLPClassifier((4,), alpha=1e4, max_iter=50, random_state=SEED).fit(X, y)
    assert "chance" in found(est, X, y)


@pytest.mark.parametrize("factor", [1e3, 1e-4])
def test_unscaled_inputs_are_found_by_column(factor):
    X, y = diabetes()
    X = X * (factor if factor < 1 else np.where(np.arange(10) == 3, factor, 1))
    est = MLPRegressor(max_iter=2, random_state=SEED).fit(X, y)
    findings = [f for f in diagnose(est, X, y).findings if f.name == "unscaled X"]
    assert len(findings) == 1
    assert "StandardScaler" in findings[0].advice
    if factor > 1:
        assert "1 of 10 columns" in findings[0].message
        assert "column 3" in findings[0].message


def test_unscaled_columns_are_named_as_the_user_names_them():
    frame, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    est = MLPRegressor(max_iter=2, random_state=SEED).fit(frame, y)
    message = next(
        f.message for f in diagnose(est, frame, y).findings if f.name == "unscaled X"
    )
    assert "column s1" in message  # cholesterol, some 190


@pytest.mark.parametrize("factor, offset", [(77.0, 150.0), (1.0, 1e3), (1e-4, 0.0)])
def test_unscaled_targets(factor, offset):
    X, y = diabetes()
    est = MLPRegressor(max_iter=2, random_state=SEED).fit(X, factor * y + offset)
    assert "unscaled y" in found(est, X, factor * y + offset)


def test_labels_and_counts_have_their_scale():
    X, y = samples("poisson")
    est = MLPRegressor("poisson", (5,), max_iter=200, learning_rate_init=0.02)
    assert "unscaled y" not in found(est.fit(X, 50 * y), X, 50 * y)
    codes = samples("codes")[1] * 1000
    clf = MLPClassifier((5,), max_iter=50, learning_rate_init=0.02).fit(X, codes)
    assert "unscaled y" not in found(clf, X, codes)


CANNOT_OVERFIT = {
    "one row with many labels": (
        lambda: (np.ones((40, 2)), np.arange(40) % 2),
        {"learning_rate_init": 0.01},
    ),
    "learning rate too small": (digits, {"learning_rate_init": 1e-7}),
    "learning rate too large": (digits, {"learning_rate_init": 10.0}),
    "too small a network": (digits, {"hidden_layer_sizes": (1,)}),
}


@pytest.mark.parametrize("case", CANNOT_OVERFIT)
def test_twenty_rows_that_cannot_be_learned_by_heart(case):
    data, params = CANNOT_OVERFIT[case]
    X, y = data()
    est = MLPClassifier(max_iter=2, random_state=SEED).set_params(**params).fit(X, y)
    assert "cannot overfit" in found(est, X, y)


# -- measures ----------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "task, loss",
    [
        ("binary", "log_loss"),
        ("multiclass", "log_loss"),
        ("multilabel", "log_loss"),
        ("regression", "squared_error"),
        ("multi-output", "sum_of_squares"),
        ("poisson", "poisson"),
    ],
)
def test_loss_of_chance_is_that_of_trained_intercepts_alone(task, loss, weighted):
    X, y = samples(task)
    weight = np.linspace(0.5, 2, len(X)) if weighted else None
    constant = MLPEstimator(loss, (), solver="lbfgs", alpha=0, tol=1e-9, max_iter=500)
    constant.fit(np.zeros((len(X), 1)), y, weight)
    est = MLPEstimator(loss, (3,), max_iter=2, random_state=SEED).fit(X, y, weight)
    diagnosis = diagnose(est, X, y, weight)
    assert diagnosis.chance_loss == pytest.approx(constant.loss_, rel=1e-7)


def test_numbers_of_layers_are_those_of_backpropagation():
    X, y = digits()
    est = MLPClassifier((12, 6), "tanh", max_iter=5, random_state=SEED).fit(X, y)
    result = est.backprop(X, y)
    diagnosis = diagnose(est, X, y)
    sizes = [np.sqrt(np.mean(delta**2)) for delta in result.delta[1:]]
    assert [r.delta for r in diagnosis.layers] == pytest.approx(sizes)
    assert [r.n_nodes for r in diagnosis.layers] == [12, 6, 10]
    assert diagnosis.layers[0].delta_ratio == pytest.approx(sizes[0] / sizes[1])
    assert diagnosis.loss == pytest.approx(result.sample_losses.mean())


def test_loss_is_weighted_as_the_samples_are():
    X, y = digits()
    weight = np.where(y < 5, 0.1, 3.0)
    est = MLPClassifier((12,), max_iter=5, random_state=SEED).fit(X, y, weight)
    losses = est.backprop(X, y).sample_losses
    expected = np.average(losses, weights=weight)
    assert abs(expected - losses.mean()) > 1e-3
    assert diagnose(est, X, y, weight).loss == pytest.approx(expected)


def test_many_rows_are_looked_at_from_end_to_end():
    X = np.zeros((10_000, 1))
    X[-1] = 1.0
    y = X.ravel()
    est = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, random_state=SEED)
    est.fit(X, y).intercepts_[0][:] = -1e-3
    est.coefs_[0][:] = 1.0
    # Only the last row makes the nodes active.
    assert diagnose(est, X, y).layers[0].dead_share == 0


# -- how it is asked ---------------------------------------------------------------


@pytest.mark.parametrize("random_state", [None, 0, np.random.RandomState(0)], ids=str)
def test_nothing_is_changed_not_even_a_generator(random_state):
    X, y = digits()
    est = MLPClassifier((8,), max_iter=3, random_state=random_state).fit(X, y)
    before = [W.copy() for W in est.coefs_]
    params = est.get_params()
    numpys, own = np.random.get_state()[1].copy(), None
    if isinstance(random_state, np.random.RandomState):
        own = random_state.get_state()[1].copy()
    diagnose(est, X, y)
    assert est.get_params() == params
    assert est.t_ == 3 * len(X)
    for old, new in zip(before, est.coefs_, strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(np.random.get_state()[1], numpys)
    if own is not None:
        np.testing.assert_array_equal(random_state.get_state()[1], own)


class Counter:
    """A callback that counts its calls, and holds what cannot be copied."""

    def __init__(self):
        self.lock, self.calls = Lock(), 0

    def setup(self, estimator, context):
        self.calls += 1

    def teardown(self, estimator, context):
        self.calls += 1

    def on_fit_task_begin(self, estimator, context):
        self.calls += 1

    def on_fit_task_end(self, estimator, context):
        self.calls += 1


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_of_the_user_are_not_called_and_stay(solver):
    X, y = samples("binary")
    counter = Counter()
    est = MLPClassifier((4,), solver=solver, max_iter=2).fit(X, y)
    est.set_callbacks(counter)
    diagnose(est, X, y)
    assert counter.calls == 0
    est.fit(X, y)
    assert counter.calls > 0


OTHER_SAMPLES = {
    "sparse X": lambda X, y: (csr_array(X), y),
    "lists": lambda X, y: (X.tolist(), y.tolist()),
    "float32": lambda X, y: (X.astype(np.float32), y),
    "read-only": lambda X, y: (_read_only(X), _read_only(y)),
    "columns first": lambda X, y: (np.asfortranarray(X), y),
    "strings": lambda X, y: (X, y.astype(str)),
    "one row": lambda X, y: (X[:1], y[:1]),
    "one class": lambda X, y: (X[y == 3], y[y == 3]),
}


def _read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("case", OTHER_SAMPLES)
def test_samples_are_taken_as_fit_takes_them(case):
    X, y = digits()
    as_strings = case == "strings"
    est = MLPClassifier((8,), max_iter=20, random_state=SEED)
    est.fit(X, y.astype(str) if as_strings else y)
    diagnosis = diagnose(est, *OTHER_SAMPLES[case](X, y))
    assert np.isfinite(diagnosis.loss)


def test_converted_estimators_are_diagnosed():
    X, y = digits()
    theirs = TheirClassifier((16,), max_iter=30, random_state=SEED).fit(X, y)
    assert diagnose(cbp.from_sklearn(theirs), X, y).findings == []


def test_only_fitted_estimators_of_cbp_are_diagnosed():
    X, y = samples("binary")
    with pytest.raises(NotFittedError):
        diagnose(MLPClassifier(), X, y)
    with pytest.raises(TypeError, match="LogisticRegression; give a fitted estimator"):
        diagnose(LogisticRegression(), X, y)
    est = MLPClassifier(max_iter=2).fit(X, y)
    with pytest.raises(TypeError, match="Network; give a fitted estimator"):
        diagnose(est.network_, X, y)
    with pytest.raises(ValueError, match="NaN"):
        diagnose(est, np.full_like(X, np.nan), y)
    with pytest.raises(ValueError, match="classes not in"):
        diagnose(est, X, np.full(len(X), "maybe"))


# -- what people read --------------------------------------------------------------


def test_report_lists_layers_and_findings():
    X, y = diabetes()
    est = MLPRegressor(hidden_layer_sizes=(6,), max_iter=2, random_state=SEED)
    diagnosis = diagnose(est.fit(1e3 * X, y), 1e3 * X, y)
    lines = repr(diagnosis).splitlines()
    assert lines[0].startswith("Loss ")
    assert lines[1].split() == (
        "layer nodes delta / above dead saturated update / W".split()
    )
    assert [line.split()[:2] for line in lines[2:4]] == [["1", "6"], ["2", "1"]]
    assert lines[4] == f"{len(diagnosis.findings)} findings:"
    assert [line.split(":")[0][2:] for line in lines[5:]] == [
        finding.name for finding in diagnosis.findings
    ]


def test_html_has_the_same_and_escapes_names():
    y = diabetes()[1]
    frame = load_diabetes(as_frame=True).data * 1e5
    frame.columns = ["<b>", *frame.columns[1:]]
    frame["<b>"] *= 10
    est = MLPRegressor(max_iter=2, random_state=SEED).fit(frame, y)
    tree = ET.fromstring(diagnose(est, frame, y)._repr_html_().replace("<br>", "<br/>"))
    items = ["".join(item.itertext()) for item in tree.iterfind(".//li")]
    assert any("column <b>" in item for item in items)
    assert len(tree.findall(".//tbody/tr")) == 2
