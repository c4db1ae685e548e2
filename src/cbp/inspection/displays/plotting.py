"""What the displays have in common: axes, colours, lines, labels.

matplotlib is an optional dependency: nothing here imports it before something is drawn.

Every sign and every layer is told twice, by colour and by something that a grey print
keeps: positive is blue, darker and solid, negative is orange, lighter and dashed.
"""

from math import ceil
from textwrap import fill

import numpy as np
from sklearn.isotonic import isotonic_regression

#: The diverging palette; blue and orange differ for every kind of colour vision.
POSITIVE, NEUTRAL, NEGATIVE = "#08519c", "#ffffff", "#e6820e"

#: Lines of layers repeat these; markers stand in their labels, too.
LINE_STYLES = ("-", "--", "-.", ":")
MARKERS, GLYPHS = "osD^v", "●■◆▲▼"

#: A line has about so many markers.
N_MARKERS = 8

#: A logarithmic axis has so many ticks, and one more.
MOST_TICKS = 6

#: A logarithmic axis goes no further: what matplotlib computes in float64 has room.
LIMITS = (1e-300, 1e300)

#: Labels are written in this size, unless there are too many, in points.
FONT_SIZE, SMALLEST_FONT_SIZE = 9, 4

#: Height of a line of text and width of a character, about, over the size of the font.
LINE_HEIGHT, CHARACTER = 1.3, 0.5

#: A title may be wider than the axes by so much.
MOST_TITLE_WIDTH = 1.15

POINTS_PER_INCH = 72


def axes_for(display, ax, figsize):
    """The axes to draw on, and their figure.

    Parameters
    ----------
    display : object
        What wants to draw, for the message.
    ax : matplotlib Axes or None
        None: new axes in a new figure of pyplot.
    figsize : tuple of two floats
        Of a new figure, in inches.

    Returns
    -------
    ax : matplotlib Axes
    figure : matplotlib Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    if ax is not None:
        return ax, ax.figure
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__} draws with matplotlib, which is not installed; "
            'pip install "compiled-backprop[plot]"'
        ) from error
    figure, ax = plt.subplots(figsize=figsize, layout="constrained")
    return ax, figure


def diverging(shares):
    """Colours of signed values, white at 0.

    Parameters
    ----------
    shares : ndarray of shape (n,)
        The values over the size that gets the full colour.

    Returns
    -------
    colors : ndarray of shape (n, 3)
    """
    from matplotlib.colors import to_rgb

    channels = zip(*map(to_rgb, (NEGATIVE, NEUTRAL, POSITIVE)), strict=True)
    return np.stack([np.interp(shares, (-1, 0, 1), c) for c in channels], axis=-1)


def bare(ax):
    """Take away the frame where it says nothing."""
    ax.spines[["top", "right"]].set_visible(False)


def only_whole_numbers(axis):
    """Ticks of epochs and layers, which have no halves."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def points(ax):
    """Width and height of the axes in points, as they will be drawn."""
    ax.figure.figure.draw_without_rendering()  # the layout settles
    box = ax.get_window_extent()
    scale = POINTS_PER_INCH / ax.figure.dpi
    return box.width * scale, box.height * scale


def set_title(ax, sentence):
    """A title in as many lines as it needs, about equally long; text as it is."""
    width = len(sentence) * CHARACTER * ax.title.get_fontsize()
    n_lines = ceil(width / (MOST_TITLE_WIDTH * points(ax)[0]))
    longest_word = max(map(len, sentence.split()))
    lines = fill(sentence, len(sentence) // n_lines + longest_word)
    ax.set_title(lines, parse_math=False)


# -- lines of layers -----------------------------------------------------------------


def lines_by_layer(ax, values, unit):
    """One line over the epochs for each layer.

    Parameters
    ----------
    ax : matplotlib Axes
    values : ndarray of shape (n_epochs, L)
        Column l - 1 is drawn for layer l.
    unit : str
        What a row stands for.

    Returns
    -------
    lines : list of L Line2D
    """
    from matplotlib import colormaps

    n_epochs, n_layers = values.shape
    # From dark to light, so that grey keeps their order; what is lighter is not seen.
    colors = colormaps["viridis"](np.linspace(0, 0.75, n_layers))
    epochs = np.arange(1, n_epochs + 1)
    lines = [
        ax.plot(
            epochs,
            values[:, i],
            color=colors[i],
            linestyle=LINE_STYLES[i % len(LINE_STYLES)],
            marker=MARKERS[i % len(MARKERS)],
            markersize=4,
            markevery=max(1, n_epochs // N_MARKERS),
        )[0]
        for i in range(n_layers)
    ]
    ax.set_xlabel(unit)
    ax.margins(x=0.02)
    only_whole_numbers(ax.xaxis)
    bare(ax)
    return lines


def label_layers(ax, heights):
    """The names of the layers at the ends of their lines, with their markers.

    Parameters
    ----------
    ax : matplotlib Axes
        With its final limits in y.
    heights : ndarray of shape (L,)
        Where the lines end.

    Returns
    -------
    labels : list of L Annotation
    """
    names = [f"{GLYPHS[i % len(GLYPHS)]} layer {i + 1}" for i in range(len(heights))]
    return label_ends(ax, heights, names)


def whole_decades(axis, values):
    """Make an axis logarithmic, from one power of ten to another.

    Small differences then look small. Nothing happens if no value is above 0.
    """
    from matplotlib.ticker import FixedLocator, NullLocator

    sizes = values[np.isfinite(values) & (values > 0)]
    if sizes.size == 0:
        return
    powers = np.log10(np.clip(sizes, *LIMITS))
    least = int(np.floor(powers.min()))
    most = max(least + 1, int(np.ceil(powers.max())))
    name = axis.axis_name
    limits = (10.0**least, 10.0**most)
    axis.axes.set(**{f"{name}scale": "log", f"{name}lim": limits})
    step = ceil((most - least) / MOST_TICKS)
    axis.set_major_locator(FixedLocator(10.0 ** np.arange(least, most + 1, step)))
    axis.set_minor_locator(NullLocator())


def label_ends(ax, heights, texts):
    """Texts to the right of the axes, at given heights, clear of one another.

    Parameters
    ----------
    ax : matplotlib Axes
        With its final limits in y.
    heights : ndarray of shape (n,)
        In data coordinates.
    texts : list of n str

    Returns
    -------
    labels : list of n Annotation
    """
    height = points(ax)[1]
    corner = np.column_stack([np.zeros(len(heights)), heights])
    shares = ax.transAxes.inverted().transform(ax.transData.transform(corner))[:, 1]
    at = height * np.clip(np.nan_to_num(shares), 0, 1)
    fitting = height / len(texts) / LINE_HEIGHT
    size = np.clip(fitting, SMALLEST_FONT_SIZE, FONT_SIZE)
    return [
        ax.annotate(
            text,
            xy=(1, there / height),
            xycoords="axes fraction",
            xytext=(5, clear - there),
            textcoords="offset points",
            fontsize=size,
            va="center",
            annotation_clip=False,
        )
        for text, there, clear in zip(
            texts, at, spread(at, LINE_HEIGHT * size, height), strict=True
        )
    ]


def spread(heights, gap, top):
    """Heights moved apart as little as brings neighbours to a distance.

    The sum of the squares of the moves is least: with i gaps taken off the i-th height,
    this is isotonic regression (Barlow et al. 1972).

    Parameters
    ----------
    heights : ndarray of shape (n,)
        From 0 to `top`.
    gap : float
        The least distance.
    top : float
        None is moved above it, nor below 0, as long as all find room between.

    Returns
    -------
    spread_heights : ndarray of shape (n,)
        In the same order from bottom to top.
    """
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(heights))
    highest = top - steps[-1]
    placed = np.empty(len(heights))
    placed[order] = steps + isotonic_regression(
        heights[order] - steps, y_min=min(0, highest), y_max=highest
    )
    return placed
