"""Nothing is allocated inside an epoch, and nowhere as much as a dense X would take.

A library that counts every call of malloc and its relatives is put before the C
library's own, and read around `Propagator.advance`.
"""

import os
import subprocess
import sys
import sysconfig
import tracemalloc

import numpy as np
import pytest
from problems import rates_of
from scipy.sparse import csr_array

from cbp import Network
from cbp.training.solvers import SGD

COUNTER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

long allocations;

/* dlsym itself may call calloc before the real one is known. */
static char early[65536];
static size_t early_used;

#define REAL(name, type) \
    static __typeof__(type) real; \
    if (!real) real = (type)dlsym(RTLD_NEXT, name)

void *malloc(size_t n)
{
    REAL("malloc", void *(*)(size_t));
    allocations++;
    return real(n);
}
void *calloc(size_t n, size_t size)
{
    static void *(*real)(size_t, size_t);
    static int looking;
    allocations++;
    if (looking) {
        void *p = early + early_used;
        early_used += (n * size + 15) / 16 * 16;
        return p;
    }
    if (!real) {
        looking = 1;
        real = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
        looking = 0;
    }
    return real(n, size);
}
void *realloc(void *p, size_t n)
{
    REAL("realloc", void *(*)(void *, size_t));
    allocations++;
    return real(p, n);
}
int posix_memalign(void **p, size_t alignment, size_t n)
{
    REAL("posix_memalign", int (*)(void **, size_t, size_t));
    allocations++;
    return real(p, alignment, n);
}
void *aligned_alloc(size_t alignment, size_t n)
{
    REAL("aligned_alloc", void *(*)(size_t, size_t));
    allocations++;
    return real(alignment, n);
}
void free(void *p)
{
    REAL("free", void (*)(void *));
    if ((char *)p < early || (char *)p >= early + sizeof early) real(p);
}
"""

EPOCH = """
import ctypes
import sys

import numpy as np
from scipy.sparse import csr_array

from cbp.kernels.propagator import Propagator
from cbp.training.solvers import Adam

count = ctypes.c_long.in_dll(ctypes.CDLL(None), "allocations")
rng = np.random.default_rng(0)
n = 2000
X = rng.normal(size=(n, 20)).astype(np.float32)
if sys.argv[1] == "sparse":
    X[rng.random(X.shape) < 0.9] = 0
    X = csr_array(X)
y = np.eye(10, dtype=np.float32)[rng.integers(10, size=n)]
propagator = Propagator((20, 50, 30, 10), "tanh", "softmax", "log_loss", 1e-4, X.dtype)
params = rng.normal(size=propagator.n_params).astype(np.float32)
m, v = np.zeros_like(params), np.zeros_like(params)
order, weight = rng.permutation(n), np.ones(n, np.float32)
rates = np.full(-(-n // 32), 1e-3)

before = count.value
assert bytearray(1_000_000) and count.value > before, "the counter counts nothing"

propagator.use_solver(Adam(), [m, v])
propagator.begin_training(params, X, y, weight, 32)
for epoch in range(3):
    propagator.begin_epoch(order, rates)
    before = count.value
    finished = propagator.advance(60.0)
    in_epoch = count.value - before
    assert finished
    propagator.end_epoch()
print(in_epoch)
"""


pytestmark = [
    pytest.mark.skipif(
        not sys.platform.startswith("linux"),
        reason="malloc is counted through LD_PRELOAD, which Linux has",
    ),
    pytest.mark.skipif(
        "asan" in os.environ.get("LD_PRELOAD", ""),
        reason="AddressSanitizer has put its own malloc there",
    ),
]


@pytest.fixture(scope="module")
def counter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("counter")
    source, library = folder / "counter.c", folder / "counter.so"
    source.write_text(COUNTER)
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    command = [*compiler.split(), "-shared", "-fPIC", "-O1", "-o", library, source]
    subprocess.run([*command, "-ldl"], check=True)
    return library


@pytest.mark.parametrize("X", ["dense", "sparse"])
def test_an_epoch_allocates_nothing(counter, X):
    run = subprocess.run(
        [sys.executable, "-c", EPOCH, X],
        env=os.environ | {"LD_PRELOAD": str(counter)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) == 0


def test_a_sparse_X_is_never_made_dense():
    n, n_columns, per_row = 20_000, 50_000, 5
    rng = np.random.default_rng(0)
    columns = np.sort(rng.choice(n_columns // per_row, (n, per_row)), axis=1)
    columns = columns + np.arange(per_row) * (n_columns // per_row)
    starts = np.arange(0, n * per_row + 1, per_row)
    X = csr_array(
        (rng.normal(size=n * per_row), columns.ravel(), starts), (n, n_columns)
    )
    y = rng.normal(size=(n, 1))
    network = Network((n_columns, 3, 1), random_state=0)
    velocity = np.zeros_like(network.params_)
    dense_bytes = n * n_columns * X.dtype.itemsize

    tracemalloc.start()
    outputs = network.forward(X)
    with network.propagator() as propagator:
        propagator.use_solver(SGD(0.9, True), [velocity])
        order = rng.permutation(n)
        propagator.begin_training(network.params_, X, y, None, 1000)
        propagator.begin_epoch(order, rates_of(0.01, n, 1000))
        assert propagator.advance(60.0)
        propagator.end_epoch()
        propagator.end_training()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.isfinite(outputs).all()
    assert peak < dense_bytes / 200
