"""The doors of kernels and reference refuse alike what they cannot use, by its name."""

import numpy as np
import pytest
from problems import n_params, rates_of

import cbp
from cbp.kernels import propagator as kernels
from cbp.reference import propagator as reference

pytestmark = pytest.mark.emulated

SIZES = (3, 4, 2)
ALPHA = 0.3


@pytest.fixture(params=[kernels, reference], ids=["kernels", "reference"])
def propagator(request):
    spec = SIZES, "tanh", "identity", "squared_error", ALPHA, np.dtype(np.float64)
    return request.param.Propagator(*spec)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "params": rng.uniform(-1, 1, n_params(SIZES)),
        "X": rng.normal(size=(5, 3)),
        "y": rng.normal(size=(5, 2)),
        "sample_weight": rng.uniform(0.5, 2.0, 5),
    }


def strided(array):
    return np.repeat(array, 2, axis=-1)[..., ::2]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


UNUSABLE = {
    "params short": ("params", lambda params: params[:-1], ValueError),
    "params float32": ("params", lambda params: params.astype("f4"), TypeError),
    "params strided": ("params", strided, ValueError),
    "params list": ("params", np.ndarray.tolist, TypeError),
    "X narrow": ("X", lambda X: np.ascontiguousarray(X[:, :2]), ValueError),
    "X flat": ("X", np.ravel, ValueError),
    "X by columns": ("X", np.asfortranarray, ValueError),
    "X float32": ("X", lambda X: X.astype("f4"), TypeError),
    "X list": ("X", np.ndarray.tolist, TypeError),
    "X byte-swapped": ("X", lambda X: X.astype(X.dtype.newbyteorder()), TypeError),
    "y short": ("y", lambda y: y[:-1], ValueError),
    "y by columns": ("y", np.asfortranarray, ValueError),
    "y integer": ("y", lambda y: y.astype(int), TypeError),
    "y list": ("y", np.ndarray.tolist, TypeError),
    "weight 2-D": ("sample_weight", lambda weight: weight[:, None], ValueError),
    "weight zero": ("sample_weight", np.zeros_like, ValueError),
    "grad short": ("grad_out", lambda grad: grad[1:], ValueError),
    "grad read-only": ("grad_out", read_only, ValueError),
}


@pytest.mark.parametrize(("name", "spoil", "error"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_array_for_the_gradient(propagator, arrays, name, spoil, error):
    arrays["grad_out"] = np.empty_like(arrays["params"])
    given = arrays | {name: spoil(arrays[name])}
    with pytest.raises(error, match=rf"^{name}\b"):
        propagator.loss_and_grad(*given.values())
    assert np.isfinite(propagator.loss_and_grad(*arrays.values()))


@pytest.mark.parametrize("spoil", [read_only, strided, lambda a: a[:4], np.ravel])
def test_an_array_for_the_outputs(propagator, arrays, spoil):
    params, X, a_out = arrays["params"], arrays["X"], np.empty((5, 2))
    with pytest.raises(ValueError, match=r"^a_out\b"):
        propagator.forward(params, X, spoil(a_out))
    propagator.forward(params, X, a_out)
    assert np.isfinite(a_out).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("order", np.array([0, 1, 5])),
        ("order", np.array([-1, 0, 1])),
        ("order", np.array([0.0, 1.0, 2.0])),
        ("order", [0, 1, 2]),
        ("batch_size", 0),
        ("rates", 0.1),
        ("rates", np.ones(2)),
        ("rates", np.ones(3, np.float32)),
        ("rates", np.ones(6)[::2]),
        ("rates", [1.0, 1.0, 1.0]),
    ],
)
def test_an_epoch(propagator, arrays, name, value):
    usable = {"order": np.arange(3), "batch_size": 1, "rates": np.ones(3)}
    last = usable | {name: value}
    propagator.use_solver(cbp.solvers.SGD(), [np.zeros_like(arrays["params"])])
    with pytest.raises((TypeError, ValueError), match=rf"^{name}\b"):
        propagator.begin_training(*arrays.values(), last["batch_size"])
        propagator.begin_epoch(last["order"], last["rates"])
    assert not propagator.in_epoch
    if propagator.in_training:
        propagator.begin_epoch(usable["order"], usable["rates"])


@pytest.mark.parametrize(
    "moments, factors, message",
    [
        (0, None, "argument"),
        (2, None, "argument"),
        (np.zeros(3), None, "velocity"),
        (read_only(np.zeros(n_params(SIZES))), None, "velocity"),
        (1, np.ones((3, 2)), "factors"),
        (1, np.ones(2), "factors"),
    ],
)
def test_what_belongs_to_a_solver(propagator, arrays, moments, factors, message):
    zeros = np.zeros_like(arrays["params"])
    moments = [zeros] * moments if isinstance(moments, int) else [moments]
    with pytest.raises(ValueError, match=message):
        propagator.use_solver(cbp.solvers.SGD(), moments, 0, factors)
    with pytest.raises(ValueError, match="use_solver"):
        propagator.begin_training(*arrays.values(), 1)


def test_calls_of_a_training_that_do_not_come_in_their_order(propagator, arrays):
    order, rates = np.arange(4), rates_of(0.1, 4, 2)

    def use_solver():
        propagator.use_solver(cbp.solvers.SGD(), [np.zeros_like(arrays["params"])])

    def begin_training():
        propagator.begin_training(*arrays.values(), 2)

    def begin_epoch():
        propagator.begin_epoch(order, rates)

    def refuses(call, remedy):
        with pytest.raises(ValueError, match=remedy):
            call()

    refuses(begin_training, "use_solver")
    use_solver()
    for call in (begin_epoch, propagator.end_training):
        refuses(call, "begin_training")
    begin_training()
    for call in (use_solver, begin_training):
        refuses(call, "end_training")
    for call in (lambda: propagator.advance(1.0), propagator.end_epoch):
        refuses(call, "begin_epoch")
    begin_epoch()
    refuses(begin_epoch, "end_epoch")
    propagator.end_training()
    assert not propagator.in_epoch
