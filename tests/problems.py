"""What the tests of networks share: the names of functions, targets, slopes."""

from itertools import pairwise

import numpy as np

from cbp.functions.names import ACTIVATIONS, LOSSES, OUTPUT_ACTIVATIONS
from cbp.reference import equations

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "OUTPUT_ACTIVATIONS",
    "PAIRS",
    "USUAL_ACTIVATION",
    "USUAL_PAIR",
    "activated",
    "central_difference",
    "derivative",
    "draw_targets",
    "n_params",
]

#: Every loss with every output activation for which it is defined.
PAIRS = [(loss, output) for loss, outputs in LOSSES.items() for output in outputs]

#: What stands beside a function that is varied by itself: smooth, and of every layer's
#: own kind, so that no zeros and no symmetry hide an error.
USUAL_ACTIVATION = "tanh"
USUAL_PAIR = ("log_loss", "softmax")


def activated(activation, z):
    """g(z) of the reference, for z (n, n_l)."""
    if activation == "softmax":
        return np.array([equations.softmax(row) for row in z.tolist()])
    return np.vectorize(equations.g[activation], otypes=[float])(z)


def derivative(activation, z):
    """g'(z) of the reference, for z (n, n_l) of an activation of each node."""
    return np.vectorize(equations.g_prime[activation], otypes=[float])(z)


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
