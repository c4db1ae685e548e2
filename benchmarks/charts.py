"""Draws pictures for docs/ from files that run.py has written.

    python benchmarks/charts.py results.json [more.json ...] [--out docs]

- performance-peers.svg: time of a step of each library over that of cbp (`steps`)
- performance-shares.svg: share of the floor by width and batch (`sweep`)
- performance-threads.svg: speed over that of one thread (`threads`)
- backpropagation-cost.svg: time of a gradient, with and without delta kept (`delta`)

A picture whose benchmark is in none of the files is left out. All are in grey, and say
in their title what they show.
"""

import argparse
from itertools import groupby
from pathlib import Path
from statistics import median

import matplotlib
from matplotlib.figure import Figure
from measure import ratio
from report import read

#: Who is drawn how: marker, whether filled.
PEERS = {"scikit-learn": ("s", True), "PyTorch": ("o", False), "JAX": ("D", True)}

#: How each way to the gradient is drawn, and what its line is called.
WAYS = {
    "expansion": (dict(ls="--", marker="s", mfc="white"), "expansion,\ndelta not kept"),
    "differences": (dict(ls=":", marker="^", mfc="0.6"), "differences\nof C₀"),
    "recursion": (dict(ls="-", marker="o", mfc="black"), "recursion,\ndelta kept"),
}

#: What `delta` varies -> the scale of its axis, the label, with the number that stays.
VARIED = {
    "depth": ("linear", "hidden layers", " ({width} nodes per layer)"),
    "width": ("log", "nodes per layer", " ({depth} hidden layers)"),
}

#: Share of the floor that is drawn black, and above which text is white, for contrast.
BLACK, DARK = 1.2, 0.78


def ratios(results):
    """Case -> {peer: its time / that of cbp}."""
    return {
        result.case: {
            peer: ratio(result.repeats[peer], result.repeats["cbp"])
            for peer in PEERS
            if peer in result.repeats
        }
        for result in results
    }


def draw_peers(results):
    """Horizontal rows of markers, on a logarithmic scale."""
    cases = ratios(results)
    figure = Figure(figsize=(8, 1.4 + 0.42 * len(cases)), layout="constrained")
    axes = figure.subplots()
    for row, peers in enumerate(cases.values()):
        axes.plot((1, max(peers.values())), (row, row), color="0.8", lw=1, zorder=1)
        for peer, times in peers.items():
            marker, is_filled = PEERS[peer]
            face = "black" if is_filled else "white"
            style = dict(color="black", mfc=face, label=peer if row == 0 else None)
            axes.plot(times, row, marker, ms=7, **style)
    fastest = [min(peers.values()) for peers in cases.values()]
    axes.axvline(1, color="black", lw=1)
    axes.set(xscale="log", xlabel="time of a training step / that of cbp (1: equal)")
    axes.set_yticks(range(len(cases)), [f"{r.case}  {r.net}" for r in results])
    axes.invert_yaxis()
    axes.set_title(
        f"The fastest peer takes {min(fastest):.2g} to {max(fastest):.2g} times as long"
    )
    plain_numbers(axes.xaxis)
    bare(axes)
    figure.legend(loc="outside lower center", ncols=len(PEERS), frameon=False)
    return figure


def draw_shares(results):
    """A map, width by batch; each cell says its share in per cent."""
    shares = {
        (result.net.batch, result.net.sizes[1]): result.figures["floor / cbp"].value
        for result in results
    }
    batches, widths = (sorted({key[i] for key in shares}) for i in range(2))
    grid = [[shares[batch, width] for width in widths] for batch in batches]
    figure = Figure(figsize=(8, 1.6 + 0.5 * len(batches)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(grid, cmap="Greys", vmin=0, vmax=BLACK, aspect="auto", origin="lower")
    for row, line in enumerate(grid):
        for column, share in enumerate(line):
            color = "white" if share > DARK else "black"
            text = f"{100 * share:.0f} %"
            axes.text(column, row, text, color=color, ha="center", va="center")
    axes.set_xticks(range(len(widths)), widths)
    axes.set_yticks(range(len(batches)), batches)
    axes.set(xlabel="width of both hidden layers", ylabel="batch")
    axes.set_title(
        "Least time of a step / time of cbp: "
        f"{100 * min(shares.values()):.0f} to {100 * max(shares.values()):.0f} %"
    )
    axes.tick_params(length=0)
    return figure


def draw_threads(results):
    """One line per net, labelled at its end."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    ends, largest = [], 1
    for i, result in enumerate(results):
        times = {int(name.split()[0]): t for name, t in result.repeats.items()}
        counts = sorted(times)
        speeds = [ratio(times[1], times[count]) for count in counts]
        style = dict(ls=("-", "--", ":", "-.")[i % 4], marker="osD^v<>"[i % 7])
        axes.plot(counts, speeds, color="black", ms=5, **style)
        ends.append((speeds[-1], f"{'●■◆▲▼◀▶'[i % 7]} {result.case}  {result.net}"))
        largest = max(largest, *counts)
    axes.plot((1, largest), (1, largest), color="0.75", zorder=1)
    axes.text(largest, largest, "ideal ", color="0.4", ha="right", va="bottom")
    at, gap = -1.0, largest / 20
    for speed, name in sorted(ends):
        at = max(speed, at + gap)  # clear of the one below
        axes.text(largest * 1.02, at, name, va="center")
    axes.set(xlabel="threads", ylabel="speed over that of one thread", ylim=0)
    axes.set(xlim=(1, largest * 1.01), xticks=counts)
    best = max(ends)
    axes.set_title(f"{largest} threads are up to {best[0]:.2g} times as fast as one")
    bare(axes)
    return figure


def draw_delta(results):
    """A panel for depth and one for width, in each a line for every way."""
    families = {
        varied: list(family)
        for varied, family in groupby(results, lambda result: result.case.split()[0])
    }
    figure = Figure(figsize=(9.6, 4.6), layout="constrained")
    panels = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
    for axes, (varied, family) in zip(panels, families.items(), strict=True):
        draw_family(axes, varied, family)
    panels[0].set(yscale="log", ylabel="time of the gradient of one C₀")
    panels[0].yaxis.set_major_formatter(lambda value, _: duration(value))
    return figure


def draw_family(axes, varied, family):
    """The lines, each labelled at its end; a way stops where it took too long."""
    scale, what, fixed = VARIED[varied]
    values = [int(result.case.split()[1]) for result in family]
    for way, (style, label) in WAYS.items():
        points = [
            (value, median(result.repeats[way]))
            for value, result in zip(values, family, strict=True)
            if way in result.repeats
        ]
        axes.plot(*zip(*points, strict=True), color="black", ms=6, **style)
        beside = dict(xytext=(9, 0), textcoords="offset points", va="center")
        axes.annotate(label, points[-1], **beside)
    sizes = family[0].net.sizes
    fixed = fixed.format(depth=len(sizes) - 2, width=sizes[0])
    axes.set(xscale=scale, xlabel=what + fixed)
    axes.set_xticks(values, values)
    axes.set_xticks([], minor=True)
    axes.set_title(growth(what, values, family), loc="left", fontsize=11)
    bare(axes)


def growth(what, values, family):
    """How much longer each way takes at the largest value that all of them reach."""
    complete = [
        (value, result.repeats)
        for value, result in zip(values, family, strict=True)
        if set(WAYS) <= set(result.repeats)
    ]
    (first, before), (last, after) = complete[0], complete[-1]
    times = {way: two_digits(ratio(after[way], before[way])) for way in WAYS}
    return (
        f"{first} to {last} {what}: the recursion grows {times['recursion']}-fold,\n"
        f"differences {times['differences']}-fold, expansion {times['expansion']}-fold"
    )


def duration(microseconds):
    """With the unit that leaves the fewest digits."""
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return f"{microseconds / size:g} {unit}"
    return f"{microseconds:g} µs"


def two_digits(number):
    """Two digits of a number, or as many noughts as it needs."""
    return f"{float(f'{number:.2g}'):,.15g}"


def bare(axes):
    axes.spines[["top", "right"]].set_visible(False)


def plain_numbers(axis):
    axis.set_major_formatter(lambda value, _: f"{value:g}")


#: File -> how it is drawn, and from which benchmark.
PICTURES = {
    "performance-peers": (draw_peers, "steps"),
    "performance-shares": (draw_shares, "sweep"),
    "performance-threads": (draw_threads, "threads"),
    "backpropagation-cost": (draw_delta, "delta"),
}


def draw(results, out):
    """Paths of the pictures that the results suffice for."""
    # Text stays text, and the same results give the same file.
    settings = {"svg.fonttype": "none", "svg.hashsalt": "cbp"}
    paths = []
    for name, (picture, source) in PICTURES.items():
        part = [result for result in results if result.benchmark == source]
        if part:
            paths.append(Path(out, f"{name}.svg"))
            with matplotlib.rc_context(settings):
                picture(part).savefig(paths[-1], metadata={"Date": None})
    return paths


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", nargs="+", help="files that run.py has written")
    parser.add_argument("--out", default="docs", help="folder, default %(default)s")
    options = parser.parse_args()
    results = [result for path in options.results for result in read(path)[1]]
    print(*draw(results, options.out), sep="\n")


if __name__ == "__main__":
    main()
