# ruff: noqa: E741 - l is the layer, as in the equations
"""The equations of backpropagation in plain Python, index by index.

This file says what the package computes; the compiled kernels say it fast and are
tested against it. It is written to be read beside a textbook and is never optimised.
`CBP_IMPLEMENTATION=reference` runs the whole package on it. Whatever the dtype of
the arrays, all arithmetic is in Python floats (double precision); results are rounded
once, when they are written. Nothing here looks for NaN: it flows as in IEEE 754.

Indices
    i   a sample: row i of X and y
    l   a layer, 1..L; layer 0 is the input
    j   a node of layer l, which has n_l nodes
    k   a node of layer l-1

Quantities of one sample, and w and b. What layer 0 lacks is None in a list over l.
    w^l_jk      w[l][j][k]     weight from node k to node j    `coefs_[l-1][k, j]`
    b^l_j       b[l][j]        bias                            `intercepts_[l-1][j]`
    z^l_j       z[l][j]        weighted input
    a^l_j       a[l][j]        activation; a[0] is x, a[L] the output
    y_j         y[j]           target
    C_0         C_0            loss
    delta^l_j   delta[l][j]    dC_0/dz^l_j, the error signal

Equations
    (forward)   z^l_j = sum_k w^l_jk a^{l-1}_k + b^l_j        a^l_j = g^l(z^l_j)
    (BP1)       delta^L_j = dC_0/da^L_j g'(z^L_j)
                softmax:  delta^L_j = sum_k dC_0/da^L_k da^L_k/dz^L_j
                canonical pairs of loss and activation:  delta^L_j = a^L_j - y_j
    (BP2)       delta^{l-1}_k = dC_0/da^{l-1}_k g'(z^{l-1}_k),  where
                dC_0/da^{l-1}_k = sum_j w^l_jk delta^l_j;  for l = 1 this is dC_0/dx_k
    (BP3)       dC_0/db^l_j = delta^l_j
    (BP4)       dC_0/dw^l_jk = a^{l-1}_k delta^l_j
    (mean)      C = (sum_i v_i C_0(i) + alpha/2 sum_ljk (w^l_jk)^2) / S,  S = sum_i v_i
                with the sample weights v_i, all 1 unless given

Order of the file: of one sample, of a batch, of an epoch. g, g', C_0 and dC_0/da of one
number are methods of the records in `functions/`, the update of one parameter is one of
those in `training/solvers.py`; `propagator.py` is what unpacks arrays for the functions
here, and writes the results.
"""

import math
from itertools import chain
from typing import NamedTuple

from cbp.functions.activations import Activation
from cbp.functions.losses import Loss, resolve_functions


class Net(NamedTuple):
    """What the equations need to know besides w and b."""

    sizes: tuple  # (n_0, ..., n_L)
    activation: Activation
    output_activation: Activation
    loss: Loss
    alpha: float

    @classmethod
    def of(cls, sizes, activation, output_activation, loss, alpha):
        """The same from names, or records, of functions that go together."""
        functions = resolve_functions(activation, output_activation, loss)
        return cls(tuple(int(size) for size in sizes), *functions, float(alpha))


# -------------------------------------------------------------------- of one sample


def forward(net, w, b, x):
    """(forward): z and a of every layer."""
    L = len(net.sizes) - 1
    z, a = [None], [x]
    for l in range(1, L + 1):
        z_l = []
        for j in range(net.sizes[l]):
            z_lj = b[l][j]
            for k in range(net.sizes[l - 1]):
                z_lj += w[l][j][k] * a[l - 1][k]
            z_l.append(z_lj)
        z.append(z_l)
        g = net.activation if l < L else net.output_activation
        a.append(g.layer(z_l))
    return z, a


def sample_loss(net, z_L, a_L, y):
    """C_0. Logarithms of a^L are taken from z^L, as a rounded a^L may be 0 or 1."""
    return net.loss.of_sample(net.output_activation, z_L, a_L, y)


def output_error(net, z_L, a_L, y):
    """(BP1): delta^L."""
    nodes = range(len(y))
    if net.loss.is_canonical(net.output_activation):
        return [a_L[j] - y[j] for j in nodes]

    slope = [net.loss.slope(a_L[j], y[j]) for j in nodes]
    if not net.output_activation.couples:
        return [slope[j] * net.output_activation.g_prime(z_L[j]) for j in nodes]

    delta_L = []
    for j in nodes:
        delta_Lj = 0.0
        for k in nodes:
            da_k_dz_j = a_L[k] * ((1.0 if k == j else 0.0) - a_L[j])
            delta_Lj += slope[k] * da_k_dz_j
        delta_L.append(delta_Lj)
    return delta_L


def slope_below(w_l, delta_l, k):
    """dC_0/da^{l-1}_k, summed over the nodes j of layer l that a^{l-1}_k feeds."""
    total = 0.0
    for j in range(len(delta_l)):
        total += w_l[j][k] * delta_l[j]
    return total


def backward(net, w, z, a, y):
    """(BP1) for layer L, then (BP2) from layer l to l-1: delta of every layer."""
    L = len(net.sizes) - 1
    delta = [None] * (L + 1)
    delta[L] = output_error(net, z[L], a[L], y)
    for l in range(L, 1, -1):
        delta[l - 1] = [
            slope_below(w[l], delta[l], k) * net.activation.g_prime(z[l - 1][k])
            for k in range(net.sizes[l - 1])
        ]
    return delta


def input_gradient(net, w, delta):
    """dC_0/dx_k."""
    return [slope_below(w[1], delta[1], k) for k in range(net.sizes[0])]


def gradients(net, a, delta):
    """(BP4) and (BP3): dC_0/dw[l][j][k] and dC_0/db[l][j]."""
    dw, db = [None], [None]
    for l in range(1, len(net.sizes)):
        nodes, nodes_below = range(net.sizes[l]), range(net.sizes[l - 1])
        dw.append([[a[l - 1][k] * delta[l][j] for k in nodes_below] for j in nodes])
        db.append([delta[l][j] for j in nodes])
    return dw, db


# -------------------------------------------------------------------- of a batch


def mean_loss_and_gradient(net, w, b, samples, S):
    """(mean): C over `samples`, a list of (x, y, v), and dC/dw and dC/db."""
    C = 0.0
    dw = [None] + [[[0.0 for _ in w_lj] for w_lj in w_l] for w_l in w[1:]]
    db = [None] + [[0.0 for _ in b_l] for b_l in b[1:]]
    for x, y, v in samples:
        z, a = forward(net, w, b, x)
        C += v * sample_loss(net, z[-1], a[-1], y)
        dC0_dw, dC0_db = gradients(net, a, backward(net, w, z, a, y))
        for l in range(1, len(w)):
            for j in range(net.sizes[l]):
                db[l][j] += v * dC0_db[l][j]
                for k in range(net.sizes[l - 1]):
                    dw[l][j][k] += v * dC0_dw[l][j][k]

    for l in range(1, len(w)):
        for j in range(net.sizes[l]):
            db[l][j] /= S
            for k in range(net.sizes[l - 1]):
                C += 0.5 * net.alpha * w[l][j][k] * w[l][j][k]
                dw[l][j][k] = (dw[l][j][k] + net.alpha * w[l][j][k]) / S
    return C / S, dw, db


# -------------------------------------------------------------------- of an epoch


class Sums(NamedTuple):
    """What `Propagator.summary` tells of; lists over l, without layer 0."""

    rows: int
    squares: list  # sum_ij (v_i delta^l_j)^2
    active: list  # the nodes j of which some a^l_j was above 0
    grad_norms: list  # of the last batch with any weight
    update_ratios: list


def no_sums(net):
    """Before the first batch."""
    layers = net.sizes[1:]
    zeros = [0.0 for _ in layers]
    return Sums(0, zeros, [frozenset() for _ in layers], zeros, zeros)


def add_signals(net, w, b, samples, sums):
    """`sums` with the error signals and activations of `samples`."""
    squares, active = list(sums.squares), [set(nodes) for nodes in sums.active]
    for x, y, v in samples:
        z, a = forward(net, w, b, x)
        delta = backward(net, w, z, a, y)
        for l in range(1, len(net.sizes)):
            for j in range(net.sizes[l]):
                squares[l - 1] += (v * delta[l][j]) * (v * delta[l][j])
                if a[l][j] > 0.0:
                    active[l - 1].add(j)
    rows = sums.rows + len(samples)
    return sums._replace(rows=rows, squares=squares, active=active)


def norm(values):
    """sqrt(sum x^2)."""
    total = 0.0
    for x in values:
        total += x * x
    return math.sqrt(total)


def gradient_norms(net, w, b, samples, S):
    """||dC/dW^l and dC/db^l|| of every layer, without the penalty."""
    unpenalised = net._replace(alpha=0.0)
    _, dw, db = mean_loss_and_gradient(unpenalised, w, b, samples, S)
    layers = range(1, len(net.sizes))
    return [norm([*chain.from_iterable(dw[l]), *db[l]]) for l in layers]


def update_ratio(w_l, w_l_after):
    """||change of W^l|| / ||W^l||; 0 without a change, even of zeros."""
    before = list(chain.from_iterable(w_l))
    after = chain.from_iterable(w_l_after)
    change = norm([x_after - x for x, x_after in zip(before, after, strict=True)])
    if change == 0.0:
        return 0.0
    return change / norm(before) if norm(before) != 0.0 else math.inf


def summary_of(net, sums):
    """delta_norms, grad_norms, update_ratios and dead_shares.

    A node is dead if g' of it was 0 in every row, of an activation that can be so.
    """
    nodes = net.sizes[1:]
    delta_norms = [
        math.sqrt(squares / (max(sums.rows, 1) * n))
        for squares, n in zip(sums.squares, nodes, strict=True)
    ]
    dead_shares = [
        (n - len(active)) / n if net.activation.dies else 0.0
        for active, n in zip(sums.active[:-1], nodes[:-1], strict=True)
    ]
    return delta_norms, sums.grad_norms, sums.update_ratios, dead_shares
