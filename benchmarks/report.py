"""What a run leaves behind: results with all repeats, where they come from, tables.

A file that is written is read back to the same results, so that `compare.py` and
`charts.py` work on files of any day.
"""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from statistics import median

from cases import Net
from measure import cores
from threadpoolctl import threadpool_info

import cbp

PACKAGES = ("scikit-learn", "numpy", "scipy", "torch", "jax")


def three_digits(number):
    """Three digits of a number, or all before the point."""
    return f"{number:.3g}" if abs(number) < 1000 else f"{number:.0f}"


@dataclass(frozen=True)
class Figure:
    """A number that follows from the repeats, and what it is to be."""

    value: float
    goal: float | None = None
    at_most: bool = False  # otherwise at least

    @property
    def is_met(self):
        """None without a goal."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal

    def __str__(self):
        if self.goal is None:
            return three_digits(self.value)
        sign, verdict = "≤" if self.at_most else "≥", "met" if self.is_met else "MISSED"
        return f"{three_digits(self.value)} ({sign} {self.goal:.3g} {verdict})"


@dataclass(frozen=True)
class Result:
    """One case of one benchmark."""

    benchmark: str
    case: str
    unit: str  # of the repeats, except where their name says another
    repeats: Mapping[str, list[float]]  # who or what -> one number for each repeat
    figures: Mapping[str, Figure] = field(default_factory=dict)
    net: Net | None = None

    def cells(self):
        """Column -> what the table says."""
        return {
            self.benchmark: self.case,
            "net": str(self.net or ""),
            **{
                name: three_digits(median(values))
                for name, values in self.repeats.items()
            },
            **{name: str(figure) for name, figure in self.figures.items()},
        }


def table(results):
    """Lines of a Markdown table with the columns that any of the results has."""
    rows = [result.cells() for result in results]
    columns = dict.fromkeys(name for row in rows for name in row)
    columns = [name for name in columns if any(row.get(name) for row in rows)]
    lines = [columns, *([row.get(name, "") for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    lines.insert(1, ["-" * width for width in widths])
    return [
        "| " + " | ".join(map(str.ljust, line, widths)).rstrip() + " |"
        for line in lines
    ]


def verdict(results):
    """One line for each goal that is missed, after one that counts them."""
    goals = [
        (f"{result.benchmark} {result.case}: {name} {figure}", figure.is_met)
        for result in results
        for name, figure in result.figures.items()
        if figure.goal is not None
    ]
    missed = [text for text, is_met in goals if not is_met]
    return [f"{len(goals) - len(missed)} of {len(goals)} goals met", *missed]


# --- where the figures come from -----------------------------------------------------


def processor():
    """The processor's name, where the system tells it."""
    try:
        with open("/proc/cpuinfo") as cpuinfo:
            for line in cpuinfo:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def instruction_set():
    """The one that cbp uses."""
    # By what a network offers: this is run with older versions, too.
    return cbp.Network((1, 1)).make_propagator().isa


def circumstances(**settings):
    """What the figures depend on: machine, versions, settings."""
    versions = {"cbp": cbp.__version__}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "processor": processor(),
        "cores": len(cores()),
        "instruction set": instruction_set(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "blas": sorted({f"{p['internal_api']} {p['version']}" for p in pools}),
        "switches": {k: v for k, v in os.environ.items() if k.startswith("CBP_")},
        **settings,
    }


# --- files ---------------------------------------------------------------------------


def write(path, facts, results):
    with open(path, "w") as file:
        results = [asdict(result) for result in results]
        json.dump({"circumstances": facts, "results": results}, file, indent=1)
        file.write("\n")


def read(path):
    """circumstances, results"""
    with open(path) as file:
        report = json.load(file)
    return report["circumstances"], [_result(**fields) for fields in report["results"]]


def _result(figures, net, **fields):
    if net is not None:
        net = Net(**net | {"sizes": tuple(net["sizes"])})
    figures = {name: Figure(**figure) for name, figure in figures.items()}
    return Result(figures=figures, net=net, **fields)
