"""A propagator sums up an epoch: kernels and reference alike, and as NumPy has it."""

from itertools import pairwise, product

import numpy as np
import pytest
from marks import by_design
from problems import (
    ACTIVATIONS,
    PAIRS,
    SOLVERS,
    draw_targets,
    moments_of,
    rates_of,
    varied_alone,
)
from scipy import sparse

from cbp.kernels import propagator as kernels
from cbp.reference import propagator as reference
from cbp.training.solvers import SGD, Adam

pytestmark = pytest.mark.emulated

ISAS = kernels.available_instruction_sets()
NAMES = ("delta_norms", "grad_norms", "update_ratios", "dead_shares")
IMPLEMENTATIONS = [kernels, reference]
#: Rounding grows from step to step: up to 100 of them here.
RTOL = {np.float64: 1e-10, np.float32: 1e-3}
ALPHA = 0.25
RATE = 0.05
#: Layers of less than a vector, of one and of two, filled or not; some are trained
#: transposed.
SIZES = (3, 17, 10, 5, 2)
SPEC = (SIZES, "logistic", "identity", "squared_error")


def draw(seed, sizes, loss="squared_error", output="identity", n=50):
    """params, X, y, weights: representable as float32, held as float64."""
    rng = np.random.default_rng(seed)
    coefs = [rng.normal(size=pair) / np.sqrt(pair[0]) for pair in pairwise(sizes)]
    arrays = (
        np.concatenate(
            [W.ravel() for W in coefs] + [0.5 * rng.normal(size=sum(sizes[1:]))]
        ),
        rng.normal(size=(n, sizes[0])),
        draw_targets(rng, loss, output, (n, sizes[-1])),
        rng.integers(0, 4, size=n) + 0.5,
    )
    return [array.astype(np.float32).astype(np.float64) for array in arrays]


def make(implementation, spec=SPEC, dtype=np.float64):
    propagator = implementation.Propagator(*spec, ALPHA, np.dtype(dtype))
    propagator.use_summary()
    return propagator


def train(propagator, solver, params, X, y, weights, batch_size, seconds=60.0):
    """Summaries of two epochs, each in an order of its own, then what was trained."""
    params = params.copy()
    moments = moments_of(solver, params)
    propagator.use_solver(solver, moments)
    propagator.begin_training(params, X, y, weights, batch_size)
    rng, summaries = np.random.default_rng(3), []
    for _ in range(2):
        order = rng.permutation(X.shape[0]).astype(np.intp)
        propagator.begin_epoch(order, rates_of(RATE, len(order), batch_size))
        while not propagator.advance(seconds):
            pass
        propagator.end_epoch()
        summaries.append(propagator.summary())
    propagator.end_training()
    return summaries, [params, *moments]


def summary_of_loss(propagator, params, X, y, weights):
    propagator.loss_and_grad(params, X, y, weights, np.empty_like(params))
    return propagator.summary()


def assert_same(actual, expected, rtol, context=()):
    for name, ours, theirs in zip(NAMES, actual, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol, err_msg=f"{name} {context}")


def cast(arrays, dtype):
    return [np.array(array, dtype) for array in arrays]


# ---- kernels and reference ---------------------------------------------------------


GRID = [(activation, *pair) for activation, pair in product(ACTIVATIONS, PAIRS)]


@pytest.mark.parametrize(
    ("activation", "loss", "output"), by_design(GRID, varied_alone)
)
def test_kernels_sum_up_as_the_reference(monkeypatch, activation, loss, output):
    spec = ((3, 17, 5, 3), activation, output, loss)
    arrays = draw(1, spec[0], loss, output, 30)

    def results(implementation, dtype):
        propagator, given = make(implementation, spec, dtype), cast(arrays, dtype)
        summary = summary_of_loss(propagator, *given)
        return [summary, *train(propagator, SGD(0.0, False), *given, 12)[0]]

    expected = results(reference, np.float64)
    for dtype, isa in product(RTOL, ISAS):
        monkeypatch.setenv("CBP_ISA", isa)
        for actual, wanted in zip(results(kernels, dtype), expected, strict=True):
            assert_same(actual, wanted, RTOL[dtype], (dtype.__name__, isa))


@pytest.mark.parametrize("batch_size", [1, 8, 50, 1000])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_every_solver_and_batch_is_summed_up(monkeypatch, solver, weighted, batch_size):
    arrays = draw(2, SIZES)
    if not weighted:
        arrays[-1] = None

    def results(implementation, dtype):
        given = [None if array is None else array.astype(dtype) for array in arrays]
        propagator = make(implementation, SPEC, dtype)
        return train(propagator, solver, *given, batch_size)[0]

    expected = results(reference, np.float64)
    for dtype, isa in product(RTOL, ISAS):
        monkeypatch.setenv("CBP_ISA", isa)
        for actual, wanted in zip(results(kernels, dtype), expected, strict=True):
            assert_same(actual, wanted, RTOL[dtype], (dtype.__name__, isa))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_last_batch_without_weight_leaves_the_step_before_it_to_be_told(
    implementation,
):
    params, X, y, _ = draw(4, SIZES, n=8)
    weights = np.array([1.0] * 4 + [0.0] * 4)

    def epoch(order):
        propagator = make(implementation)
        propagator.use_solver(SGD(0.9, True), [np.zeros_like(params)])
        propagator.begin_training(params.copy(), X, y, weights, 4)
        order = np.array(order, np.intp)
        propagator.begin_epoch(order, rates_of(RATE, len(order), 4))
        assert propagator.advance(60.0)
        propagator.end_epoch()
        return propagator.summary()

    first, both = epoch(range(4)), epoch(range(8))
    np.testing.assert_array_equal(both[1:3], first[1:3])
    np.testing.assert_allclose(both[0], np.array(first[0]) / np.sqrt(2), 1e-12)
    assert epoch(range(4, 8)) == ([0.0] * 4, [0.0] * 4, [0.0] * 4, [0.0] * 3)
    assert epoch([]) == ([0.0] * 4, [0.0] * 4, [0.0] * 4, [0.0] * 3)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_only_a_finished_epoch_is_summed_up(implementation):
    params, X, y, _ = draw(5, SIZES, n=4)
    propagator = implementation.Propagator(*SPEC, ALPHA, np.dtype(np.float64))
    with pytest.raises(ValueError, match="use_summary"):
        propagator.summary()
    propagator.use_summary()
    propagator.use_solver(SGD(0.9, True), [np.zeros_like(params)])
    propagator.begin_training(params, X, y, None, 4)
    with pytest.raises(ValueError, match="end_training"):
        propagator.use_summary()
    propagator.begin_epoch(np.arange(4), np.array([RATE]))
    with pytest.raises(ValueError, match="finished epoch"):
        propagator.summary()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_before_an_epoch_has_ended_there_is_nothing_to_tell(implementation):
    params, X, y, weights = draw(15, SIZES, n=8)
    message = "^summary tells of a finished epoch: call use_summary before it begins.$"

    def assert_refuses():
        with pytest.raises(ValueError, match=message):
            propagator.summary()

    propagator = implementation.Propagator(*SPEC, ALPHA, np.dtype(np.float64))
    assert_refuses()
    propagator.loss_and_grad(params, X, y, weights, np.empty_like(params))
    propagator.use_summary()
    assert_refuses()
    once = summary_of_loss(propagator, params, X, y, weights)
    propagator.use_summary()
    assert propagator.summary() == once
    with pytest.raises(ValueError, match="sample_weight"):
        summary_of_loss(propagator, params, X, y, 0 * weights)
    assert_refuses()
    propagator.use_solver(SGD(0.9, True), [np.zeros_like(params)])
    propagator.begin_training(params, X, y, weights, 4)
    propagator.begin_epoch(np.arange(8), np.full(2, RATE))
    assert_refuses()
    propagator.end_epoch()  # as Ctrl-C ends it, before its last batch
    assert_refuses()


# ---- as NumPy has it ---------------------------------------------------------------

MIXED_SIZES = [(5, 1, 33), (33, 1), (17, 3, 65, 4), (2, 100, 10), (2, 30, 10, 26, 5)]


def of_layers(sizes, flat):
    """The coefs of each layer in a flat vector, then the intercepts of each."""
    lengths = [n_in * n_out for n_in, n_out in pairwise(sizes)] + [*sizes[1:-1]]
    parts = np.split(flat, np.cumsum(lengths))
    return parts[: len(sizes) - 1], parts[len(sizes) - 1 :]


@pytest.mark.parametrize("sizes", MIXED_SIZES)
def test_batches_of_many_blocks_are_summed_up_as_a_whole(monkeypatch, sizes):
    spec = (sizes, "relu", "identity", "squared_error")
    params, X, y, weights = draw(6, sizes, n=1200)
    for isa in ISAS:
        monkeypatch.setenv("CBP_ISA", isa)
        propagator = make(kernels, spec)
        a, delta = ([np.empty((1200, n)) for n in sizes[1:]] for _ in range(2))
        others = np.empty(1200), [np.empty_like(a_l) for a_l in a]
        propagator.inspect(params, X, y, *others, a, delta, np.empty_like(X))
        (delta_norms, grad_norms, ratios, dead_shares), *_ = train(
            propagator, SGD(0.0, False), params, X, y, weights, 1200
        )[0]

        weighted = [weights[:, np.newaxis] * delta_l for delta_l in delta]
        expected = [np.sqrt(np.mean(delta_l**2)) for delta_l in weighted]
        np.testing.assert_allclose(delta_norms, expected, 1e-12)
        S = weights.sum()
        expected = [
            np.hypot(
                np.linalg.norm(a_below.T @ delta_l), np.linalg.norm(delta_l.sum(axis=0))
            )
            / S
            for a_below, delta_l in zip([X, *a[:-1]], weighted, strict=True)
        ]
        np.testing.assert_allclose(grad_norms, expected, 1e-10)
        expected = [np.mean(~(a_l > 0).any(axis=0)) for a_l in a[:-1]]
        assert dead_shares == expected
        coefs, _ = of_layers(sizes, params)
        below = [X, *a[:-1]]
        for W, ratio, *of_gradient in zip(coefs, ratios, below, weighted, strict=True):
            gradient = (of_gradient[0].T @ of_gradient[1]).ravel() + ALPHA * W
            change = RATE * np.linalg.norm(gradient) / S
            assert ratio == pytest.approx(change / np.linalg.norm(W), rel=1e-8)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("width", [1, 3, 5, 17, 40])
def test_nodes_that_never_fire_are_dead(monkeypatch, isa, dtype, width):
    """Every third node of the first layer has a bias that no input makes up for."""
    monkeypatch.setenv("CBP_ISA", isa)
    sizes = (2, width, 4, 1)
    params = np.abs(draw(7, sizes)[0])
    dead = np.arange(width) % 3 == 0
    bias = params[-sum(sizes[1:]) :]
    bias[:width][dead] = -100.0
    if dead.all():
        bias[width : width + 4] = [-1.0, -1.0, 1.0, 1.0]
    X = np.random.default_rng(8).random((700, 2))
    spec = (sizes, "relu", "identity", "squared_error")
    for batch_size in (50, 700):
        summaries, _ = train(
            make(kernels, spec, dtype),
            SGD(0.0, False),
            *cast([params, X, X[:, :1]], dtype),
            None,
            batch_size,
        )
        first, second = summaries[0][-1]
        assert first == np.mean(dead)
        assert second == (0.5 if dead.all() else 0.0)


def test_one_active_row_in_an_epoch_makes_a_node_alive():
    spec = ((1, 17, 1), "relu", "identity", "squared_error")
    params = np.concatenate([np.ones(17), np.ones(17), np.full(17, -5.0), [0.0]])
    X = np.zeros((700, 1))
    for row in (0, 3, 350, 699):
        X[row] = 10.0
        alive = train(make(kernels, spec), SGD(0.0, False), params, X, X, None, 200)
        X[row] = 0.0
        assert alive[0][0][-1] == [0.0]
    dead = train(make(kernels, spec), SGD(0.0, False), params, X, X, None, 200)
    assert dead[0][0][-1] == [1.0]


@pytest.mark.parametrize("isa", ISAS)
def test_error_signals_whose_squares_underflow_are_seen(monkeypatch, isa):
    """In float32 the square of 1e-25 is 0."""
    monkeypatch.setenv("CBP_ISA", isa)
    spec = ((3, 5, 17, 5, 2), "tanh", "identity", "squared_error")
    params, X, y, weights = draw(9, spec[0])
    coefs, _ = of_layers(spec[0], params)
    for W in coefs[1:]:
        W *= 1e-9
    params = params.astype(np.float32).astype(np.float64)
    exact, rounded = (
        summary_of_loss(make(kernels, spec, d), *cast([params, X, y, weights], d))
        for d in (np.float64, np.float32)
    )
    assert 1e-30 < exact[0][0] < 1e-24
    assert exact[1][0] < 1e-24
    assert_same(rounded, exact, 1e-4)


@pytest.mark.parametrize("isa", ISAS)
def test_float64_sees_error_signals_down_to_1e_150(monkeypatch, isa):
    monkeypatch.setenv("CBP_ISA", isa)
    sizes = (3, 5, 17, 2)
    spec = (sizes, "identity", "identity", "squared_error")
    params, X, y, weights = draw(16, sizes)
    coefs, _ = of_layers(sizes, params)
    for W in coefs[1:]:
        W *= 1e-75
    actual, expected = (
        summary_of_loss(make(implementation, spec), params, X, y, weights)
        for implementation in IMPLEMENTATIONS
    )
    assert 1e-151 < actual[0][0] < 1e-148
    assert_same(actual, expected, RTOL[np.float64])


# ---- the same bits -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_what_is_trained_is_bitwise_the_same_with_a_summary(solver, dtype):
    arrays = cast(draw(10, SIZES, n=700), dtype)
    for batch_size in (64, 700):
        watched = train(make(kernels, SPEC, dtype), solver, *arrays, batch_size)[1]
        unwatched = train(WithoutSummary(dtype), solver, *arrays, batch_size)[1]
        for one, other in zip(watched, unwatched, strict=True):
            assert one.tobytes() == other.tobytes()


class WithoutSummary:
    """A propagator that nobody has asked for summaries."""

    def __init__(self, dtype):
        self.propagator = kernels.Propagator(*SPEC, ALPHA, np.dtype(dtype))

    def __getattr__(self, name):
        return getattr(self.propagator, name)

    def summary(self):
        return None


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("sizes", [(30, 70, 41, 3), (3, 17, 10, 5, 2)])
def test_any_number_of_threads_and_of_calls_sums_up_to_the_same_bits(
    monkeypatch, isa, dtype, sizes
):
    monkeypatch.setenv("CBP_ISA", isa)
    spec = (sizes, "relu", "identity", "squared_error")
    arrays = cast(draw(11, sizes, n=900), dtype)

    def results(n_threads, seconds):
        propagator = make(kernels, spec, dtype)
        propagator.use_threads(n_threads, 0.0)
        loss = summary_of_loss(propagator, *arrays)
        return loss, train(propagator, Adam(), *arrays, 400, seconds)[0]

    alone = results(1, 60.0)
    for n_threads, seconds in [(1, 0.0), (2, 60.0), (3, 0.0), (5, 60.0)]:
        assert results(n_threads, seconds) == alone


@pytest.mark.parametrize("dtype", RTOL)
def test_sparse_X_and_codes_of_classes_sum_up_to_the_bits_of_dense_ones(dtype):
    sizes = (40, 37, 12, 4)
    spec = (sizes, "relu", "softmax", "log_loss")
    params, X, y, weights = draw(12, sizes, "log_loss", "softmax", 300)
    X *= np.random.default_rng(13).random(X.shape) < 0.2
    params, X, y, weights = cast([params, X, y, weights], dtype)
    codes = y.argmax(axis=1).astype(np.int32)
    propagator = make(kernels, spec, dtype)
    dense = train(propagator, Adam(), params, X, y, weights, 120)[0]
    for given in (X, sparse.csr_array(X)):
        assert train(propagator, Adam(), params, given, codes, weights, 120)[0] == dense


def test_summaries_begin_anew_with_each_epoch_and_call():
    arrays = draw(14, SIZES)
    propagator = make(kernels)
    once = summary_of_loss(propagator, *arrays)
    train(propagator, Adam(), *arrays, 7)
    propagator.forward(*arrays[:2], np.empty_like(arrays[2]))
    assert summary_of_loss(propagator, *arrays) == once
    assert once[2] == [0.0] * 4  # no step
