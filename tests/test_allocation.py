"""Nothing is allocated inside an epoch.

A library that counts every call of malloc and its relatives is put before the C
library's own, and read around `Propagator.advance`.
"""

import os
import subprocess
import sys
import sysconfig

import pytest

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

from cbp._kernels import Propagator

count = ctypes.c_long.in_dll(ctypes.CDLL(None), "allocations")
rng = np.random.default_rng(0)
n = 2000
X = rng.normal(size=(n, 20)).astype(np.float32)
y = np.eye(10, dtype=np.float32)[rng.integers(10, size=n)]
propagator = Propagator((20, 50, 30, 10), "tanh", "softmax", "log_loss", 1e-4, X.dtype)
params = rng.normal(size=propagator.n_params).astype(np.float32)
m, v = np.zeros_like(params), np.zeros_like(params)
order, weight = rng.permutation(n), np.ones(n, np.float32)

before = count.value
assert bytearray(1_000_000) and count.value > before, "the counter counts nothing"

for epoch in range(3):
    propagator.use_adam(m, v, 0, 1e-3, 0.9, 0.999, 1e-8)
    propagator.begin_epoch(params, X, y, weight, order, 32)
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


def test_an_epoch_allocates_nothing(counter):
    run = subprocess.run(
        [sys.executable, "-c", EPOCH],
        env=os.environ | {"LD_PRELOAD": str(counter)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) == 0
