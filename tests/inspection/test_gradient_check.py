"""check_gradients finds what is wrong with a gradient, where, and nothing else."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from drop_in import samples
from problems import ACTIVATIONS, PAIRS, draw_targets
from scipy.sparse import csr_array
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from cbp import (
    MLPClassifier,
    MLPEstimator,
    MLPRegressor,
    Network,
    check_gradients,
)
from cbp.functions.activations import Tanh
from cbp.reference import equations as reference

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SIZES = (3, 4, 2, 3)


def draw(activation="tanh", loss="squared_error", output="identity", **settings):
    rng = np.random.default_rng(0)
    net = Network(
        SIZES,
        activation=activation,
        output_activation=output,
        loss=loss,
        random_state=0,
        **{"alpha": 0.3, **settings},
    )
    X = rng.normal(size=(5, 3))
    return net, X, draw_targets(rng, loss, output, (5, 3))


def verdicts(check):
    return {tensor.name: tensor.verdict for tensor in check.tensors}


# -- what is right -----------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_right_gradients_pass(pair, activation):
    net, X, y = draw(activation, *pair)
    check = check_gradients(net, X, y, np.linspace(0, 2, 5))
    assert check.passed
    assert [tensor.name for tensor in check.tensors] == [
        *(f"coefs_[{i}]" for i in range(3)),
        *(f"intercepts_[{i}]" for i in range(3)),
    ]
    for tensor in check.tensors:
        n_entries = min(20, np.prod(tensor.shape))
        assert tensor.n_checked + tensor.n_kinks == n_entries
        assert tensor.error < 1e-6


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_estimators_are_checked_in_float64_whatever_their_dtype(dtype, task):
    X, y = samples(task)
    make = MLPRegressor if task == "regression" else MLPClassifier
    est = make(hidden_layer_sizes=(5,), activation="tanh", max_iter=5, random_state=0)
    check = check_gradients(est.fit(X.astype(dtype), y), X.astype(dtype), y)
    assert check.passed
    assert max(tensor.error for tensor in check.tensors) < 1e-7  # none in float32 is


def test_sparse_samples_are_checked_too():
    net, X, y = draw()
    X[X < 0] = 0
    assert check_gradients(net, csr_array(X), y) == check_gradients(net, X, y)


def test_gradients_of_dead_nodes_are_zero_and_right():
    net, X, y = draw("relu", alpha=0.0)
    net.intercepts_[0][:] = -100
    check = check_gradients(net, X, y)
    assert check.passed
    assert verdicts(check)["coefs_[0]"] == "correct"
    assert check.tensors[0].n_checked == 12


@pytest.mark.parametrize("as_estimator", [False, True])
def test_the_model_is_left_as_it_was(as_estimator):
    net, X, y = draw()
    model = net
    if as_estimator:
        model = MLPEstimator("squared_error", (4, 2), max_iter=2).fit(X, y)
        net = model.network_
    before = net.params_.copy()
    check_gradients(model, X, y)
    np.testing.assert_array_equal(net.params_, before)


# -- what is wrong -----------------------------------------------------------------


@pytest.fixture
def broken(monkeypatch):
    """Replaces a function of the reference, which then computes."""
    monkeypatch.setenv("CBP_IMPLEMENTATION", "reference")

    def replace(name, function, of=reference):
        monkeypatch.setattr(of, name, function)

    return replace


@pytest.mark.parametrize("factor, verdict", [(1.1, "wrong"), (1.0001, "doubtful")])
def test_an_error_in_the_recursion_shows_in_all_layers_below_it(
    broken, factor, verdict
):
    right = reference.slope_below
    broken("slope_below", lambda w, delta, k: factor * right(w, delta, k))
    check = check_gradients(*draw())
    assert not check.passed
    expected = {"0": verdict, "1": verdict, "2": "correct"}
    for name, found in verdicts(check).items():
        assert found == expected[name[-2]]


def test_a_forgotten_derivative_of_the_activation_is_wrong(broken):
    broken("g_prime", lambda self, z: 1.0, of=Tanh)
    found = verdicts(check_gradients(*draw()))
    assert found["coefs_[0]"] == found["intercepts_[1]"] == "wrong"
    assert found["coefs_[2]"] == found["intercepts_[2]"] == "correct"


def test_a_transposed_gradient_is_wrong_in_the_coefs_only(broken):
    right = reference.gradients

    def shuffled(net, a, delta):
        dw, db = right(net, a, delta)
        return [None] + [row[::-1] for row in dw[1:]], db

    broken("gradients", shuffled)
    for name, found in verdicts(check_gradients(*draw())).items():
        assert found == ("wrong" if name.startswith("coefs") else "correct")


def test_the_worst_entry_is_named_with_both_numbers(broken):
    right = reference.gradients

    def off_in_one_weight(net, a, delta):
        dw, db = right(net, a, delta)
        dw[2][1][3] *= 1.5  # from node 3 to node 1
        return dw, db

    broken("gradients", off_in_one_weight)
    net, X, y = draw(alpha=0.0)
    worst = check_gradients(net, X, y).tensors[1]
    assert worst.worst == (3, 1)
    assert worst.gradient == pytest.approx(1.5 * worst.quotient)
    assert worst.error == pytest.approx(0.2)  # .5 / 2.5


@pytest.fixture
def one_nan(broken):
    """Makes the gradient NaN in one weight of a layer: from node k to node j."""
    right = reference.gradients

    def replace(layer, j, k):
        def gradients(net, a, delta):
            dw, db = right(net, a, delta)
            dw[layer][j][k] = np.nan
            return dw, db

        broken("gradients", gradients)

    return replace


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_gradient_that_is_no_number_is_wrong(one_nan, activation):
    one_nan(2, 1, 3)
    check = check_gradients(*draw(activation))
    assert not check.passed
    assert [t.name for t in check.tensors if t.verdict == "wrong"] == ["coefs_[1]"]
    assert (check.tensors[1].worst, check.tensors[1].error) == ((3, 1), np.inf)


def test_a_gradient_that_is_no_number_is_found_among_many(one_nan):
    one_nan(1, 0, 7)
    net = Network((100, 1), params=np.zeros(101))
    X = np.arange(1.0, 101.0).reshape(1, 100)
    first = check_gradients(net, X, [1.0], n_entries=1).tensors[0]
    assert (first.verdict, first.worst) == ("wrong", (7, 0))


def test_a_quotient_that_is_no_number_is_wrong():
    net = Network((1, 1), params=[1e200, 0.0])
    check = check_gradients(net, [[1.0]], [0.0])  # the loss overflows
    assert set(verdicts(check).values()) == {"wrong"}


# -- kinks -------------------------------------------------------------------------


def test_entries_at_kinks_are_reported_apart():
    # z^1 of both samples is 0 and 1: any change of w or b meets the kink of the first.
    net = Network((1, 1, 1), activation="relu", params=[1.0, 1.0, 0.0, 0.5])
    check = check_gradients(net, [[1e-9], [1.0]], [3.0, 3.0])
    assert verdicts(check) == {
        "coefs_[0]": "correct",  # times x = 1e-9 a step does not reach it
        "coefs_[1]": "correct",
        "intercepts_[0]": "kinks only",
        "intercepts_[1]": "correct",
    }
    at_kink = check.tensors[2]
    assert (at_kink.n_checked, at_kink.n_kinks, at_kink.worst) == (0, 1, None)
    assert at_kink.kink_error > 0.01
    assert check.passed
    assert repr(check).splitlines()[-1] == (
        "The gradient is the slope of the loss. Not compared: intercepts_[0]. Every "
        "entry tried is at a kink of relu; give other or fewer rows, or raise "
        "n_entries."
    )


def all_at_kinks():
    """A relu output with z = 0: whatever changes meets its kink."""
    net = Network((1, 1), output_activation="relu", params=[0.0, 0.0])
    return net, [[1.0]], [3.0]


def test_a_check_that_could_compare_nothing_is_not_passed():
    check = check_gradients(*all_at_kinks())
    assert set(verdicts(check).values()) == {"kinks only"}
    assert not check.passed
    assert (
        repr(check)
        .splitlines()[-1]
        .startswith("Not compared: coefs_[0], intercepts_[0]. Every entry tried")
    )


def test_a_gradient_that_is_no_number_is_wrong_at_kinks_too(one_nan):
    one_nan(1, 0, 0)
    check = check_gradients(*all_at_kinks())
    assert verdicts(check) == {"coefs_[0]": "wrong", "intercepts_[0]": "kinks only"}
    assert (
        repr(check)
        .splitlines()[-1]
        .startswith(
            "The gradient is not the slope of the loss in coefs_[0]. Not compared: "
            "intercepts_[0]."
        )
    )


# -- how it is asked ---------------------------------------------------------------


def test_entries_are_the_largest_half_and_others_by_random_state():
    net = Network((100, 1), params=np.zeros(101))
    X = np.arange(1.0, 101.0).reshape(1, 100)  # gradients of -1, -2, ... -100
    tensors = [
        check_gradients(net, X, [1.0], n_entries=6, random_state=seed).tensors[0]
        for seed in (0, 0)
    ]
    assert tensors[0] == tensors[1]
    assert tensors[0].n_checked == 6
    assert check_gradients(net, X, [1.0], n_entries=1).tensors[0].worst == (99, 0)


def test_other_random_states_choose_other_entries(broken):
    right = reference.gradients

    def off_but_in_the_largest(net, a, delta):
        dw, db = right(net, a, delta)
        dw[1][0] = [*(1.5 * g for g in dw[1][0][:-1]), dw[1][0][-1]]
        return dw, db

    broken("gradients", off_but_in_the_largest)
    net = Network((100, 1), params=np.zeros(101))
    X = np.arange(1.0, 101.0).reshape(1, 100)
    chosen = {
        check_gradients(net, X, [1.0], n_entries=2, random_state=seed).tensors[0].worst
        for seed in range(8)
    }
    assert len(chosen) > 2


def test_steps_grow_with_large_weights():
    # Beside 2^40 a step of 2^-13 rounds to nothing.
    net = Network((1, 1), params=[2.0**40, 0.0])
    coef = check_gradients(net, [[1.0]], [2.0**40 - 3]).tensors[0]
    assert coef.verdict == "correct"
    assert coef.gradient == 3
    assert coef.quotient == pytest.approx(3, rel=1e-6)


@pytest.mark.parametrize("n_entries", [0, -3, 1.5, None, "all"])
def test_bad_number_of_entries_is_refused(n_entries):
    with pytest.raises(ValueError, match="n_entries="):
        check_gradients(*draw(), n_entries=n_entries)


def test_only_networks_and_fitted_estimators_of_cbp_are_checked():
    X, y = samples("binary")
    with pytest.raises(NotFittedError):
        check_gradients(MLPClassifier(), X, y)
    with pytest.raises(TypeError, match=r"LogisticRegression; give a cbp\.Network"):
        check_gradients(LogisticRegression(), X, y)
    with pytest.raises(ValueError, match="X has 4 columns"):
        check_gradients(draw()[0], X, y)


# -- what people read --------------------------------------------------------------


def test_table_and_verdict_say_which_tensors_are_wrong(broken):
    right = reference.slope_below
    broken("slope_below", lambda w, delta, k: 2 * right(w, delta, k))
    net, X, y = draw()
    check = check_gradients(net, X, y)
    lines = repr(check).splitlines()
    assert len(lines) == 8
    assert lines[1].startswith("coefs_[0]") and lines[1].endswith("wrong")
    assert lines[1].split()[1:4] == ["3", "x", "4"]
    assert lines[3].endswith("correct")
    assert lines[-1] == (
        "The gradient is not the slope of the loss in coefs_[0], coefs_[1], "
        "intercepts_[0], intercepts_[1]."
    )


def test_html_has_a_row_for_each_tensor():
    tree = ET.fromstring(check_gradients(*draw())._repr_html_())
    rows = [[cell.text for cell in row] for row in tree.iterfind(".//tbody/tr")]
    assert [row[0] for row in rows] == [
        *("coefs_[0]", "coefs_[1]", "coefs_[2]"),
        *("intercepts_[0]", "intercepts_[1]", "intercepts_[2]"),
    ]
    assert all(row[-1] == "correct" for row in rows)
    assert tree.find("p").text == "The gradient is the slope of the loss."


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("activation", ["tanh", "logistic", "relu"])
@pytest.mark.parametrize("factor", [1.0, 5000.0])
def test_right_gradients_are_not_accused_where_X_is_not_scaled(
    factor, activation, solver
):
    X, y = load_wine(return_X_y=True)  # columns up to 1000
    X = factor * X
    clf = MLPClassifier((20,), activation, solver=solver, max_iter=50, random_state=0)
    check = check_gradients(clf.fit(X, y), X[::7], y[::7])
    assert not {"wrong", "doubtful"} & set(verdicts(check).values())
    if factor == 1.0:
        assert check.passed


def test_a_wrong_gradient_is_accused_where_X_is_not_scaled(broken):
    broken("g_prime", lambda self, z: 1.0, of=Tanh)
    X, y = load_wine(return_X_y=True)
    net = Network(
        (13, 3, 1),
        activation="tanh",
        random_state=0,
    )
    net.coefs_[0] /= 1000  # else all nodes are saturated
    check = check_gradients(net, X[::20], y[::20], n_entries=4)
    assert verdicts(check)["coefs_[0]"] == verdicts(check)["intercepts_[0]"] == "wrong"
    assert verdicts(check)["coefs_[1]"] == "correct"
