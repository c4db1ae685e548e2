# ruff: noqa: E741 - l is the layer, as in the equations
"""Benchmark of what delta saves: the gradient of C_0 in all parameters, in three ways.

    recursion    BP1 to BP4: delta of each node is computed once, and kept
    expansion    the same with z and a kept, but no delta: for every weight that of its
                 node is expanded anew, as a sum over the nodes of the layer above, each
                 of which is expanded likewise, up to the outputs
    differences  two forward passes for each parameter, moved up and down

All take their equations from `cbp.reference`, which also explains the names of the
quantities. They compute in Python floats, whatever --dtype says, and for one sample.

Work is counted as well as timed: the products of two numbers, without those within g
and g', from the sizes. With L layers of n nodes their number grows as L for the
recursion, as n^L for expansion, as L^2 for differences. A way whose products exceed the
budget is counted, but not timed.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from cases import DELTA
from measure import PerCall, ratio, take_turns
from report import Figure, Result

from cbp import Network
from cbp.reference import equations as reference
from cbp.reference.propagator import unpack

#: Half the distance of two losses that are subtracted, about the third root of the
#: distance of two floats: there rounding and the third derivative weigh the same.
STEP = 2.0**-17

#: Products that a gradient may take, for each second of `Settings.aim`. Plain Python
#: does about a million in a second, so that no turn takes much longer than 8 aims.
BUDGET = 8e6


# --- three ways: (net, w, b, x, y) -> dC_0/dw, dC_0/db, as in `reference` ------------


def recursion(net, w, b, x, y):
    """(BP1) to (BP4), as the package computes them."""
    z, a = reference.forward(net, w, b, x)
    return reference.gradients(net, a, reference.backward(net, w, z, a, y))


class Unkept:
    """A list of n numbers that keeps none: whenever one is read, it is computed."""

    def __init__(self, n, compute):
        self.n, self.compute = n, compute

    def __len__(self):
        return self.n

    def __getitem__(self, j):
        return self.compute(j)


def unkept_delta(net, w, z, a, y):
    """What `reference.backward` gives, in lists that keep nothing.

    Each output is taken by itself, so its activation must not be softmax.
    """
    L = len(net.sizes) - 1
    g_prime = net.activation.g_prime

    def output(j):
        node = slice(j, j + 1)
        return reference.output_error(net, z[L][node], a[L][node], y[node])[0]

    def hidden(l, j):
        # The sum reads delta of the layer above, which is thereby computed anew.
        return reference.slope_below(w[l + 1], delta[l + 1], j) * g_prime(z[l][j])

    layers = [Unkept(net.sizes[l], partial(hidden, l)) for l in range(1, L)]
    delta = [None, *layers, Unkept(net.sizes[L], output)]
    return delta


def expansion(net, w, b, x, y):
    """(BP1) to (BP4), with the chain rule expanded anew for each parameter."""
    z, a = reference.forward(net, w, b, x)
    return reference.gradients(net, a, unkept_delta(net, w, z, a, y))


def differences(net, w, b, x, y):
    """Central differences of C_0."""

    def loss():
        z, a = reference.forward(net, w, b, x)
        return reference.sample_loss(net, z[-1], a[-1], y)

    def slope(row, index):
        """Of C_0 in row[index], which is put back."""
        value = row[index]
        row[index] = value + STEP
        above = loss()
        row[index] = value - STEP
        below = loss()
        row[index] = value
        return (above - below) / (2 * STEP)

    def slopes(row):
        return [slope(row, index) for index in range(len(row))]

    dw = [None, *([slopes(w_lj) for w_lj in w_l] for w_l in w[1:])]
    db = [None, *(slopes(b_l) for b_l in b[1:])]
    return dw, db


# --- their products, with identity outputs and squared error -------------------------


def recursion_count(net):
    """Three with each weight, in the forward pass, BP2 and BP4, and one with each g'.

    Only BP2 has no need of the first layer's weights.
    """
    return 3 * net.n_weights - net.sizes[0] * net.sizes[1] + sum(net.sizes[1:-1])


def expansion_count(net):
    """The forward pass, and an expansion for each weight (BP4) and each bias (BP3)."""
    count = net.n_weights
    of_delta = 0  # a^L_j - y_j
    for n_below, n in reversed(list(pairwise(net.sizes))):
        count += n * (n_below * (1 + of_delta) + of_delta)
        of_delta = n * (1 + of_delta) + 1  # BP2, of a node of the layer below
    return count


def differences_count(net):
    """Two losses for each parameter: a forward pass, and two products an output."""
    return 2 * net.n_params * (net.n_weights + 2 * net.sizes[-1])


class Way(NamedTuple):
    """How to come by the gradient of C_0, and what that takes."""

    gradient: Callable  # net, w, b, x, y of `reference` -> dw, db
    count: Callable  # Net of `cases` -> number of products


WAYS = {
    "recursion": Way(recursion, recursion_count),
    "expansion": Way(expansion, expansion_count),
    "differences": Way(differences, differences_count),
}


# --- the benchmark -------------------------------------------------------------------


def delta(settings):
    """The gradient of C_0 by BP1 to BP4, without keeping delta, by differences."""
    for family, nets in settings.chosen(DELTA).items():
        # All nets take turns, because how the times grow is a ratio between nets.
        turns = {
            (value, name): timer(way, net, settings)
            for value, net in nets.items()
            for name, way in affordable(net, settings).items()
        }
        measured = take_turns(turns, settings.repeats)
        for value, net in nets.items():
            repeats = {
                name: measured[value, name] for name in affordable(net, settings)
            }
            figures = delta_figures(net, repeats)
            yield Result(
                "delta", f"{family} {value}", "us/gradient", repeats, figures, net
            )


def affordable(net, settings):
    """Those of WAYS that are within the budget."""
    budget = BUDGET * settings.aim
    return {name: way for name, way in WAYS.items() if way.count(net) <= budget}


def timer(way, net, settings):
    """Microseconds per gradient."""
    return PerCall(partial(way.gradient, *problem(net)), settings.aim)


def problem(net):
    """What a way takes: initial parameters and one random sample."""
    functions = {
        "activation": net.activation,
        "output_activation": "identity",
        "loss": "squared_error",
        "alpha": 0.0,
    }
    params = Network(net.sizes, **functions, random_state=0).params_.tolist()
    w, b = unpack(net.sizes, params)
    x, y = (data.ravel().tolist() for data in net.data("float64"))
    return reference.Net.of(net.sizes, **functions), w, b, x, y


def delta_figures(net, repeats):
    """Times over that of the recursion, and the products of every way."""
    times = {
        f"{name} / recursion": Figure(ratio(repeats[name], repeats["recursion"]))
        for name in WAYS
        if name in repeats and name != "recursion"
    }
    counts = {
        f"{name} (products)": Figure(way.count(net)) for name, way in WAYS.items()
    }
    return times | counts
