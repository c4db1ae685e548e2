"""Runs the benchmarks: prints their tables and which goals are met.

    python benchmarks/run.py                        # all of them
    python benchmarks/run.py steps shapes --quick   # these, roughly
    python benchmarks/run.py steps --cases tiny,digits --dtype float64 --json PATH

Each benchmark runs in a process of its own. Those of one thread are held to one core,
the last of those that are allowed, and so are the libraries they measure.
"""

import argparse
import os
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import groupby
from multiprocessing import get_context

import calls
import delta
import instructions
import scale
import steps
import threads
from measure import ONE_THREAD, QUIET, Settings, Unavailable, cores, hold_to
from report import circumstances, table, verdict, write

#: Name -> generator of results.
ON_ONE_CORE = {
    "steps": steps.steps,
    "record": steps.record,
    "shapes": steps.shapes,
    "sweep": steps.sweep,
    "predict": calls.predict,
    "latency": calls.latency,
    "lbfgs": calls.lbfgs,
    "instructions": instructions.instructions,
    "scale": scale.scale,
    "delta": delta.delta,
}
ON_ALL_CORES = {
    "threads": threads.threads,
    "simple-chains": threads.simple_chains,
    "parallel": threads.parallel,
    "grid": calls.grid,
}
BENCHMARKS = ON_ONE_CORE | ON_ALL_CORES


def powers_of_two(limit):
    """1, 2, 4, ... up to limit."""
    return [2**i for i in range(limit.bit_length())]


def parse(arguments):
    listing = "\n".join(
        f"  {name:14} {function.__doc__.splitlines()[0]}"
        for name, function in BENCHMARKS.items()
    )
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"benchmarks:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", nargs="*", metavar="benchmark", help="which; all if none is named"
    )
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--quick", action="store_true", help="rough figures, sooner")
    parser.add_argument(
        "--threads",
        type=lambda text: [int(count) for count in text.split(",")],
        default=powers_of_two(len(cores())),
        help="numbers of threads that are held against one, default %(default)s",
    )
    parser.add_argument(
        "--cases",
        type=lambda text: text.split(","),
        default=[],
        help="only these, separated by commas: names in the first column of the "
        "tables, for shapes and delta without the number",
    )
    parser.add_argument("--json", metavar="PATH", help="also write every repeat there")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(
            f"no benchmark {unknown.pop()!r}; there are {', '.join(BENCHMARKS)}"
        )
    if min(options.threads) < 1:
        parser.error(f"--threads {min(options.threads)}: must be at least 1")
    return options


def run(name, settings):
    """The results of one benchmark, measured in this process."""
    if name in ON_ONE_CORE:
        hold_to(1)
    results = []
    try:
        for result in BENCHMARKS[name](settings):
            print(f"{result.benchmark}: {result.case}", file=sys.stderr, flush=True)
            results.append(result)
    except Unavailable as reason:
        print(f"{name}: left out, because {reason}", file=sys.stderr)
    return results


def run_in_new_process(name, settings):
    """The same in a process whose libraries find the environment they are to have."""
    before = dict(os.environ)
    os.environ.update(QUIET | (ONE_THREAD if name in ON_ONE_CORE else {}))
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            return process.submit(run, name, settings).result()
    finally:
        os.environ.clear()
        os.environ.update(before)


def main(arguments):
    options = parse(arguments)
    settings = Settings(
        options.dtype, options.quick, tuple(options.threads), tuple(options.cases)
    )
    facts = circumstances(**asdict(settings))
    print(*(f"{name:15} {fact}" for name, fact in facts.items()), sep="\n", flush=True)
    results, failed = [], []
    for name in options.names or BENCHMARKS:
        try:
            found = run_in_new_process(name, settings)
        except Exception:  # the others go on
            traceback.print_exc()
            failed.append(name)
            continue
        results += found
        for unit, part in groupby(found, lambda result: result.unit):
            print(f"\n{name}, {unit}\n", *table(list(part)), sep="\n", flush=True)
    if not results and not failed:
        sys.exit("Nothing was measured; --help tells what there is.")
    print("", *verdict(results), sep="\n", flush=True)
    if options.json:
        write(options.json, facts, results)
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}; see above.")


if __name__ == "__main__":
    main(sys.argv[1:])
