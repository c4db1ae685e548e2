"""Draws a `Graph` on axes, in which one unit is a point."""

import numpy as np

from cbp.inspection.displays.network_layout import lay_out
from cbp.inspection.displays.plotting import NEGATIVE, POSITIVE, diverging, points
from cbp.inspection.displays.wording import short

#: Widths of edges in points, and how little one may cover.
WIDEST_EDGE, THINNEST_EDGE, FAINTEST = 2.5, 0.3, 0.06

#: Nodes have their number in them if they are so wide, in points.
SMALLEST_NUMBERED_NODE = 10

#: Above this share of the largest value a node is so dark that its number is white.
DARK = 0.5

#: Dashes of what is negative: on and off, in points.
DASHES = (3.5, 2)

#: In axes of more points than this the legend has one line.
WIDE = 380


class NetworkPicture:
    """The artists of a network.

    Parameters
    ----------
    ax : matplotlib Axes
        Of its final size.
    graph : Graph

    Attributes
    ----------
    nodes : list of L + 1 PathCollection
    positive_edges, negative_edges : lists of L LineCollection
    input_labels, output_labels, more_labels : lists of Text
    """

    def __init__(self, ax, graph):
        self._ax, self._graph = ax, graph
        self._lay_out()
        layers = range(len(graph.sizes))
        edges = [self._draw_edges(layer) for layer in layers[1:]]
        self.positive_edges, self.negative_edges = map(list, zip(*edges, strict=True))
        self.nodes = [self._draw_nodes(layer) for layer in layers]
        self.more_labels = [
            self._write(self._layout.x[layer], self._layout.y[layer][-1], f"… {n} more")
            for layer, n in enumerate(graph.n_left_out)
            if n > 0
        ]
        left, right = graph.names()
        self.input_labels = self._write_names(0, left, -1)
        self.output_labels = self._write_names(-1, right, 1)
        self._write_sizes()
        self._write_legend()

    def _lay_out(self):
        width, height = points(self._ax)
        self._ax.set(xlim=(0, width), ylim=(0, height))
        longest = [max(map(len, names), default=0) for names in self._graph.names()]
        self._layout = lay_out(self._graph.n_rows, longest, width, height)

    def _positions(self, layer):
        """x and y of the nodes of a layer that are shown."""
        y = self._layout.y[layer][: len(self._graph.shown[layer])]
        return np.full(len(y), self._layout.x[layer]), y

    # -- edges and nodes -------------------------------------------------------------

    def _draw_edges(self, layer):
        """The positive and the negative edges that lead to a layer."""
        k, j, shares = self._graph.shown_edges(layer)
        starts = np.stack(self._positions(layer - 1), axis=1)[k]
        ends = np.stack(self._positions(layer), axis=1)[j]
        segments = np.stack([starts, ends], axis=1)
        positive, negative = shares > 0, shares < 0
        sizes = np.abs(shares)
        return (
            self._add_edges(segments[positive], sizes[positive], POSITIVE),
            self._add_edges(segments[negative], sizes[negative], NEGATIVE, _dashes),
        )

    def _add_edges(self, segments, sizes, color, style=lambda width: "solid"):
        from matplotlib.collections import LineCollection
        from matplotlib.colors import to_rgba

        widths = THINNEST_EDGE + (WIDEST_EDGE - THINNEST_EDGE) * sizes
        edges = LineCollection(
            segments,
            linewidths=widths,
            colors=[to_rgba(color, alpha) for alpha in np.maximum(sizes, FAINTEST)],
            linestyles=[style(width) for width in widths],
            zorder=1,
        )
        return self._ax.add_collection(edges, autolim=False)

    def _draw_nodes(self, layer):
        x, y = self._positions(layer)
        values, largest = self._graph.shown_values(layer)
        shares = values / (largest or 1)
        if self._layout.node >= SMALLEST_NUMBERED_NODE:
            numbers = zip(x, y, self._graph.shown[layer], shares, strict=True)
            for x_j, y_j, j, share in numbers:
                color = "white" if share > DARK else "black"
                size = 0.5 * self._layout.node
                self._write(x_j, y_j, str(j), color=color, fontsize=size, zorder=3)
        return self._add_nodes(x, y, shares, s=self._layout.node**2)

    def _add_nodes(self, x, y, shares, **style):
        """Circles, coloured by values over the largest size."""
        return self._ax.scatter(
            x,
            y,
            facecolors=diverging(np.asarray(shares)),
            edgecolors="0.25",
            linewidths=0.8,
            linestyles=["--" if share < 0 else "-" for share in shares],
            zorder=2,
            **style,
        )

    # -- text ------------------------------------------------------------------------

    def _write_names(self, layer, names, side):
        """Names beside the nodes of a layer: to the left if side is -1, right if 1."""
        gap = side * (self._layout.node / 2 + 3)
        style = {
            "ha": "right" if side < 0 else "left",
            "fontsize": self._layout.name_font,
        }
        places = zip(*self._positions(layer), names, strict=False)
        return [self._write(x + gap, y, name, **style) for x, y, name in places]

    def _write_sizes(self):
        """How large each layer and its values are, above it; its edges, below."""
        layout, graph = self._layout, self._graph
        for layer, n in enumerate(graph.sizes):
            lines = ["input" if layer == 0 else f"layer {layer}"]
            lines.append("1 node" if n == 1 else f"{n} nodes")
            if graph.node_values is not None:
                lines.append(f"max {short(graph.shown_values(layer)[1])}")
            self._write(layout.x[layer], layout.top, "\n".join(lines), va="bottom")
        for i, values in enumerate(graph.edge_values):
            x = (layout.x[i] + layout.x[i + 1]) / 2
            text = f"max {short(np.abs(values).max())}"
            self._write(x, layout.bottom, text, va="top")

    def _write(self, x, y, text, **style):
        """Text as it is: names of users may hold dollar signs."""
        style = {"ha": "center", "va": "center", "fontsize": self._layout.font, **style}
        return self._ax.text(x, y, text, parse_math=False, **style)

    def _write_legend(self):
        from matplotlib.lines import Line2D

        edges, nodes = self._graph.edges, self._graph.nodes
        handles = [
            Line2D([], [], color=POSITIVE, label=f"{edges} > 0"),
            Line2D([], [], color=NEGATIVE, ls=(0, DASHES), label=f"{edges} < 0"),
        ]
        if self._graph.node_values is not None:
            handles += [
                self._add_nodes([], [], [1], s=50, label=f"{nodes} > 0"),
                self._add_nodes([], [], [-1], s=50, label=f"{nodes} < 0"),
            ]
        self._ax.legend(
            handles=handles,
            title=self._graph.caption(),
            loc="lower center",
            ncols=4 if points(self._ax)[0] > WIDE else 2,
            frameon=False,
            fontsize=8,
            title_fontsize=7,
        )


def _dashes(width):
    """The line style of dashes that are as long whatever the width."""
    return (0, (DASHES[0] / width, DASHES[1] / width))  # matplotlib multiplies by it
