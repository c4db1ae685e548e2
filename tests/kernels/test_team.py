"""Several threads give the same bits as one, and get out of everybody's way."""

import os
import signal
import sys
import threading
import time
from itertools import product

import numpy as np
import pytest
from marks import by_design
from problems import moments_of, n_params, rates_of
from scipy.sparse import csr_array

from cbp.kernels import propagator as kernels
from cbp.training.solvers import resolve_solver

#: Narrow and wide, deep and flat; more rows than a block holds, and a batch of a few.
SIZES = [
    (3, 1),
    (5, 7, 2),
    (17, 40, 33, 3),
    (70, 130, 10),
    (9, 300, 1),
    (6, 340, 350, 3),
]
ROWS = [1, 7, 150, 1300]
MEMBERS = [2, 3, 5]
ISAS = kernels.available_instruction_sets()


def draw(seed, sizes, n, dtype):
    rng = np.random.default_rng(seed)
    scale = 1 / np.sqrt(max(sizes))
    return (
        (scale * rng.normal(size=n_params(sizes))).astype(dtype),
        rng.normal(size=(n, sizes[0])).astype(dtype),
        rng.normal(size=(n, sizes[-1])).astype(dtype),
        rng.random(n).astype(dtype),
    )


def make(sizes, dtype, members, activation="tanh"):
    """A propagator whose every call uses as many threads as there are rows for."""
    propagator = kernels.Propagator(
        sizes, activation, "identity", "squared_error", 0.1, np.dtype(dtype)
    )
    propagator.use_threads(members, 0.0)
    return propagator


def train(propagator, params, X, y, weights, order, batch_size, solver, seconds=10.0):
    """Parameters, moments and losses of two epochs."""
    params, losses = params.copy(), []
    solver = resolve_solver(solver)
    moments = moments_of(solver, params)
    propagator.use_solver(solver, moments)
    propagator.begin_training(params, X, y, weights, batch_size)
    for _ in range(2):
        propagator.begin_epoch(order, rates_of(1e-3, len(order), batch_size))
        while not propagator.advance(seconds):
            pass
        losses.append(propagator.end_epoch()[0])
    propagator.end_training()
    return [params, *moments, np.array(losses)]


def all_results(propagator, params, X, y, weights):
    n = X.shape[0]
    order = np.random.default_rng(1).permutation(n).astype(np.intp)
    gradient = np.full_like(params, np.nan)
    outputs = np.full_like(y, np.nan)
    loss = propagator.loss_and_grad(params, X, y, weights, gradient)
    propagator.forward(params, X, outputs)
    results = [np.array(loss), gradient, outputs]
    for batch_size in {1 + n // 3, n}:
        results += train(propagator, params, X, y, weights, order, batch_size, "adam")
    return results + train(propagator, params, X, y, None, order, n, "sgd", seconds=0.0)


def bits(arrays):
    return [array.tobytes() for array in arrays]


def usual(isa, sizes):
    """Every network on the default set; a deep one, with tails, on every set."""
    return isa == ISAS[0] or sizes == SIZES[2]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("isa", "sizes"),
    by_design(product(ISAS, SIZES), usual),
)
def test_any_number_of_threads_gives_the_bits_of_one(monkeypatch, isa, dtype, sizes):
    monkeypatch.setenv("CBP_ISA", isa)
    for n in ROWS:
        data = draw(n, sizes, n, dtype)
        expected = bits(all_results(make(sizes, dtype, 1), *data))
        for members in MEMBERS:
            actual = bits(all_results(make(sizes, dtype, members), *data))
            assert actual == expected, (n, members)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", SIZES)
def test_a_sparse_X_gives_the_same_bits_on_threads(dtype, sizes):
    params, X, y, weights = draw(2, sizes, 1300, dtype)
    X[np.random.default_rng(3).random(X.shape) < 0.8] = 0
    expected = bits(all_results(make(sizes, dtype, 1), params, X, y, weights))
    for members in MEMBERS:
        propagator = make(sizes, dtype, members)
        actual = bits(all_results(propagator, params, csr_array(X), y, weights))
        assert actual == expected, members


def test_more_threads_than_a_block_has_tiles_of_rows_are_not_used():
    sizes = (50_000, 2)
    params, X, y, weights = draw(9, sizes, 200, "float32")
    expected = bits(all_results(make(sizes, "float32", 1), params, X, y, weights))
    propagator = make(sizes, "float32", 40)
    assert bits(all_results(propagator, params, X, y, weights)) == expected


def count_threads(expected=None):
    """Threads of this process; waits a moment for one that is about to vanish."""
    for _ in range(100):
        count = len(os.listdir("/proc/self/task"))
        if expected is None or count == expected:
            break
        time.sleep(0.01)
    return count


needs_proc = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads Linux's list of threads"
)


@needs_proc
def test_threads_begin_when_needed_and_end_with_the_propagator():
    before = count_threads()
    sizes = (70, 130, 10)
    data = draw(4, sizes, 600, "float32")
    propagator = make(sizes, "float32", 3)
    assert count_threads() == before
    expected = bits(all_results(propagator, *data))
    assert count_threads() == before + 2
    propagator.use_threads(1)
    assert count_threads(before) == before
    assert bits(all_results(propagator, *data)) == expected
    propagator.use_threads(4, 0.0)
    all_results(propagator, *data)
    assert count_threads() == before + 3
    del propagator
    assert count_threads(before) == before


@needs_proc
def test_a_step_without_enough_work_stays_on_one_thread():
    before = count_threads()
    sizes = (20, 30, 1)
    propagator = make(sizes, "float32", 1)
    propagator.use_threads(4)
    all_results(propagator, *draw(5, sizes, 40, "float32"))
    assert count_threads() == before


def test_between_two_calls_the_threads_sleep():
    sizes = (70, 130, 10)
    propagator = make(sizes, "float32", 3)
    all_results(propagator, *draw(6, sizes, 600, "float32"))
    start = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - start < 0.1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_goes_on_alone_and_with_threads_of_its_own():
    sizes = (70, 130, 10)
    data = draw(7, sizes, 600, "float32")
    propagator = make(sizes, "float32", 3)
    expected = bits(all_results(propagator, *data))
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)  # kills a child that hangs
        status = 1
        try:
            right = bits(all_results(propagator, *data)) == expected
            propagator.use_threads(2, 0.0)
            right &= bits(all_results(propagator, *data)) == expected
            propagator = make(sizes, "float32", 2)
            right &= bits(all_results(propagator, *data)) == expected
            del propagator
            status = 0 if right else 2
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    assert bits(all_results(propagator, *data)) == expected


def test_teams_of_several_threads_do_not_know_of_each_other():
    sizes = (17, 40, 33, 3)
    data = [draw(seed, sizes, 700, "float64") for seed in range(4)]
    expected = [bits(all_results(make(sizes, "float64", 1), *each)) for each in data]
    actual = [None] * 4

    def fit(i):
        actual[i] = bits(all_results(make(sizes, "float64", 2), *data[i]))

    threads = [threading.Thread(target=fit, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert actual == expected


def test_subnormals_are_as_before_on_the_calling_thread():
    sizes = (17, 40, 33, 3)
    smallest = np.float64(5e-324)
    all_results(make(sizes, "float64", 3), *draw(8, sizes, 700, "float64"))
    assert smallest * np.float64(1.0) == smallest
    assert np.nextafter(2.3e-308, 0) / 4 > 0


@pytest.mark.parametrize("n_threads", [0, -1])
def test_a_number_of_threads_below_one_is_an_error(n_threads):
    with pytest.raises(ValueError, match=f"n_threads={n_threads} must be at least 1"):
        make((3, 1), "float64", 1).use_threads(n_threads)
