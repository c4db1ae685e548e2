"""The nodes, edges and labels of a drawn network are those that there are.

How they look is in test_display_pictures.py.
"""

from itertools import pairwise

import numpy as np
import pandas
import pytest
from drawing import LABELS, X, axes, drawn, title
from sklearn.exceptions import ConvergenceWarning

from cbp import MLPClassifier, Network, NetworkDisplay
from cbp.inspection.displays import plotting
from cbp.inspection.displays.network_graph import MOST_EDGES, MOST_NODES, MOST_OF_WIDE

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{ConvergenceWarning.__module__}.{ConvergenceWarning.__name__}"
)


@pytest.fixture(scope="module")
def clf():
    return MLPClassifier((6, 4), max_iter=8, random_state=0).fit(X, LABELS)


def edge_lines(display, layer):
    """(k, j) -> sign of the edges drawn, found by where they begin and end."""
    rows = [
        {
            round(y, 6): index
            for (_, y), index in zip(nodes.get_offsets(), shown, strict=True)
        }
        for nodes, shown in zip(display.nodes_, display.shown_, strict=True)
    ]
    return {
        (rows[layer - 1][round(start[1], 6)], rows[layer][round(end[1], 6)]): sign
        for sign, edges in (
            (1, display.positive_edges_[layer - 1]),
            (-1, display.negative_edges_[layer - 1]),
        )
        for start, end in edges.get_segments()
    }


def caption(display):
    return display.ax_.get_legend().get_title().get_text().split("\n")


def test_every_weight_of_a_small_network_is_an_edge_of_its_sign(clf):
    display = drawn(NetworkDisplay, clf)
    for layer, w in enumerate(clf.coefs_, 1):
        edges = edge_lines(display, layer)
        assert edges == {kj: np.sign(w[kj]) for kj in np.ndindex(*w.shape)}


def test_the_larger_the_weight_the_wider_its_edge(clf):
    display = drawn(NetworkDisplay, clf)
    w = clf.coefs_[0]
    widths = display.positive_edges_[0].get_linewidths()
    sizes = np.sort(w[w > 0]) / np.abs(w).max()
    np.testing.assert_allclose(np.interp(sizes, [0, 1], [0.3, 2.5]), widths)


@pytest.mark.parametrize("sample", [None, 0, 39])
@pytest.mark.parametrize("nodes", ["activation", "delta"])
@pytest.mark.parametrize("edges", ["weight", "gradient"])
def test_values_are_those_of_backprop(clf, sample, nodes, edges):
    display = NetworkDisplay.from_estimator(
        clf, X, LABELS, sample=sample, nodes=nodes, edges=edges, ax=axes()
    )
    result = clf.backprop(X, LABELS)
    layers = {"activation": result.a, "delta": [result.input_grads, *result.delta[1:]]}
    rows = slice(None) if sample is None else slice(sample, sample + 1)
    for i, values in enumerate(layers[nodes]):
        np.testing.assert_allclose(display.node_values[i], values[rows].mean(axis=0))
    for i, values in enumerate(display.edge_values):
        if edges == "weight":
            expected = clf.coefs_[i]
        elif sample is None:
            expected = result.coef_grads[i]
        else:
            expected = result.sample_coef_grads(i + 1)[sample]
        np.testing.assert_allclose(values, expected)


def test_nodes_have_the_colour_of_their_value_and_a_dashed_outline_below_zero(clf):
    display = NetworkDisplay.from_estimator(clf, X, LABELS, nodes="delta", ax=axes())
    for values, nodes in zip(display.node_values, display.nodes_, strict=True):
        expected = plotting.diverging(values / np.abs(values).max())
        np.testing.assert_allclose(nodes.get_facecolors()[:, :3], expected)
        is_dashed = [dashes is not None for _, dashes in nodes.get_linestyles()]
        np.testing.assert_array_equal(is_dashed, values < 0)


def test_without_samples_nodes_are_white(clf):
    display = drawn(NetworkDisplay, clf)
    for nodes in display.nodes_:
        assert (nodes.get_facecolors()[:, :3] == 1).all()
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == ["weight > 0", "weight < 0"]


def test_the_weights_are_those_of_the_time_of_drawing():
    net = Network((3, 2), random_state=0)
    before = net.coefs_[0].copy()
    display = drawn(NetworkDisplay, net)
    net.params_ = np.zeros(net.n_params)
    np.testing.assert_array_equal(display.edge_values[0], before)


def test_the_legend_says_what_nodes_and_edges_are(clf):
    display = NetworkDisplay.from_estimator(
        clf, X, LABELS, nodes="delta", edges="gradient", ax=axes()
    )
    legend = display.ax_.get_legend()
    names = ["gradient > 0", "gradient < 0", "mean delta > 0", "mean delta < 0"]
    assert [text.get_text() for text in legend.get_texts()] == names
    positive, negative = legend.get_lines()
    assert positive.get_linestyle() == "-" != negative.get_linestyle()


def test_a_sample_is_told_which_output_is_furthest_off(clf):
    display = NetworkDisplay.from_estimator(clf, X, LABELS, sample=7, ax=axes())
    errors = clf.predict_proba(X[7:8])[0] - (clf.classes_ == LABELS[7])
    j = np.argmax(np.abs(errors))
    direction = "high" if errors[j] > 0 else "low"
    expected = f"Sample 7: output {clf.classes_[j]}, the furthest off, is"
    assert title(display) == f"{expected} {abs(errors[j]):.3g} too {direction}"


def test_wide_layers_show_the_nodes_with_the_largest_edges_and_count_the_others():
    net = Network((MOST_NODES, MOST_NODES + 1, 100, 2), random_state=0)
    display = drawn(NetworkDisplay, net)
    sizes = [len(shown) for shown in display.shown_]
    assert sizes == [MOST_NODES, MOST_OF_WIDE, MOST_OF_WIDE, 2]
    counts = [label.get_text() for label in display.more_labels_]
    assert counts == [
        f"… {MOST_NODES + 1 - MOST_OF_WIDE} more",
        f"… {100 - MOST_OF_WIDE} more",
    ]
    norms = np.hypot(
        np.linalg.norm(net.coefs_[1], axis=0), np.linalg.norm(net.coefs_[2], axis=1)
    )
    assert set(display.shown_[2]) == set(np.argsort(norms)[-MOST_OF_WIDE:])
    assert caption(display) == [
        "max: the largest size in the layer, full width and colour",
        "wide layers: the nodes with the largest weights",
        f"each layer: at most the {MOST_EDGES} largest weights",
    ]
    for layer in (1, 2):
        k, j = np.ix_(display.shown_[layer - 1], display.shown_[layer])
        w = np.abs(net.coefs_[layer - 1])
        drawn_sizes = [w[edge] for edge in edge_lines(display, layer)]
        assert len(drawn_sizes) == MOST_EDGES
        assert min(drawn_sizes) == np.sort(w[k, j], axis=None)[-MOST_EDGES]


@pytest.mark.parametrize(
    ("sizes", "left_out"),
    [
        ((2, 40, 2), ["wide layers: the nodes with the largest weights"]),
        ((20, 20), [f"each layer: at most the {MOST_EDGES} largest weights"]),
        ((3, 2), []),
    ],
    ids=["nodes", "edges", "nothing"],
)
def test_the_caption_says_what_is_left_out(sizes, left_out):
    _, *lines = caption(drawn(NetworkDisplay, Network(sizes, random_state=0)))
    assert lines == left_out


@pytest.mark.parametrize(
    "sizes",
    [(30, 3), (5, *[20] * 10, 3), (300, 200, 100), (1, 1)],
    ids=["wide", "deep", "cut", "least"],
)
@pytest.mark.parametrize("figsize", [(6, 4), (12, 7)], ids=str)
def test_nodes_and_headers_do_not_overlap(sizes, figsize):
    net = Network(sizes, random_state=0)
    display = NetworkDisplay.from_estimator(net, ax=axes(figsize))
    display.figure_.canvas.draw()
    scale = 72 / display.figure_.dpi
    for nodes in display.nodes_:
        y = np.sort(nodes.get_offsets()[:, 1])
        diameter = np.sqrt(nodes.get_sizes()[0])
        assert all(np.diff(y) > diameter)
        assert y[0] > 0 and y[-1] < display.ax_.get_window_extent().height * scale
    headers = [t for t in display.ax_.texts if t.get_text().endswith(("node", "nodes"))]
    boxes = [header.get_window_extent() for header in headers]
    assert len(boxes) == len(sizes)
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))


def test_inputs_and_outputs_have_the_names_that_the_estimator_knows(clf):
    names = ["age", "cost in $ or $$", "x" * 30, "two\nlines", "last"]
    frame = pandas.DataFrame(X, columns=names)
    named = MLPClassifier((3,), max_iter=3, random_state=0).fit(frame, LABELS)
    display = NetworkDisplay.from_estimator(named, frame, LABELS, sample=1, ax=axes())
    shown = [label.get_text() for label in display.input_labels_]
    assert shown == ["age", "cost in $ or $$", "x" * 19 + "…", "two lines", "last"]
    for label, name in zip(display.output_labels_, ["ant", "bee", "cat"], strict=True):
        assert label.get_text().startswith(f"{name}: ")
    display.figure_.canvas.draw()  # dollar signs are no formula
    assert drawn(NetworkDisplay, clf).input_labels_ == []


def test_the_one_output_of_two_classes_is_the_second():
    binary = MLPClassifier((3,), max_iter=3).fit(X, X[:, 0] > 0)
    (label,) = drawn(NetworkDisplay, binary).output_labels_
    assert label.get_text() == "True"


def test_edges_of_different_sign_differ_in_line_style(clf):
    display = drawn(NetworkDisplay, clf)
    assert all(
        dashes is None for _, dashes in display.positive_edges_[0].get_linestyles()
    )
    edges = display.negative_edges_[0]
    for (_, dashes), width in zip(
        edges.get_linestyles(), edges.get_linewidths(), strict=True
    ):
        assert dashes is not None
        assert min(dashes) > 1.5, width


# -- refusals --------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [-1, 40])
def test_a_sample_that_does_not_exist_is_refused(sample, clf):
    with pytest.raises(IndexError, match=f"sample={sample} .*from 0 to 39"):
        NetworkDisplay.from_estimator(clf, X, LABELS, sample=sample)


def test_a_sample_is_an_integer(clf):
    with pytest.raises(TypeError, match=r"sample=1\.5"):
        NetworkDisplay.from_estimator(clf, X, LABELS, sample=1.5)


@pytest.mark.parametrize(
    ("option", "choices"),
    [({"nodes": "z"}, "activation, delta"), ({"edges": "delta"}, "weight, gradient")],
    ids=["nodes", "edges"],
)
def test_an_option_that_does_not_exist_is_refused(option, choices, clf):
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"{name}='{value}' must be one of {choices}"):
        NetworkDisplay.from_estimator(clf, X, LABELS, **option)


@pytest.mark.parametrize(
    "option", [{"sample": 0}, {"nodes": "delta"}, {"edges": "gradient"}], ids=str
)
def test_what_needs_samples_says_so(option, clf):
    with pytest.raises(ValueError, match="needs samples; give X and y"):
        NetworkDisplay.from_estimator(clf, **option)
