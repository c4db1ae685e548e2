"""What a drawing of a network shows: values, names, and which part of wide layers.

Arrays and text only; `network_picture` draws them.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import issparse

from cbp.inspection.displays.wording import short

#: Layers of up to so many nodes are shown whole,
MOST_NODES = 30
#: of wider ones so many: a part had better be clear.
MOST_OF_WIDE = 16

#: Of each layer so many edges are drawn, so that they can be told apart.
MOST_EDGES = 120

NODES, EDGES = ("activation", "delta"), ("weight", "gradient")

#: Names of features and classes are cut to this length.
MOST_CHARACTERS = 20


@dataclass(frozen=True, eq=False)
class Graph:
    """The nodes and edges of a network, what they hold, and which of them are shown.

    Attributes
    ----------
    edge_values : list of L ndarrays of shape (n_{l-1}, n_l)
    node_values : list of L + 1 ndarrays of shape (n_l,), or None
    edges, nodes : str
        What the values are, in words.
    input_names : list of n_0 str, or None
    output_names : list of n_L str, or None
    """

    edge_values: list
    node_values: list | None
    edges: str
    nodes: str
    input_names: list | None
    output_names: list | None

    @property
    def sizes(self):
        """n_0, ..., n_L."""
        edges = self.edge_values
        return [edges[0].shape[0], *(values.shape[1] for values in edges)]

    @cached_property
    def shown(self):
        """The indices of the nodes that are shown, ascending, for each layer.

        All nodes of layers of up to `MOST_NODES`; otherwise the `MOST_OF_WIDE` whose
        edges, in and out, have the largest Euclidean norm.
        """
        squares = [np.zeros(size) for size in self.sizes]
        for layer, values in enumerate(self.edge_values, 1):
            edge_squares = np.square(values, dtype=np.float64)
            squares[layer - 1] += edge_squares.sum(axis=1)
            squares[layer] += edge_squares.sum(axis=0)
        return [
            np.arange(len(sums))
            if len(sums) <= MOST_NODES
            else np.sort(np.argsort(-sums, kind="stable")[:MOST_OF_WIDE])
            for sums in squares
        ]

    @property
    def n_left_out(self):
        """How many nodes of each layer are not shown."""
        pairs = zip(self.sizes, self.shown, strict=True)
        return [size - len(shown) for size, shown in pairs]

    @property
    def n_rows(self):
        """The nodes of each layer that are shown, and a line that counts the others."""
        pairs = zip(self.shown, self.n_left_out, strict=True)
        return [len(shown) + (n > 0) for shown, n in pairs]

    def shown_values(self, layer):
        """The values of the nodes shown, and the largest size in the whole layer."""
        shown = self.shown[layer]
        if self.node_values is None:
            return np.zeros(len(shown)), 0
        values = self.node_values[layer]
        return values[shown], np.abs(values).max()

    def shown_edges(self, layer):
        """The largest edges between the nodes shown, the very largest last.

        Parameters
        ----------
        layer : int
            l, from 1 to L: the one to which they lead.

        Returns
        -------
        k, j : ndarrays of int
            Which of the nodes shown they join.
        shares : ndarray
            Their values over the largest size in the whole layer.
        """
        values = self.edge_values[layer - 1]
        shown = values[np.ix_(self.shown[layer - 1], self.shown[layer])]
        largest = np.argsort(np.abs(shown), axis=None, kind="stable")[-MOST_EDGES:]
        k, j = np.unravel_index(largest, shown.shape)
        return k, j, shown[k, j] / (np.abs(values).max() or 1)

    def names(self):
        """The text beside the inputs and the outputs that are shown, if any."""
        inputs, outputs = self.shown[0], self.shown[-1]
        left = [self.input_names[k] for k in inputs] if self.input_names else []
        right = [self.output_names[j] for j in outputs] if self.output_names else []
        if self.node_values is None:
            return left, right
        values = [short(value) for value in self.node_values[-1][outputs]]
        if not right:
            return left, values
        return left, [f"{n}: {v}" for n, v in zip(right, values, strict=True)]

    def largest_edge(self):
        """Which edge is the largest, in a sentence."""
        sizes = [np.abs(values).max() for values in self.edge_values]
        layer = int(np.argmax(sizes)) + 1
        values = self.edge_values[layer - 1]
        k, j = np.unravel_index(np.argmax(np.abs(values)), values.shape)
        way = f"from {self._name(layer - 1, k)} to {self._name(layer, j)}"
        return f"The largest {self.edges}, {short(values[k, j])}, is that {way}"

    def caption(self):
        """What is relative to what, and what is left out."""
        lines = ["max: the largest size in the layer, full width and colour"]
        if any(self.n_left_out):
            lines.append(f"wide layers: the nodes with the largest {self.edges}s")
        if any(values.size > MOST_EDGES for values in self.edge_values):
            lines.append(f"each layer: at most the {MOST_EDGES} largest {self.edges}s")
        return "\n".join(lines)

    def _name(self, layer, index):
        """What a node is called in a sentence."""
        if layer == 0:
            return self.input_names[index] if self.input_names else f"input {index}"
        if layer == len(self.edge_values):
            return f"output {self.output_names[index] if self.output_names else index}"
        return f"node {index} of layer {layer}"


# -- values --------------------------------------------------------------------------


def node_values(result, nodes, sample):
    """What the nodes are coloured by.

    Parameters
    ----------
    result : Backprop
    nodes : {'activation', 'delta'}
    sample : int or None
        None: the mean over the samples.

    Returns
    -------
    values : list of L + 1 ndarrays of shape (n_l,)
        a^l, or delta^l with dC_0/dx for the inputs.
    """
    errors = [result.input_grads, *result.delta[1:]]
    layers = {"activation": result.a, "delta": errors}[nodes]
    return [_mean_row(rows, sample) for rows in layers]


def edge_values(result, edges, sample):
    """What the edges show.

    Parameters
    ----------
    result : Backprop
    edges : {'weight', 'gradient'}
    sample : int or None

    Returns
    -------
    values : list of L ndarrays of shape (n_{l-1}, n_l)
        W^l; or dC/dW^l, the penalty included; or dC_0/dW^l of the sample.
    """
    if edges == "weight":
        return result.network.coefs_
    if sample is None:
        return result.coef_grads
    a = node_values(result, "activation", sample)
    delta = node_values(result, "delta", sample)
    return [np.outer(a[i], delta[i + 1]) for i in range(len(delta) - 1)]  # BP4


def _mean_row(rows, sample):
    rows = rows if sample is None else rows[[sample]]
    rows = rows.toarray() if issparse(rows) and sample is not None else rows
    return np.asarray(rows.mean(axis=0, dtype=np.float64)).ravel()


# -- names ---------------------------------------------------------------------------


def input_names(model):
    """Names of the columns of X, if the model knows them.

    Returns
    -------
    names : list of str or None
    """
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else [_cut(name) for name in names]


def output_names(model, n_outputs):
    """Labels of the classes, one for each output node, if the model has any.

    A single node for two classes is that of the second.

    Returns
    -------
    names : list of str or None
    """
    classes = getattr(model, "classes_", None)
    if classes is None:
        return None
    return [_cut(label) for label in classes[-n_outputs:]]


def _cut(name):
    """One line of text, not too long."""
    name = " ".join(str(name).split())
    return name if len(name) <= MOST_CHARACTERS else name[: MOST_CHARACTERS - 1] + "…"
