"""Where the nodes of a drawn network lie, and how large they and the text can be.

Everything is in points, from the lower left corner of the axes.
"""

from dataclasses import dataclass

import numpy as np

LARGEST_NODE = 17
LARGEST_FONT, SMALLEST_FONT = 8, 4.5

#: Of a line of text, over the size of its font; of a character, about.
LINE_HEIGHT, CHARACTER = 1.3, 0.58

#: Lines of text above the nodes; below them, with the legend.
HEADER_LINES, FOOTER_LINES = 3.5, 6.5

#: Characters of the lines that stand above a layer.
HEADER_CHARACTERS = 11

#: Of the height of a row and of the distance of two layers, so much is node.
NODE_PER_ROW, NODE_PER_COLUMN = 0.85, 0.4

#: Rows of short layers are at most so much further apart than those of the longest.
MOST_SPREAD = 2

#: No names take more than this share of the width, on either side.
MOST_NAME_WIDTH = 0.25


@dataclass(frozen=True)
class Layout:
    """Positions and sizes, in points.

    Attributes
    ----------
    x : ndarray of shape (L + 1,)
        Of the layers, from left to right.
    y : list of L + 1 ndarrays
        Of the rows of each layer, from top to bottom.
    top, bottom : float
        Where the header and the footer begin.
    node : float
        Diameter of the nodes.
    font, name_font : float
        Sizes of the text above and below, and of the names beside the nodes.
    """

    x: np.ndarray
    y: list
    top: float
    bottom: float
    node: float
    font: float
    name_font: float


def lay_out(n_rows, n_characters, width, height):
    """Make the most of the axes.

    Parameters
    ----------
    n_rows : list of L + 1 int
        Rows of each layer: its nodes, and the line that counts those left out.
    n_characters : (int, int)
        Lengths of the longest names to the left and to the right.
    width, height : float
        Of the axes, in points.

    Returns
    -------
    layout : Layout
    """
    top = height - HEADER_LINES * LINE_HEIGHT * LARGEST_FONT
    bottom = FOOTER_LINES * LINE_HEIGHT * LARGEST_FONT
    row = (top - bottom) / max(n_rows)
    name_font = np.clip(row / LINE_HEIGHT, SMALLEST_FONT, LARGEST_FONT)
    # A name is half a node and a space away from the middle of its node.
    margins = [
        min(n * CHARACTER * name_font, MOST_NAME_WIDTH * width) + LARGEST_NODE
        for n in n_characters
    ]
    column = (width - sum(margins)) / (len(n_rows) - 1)
    return Layout(
        x=margins[0] + column * np.arange(len(n_rows)),
        y=[_rows(n, row, top, bottom) for n in n_rows],
        top=top,
        bottom=bottom,
        node=min(LARGEST_NODE, NODE_PER_ROW * row, NODE_PER_COLUMN * column),
        font=np.clip(
            column / HEADER_CHARACTERS / CHARACTER, SMALLEST_FONT, LARGEST_FONT
        ),
        name_font=name_font,
    )


def _rows(n, row, top, bottom):
    """n rows around the middle, from the highest to the lowest."""
    step = min(MOST_SPREAD * row, (top - bottom) / n)
    return (top + bottom) / 2 + step * ((n - 1) / 2 - np.arange(n))
