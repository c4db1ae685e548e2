"""Is a revision slower than another? Exit code 1 if it is.

    python benchmarks/compare.py main HEAD          # revisions of this repository
    python benchmarks/compare.py old.whl .          # or wheels, or folders of sources
    python benchmarks/compare.py old.json new.json  # or files that run.py has written

Revisions, wheels and folders are installed under build/compare, without what they
depend on, so that both sides use the same numpy and scikit-learn. There is a process
for each side, and the two take turns on one core. Files are compared as they are; they
tell something if they come from one machine and one day.

A case counts as slower if its step takes more than 15 % longer and more than 50 us
longer: less than either is what a busy machine makes of equal code. The steps of small
nets are too short for that; of these, more than 15 % more instructions count.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median

import peers
from cases import SMALL, STEPS
from instructions import per_step
from measure import (
    ONE_THREAD,
    QUIET,
    PerStep,
    Settings,
    Unavailable,
    hold_to,
    take_turns,
)
from report import Figure, Result, circumstances, read, table, write

import cbp

#: What is more than noise: both for times, the first for instructions.
PART, MICROSECONDS = 0.15, 50

REPOSITORY = Path(__file__).resolve().parents[1]
INSTALLED = REPOSITORY / "build" / "compare"
UNITS = {"steps": "us/step", "instructions": "instructions/step"}


# --- the rule ------------------------------------------------------------------------


def is_slower(base, head):
    """Whether a step of `head` us is slower than one of `base` us, beyond noise."""
    return head > (1 + PART) * base and head > base + MICROSECONDS


def has_more_instructions(base, head):
    return head > (1 + PART) * base


RULES = {"steps": is_slower, "instructions": has_more_instructions}


def difference(benchmark, case, base, head):
    """The Result of a case; base, head: all repeats."""
    middle = median(base), median(head)
    growth = {"head / base": Figure(middle[1] / middle[0])}
    both = {"base": base, "head": head}
    return Result(benchmark, case, UNITS[benchmark], both, growth, STEPS[case].net)


def is_worse(result):
    base, head = (median(result.repeats[side]) for side in ("base", "head"))
    return RULES[result.benchmark](base, head)


# --- two files -----------------------------------------------------------------------


def of_files(base, head):
    """Results for the cases that both files have."""
    (base_facts, base), (head_facts, head) = read(base), read(head)
    for fact in ("dtype", "processor", "instruction set"):
        if base_facts[fact] != head_facts[fact]:
            sys.exit(
                f"The files differ in {fact}: {base_facts[fact]}, {head_facts[fact]}; "
                "compare files that agree in it."
            )
    base, head = (
        {(r.benchmark, r.case): r.repeats["cbp"] for r in side if r.benchmark in RULES}
        for side in (base, head)
    )
    return [difference(*key, base[key], head[key]) for key in base if key in head]


# --- two revisions -------------------------------------------------------------------


def install(source, side):
    """The folder from which the cbp of a wheel, a folder or a revision is imported."""
    if not Path(source).exists():
        return install_revision(source)
    target = INSTALLED / side
    shutil.rmtree(target, ignore_errors=True)
    pip_install(source, target)
    return target


def install_revision(revision):
    git = partial(subprocess.run, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE)
    try:
        commit = git(["git", "rev-parse", "--verify", f"{revision}^{{commit}}"]).stdout
    except subprocess.CalledProcessError:
        sys.exit(f"{revision!r} is no file, no folder and no revision of git.")
    commit = commit.decode().strip()
    target, sources = INSTALLED / commit, INSTALLED / f"{commit}-sources"
    if not target.exists():
        sources.mkdir(parents=True, exist_ok=True)
        archive = git(["git", "archive", commit]).stdout
        subprocess.run(["tar", "-x", "-C", sources], input=archive, check=True)
        pip_install(sources, target)
    return target


def pip_install(source, target):
    """All or nothing: a folder that is there is complete."""
    print(f"Installing {source} ...", file=sys.stderr)
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--target", part, source], check=True)
    part.rename(target)


class Worker:
    """A process with the cbp of one folder; called, gives the us/step of a case."""

    def __init__(self, folder, settings):
        environment = os.environ | ONE_THREAD | QUIET | {"PYTHONPATH": str(folder)}
        mode = ["--serve", settings.dtype, str(settings.aim)]
        self.process = subprocess.Popen(
            [sys.executable, __file__, *mode],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        imported = Path(self.answer())
        if not imported.is_relative_to(folder):
            sys.exit(f"{folder} holds no cbp: {imported} was imported.")

    def __call__(self, case):
        print(case, file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit("A process that measures has ended; its reason is above.")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def serve(dtype, aim):
    """Answer names of cases with microseconds per step, until the input ends."""
    hold_to(1)
    print(json.dumps(cbp.__file__), flush=True)
    timers = {}
    for line in sys.stdin:
        case = line.strip()
        if case not in timers:
            net = STEPS[case].net
            fit = peers.with_cbp(net, *net.data(dtype))
            timers[case] = PerStep(fit, net.steps, float(aim))
        print(json.dumps(timers[case]()), flush=True)


def of_sources(base, head, settings):
    """Results of both sides, whose steps take turns."""
    sources = {"base": base, "head": head}
    folders = {side: install(source, side) for side, source in sources.items()}
    workers = {side: Worker(folder, settings) for side, folder in folders.items()}
    names = list(settings.chosen(STEPS))
    results = []
    for name in names:
        turns = {side: partial(worker, name) for side, worker in workers.items()}
        results.append(difference("steps", name, **take_turns(turns, settings.repeats)))
    for worker in workers.values():
        worker.close()
    small = [name for name in names if name in SMALL]
    try:
        counts = {s: per_step(small, settings.dtype, f) for s, f in folders.items()}
    except Unavailable as reason:
        print(f"Instructions are left out, because {reason}", file=sys.stderr)
        return results
    for name in small:
        base, head = ([counts[side][name][0]] for side in ("base", "head"))
        results.append(difference("instructions", name, base, head))
    return results


# --- the command ---------------------------------------------------------------------


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base")
    parser.add_argument("head")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--quick", action="store_true", help="rough figures, sooner")
    parser.add_argument(
        "--cases",
        type=lambda text: text.split(","),
        default=[],
        help=f"some of {','.join(STEPS)}",
    )
    parser.add_argument("--json", metavar="PATH", help="also write every repeat there")
    options = parser.parse_args(arguments)
    if unknown := set(options.cases) - set(STEPS):
        parser.error(
            f"there is no case {unknown.pop()!r}; there are {', '.join(STEPS)}"
        )
    return options


def main(arguments):
    options = parse(arguments)
    settings = Settings(options.dtype, options.quick, cases=tuple(options.cases))
    sides = options.base, options.head
    are_files = [side.endswith(".json") for side in sides]
    if any(are_files) and not all(are_files):
        sys.exit("Compare two files of run.py, or two sources, not one with the other.")
    results = of_files(*sides) if all(are_files) else of_sources(*sides, settings)
    for benchmark in RULES:
        if part := [result for result in results if result.benchmark == benchmark]:
            print(f"\n{UNITS[benchmark]}\n", *table(part), sep="\n")
    if options.json:
        facts = circumstances(base=sides[0], head=sides[1], dtype=options.dtype)
        write(options.json, facts, results)
    worse = [f"{r.benchmark} {r.case}" for r in results if is_worse(r)]
    if worse:
        sys.exit(f"\nSlower: {', '.join(worse)}")
    print("\nNothing is slower.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:])
    else:
        main(sys.argv[1:])
