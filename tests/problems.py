"""What the tests of networks share: losses and their outputs, targets, slopes."""

from itertools import pairwise

import numpy as np

from cbp.functions.losses import LOSSES

#: Every loss with every output activation for which it is defined.
PAIRS = [(loss, output) for loss in LOSSES for output in LOSSES[loss].outputs]


def n_params(sizes):
    return sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes))


def draw_targets(rng, loss, output, shape):
    """Random y (n, n_L) in the domain of the loss."""
    if loss == "poisson":
        return rng.poisson(1.5, shape).astype(float)
    if loss == "log_loss" and output == "softmax":
        return np.eye(shape[1])[rng.integers(shape[1], size=shape[0])]
    if loss == "log_loss":
        return rng.integers(2, size=shape).astype(float)
    return rng.normal(size=shape)


def central_difference(f, at, index, step):
    """4th-order difference quotient of f with respect to at[index]."""

    def moved(steps):
        there = at.copy()
        there[index] += steps * step
        return f(there)

    return (-moved(2) + 8 * moved(1) - 8 * moved(-1) + moved(-2)) / (12 * step)
