"""What the page of the explorer shows, as JSON: text about it, and arrays for it.

A page has room for so many numbers, whatever the size of the network: `plan_page`
decides which nodes are drawn and how many samples can be chosen. The numbers are those
of `Backprop`, in float64, of the nodes that are drawn; of a sum over a layer that is
not drawn as a whole there is also the part that the other nodes have in it. The mean
over the samples is handled as one more sample: what is linear holds for it as well.
"""

import json
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.sparse import issparse

from cbp.network.network import Network

#: At most so many nodes of a layer, weights, and samples to choose from.
MOST_NODES, MOST_WEIGHTS, MOST_SAMPLES = 30, 6000, 24

#: At most so many numbers: with some 20 characters each, 0.8 MB.
MOST_NUMBERS = 40_000

#: Deeper networks leave no room for a sample.
MOST_LAYERS = 500

#: Characters of a label, which anybody may have made as long as a book.
LONGEST_LABEL = 60


@dataclass(frozen=True)
class Plan:
    """What is drawn: numbers of nodes, layer by layer, and of rows."""

    nodes: list
    rows: np.ndarray


def plan_page(result):
    """Choose the nodes that are drawn and the samples that are listed.

    Of the inputs those with the largest mean |x dC_0/dx|, of other layers those with
    the largest mean |delta|; of the samples those that pull hardest at the parameters.

    Parameters
    ----------
    result : Backprop

    Returns
    -------
    plan : Plan

    Raises
    ------
    ValueError
        If the network has too many layers for a page.
    """
    sizes = result.network.layer_sizes
    n_layers = len(sizes) - 1
    if n_layers > MOST_LAYERS:
        raise ValueError(
            f"The network has {n_layers} layers; explore shows at most {MOST_LAYERS}. "
            "Make a cbp.Network of some of its coefs_ and intercepts_ to explore."
        )
    n_nodes = _nodes_per_layer(sizes)
    rows = result.most_influential(_samples_that_fit(sizes, n_nodes))
    sizes_of_effects = [_mean(result, np.abs(_effects_of_inputs(result)))]
    sizes_of_effects += [_mean(result, np.abs(delta)) for delta in result.delta[1:]]
    nodes = [np.sort(np.argsort(-e, kind="stable")[:n_nodes]) for e in sizes_of_effects]
    return Plan(nodes, rows)


def _nodes_per_layer(sizes):
    """The most nodes of a layer with which all weights between them can be drawn."""
    for most in range(MOST_NODES, 1, -1):
        drawn = [min(size, most) for size in sizes]
        if sum(n_in * n_out for n_in, n_out in pairwise(drawn)) <= MOST_WEIGHTS:
            return most
    return 1


def _samples_that_fit(sizes, n_nodes):
    drawn = [min(size, n_nodes) for size in sizes]
    names = 6 * len(drawn)  # of the arrays, which take the place of numbers as well
    fixed = sum(3 * n_in * n_out + 3 * n_out for n_in, n_out in pairwise(drawn)) + names
    each = 7 * sum(drawn) + drawn[-1] ** 2 + names
    # One more than the samples: their mean.
    return int(np.clip((MOST_NUMBERS - fixed) // each - 1, 1, MOST_SAMPLES))


def _effects_of_inputs(result):
    x = result.a[0]
    return x.multiply(result.input_grads) if issparse(x) else x * result.input_grads


def _mean(result, values):
    """The weighted mean of the rows of values, (n, m), which may be sparse."""
    return result.shares @ values


# -- the arrays ------------------------------------------------------------------


def arrays(result, plan, learning_rate):
    """All numbers of the page.

    Parameters
    ----------
    result : Backprop
    plan : Plan
    learning_rate : float

    Returns
    -------
    arrays : dict
        ``weights`` and ``biases`` of each layer, and ``views``: the mean over all
        samples, then each sample of the plan.
    """
    losses = [_loss_of_all(result, learning_rate)]
    losses += _losses_alone(result, plan, learning_rate)
    layers = [_layer(result, plan, layer) for layer in range(len(plan.nodes))]
    views = [
        {**loss, "layers": [_of_view(layer, view) for layer in layers]}
        for view, loss in enumerate(losses)
    ]
    return {
        "weights": [_weights(result, plan, layer) for layer in range(1, len(layers))],
        "biases": [_biases(result, plan, layer) for layer in range(1, len(layers))],
        "views": views,
    }


def _weights(result, plan, layer):
    """w^l, dC/dw^l and, where the penalty is a part of that, the mean without it."""
    below, here = plan.nodes[layer - 1], plan.nodes[layer]
    drawn = np.ix_(below, here)
    weights = {
        "w": result.network.coefs_[layer - 1][drawn],
        "grad": result.coef_grads[layer - 1][drawn],
    }
    if result.network.alpha:
        pull = result.shares[:, np.newaxis] * result.delta[layer][:, here]
        weights["mean"] = result.a[layer - 1][:, below].T @ pull
    return weights


def _biases(result, plan, layer):
    here = plan.nodes[layer]
    return {
        "b": result.network.intercepts_[layer - 1][here],
        "grad": result.intercept_grads[layer - 1][here],
    }


def _of_view(layer, view):
    """One row of each array of a layer; a list has None where a view has no row."""
    return {
        name: values[view]
        for name, values in layer.items()
        if not (isinstance(values, list) and values[view] is None)
    }


def _layer(result, plan, layer):
    """The arrays of a layer, by name: the mean in row 0, then the samples'."""
    last = len(plan.nodes) - 1
    here = plan.nodes[layer]
    columns = {"a": _rows(result, plan, result.a[layer])[:, here]}
    if layer < last:
        columns |= _sums_of_next_layer(result, plan, layer)
    if layer == 0:
        columns["dC0_da"] = _rows(result, plan, result.input_grads)[:, here]
    if layer == last:
        slopes = result.activation_grads(last)
        columns["dC0_da"] = _rows(result, plan, slopes)[:, here]
        columns["y"] = _rows(result, plan, result.y)[:, here]
    if layer > 0:
        columns["z"] = _rows(result, plan, result.z[layer])[:, here]
        columns["delta"] = _rows(result, plan, result.delta[layer])[:, here]
        columns["slope"] = _rows(result, plan, _slopes(result, layer, here))
        columns |= _rest_of_weighted_input(result, plan, layer)
    if layer == last and result.network.g[-1].couples:
        columns |= _jacobian(result, plan)
    return columns


def _rows(result, plan, values):
    """The mean of all rows of values and below it those of the plan, in float64."""
    chosen = values[plan.rows]
    chosen = chosen.toarray() if issparse(chosen) else chosen
    return np.vstack([_mean(result, values), chosen])


def _slopes(result, layer, nodes):
    """g'(z^l) of these nodes and every sample."""
    g, z = result.network.g[layer], result.z[layer]
    if g.couples:  # by itself each row of the Jacobian, for the nodes that are drawn
        return np.stack([g.jacobian_row(z, j)[:, j] for j in nodes], axis=1)
    return result.activation_slopes(layer)[:, nodes]


def _sums_of_next_layer(result, plan, layer):
    """dC_0/da^l_j = sum_m w^{l+1}_mj delta^{l+1}_m; what m that are not drawn add."""
    w = np.float64(result.network.coefs_[layer][plan.nodes[layer]])
    delta = _rows(result, plan, result.delta[layer + 1])
    sums = {"dC0_da": delta @ w.T}
    others = np.delete(np.arange(w.shape[1]), plan.nodes[layer + 1])
    if others.size:
        sums["dC0_da_rest"] = delta[:, others] @ w[:, others].T
    return sums


def _rest_of_weighted_input(result, plan, layer):
    """What the nodes k that are not drawn add to z^l_j = sum_k w^l_jk a^{l-1}_k + b."""
    w = result.network.coefs_[layer - 1]
    others = np.delete(np.arange(w.shape[0]), plan.nodes[layer - 1])
    if not others.size:
        return {}
    a = _rows(result, plan, result.a[layer - 1])
    drawn = np.float64(w[np.ix_(others, plan.nodes[layer])])
    return {"z_rest": a[:, others] @ drawn}


def _jacobian(result, plan):
    """da^L_m/dz^L_j, row j of each sample, and what outputs m not drawn add to delta.

    The means of both would be of no use: delta is a sum of their products.
    """
    outputs = plan.nodes[-1]
    z = result.z[-1][plan.rows]
    slopes = result.activation_grads(len(result.z) - 1)[plan.rows]
    others = np.delete(np.arange(z.shape[1]), outputs)
    rows = np.stack([result.network.g[-1].jacobian_row(z, j) for j in outputs], axis=1)
    jacobian = {"jacobian": [None, *rows[:, :, outputs]]}
    if others.size:
        rest = np.einsum("im,ijm->ij", slopes[:, others], rows[:, :, others])
        jacobian["delta_rest"] = [None, *rest]
    return jacobian


# -- the loss before and after the update --------------------------------------------


def _loss_of_all(result, learning_rate):
    """C, its two parts, and C after a step against its gradient."""
    net = result.network
    gradient = [*result.coef_grads, *result.intercept_grads]
    step = learning_rate * np.concatenate([part.ravel() for part in gradient])
    after, _ = net.loss_and_grad(
        result.a[0], result.y, result.sample_weight, params=net.params_ - step
    )
    mean = result.shares @ result.sample_losses
    squares = sum(np.sum(np.float64(w) ** 2) for w in net.coefs_)
    penalty = result.shrinkage / 2 * squares
    loss = {"loss": result.loss, "mean_loss": mean, "penalty": penalty}
    return {**loss, "loss_after": after}


def _losses_alone(result, plan, learning_rate):
    """C_0 of each sample of the plan, and after a step against its gradient."""
    net, losses = result.network, []
    settings = {**net.settings, "alpha": 0.0}
    alone = Network(net.layer_sizes, **settings, params=net.params_)
    for row in plan.rows:
        x, y = result.a[0][row : row + 1], result.y[row : row + 1]
        _, gradient = alone.loss_and_grad(x, y)
        moved = alone.params_ - learning_rate * gradient
        after, _ = alone.loss_and_grad(x, y, params=moved)
        losses.append({"loss": result.sample_losses[row], "loss_after": after})
    return losses


# -- as text -----------------------------------------------------------------------


def short(label):
    """A label as the page has it, of any length before."""
    label = str(label)
    if len(label) <= LONGEST_LABEL:
        return label
    return label[: LONGEST_LABEL - 1] + "…"


def to_json(content):
    """JSON that may stand in HTML: ASCII, and nothing in it ends a script.

    Infinity and NaN, which JSON does not have, become strings.
    """
    text = json.dumps(_plain(content), allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _plain(content):
    """The same of lists, dicts, strings and numbers that JSON has."""
    if isinstance(content, dict):
        return {name: _plain(value) for name, value in content.items()}
    if isinstance(content, np.ndarray):
        return _plain(content.tolist())
    if isinstance(content, list):
        return [_plain(value) for value in content]
    if isinstance(content, np.generic):
        return _plain(content.item())
    if isinstance(content, float) and not np.isfinite(content):
        return str(content)
    return content
