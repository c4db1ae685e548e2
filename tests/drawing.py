"""Data and axes that the tests of displays share."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_rng = np.random.default_rng(0)
X = _rng.normal(size=(40, 5))
LABELS = np.array(["ant", "bee", "cat"])[_rng.integers(3, size=40)]


def axes(figsize=(6, 5)):
    """Axes that no other knows, in a figure that no window shows."""
    figure = Figure(figsize=figsize)
    FigureCanvasAgg(figure)
    return figure.add_axes((0.15, 0.12, 0.65, 0.75))


def drawn(display, estimator, *samples):
    return display.from_estimator(estimator, *samples, ax=axes())


def title(display):
    """In one line."""
    return display.ax_.get_title().replace("\n", " ")
