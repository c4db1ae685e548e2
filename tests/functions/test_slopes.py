"""The slopes of records over arrays, against their scalars, differences and limits."""

import math
from functools import partial

import numpy as np
import pytest
from problems import (
    OUTPUT_ACTIVATIONS,
    PAIRS,
    activated,
    central_difference,
    derivative,
    draw_targets,
)

from cbp.functions.activations import OUTPUT_ACTIVATIONS as RECORDS
from cbp.functions.activations import Softmax
from cbp.functions.losses import LOSSES

ELEMENTWISE = [name for name, g in RECORDS.items() if not g.couples]

softmax_row = Softmax().jacobian_row


def activation_slopes(name, z):
    return RECORDS[name]().slopes(z)


def loss_slopes(loss, output, z, a, y):
    return LOSSES[loss]().slopes(RECORDS[output](), z, a, y)


#: C_0 of one output as textbooks write it, from a alone.
TEXTBOOK = {
    ("squared_error", None): lambda a, y: (a - y) ** 2 / 2,
    ("sum_of_squares", None): lambda a, y: (a - y) ** 2,
    ("log_loss", "softmax"): lambda a, y: -y * math.log(a),
    ("log_loss", "logistic"): lambda a, y: -math.log(a if y else 1 - a),
    ("poisson", "exp"): lambda a, y: (y * math.log(y / a) if y else 0) - y + a,
}


@pytest.mark.parametrize("activation", ELEMENTWISE)
def test_slopes_of_arrays_are_those_of_numbers(activation):
    # Farther out 1 - a^2 of one number has lost digits.
    z = np.linspace(-3, 3, 25).reshape(5, 5)
    expected = derivative(activation, z)
    np.testing.assert_allclose(activation_slopes(activation, z), expected, rtol=1e-12)


def test_slopes_of_saturated_nodes_keep_their_digits():
    # sigma'(40) is e^-40, where sigma has long been rounded to 1.
    z = np.array([[40.0, -40.0]])
    slopes = activation_slopes("logistic", z)
    np.testing.assert_allclose(slopes, math.exp(-40), rtol=1e-12)
    assert activation_slopes("tanh", z)[0, 0] == pytest.approx(4 * math.exp(-80))
    row = softmax_row(np.array([[40.0, 0.0, 0.0]]), 0)
    np.testing.assert_allclose(row, np.array([[2, -1, -1]]) * math.exp(-40), rtol=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("activation", OUTPUT_ACTIVATIONS)
def test_slopes_of_huge_weighted_inputs_are_limits_without_warnings(activation):
    z = np.array([[1e4, -1e4]], np.float32)
    if activation == "exp":
        expected = [np.inf, 0]
    else:  # straight out there: the slope is what two points have
        farther = activated(activation, 2 * z.T)  # softmax: of one node by itself
        expected = ((farther - activated(activation, z.T)) / z.T).ravel()
    slopes = activation_slopes(activation, z)
    np.testing.assert_allclose(slopes, [expected], rtol=1e-12, atol=0)


def test_rows_of_the_jacobian_are_the_slopes_of_softmax():
    z = np.random.default_rng(0).normal(size=(1, 4))
    for j in range(4):
        slopes = central_difference(
            lambda there: activated("softmax", there), z, (0, j), 1e-3
        )
        np.testing.assert_allclose(softmax_row(z, j), slopes, rtol=1e-9, atol=1e-12)
        assert activation_slopes("softmax", z)[0, j] == softmax_row(z, j)[0, j]


@pytest.mark.parametrize("loss, output", PAIRS)
def test_loss_slopes_are_the_slopes_of_the_textbook_loss(loss, output):
    rng = np.random.default_rng(0)
    own = partial(LOSSES[loss]().of_output, None)  # of a loss that no textbook has
    C_0 = TEXTBOOK.get((loss, output)) or TEXTBOOK.get((loss, None), own)
    z, y = rng.normal(size=(6, 3)), draw_targets(rng, loss, output, (6, 3))
    a = activated(output, z)
    slopes = loss_slopes(loss, output, z, a, y)
    for index in np.ndindex(a.shape):
        of_one = partial(C_0, y=y[index])
        slope = central_difference(
            lambda a, f=of_one: f(a[0]), np.array([a[index]]), 0, 1e-4
        )
        assert slopes[index] == pytest.approx(slope, rel=1e-7, abs=1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "loss, output", [p for p in PAIRS if p[0] in ("log_loss", "poisson")]
)
def test_loss_slopes_stay_finite_where_the_outputs_are_rounded(loss, output):
    z = np.array([[60.0, -60.0]])
    a = activated(output, z)
    assert not np.isfinite(loss_slopes(loss, output, -20 * z, a, np.ones_like(z))).all()
    for y in ([[1.0, 0.0]], [[0.0, 1.0]]):
        y = np.array(y)
        slopes = loss_slopes(loss, output, z, a, y)
        assert np.isfinite(slopes).all()
        if output == "softmax":
            delta = (slopes * softmax_row(z, 0)).sum(axis=1)
        else:
            delta = (slopes * activation_slopes(output, z))[:, 0]
        np.testing.assert_allclose(delta, (a - y)[:, 0], rtol=1e-12, atol=1e-25)
