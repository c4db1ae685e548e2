"""How time is taken: by turns, as differences, beside a product of matrices.

Everything that is compared takes its turn in every repeat, so that what else the
machine does falls on all of it, and every ratio is the median of those within a repeat.
"""

import os
import time
from dataclasses import dataclass
from statistics import median

import numpy as np

#: Read by BLAS, OpenMP, PyTorch and XLA when they are loaded.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}

#: That a fit is cut short is what is wanted here. Also for the processes started.
QUIET = {"PYTHONWARNINGS": "ignore::UserWarning"}

#: In a dictionary of repeats, the name of what `Gemm` gives.
GEMM = "GEMM (GFLOP/s)"

#: Epochs of a short fit. The long one has as many more as fill the time aimed at.
SHORT = 1


class Unavailable(Exception):
    """Something that a benchmark needs is not here; the message says what to do."""


@dataclass(frozen=True)
class Settings:
    """What the user wants of every benchmark."""

    dtype: str = "float32"
    quick: bool = False
    threads: tuple[int, ...] = (1,)
    cases: tuple[str, ...] = ()  # none: all

    @property
    def repeats(self):
        return 3 if self.quick else 9

    @property
    def aim(self):
        """Seconds of a turn."""
        return 0.15 if self.quick else 0.6

    def chosen(self, table):
        """The entries of a table of cases that are wanted."""
        return {k: v for k, v in table.items() if not self.cases or k in self.cases}


def cores():
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count()))


def hold_to(count):
    """Keep this process, and what it starts, on the last `count` of its cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores()[-count:])


def take_turns(turns, repeats):
    """Name -> what was measured, once for each repeat.

    turns: name -> function without arguments, which measures.
    Every other repeat goes backwards, so that nobody always follows the same one.
    """
    measured = {name: [] for name in turns}
    names = list(turns)
    for _ in range(repeats):
        for name in names:
            measured[name].append(turns[name]())
        names.reverse()
    return measured


def seconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


class PerStep:
    """Called, gives the microseconds of a step of fit(epochs).

    It is the difference of a long and a short fit, divided by the steps between them:
    what a fit costs beyond its epochs cancels out.
    """

    def __init__(self, fit, steps, aim):
        """steps: of an epoch; aim: seconds that the long fit is to take longer."""
        self.fit, self.steps = fit, steps
        fit(SHORT)  # compiles, warms up
        short, more = seconds(fit, SHORT), 1
        while (extra := seconds(fit, SHORT + more) - short) < aim / 4:
            more *= 4
        self.more = max(more, round(more * aim / extra))

    def __call__(self):
        long = seconds(self.fit, SHORT + self.more)
        return 1e6 * (long - seconds(self.fit, SHORT)) / (self.more * self.steps)


class PerCall:
    """Called, gives the microseconds of a call of `function`, the mean over `aim` s."""

    def __init__(self, function, aim):
        self.function, self.calls = function, 1
        self()  # warms up
        while (spent := self() * self.calls / 1e6) < aim / 4:
            self.calls *= 4
        self.calls = max(1, round(self.calls * aim / spent))

    def __call__(self):
        start = time.perf_counter()
        for _ in range(self.calls):
            self.function()
        return 1e6 * (time.perf_counter() - start) / self.calls


class Gemm:
    """Called, gives the GFLOP/s of a large product of matrices, the mean of several.

    It is what the processor does in this minute, by the BLAS of numpy: a mean because a
    step is one, and whatever else the machine is doing slows both.
    """

    def __init__(self, dtype, side=2048, several=3):
        rng = np.random.default_rng(0)
        self.A, self.B = (rng.standard_normal((side, side), dtype) for _ in range(2))
        self.C = np.empty_like(self.A)
        self.several = several
        self()  # warms up

    def __call__(self):
        spent = sum(
            seconds(np.matmul, self.A, self.B, self.C) for _ in range(self.several)
        )
        return 2 * len(self.A) ** 3 * self.several / spent / 1e9


def ratio(numerators, denominators):
    """Median of the ratios within a repeat."""
    return median(a / b for a, b in zip(numerators, denominators, strict=True))
