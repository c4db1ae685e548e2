"""What the displays show equals the arrays, and what they refuse.

Networks are in test_network_display.py, how all look in test_display_pictures.py.
"""

import pickle
import sys

import matplotlib
import numpy as np
import pytest
from drawing import LABELS, X, axes, drawn, title
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy.sparse import csr_array
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cbp import (
    ErrorSignalDisplay,
    GradientFlowDisplay,
    LossCurveDisplay,
    MLPClassifier,
    MLPRegressor,
    Network,
    NetworkDisplay,
    Record,
    from_sklearn,
)
from cbp.inspection.displays import plotting

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{ConvergenceWarning.__module__}.{ConvergenceWarning.__name__}"
)

DISPLAYS = [LossCurveDisplay, ErrorSignalDisplay, GradientFlowDisplay, NetworkDisplay]
OF_SAMPLES = DISPLAYS[1:]


@pytest.fixture(autouse=True)
def no_window():
    with matplotlib.rc_context():
        plt.switch_backend("Agg")
        yield
        plt.close("all")


@pytest.fixture(scope="module")
def clf():
    return MLPClassifier((6, 4), max_iter=8, random_state=0).fit(X, LABELS)


@pytest.fixture
def recorded(clf):
    """A classifier whose fit has recorded five epochs."""
    copy = pickle.loads(pickle.dumps(clf))
    sizes = np.random.default_rng(1).random((5, 3))
    copy.record_ = Record(
        delta_norms=sizes.tolist(),
        grad_norms=(2 * sizes).tolist(),
        update_ratios=(1e-3 * sizes).tolist(),
        dead_shares=np.zeros((5, 2)).tolist(),
    )
    return copy


# -- the losses ------------------------------------------------------------------------


def test_the_curve_is_that_of_the_losses_and_the_least_is_marked(clf):
    display = drawn(LossCurveDisplay, clf)
    np.testing.assert_array_equal(display.line_.get_ydata(), clf.loss_curve_)
    np.testing.assert_array_equal(display.line_.get_xdata(), range(1, 9))
    assert display.best_epoch_ == 1 + np.argmin(clf.loss_curve_)
    assert display.best_line_.get_xdata()[0] == display.best_epoch_
    assert display.ax_.get_xlabel() == "epoch"
    assert display.scores_ax_ is display.scores_line_ is None


def test_scores_stand_on_an_axis_of_their_own_and_their_best_is_marked():
    clf = MLPClassifier((6,), early_stopping=True, max_iter=9, random_state=0)
    clf.fit(X, LABELS)
    display = drawn(LossCurveDisplay, clf)
    np.testing.assert_array_equal(
        display.scores_line_.get_ydata(), clf.validation_scores_
    )
    assert display.scores_ax_ is display.scores_line_.axes is not display.ax_
    assert display.best_epoch_ == 1 + np.argmax(clf.validation_scores_)
    assert display.line_.get_linestyle() != display.scores_line_.get_linestyle()


def test_scores_stand_at_the_last_epochs_if_only_those_had_any():
    clf = MLPClassifier((6,), max_iter=4, warm_start=True, random_state=0)
    clf.fit(X, LABELS).set_params(early_stopping=True).fit(X, LABELS)
    display = drawn(LossCurveDisplay, clf)
    np.testing.assert_array_equal(display.line_.get_xdata(), range(1, 9))
    np.testing.assert_array_equal(display.scores_line_.get_xdata(), range(5, 9))
    np.testing.assert_array_equal(
        display.scores_line_.get_ydata(), clf.validation_scores_
    )
    assert display.best_epoch_ == 5 + np.argmax(clf.validation_scores_)
    assert display.best_line_.get_xdata()[0] == display.best_epoch_


def test_the_score_of_a_diverged_epoch_is_not_the_best():
    display = LossCurveDisplay(
        loss_curve=[2.0, 1.0, 9.0], validation_scores=[0.5, 0.7, np.nan]
    )
    assert display.plot(axes()).best_epoch_ == 2


def test_an_early_best_epoch_has_its_label_to_the_right_a_late_one_to_the_left():
    losses = np.arange(10.0)
    for curve, side in ((losses, "left"), (-losses, "right")):
        display = LossCurveDisplay(loss_curve=curve).plot(axes())
        assert display.best_label_.get_ha() == side
    display = LossCurveDisplay(loss_curve=losses, validation_scores=[2, 1])
    assert display.plot(axes()).best_label_.get_ha() == "right"


def test_lbfgs_has_iterations():
    reg = MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=5).fit(
        X, X[:, 0]
    )
    display = drawn(LossCurveDisplay, reg)
    assert display.ax_.get_xlabel() == "iteration"
    assert "iteration" in display.best_label_.get_text()


@pytest.mark.parametrize(
    ("losses", "title"),
    [
        ([2.1, 0.5, 0.03], "The loss falls from 2.1 to 0.03"),
        ([1.0, 3.0], "The loss does not fall: from 1 to 3"),
        ([14321.0], "The loss is 14,300"),
    ],
    ids=["falls", "rises", "single"],
)
def test_the_title_says_what_the_loss_does(losses, title):
    display = LossCurveDisplay(loss_curve=losses).plot(axes())
    assert display.ax_.get_title() == title


# -- error signals ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_strips_are_quantiles_of_what_is_not_zero(dtype):
    clf = MLPClassifier((6, 4), max_iter=8, random_state=0).fit(X.astype(dtype), LABELS)
    display = drawn(ErrorSignalDisplay, clf, X.astype(dtype), LABELS)
    for layer, delta in enumerate(clf.backprop(X.astype(dtype), LABELS).delta[1:]):
        sizes = np.abs(delta).astype(float).ravel()
        expected = np.quantile(sizes[sizes > 0], ErrorSignalDisplay.LEVELS)
        np.testing.assert_array_equal(display.quantiles[layer], expected)
        assert display.zero_shares[layer] == np.mean(sizes == 0)
        for bars, low, high in zip(
            display.bars_[layer], (0, 1, 2), (6, 5, 4), strict=True
        ):
            (bar,) = bars
            assert bar.get_x() == expected[low]
            assert bar.get_x() + bar.get_width() == pytest.approx(expected[high])
        (median,) = display.medians_[layer].get_segments()
        assert set(median[:, 0]) == {expected[3]}
    assert display.ax_.get_xscale() == "log"


def test_zeros_are_counted_apart():
    net = Network((2, 2, 1), params=[1, -1, 1, -1, 1, 1, 0, 0, 0])
    display = drawn(ErrorSignalDisplay, net, [[1.0, 1.0], [2.0, 0.5]], [0.0, 0.0])
    assert [label.get_text() for label in display.zero_labels_] == [
        "50 % zero",
        "0 % zero",
    ]


def test_a_layer_without_any_signal_has_no_strip():
    net = Network((2, 2, 1), params=[-1, -1, -1, -1, 1, 1, 0, 0, 1])
    display = drawn(ErrorSignalDisplay, net, [[1.0, 1.0]], [0.0])
    assert display.bars_[0] == [] and display.medians_[0] is None
    assert display.zero_labels_[0].get_text() == "100 % zero"
    assert display.ax_.get_title() == "No error signal in layer 1"


def test_nothing_but_zeros_can_be_drawn():
    net = Network((2, 1), params=[0, 0, 0])
    for display in OF_SAMPLES:
        drawn(display, net, [[1.0, 1.0]], [0.0]).figure_.canvas.draw()


@pytest.mark.parametrize("display", OF_SAMPLES)
def test_a_diverged_network_is_refused(display):
    net = Network((2, 1), params=[1e308, 1e308, 0])
    with pytest.raises(
        ValueError, match=r"delta of layer 1 is not finite.*learning_rate"
    ):
        display.from_estimator(net, [[9.0, 9.0]], [0.0])


@pytest.mark.parametrize("size", [5e-324, 1e-310, 1e-12, 1.0, 1e308])
def test_logarithmic_axes_take_any_size(size):
    ax = axes()
    plotting.whole_decades(ax.yaxis, np.array([0, size]))
    low, high = ax.get_ylim()
    assert 0 < low < high < np.inf
    assert low <= max(size, 1e-300) and high >= min(size, 1e300)
    ax.figure.canvas.draw()


# -- over the epochs -------------------------------------------------------------------


def test_each_layer_has_a_line_over_the_epochs_and_its_name(recorded):
    display = drawn(ErrorSignalDisplay, recorded)
    lines = [line.get_ydata() for line in display.lines_]
    np.testing.assert_array_equal(np.transpose(lines), recorded.record_.delta_norms)
    np.testing.assert_array_equal(display.lines_[0].get_xdata(), range(1, 6))
    names = [label.get_text() for label in display.labels_]
    assert names == ["● layer 1", "■ layer 2", "◆ layer 3"]


def test_the_record_has_gradients_above_and_ratios_with_their_band_below(recorded):
    display = drawn(GradientFlowDisplay, recorded)
    for lines, values, ax in (
        (display.lines_, recorded.record_.grad_norms, display.axes_[0]),
        (display.ratio_lines_, recorded.record_.update_ratios, display.axes_[1]),
    ):
        np.testing.assert_array_equal(
            np.transpose([i.get_ydata() for i in lines]), values
        )
        assert {line.axes for line in lines} == {ax}
    band = display.band_.get_extents().transformed(
        display.axes_[1].transData.inverted()
    )
    np.testing.assert_allclose((band.y0, band.y1), (1e-4, 1e-2))


def test_the_record_of_lbfgs_has_iterations(recorded):
    recorded.set_params(solver="lbfgs")
    assert drawn(ErrorSignalDisplay, recorded).ax_.get_xlabel() == "iteration"
    assert drawn(GradientFlowDisplay, recorded).axes_[1].get_xlabel() == "iteration"


@pytest.mark.parametrize("n_layers", [1, 3, 12, 40])
def test_names_of_lines_keep_their_distance_and_order(n_layers):
    norms = np.linspace(1, 1.01, n_layers)[np.newaxis]
    display = ErrorSignalDisplay(delta_norms=np.repeat(norms, 3, axis=0)).plot(axes())
    display.figure_.canvas.draw()
    boxes = [label.get_window_extent() for label in display.labels_]
    middles = [(box.y0 + box.y1) / 2 for box in boxes]
    size = display.labels_[0].get_fontsize() * display.figure_.dpi / 72
    assert all(np.diff(middles) >= 0.99 * size)


@pytest.mark.parametrize(
    ("heights", "top", "expected"),
    [
        ([10, 0, 11, 50], 60, [8, 0, 13, 50]),
        ([10, 0, 11, 50], 50, [8, 0, 13, 50]),
        ([20, 20, 20], 60, [15, 20, 25]),
        ([9, 10], 10, [5, 10]),
        ([1, 0, 20], 60, [5, 0, 20]),
        ([3, 1, 2], 8, [8, -2, 3]),
    ],
    ids=["free", "at the top", "equal", "too high", "too low", "no room"],
)
def test_heights_are_spread_no_more_than_they_must(heights, top, expected):
    spread = plotting.spread(np.array(heights, float), 5, top)
    np.testing.assert_allclose(spread, expected)


@pytest.mark.parametrize(
    ("last", "title"),
    [
        ([0.5, 0.25], "Each layer's error signal shrinks, at least 2-fold"),
        ([0.5, 0.99], "The error signal shrinks in 1 of 2 layers"),
        ([1.0, 3.0], "The error signal shrinks in 0 of 2 layers"),
        ([1e-4, 1e-3], "Each layer's error signal shrinks, at least 1,000-fold"),
        ([0.0, 0.5], "In the end the layers' error signals are 0 to 0.5"),
    ],
    ids=["all", "hardly", "none", "a lot", "zero"],
)
def test_the_title_says_in_how_many_layers_error_signals_shrink(last, title):
    display = ErrorSignalDisplay(delta_norms=[[1.0, 1.0], last]).plot(axes())
    assert display.ax_.get_title().replace("\n", " ") == title


# -- the gradient ----------------------------------------------------------------------


def test_norms_of_layers_are_those_of_the_gradient_and_delta(clf):
    display = drawn(GradientFlowDisplay, clf, X, LABELS)
    result = clf.backprop(X, LABELS)
    for i in range(3):
        grads = np.append(*result.mean_grads(i + 1))
        assert display.lines_[0].get_ydata()[i] == pytest.approx(np.linalg.norm(grads))
        size = np.sqrt(np.mean(result.delta[i + 1] ** 2))
        assert display.lines_[1].get_ydata()[i] == pytest.approx(size)
    first, last = display.grad_norms[[0, -1]]
    verb = "grows" if first > last else "shrinks"
    assert f"From layer 3 to layer 1 the gradient {verb}" in title(display)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 100.0])
def test_the_gradient_of_samples_is_that_of_a_record_without_the_penalty(alpha):
    clf = MLPClassifier(
        (6, 4), "tanh", alpha=alpha, max_iter=1, random_state=0, record="summary"
    )
    clf.partial_fit(X, LABELS, classes=np.unique(LABELS))
    of_samples = drawn(GradientFlowDisplay, clf, X, LABELS)
    clf.partial_fit(X, LABELS)
    of_the_record = drawn(GradientFlowDisplay, clf)
    np.testing.assert_allclose(of_samples.grad_norms, of_the_record.grad_norms[-1])


# -- what all have in common -----------------------------------------------------------


@pytest.mark.parametrize("display", OF_SAMPLES)
def test_networks_and_sparse_samples_are_welcome(display):
    net = Network((5, 6, 2), random_state=0)
    rows, y = np.where(X > 0, X, 0), X[:, :2]
    dense, sparse = (drawn(display, net, x, y) for x in (rows, csr_array(rows)))
    for name, values in vars(dense).items():
        if not name.endswith("_") and isinstance(values, (list, np.ndarray)):
            for a, b in zip(values, getattr(sparse, name), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("display", DISPLAYS)
def test_it_is_drawn_where_it_is_told_to(display, recorded):
    ax = axes()
    shown = display.from_estimator(recorded, ax=ax)
    assert isinstance(shown, display)
    assert shown.ax_ is ax and shown.figure_ is ax.figure
    other = axes()
    assert shown.plot(other) is shown
    assert shown.ax_ is other and shown.figure_ is other.figure


@pytest.mark.parametrize("display", DISPLAYS)
def test_without_axes_it_makes_its_own(display, recorded):
    first, second = display.from_estimator(recorded), display.from_estimator(recorded)
    assert first.figure_ is not second.figure_
    assert first.ax_.figure is first.figure_


@pytest.mark.parametrize("display", DISPLAYS)
def test_a_part_of_a_larger_figure_will_do(display, recorded):
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, _ = figure.subfigures(1, 2)
    assert display.from_estimator(recorded, ax=left.subplots()).figure_ is left
    figure.canvas.draw()


@pytest.mark.parametrize("display", DISPLAYS)
def test_the_estimator_stays_as_it_is(display, recorded):
    before = pickle.dumps(recorded)
    drawn(display, recorded)
    assert pickle.dumps(recorded) == before


# -- in grey ---------------------------------------------------------------------------


def grey(color):
    """Luma of ITU-R BT.601, as most grey prints have it."""
    return np.dot(to_rgb(color), (0.299, 0.587, 0.114))


def test_signs_differ_in_grey():
    assert grey(plotting.NEGATIVE) - grey(plotting.POSITIVE) > 0.25
    assert grey(plotting.NEUTRAL) - grey(plotting.NEGATIVE) > 0.25
    shares = np.linspace(0, 1, 11)
    for sign in (1, -1):
        greys = [grey(color[:3]) for color in plotting.diverging(sign * shares)]
        assert all(np.diff(greys) < 0)


def test_lines_of_layers_differ_in_style_marker_and_grey(recorded):
    lines = drawn(ErrorSignalDisplay, recorded).lines_
    assert len({line.get_linestyle() for line in lines}) == 3
    assert len({line.get_marker() for line in lines}) == 3
    assert all(np.diff([grey(line.get_color()[:3]) for line in lines]) > 0.1)


# -- refusals --------------------------------------------------------------------------


@pytest.mark.parametrize("display", DISPLAYS)
def test_what_is_not_fitted_is_refused(display):
    with pytest.raises(NotFittedError):
        display.from_estimator(MLPClassifier())


@pytest.mark.parametrize("display", DISPLAYS)
@pytest.mark.parametrize(
    "model",
    [LinearRegression(), make_pipeline(StandardScaler(), MLPClassifier()), "mlp"],
    ids=["linear", "pipeline", "str"],
)
def test_other_models_are_refused(display, model):
    with pytest.raises(TypeError, match=type(model).__name__):
        display.from_estimator(model)


def test_a_network_has_no_losses():
    with pytest.raises(TypeError, match="Network that has no loss_curve_"):
        LossCurveDisplay.from_estimator(Network((2, 1)))


@pytest.mark.parametrize("display", OF_SAMPLES)
@pytest.mark.parametrize(
    ("samples", "missing"),
    [((X, None), "y=None"), ((None, LABELS), "X=None")],
    ids=["X alone", "y alone"],
)
def test_X_and_y_go_together(display, samples, missing, clf):
    with pytest.raises(ValueError, match=missing):
        display.from_estimator(clf, *samples)


@pytest.mark.parametrize("display", [ErrorSignalDisplay, GradientFlowDisplay])
def test_without_samples_and_record_both_are_named(display, clf):
    for model in (clf, Network((2, 1))):
        with pytest.raises(ValueError, match=r'give X and y.*record="summary"'):
            display.from_estimator(model)


@pytest.mark.parametrize("display", [ErrorSignalDisplay, GradientFlowDisplay])
def test_a_record_of_no_epoch_is_refused(display, recorded):
    recorded.record_ = Record()
    with pytest.raises(ValueError, match="holds no epoch"):
        display.from_estimator(recorded)


def test_no_losses_are_refused(recorded):
    recorded.loss_curve_, recorded.n_iter_ = [], 0
    with pytest.raises(ValueError, match="no epoch: training was interrupted during"):
        LossCurveDisplay.from_estimator(recorded)
    with pytest.raises(ValueError, match=r"loss_curve=\[\] holds no epoch"):
        LossCurveDisplay(loss_curve=[])


def test_a_converted_model_of_lbfgs_says_why_it_has_no_losses():
    theirs = neural_network.MLPClassifier((3,), solver="lbfgs", max_iter=5)
    with pytest.raises(
        ValueError, match=r"no iteration: scikit-learn.*none with lbfgs"
    ):
        LossCurveDisplay.from_estimator(from_sklearn(theirs.fit(X, LABELS)))


@pytest.mark.parametrize("scores", [[], [0.5, 0.6, 0.7]], ids=["none", "more"])
def test_scores_of_other_epochs_are_refused(scores):
    with pytest.raises(ValueError, match=f"{len(scores)} scores of 2 epochs"):
        LossCurveDisplay(loss_curve=[2.0, 1.0], validation_scores=scores)


@pytest.mark.parametrize(
    ("display", "data"),
    [
        (ErrorSignalDisplay, {}),
        (ErrorSignalDisplay, {"quantiles": [[1] * 7]}),
        (
            ErrorSignalDisplay,
            {"quantiles": [[1] * 7], "zero_shares": [0], "delta_norms": [[1]]},
        ),
        (GradientFlowDisplay, {"grad_norms": [1]}),
        (
            GradientFlowDisplay,
            {"grad_norms": [1], "delta_norms": [1], "update_ratios": [[1]]},
        ),
    ],
    ids=["nothing", "half", "both", "norms alone", "both kinds"],
)
def test_data_of_two_pictures_or_none_are_refused(display, data):
    with pytest.raises(ValueError, match="from_estimator finds them"):
        display(**data)


@pytest.mark.parametrize("display", DISPLAYS)
def test_without_matplotlib_it_says_what_to_install(display, recorded, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "compiled-backprop\[plot\]"'):
        display.from_estimator(recorded)
