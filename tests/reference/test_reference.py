"""The reference implementation against numbers that do not come from it.

By hand (one network, the first updates of each solver), by finite differences (every
function and every depth), and by the rules of IEEE 754 where numbers end.
"""

import itertools

import numpy as np
import pytest
import worked_example as worked
from marks import by_design
from problems import (
    ACTIVATIONS,
    PAIRS,
    SOLVERS,
    USUAL_ACTIVATION,
    central_difference,
    distance_from_kinks,
    draw_targets,
    moments_of,
    n_params,
    rates_of,
    varied_alone,
)

from cbp.reference.propagator import Propagator
from cbp.training.solvers import SGD, Adam

SEED = 0
#: Step of the finite differences, and a distance from a kink that none crosses.
STEP, KINK = 1e-4, 1e-2
#: A bound on z^L: differences of a huge e^z lose the digits that they are to check.
LARGEST_OUTPUT = 3.0


def inspect(propagator, layer_sizes, params, X, y):
    """(sample_losses, z, a, delta, input_grads) in new arrays."""
    n = len(X)
    z, a, delta = (
        [np.full((n, n_l), np.nan, X.dtype) for n_l in layer_sizes[1:]]
        for _ in range(3)
    )
    losses, input_grads = np.full(n, np.nan, X.dtype), np.full(X.shape, np.nan, X.dtype)
    propagator.inspect(params, X, y, losses, z, a, delta, input_grads)
    return losses, z, a, delta, input_grads


def draw_problem(activation, loss, output, depth):
    """A propagator, its sizes, and params, X, y and weights fit for differences."""
    rng = np.random.default_rng([SEED, depth, PAIRS.index((loss, output))])
    sizes = (3, *(4, 2, 3)[:depth], 2)
    propagator = Propagator(sizes, activation, output, loss, 0.3, np.float64)
    while True:
        params = rng.uniform(-1, 1, n_params(sizes))
        X = rng.normal(size=(3, 3))
        y = draw_targets(rng, loss, output, (3, 2))
        z = inspect(propagator, sizes, params, X, y)[1]
        functions = [*[activation] * depth, output]
        if np.abs(z[-1]).max() < LARGEST_OUTPUT and all(
            distance_from_kinks(g, z_l) > KINK
            for g, z_l in zip(functions, z, strict=True)
        ):
            return propagator, sizes, params, X, y, rng.uniform(0.5, 2, 3)


# ------------------------------------------------------------- the equations, by hand


def test_a_2_2_2_network_comes_out_as_worked_by_hand():
    functions = worked.ACTIVATION, worked.OUTPUT_ACTIVATION, worked.LOSS
    p = Propagator(worked.LAYER_SIZES, *functions, 0.0, np.float64)
    params, X, y = np.array(worked.PARAMS), np.array(worked.X), np.array(worked.Y)
    losses, z, a, delta, input_grads = inspect(p, worked.LAYER_SIZES, params, X, y)
    grad, output = np.empty(12), np.empty((1, 2))
    loss = p.loss_and_grad(params, X, y, None, grad)
    p.forward(params, X, output)

    for computed, by_hand in (
        (losses, [worked.C_0]),
        (z[0], worked.Z1),
        (z[1], worked.Z2),
        (a[0], worked.A1),
        (a[1], worked.A2),
        (delta[0], worked.DELTA1),
        (delta[1], worked.DELTA2),
        (input_grads, worked.DX),
        (loss, worked.C_0),
        (grad, worked.GRADIENT),
        (output, worked.A2),
    ):
        np.testing.assert_allclose(computed, by_hand, rtol=1e-12, atol=1e-15)


def test_gradient_is_the_weighted_mean_of_a_delta_plus_the_penalty_over_S():
    p, sizes, params, X, y, weight = draw_problem("tanh", "log_loss", "softmax", 1)
    losses, _, a, delta, _ = inspect(p, sizes, params, X, y)
    grad, S = np.empty_like(params), weight.sum()
    W1, W2 = params[:12].reshape(3, 4), params[12:20].reshape(4, 2)

    loss = p.loss_and_grad(params, X, y, weight, grad)

    squares = (W1**2).sum() + (W2**2).sum()
    assert loss == pytest.approx((weight @ losses + 0.15 * squares) / S, rel=1e-13)
    by_layer = [
        (X.T @ (weight[:, None] * delta[0]) + 0.3 * W1) / S,
        (a[0].T @ (weight[:, None] * delta[1]) + 0.3 * W2) / S,
        weight @ delta[0] / S,
        weight @ delta[1] / S,
    ]
    flat = np.concatenate([part.ravel() for part in by_layer])
    np.testing.assert_allclose(grad, flat, rtol=1e-12, atol=1e-15)


# Binary cross-entropy, cross-entropy and half the Poisson deviance from their
# definitions in a, at z = (1, -2): e^1 = 2.718281828459, e^-2 = 0.135335283237.
@pytest.mark.parametrize(
    ("loss", "output", "y", "expected"),
    [
        ("squared_error", "identity", [3.0, 1.0], (2.0**2 + 3.0**2) / 2),
        ("sum_of_squares", "identity", [3.0, 1.0], 2.0**2 + 3.0**2),
        # -ln 0.731058578630 - ln (1 - 0.119202922022)
        ("log_loss", "logistic", [1.0, 0.0], 0.313261687518223 + 0.126928011042972),
        # -ln (0.135335283237 / 2.853617111696)
        ("log_loss", "softmax", [0.0, 1.0], 3.048587351573742),
        # 3 ln (3 / 2.718281828459) - 3 + 2.718281828459, and 0.135335283237 for y = 0
        ("poisson", "exp", [3.0, 0.0], 0.014118694463374 + 0.135335283236613),
    ],
)
def test_losses_of_one_sample_follow_their_definitions(loss, output, y, expected):
    p = Propagator((1, 2), "relu", output, loss, 0.0, np.float64)
    params = np.array([0.0, 0.0, 1.0, -2.0])
    value = p.loss_and_grad(
        params, np.array([[5.0]]), np.array([y]), None, np.empty_like(params)
    )
    assert value == pytest.approx(expected, rel=1e-12)


# ------------------------------------------------------------- finite differences

#: Without a hidden layer its activation has no say.
GRID = [
    (activation, loss, output, depth)
    for activation, (loss, output), depth in itertools.product(
        ACTIVATIONS, PAIRS, range(4)
    )
    if depth or activation == USUAL_ACTIVATION
]


@pytest.mark.parametrize(
    ("activation", "loss", "output", "depth"), by_design(GRID, varied_alone)
)
def test_gradients_agree_with_finite_differences(activation, loss, output, depth):
    p, sizes, params, X, y, weight = draw_problem(activation, loss, output, depth)
    grad, ignored = np.empty_like(params), np.empty_like(params)
    p.loss_and_grad(params, X, y, weight, grad)
    input_grads = inspect(p, sizes, params, X, y)[-1]

    by_params = [
        central_difference(
            lambda q: p.loss_and_grad(q, X, y, weight, ignored), params, i, STEP
        )
        for i in range(params.size)
    ]
    # A column of X moves the loss of each sample by itself: all rows at once.
    by_inputs = [
        central_difference(
            lambda there: inspect(p, sizes, params, there, y)[0],
            X,
            (slice(None), k),
            STEP,
        )
        for k in range(X.shape[1])
    ]
    np.testing.assert_allclose(grad, by_params, rtol=5e-6, atol=1e-10)
    np.testing.assert_allclose(input_grads.T, by_inputs, rtol=5e-6, atol=1e-10)


# ------------------------------------------------------------- solvers

# z = w x + b with squared error: dC/dw = (w x + b - y) x, dC/db = w x + b - y.
LINE = ((1, 1), "identity", "identity", "squared_error")
LINE_X = np.array([[2.0], [-1.0]])
LINE_Y = np.array([[1.0], [0.5]])
RATE = 0.1


def line_gradient(params, i):
    error = params[0] * LINE_X[i, 0] + params[1] - LINE_Y[i, 0]
    return np.array([error * LINE_X[i, 0], error])


def run_epoch(p, params, X, y, weight=None, order=None, batch_size=1):
    order = np.arange(len(X)) if order is None else np.array(order, np.intp)
    p.begin_training(params, X, y, weight, batch_size)
    p.begin_epoch(order, rates_of(RATE, len(order), batch_size))
    while not p.advance(0.0):
        pass
    loss, steps = p.end_epoch()
    p.end_training()
    return loss, steps


@pytest.mark.parametrize(
    ("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)]
)
def test_first_two_steps_of_sgd_follow_the_formulas(momentum, nesterov):
    start, lr = np.array([0.5, -0.2]), RATE
    g1 = line_gradient(start, 0)
    velocity1 = -lr * g1
    first = start + (momentum * velocity1 - lr * g1 if nesterov else velocity1)
    g2 = line_gradient(first, 1)
    velocity2 = momentum * velocity1 - lr * g2
    second = first + (momentum * velocity2 - lr * g2 if nesterov else velocity2)

    p = Propagator(*LINE, 0.0, np.float64)
    params, velocity = start.copy(), np.zeros(2)
    p.use_solver(SGD(momentum, nesterov), [velocity])
    _, steps = run_epoch(p, params, LINE_X, LINE_Y)

    assert steps == 2
    np.testing.assert_allclose(params, second, rtol=1e-14)
    np.testing.assert_allclose(velocity, velocity2, rtol=1e-14)


def test_first_two_steps_of_adam_follow_the_formulas():
    start, lr, beta_1, beta_2, epsilon = np.array([0.5, -0.2]), RATE, 0.9, 0.99, 1e-3
    g1 = line_gradient(start, 0)
    m1, v1 = 0.1 * g1, 0.01 * g1**2
    first = start - lr * np.sqrt(0.01) / 0.1 * m1 / (np.sqrt(v1) + epsilon)
    g2 = line_gradient(first, 1)
    m2, v2 = 0.9 * m1 + 0.1 * g2, 0.99 * v1 + 0.01 * g2**2
    rate2 = lr * np.sqrt(1 - 0.99**2) / (1 - 0.9**2)
    second = first - rate2 * m2 / (np.sqrt(v2) + epsilon)

    p = Propagator(*LINE, 0.0, np.float64)
    params, m, v = start.copy(), np.zeros(2), np.zeros(2)
    p.use_solver(Adam(beta_1, beta_2, epsilon), [m, v])
    _, steps = run_epoch(p, params, LINE_X, LINE_Y)

    assert steps == 2
    np.testing.assert_allclose(params, second, rtol=1e-13)
    np.testing.assert_allclose(m, m2, rtol=1e-13)
    np.testing.assert_allclose(v, v2, rtol=1e-13)


def start_training(solver):
    """A propagator with a new solver, params and moments: each time the same."""
    p, _, params, *_ = draw_problem("tanh", "squared_error", "identity", 1)
    moments = moments_of(SOLVERS[solver], params)
    p.use_solver(SOLVERS[solver], moments)
    return p, params, moments


def draw_rows(n):
    rng = np.random.default_rng([SEED, n])
    return rng.normal(size=(n, 3)), rng.normal(size=(n, 2)), rng.uniform(0.5, 2, n)


@pytest.mark.parametrize("solver", SOLVERS)
def test_epoch_loss_weighs_batches_by_rows_and_precedes_their_updates(solver):
    X, y, weight = draw_rows(7)
    # Three batches in one epoch beside three epochs of one batch.
    p, params, _ = start_training(solver)
    loss, steps = run_epoch(p, params, X, y, weight, [6, 2, 4, 0, 5, 1, 3], 3)

    q, apart, moments = start_training(solver)
    expected = 0.0
    for t, rows in enumerate(([6, 2, 4], [0, 5, 1], [3])):
        batch = X[rows], y[rows], weight[rows]
        batch_loss = q.loss_and_grad(apart, *batch, np.empty_like(apart))
        expected += batch_loss * len(rows) / 7
        q.use_solver(SOLVERS[solver], moments, t)
        run_epoch(q, apart, X, y, weight, rows, 3)

    assert steps == 3
    assert loss == pytest.approx(expected, rel=1e-13)
    np.testing.assert_array_equal(params, apart)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_batch_of_zero_weight_is_left_out(solver):
    X, y, weight = draw_rows(6)
    weight[[2, 3]] = 0.0
    p, params, moments = start_training(solver)
    loss, steps = run_epoch(p, params, X, y, weight, range(6), 2)

    q, params_without, moments_without = start_training(solver)
    loss_without, _ = run_epoch(q, params_without, X, y, weight, [0, 1, 4, 5], 2)

    assert steps == 2
    assert loss == pytest.approx(loss_without, rel=1e-13)
    np.testing.assert_array_equal(params, params_without)
    np.testing.assert_array_equal(moments, moments_without)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_solver_goes_on_from_the_steps_it_is_told(solver):
    X, y, _ = draw_rows(7)
    p, params, moments = start_training(solver)
    p.use_solver(SOLVERS[solver], moments, 5)
    assert run_epoch(p, params, X, y, batch_size=3)[1] == 8


def test_each_training_is_told_its_solver():
    X, y, _ = draw_rows(7)
    p, params, _ = start_training(repr(SGD()))
    run_epoch(p, params, X, y)
    with pytest.raises(ValueError, match="use_solver"):
        run_epoch(p, params, X, y)


@pytest.mark.parametrize("solver", SOLVERS)
def test_nothing_is_written_before_the_end_which_keeps_the_finished_batches(solver):
    X, y, _ = draw_rows(7)
    p, params, moments = start_training(solver)
    before = params.copy()
    p.begin_training(params, X, y, None, 3)
    p.begin_epoch(np.arange(7), rates_of(RATE, 7, 3))
    assert p.advance(0.0) is False
    loss, steps = p.end_epoch()
    np.testing.assert_array_equal(params, before)
    assert not np.any(moments)
    p.end_training()

    q, after_one, _ = start_training(solver)
    loss_of_one, _ = run_epoch(q, after_one, X, y, None, [0, 1, 2], 3)

    assert steps == 1
    assert loss == pytest.approx(loss_of_one, rel=1e-13)
    np.testing.assert_array_equal(params, after_one)


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_epoch_does_not_depend_on_where_advance_pauses(solver):
    X, y, _ = draw_rows(7)
    p, params, _ = start_training(solver)
    with_pauses = run_epoch(p, params, X, y, batch_size=2)

    q, at_once, _ = start_training(solver)
    q.begin_training(at_once, X, y, None, 2)
    q.begin_epoch(np.arange(7), rates_of(RATE, 7, 2))
    assert q.advance(60.0) is True

    assert q.end_epoch() == with_pauses
    q.end_training()
    np.testing.assert_array_equal(params, at_once)


# ------------------------------------------------------------- numbers at their limits


@pytest.mark.parametrize(
    ("activation", "loss", "output"),
    by_design([case[:-1] for case in GRID if case[-1] == 1], varied_alone),
)
def test_nan_in_one_sample_reaches_its_results_and_no_others(activation, loss, output):
    sizes = (1, 2, 2)
    p = Propagator(sizes, activation, output, loss, 0.0, np.float64)
    params = np.random.default_rng(SEED).uniform(0.1, 1.0, n_params(sizes))
    X, y = np.array([[1.0], [np.nan], [2.0]]), np.tile([0.0, 1.0], (3, 1))

    losses, z, a, delta, _ = inspect(p, sizes, params, X, y)

    for out in (losses[:, None], *z, *a, delta[-1]):
        assert np.isnan(out[1]).all()
        assert np.isfinite(out[[0, 2]]).all()


@pytest.mark.parametrize(
    ("loss", "output", "z", "y", "expected_loss", "expected_a"),
    [
        ("log_loss", "logistic", [800.0], [0.0], 800.0, [1.0]),
        ("log_loss", "logistic", [-800.0], [1.0], 800.0, [0.0]),
        ("log_loss", "softmax", [900.0, -900.0], [0.0, 1.0], 1800.0, [1.0, 0.0]),
        ("log_loss", "softmax", [900.0, 900.0], [0.0, 1.0], np.log(2), [0.5, 0.5]),
        ("poisson", "exp", [800.0], [1.0], np.inf, [np.inf]),
        ("poisson", "exp", [-800.0], [0.0], 0.0, [0.0]),
        ("poisson", "exp", [0.0], [-1.0], np.nan, [1.0]),
        ("squared_error", "tanh", [800.0], [1.0], 0.0, [1.0]),
        ("squared_error", "identity", [1e200], [0.0], np.inf, [1e200]),
    ],
)
def test_large_z_gives_the_limit_and_overflow_gives_inf(
    loss, output, z, y, expected_loss, expected_a
):
    sizes = (1, len(z))
    p = Propagator(sizes, "relu", output, loss, 0.0, np.float64)
    params = np.array([0.0] * len(z) + z)
    losses, _, a, _, _ = inspect(p, sizes, params, np.zeros((1, 1)), np.array([y]))
    np.testing.assert_allclose(losses, [expected_loss], rtol=1e-15)
    np.testing.assert_array_equal(a[0], [expected_a])


@pytest.mark.filterwarnings("error")
def test_float32_is_computed_in_float64_and_rounded_once():
    _, sizes, *arrays = draw_problem("tanh", "squared_error", "exp", 2)
    params, X, y, _ = (array.astype(np.float32) for array in arrays)
    # e^100 has no float32.
    params[-1] = 100.0
    make = ("tanh", "exp", "squared_error", 0.3)
    single, double = (Propagator(sizes, *make, t) for t in (np.float32, np.float64))

    wide = (array.astype(np.float64) for array in (params, X, y))
    expected = inspect(double, sizes, *wide)
    computed = inspect(single, sizes, params, X, y)

    with np.errstate(over="ignore"):
        for out, exact in zip(computed, expected, strict=True):
            for o, e in zip(out, exact, strict=True):
                np.testing.assert_array_equal(o, e.astype(np.float32))
    assert np.isinf(computed[2][-1][:, -1]).all()


# ------------------------------------------------------------- arrays passed in


def test_rows_of_X_may_lie_apart_and_be_read_only():
    p, _, params, X, y, weight = draw_problem("tanh", "squared_error", "identity", 1)
    spread = np.full((6, 5), np.nan)
    spread[::2, :3] = X
    apart = spread[::2, :3]
    apart.flags.writeable = False
    grad, grad_apart = np.empty_like(params), np.empty_like(params)
    loss = p.loss_and_grad(params, X, y, weight, grad)
    assert p.loss_and_grad(params, apart, y, weight, grad_apart) == loss
    np.testing.assert_array_equal(grad_apart, grad)


def test_codes_of_classes_stand_for_indicators():
    sizes, codes = (2, 3, 4), np.array([3, 0, 1, 1, 2], np.int32)
    p = Propagator(sizes, "tanh", "softmax", "log_loss", 0.3, np.float64)
    rng = np.random.default_rng(SEED)
    X, weight = rng.normal(size=(5, 2)), rng.uniform(size=5)

    def results(y):
        params = np.linspace(-1.0, 1.0, n_params(sizes))
        grad, velocity = np.empty_like(params), np.zeros_like(params)
        loss = p.loss_and_grad(params, X, y, weight, grad)
        inspected = inspect(p, sizes, params, X, y)
        p.use_solver(SGD(0.9, True), [velocity])
        p.begin_training(params, X, y, weight, 2)
        p.begin_epoch(np.arange(5)[::-1].copy(), rates_of(RATE, 5, 2))
        assert p.advance(60.0)
        ended = p.end_epoch()
        p.end_training()
        return [loss, grad, *inspected, ended, params, velocity]

    for of_codes, expected in zip(
        results(codes), results(np.eye(4)[codes]), strict=True
    ):
        np.testing.assert_equal(of_codes, expected)


@pytest.mark.parametrize(
    ("loss", "output", "y", "error"),
    [
        ("log_loss", "softmax", np.array([0, 4], np.int32), "codes of classes below 4"),
        ("log_loss", "softmax", np.array([0, -1], np.int32), "codes of classes below"),
        ("log_loss", "softmax", np.array([0, 1, 2], np.int32), "shape"),
        ("log_loss", "softmax", np.array([0, 1]), "y must be a numpy array of int32"),
        ("log_loss", "softmax", np.array([0.0, 1.0]), "array of int32"),
        ("log_loss", "logistic", np.array([0, 1], np.int32), "array of float64"),
        ("squared_error", "softmax", np.array([0, 1], np.int32), "array of float64"),
    ],
)
def test_only_codes_of_classes_stand_for_indicators(loss, output, y, error):
    p = Propagator((2, 4), "tanh", output, loss, 0.0, np.float64)
    params = np.zeros(n_params((2, 4)))
    with pytest.raises((TypeError, ValueError), match=error):
        p.loss_and_grad(params, np.zeros((2, 2)), y, None, np.empty_like(params))


@pytest.mark.parametrize("n_threads", [0, -1])
def test_less_than_one_thread_is_refused(n_threads):
    p, *_ = draw_problem("tanh", "squared_error", "identity", 1)
    p.use_threads(3)
    with pytest.raises(ValueError, match=f"n_threads={n_threads} must be at least 1"):
        p.use_threads(n_threads)


def test_no_rows_give_no_output_and_no_loss():
    p, _, params, X, y, _ = draw_problem("tanh", "squared_error", "identity", 1)
    p.forward(params, X[:0], np.empty((0, 2)))
    with pytest.raises(ValueError, match="sample_weight must have a positive sum"):
        p.loss_and_grad(params, X[:0], y[:0], None, np.empty_like(params))
