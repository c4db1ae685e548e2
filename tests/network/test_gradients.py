"""The gradients of `Network` against differences of its losses, and their symmetries.

4th-order central differences through the whole loss (every function, depth 0 to 3,
penalty and sample weights), then what must hold of any such gradient: weights count
rows, rows may come in any order and number, hidden nodes have no order.
"""

import itertools

import numpy as np
import pytest
from marks import by_design
from problems import (
    ACTIVATIONS,
    PAIRS,
    central_difference,
    distance_from_kinks,
    draw_targets,
    varied_alone,
)

from cbp import Network

pytestmark = pytest.mark.emulated

SEED = 0

#: The quotient is off by STEP^4/30 of the 5th derivative, some 1e-17, and by the
#: rounding of the losses over STEP, some 1e-12 of their size. RTOL leaves room for a
#: 5th derivative far larger than the first; ATOL, times the size of the losses, is for
#: entries so small that the rounding is all there is to see of them.
STEP, RTOL, ATOL = 2.0**-13, 5e-6, 1e-10
#: Every z is farther than KINK from the kinks of its layer, every hidden a below
#: LARGEST_HIDDEN: with weights below 1 and the widths below, two steps in any one
#: parameter or input move no z by as much as KINK.
KINK, LARGEST_HIDDEN = 1e-2, 5.0
#: A bound on z^L: differences of a huge e^z lose the digits that they are to check.
LARGEST_OUTPUT = 3.0
#: Two gradients with their sums in another order, relative to the largest entry.
ROUNDING = 1e-12


def fit_for_differences(net, result):
    """No kink within reach, outputs of moderate size, an error in every layer."""
    L = len(net.coefs_)
    functions = [*[net.activation] * (L - 1), net.output_activation]
    return (
        all(
            distance_from_kinks(g, z) > KINK
            for g, z in zip(functions, result.z[1:], strict=True)
        )
        and all(np.abs(a).max() < LARGEST_HIDDEN for a in result.a[1:L])
        and np.abs(result.z[L]).max() < LARGEST_OUTPUT
        and all(delta.any() for delta in result.delta[1:])
    )


def draw_problem(activation, loss, output, depth, *, alpha=0.3, n=4):
    """A network, X, y and weights, drawn until they are fit for differences."""
    case = ACTIVATIONS.index(activation), PAIRS.index((loss, output)), depth
    rng = np.random.default_rng([SEED, *case])
    net = Network(
        (3, *(4, 2, 3)[:depth], 2),
        activation=activation,
        output_activation=output,
        loss=loss,
        alpha=alpha,
        random_state=SEED,
    )
    for _ in range(10_000):
        net.params_[:] = rng.uniform(-1, 1, net.params_.size)
        X = rng.uniform(-2, 2, (n, 3))
        y = draw_targets(rng, loss, output, (n, 2))
        weight = rng.uniform(0.5, 2, n)
        weight[1] = 0
        if fit_for_differences(net, net.backprop(X, y, weight)):
            return net, X, y, weight
    raise AssertionError("No draw is fit for differences: are all results finite?")


# -- differences -----------------------------------------------------------------

#: Without a hidden layer its activation has no say.
GRID = [
    (activation, loss, output, depth)
    for activation, (loss, output), depth in itertools.product(
        ACTIVATIONS, PAIRS, range(4)
    )
    if depth or activation == ACTIVATIONS[0]
]


def usual(activation, loss, output, depth):
    """Every activation below every loss; at the other depths each function once."""
    return varied_alone(activation, loss, output) or depth < 2


GRID = by_design(GRID, usual, quick=lambda *case: case[-1] == 1)


@pytest.mark.parametrize(("activation", "loss", "output", "depth"), GRID)
def test_gradient_is_the_slope_of_the_whole_loss(activation, loss, output, depth):
    net, X, y, weight = draw_problem(activation, loss, output, depth)
    C, gradient = net.loss_and_grad(X, y, weight)
    slopes = [
        central_difference(
            lambda params: net.loss_and_grad(X, y, weight, params=params)[0],
            net.params_,
            i,
            STEP,
        )
        for i in range(net.params_.size)
    ]
    atol = ATOL * max(1, C)
    np.testing.assert_allclose(gradient, slopes, rtol=RTOL, atol=atol)


@pytest.mark.parametrize(("activation", "loss", "output", "depth"), GRID)
def test_input_grads_are_the_slopes_of_the_sample_losses(
    activation, loss, output, depth
):
    net, X, y, weight = draw_problem(activation, loss, output, depth)
    result = net.backprop(X, y, weight)
    # A column of X moves the loss of each sample by itself: all rows at once.
    slopes = [
        central_difference(
            lambda there: net.backprop(there, y, weight).sample_losses,
            X,
            (slice(None), k),
            STEP,
        )
        for k in range(X.shape[1])
    ]
    atol = ATOL * max(1, result.sample_losses.max())
    np.testing.assert_allclose(
        result.input_grads, np.transpose(slopes), rtol=RTOL, atol=atol
    )


# -- symmetries ------------------------------------------------------------------


def assert_close(computed, expected):
    atol = ROUNDING * np.abs(expected).max()
    np.testing.assert_allclose(computed, expected, rtol=ROUNDING, atol=atol)


def assert_same_loss_and_gradient(given, expected):
    assert given[0] == pytest.approx(expected[0], rel=ROUNDING)
    assert_close(given[1], expected[1])


@pytest.fixture(params=PAIRS, ids="-".join)
def problem(request):
    return draw_problem("tanh", *request.param, 2, n=6)


def test_row_given_twice_equals_weight_two(problem):
    net, X, y, weight = problem
    twice = [0, 0, 1, 2, 3, 4, 5, 5]
    doubled = weight * [2, 1, 1, 1, 1, 2]
    assert_same_loss_and_gradient(
        net.loss_and_grad(X[twice], y[twice], weight[twice]),
        net.loss_and_grad(X, y, doubled),
    )
    assert_same_loss_and_gradient(
        net.loss_and_grad(X[twice], y[twice]),
        net.loss_and_grad(X, y, [2, 1, 1, 1, 1, 2]),
    )


def test_weight_zero_equals_leaving_the_row_out(problem):
    net, X, y, weight = problem
    kept = [0, 2, 3, 5]
    weight[[1, 4]] = 0
    assert_same_loss_and_gradient(
        net.loss_and_grad(X, y, weight),
        net.loss_and_grad(X[kept], y[kept], weight[kept]),
    )


def test_weights_of_one_equal_no_weights(problem):
    net, X, y, _ = problem
    assert_same_loss_and_gradient(
        net.loss_and_grad(X, y, np.ones(6)), net.loss_and_grad(X, y)
    )


def test_order_of_the_rows_does_not_matter(problem):
    net, X, y, weight = problem
    order = np.random.default_rng(SEED).permutation(6)
    assert_same_loss_and_gradient(
        net.loss_and_grad(X[order], y[order], weight[order]),
        net.loss_and_grad(X, y, weight),
    )


@pytest.mark.parametrize("pair", PAIRS)
def test_weighted_sums_of_loss_and_gradient_are_linear_in_the_weights(pair):
    net, X, y, u = draw_problem("tanh", *pair, 2, alpha=0.0, n=6)
    v = np.random.default_rng(SEED).uniform(0.5, 2, 6)

    def sums(weight):
        loss, gradient = net.loss_and_grad(X, y, weight)
        return loss * weight.sum(), gradient * weight.sum()

    (loss_u, gradient_u), (loss_v, gradient_v) = sums(u), sums(v)
    expected = 3 * loss_u + 0.5 * loss_v, 3 * gradient_u + 0.5 * gradient_v
    assert_same_loss_and_gradient(sums(3 * u + 0.5 * v), expected)


@pytest.mark.parametrize("n", [31, 257, 1500])
@pytest.mark.parametrize("weighted", [False, True])
def test_many_rows_are_the_mean_of_their_parts(weighted, n):
    # More rows than the kernels work off at a time, and a penalty for each part.
    net = Network((3, 17, 5, 2), alpha=0.3, random_state=SEED)
    rng = np.random.default_rng([SEED, n])
    X, y = rng.normal(size=(n, 3)), rng.normal(size=(n, 2))
    weight = rng.uniform(0.5, 2, n) if weighted else np.ones(n)
    parts = [slice(start, start + 30) for start in range(0, n, 30)]
    penalty = net.alpha / 2 * sum((W**2).sum() for W in net.coefs_)
    shrinkage = np.concatenate(
        [net.alpha * W.ravel() for W in net.coefs_] + [0 * b for b in net.intercepts_]
    )

    def sums(rows):
        w = weight[rows] if weighted else None
        loss, gradient = net.loss_and_grad(X[rows], y[rows], w)
        S = weight[rows].sum()
        return loss * S - penalty, gradient * S - shrinkage

    losses, gradients = zip(*map(sums, parts), strict=True)
    assert_same_loss_and_gradient(sums(slice(None)), (sum(losses), sum(gradients)))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("pair", PAIRS)
def test_hidden_nodes_may_be_numbered_in_any_order(pair, activation):
    net, X, y, weight = draw_problem(activation, *pair, 3)
    permuted = draw_problem(activation, *pair, 3)[0]
    rng = np.random.default_rng(SEED)
    orders = [rng.permutation(n) for n in net.layer_sizes[1:-1]]
    orders = [slice(None), *orders, slice(None)]

    def renumbered(coefs, intercepts):
        for (k, j), W, b in zip(
            itertools.pairwise(orders), coefs, intercepts, strict=True
        ):
            yield W[k][:, j], b[j]

    weights = list(renumbered(net.coefs_, net.intercepts_))
    permuted.set_weights(*zip(*weights, strict=True))
    result, expected = net.backprop(X, y, weight), permuted.backprop(X, y, weight)

    assert result.loss == pytest.approx(expected.loss, rel=ROUNDING)
    moved = renumbered(result.coef_grads, result.intercept_grads)
    for (dW, db), dW_permuted, db_permuted in zip(
        moved, expected.coef_grads, expected.intercept_grads, strict=True
    ):
        assert_close(dW, dW_permuted)
        assert_close(db, db_permuted)
    assert_close(result.input_grads, expected.input_grads)
