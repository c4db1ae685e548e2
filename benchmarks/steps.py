"""Benchmarks of a training step: beside peers, recorded, in odd shapes, in all sizes.

A step is what one batch costs: forward pass, loss, gradients, update of Adam. What a
library does once per epoch (shuffling, the bookkeeping of an estimator) stays in,
shared among the steps of that epoch.
"""

from functools import partial
from statistics import fmean, median

from cases import (
    FLOAT64_PART,
    NEIGHBOUR_PART,
    RECORDED,
    RECORDED_RATIO,
    SHAPES,
    STEPS,
    SWEEP_BATCHES,
    SWEEP_WIDTHS,
    sweep_net,
)
from measure import GEMM, Gemm, PerStep, ratio, take_turns
from peers import PEERS, installed, with_cbp
from report import Figure, Result


def timer(how, net, settings):
    """Microseconds per step of one library."""
    return PerStep(how(net, *net.data(settings.dtype)), net.steps, settings.aim)


def floors(net, repeats):
    """Microseconds that a step takes at least, one for each repeat."""
    return [net.step_floor(gflops) for gflops in repeats[GEMM]]


# --- beside the peers ----------------------------------------------------------------


def steps(settings):
    """A training step beside scikit-learn, PyTorch and JAX, and beside its floor."""
    gemm, libraries = Gemm(settings.dtype), installed()
    for name, case in settings.chosen(STEPS).items():
        turns = {who: timer(how, case.net, settings) for who, how in libraries.items()}
        repeats = take_turns(turns | {GEMM: gemm}, settings.repeats)
        figures = step_figures(case, repeats, settings.dtype)
        yield Result("steps", name, "us/step", repeats, figures, case.net)


def step_figures(case, repeats, dtype):
    """Ratios of a StepCase, with the goals that hold for this dtype and these peers."""
    is_32 = dtype == "float32"
    own, floor = repeats["cbp"], floors(case.net, repeats)
    times = [repeats[peer] for peer in PEERS if peer in repeats]
    is_judged = is_32 and len(times) == len(PEERS)  # the fastest may be one not here
    share = case.share and case.share * (1 if is_32 else FLOAT64_PART)
    figures = {
        "floor": Figure(median(floor)),
        "fastest peer / cbp": Figure(
            ratio(min(times, key=median), own), case.ratio if is_judged else None
        ),
        "floor / cbp": Figure(ratio(floor, own), share),
    }
    if case.microseconds and is_32:
        figures["cbp (us)"] = Figure(median(own), case.microseconds, at_most=True)
    return figures


# --- recorded ------------------------------------------------------------------------


def record(settings):
    """A training step with record="summary" beside one without."""
    for name, net in settings.chosen(RECORDED).items():
        turns = {
            who: timer(partial(with_cbp, record=value), net, settings)
            for who, value in [("recorded", "summary"), ("not recorded", None)]
        }
        repeats = take_turns(turns, settings.repeats)
        times_as_long = Figure(
            ratio(repeats["recorded"], repeats["not recorded"]),
            RECORDED_RATIO,
            at_most=True,
        )
        figures = {"recorded / not recorded": times_as_long}
        yield Result("record", name, "us/step", repeats, figures, net)


# --- odd shapes ----------------------------------------------------------------------


def shapes(settings):
    """Sizes that do not fit vector units, held against neighbours that do."""
    gemm = Gemm(settings.dtype)
    for what, family in settings.chosen(SHAPES).items():
        nets = {value: family.make(value) for value in (*family.regular, *family.odd)}
        turns = {value: timer(with_cbp, net, settings) for value, net in nets.items()}
        repeats = take_turns(turns | {GEMM: gemm}, settings.repeats)
        shares = {
            value: [
                floor / own
                for floor, own in zip(floors(net, repeats), repeats[value], strict=True)
            ]
            for value, net in nets.items()
        }
        for value, net in nets.items():
            yield Result(
                "shapes",
                f"{what} {value}",
                "us/step",
                {"cbp": repeats[value], GEMM: repeats[GEMM]},
                shape_figures(value, family, shares),
                net,
            )


def shape_figures(value, family, shares):
    """The share of the floor; for an odd value, its part of the neighbours' mean."""
    figures = {"floor / cbp": Figure(median(shares[value]))}
    if value in family.odd:
        beside = [shares[neighbour] for neighbour in family.odd[value]]
        means = [fmean(repeat) for repeat in zip(*beside, strict=True)]
        figures["share / neighbours'"] = Figure(
            ratio(shares[value], means), NEIGHBOUR_PART
        )
    return figures


# --- widths and batches --------------------------------------------------------------


def sweep(settings):
    """The share of the floor over widths and batches, for the map in docs/."""
    gemm = Gemm(settings.dtype)
    nets = {
        f"{width} x {batch}": sweep_net(width, batch)
        for width in SWEEP_WIDTHS
        for batch in SWEEP_BATCHES
    }
    for name, net in settings.chosen(nets).items():
        turns = {"cbp": timer(with_cbp, net, settings), GEMM: gemm}
        repeats = take_turns(turns, settings.repeats)
        share = Figure(ratio(floors(net, repeats), repeats["cbp"]))
        yield Result("sweep", name, "us/step", repeats, {"floor / cbp": share}, net)
