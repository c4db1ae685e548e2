"""The nets that are measured, the least time that a step of theirs can take, the goals.

Knows nothing of libraries and clocks: what stands here can be checked by hand, and
`tests/test_benchmarks.py` does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

#: Nanoseconds that the update of one parameter takes at least: Adam divides and takes a
#: root for each, which a core with 8 lanes of float32 finishes at about this rate.
UPDATE_NANOSECONDS = 0.36

#: What float64 has to reach of the shares of the floor that are the goals in float32.
FLOAT64_PART = 0.9

#: What an odd shape has to reach of the share of the floor of its regular neighbours.
NEIGHBOUR_PART = 0.85


@dataclass(frozen=True)
class Net:
    """A multilayer perceptron, the rows it learns from, and its batches."""

    sizes: tuple[int, ...]  # (n_0, ..., n_L)
    batch: int
    rows: int  # in an epoch; the last batch is short where batch does not divide them
    activation: str = "relu"
    regression: bool = False  # squared error; otherwise softmax and log loss

    def __str__(self):
        return f"{'-'.join(map(str, self.sizes))}, {self.batch}, {self.activation}"

    @property
    def n_weights(self):
        return sum(n_in * n_out for n_in, n_out in pairwise(self.sizes))

    @property
    def n_params(self):
        """Weights and biases."""
        return self.n_weights + sum(self.sizes[1:])

    @property
    def steps(self):
        """Batches in an epoch, the short one included."""
        return -(-self.rows // self.batch)

    @property
    def flops(self):
        """Floating-point operations of the products, for one sample of one step.

        Forward, delta (BP2) and dC/dW (BP4) take a multiplication and an addition for
        each weight; BP2 is not needed for the first layer.
        """
        return 6 * self.n_weights - 2 * self.sizes[0] * self.sizes[1]

    def step_floor(self, gflops):
        """Microseconds of a step whose products run at `gflops` GFLOP/s.

        The mean of an epoch: a short last batch has fewer products, but all parameters.
        """
        products = self.rows / self.steps * self.flops / gflops
        return (products + UPDATE_NANOSECONDS * self.n_params) / 1e3

    def row_floor(self, gflops):
        """Microseconds to predict one of many rows: the forward products alone."""
        return 2 * self.n_weights / gflops / 1e3

    def data(self, dtype):
        """Random X (n, n_0) and y: numbers (n,) or (n, n_L), or labels (n,)."""
        rng = np.random.default_rng(0)
        n, n_outputs = self.rows, self.sizes[-1]
        X = rng.standard_normal((n, self.sizes[0]), dtype=dtype)
        if not self.regression:
            return X, rng.permutation(np.arange(n) % n_outputs)
        shape = n if n_outputs == 1 else (n, n_outputs)
        return X, rng.standard_normal(shape, dtype=dtype)


@dataclass(frozen=True)
class StepCase:
    """A net, how fast its step is to be in float32, and what it stands for."""

    net: Net
    ratio: float  # time of the fastest peer / ours, at least
    share: float | None  # floor / ours, at least
    microseconds: float | None = None  # ours, at most


#: Nets of everyday sizes. Small ones have many steps in an epoch, so that a step shows.
STEPS = {
    "tiny": StepCase(Net((2, 8, 1), 32, 3200, regression=True), 15, None, 0.8),
    "digits32": StepCase(Net((64, 32, 10), 32, 1792), 4.5, 0.55),
    "digits": StepCase(Net((64, 100, 10), 200, 1800), 2.5, 0.80),
    "housing": StepCase(Net((8, 64, 64, 1), 200, 20_000, regression=True), 2.5, 0.80),
    "iris-like": StepCase(Net((30, 50, 3), 64, 6400, "tanh"), 4, 0.45),
    "mnist": StepCase(Net((784, 256, 128, 10), 128, 6400), 1.3, 0.92),
    "wide": StepCase(Net((512, 1024, 1024, 10), 512, 4096), 1.15, 1.0),
}

#: Of these, those whose steps are so short that instructions tell more than a clock.
SMALL = ("tiny", "digits32", "iris-like")


@dataclass(frozen=True)
class Family:
    """Nets that differ in one number, of which some values are odd for vector units."""

    regular: tuple[int, ...]
    odd: dict[int, tuple[int, ...]]  # odd value -> the regular ones it is held against
    make: Callable[[int], Net]  # value -> Net


def _beside(neighbours, *values):
    return dict.fromkeys(values, neighbours)


SHAPES = {
    "width": Family(
        regular=(32, 48, 96, 112, 256, 272),
        odd={37: (32, 48), 101: (96, 112), 257: (256, 272)},
        make=lambda width: Net((64, width, width, 10), 200, 2000),
    ),
    "outputs": Family(
        regular=(8,),
        odd=_beside((8,), 1, 2, 3, 4),
        make=lambda outputs: Net((64, 100, outputs), 200, 2000, regression=True),
    ),
    "inputs": Family(
        regular=(16,),
        odd=_beside((16,), 1, 2, 3, 4, 5, 6, 7, 8),
        make=lambda inputs: Net((inputs, 64, 64, 1), 200, 4000, regression=True),
    ),
    "last batch": Family(
        regular=(200,),
        odd=_beside((200,), 1, 37, 101),
        make=lambda last: Net((64, 100, 10), 200, 1800 + last),
    ),
}

#: Nets trained with record="summary", whose step may take so many times as long as
#: without.
RECORDED = {"digits": Net((64, 100, 10), 200, 2000), "mnist": STEPS["mnist"].net}
RECORDED_RATIO = 1.05

#: The example of SimpleChains.jl: all rows are one batch, so an epoch is a step.
SIMPLE_CHAINS = Net((4, 32, 16, 4), 10_000, 10_000, "tanh", regression=True)
SIMPLE_CHAINS_MILLISECONDS = 0.55  # in two threads

#: Name -> net, and how many times as fast two threads are to be as one.
THREADS = {
    "tiny": (STEPS["tiny"].net, 0.95),
    "digits32": (STEPS["digits32"].net, 0.95),
    "iris-like": (STEPS["iris-like"].net, 0.95),
    "housing": (STEPS["housing"].net, 0.95),
    "digits": (STEPS["digits"].net, 1.4),
    "mnist": (STEPS["mnist"].net, 1.7),
    "768": (Net((768, 768, 768, 10), 512, 4096), 1.8),
}

#: Nets that predict 100,000 rows, and the share of the floor that those with relu are
#: to have: the floor is that of the products, and a tanh costs as much as many of their
#: terms.
PREDICTIONS = {
    name: Net(net.sizes, net.batch, 100_000, net.activation, net.regression)
    for name in ("digits", "housing", "iris-like", "mnist", "wide")
    for net in [STEPS[name].net]
}
PREDICTION_SHARE = 0.85

#: Widths and batches of the map that `charts.py` draws.
SWEEP_WIDTHS = (8, 16, 32, 64, 128, 256, 512, 1024)
SWEEP_BATCHES = (8, 32, 128, 512)


def sweep_net(width, batch):
    """Two hidden layers of one width, with an epoch long enough to be timed."""
    return Net((64, width, width, 10), batch, batch * max(4, 2048 // batch))


def even_net(depth, width):
    """So many hidden layers, all layers of one width, for one sample."""
    return Net((width,) * (depth + 2), 1, 1, "tanh", regression=True)


#: What varies -> its values -> nets whose gradient is computed in three ways.
DELTA = {
    "depth": {depth: even_net(depth, 4) for depth in range(1, 9)},
    "width": {width: even_net(3, width) for width in (2, 4, 8, 16)},
}
