"""What `Network` promises at its door.

Its parameters and the views into them, what a pass returns, which arrays it takes as
they lie in memory, and what it refuses. Expected values are sums by NumPy of what the
reference has for one number, scikit-learn's own draws, or the example worked by hand.
"""

import concurrent.futures
import copy
import itertools
import pickle
import tracemalloc

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import worked_example as worked
from marks import by_design
from problems import (
    ACTIVATIONS,
    LOSSES,
    OUTPUT_ACTIVATIONS,
    PAIRS,
    USUAL_ACTIVATION,
    USUAL_PAIR,
    activated,
    derivative,
    draw_targets,
    rates_of,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor

from cbp import Network
from cbp.data.arrays import sparse_rows
from cbp.export import scikit_learn
from cbp.functions.losses import LOSSES as RECORDS
from cbp.kernels import propagator as kernels
from cbp.reference import equations
from cbp.training.solvers import SGD

SEED = 0
DTYPES = (np.float32, np.float64)
#: Relative to the largest term of what is compared: sums round in another order.
TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}
UNDEFINED_PAIRS = [
    pair for pair in itertools.product(LOSSES, OUTPUT_ACTIVATIONS) if pair not in PAIRS
]


def of_reference(net):
    """A `Network` as the reference's equations know it."""
    functions = net.activation, net.output_activation, net.loss
    return equations.Net.of(net.layer_sizes, *functions, net.alpha)


def sample_losses(net, z, y):
    """C_0 of every row by the reference's formula."""
    a = activated(net.output_activation, z)
    rows = zip(z.tolist(), a.tolist(), y.tolist(), strict=True)
    return np.array([equations.sample_loss(of_reference(net), *row) for row in rows])


def output_errors(net, z, a, y):
    """delta^L of every row by the reference's formula, BP1."""
    rows = zip(z.tolist(), a.tolist(), y.tolist(), strict=True)
    return np.array([equations.output_error(of_reference(net), *row) for row in rows])


def draw_samples(network, n=7):
    """X, y and sample weights in the network's dtype, plainly laid out."""
    rng = np.random.default_rng([SEED, n])
    X = rng.normal(size=(n, network.layer_sizes[0])).astype(network.dtype)
    weight = rng.uniform(0.5, 2, n).astype(network.dtype)
    pair, shape = (
        (network.loss, network.output_activation),
        (n, network.layer_sizes[-1]),
    )
    return X, draw_targets(rng, *pair, shape).astype(network.dtype), weight


def small_network(loss="squared_error", output="identity", **changes):
    """A 3-5-2 network; with three outputs where softmax wants them."""
    sizes = (3, 5, 3 if output == "softmax" else 2)
    functions = {"loss": loss, "output_activation": output, "activation": "tanh"}
    return Network(sizes, **{**functions, "random_state": SEED, **changes})


def assert_close(computed, expected, size=None):
    """Equal up to rounding in the dtype of `computed`.

    `size` is that of the terms that were added up, if they may have cancelled; by
    default the largest entry.
    """
    rtol = TOLERANCE[np.asarray(computed).dtype]
    size = np.abs(expected).max() if size is None else np.max(size)
    np.testing.assert_allclose(computed, expected, rtol=rtol, atol=rtol * size)


def assert_same_results(network, given, plain):
    """Bitwise the same from X, y, weight in `given` as from those in `plain`."""
    np.testing.assert_array_equal(network.forward(given[0]), network.forward(plain[0]))
    (loss, grad), (plain_loss, plain_grad) = (
        network.loss_and_grad(*samples) for samples in (given, plain)
    )
    assert loss == plain_loss
    np.testing.assert_array_equal(grad, plain_grad)
    result, expected = network.backprop(*given), network.backprop(*plain)
    assert result.loss == expected.loss
    np.testing.assert_array_equal(result.sample_losses, expected.sample_losses)
    if scipy.sparse.issparse(given[0]):  # computed when asked for, not by a kernel
        assert_close(result.input_grads, expected.input_grads)
    else:
        np.testing.assert_array_equal(result.input_grads, expected.input_grads)
    for name in ("z", "a", "delta", "coef_grads", "intercept_grads"):
        for ours, theirs in zip(
            getattr(result, name), getattr(expected, name), strict=True
        ):
            ours = ours.toarray() if scipy.sparse.issparse(ours) else ours
            np.testing.assert_array_equal(ours, theirs)


# -- parameters ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", scikit_learn.ACTIVATIONS)
@pytest.mark.parametrize(
    ("Peer", "hidden"),
    [(MLPRegressor, (4, 2)), (MLPClassifier, ()), (MLPClassifier, 5)],
)
def test_initial_parameters_are_scikit_learns(Peer, hidden, activation, dtype):
    rng = np.random.default_rng(SEED)
    X, y = rng.normal(size=(9, 3)).astype(dtype), np.arange(9) % 3
    # One step of a size that no weight can notice leaves the draw as it was.
    one_step = {"batch_size": 9, "max_iter": 1, "learning_rate_init": 1e-300}
    peer = Peer(
        hidden_layer_sizes=hidden,
        activation=activation,
        solver="sgd",
        random_state=SEED,
        **one_step,
    )
    with pytest.warns(UserWarning, match="Maximum iterations"):
        peer.fit(X, y)
    sizes = (3, *(W.shape[1] for W in peer.coefs_))
    net = Network(sizes, activation=activation, dtype=dtype, random_state=SEED)
    for ours, theirs in zip(
        net.coefs_ + net.intercepts_, peer.coefs_ + peer.intercepts_, strict=True
    ):
        assert ours.dtype == theirs.dtype == dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_initial_parameters_come_layer_by_layer_from_a_uniform_stream(activation):
    sizes, stream = (4, 3, 2), np.random.RandomState(SEED)
    net = Network(sizes, activation=activation, random_state=SEED)
    single = Network(sizes, activation=activation, dtype="float32", random_state=SEED)
    factor = 2 if activation == "logistic" else 6
    for W, b in zip(net.coefs_, net.intercepts_, strict=True):
        bound = np.sqrt(factor / sum(W.shape))
        np.testing.assert_array_equal(W, stream.uniform(-bound, bound, W.shape))
        np.testing.assert_array_equal(b, stream.uniform(-bound, bound, b.shape))
    np.testing.assert_array_equal(single.params_, net.params_.astype(np.float32))


def test_random_state_may_be_an_instance_that_is_drawn_from_on():
    stream = np.random.RandomState(SEED)
    first, second = (Network((3, 2), random_state=stream) for _ in range(2))
    expected = Network((3, 2), random_state=SEED)
    np.testing.assert_array_equal(first.params_, expected.params_)
    assert not np.array_equal(second.params_, expected.params_)


def test_random_state_of_None_draws_anew_each_time():
    first, second = Network((3, 2)), Network((3, 2))
    assert not np.array_equal(first.params_, second.params_)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(3, 2), (1, 1), (3, 5, 2), (2, 1, 4, 3)])
def test_params_are_one_vector_with_all_coefs_before_all_intercepts(sizes, dtype):
    net = Network(list(sizes), dtype=dtype, random_state=SEED)
    assert net.layer_sizes == sizes
    assert net.dtype == net.params_.dtype == dtype
    assert net.params_.ndim == 1
    assert net.params_.flags.carray
    pairs = list(itertools.pairwise(sizes))
    assert [W.shape for W in net.coefs_] == pairs
    assert [b.shape for b in net.intercepts_] == [(n,) for _, n in pairs]
    np.testing.assert_array_equal(
        np.concatenate([part.ravel() for part in net.coefs_ + net.intercepts_]),
        net.params_,
    )


def test_coefs_and_intercepts_are_writable_views_of_params():
    net = small_network()
    for i, view in enumerate(net.coefs_ + net.intercepts_):
        view[...] = i + 1
    np.testing.assert_array_equal(net.params_, np.repeat([1, 2, 3, 4], [15, 10, 5, 2]))


def zeroed_output(net):
    """Zero the last layer, by a way of writing: what comes out is 0 then."""
    net.coefs_[-1][...] = 0
    net.intercepts_[-1][...] = 0


def replaced_output(net):
    net.coefs_[-1] = np.zeros((5, 2))
    net.intercepts_[-1] = [0, 0]


def replaced_lists(net):
    net.coefs_ = [net.coefs_[0].copy(), np.zeros((5, 2), np.float32)]
    net.intercepts_ = (net.intercepts_[0], np.zeros(2))


def zeroed_params(net):
    net.params_[...] = 0


def set_weights(net):
    net.set_weights([net.coefs_[0], np.zeros((5, 2))], [np.zeros(5), np.zeros(2)])


WRITES = [zeroed_output, replaced_output, replaced_lists, zeroed_params, set_weights]


@pytest.mark.parametrize("write", WRITES)
def test_weights_that_are_written_or_replaced_take_effect(write):
    net = small_network()
    X, y, _ = draw_samples(net)
    assert net.forward(X).all()
    write(net)
    assert not net.forward(X).any()
    np.testing.assert_array_equal(net.backprop(X, y).delta[2], -y)
    assert net.loss_and_grad(X, y)[0] == pytest.approx((y**2).sum() / 2 / len(y))
    assert not net.params_[-2:].any()


@pytest.mark.parametrize("write", WRITES)
def test_entries_are_views_again_once_params_are_asked_for(write):
    net = small_network()
    X, _, _ = draw_samples(net)
    write(net)
    net.forward(X)
    params = net.params_
    for array in (*net.coefs_, *net.intercepts_):
        assert np.shares_memory(array, params)
    # What an optimiser writes into params_ must not be undone by older arrays.
    net.params_[...] = 1
    net.forward(X)
    assert np.all(net.params_ == 1)


def test_lists_of_weights_stay_the_same_lists():
    net = small_network()
    X, _, _ = draw_samples(net)
    coefs, intercepts = net.coefs_, net.intercepts_
    for _ in range(2):
        assert net.forward(X).all()
    # A reader may have held them all the while.
    coefs[-1], intercepts[-1] = np.zeros((5, 2)), np.zeros(2)
    assert not net.forward(X).any()


@pytest.mark.parametrize(
    ("name", "replacement"),
    [
        ("coefs_", [np.zeros((5, 3)), np.zeros((5, 2))]),
        ("coefs_", [np.zeros((3, 5))]),
        ("coefs_", []),
        ("intercepts_", [np.zeros(5), np.zeros((1, 2))]),
        ("intercepts_", [np.zeros(5), np.zeros(2), np.zeros(2)]),
    ],
)
def test_replaced_weights_that_do_not_fit_are_refused_by_name(name, replacement):
    net = small_network()
    X, _, _ = draw_samples(net)
    params, views = net.params_, getattr(net, name)
    before = params.copy()
    setattr(net, name, replacement)
    with pytest.raises(ValueError, match=name):
        net.forward(X)
    np.testing.assert_array_equal(params, before)
    setattr(net, name, views)
    net.forward(X)


def test_what_is_written_into_a_replaced_array_later_takes_effect():
    net = small_network()
    X, _, _ = draw_samples(net)
    mine = np.zeros((5, 2))
    net.coefs_[1] = mine
    net.intercepts_[1] = np.zeros(2)
    assert not net.forward(X).any()
    mine[:] = 1.0
    assert net.forward(X).all()
    assert net.coefs_[1] is mine
    assert not np.shares_memory(mine, net.params_)


def test_network_begins_with_given_params_of_which_it_takes_a_copy():
    drawn = small_network()
    given = drawn.params_.copy()
    net = Network((3, 5, 2), activation="tanh", params=given)
    X, _, _ = draw_samples(net)
    np.testing.assert_array_equal(net.forward(X), drawn.forward(X))
    given[:] = 0.0
    assert net.params_.all()
    with pytest.raises(ValueError, match=r"params has shape \(2,\).*has 32 parameters"):
        Network((3, 5, 2), params=[1.0, 2.0])


# -- passes ----------------------------------------------------------------------


def implementations():
    """(CBP_IMPLEMENTATION, CBP_ISA): the reference, and the kernels of each set."""
    return [
        ("reference", ""),
        *(("kernels", isa) for isa in kernels.available_instruction_sets()),
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("implementation", "isa"), implementations())
def test_a_2_2_2_network_comes_out_as_worked_by_hand(
    monkeypatch, implementation, isa, dtype
):
    monkeypatch.setenv("CBP_IMPLEMENTATION", implementation)
    monkeypatch.setenv("CBP_ISA", isa)
    net = Network(
        worked.LAYER_SIZES,
        activation=worked.ACTIVATION,
        output_activation=worked.OUTPUT_ACTIVATION,
        loss=worked.LOSS,
        dtype=dtype,
    )
    net.params_[:] = worked.PARAMS
    for given, by_hand in (
        (net.coefs_, [worked.W1, worked.W2]),
        (net.intercepts_, [worked.B1, worked.B2]),
    ):
        for view, values in zip(given, by_hand, strict=True):
            np.testing.assert_array_equal(view, np.array(values, dtype))

    result = net.backprop(worked.X, worked.Y)
    loss, gradient = net.loss_and_grad(worked.X, worked.Y)

    assert loss == result.loss == pytest.approx(worked.C_0, rel=TOLERANCE[net.dtype])
    for computed, by_hand in (
        (result.sample_losses, [worked.C_0]),
        (result.z[1], worked.Z1),
        (result.z[2], worked.Z2),
        (result.a[0], worked.X),
        (result.a[1], worked.A1),
        (result.a[2], worked.A2),
        (result.delta[1], worked.DELTA1),
        (result.delta[2], worked.DELTA2),
        (result.coef_grads[0], worked.DW1),
        (result.coef_grads[1], worked.DW2),
        (result.intercept_grads[0], worked.DELTA1[0]),
        (result.intercept_grads[1], worked.DELTA2[0]),
        (result.input_grads, worked.DX),
        (gradient, worked.GRADIENT),
        (net.forward(worked.X), worked.A2),
    ):
        assert_close(computed, by_hand)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depth", range(4))
@pytest.mark.parametrize(
    ("activation", "output"),
    by_design(
        itertools.product(ACTIVATIONS, OUTPUT_ACTIVATIONS),
        lambda activation, output: (
            activation == USUAL_ACTIVATION or output == USUAL_PAIR[1]
        ),
    ),
)
def test_forward_is_the_textbook_formula(activation, output, depth, dtype):
    net = Network(
        (3, *(5, 1, 4)[:depth], 2),
        activation=activation,
        output_activation=output,
        dtype=dtype,
        random_state=SEED,
    )
    X, _, _ = draw_samples(net)
    a = X.astype(np.float64)
    for layer, (W, b) in enumerate(zip(net.coefs_, net.intercepts_, strict=True)):
        a = activated(activation if layer < depth else output, a @ W + b)
    result = net.forward(X)
    assert result.dtype == dtype
    assert result.shape == (7, 2)
    assert_close(result, a, size=max(1, np.abs(a).max()))


#: Without a hidden layer its activation has no say.
ARCHITECTURES = [
    ("identity", ()),
    *((activation, (5, 3)) for activation in ACTIVATIONS),
]


#: Architecture, loss and output, weighted or not, dtype: any two at a time are varied.
USUAL_PASS = ((USUAL_ACTIVATION, (5, 3)), USUAL_PAIR, True, np.float32)


def usual_pass(case):
    return sum(part != usual for part, usual in zip(case, USUAL_PASS, strict=True)) < 3


PASSES = itertools.product(ARCHITECTURES, PAIRS, (False, True), DTYPES)


@pytest.fixture(
    params=by_design(((case,) for case in PASSES), usual_pass),
    ids=lambda case: "-".join(getattr(part, "__name__", str(part)) for part in case),
)
def passes(request):
    """A network, its X, y and weights, and what backprop says of them."""
    (activation, hidden), (loss, output), weighted, dtype = request.param
    net = Network(
        (4, *hidden, 3 if output == "softmax" else 2),
        activation=activation,
        output_activation=output,
        loss=loss,
        alpha=0.3,
        dtype=dtype,
        random_state=SEED,
    )
    X, y, weight = draw_samples(net)
    weight = weight if weighted else None
    return net, X, y, weight, net.backprop(X, y, weight)


def test_backprop_has_one_entry_for_every_layer(passes):
    net, X, _, _, result = passes
    n, L = len(X), len(net.layer_sizes) - 1
    assert type(result.loss) is float
    assert result.z[0] is result.delta[0] is None
    assert result.a[0] is X
    assert len(result.z) == len(result.a) == len(result.delta) == L + 1
    for layer in range(1, L + 1):
        for quantity in (result.z, result.a, result.delta):
            assert quantity[layer].shape == (n, net.layer_sizes[layer])
    assert [g.shape for g in result.coef_grads] == [W.shape for W in net.coefs_]
    assert [g.shape for g in result.intercept_grads] == [
        b.shape for b in net.intercepts_
    ]
    assert result.sample_losses.shape == (n,)
    assert result.input_grads.shape == X.shape
    for array in (
        *(*result.z[1:], *result.a, *result.delta[1:]),
        *(*result.coef_grads, *result.intercept_grads),
        *(result.sample_losses, result.input_grads),
    ):
        assert array.dtype == net.dtype


def test_backprop_gives_z_and_a_of_the_forward_equations(passes):
    net, X, _, _, result = passes
    L = len(net.coefs_)
    for layer in range(1, L + 1):
        W, b, a = net.coefs_[layer - 1], net.intercepts_[layer - 1], result.a[layer - 1]
        assert_close(result.z[layer], a @ W + b, size=abs(a) @ abs(W) + abs(b))
        g = net.activation if layer < L else net.output_activation
        assert_close(result.a[layer], activated(g, result.z[layer]))
    assert_close(net.forward(X), result.a[L])


def test_backprop_gives_delta_of_BP1_and_BP2(passes):
    net, _, y, _, result = passes
    z, a, delta, L = result.z, result.a, result.delta, len(net.coefs_)
    size = 2 * abs(a[L] - y) * np.maximum(1, abs(a[L]))
    assert_close(delta[L], output_errors(net, z[L], a[L], y), size)
    for layer in range(L - 1, 0, -1):
        W, above = net.coefs_[layer], delta[layer + 1]
        expected = (above @ W.T) * derivative(net.activation, z[layer])
        assert_close(delta[layer], expected, size=abs(above) @ abs(W.T))


def test_backprop_gives_gradients_of_BP3_and_BP4_as_weighted_means(passes):
    net, X, y, weight, result = passes
    v = np.ones(len(X), net.dtype) if weight is None else weight

    def dW(a, delta, W):
        return (np.einsum("i,ik,ij->kj", v, a, delta) + net.alpha * W) / v.sum()

    def db(delta):
        return v @ delta / v.sum()

    for layer, W in enumerate(net.coefs_, start=1):
        a, delta = result.a[layer - 1], result.delta[layer]
        size = dW(abs(a), abs(delta), abs(W))
        assert_close(result.coef_grads[layer - 1], dW(a, delta, W), size)
        assert_close(result.intercept_grads[layer - 1], db(delta), db(abs(delta)))
    W, delta = net.coefs_[0], result.delta[1]
    assert_close(result.input_grads, delta @ W.T, abs(delta) @ abs(W.T))
    gradient = net.loss_and_grad(X, y, weight)[1]
    parts = result.coef_grads + result.intercept_grads
    np.testing.assert_array_equal(gradient, np.concatenate([g.ravel() for g in parts]))


def test_backprop_gives_sample_losses_and_their_weighted_mean_plus_penalty(passes):
    net, X, y, weight, result = passes
    v = np.ones(len(X)) if weight is None else weight.astype(np.float64)
    assert_close(result.sample_losses, sample_losses(net, result.z[-1], y))
    squares = sum((W.astype(np.float64) ** 2).sum() for W in net.coefs_)
    expected = (v @ result.sample_losses + net.alpha / 2 * squares) / v.sum()
    assert result.loss == pytest.approx(expected, rel=TOLERANCE[net.dtype])
    assert net.loss_and_grad(X, y, weight)[0] == result.loss


@pytest.mark.parametrize("pair", PAIRS)
def test_quantities_of_a_sample_know_neither_weights_nor_penalty(pair):
    net, penalised = small_network(*pair), small_network(*pair, alpha=2.0)
    X, y, weight = draw_samples(net)
    plain, weighted = net.backprop(X, y), penalised.backprop(X, y, weight)
    np.testing.assert_array_equal(weighted.sample_losses, plain.sample_losses)
    np.testing.assert_array_equal(weighted.input_grads, plain.input_grads)
    for ours, theirs in zip(weighted.delta[1:], plain.delta[1:], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_results_are_not_overwritten_by_the_next_call():
    net = small_network()
    X, y, weight = draw_samples(net)
    result = net.backprop(X, y)
    _, gradient = net.loss_and_grad(X, y)
    output = net.forward(X)
    kept = copy.deepcopy((result.delta[1:], gradient, output))
    net.backprop(-X, y, weight)
    net.loss_and_grad(-X, y, weight)
    net.forward(-X)
    for now, then in zip(result.delta[1:], kept[0], strict=True):
        np.testing.assert_array_equal(now, then)
    np.testing.assert_array_equal(gradient, kept[1])
    np.testing.assert_array_equal(output, kept[2])


def test_one_output_takes_y_as_a_vector_too():
    net = Network((3, 1), random_state=SEED)
    X, y, weight = draw_samples(net)
    assert_same_results(net, (X, y[:, 0], weight), (X, y, weight))


# -- loss_and_grad as an optimiser calls it --------------------------------------


def strange_params(net):
    """Vectors of `net.params_` plus 1, in every layout."""
    params = net.params_ + 1
    return {
        "plain": params,
        "list": params.tolist(),
        "read-only": read_only(params),
        "strided": np.repeat(params, 3)[::3],
        "backwards": params[::-1].copy()[::-1],
        "byte-swapped": byte_swapped(params),
        "unaligned": unaligned(params),
    }


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def byte_swapped(array):
    return array.astype(array.dtype.newbyteorder("S"))


def unaligned(array):
    buffer = b"x" + array.tobytes()
    return np.frombuffer(buffer, array.dtype, array.size, offset=1).reshape(array.shape)


LAYOUTS_OF_PARAMS = list(strange_params(small_network()))


@pytest.mark.parametrize("layout", LAYOUTS_OF_PARAMS)
def test_loss_at_given_params_leaves_the_networks_own_alone(layout):
    net, moved = small_network(alpha=0.1), small_network(alpha=0.1)
    X, y, weight = draw_samples(net)
    moved.params_ += 1
    before = net.params_.copy()
    params = strange_params(net)[layout]
    loss, gradient = net.loss_and_grad(X, y, weight, params=params)
    expected_loss, expected = moved.loss_and_grad(X, y, weight)
    assert loss == expected_loss
    np.testing.assert_array_equal(gradient, expected)
    np.testing.assert_array_equal(net.params_, before)
    np.testing.assert_array_equal(net.forward(X), small_network().forward(X))


@pytest.mark.parametrize("dtype", DTYPES)
def test_grad_out_receives_the_gradient_and_is_returned(dtype):
    net = small_network(dtype=dtype)
    X, y, _ = draw_samples(net)
    loss, expected = net.loss_and_grad(X, y)
    grad_out = np.full_like(net.params_, np.nan)
    again, returned = net.loss_and_grad(X, y, grad_out=grad_out)
    assert type(loss) is float
    assert returned is grad_out
    assert again == loss
    np.testing.assert_array_equal(grad_out, expected)


BAD_GRAD_OUT = {
    "params_": lambda net: net.params_,
    "view of params_": lambda net: net.params_[:],
    "list": lambda net: net.params_.tolist(),
    "other dtype": lambda net: np.empty(32, np.float32),
    "byte-swapped": lambda net: byte_swapped(np.empty(32)),
    "too long": lambda net: np.empty(33),
    "too short": lambda net: np.empty(31),
    "2-D": lambda net: np.empty((1, 32)),
    "read-only": lambda net: read_only(np.empty(32)),
    "strided": lambda net: np.empty(64)[::2],
    "unaligned": lambda net: np.frombuffer(bytearray(257), np.float64, 32, offset=1),
}


@pytest.mark.parametrize("with_params", [False, True])
@pytest.mark.parametrize("bad", BAD_GRAD_OUT)
def test_unusable_grad_out_is_refused_by_name(bad, with_params):
    net = small_network()
    X, y, _ = draw_samples(net)
    before = net.params_.copy()
    params = net.params_ + 1 if with_params else None
    with pytest.raises((ValueError, TypeError), match="grad_out"):
        net.loss_and_grad(X, y, params=params, grad_out=BAD_GRAD_OUT[bad](net))
    np.testing.assert_array_equal(net.params_, before)


@pytest.mark.parametrize("shift", [0, 31, -31])
def test_grad_out_that_shares_memory_with_given_params_is_refused(shift):
    net = small_network()
    X, y, _ = draw_samples(net)
    buffer = np.zeros(32 + 2 * 31)
    params, grad_out = buffer[31:63], buffer[31 + shift : 63 + shift]
    with pytest.raises(ValueError, match="grad_out shares memory"):
        net.loss_and_grad(X, y, params=params, grad_out=grad_out)
    assert not buffer.any()


BAD_PARAMS = {
    "too short": lambda params: params[:-1],
    "too long": lambda params: np.append(params, 0),
    "2-D": lambda params: params[np.newaxis],
    "scalar": lambda params: 1.0,
    "complex": lambda params: params + 1j,
    "letters": lambda params: np.full(params.shape, "a"),
    "objects": lambda params: np.full(params.shape, {}, object),
}


@pytest.mark.parametrize("bad", BAD_PARAMS)
def test_unusable_params_are_refused_by_name(bad):
    net = small_network()
    X, y, _ = draw_samples(net)
    with pytest.raises((ValueError, TypeError), match=r"\bparams\b"):
        net.loss_and_grad(X, y, params=BAD_PARAMS[bad](net.params_))


@pytest.mark.parametrize("method", ["L-BFGS-B", "CG"])
def test_scipy_can_minimise_it(method):
    net = small_network(alpha=0.1)
    X, y, weight = draw_samples(net, 20)
    before = net.params_.copy()
    start, _ = net.loss_and_grad(X, y, weight)
    found = scipy.optimize.minimize(
        lambda params: net.loss_and_grad(X, y, weight, params=params),
        net.params_,
        jac=True,
        method=method,
        options={"maxiter": 500},
    )
    assert found.fun < 0.9 * start
    assert np.abs(found.jac).max() < 1e-3
    np.testing.assert_array_equal(net.params_, before)
    net.params_[:] = found.x
    assert net.loss_and_grad(X, y, weight)[0] == found.fun


# -- which losses go with which outputs ------------------------------------------


@pytest.mark.parametrize(("loss", "output"), UNDEFINED_PAIRS)
def test_undefined_pair_of_loss_and_output_is_refused_by_name(loss, output):
    with pytest.raises(ValueError) as refusal:
        small_network(loss, output)
    assert f"loss={loss!r}" in str(refusal.value)
    assert f"output_activation={output!r}" in str(refusal.value)
    for defined in RECORDS[loss].outputs:
        assert defined in str(refusal.value)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pair", PAIRS)
def test_defined_pair_of_loss_and_output_computes(pair, dtype):
    net = small_network(*pair, dtype=dtype)
    loss, gradient = net.loss_and_grad(*draw_samples(net))
    assert 0 < loss < np.inf
    assert np.isfinite(gradient).all()
    assert gradient.any()


# -- arrays as they lie in memory ------------------------------------------------


def as_memmap(array, tmp_path):
    # Not under one name: another array may still be mapped to that.
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")


#: From a plain array (n, m) to one with equal values that lies otherwise in memory.
LAYOUTS = {
    "read-only": lambda A, _: read_only(A),
    "Fortran order": lambda A, _: np.asfortranarray(A),
    "every other row": lambda A, _: np.repeat(A, 2, axis=0)[::2],
    "part of wider rows": lambda A, _: np.hstack([A, A, A])[:, : A.shape[1]],
    "every other column": lambda A, _: np.repeat(A, 2, axis=1)[:, ::2],
    "rows backwards": lambda A, _: A[::-1].copy()[::-1],
    "columns backwards": lambda A, _: A[:, ::-1].copy()[:, ::-1],
    "byte-swapped": lambda A, _: byte_swapped(A),
    "unaligned": lambda A, _: unaligned(A),
    "unaligned rows": lambda A, _: rows_at_odd_distances(A),
    "list": lambda A, _: A.tolist(),
    "memory-mapped": as_memmap,
}
#: Of these a kernel reads X where it lies.
READ_IN_PLACE = (
    "read-only",
    "every other row",
    "part of wider rows",
    "rows backwards",
    "memory-mapped",
)


def rows_at_odd_distances(array):
    """As a column of a packed record: rows that start between two numbers."""
    field = (array.dtype, array.shape[1:])
    records = np.zeros(len(array), [("before", "u1"), ("values", *field)])
    records["values"] = array
    return records["values"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 7, 70])
@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_of_the_samples_does_not_change_a_bit(layout, width, n, dtype, tmp_path):
    net = Network((width, 5, width), dtype=dtype, random_state=SEED)
    X, y, weight = draw_samples(net, n)
    change = LAYOUTS[layout]
    as_column = weight[:, np.newaxis]
    for given in (
        (change(X, tmp_path), y, weight),
        (X, change(y, tmp_path), weight),
        (X, y, np.asarray(change(as_column, tmp_path))[:, 0]),
    ):
        assert_same_results(net, given, (X, y, weight))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", READ_IN_PLACE)
def test_X_with_contiguous_rows_is_read_where_it_lies(layout, dtype, tmp_path):
    net = small_network(dtype=dtype)
    X, y, _ = draw_samples(net)
    X = LAYOUTS[layout](X, tmp_path)
    result = net.backprop(X, y)
    assert np.shares_memory(result.a[0], X)
    assert result.a[0].strides == X.strides


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float16, object, "list"])
def test_integers_and_numbers_of_other_types_are_taken_by_value(kind):
    net = small_network()
    X, y, weight = (np.abs(np.rint(3 * array)) for array in draw_samples(net))
    if kind is bool:
        X, y, weight = X > 1, y > 1, np.ones(7, bool)
    plain = [array.astype(np.float64) for array in (X, y, weight)]
    if kind == "list":
        given = [array.astype(int).tolist() for array in (X, y, weight)]
    else:
        given = [array.astype(kind) for array in (X, y, weight)]
    assert_same_results(net, given, plain)


@pytest.mark.parametrize("dtype", DTYPES)
def test_samples_of_the_other_float_type_are_cast(dtype):
    net = small_network(dtype=dtype)
    other = np.float32 if dtype == np.float64 else np.float64
    given = [array.astype(other) for array in draw_samples(net)]
    assert_same_results(net, given, [array.astype(dtype) for array in given])
    assert net.forward(given[0]).dtype == dtype


def test_one_row_repeated_without_memory_of_its_own_is_read():
    net = small_network()
    X, y, weight = draw_samples(net)
    given = np.broadcast_to(X[0], X.shape)
    assert_same_results(net, (given, y, weight), (given.copy(), y, weight))


@pytest.mark.parametrize("layout", sorted(LAYOUTS.keys() - {"list", "memory-mapped"}))
@pytest.mark.parametrize("dtype", DTYPES)
def test_forward_of_no_rows_is_empty(layout, dtype, tmp_path):
    net = small_network(dtype=dtype)
    result = net.forward(LAYOUTS[layout](np.empty((0, 3), dtype), tmp_path))
    assert result.shape == (0, 2)
    assert result.dtype == dtype


@pytest.mark.parametrize("n", [1, 2, 1000])
def test_samples_are_left_as_they_were(n):
    net = small_network()
    samples = draw_samples(net, n)
    copies = [array.copy() for array in samples]
    net.forward(samples[0])
    net.loss_and_grad(*samples)
    net.backprop(*samples)
    for now, then in zip(samples, copies, strict=True):
        np.testing.assert_array_equal(now, then)


# -- sparse X --------------------------------------------------------------------


def sparse_samples(network, n=7):
    """X with zeros in it, y and sample weights, all dense."""
    X, y, weight = draw_samples(network, n)
    X[::2, 0] = X[1::3] = 0
    return X, y, weight


def with_duplicates(X):
    """CSR with every entry in two halves, and the columns of a row descending."""
    coo = scipy.sparse.coo_array(X)
    backwards = np.lexsort((-coo.col, coo.row)).repeat(2)
    return scipy.sparse.csr_array(
        (
            coo.data[backwards] / 2,
            coo.col[backwards],
            2 * scipy.sparse.csr_array(X).indptr,
        ),
        X.shape,
    )


def with_stored_zeros(X):
    n, width = X.shape
    columns, starts = np.tile(np.arange(width), n), np.arange(n + 1) * width
    return scipy.sparse.csr_array((X.ravel(), columns, starts), X.shape)


def with_every_array(change):
    """To CSR whose three arrays are changed."""

    def to_sparse(X):
        X = scipy.sparse.csr_matrix(X)
        X.data, X.indices, X.indptr = map(change, (X.data, X.indices, X.indptr))
        return X

    return to_sparse


#: From a plain array to a sparse one of equal values.
SPARSE_KINDS = {
    "csr_matrix": scipy.sparse.csr_matrix,
    "csr_array": scipy.sparse.csr_array,
    "wide indices": with_every_array(
        lambda array: array.astype(np.int64) if array.dtype == np.int32 else array
    ),
    "read-only": with_every_array(read_only),
    "csc_matrix": scipy.sparse.csc_matrix,
    "csc_array": scipy.sparse.csc_array,
    "coo_array": scipy.sparse.coo_array,
    "lil_array": scipy.sparse.lil_array,
    "dok_array": scipy.sparse.dok_array,
    "dia_array": scipy.sparse.dia_array,
    "bsr_array": scipy.sparse.bsr_array,
    "duplicates": with_duplicates,
    "duplicates in csc": lambda X: with_duplicates(X.T.copy()).T,
    "stored zeros": with_stored_zeros,
    "other float": lambda X: scipy.sparse.csr_array(X).astype(
        np.float32 if X.dtype == np.float64 else np.float64
    ),
    "strided": with_every_array(lambda array: np.repeat(array, 2)[::2]),
    "unaligned": with_every_array(unaligned),
}
#: Of these a kernel reads X where it lies.
SPARSE_IN_PLACE = (
    "csr_matrix",
    "csr_array",
    "wide indices",
    "read-only",
    "stored zeros",
)


@pytest.mark.parametrize("implementation", ["reference", "kernels"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", SPARSE_KINDS)
def test_sparse_X_does_not_change_a_bit(monkeypatch, implementation, kind, dtype):
    monkeypatch.setenv("CBP_IMPLEMENTATION", implementation)
    net = small_network(dtype=dtype)
    X, y, weight = sparse_samples(net)
    # Numbers that both float types have.
    X = X.astype(np.float32).astype(dtype)
    given = SPARSE_KINDS[kind](X)
    assert scipy.sparse.issparse(given)
    before = copy.deepcopy(given)
    assert_same_results(net, (given, y, weight), (X, y, weight))
    np.testing.assert_array_equal(net.weighted_outputs(given), net.weighted_outputs(X))
    result = net.backprop(given, y)
    assert result.a[0].format == "csr"
    assert isinstance(result.input_grads, np.ndarray)
    assert type(given) is type(before)
    if given.format in ("csr", "csc"):
        for name in ("data", "indices", "indptr"):
            now, then = getattr(given, name), getattr(before, name)
            np.testing.assert_array_equal(now, then)
            assert now.dtype == then.dtype


def test_backprop_of_sparse_X_makes_nothing_dense_of_its_size(monkeypatch):
    monkeypatch.setenv("CBP_IMPLEMENTATION", "kernels")  # the reference makes lists
    n, n_columns = 100, 10_000
    net = Network((n_columns, 1), random_state=0)
    X = scipy.sparse.random_array((n, n_columns), density=1e-3, rng=0).tocsr()
    net.backprop(X, np.zeros(n))  # workspaces are kept
    tracemalloc.start()
    result = net.backprop(X, np.zeros(n))
    result.sample_grad_norms()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * n * n_columns / 10


@pytest.mark.parametrize("implementation", ["reference", "kernels"])
def test_without_a_penalty_no_square_of_a_weight_overflows(monkeypatch, implementation):
    monkeypatch.setenv("CBP_IMPLEMENTATION", implementation)
    net = Network((1, 1), params=[1e200, 1.0])
    assert net.backprop([[0.0]], [0.0]).loss == 0.5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", SPARSE_IN_PLACE)
def test_canonical_csr_is_read_where_it_lies(kind, dtype):
    net = small_network(dtype=dtype)
    X, y, _ = sparse_samples(net)
    given = SPARSE_KINDS[kind](X)
    arrays = given.data, given.indices, given.indptr
    read = net.backprop(given, y).a[0]
    for array, in_use in zip(
        (read.data, read.indices, read.indptr), arrays, strict=True
    ):
        assert array is in_use


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.longdouble])
def test_sparse_numbers_of_other_types_are_taken_by_value(kind):
    net = small_network()
    X, y, weight = sparse_samples(net)
    X = np.abs(np.rint(3 * X)).astype(kind)
    for to_sparse in (scipy.sparse.csr_array, scipy.sparse.csc_array):
        given = to_sparse(X)
        assert given.dtype == kind
        assert_same_results(net, (given, y, weight), (X, y, weight))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "csc_array", "coo_array"])
def test_forward_of_no_sparse_rows_is_empty(kind, dtype):
    net = small_network(dtype=dtype)
    result = net.forward(SPARSE_KINDS[kind](np.empty((0, 3), dtype)))
    assert result.shape == (0, 2)
    assert result.dtype == dtype


@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
def test_sparse_rows_are_X_itself_or_ascend_without_duplicates(index_dtype):
    X = sparse_samples(small_network())[0]
    for kind in SPARSE_KINDS:
        given = SPARSE_KINDS[kind](X)
        rows = sparse_rows(given, np.dtype(np.float64))
        assert (rows is given) == (kind in SPARSE_IN_PLACE), kind
        rows.check_format(full_check=True)
        starts = rows.indptr[1:-1]
        starts = starts[(0 < starts) & (starts < rows.nnz)]
        assert (np.delete(np.diff(rows.indices), starts - 1) > 0).all(), kind


WRONG_SPARSE = {
    "complex": lambda X: scipy.sparse.csr_array(X + 1j),
    "NaN": lambda X: scipy.sparse.csr_array(with_entry(X, np.nan)),
    "inf": lambda X: scipy.sparse.csc_array(with_entry(X, np.inf)),
    "sum that overflows": lambda X: with_duplicates(with_entry(X, 1e308)) * 1.9,
    "1-D": lambda X: scipy.sparse.coo_array(X[:, 0]),
    "a column short": lambda X: scipy.sparse.csr_array(X[:, :-1]),
    "a column too many": lambda X: scipy.sparse.coo_array(np.hstack([X, X[:, :1]])),
    "transposed": lambda X: scipy.sparse.csr_array(X).T,
    "no rows": lambda X: scipy.sparse.csr_array(X[:0]),
}


@pytest.mark.parametrize("bad", WRONG_SPARSE)
def test_bad_sparse_X_is_refused_by_name(bad):
    methods = ["forward", "backprop", "loss_and_grad"]
    if bad == "no rows":
        methods.remove("forward")
    assert_refused(small_network(), "X", WRONG_SPARSE[bad], methods)


def test_sparse_number_too_large_for_float32_is_refused_by_name():
    def bad(X):
        return scipy.sparse.csr_array(with_entry(X.astype(np.float64), 1e39))

    assert_refused(small_network(dtype=np.float32), "X", bad)


# -- bad input -------------------------------------------------------------------


def with_entry(array, value):
    array = array.copy()
    array.flat[-1] = value
    return array


#: What no numeric array of any shape may be.
WRONG_VALUES = {
    "complex": lambda A: A + 1j,
    "letters": lambda A: np.full(A.shape, "a"),
    "digits": lambda A: np.full(A.shape, "1.0"),
    "dates": lambda A: np.ones(A.shape).astype("M8[s]"),
    "objects": lambda A: np.full(A.shape, {}, object),
    "NaN": lambda A: with_entry(A, np.nan),
    "inf": lambda A: with_entry(A, np.inf),
    "-inf": lambda A: with_entry(A, -np.inf),
    "scalar": lambda A: 1.0,
    "no rows": lambda A: A[:0],
    "3-D": lambda A: A.reshape(1, -1, 1),
    "a row short": lambda A: A[:-1],
}
WRONG_MATRICES = {
    **WRONG_VALUES,
    "None": lambda A: None,
    "sparse": scipy.sparse.csr_matrix,
    "1-D": lambda A: A[:, 0],
    "a column short": lambda A: A[:, :-1],
    "a column too many": lambda A: np.hstack([A, A[:, :1]]),
    "no columns": lambda A: A[:, :0],
    "transposed": lambda A: A.T,
    "ragged": lambda A: [[1.0], *A.tolist()[1:]],
}
WRONG_WEIGHTS = {
    **WRONG_VALUES,
    "sparse": lambda w: scipy.sparse.csr_matrix(w[:, np.newaxis]),
    "a column": lambda w: w[:, np.newaxis],
    "too long": lambda w: np.append(w, 1),
    "negative": lambda w: with_entry(w, -1e-9),
    "all zero": np.zeros_like,
    "all minus zero": lambda w: -np.zeros_like(w),
}


def assert_refused(net, name, bad, methods=("backprop", "loss_and_grad")):
    """Every method refuses samples with `bad` under `name`; the network goes on."""
    samples = dict(zip(("X", "y", "sample_weight"), draw_samples(net), strict=True))
    before, params = net.forward(samples["X"]), net.params_.copy()
    for method in methods:
        given = {**samples, name: bad(samples[name])}
        if method == "forward":
            given = {"X": given["X"]}
        with pytest.raises((ValueError, TypeError), match=rf"\b{name}\b"):
            getattr(net, method)(**given)
        np.testing.assert_array_equal(net.params_, params)
        np.testing.assert_array_equal(net.forward(samples["X"]), before)


@pytest.mark.parametrize(
    "bad", sorted(WRONG_MATRICES.keys() - {"a row short", "sparse"})
)
def test_bad_X_is_refused_by_name(bad):
    methods = ["forward", "backprop", "loss_and_grad"]
    if bad == "no rows":
        methods.remove("forward")
    assert_refused(small_network(), "X", WRONG_MATRICES[bad], methods)


@pytest.mark.parametrize("bad", WRONG_MATRICES)
def test_bad_y_is_refused_by_name(bad):
    assert_refused(small_network(), "y", WRONG_MATRICES[bad])


@pytest.mark.parametrize("bad", WRONG_WEIGHTS)
def test_bad_sample_weight_is_refused_by_name(bad):
    assert_refused(small_network(), "sample_weight", WRONG_WEIGHTS[bad])


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize("name", ["X", "y", "sample_weight"])
def test_number_too_large_for_float32_is_refused_by_name(name):
    def bad(array):
        return with_entry(array.astype(np.float64), 1e39)

    assert_refused(small_network(dtype=np.float32), name, bad)


OUTSIDE_THE_DOMAIN = {
    "a half for logistic": ("log_loss", "logistic", lambda y: with_entry(y, 0.5)),
    "-1 for logistic": ("log_loss", "logistic", lambda y: with_entry(y, -1)),
    "2 for logistic": ("log_loss", "logistic", lambda y: with_entry(y, 2)),
    "1 and 2 for logistic": ("log_loss", "logistic", lambda y: y + 1),
    "thirds for softmax": ("log_loss", "softmax", lambda y: np.full_like(y, 1 / 3)),
    "2 for softmax": ("log_loss", "softmax", lambda y: with_entry(y, 2)),
    "no 1 for softmax": ("log_loss", "softmax", np.zeros_like),
    "only 1 for softmax": ("log_loss", "softmax", np.ones_like),
    "two 1 for softmax": ("log_loss", "softmax", lambda y: 1 - y),
    "-1 for poisson": ("poisson", "exp", lambda y: with_entry(y, -1)),
    "hardly negative for poisson": ("poisson", "exp", lambda y: with_entry(y, -1e-9)),
}


@pytest.mark.parametrize("case", OUTSIDE_THE_DOMAIN)
def test_y_outside_the_domain_of_the_loss_is_refused_by_name(case):
    loss, output, bad = OUTSIDE_THE_DOMAIN[case]
    assert_refused(small_network(loss, output), "y", bad)


@pytest.mark.parametrize("n", [0, 8])
def test_X_and_y_of_different_lengths_are_refused(n):
    net = small_network()
    X, y, _ = draw_samples(net)
    with pytest.raises(ValueError, match=r"\by\b"):
        net.loss_and_grad(X, np.resize(y, (n, 2)))


BAD_ARGUMENTS = {
    "layer_sizes": (
        (),
        (3,),
        (3, 0, 1),
        (3, -1),
        (3, 2.0),
        (3, "2"),
        "32",
        3,
        None,
        (3, None),
        (3, np.nan),
        (3, (2, 1)),
        np.array([2.0, 1.0]),
    ),
    "activation": ("", "sigmoid", "Relu", "softmax", "exp", None, 1, ["relu"]),
    "output_activation": ("", "sigmoid", "Relu", None, 1, ["relu"]),
    "loss": ("", "mse", None, 1, ["squared_error"]),
    "alpha": (-1, -1e-300, np.nan, np.inf, "0", None, 1j, [0.1]),
    "dtype": (int, bool, complex, object, np.float16, ">f8", "nonsense"),
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(name, value, id=f"{name}={value!r}")
        for name, values in BAD_ARGUMENTS.items()
        for value in values
    ],
)
def test_bad_argument_of_the_constructor_is_refused_by_name(name, value):
    arguments = {"layer_sizes": (3, 2), name: value}
    with pytest.raises((ValueError, TypeError), match=rf"\b{name}\b"):
        Network(**arguments)


@pytest.mark.parametrize(
    "sizes", [[3, 2], np.array([3, 2]), (np.int8(3), np.uint64(2))], ids=repr
)
def test_sizes_may_be_any_integers_in_any_sequence(sizes):
    net = Network(sizes, alpha=np.float32(0.5), dtype="float32")
    assert net.layer_sizes == (3, 2)
    assert {type(size) for size in net.layer_sizes} == {int}
    assert net.alpha == 0.5
    assert net.dtype == np.float32


# -- choice of the implementation ------------------------------------------------


def test_unknown_implementation_is_refused_with_the_choices(monkeypatch):
    net = small_network()
    monkeypatch.setenv("CBP_IMPLEMENTATION", "abacus")
    with pytest.raises(ValueError, match=r"CBP_IMPLEMENTATION='abacus'") as refusal:
        net.forward(np.zeros((1, 3)))
    assert "kernels" in str(refusal.value)
    assert "reference" in str(refusal.value)
    monkeypatch.setenv("CBP_IMPLEMENTATION", "reference")
    assert net.forward(np.zeros((1, 3))).shape == (1, 2)


@pytest.mark.parametrize("isa", ["mmx", "AVX2 ", "\N{SNOWMAN}"])
def test_unknown_instruction_set_is_refused_with_the_choices(monkeypatch, isa):
    net = small_network()
    monkeypatch.setenv("CBP_IMPLEMENTATION", "kernels")
    monkeypatch.setenv("CBP_ISA", isa)
    with pytest.raises(ValueError, match=f"CBP_ISA='{isa}'") as refusal:
        net.forward(np.zeros((1, 3)))
    for available in kernels.available_instruction_sets():
        assert available in str(refusal.value)
    monkeypatch.setenv("CBP_ISA", kernels.available_instruction_sets()[-1])
    assert net.forward(np.zeros((1, 3))).shape == (1, 2)


# -- copies and threads ----------------------------------------------------------


COPIES = {
    **{
        f"pickle protocol {protocol}": (
            lambda net, protocol=protocol: pickle.loads(pickle.dumps(net, protocol))
        )
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    },
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def as_drawn(net):
    """No weight changed since the network was made."""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("write", [as_drawn, zeroed_output, replaced_output])
@pytest.mark.parametrize("how", COPIES)
def test_copy_computes_the_same_from_memory_of_its_own(how, write, dtype):
    net = small_network("sum_of_squares", "relu", alpha=0.1, dtype=dtype)
    samples = draw_samples(net)
    write(net)
    net.forward(samples[0])
    twin = COPIES[how](net)

    assert repr(twin) == repr(net)
    np.testing.assert_array_equal(twin.params_, net.params_)
    np.testing.assert_array_equal(twin.forward(samples[0]), net.forward(samples[0]))
    loss, gradient = twin.loss_and_grad(*samples)
    expected_loss, expected = net.loss_and_grad(*samples)
    assert loss == expected_loss
    np.testing.assert_array_equal(gradient, expected)

    before = net.params_.copy()
    for view in (*twin.coefs_, *twin.intercepts_):
        assert np.shares_memory(view, twin.params_)
        view[...] = 7
    assert np.all(twin.params_ == 7)
    np.testing.assert_array_equal(net.params_, before)


TAMPER = {
    "one too few": lambda params: params[:-1],
    "one too many": lambda params: np.append(params, 0),
    "none": lambda params: params[:0],
    "a scalar": lambda params: 1.0,
    "a matrix": lambda params: params[np.newaxis],
}


@pytest.mark.parametrize("wrong", TAMPER)
def test_pickled_state_with_a_wrong_number_of_params_is_refused(wrong):
    state = small_network().__getstate__()
    state["params_"] = TAMPER[wrong](state["params_"])
    with pytest.raises(ValueError, match="params has shape"):
        Network.__new__(Network).__setstate__(state)


def test_threads_may_share_a_network():
    net = small_network("log_loss", "softmax")
    calls = [draw_samples(net, n) for n in range(1, 201)]
    expected = [(net.forward(X), net.loss_and_grad(X, y)) for X, y, _ in calls]

    def call(samples):
        X, y, _ = samples
        return net.forward(X), net.loss_and_grad(X, y)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = list(pool.map(call, calls))
    for result, alone in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result[0], alone[0])
        assert result[1][0] == alone[1][0]
        np.testing.assert_array_equal(result[1][1], alone[1][1])


@pytest.mark.parametrize(
    ("name", "value"),
    [("alpha", 5.0), ("activation", "relu"), ("loss", "sum_of_squares")],
)
def test_settings_are_settled_when_the_network_is_made(name, value):
    net = small_network()
    before = getattr(net, name)
    with pytest.raises(AttributeError, match=f"{name}={value!r}"):
        setattr(net, name, value)
    assert getattr(net, name) == before


@pytest.mark.parametrize("output", ["softmax", "logistic", "identity", "exp"])
def test_weighted_outputs_are_z_of_the_output_layer(output):
    net = Network((3, 5, 2), output_activation=output, random_state=0)
    X = np.linspace(-1, 1, 12).reshape(4, 3)
    y = np.eye(2)[[0, 1, 1, 0]]
    np.testing.assert_allclose(
        net.weighted_outputs(X), net.backprop(X, y).z[2], rtol=1e-12
    )


@pytest.mark.parametrize("sizes", [(2**40, 2**40), (2**62, 1), (1, 2**62, 1)])
def test_sizes_beyond_all_memory_are_refused_by_name(sizes):
    with pytest.raises(ValueError, match="layer_sizes"):
        Network(sizes)


@pytest.mark.parametrize("weight", [1e-39, 3e38])
def test_weights_whose_sum_cannot_be_divided_by_are_refused(weight):
    net = small_network(dtype=np.float32)
    X, y, _ = draw_samples(net)
    with pytest.raises(ValueError, match="sample_weight"):
        net.loss_and_grad(X, y, np.full(len(X), weight, np.float32))


def test_a_training_left_open_does_not_spoil_the_next_call():
    net = small_network()
    X, y, _ = draw_samples(net)
    expected = net.forward(X)
    with net.propagator() as propagator:
        propagator.use_solver(SGD(0.9, True), [np.zeros_like(net.params_)])
        propagator.begin_training(net.params_, X, y, None, 2)
        propagator.begin_epoch(np.arange(len(X)), rates_of(0.1, len(X), 2))
    np.testing.assert_array_equal(net.forward(X), expected)
