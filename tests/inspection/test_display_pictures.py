"""The displays look as they did: pictures of fixed numbers against those in baseline/.

After a change that was meant, draw them anew, look at them, and commit them:

    CBP_DRAW_BASELINE=1 python -m pytest tests/test_display_pictures.py

Versions of matplotlib and FreeType draw letters differently. Therefore a baseline is
two files: NAME.png, without text and legends, so that next to nothing has to be
forgiven; and NAME.json, the text: what is written where, how large and in which colour.
The tests at the end hold both to noticing a single element that has changed.
"""

import json
import os
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.testing.compare import compare_images
from matplotlib.text import Text

from cbp import (
    ErrorSignalDisplay,
    GradientFlowDisplay,
    LossCurveDisplay,
    NetworkDisplay,
)

BASELINE = Path(__file__).parent / "baseline"

#: Root mean square difference of the pixels' values, which go up to 255.
TOLERANCE = 0.2

#: Pixels by which text may lie elsewhere: axes make room for letters next to them.
TEXT_TOLERANCE = 4

EPOCHS = np.arange(1, 31)[:, np.newaxis]
BY_EPOCH = 0.2 * np.exp(-EPOCHS / 12) * [1, 0.4, 0.3]

#: Signs alternate, sizes go from 0.02 to 1: what nodes and edges can look like.
SIGNED = np.linspace(0.02, 1, 60) * np.where(np.arange(60) % 2, -1, 1)


def weights(n_in, n_out):
    return np.resize(SIGNED, n_in * n_out).reshape(n_in, n_out)


def loss_curve():
    return LossCurveDisplay(loss_curve=2.3 * np.exp(-EPOCHS[:, 0] / 8) + 0.1)


def loss_curve_with_scores():
    losses = 2.3 * np.exp(-EPOCHS[:, 0] / 8)
    scores = 0.9 - 0.6 * np.exp(-EPOCHS[:, 0] / 5) - 0.001 * EPOCHS[:, 0]
    return LossCurveDisplay(loss_curve=losses, validation_scores=scores)


def error_signal_by_layer():
    steps = np.array([1e-3, 4e-3, 2e-2, 5e-2, 1e-1, 4e-1, 9e-1])
    return ErrorSignalDisplay(
        quantiles=[0.02 * steps, np.full(7, np.nan), steps], zero_shares=[0.38, 1, 0]
    )


def error_signal_by_epoch():
    return ErrorSignalDisplay(delta_norms=BY_EPOCH)


def gradient_flow_by_layer():
    return GradientFlowDisplay(
        grad_norms=[0.003, 0.01, 0.05, 0.2], delta_norms=[0.02, 0.03, 0.05, 0.06]
    )


def gradient_flow_by_epoch():
    return GradientFlowDisplay(grad_norms=BY_EPOCH, update_ratios=0.01 * BY_EPOCH)


def network_of_weights():
    return NetworkDisplay(edge_values=[weights(6, 4), weights(4, 3)])


def network_with_nodes():
    return NetworkDisplay(
        edge_values=[weights(3, 40), weights(40, 4), weights(4, 2)],
        node_values=[SIGNED[[40, 21, 30]], SIGNED[:40], SIGNED[[9, 50, 4, 59]], [1, 0]],
        edges="gradient",
        nodes="delta",
        input_names=["age", "cost in $", "a very long name…"],
        output_names=["no", "yes"],
        title="Sample 3: output yes, the furthest off, is 0.4 too low",
    )


DISPLAYS = (
    loss_curve,
    loss_curve_with_scores,
    error_signal_by_layer,
    error_signal_by_epoch,
    gradient_flow_by_layer,
    gradient_flow_by_epoch,
    network_of_weights,
    network_with_nodes,
)


@pytest.fixture(autouse=True)
def one_style():
    """matplotlib's own defaults, with its own font, unhinted: glyphs lie anywhere."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["text.hinting"] = "none"
        yield


def draw(display):
    """The display, on axes whose place depends on no text."""
    figure = Figure(figsize=(5, 3.5), dpi=80)
    FigureCanvasAgg(figure)
    return display().plot(figure.add_axes((0.16, 0.14, 0.66, 0.7)))


def texts(figure):
    """All text that can be seen, as it is put into the json file."""
    figure.draw_without_rendering()
    return [
        {
            "text": text.get_text(),
            "at": text.get_transform().transform(text.get_unitless_position()).tolist(),
            "size": text.get_fontsize(),
            "color": to_hex(text.get_color()),
        }
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text()
    ]


def save(figure, folder, name):
    """Write both files of a figure, which loses its text."""
    (folder / f"{name}.json").write_text(
        json.dumps(texts(figure), indent=1, ensure_ascii=False) + "\n", "utf-8"
    )
    for text in figure.findobj(Text):
        text.set_alpha(0)
    for legend in figure.findobj(Legend):  # it lies where its letters leave room
        legend.set_visible(False)
    figure.savefig(folder / f"{name}.png", metadata={"Software": None})


def differences(figure, name, folder):
    """What is not as in baseline/: 'picture' and 'text', or nothing."""
    save(figure, folder, name)
    pair = [str(place / f"{name}.png") for place in (BASELINE, folder)]
    found = []
    if compare_images(*pair, TOLERANCE) is not None:
        found.append("picture")
    expected, actual = (
        json.loads((place / f"{name}.json").read_text("utf-8"))
        for place in (BASELINE, folder)
    )
    if not same_texts(expected, actual):
        found.append("text")
    return found


def same_texts(expected, actual):
    """Whether all is the same but for a few pixels in where it is."""
    there, here = ([text.pop("at") for text in these] for these in (expected, actual))
    return expected == actual and np.allclose(there, here, rtol=0, atol=TEXT_TOLERANCE)


@pytest.mark.parametrize("display", DISPLAYS, ids=lambda display: display.__name__)
def test_the_picture_is_that_of_the_baseline(display, tmp_path):
    name = display.__name__
    if os.environ.get("CBP_DRAW_BASELINE") == "1":
        save(draw(display).figure_, BASELINE, name)
    assert differences(draw(display).figure_, name, tmp_path) == []


# -- what the comparison notices -------------------------------------------------------


PICTURE_CHANGES = {
    "grey line": (loss_curve, lambda d: d.line_, {"color": "0.3"}),
    "dashed line": (loss_curve, lambda d: d.line_, {"linestyle": "--"}),
    "thin line": (loss_curve, lambda d: d.line_, {"linewidth": 1}),
    "no best epoch": (loss_curve, lambda d: d.best_line_, {"visible": False}),
    "no scores": (loss_curve_with_scores, lambda d: d.scores_line_, {"visible": False}),
    "no median": (error_signal_by_layer, lambda d: d.medians_[0], {"visible": False}),
    "light bar": (error_signal_by_layer, lambda d: d.bars_[0][0][0], {"color": "0.7"}),
    "other marker": (error_signal_by_epoch, lambda d: d.lines_[2], {"marker": "x"}),
    "other limits": (error_signal_by_epoch, lambda d: d.ax_, {"ylim": (1e-3, 1.3)}),
    "other end": (
        gradient_flow_by_layer,
        lambda d: d.lines_[1],
        {"ydata": [0.02, 0.03, 0.05, 0.07]},
    ),
    "no band": (gradient_flow_by_epoch, lambda d: d.band_, {"visible": False}),
    "solid edges": (network_of_weights, lambda d: d.negative_edges_[0], {"ls": "-"}),
    "dark edges": (network_of_weights, lambda d: d.positive_edges_[1], {"color": "k"}),
    "solid outlines": (network_with_nodes, lambda d: d.nodes_[2], {"linestyle": "-"}),
}

TEXT_CHANGES = {
    "other digit": (
        loss_curve,
        lambda d: d.best_label_,
        {"text": "least loss 0.155,\nepoch 30"},
    ),
    "other title": (
        loss_curve,
        lambda d: d.ax_.title,
        {"text": "The loss falls from 2.13 to 0.15"},
    ),
    "no share": (error_signal_by_layer, lambda d: d.zero_labels_[0], {"text": ""}),
    "moved": (error_signal_by_epoch, lambda d: d.labels_[1], {"position": (5, 9)}),
    "other axis": (gradient_flow_by_layer, lambda d: d.ax_.xaxis.label, {"text": "l"}),
    "red": (gradient_flow_by_epoch, lambda d: d.ratio_labels_[0], {"color": "red"}),
    "other name": (network_with_nodes, lambda d: d.input_labels_[1], {"text": "cost"}),
    "other legend": (
        network_with_nodes,
        lambda d: d.ax_.get_legend().get_texts()[0],
        {"text": "weight > 0"},
    ),
    "small": (network_with_nodes, lambda d: d.more_labels_[0], {"fontsize": 5}),
}


def differences_after(change, folder):
    """What is not as in baseline/ when one artist of a display has been changed."""
    display, artist, properties = change
    drawn = draw(display)
    artist(drawn).set(**properties)
    return differences(drawn.figure_, display.__name__, folder)


@pytest.mark.parametrize("change", PICTURE_CHANGES)
def test_a_changed_element_is_noticed_in_the_picture(change, tmp_path):
    assert "picture" in differences_after(PICTURE_CHANGES[change], tmp_path)


@pytest.mark.parametrize("change", TEXT_CHANGES)
def test_a_changed_label_is_noticed_in_the_text(change, tmp_path):
    assert differences_after(TEXT_CHANGES[change], tmp_path) == ["text"]
