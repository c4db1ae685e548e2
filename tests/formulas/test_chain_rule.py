"""One weight's derivative: the factors, their product, what people read."""

import itertools
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import worked_example as by_hand
from problems import ACTIVATIONS, PAIRS, draw_targets
from scipy.sparse import csr_array

from cbp import Network

SIZES = (3, 4, 2, 3)


def draw_result(activation="tanh", loss="log_loss", output="softmax", **settings):
    """A result with weights and a penalty, of a network with two hidden layers."""
    weighted = settings.pop("weighted", True)
    rng = np.random.default_rng([1, ACTIVATIONS.index(activation)])
    net = Network(
        SIZES,
        activation=activation,
        output_activation=output,
        loss=loss,
        alpha=0.3,
        random_state=0,
        **settings,
    )
    X = rng.normal(size=(5, 3))
    y = draw_targets(rng, loss, output, (5, 3))
    return net.backprop(X, y, rng.uniform(0.5, 2, 5) if weighted else None)


def every_weight(sizes):
    for layer in range(1, len(sizes)):
        for k, j in np.ndindex(sizes[layer - 1], sizes[layer]):
            yield layer, k, j


def product(terms):
    """dC_0/dw from the three factors alone, summed over coupled outputs."""
    upper = terms.dC0_da * terms.da_dz
    return terms.dz_dw * (upper if upper.ndim == 1 else upper.sum(axis=1))


@pytest.fixture
def hand_result():
    net = Network(
        by_hand.LAYER_SIZES,
        activation=by_hand.ACTIVATION,
        output_activation=by_hand.OUTPUT_ACTIVATION,
        loss=by_hand.LOSS,
        params=by_hand.PARAMS,
    )
    return net.backprop(by_hand.X, by_hand.Y)


# -- numbers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "activation, pair", list(itertools.product(ACTIVATIONS, PAIRS)), ids=str
)
def test_factors_multiply_to_the_gradient_of_every_weight(activation, pair):
    result = draw_result(activation, *pair)
    for layer, k, j in every_weight(SIZES):
        rule = result.chain_rule(layer, k, j)
        np.testing.assert_allclose(
            product(rule.terms), rule.terms.dC0_dw, rtol=1e-9, atol=1e-14
        )
        np.testing.assert_allclose(
            rule.terms.dC0_dw, result.sample_coef_grads(layer)[:, k, j], rtol=1e-12
        )
        gradient = result.coef_grads[layer - 1][k, j]
        assert rule.grad == pytest.approx(gradient, rel=1e-11, abs=1e-15)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_summands_are_one_for_each_node_that_is_fed(pair):
    result = draw_result("tanh", *pair)
    for layer, k, j in every_weight(SIZES):
        rule = result.chain_rule(layer, k, j)
        if layer == 3:
            assert (rule.summands is None) == (pair[1] != "softmax")
            if rule.summands is not None:
                total = rule.summands.sum(axis=1)
                np.testing.assert_allclose(total, rule.delta, rtol=1e-9, atol=1e-14)
            continue
        assert rule.summands.shape == (5, SIZES[layer + 1])
        for m in range(SIZES[layer + 1]):
            by_equation = result.network.coefs_[layer][j, m] * result.delta[layer + 1]
            np.testing.assert_allclose(rule.summands[:, m], by_equation[:, m])
        np.testing.assert_allclose(rule.summands.sum(axis=1), rule.terms.dC0_da)


def test_indices_may_be_the_smallest_integers():
    net = Network((1, 1), params=[1.0, 0.0])
    result = net.backprop(np.arange(300.0)[:, np.newaxis], np.zeros(300))
    one = np.int8
    assert result.chain_rule(one(1), one(0), one(0), one(127)).grad == 127**2
    assert result.chain_rule(1, 0, 0, np.uint8(255)).grad == 255**2


def test_a_sample_has_its_own_terms():
    result = draw_result()
    for layer, k, j in every_weight(SIZES):
        rule = result.chain_rule(layer, k, j)
        for i in range(5):
            one = result.chain_rule(layer, k, j, sample=i)
            for term, of_all in zip(one.terms, rule.terms, strict=True):
                np.testing.assert_allclose(term, of_all[[i]], rtol=1e-14)
            assert one.grad == one.terms.dC0_dw[0]  # neither weight nor penalty


@pytest.mark.parametrize("weighted", [False, True])
def test_means_are_those_of_the_samples_with_their_weights(weighted):
    result = draw_result(weighted=weighted)
    weight = result.sample_weight if weighted else np.ones(5)
    rule = result.chain_rule(1, 2, 3)
    for mean, term in zip(rule.mean, rule.terms, strict=True):
        assert mean == pytest.approx(weight @ term / weight.sum(), rel=1e-13)
    assert rule.penalty == pytest.approx(0.3 * rule.weight / weight.sum())


def test_the_worked_example_has_the_numbers_worked_by_hand(hand_result):
    output = hand_result.chain_rule(2, k=1, j=0, sample=0)
    a, y = by_hand.A2[0][0], by_hand.Y[0][0]
    assert output.terms.dC0_da == pytest.approx([a - y])
    assert output.terms.da_dz == pytest.approx([a * (1 - a)])
    assert output.terms.dz_dw == pytest.approx([by_hand.A1[0][1]])
    assert output.grad == pytest.approx(by_hand.DW2[1][0])
    hidden = hand_result.chain_rule(1, k=1, j=0, sample=0)
    delta = by_hand.DELTA2[0]
    assert hidden.summands == pytest.approx(
        np.array([[0.5 * delta[0], -0.7 * delta[1]]])
    )
    assert hidden.grad == pytest.approx(by_hand.DW1[1][0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("pair", [("log_loss", "logistic"), ("log_loss", "softmax")])
def test_outputs_beyond_all_slopes_are_told_by_their_error_signal(pair):
    net = Network((1, 2), output_activation=pair[1], loss=pair[0])
    net.params_ = [800.0, -800.0, 0.0, 0.0]
    result = net.backprop([[1.0], [0.5]], [[0.0, 1.0], [1.0, 0.0]])
    assert repr(result.chain_rule(1, 0, 0, sample=0)).splitlines()[1:] == [
        "dC_0/dw^1_jk = dC_0/dz^1_j · dz^1_j/dw^1_jk",
        "             = 1 · 1",
        "             = 1",
    ]
    assert result.chain_rule(1, 0, 0).grad == result.coef_grads[0][0, 0]
    assert repr(result.chain_rule(1, 0, 0)).endswith(f"= {result.coef_grads[0][0, 0]}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_saturated_outputs_leave_every_factor_finite(dtype):
    net = Network((1, 1), output_activation="logistic", loss="log_loss", dtype=dtype)
    net.params_ = [100.0, 0.0]
    rule = net.backprop([[1.0], [-1.0]], [0.0, 1.0]).chain_rule(1, 0, 0)
    assert all(np.isfinite(term).all() for term in rule.terms)
    np.testing.assert_allclose(product(rule.terms), [1.0, 1.0], rtol=1e-6)


def test_sparse_samples_have_the_terms_of_dense_ones():
    X = np.array([[0.0, 2.0], [1.0, 0.0], [0.0, 0.0]])
    net = Network((2, 3, 1), activation="tanh", random_state=0)
    dense, sparse = (net.backprop(x, [1.0, 2.0, 3.0]) for x in (X, csr_array(X)))
    for layer, k, j in every_weight((2, 3, 1)):
        ours, theirs = sparse.chain_rule(layer, k, j), dense.chain_rule(layer, k, j)
        for term, expected in zip(ours.terms, theirs.terms, strict=True):
            np.testing.assert_array_equal(term, expected)


# -- refusals --------------------------------------------------------------------

MISSING = {
    "layer 0": ((0, 0, 0, None), IndexError, "layer=0 .* from 1 to 3"),
    "layer above the output": ((4, 0, 0, None), IndexError, "layer=4 .* from 1 to 3"),
    "negative layer": ((-1, 0, 0, None), IndexError, "layer=-1 .* from 1 to 3"),
    "node k": ((2, 4, 0, None), IndexError, "k=4 .*layer 1 go from 0 to 3"),
    "node j": ((2, 0, 2, None), IndexError, "j=2 .*layer 2 go from 0 to 1"),
    "sample": ((1, 0, 0, 5), IndexError, "sample=5 .* from 0 to 4"),
    "no integer": ((1, 0.5, 0, None), TypeError, "k=0.5"),
    "a truth value": ((1, 0, True, None), TypeError, "j=True"),
}


@pytest.mark.parametrize("case", MISSING)
def test_what_does_not_exist_is_refused_with_what_does(case):
    indices, error, message = MISSING[case]
    with pytest.raises(error, match=message):
        draw_result().chain_rule(*indices)


# -- what people read ------------------------------------------------------------


def test_text_is_the_formula_with_the_numbers(hand_result):
    assert repr(hand_result.chain_rule(1, k=1, j=0, sample=0)).splitlines() == [
        "w^1_jk = coefs_[0][1, 0] = 0.6, "
        "node k=1 of layer 0 to node j=0 of layer 1; sample 0",
        "dC_0/dw^1_jk = dC_0/da^1_j · da^1_j/dz^1_j · dz^1_j/dw^1_jk",
        "             = -0.150774 · 0.228784 · 0.5",
        "             = -0.0172474",
        "dC_0/da^1_j = sum_m w^2_mj · delta^2_m",
        "            = 0.5 · (-0.10955) + (-0.7) · 0.137142",
        "            = -0.150774",
    ]


def test_text_of_softmax_has_the_row_of_the_jacobian():
    net = Network((1, 2), output_activation="softmax", loss="log_loss")
    net.params_ = [0.0, 0.0, 0.0, np.log(3)]
    assert repr(net.backprop([[2.0]], [[0, 1]]).chain_rule(1, 0, 0, 0)).splitlines()[
        1:
    ] == [
        "dC_0/dw^1_jk = dC_0/dz^1_j · dz^1_j/dw^1_jk",
        "             = 0.25 · 2",
        "             = 0.5",
        "dC_0/dz^1_j = sum_m dC_0/da^1_m · da^1_m/dz^1_j",
        "            = 0 · 0.1875 + (-1.33333) · (-0.1875)",
        "            = 0.25",
    ]


def test_text_of_all_samples_is_a_table_with_means_and_the_penalty():
    net = Network((1, 1), alpha=4.0, params=[2.0, 0.0])
    rule = net.backprop([[1.0], [3.0]], [1.0, 2.0]).chain_rule(1, 0, 0)
    assert repr(rule).splitlines()[0].endswith("; mean of 2 samples")
    assert repr(rule).splitlines()[1:] == [
        "sample  dC_0/da^1_j  da^1_j/dz^1_j  dz^1_j/dw^1_jk  dC_0/dw^1_jk",
        "0                 1              1               1             1",
        "1                 4              1               3            12",
        "mean            2.5              1               2           6.5",
        "dC/dw^1_jk = mean_i dC_0/dw^1_jk + alpha/S · w^1_jk",
        "           = 6.5 + 4",
        "           = 10.5",
    ]


def test_long_sums_and_tables_are_cut_short_without_losing_the_rest():
    net = Network((1, 1, 10), activation="identity", params=np.ones(22))
    rule = net.backprop(np.ones((20, 1)), np.arange(200).reshape(20, 10))
    one = repr(rule.chain_rule(1, 0, 0, sample=0))
    # a^2 is 3 for y = 0, 1, ..., 9: of the errors 2 and -2 the first is shown.
    shown = "= 1 · 3 + 1 · 2 + 1 · (-3) + 1 · (-4) + 1 · (-5) + 1 · (-6)"
    assert f"{shown} + [4 more: -2]" in one
    assert one.endswith(f"= {np.sum(3.0 - np.arange(10)):g}")
    lines = repr(rule.chain_rule(1, 0, 0)).splitlines()
    assert [line.split()[0] for line in lines[2:12]] == [*"01234567", "…", "mean"]


def test_text_of_weighted_samples_has_their_weighted_mean():
    net = Network((1, 1), params=[2.0, 0.0])
    rule = net.backprop([[1.0], [3.0]], [1.0, 2.0], [3.0, 1.0]).chain_rule(1, 0, 0)
    lines = repr(rule).splitlines()
    assert lines[0].endswith("; weighted mean of 2 samples")
    assert lines[4].split() == ["mean", "1.75", "1", "1.5", "3.75"]


@pytest.mark.parametrize("sample", [None, 0])
@pytest.mark.parametrize("layer", [1, 3])
def test_html_is_well_formed_and_latex_is_balanced(layer, sample):
    rule = draw_result().chain_rule(layer, 0, 0, sample)
    html = rule._repr_html_()
    for entity in ("alpha", "delta", "part", "sum"):
        html = html.replace(f"&{entity};", entity)
    tree = ET.fromstring(html)
    assert len(tree.findall(".//math")) == (1 if sample is None else 2)
    numbers = {node.text for node in tree.iter("mn")}
    assert f"{rule.grad:.6g}" in numbers
    latex = rule._repr_latex_()
    assert latex.startswith("$") and latex.endswith("$")
    assert latex.count("{") == latex.count("}")
    assert latex.count(r"\begin{aligned}") == (1 if sample is None else 2)
    for environment in ("aligned", "gathered"):
        begins = latex.count(rf"\begin{{{environment}}}")
        assert latex.count(rf"\end{{{environment}}}") == begins > 0


def test_latex_writes_powers_of_ten_as_such():
    net = Network((1, 1), params=[0.0, 1e-7])
    latex = net.backprop([[1.0]], [0.0]).chain_rule(1, 0, 0, 0)._repr_latex_()
    assert r"1 \cdot 10^{-7}" in latex
