"""A network as nodes and edges."""

import numpy as np

from cbp.inspection.displays.network_graph import (
    EDGES,
    NODES,
    Graph,
    edge_values,
    input_names,
    node_values,
    output_names,
)
from cbp.inspection.displays.network_picture import NetworkPicture
from cbp.inspection.displays.plotting import axes_for, set_title
from cbp.inspection.displays.wording import short
from cbp.inspection.samples import backprop_of, check_model
from cbp.network.backprop import check_index
from cbp.network.network import Network

#: Inches that a figure has for a layer, and for a node.
PER_LAYER, PER_NODE = 0.95, 0.24


class NetworkDisplay:
    """A network as nodes and edges, coloured by what they hold.

    Blue, solid edges and outlines are positive, orange, dashed ones negative. Colour
    and width are relative to the largest size in their layer, which is written above
    the nodes and below the edges. Numbers in nodes count from 0, as arrays are indexed.

    Layers of more than 30 nodes are shown in part: the 16 nodes whose edges have the
    largest Euclidean norm, and how many more there are. Of the edges between these, the
    120 largest of each layer are drawn.

    Parameters
    ----------
    edge_values : list of L array-likes of shape (n_{l-1}, n_l)
        Weights, or their gradient.
    node_values : list of L + 1 array-likes of shape (n_l,), default=None
        Activations or error signals; None: all nodes are white.
    edges : str, default='weight'
        What the edges show, in words.
    nodes : str, default='activation'
        What the nodes show, in words.
    input_names : list of n_0 str, default=None
        Beside the inputs.
    output_names : list of n_L str, default=None
        Beside the outputs.
    title : str, default=None
        None: which edge is the largest.

    Attributes
    ----------
    shown_ : list of L + 1 ndarrays of int
        The nodes of each layer that are drawn, ascending.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    nodes_ : list of L + 1 PathCollection
        Node ``shown_[l][i]`` is the entry i of ``nodes_[l]``.
    positive_edges_, negative_edges_ : lists of L LineCollection
        The edges between the layers l - 1 and l, at index l - 1; the largest last.
    input_labels_, output_labels_ : lists of Text
    more_labels_ : list of Text
        One for each layer shown in part: how many nodes it has beside those drawn.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from cbp import MLPClassifier, NetworkDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier((5,), solver="lbfgs", max_iter=1000, random_state=0)
    >>> display = NetworkDisplay.from_estimator(clf.fit(X, y), X, y, sample=0)
    >>> [len(nodes) for nodes in display.shown_]
    [4, 5, 3]
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        *,
        edge_values,
        node_values=None,
        edges="weight",
        nodes="activation",
        input_names=None,
        output_names=None,
        title=None,
    ):
        self.edge_values = [np.asarray(values) for values in edge_values]
        self.node_values = (
            None
            if node_values is None
            else [np.asarray(values) for values in node_values]
        )
        self.edges, self.nodes = edges, nodes
        self.input_names, self.output_names = input_names, output_names
        self.title = title

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X=None,
        y=None,
        *,
        sample=None,
        nodes="activation",
        edges="weight",
        ax=None,
    ):
        """Draw a network with its weights, or with what backpropagation computes.

        Parameters
        ----------
        estimator : Network or fitted MLPEstimator, MLPClassifier, MLPRegressor
        X : {array-like, sparse matrix} of shape (n, n_0), default=None
            None, with y: the weights only.
        y : array-like, default=None
            Labels or numbers, as for `fit`.
        sample : int, default=None
            The row of X that is shown; None: the mean over all rows.
        nodes : {'activation', 'delta'}, default='activation'
            What colours the nodes: a^l, or delta^l (of the inputs dC_0/dx).
        edges : {'weight', 'gradient'}, default='weight'
            What the edges show: w^l, or its gradient, dC/dw^l (penalty included), of a
            sample dC_0/dw^l.
        ax : matplotlib Axes, default=None
            None: axes of their own. Draw on axes of the final size: nodes and text
            are made to fit it.

        Returns
        -------
        display : NetworkDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is neither an estimator of this package nor a Network, or `sample` is
            not an integer.
        IndexError
            If there is no such sample.
        ValueError
            If `nodes` or `edges` is none of the above, only one of X and y is given,
            they do not fit the model, they are needed and not there, or delta is not
            finite.
        ImportError
            If matplotlib is not installed.
        """
        _check_option("nodes", nodes, NODES)
        _check_option("edges", edges, EDGES)
        check_model(estimator)
        is_network = isinstance(estimator, Network)
        network = estimator if is_network else estimator.network_
        names = {
            "input_names": input_names(estimator),
            "output_names": output_names(estimator, network.layer_sizes[-1]),
        }
        if X is None and y is None:
            _check_needs_no_samples(sample, nodes, edges)
            weights = [w.copy() for w in network.coefs_]  # training may go on
            return cls(edge_values=weights, **names).plot(ax)
        result = backprop_of(estimator, X, y)
        if sample is None:
            words = {"nodes": f"mean {nodes}"}
        else:
            check_index("sample", sample, 0, len(result.sample_losses) - 1)
            title = _verdict_on(result, sample, names["output_names"])
            words = {"nodes": nodes, "title": title}
        display = cls(
            node_values=node_values(result, nodes, sample),
            edge_values=edge_values(result, edges, sample),
            edges=edges,
            **words,
            **names,
        )
        return display.plot(ax)

    def plot(self, ax=None):
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: axes of their own.

        Returns
        -------
        self : NetworkDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        graph = Graph(
            self.edge_values,
            self.node_values,
            self.edges,
            self.nodes,
            self.input_names,
            self.output_names,
        )
        self.ax_, self.figure_ = axes_for(self, ax, _figsize(graph.n_rows))
        self.ax_.set_axis_off()
        set_title(self.ax_, self.title or graph.largest_edge())
        picture = NetworkPicture(self.ax_, graph)
        self.shown_ = graph.shown
        self.nodes_ = picture.nodes
        self.positive_edges_ = picture.positive_edges
        self.negative_edges_ = picture.negative_edges
        self.input_labels_ = picture.input_labels
        self.output_labels_ = picture.output_labels
        self.more_labels_ = picture.more_labels
        return self


def _figsize(n_rows):
    """Width and height in inches that suit layers of so many rows."""
    width = 4 + PER_LAYER * (len(n_rows) - 1)
    return np.clip(width, 6, 14), np.clip(2 + PER_NODE * max(n_rows), 4, 9)


def _check_option(name, value, options):
    if value not in options:
        raise ValueError(f"{name}={value!r} must be one of {', '.join(options)}.")


def _check_needs_no_samples(sample, nodes, edges):
    """Without X and y there are weights and no more."""
    for name, value, default in (
        ("sample", sample, None),
        ("nodes", nodes, NODES[0]),
        ("edges", edges, EDGES[0]),
    ):
        if value != default:
            raise ValueError(f"{name}={value!r} needs samples; give X and y.")


def _verdict_on(result, sample, output_names):
    """How far the outputs of a sample are off, in a sentence."""
    errors = result.a[-1][sample] - result.y[sample]
    j = int(np.argmax(np.abs(errors)))
    if errors[j] == 0:
        return f"Sample {sample}: every output is right"
    name = output_names[j] if output_names else j
    which = f"output {name}, the furthest off," if len(errors) > 1 else "the output"
    direction = "high" if errors[j] > 0 else "low"
    return f"Sample {sample}: {which} is {short(abs(errors[j]))} too {direction}"
