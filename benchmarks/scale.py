"""Benchmark of scale: a fit of millions of rows that are mapped from a file.

Each measurement is in a process of its own. The rows are brought into memory first, so
that their pages, which belong to the file and can be given back, are part of what is
resident before the fit; the highest mark of resident memory is then set back (Linux
does this when 5 is written to /proc/self/clear_refs), and what the mark after the fit
is above the level before it is what the fit needed beside X and y.
"""

import multiprocessing
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from cases import Net
from measure import SHORT, Unavailable, ratio, seconds, take_turns
from peers import with_cbp
from report import Figure, Result

#: A table of 20 numbers in a row, and the hidden layer that is the default.
SIZES, BATCH = (20, 100, 1), 200
ROWS = {"few": 100_000, "many": 4_000_000}

#: What a fit of many rows may need at most, and what a row of them may cost compared
#: with one of few.
MIBIBYTES, COST = 100, 1.3

#: Written to, it sets the highest mark of resident memory back.
CLEAR = Path("/proc/self/clear_refs")


def scale(settings):
    """Memory and time of a fit of 4 million rows that are mapped from a file."""
    nets = {
        name: Net(SIZES, BATCH, rows, regression=True) for name, rows in ROWS.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), nets["many"], settings.dtype)
        turns = {
            name: partial(in_new_process, cost, folder, net, settings)
            for name, net in nets.items()
        }
        both = take_turns(turns, 3)
    nanoseconds = {f"{name} rows": [ns for ns, _ in both[name]] for name in nets}
    many, few = nanoseconds["many rows"], nanoseconds["few rows"]
    yield Result(
        "scale",
        "time",
        "ns/row",
        nanoseconds,
        {"many / few": Figure(ratio(many, few), COST, at_most=True)},
        nets["many"],
    )
    extra = [mibibytes for _, mibibytes in both["many"]]
    yield Result(
        "scale",
        "memory",
        "MiB",
        {"beside X and y": extra},
        {"largest": Figure(max(extra), MIBIBYTES, at_most=True)},
        nets["many"],
    )


def write(folder, net, dtype):
    """The files of X and y, a part at a time."""
    for name, shape in [("X", (net.rows, net.sizes[0])), ("y", (net.rows,))]:
        array = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shape)
        rng = np.random.default_rng(0)
        for part in np.array_split(array, 64):
            part[...] = rng.standard_normal(part.shape, dtype=dtype)
        array.flush()


def in_new_process(function, *arguments):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def cost(folder, net, settings):
    """Nanoseconds that a row takes in an epoch, MiB that a fit needs beside X and y."""
    X, y = (np.load(f"{folder}/{name}.npy", mmap_mode="r")[: net.rows] for name in "Xy")
    X.sum(), y.sum()  # reads them into memory
    with_cbp(net, X[:BATCH], y[:BATCH])(1)  # imports what is left to import
    fit = with_cbp(net, X, y)
    mibibytes = extra_memory(partial(fit, SHORT))
    short = seconds(fit, SHORT)
    more = (1 if settings.quick else 3) * ROWS["many"] // net.rows
    long = seconds(fit, SHORT + more)
    return 1e9 * (long - short) / (more * net.rows), mibibytes


def extra_memory(function):
    """MiB that a call needs at most, above what is resident before."""
    if not CLEAR.exists():
        raise Unavailable("resident memory is read from /proc, which only Linux has")
    before = resident("VmRSS")
    CLEAR.write_text("5")  # the highest mark is now what is resident
    function()
    return (resident("VmHWM") - before) / 1024


def resident(field):
    """VmRSS, resident now, or VmHWM, the highest mark of it; in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise Unavailable(f"/proc/self/status does not tell {field}")
