"""Benchmarks of threads: within a step, and of many fits side by side.

Nothing is held to one core here, and no environment variable limits anybody.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median

import peers
from cases import SIMPLE_CHAINS, SIMPLE_CHAINS_MILLISECONDS, THREADS
from measure import PerStep, ratio, seconds, take_turns
from report import Figure, Result
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

#: In `parallel` a turn makes so many fits for each thread, of so many epochs.
FITS_PER_THREAD = 3
EPOCHS = 20


def label(threads):
    return f"{threads} thread" + ("" if threads == 1 else "s")


def counts(settings):
    """Numbers of threads, one among them: what the others are held against."""
    return sorted({1, *settings.threads})


def step_times(net, settings, **parameters):
    """Label -> microseconds per step, in turns."""
    X, y = net.data(settings.dtype)
    turns = {
        label(count): PerStep(
            peers.with_cbp(net, X, y, n_jobs=count, **parameters),
            net.steps,
            settings.aim,
        )
        for count in counts(settings)
    }
    return take_turns(turns, settings.repeats)


def speedups(times, goals):
    """Figures: how many times as fast as one thread; goals: label -> at least."""
    one = times[label(1)]
    return {
        f"{name} / 1": Figure(ratio(one, measured), goals.get(name))
        for name, measured in times.items()
        if measured is not one
    }


def threads(settings):
    """A training step in several threads, beside one."""
    for name, (net, goal) in settings.chosen(THREADS).items():
        times = step_times(net, settings)
        yield Result(
            "threads", name, "us/step", times, speedups(times, {label(2): goal}), net
        )


def simple_chains(settings):
    """The example of SimpleChains.jl: 10,000 rows in one batch, an epoch.

    In their order, as there: all are in the one batch.
    """
    for name, net in settings.chosen({"4-32-16-4": SIMPLE_CHAINS}).items():
        steps = step_times(net, settings, shuffle=False)
        times = {who: [us / 1e3 for us in taken] for who, taken in steps.items()}
        figures = speedups(times, {})
        if label(2) in times:
            goal = SIMPLE_CHAINS_MILLISECONDS if settings.dtype == "float32" else None
            figures["2 threads (ms)"] = Figure(median(times[label(2)]), goal, True)
        yield Result("simple-chains", name, "ms/epoch", times, figures, net)


def parallel(settings):
    """Many fits in threads of one process, as under joblib's threading backend.

    X is in memory once. Every fit has one thread of its own, and of BLAS.
    """
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(settings.dtype)
    net = THREADS["digits"][0]
    libraries = {"cbp": peers.with_cbp, "scikit-learn": peers.with_sklearn}
    for name, how in settings.chosen(libraries).items():
        turns = {
            label(count): partial(milliseconds_per_fit, partial(how, net, X, y), count)
            for count in counts(settings)
        }
        with threadpool_limits(1):
            times = take_turns(turns, settings.repeats)
        yield Result("parallel", name, "ms/fit", times, speedups(times, {}), net)


def milliseconds_per_fit(make, count):
    """Of fits made by `count` threads together; make() gives fit(epochs)."""
    fits = [make() for _ in range(FITS_PER_THREAD * count)]
    with ThreadPoolExecutor(count) as pool:
        spent = seconds(lambda: list(pool.map(lambda fit: fit(EPOCHS), fits)))
    return 1e3 * spent / len(fits)
