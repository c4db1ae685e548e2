"""`shuffle` is numpy's legacy shuffle: the same order, the same state afterwards."""

import ast
import inspect
import os
import signal
import threading
from importlib.resources import files

import numpy as np
import pytest

from cbp.data._shuffle import shuffle

BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")

#: Around powers of two, where a draw takes another bit; around a block of draws; and
#: past the rows after which signals are looked for.
SIZES = sorted(
    {*range(71), *(2**k + d for k in range(6, 18) for d in (-1, 0, 1)), 2**20 + 300}
)


def twins(bit_generator, seed=0):
    make = getattr(np.random, bit_generator)
    return np.random.RandomState(make(seed)), np.random.RandomState(make(seed))


def assert_same_state(rng, numpys):
    for draw in ("random_sample", "standard_normal", "random_sample"):
        assert getattr(rng, draw)() == getattr(numpys, draw)()
    np.testing.assert_array_equal(
        rng.randint(2**32, size=1000, dtype=np.uint32),
        numpys.randint(2**32, size=1000, dtype=np.uint32),
    )
    assert rng.randint(2**62, dtype=np.int64) == numpys.randint(2**62, dtype=np.int64)


@pytest.mark.parametrize("bit_generator", BIT_GENERATORS)
def test_order_and_state_are_numpys(bit_generator):
    rng, numpys = twins(bit_generator)
    for n in SIZES:
        order, expected = np.arange(n), np.arange(n)
        shuffle(rng, order)
        numpys.shuffle(expected)
        np.testing.assert_array_equal(order, expected)
    assert_same_state(rng, numpys)


@pytest.mark.parametrize("n", [1, 2, 3, 100, 1025])
@pytest.mark.parametrize("seed", range(100))
def test_running_order_is_numpys(seed, n):
    rng, numpys = twins("MT19937", seed)
    order, expected = np.arange(n), np.arange(n)
    for _ in range(5):
        shuffle(rng, order)
        numpys.shuffle(expected)
    np.testing.assert_array_equal(order, expected)
    assert_same_state(rng, numpys)


def test_between_other_draws():
    # A half-used 64-bit draw, and a normal kept for later, stay in the generator.
    rng, numpys = twins("PCG64")
    for draw in ("standard_normal", "tomaxint", "random_sample"):
        order, expected = np.arange(99), np.arange(99)
        for each in (rng, numpys):
            getattr(each, draw)()
        shuffle(rng, order)
        numpys.shuffle(expected)
        np.testing.assert_array_equal(order, expected)
    assert_same_state(rng, numpys)


def test_numpys_global_generator():
    rng = np.random.mtrand._rand
    before = rng.get_state()
    try:
        rng.seed(5)
        order = np.arange(1000)
        shuffle(rng, order)
        expected = np.arange(1000)
        np.random.RandomState(5).shuffle(expected)
        np.testing.assert_array_equal(order, expected)
    finally:
        rng.set_state(before)


class Reversing(np.random.RandomState):
    def shuffle(self, x):
        x[:] = x[::-1].copy()


class Alike:
    """Has the method of a RandomState, and no bit generator."""

    def shuffle(self, x):
        x[:] = x[::-1].copy()


@pytest.mark.parametrize("Other", [Reversing, Alike])
def test_what_is_no_plain_RandomState_shuffles_by_itself(Other):
    order = np.arange(10)
    shuffle(Other(), order)
    np.testing.assert_array_equal(order, np.arange(10)[::-1])


def read_only():
    order = np.arange(4)
    order.flags.writeable = False
    return order


@pytest.mark.parametrize(
    "order",
    [
        pytest.param([1, 2, 3], id="list"),
        pytest.param(np.arange(4.0), id="floats"),
        pytest.param(np.arange(4, dtype=np.int16), id="narrow"),
        pytest.param(np.arange(4)[::2], id="strided"),
        pytest.param(np.zeros((2, 2), np.intp), id="matrix"),
        pytest.param(read_only(), id="read-only"),
    ],
)
def test_any_other_order_is_refused(order):
    rng, untouched = twins("MT19937")
    with pytest.raises(TypeError, match=r"vector of numpy\.intp"):
        shuffle(rng, order)
    assert_same_state(rng, untouched)


def test_interrupt_leaves_every_row_in_the_order_once():
    n = 2**24
    rng, numpys = twins("MT19937")
    order, finished = np.arange(n), np.arange(n)
    numpys.shuffle(finished)
    press = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))
    press.start()
    with pytest.raises(KeyboardInterrupt):
        shuffle(rng, order)
    press.join()
    assert not np.array_equal(order, finished)
    assert (np.bincount(order, minlength=n) == 1).all()
    shuffle(rng, order[:10])  # the generator is not locked


def test_threads_take_turns_with_one_generator():
    rng, numpys = twins("MT19937")
    orders = [np.arange(100_000) for _ in range(8)]
    threads = [threading.Thread(target=shuffle, args=(rng, order)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one_by_one = [np.arange(100_000) for _ in range(8)]
    for order in one_by_one:
        numpys.shuffle(order)
    assert {order.tobytes() for order in orders} == {
        order.tobytes() for order in one_by_one
    }
    assert_same_state(rng, numpys)


def test_the_stub_has_the_parameters():
    stub = ast.parse(
        files("cbp.data").joinpath("_shuffle.pyi").read_text(encoding="utf-8")
    )
    (function,) = (node for node in stub.body if isinstance(node, ast.FunctionDef))
    assert function.name == shuffle.__name__
    parameters = [argument.arg for argument in function.args.args]
    assert parameters == list(inspect.signature(shuffle).parameters)
