"""The compiled kernels give what the equations in cbp.reference give.

Inputs are drawn as float32 numbers, so that one result of the reference serves both
dtypes. Errors are measured against the largest entry of an array: an entry that is
zero but for rounding has no relative error worth the name. Where a whole array came
about by cancellation they are measured against SMALLEST_SCALE.
"""

import gc
import weakref
from itertools import pairwise, product

import numpy as np
import pytest
from marks import by_design
from problems import (
    ACTIVATIONS,
    PAIRS,
    SOLVERS,
    USUAL_ACTIVATION,
    USUAL_PAIR,
    draw_targets,
    moments_of,
    n_params,
    rates_of,
)
from scipy import sparse

from cbp.kernels import propagator as kernels
from cbp.reference import propagator as reference
from cbp.training.solvers import SGD, Adam

pytestmark = pytest.mark.emulated

RTOL = {np.float64: 1e-12, np.float32: 1e-5}
ISAS = kernels.available_instruction_sets()
SMALLEST_SCALE = 0.05
WIDTHS = (1, 2, 3, 17, 33)
BATCHES = (1, 2, 7, 64)
ALPHA = 0.25
#: A relu this close to its kink may fall on either side of it by rounding alone.
KINK = 1e-5


def draw_params(rng, sizes):
    coefs, intercepts = [], []
    for n_in, n_out in pairwise(sizes):
        coefs.append(rng.normal(size=n_in * n_out) / np.sqrt(n_in))
        intercepts.append(0.5 * rng.normal(size=n_out))
    return np.concatenate(coefs + intercepts)


def draw(seed, sizes, loss, output, n):
    """params, X, y, weights: representable as float32, held as float64."""
    rng = np.random.default_rng(seed)
    arrays = (
        draw_params(rng, sizes),
        rng.normal(size=(n, sizes[0])),
        draw_targets(rng, loss, output, (n, sizes[-1])),
        rng.integers(0, 4, size=n) + 0.5,
    )
    return [array.astype(np.float32).astype(np.float64) for array in arrays]


def by_layer(sizes, flat):
    """A flat vector cut into the coefs of each layer, then the intercepts of each."""
    lengths = [n_in * n_out for n_in, n_out in pairwise(sizes)] + [*sizes[1:-1]]
    return np.split(flat, np.cumsum(lengths))


def inspect(propagator, dtype, sizes, params, X, y):
    """Everything `Propagator.inspect` writes, as one dict of arrays."""
    n = X.shape[0]
    result = {"sample_losses": np.full(n, np.nan, dtype)}
    result["input_grads"] = np.full((n, sizes[0]), np.nan, dtype)
    layers = {
        name: [np.full((n, width), np.nan, dtype) for width in sizes[1:]]
        for name in ("z", "a", "delta")
    }
    propagator.inspect(
        params,
        X,
        y,
        result["sample_losses"],
        layers["z"],
        layers["a"],
        layers["delta"],
        result["input_grads"],
    )
    for name, arrays in layers.items():
        result |= {f"{name}[{layer}]": array for layer, array in enumerate(arrays, 1)}
    return result


def everything(Propagator, dtype, spec, arrays):
    """All that a network computes from one batch, by one implementation."""
    sizes, activation, output, loss = spec
    params, X, y, weights = (np.array(array, dtype) for array in arrays)
    propagator = Propagator(sizes, activation, output, loss, ALPHA, np.dtype(dtype))
    result = inspect(propagator, dtype, sizes, params, X, y)
    for name, sample_weight in (("", None), (" weighted", weights)):
        gradient = np.full_like(params, np.nan)
        loss_value = propagator.loss_and_grad(params, X, y, sample_weight, gradient)
        result[f"loss{name}"] = np.array(loss_value)
        for layer, part in enumerate(by_layer(sizes, gradient), 1):
            result[f"gradient{name}[{layer}]"] = part
    return result


def assert_same(actual, expected, rtol, context):
    for name, array in expected.items():
        scale = np.abs(array).max(initial=SMALLEST_SCALE)
        error = np.abs(actual[name] - array).max(initial=0.0)
        assert error <= rtol * scale, (*context, name, error, scale)


def assert_forward_is_the_last_activation(dtype, spec, arrays, inspected):
    sizes, activation, output, loss = spec
    params, X = (np.array(array, dtype) for array in arrays[:2])
    out = np.full((len(X), sizes[-1]), np.nan, dtype)
    propagator = kernels.Propagator(
        sizes, activation, output, loss, ALPHA, np.dtype(dtype)
    )
    propagator.forward(params, X, out)
    # Not bitwise: log_loss shares e^-|z| between a and the loss.
    np.testing.assert_allclose(out, inspected[f"a[{len(sizes) - 1}]"], RTOL[dtype])


def reference_away_from_kinks(spec, n):
    """Inputs and the reference's result, none of whose relus is near its kink."""
    sizes, activation, output, loss = spec
    for seed in range(100):
        arrays = draw(seed, sizes, loss, output, n)
        expected = everything(reference.Propagator, np.float64, spec, arrays)
        depth = len(sizes) - 1
        kinked = [f"z[{layer}]" for layer in range(1, depth) if activation == "relu"]
        kinked += [f"z[{depth}]"] if output == "relu" else []
        if all(np.abs(expected[name]).min() > KINK for name in kinked):
            return arrays, expected
    raise AssertionError(f"no inputs away from the kinks of relu for {spec}")


def usual(activation, loss, output, depth):
    """Each activation at every depth, each loss and output at two.

    What activates a hidden layer and what ends a network are two kernels, which meet in
    nothing but the layout of a layer: all widths, batches, types and instruction sets
    are tried with each of them.
    """
    if (loss, output) == USUAL_PAIR:
        return depth > 0 or activation == USUAL_ACTIVATION
    return activation == USUAL_ACTIVATION and depth < 2


GRID = [
    (activation, *pair, depth)
    for activation, pair, depth in product(ACTIVATIONS, PAIRS, range(5))
]


@pytest.mark.parametrize(
    ("activation", "loss", "output", "depth"),
    by_design(GRID, usual, quick=lambda *case: case[-1] == 1),
)
def test_kernels_equal_the_reference(monkeypatch, activation, loss, output, depth):
    for width, n in product(WIDTHS, BATCHES):
        spec = ((width,) * (depth + 2), activation, output, loss)
        arrays, expected = reference_away_from_kinks(spec, n)
        for dtype, isa in product(RTOL, ISAS):
            monkeypatch.setenv("CBP_ISA", isa)
            actual = everything(kernels.Propagator, dtype, spec, arrays)
            context = (width, n, dtype.__name__, isa)
            assert_same(actual, expected, RTOL[dtype], context)
            assert_forward_is_the_last_activation(dtype, spec, arrays, actual)


MIXED_SIZES = [
    (5, 1, 33),
    (33, 1),
    (1, 40, 2, 9),
    (17, 3, 65, 4),
    (2, 100, 10),
    (2, 30, 10, 26, 5, 20, 18),
]


@pytest.mark.parametrize("sizes", MIXED_SIZES)
@pytest.mark.parametrize("n", [5, 600])
def test_widths_that_differ_and_batches_of_many_blocks(monkeypatch, sizes, n):
    spec = (sizes, "tanh", "softmax", "log_loss")
    arrays = draw(1, sizes, "log_loss", "softmax", n)
    expected = everything(reference.Propagator, np.float64, spec, arrays)
    for dtype, isa in product(RTOL, ISAS):
        monkeypatch.setenv("CBP_ISA", isa)
        actual = everything(kernels.Propagator, dtype, spec, arrays)
        assert_same(actual, expected, RTOL[dtype], (dtype.__name__, isa))


# ---- epochs ------------------------------------------------------------------------

#: Rounding grows from step to step: up to 100 of them here.
EPOCH_RTOL = {np.float64: 1e-11, np.float32: 1e-3}
#: With layers of less than a vector, of one and of two, filled or not, for all widths
#: of a vector; and logistic(0) is not 0, so that what padding brings in is seen.
EPOCH_SPEC = ((3, 17, 10, 5, 2), "logistic", "identity", "squared_error")


def train(
    Propagator, dtype, solver, arrays, weighted, batch_size, seconds, apart=False
):
    """Parameters, moments and losses after some epochs, each in an order of its own.

    With `apart` they are written back after each epoch and taken up again.
    """
    epochs = 3
    solver = SOLVERS[solver]
    sizes, activation, output, loss = EPOCH_SPEC
    params, X, y, weights = (np.array(array, dtype) for array in arrays)
    moments = moments_of(solver, params)
    factors = np.random.default_rng(5).uniform(0.5, 2.0, (len(sizes) - 1, 2))
    propagator = Propagator(sizes, activation, output, loss, ALPHA, np.dtype(dtype))
    rng = np.random.default_rng(3)
    losses, steps = [], 0
    for epoch in range(epochs):
        if apart or epoch == 0:
            propagator.use_solver(solver, moments, steps, factors)
            sample_weight = weights if weighted else None
            propagator.begin_training(params, X, y, sample_weight, batch_size)
        order = rng.permutation(len(X)).astype(np.intp)
        n_batches = -(-len(X) // batch_size)
        propagator.begin_epoch(order, 0.01 * (epoch + rng.random(n_batches)))
        while not propagator.advance(seconds):
            pass
        epoch_loss, steps = propagator.end_epoch()
        losses.append(epoch_loss)
        if apart or epoch == epochs - 1:
            propagator.end_training()
    result = {f"moment {i}": moment for i, moment in enumerate(moments)}
    return result | {"params": params, "losses": np.array(losses)}


@pytest.mark.parametrize("batch_size", [1, 8, 50, 1000])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
def test_epochs_equal_the_reference(monkeypatch, solver, weighted, batch_size):
    arrays = draw(2, EPOCH_SPEC[0], "squared_error", "identity", 50)
    arguments = (solver, arrays, weighted, batch_size, 60.0)
    expected = train(reference.Propagator, np.float64, *arguments)
    for dtype, isa in product(RTOL, ISAS):
        monkeypatch.setenv("CBP_ISA", isa)
        actual = train(kernels.Propagator, dtype, *arguments)
        assert_same(actual, expected, EPOCH_RTOL[dtype], (dtype.__name__, isa))


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_epoch_in_many_calls_is_bitwise_the_epoch_in_one(solver):
    arrays = draw(2, EPOCH_SPEC[0], "squared_error", "identity", 3000)
    in_one, in_many = (
        train(kernels.Propagator, np.float32, solver, arrays, True, 1000, seconds)
        for seconds in (60.0, 0.0)
    )
    for name, array in in_one.items():
        np.testing.assert_array_equal(in_many[name], array, err_msg=name)


@pytest.mark.parametrize("implementation", [kernels, reference])
@pytest.mark.parametrize("solver", SOLVERS)
def test_epochs_apart_are_bitwise_the_epochs_of_one_training(implementation, solver):
    arrays = draw(2, EPOCH_SPEC[0], "squared_error", "identity", 50)
    together, apart = (
        train(
            implementation.Propagator, np.float64, solver, arrays, True, 8, 60.0, apart
        )
        for apart in (False, True)
    )
    for name, array in together.items():
        np.testing.assert_array_equal(apart[name], array, err_msg=name)


def test_a_batch_of_weight_zero_changes_nothing():
    params, X, y, _ = draw(4, EPOCH_SPEC[0], "squared_error", "identity", 8)
    weights = np.array([0.0] * 4 + [1.0] * 4)
    propagator = kernels.Propagator(*EPOCH_SPEC, ALPHA, np.dtype(np.float64))

    def epoch(order):
        trained, velocity = params.copy(), np.zeros_like(params)
        propagator.use_solver(SGD(0.9, True), [velocity])
        propagator.begin_training(trained, X, y, weights, 4)
        propagator.begin_epoch(np.array(order), rates_of(0.1, len(order), 4))
        assert propagator.advance(60.0)
        loss, steps = propagator.end_epoch()
        propagator.end_training()
        return trained, loss, steps

    both, loss_of_both, steps = epoch([0, 1, 2, 3, 4, 5, 6, 7])
    second, loss_of_second, _ = epoch([4, 5, 6, 7])
    np.testing.assert_array_equal(both, second)
    assert steps == 1
    assert loss_of_both == loss_of_second


# ---- bits, memory, numbers at the edge ---------------------------------------------


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize(
    "sizes",
    [
        (3, 8, 1),
        (64, 100, 10),
        (7, 37, 101, 3),
        (4, 30, 10, 26, 5, 20, 18),
        (6, 340, 350, 3),
    ],
)
def test_a_row_gives_the_same_bits_alone_and_in_any_batch(
    monkeypatch, isa, dtype, sizes
):
    monkeypatch.setenv("CBP_ISA", isa)
    params, X, *_ = draw(5, sizes, "log_loss", "softmax", 400)
    params, X = params.astype(dtype), X.astype(dtype)
    propagator = kernels.Propagator(
        sizes, "logistic", "softmax", "log_loss", 0.0, np.dtype(dtype)
    )

    def forward(rows):
        out = np.empty((len(rows), sizes[-1]), dtype)
        propagator.forward(params, rows, out)
        return out

    whole = forward(X)
    for start, stop in [(0, 1), (399, 400), (3, 10), (100, 355)]:
        np.testing.assert_array_equal(forward(X[start:stop]), whole[start:stop])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("n", [1, 2, 7, 64, 300])
def test_outputs_are_filled_and_nothing_beside_them_is_touched(
    monkeypatch, isa, dtype, n
):
    monkeypatch.setenv("CBP_ISA", isa)
    sizes = (3, 17, 5)
    canaries = []

    def guarded(shape):
        """An array with canary bytes before and after it."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = np.full(size + 128, 0xA5, np.uint8)
        canaries.append((memory[:64], memory[64 + size :]))
        return memory[64 : 64 + size].view(dtype).reshape(shape)

    arrays = draw(6, sizes, "log_loss", "softmax", n)
    params, X, y, weights = (array.astype(dtype) for array in arrays)
    propagator = kernels.Propagator(
        sizes, "relu", "softmax", "log_loss", ALPHA, np.dtype(dtype)
    )
    outputs = [guarded((n, sizes[-1])), guarded(params.shape), guarded((n,))]
    z, a, delta = ([guarded((n, width)) for width in sizes[1:]] for _ in range(3))
    trained, m, v = (guarded(params.shape) for _ in range(3))
    trained[:], m[:], v[:] = params, 0, 0

    propagator.forward(params, X, outputs[0])
    propagator.loss_and_grad(params, X, y, weights, outputs[1])
    outputs.append(guarded((n, sizes[0])))
    propagator.inspect(params, X, y, outputs[2], z, a, delta, outputs[3])
    propagator.use_solver(Adam(), [m, v])
    propagator.begin_training(trained, X, y, weights, 32)
    propagator.begin_epoch(np.arange(n), rates_of(0.01, n, 32))
    assert propagator.advance(60.0)
    propagator.end_epoch()
    propagator.end_training()

    canary = np.full(1, 0xA5A5A5A5A5A5A5A5, np.uint64).view(dtype)[0]
    for array in (*outputs, *z, *a, *delta, trained, m, v):
        assert not (array == canary).any()
    for before, after in canaries:
        assert (before == 0xA5).all()
        assert (after == 0xA5).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("loss", "output", "z", "y", "expected"),
    [
        ("log_loss", "logistic", [800.0], [0.0], 800.0),
        ("log_loss", "logistic", [-800.0], [1.0], 800.0),
        ("log_loss", "logistic", [800.0], [1.0], 0.0),
        ("log_loss", "softmax", [1000.0, 0.0], [0.0, 1.0], 1000.0),
        ("log_loss", "softmax", [1000.0, 0.0], [1.0, 0.0], 0.0),
        ("poisson", "exp", [-800.0], [0.0], 0.0),
        ("poisson", "exp", [-800.0], [1.0], 799.0),
    ],
)
def test_losses_have_no_logarithm_of_a_rounded_zero(
    monkeypatch, isa, loss, output, z, y, expected
):
    monkeypatch.setenv("CBP_ISA", isa)
    sizes = (1, len(z))
    params = np.array([0.0] * len(z) + z)
    propagator = kernels.Propagator(
        sizes, "relu", output, loss, 0.0, np.dtype(np.float64)
    )
    gradient = np.empty_like(params)
    X, y = np.ones((1, 1)), np.array([y])
    assert propagator.loss_and_grad(params, X, y, None, gradient) == expected
    assert np.isfinite(gradient).all()


@pytest.mark.slow
def test_rows_beyond_two_gigabytes_are_found(tmp_path):
    n, width = 2**29 + 7, 2
    X = np.memmap(tmp_path / "X", np.float64, "w+", shape=(n, width))  # sparse file
    y = np.memmap(tmp_path / "y", np.float64, "w+", shape=(n, 1))
    X[-3:], y[-3:] = [[1, 2], [3, 4], [5, 6]], [[7], [8], [9]]
    params = np.array([0.5, -1.0, 0.25])
    propagator = kernels.Propagator(
        (width, 1), "relu", "identity", "squared_error", 0.0, np.dtype(np.float64)
    )
    velocity = np.zeros_like(params)
    far, near = params.copy(), params.copy()
    for trained, rows, targets in (
        (far, np.asarray(X), np.asarray(y)),
        (near, np.array(X[-3:]), np.array(y[-3:])),
    ):
        velocity[:] = 0
        propagator.use_solver(SGD(0.0, False), [velocity])
        order = np.arange(len(rows) - 3, len(rows))
        propagator.begin_training(trained, rows, targets, None, 3)
        propagator.begin_epoch(order, np.array([0.1]))
        assert propagator.advance(60.0)
        propagator.end_epoch()
        propagator.end_training()
    assert not np.array_equal(near, params)
    np.testing.assert_array_equal(far, near)


def test_subnormals_are_flushed_in_training_and_only_there():
    smallest = np.finfo(np.float32).tiny
    propagator = kernels.Propagator(
        (1, 1), "relu", "identity", "squared_error", 0.0, np.dtype(np.float32)
    )
    params, v = np.zeros(2, np.float32), np.zeros(2, np.float32)
    m = np.full(2, 2 * smallest)
    zeros = np.zeros((10, 1), np.float32)
    propagator.use_solver(Adam(), [m, v])
    propagator.begin_training(params, zeros, zeros, None, 1)
    propagator.begin_epoch(np.arange(10), np.zeros(10))
    assert propagator.advance(60.0)
    propagator.end_epoch()
    propagator.end_training()
    assert 0.9**10 * 2 < 1
    np.testing.assert_array_equal(m, 0)
    assert smallest / np.float32(2) != 0


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("y", [0.5, 20.0, 1000.0])
def test_poisson_loss_keeps_its_digits_near_its_minimum(monkeypatch, isa, dtype, y):
    monkeypatch.setenv("CBP_ISA", isa)
    offsets = np.array([-0.5, -1e-2, -1e-3, 0.0, 1e-3, 1e-2, 0.5])
    z = (np.log(y) + offsets).astype(dtype)
    propagator = kernels.Propagator(
        (1, 1), "relu", "exp", "poisson", 0.0, np.dtype(dtype)
    )
    losses, *layers = (np.empty(z.size, dtype) for _ in range(4))
    layers = [[array[:, np.newaxis].copy()] for array in layers]
    propagator.inspect(
        np.array([1.0, 0.0], dtype),
        z[:, np.newaxis].copy(),
        np.full((z.size, 1), y, dtype),
        losses,
        *layers,
        np.empty((z.size, 1), dtype),
    )
    t = np.log(y) - z.astype(np.float64)
    eps = np.finfo(dtype).eps
    assert (losses >= 0).all()
    error_in_t = 4 * eps * (1 + abs(np.log(y)))
    allowed = y * (np.abs(t) + error_in_t) * error_in_t
    assert (np.abs(losses - y * (t + np.expm1(-t))) <= allowed).all()


def test_the_workspace_of_a_training_is_used_for_nothing_else():
    params, X, y, _ = draw(8, EPOCH_SPEC[0], "squared_error", "identity", 4)
    propagator = kernels.Propagator(*EPOCH_SPEC, ALPHA, np.dtype(np.float64))
    propagator.use_solver(SGD(0.0, False), [np.zeros_like(params)])
    propagator.begin_training(params, X, y, None, 2)
    with pytest.raises(ValueError, match="end_training"):
        propagator.forward(params, X, np.empty_like(y))
    propagator.end_training()
    propagator.forward(params, X, np.empty_like(y))


@pytest.mark.parametrize("sizes", [(2**40, 2**40), (2**62, 1), (1, 2**62, 1)])
def test_sizes_beyond_the_memory_are_refused_before_any_address_overflows(sizes):
    with pytest.raises(MemoryError, match="layer_sizes"):
        kernels.Propagator(
            sizes, "relu", "identity", "squared_error", 0.0, np.dtype(np.float64)
        )


@pytest.mark.parametrize("dtype", [np.float16, np.int32, np.complex64, ">f8", object])
def test_other_dtypes_than_those_of_the_kernels_are_refused(dtype):
    with pytest.raises(TypeError, match="dtype"):
        kernels.Propagator(
            (2, 1), "relu", "identity", "squared_error", 0.0, np.dtype(dtype)
        )


@pytest.mark.parametrize("sizes", [(), (3,), (0, 2), (2, 0), (2, -1, 1)])
def test_other_sizes_than_those_of_a_network_are_refused(sizes):
    with pytest.raises(ValueError, match="layer_sizes"):
        kernels.Propagator(
            sizes, "relu", "identity", "squared_error", 0.0, np.dtype(np.float64)
        )


def test_parameters_and_moments_must_not_share_memory():
    params, X, y, _ = draw(8, EPOCH_SPEC[0], "squared_error", "identity", 4)
    propagator = kernels.Propagator(*EPOCH_SPEC, ALPHA, np.dtype(np.float64))
    m = np.zeros_like(params)
    with pytest.raises(ValueError, match="m and v share memory"):
        propagator.use_solver(Adam(), [m, m])
    propagator.use_solver(SGD(0.0, False), [params])
    with pytest.raises(ValueError, match="params and velocity share memory"):
        propagator.begin_training(params, X, y, None, 2)


def test_a_refused_training_leaves_none_open():
    params, X, y, _ = draw(8, EPOCH_SPEC[0], "squared_error", "identity", 4)
    propagator = kernels.Propagator(*EPOCH_SPEC, ALPHA, np.dtype(np.float64))
    for batch_size, error in [
        (0, ValueError),
        ("2", TypeError),
        (2**70, OverflowError),
    ]:
        propagator.use_solver(SGD(0.0, False), [np.zeros_like(params)])
        with pytest.raises(error):
            propagator.begin_training(params, X, y, None, batch_size)
        assert not propagator.in_training


def test_a_propagator_thrown_away_in_an_epoch_lets_go_of_the_arrays():
    params, X, y, _ = draw(8, EPOCH_SPEC[0], "squared_error", "identity", 50)
    propagator = kernels.Propagator(*EPOCH_SPEC, ALPHA, np.dtype(np.float64))
    propagator.use_solver(SGD(0.0, False), [np.zeros_like(params)])
    propagator.begin_training(params, X, y, None, 5)
    propagator.begin_epoch(np.arange(50), rates_of(0.1, 50, 5))
    propagator.advance(0.0)
    alive = weakref.ref(X)
    del X
    assert alive() is not None
    del propagator
    gc.collect()
    assert alive() is None


# ---- sparse X ----------------------------------------------------------------------

#: One layer to three; widths of one vector, of panels side by side, of tails of both;
#: a block of the last holds fewer rows than a batch.
SPARSE_SIZES = [(1, 1), (5, 3), (40, 17, 2), (3, 9, 33, 4), (7, 150, 40, 5)]
INDEX_DTYPES = (np.int32, np.int64)


def draw_csr(seed, shape, density, dtype, index_dtype=np.int32, kind=sparse.csr_array):
    """A random matrix in canonical CSR form; every fifth row is empty, if not full."""
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=shape) * (rng.random(shape) < density)
    if density < 1:
        dense[::5] = 0
    X = kind(dense.astype(dtype))
    # The constructor would make the indices as narrow as they can be.
    X.indices, X.indptr = X.indices.astype(index_dtype), X.indptr.astype(index_dtype)
    return X


def all_results(sizes, dtype, X, params, y, weights):
    """Whatever a propagator computes from X, epochs in an order with repeats too."""
    propagator = kernels.Propagator(
        sizes, "relu", "identity", "squared_error", ALPHA, np.dtype(dtype)
    )
    result = inspect(propagator, dtype, sizes, params, X, y)
    result["forward"] = np.full((X.shape[0], sizes[-1]), np.nan, dtype)
    propagator.forward(params, X, result["forward"])
    for name, sample_weight in (("", None), (" weighted", weights)):
        gradient = result[f"gradient{name}"] = np.full_like(params, np.nan)
        loss = propagator.loss_and_grad(params, X, y, sample_weight, gradient)
        result[f"loss{name}"] = np.array(loss)
    order = np.random.default_rng(3).integers(X.shape[0], size=X.shape[0] + 20)
    for solver in (Adam(), SGD()):
        moments, trained = moments_of(solver, params), params.copy()
        propagator.use_solver(solver, moments)
        propagator.begin_training(trained, X, y, weights, 100)
        rates = rates_of(0.05, len(order), 100)
        propagator.begin_epoch(order.astype(np.intp), rates)
        while not propagator.advance(0.0):
            pass
        result[f"{solver} loss"] = np.array(propagator.end_epoch())
        propagator.end_training()
        result[f"{solver} params"] = trained
        result |= {f"{solver} moment {i}": array for i, array in enumerate(moments)}
    return result


def assert_same_bits(actual, expected, context):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert actual[name].tobytes() == array.tobytes(), (*context, name)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("sizes", SPARSE_SIZES)
def test_sparse_X_gives_the_bits_of_the_same_X_dense(monkeypatch, isa, dtype, sizes):
    monkeypatch.setenv("CBP_ISA", isa)
    for density in (0.0, 0.3, 1.0):
        X = draw_csr(9, (170, sizes[0]), density, dtype)
        params, _, y, weights = (
            array.astype(dtype)
            for array in draw(10, sizes, "squared_error", "identity", 170)
        )
        expected = all_results(sizes, dtype, X.toarray(), params, y, weights)
        for index_dtype in INDEX_DTYPES:
            X.indices, X.indptr = (
                array.astype(index_dtype) for array in (X.indices, X.indptr)
            )
            actual = all_results(sizes, dtype, X, params, y, weights)
            assert_same_bits(actual, expected, (density, index_dtype.__name__))


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize("index_dtype", INDEX_DTYPES)
def test_a_sparse_X_is_only_read(kind, index_dtype):
    sizes = (7, 5, 2)
    X = draw_csr(11, (170, 7), 0.3, np.float64, index_dtype, kind)
    before = [array.copy() for array in (X.data, X.indices, X.indptr)]
    params, _, y, weights = draw(12, sizes, "squared_error", "identity", 170)
    expected = all_results(sizes, np.float64, X.toarray(), params, y, weights)
    for array in (X.data, X.indices, X.indptr):
        array.flags.writeable = False
    actual = all_results(sizes, np.float64, X, params, y, weights)
    assert_same_bits(actual, expected, ())
    for now, then in zip((X.data, X.indices, X.indptr), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_sparse_X_in_the_reference_and_in_the_kernels(monkeypatch):
    spec = ((6, 19, 3), "tanh", "softmax", "log_loss")
    params, _, y, weights = draw(13, spec[0], "log_loss", "softmax", 40)
    X = draw_csr(14, (40, 6), 0.4, np.float32).astype(np.float64)

    def results(Propagator, X, dtype):
        propagator = Propagator(*spec, ALPHA, np.dtype(dtype))
        arrays = [array.astype(dtype) for array in (params, y, weights)]
        result = inspect(propagator, dtype, spec[0], arrays[0], X, arrays[1])
        gradient = result["gradient"] = np.full_like(arrays[0], np.nan)
        loss = propagator.loss_and_grad(arrays[0], X, *arrays[1:], gradient)
        return result | {"loss": np.array(loss)}

    expected = results(reference.Propagator, X.toarray(), np.float64)
    assert_same_bits(results(reference.Propagator, X, np.float64), expected, ())
    for dtype, isa in product(RTOL, ISAS):
        monkeypatch.setenv("CBP_ISA", isa)
        actual = results(kernels.Propagator, X.astype(dtype), dtype)
        assert_same(actual, expected, RTOL[dtype], (dtype.__name__, isa))


def test_a_sparse_X_may_have_no_rows_and_more_memory_than_it_uses():
    sizes = (7, 5, 2)
    propagator = kernels.Propagator(
        sizes, "relu", "identity", "squared_error", 0.0, np.dtype(np.float64)
    )
    params, X = np.ones(n_params(sizes)), draw_csr(15, (4, 7), 0.5, np.float64)
    none, roomy = np.empty((0, 2)), X.copy()
    propagator.forward(params, X[:0], none)
    roomy.data = np.append(X.data, np.nan)
    roomy.indices = np.append(X.indices, np.int32(99))
    expected, actual = np.empty((4, 2)), np.empty((4, 2))
    propagator.forward(params, X, expected)
    propagator.forward(params, roomy, actual)
    np.testing.assert_array_equal(actual, expected)


def with_value(array, at, value):
    array = array.copy()
    array[at] = value
    return array


#: What would lead the kernels astray: an attribute of a CSR matrix (4, 7) with 9
#: values, what is made of it, and what the error says.
BROKEN_CSR = {
    "column 7": ("indices", lambda a: with_value(a, 3, 7), "columns from 0 to 6"),
    "column -1": ("indices", lambda a: with_value(a, 3, -1), "columns from 0 to 6"),
    "a column short": ("indices", lambda a: a[:-1], "X.indptr ends at 9"),
    "columns apart": ("indices", lambda a: np.repeat(a, 2)[::2], "contiguous"),
    "columns in 2-D": ("indices", lambda a: a.reshape(3, 3), "vector"),
    "wide columns": ("indices", lambda a: a.astype(np.int64), "one dtype"),
    "swapped bytes": ("indices", lambda a: a.astype(">i4"), "int32 or int64"),
    "real columns": ("indices", lambda a: a.astype(np.float32), "int32 or int64"),
    "list of columns": ("indices", lambda a: a.tolist(), "numpy array"),
    "begins before 0": ("indptr", lambda a: with_value(a, 0, -1), "from 0 on"),
    "begins after 0": ("indptr", lambda a: with_value(a, 0, 1), "from 0 on"),
    "goes back": ("indptr", lambda a: with_value(a, 2, 10), "ascending"),
    "a row short": ("indptr", lambda a: a[:-1], "5 numbers"),
    "ends beyond": ("indptr", lambda a: with_value(a, -1, 10), "X.indptr ends at 10"),
    "wide starts": ("indptr", lambda a: a.astype(np.int64), "one dtype"),
    "a value short": ("data", lambda a: a[:-1], "X.indptr ends at 9"),
    "values apart": ("data", lambda a: np.repeat(a, 2)[::2], "contiguous"),
    "other float": ("data", lambda a: a.astype(np.float32), "float64"),
}


@pytest.mark.parametrize("broken", BROKEN_CSR)
def test_a_broken_sparse_X_is_refused(broken):
    attribute, change, message = BROKEN_CSR[broken]
    sizes = (7, 5, 2)
    propagator = kernels.Propagator(
        sizes, "relu", "identity", "squared_error", 0.0, np.dtype(np.float64)
    )
    params, out = np.zeros(n_params(sizes)), np.zeros((4, 2))
    dense = np.zeros((4, 7))
    dense[[0, 0, 0, 1, 1, 1, 3, 3, 3], [0, 2, 6, 1, 2, 3, 0, 4, 5]] = 1
    X = sparse.csr_array(dense)
    propagator.forward(params, X, out)
    setattr(X, attribute, change(getattr(X, attribute)))
    with pytest.raises((TypeError, ValueError), match=message):
        propagator.forward(params, X, out)


@pytest.mark.parametrize("implementation", [kernels, reference])
def test_a_sparse_X_of_another_kind_is_refused(implementation):
    sizes = (7, 5, 2)
    propagator = implementation.Propagator(
        sizes, "relu", "identity", "squared_error", 0.0, np.dtype(np.float64)
    )
    params, out = np.zeros(n_params(sizes)), np.zeros((4, 2))
    X = draw_csr(15, (4, 7), 0.5, np.float64)
    for error, given in [
        (TypeError, X.tocsc()),
        (TypeError, X.tocoo()),
        (TypeError, X.astype(np.float32)),
        (TypeError, X.astype(np.complex128)),
        (ValueError, X[:, :6]),
        (ValueError, sparse.csr_array((4, 8))),
    ]:
        with pytest.raises(error, match="X"):
            propagator.forward(params, given, out)


def test_a_propagator_lets_go_of_a_sparse_X():
    params, _, y, _ = draw(8, EPOCH_SPEC[0], "squared_error", "identity", 50)
    X = draw_csr(16, (50, EPOCH_SPEC[0][0]), 0.5, np.float64)
    propagator = kernels.Propagator(*EPOCH_SPEC, ALPHA, np.dtype(np.float64))
    propagator.use_solver(SGD(0.0, False), [np.zeros_like(params)])
    propagator.begin_training(params, X, y, None, 5)
    propagator.begin_epoch(np.arange(50), rates_of(0.1, 50, 5))
    propagator.advance(0.0)
    arrays = [weakref.ref(array) for array in (X.data, X.indices, X.indptr)]
    del X
    gc.collect()
    assert all(array() is not None for array in arrays)
    while not propagator.advance(60.0):
        pass
    propagator.end_epoch()
    propagator.end_training()
    gc.collect()
    assert all(array() is None for array in arrays)
