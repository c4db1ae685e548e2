"""What the tests of networks share: the names of functions, targets, slopes."""

from itertools import pairwise

import numpy as np

from cbp.functions import activations, losses
from cbp.training import solvers

#: Names of functions.
ACTIVATIONS = tuple(activations.ACTIVATIONS)
OUTPUT_ACTIVATIONS = tuple(activations.OUTPUT_ACTIVATIONS)
LOSSES = tuple(losses.LOSSES)

#: Every loss with every output activation for which it is defined.
PAIRS = [
    (name, output) for name, loss in losses.LOSSES.items() for output in loss.outputs
]

#: Every solver that goes by batches, with its defaults, and the other forms of SGD.
SOLVERS = {
    repr(solver): solver
    for solver in (
        *(record() for record in solvers.SOLVERS.values() if record.is_stochastic),
        solvers.SGD(momentum=0.0, nesterovs_momentum=False),
        solvers.SGD(nesterovs_momentum=False),
    )
}

#: What stands beside a function that is varied by itself: smooth, and of every layer's
#: own kind, so that no zeros and no symmetry hide an error.
USUAL_ACTIVATION = "tanh"
USUAL_PAIR = ("log_loss", "softmax")


def varied_alone(activation, loss, output, *_):
    """Whether a case has the usual activation, or the usual loss and output."""
    return activation == USUAL_ACTIVATION or (loss, output) == USUAL_PAIR


def activated(activation, z):
    """g(z) for z (n, n_l), number by number."""
    g = activations.OUTPUT_ACTIVATIONS[activation]()
    return np.array([g.layer(row) for row in z.tolist()])


def derivative(activation, z):
    """g'(z) for z (n, n_l) of an activation of each node, number by number."""
    g = activations.OUTPUT_ACTIVATIONS[activation]()
    return np.vectorize(g.g_prime, otypes=[float])(z)


def distance_from_kinks(activation, z):
    """How near z comes to where g' jumps; inf if it does not."""
    kinks = activations.OUTPUT_ACTIVATIONS[activation].kinks
    return min((np.abs(z - kink).min() for kink in kinks), default=np.inf)


def moments_of(solver, params):
    """The moments of a solver before its first step."""
    return [np.zeros_like(params) for _ in solver.moments]


def rates_of(rate, n, batch_size):
    """One rate for all batches of an epoch over n rows."""
    return np.full(-(-n // batch_size), rate)


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
