"""What can be wrong in the benchmarks though nothing is timed.

The floor by hand, what counts as a goal met and as slower, that a difference of two
fits leaves the step alone, the work of each way to the gradient, files and pictures.
The only clock here is a fake one.
"""

import xml.etree.ElementTree as ET
from copy import deepcopy
from functools import partial

import charts
import compare
import delta
import instructions
import measure
import numpy as np
import peers
import pytest
import report
import run
import scale
import steps
import threads
from cases import (
    DELTA,
    SHAPES,
    STEPS,
    SWEEP_BATCHES,
    SWEEP_WIDTHS,
    THREADS,
    Net,
    even_net,
    sweep_net,
)
from measure import GEMM, PerCall, PerStep, Settings, ratio, take_turns
from report import Figure, Result, read, table, verdict, write

from cbp.reference import equations as reference
from cbp.reference import propagator as bookkeeping

# --- the floor -----------------------------------------------------------------------


def test_flops_of_a_step_by_hand():
    # 2-3-1: forward 2*2*3 + 2*3*1 = 18; dC/dW as many; delta of the hidden layer 2*3*1.
    net = Net((2, 3, 1), 4, 4)
    assert net.n_weights == 9
    assert net.n_params == 13
    assert net.flops == 18 + 18 + 6


def test_floor_of_a_step_by_hand():
    # digits: 31,600 FLOPs for each of 200 samples at 100 GFLOP/s, and 7,510 parameters.
    net = STEPS["digits"].net
    assert net.flops == 31_600
    assert net.step_floor(100) == pytest.approx(63.2 + 0.36e-3 * 7510)
    assert net.step_floor(50) == pytest.approx(126.4 + 0.36e-3 * 7510)


def test_a_short_last_batch_has_fewer_products_but_all_parameters():
    full, short = Net((64, 100, 10), 200, 2000), Net((64, 100, 10), 200, 1900)
    assert full.steps == short.steps == 10
    updates = 0.36e-3 * full.n_params
    products = full.step_floor(100) - updates
    assert short.step_floor(100) - updates == pytest.approx(0.95 * products)


def test_floor_of_a_prediction_by_hand():
    # 64*100 + 100*10 weights, a multiplication and an addition for each.
    assert STEPS["digits"].net.row_floor(100) == pytest.approx(14_800 / 100e3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_data_fit_the_net(dtype):
    for sizes, is_regression, shape in [
        ((3, 4, 1), True, (50,)),
        ((3, 4, 2), True, (50, 2)),
        ((3, 4, 5), False, (50,)),
    ]:
        X, y = Net(sizes, 10, 50, regression=is_regression).data(dtype)
        assert X.shape == (50, 3) and X.dtype == dtype
        assert y.shape == shape
        if is_regression:
            assert y.dtype == dtype
        else:
            assert set(y) == set(range(5))


def test_odd_shapes_stand_beside_regular_ones():
    for family in SHAPES.values():
        assert {n for beside in family.odd.values() for n in beside} == set(
            family.regular
        )


# --- taking time ---------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """A list with the time, which moves only when a test moves it."""
    now = [0.0]
    monkeypatch.setattr(measure.time, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize("aim", [0.01, 1.0, 30.0])
def test_what_a_fit_costs_beyond_its_epochs_cancels_out(clock, aim):
    def fit(epochs):
        clock[0] += 3.0 + 0.5 * epochs

    assert PerStep(fit, steps=10, aim=aim)() == pytest.approx(0.5e6 / 10)


def test_a_call_is_the_mean_of_many(clock):
    def function():
        clock[0] += 0.002

    assert PerCall(function, aim=0.5)() == pytest.approx(2000)


def test_everybody_has_a_turn_in_every_repeat_and_nobody_is_always_last():
    turns = []

    def turn(name):
        turns.append(name)
        return name

    measured = take_turns({name: partial(turn, name) for name in "abc"}, 3)
    assert "".join(turns) == "abccbaabc"
    assert measured == {name: [name] * 3 for name in "abc"}


def test_a_ratio_is_the_median_of_those_within_a_repeat():
    # The machine is ten times slower in the last repeat, for both.
    assert ratio([3, 8, 30], [1, 2, 10]) == 3


def test_gemm_tells_operations_a_second(clock, monkeypatch):
    def matmul(A, B, out):
        clock[0] += 1e-3

    monkeypatch.setattr(measure.np, "matmul", matmul)
    assert measure.Gemm("float32", side=100)() == pytest.approx(2 * 100**3 / 1e-3 / 1e9)


# --- goals ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figure", "is_met"),
    [
        (Figure(2.5, 2.5), True),
        (Figure(2.49, 2.5), False),
        (Figure(0.55, 0.55, at_most=True), True),
        (Figure(0.56, 0.55, at_most=True), False),
        (Figure(7.0), None),
    ],
)
def test_a_goal_is_met_or_missed(figure, is_met):
    assert figure.is_met is is_met
    assert ("MISSED" in str(figure)) == (is_met is False)


REPEATS = {
    "cbp": [1.0, 2.0, 1.0],
    "scikit-learn": [50.0, 100.0, 50.0],
    "PyTorch": [20.0, 40.0, 20.0],
    "JAX": [16.0, 32.0, 16.0],
    GEMM: [100.0, 50.0, 100.0],
}


def test_goals_of_a_step_are_against_the_fastest_peer_and_the_floor():
    figures = steps.step_figures(STEPS["digits32"], REPEATS, "float32")
    assert figures["fastest peer / cbp"] == Figure(16, STEPS["digits32"].ratio)
    assert figures["floor / cbp"].value == STEPS["digits32"].net.step_floor(100)
    assert figures["floor / cbp"].goal == STEPS["digits32"].share


def test_the_smallest_net_has_a_goal_in_microseconds():
    figures = steps.step_figures(STEPS["tiny"], REPEATS, "float32")
    assert figures["cbp (us)"] == Figure(1.0, 0.8, at_most=True)
    assert figures["cbp (us)"].is_met is False


def test_float64_is_to_reach_nine_tenths_of_the_shares():
    figures = steps.step_figures(STEPS["digits32"], REPEATS, "float64")
    assert figures["floor / cbp"].goal == pytest.approx(0.9 * STEPS["digits32"].share)
    assert figures["fastest peer / cbp"].goal is None


def test_the_fastest_peer_is_not_judged_where_one_is_missing():
    repeats = {name: values for name, values in REPEATS.items() if name != "JAX"}
    figures = steps.step_figures(STEPS["digits32"], repeats, "float32")
    assert figures["fastest peer / cbp"] == Figure(20)


def test_an_odd_width_is_held_against_the_mean_of_its_neighbours():
    family = SHAPES["width"]
    shares = {37: [0.5, 0.6, 0.4], 32: [0.4] * 3, 48: [0.6] * 3}
    odd = steps.shape_figures(37, family, shares)["share / neighbours'"]
    assert odd == Figure(pytest.approx(1.0), 0.85)
    assert "share / neighbours'" not in steps.shape_figures(32, family, shares)


def test_speed_in_threads_is_over_that_of_one():
    times = {"1 thread": [4.0, 4.0], "2 threads": [2.5, 2.5], "4 threads": [1.0, 2.0]}
    assert threads.speedups(times, {"2 threads": 1.4}) == {
        "2 threads / 1": Figure(1.6, 1.4),
        "4 threads / 1": Figure(3.0),
    }


# --- is a revision slower? -----------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "head", "is_slower"),
    [
        (100, 149, False),  # 49 % but not 50 us
        (100, 151, True),
        (1000, 1149, False),  # 149 us but not 15 %
        (1000, 1151, True),
        (1, 40, False),
        (1000, 500, False),
    ],
)
def test_slower_is_more_than_15_percent_and_more_than_50_microseconds(
    base, head, is_slower
):
    assert compare.is_slower(base, head) is is_slower


def saved(path, microseconds, count=1000.0, dtype="float32"):
    net = STEPS["tiny"].net
    results = [
        Result("steps", "tiny", "us/step", {"cbp": microseconds}, net=net),
        Result("instructions", "tiny", "instructions/step", {"cbp": [count]}, net=net),
        Result("latency", "tiny", "us/call", {"cbp": [5.0]}, net=net),
    ]
    facts = {"dtype": dtype, "processor": "P", "instruction set": "avx2"}
    write(path, facts, results)
    return str(path)


def test_files_of_equal_speed(tmp_path, capsys):
    base = saved(tmp_path / "base.json", [100.0, 110.0, 900.0])
    head = saved(tmp_path / "head.json", [149.0, 150.0, 151.0], count=1149)
    compare.main([base, head])
    assert "Nothing is slower" in capsys.readouterr().out


def test_a_slower_file_is_an_error(tmp_path):
    base = saved(tmp_path / "base.json", [100.0, 110.0, 120.0])
    head = saved(tmp_path / "head.json", [100.0, 200.0, 201.0])
    with pytest.raises(SystemExit, match=r"Slower: steps tiny$"):
        compare.main([base, head])


def test_more_instructions_are_an_error(tmp_path):
    base = saved(tmp_path / "base.json", [1.0])
    head = saved(tmp_path / "head.json", [1.0], count=1151)
    with pytest.raises(SystemExit, match=r"Slower: instructions tiny$"):
        compare.main([base, head])


def test_files_that_cannot_be_compared(tmp_path):
    base = saved(tmp_path / "base.json", [1.0])
    head = saved(tmp_path / "head.json", [1.0], dtype="float64")
    with pytest.raises(SystemExit, match="differ in dtype: float32, float64"):
        compare.main([base, head])
    with pytest.raises(SystemExit, match="Compare two files"):
        compare.main([base, "HEAD"])


# --- all do the same work ------------------------------------------------------------


@pytest.mark.parametrize(
    "net",
    [
        Net((5, 7, 1), 16, 50, regression=True),
        Net((5, 7, 2), 16, 50, "tanh", regression=True),
        Net((5, 7, 6, 3), 16, 50),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learn_learns_what_cbp_learns(net):
    X, y = net.data("float64")
    ours, theirs = (how(net, X, y)(3) for how in (peers.with_cbp, peers.with_sklearn))
    assert ours.n_iter_ == theirs.n_iter_ == 3
    for W, V in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(W, V, rtol=1e-9, atol=1e-12)


def test_memory_that_a_call_needs_is_seen():
    def takes_64_mibibytes():
        np.ones(2**23)

    if scale.CLEAR.exists():
        assert 63 < scale.extra_memory(takes_64_mibibytes) < 80
        assert scale.extra_memory(lambda: None) < 8
    else:
        with pytest.raises(measure.Unavailable, match="Linux"):
            scale.extra_memory(takes_64_mibibytes)


def test_without_valgrind_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(instructions.shutil, "which", lambda tool: None)
    with pytest.raises(measure.Unavailable, match="apt-get install valgrind"):
        instructions.per_step(["tiny"], "float32")


def test_the_total_in_a_file_of_callgrind(tmp_path):
    path = tmp_path / "counts.1"
    path.write_text("version: 1\nevents: Ir\nfn=(1) f\n1 5\ntotals: 6480253\n")
    assert instructions.total(path) == 6480253


# --- three ways to the gradient ------------------------------------------------------

UNEVEN = [
    Net(sizes, 1, 1, "tanh", regression=True)
    for sizes in [(3, 2), (1, 1, 1), (3, 4, 2), (2, 5, 3, 4, 1), (3, 2, 4, 3, 2, 3)]
]


def random_problem(net, seed, number=float):
    """The arguments of a way, of random numbers."""
    rng = np.random.default_rng(seed)
    params, x, y = (
        [number(drawn) for drawn in rng.uniform(-1, 1, size)]
        for size in (net.n_params, net.sizes[0], net.sizes[-1])
    )
    fixed = reference.Net.of(
        net.sizes, net.activation, "identity", "squared_error", 0.0
    )
    return fixed, *bookkeeping.unpack(net.sizes, params), x, y


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("net", UNEVEN, ids=str)
def test_all_ways_give_one_gradient(net, seed):
    problem = random_problem(net, seed)
    given = deepcopy(problem)
    gradients = {
        name: np.array(bookkeeping.pack(net.sizes, *way.gradient(*problem)))
        for name, way in delta.WAYS.items()
    }
    kept = gradients["recursion"]
    assert kept.shape == (net.n_params,) and kept.all()
    # The same operations in the same order.
    np.testing.assert_array_equal(gradients["expansion"], kept)
    np.testing.assert_allclose(gradients["differences"], kept, rtol=0, atol=1e-8)
    assert problem == given


class Counted(float):
    """A float that counts the products it is a factor of, and so do its results."""

    products = 0

    def __mul__(self, other):
        Counted.products += 1
        return Counted(float(self) * float(other))

    def __add__(self, other):
        return Counted(float(self) + float(other))

    def __sub__(self, other):
        return Counted(float(self) - float(other))

    __rmul__, __radd__ = __mul__, __add__


@pytest.mark.parametrize("way", delta.WAYS.values(), ids=delta.WAYS)
@pytest.mark.parametrize("net", UNEVEN, ids=str)
def test_the_products_of_a_way_are_those_that_happen(net, way, monkeypatch):
    monkeypatch.setattr(Counted, "products", 0)
    way.gradient(*random_problem(net, 0, Counted))
    assert Counted.products == way.count(net)


@pytest.mark.parametrize("width", [2, 4, 7])
def test_work_grows_with_depth_linearly_or_quadratically_or_exponentially(width):
    bends = {
        name: np.diff([way.count(even_net(d, width)) for d in range(1, 12)], 2)
        for name, way in delta.WAYS.items()
    }
    assert not bends["recursion"].any()
    assert bends["differences"][0] > 0
    assert not np.diff(bends["differences"]).any()
    assert bends["expansion"][0] > 0
    np.testing.assert_array_equal(
        bends["expansion"][1:], width * bends["expansion"][:-1]
    )


@pytest.mark.parametrize("quick", [False, True])
def test_a_way_beyond_the_budget_is_counted_but_not_measured(quick, monkeypatch):
    monkeypatch.setattr(delta, "PerCall", lambda gradient, aim: lambda: 1.0)
    settings = Settings(quick=quick)
    results = list(delta.delta(settings))
    assert [r.case for r in results] == [
        f"{varied} {value}" for varied, nets in DELTA.items() for value in nets
    ]
    for result in results:
        counts = {name: way.count(result.net) for name, way in delta.WAYS.items()}
        for name, count in counts.items():
            assert result.figures[f"{name} (products)"] == Figure(count)
        within = {
            n for n, count in counts.items() if count <= delta.BUDGET * settings.aim
        }
        assert set(result.repeats) == within
        assert "recursion" in within


def test_every_way_is_within_the_budget_unless_it_is_to_be_quick():
    for nets in DELTA.values():
        for net in nets.values():
            assert delta.affordable(net, Settings()) == delta.WAYS
    deepest = DELTA["depth"][max(DELTA["depth"])]
    assert "expansion" not in delta.affordable(deepest, Settings(quick=True))


# --- what a run leaves ---------------------------------------------------------------


def sample():
    """Results enough for every picture."""
    share, times = {"floor / cbp": Figure(0.5)}, {"1 thread": [2.0], "2 threads": [1.1]}
    return [
        *(
            Result("steps", name, "us/step", REPEATS, net=case.net)
            for name, case in STEPS.items()
        ),
        *(
            Result("sweep", f"{width} x {batch}", "us/step", {}, share, net)
            for width in SWEEP_WIDTHS
            for batch in SWEEP_BATCHES
            for net in [sweep_net(width, batch)]
        ),
        *(
            Result("threads", name, "us/step", times, net=net)
            for name, (net, _) in THREADS.items()
        ),
        *(
            Result("delta", f"{varied} {value}", "us/gradient", repeats, net=net)
            for varied, nets in DELTA.items()
            for value, net in nets.items()
            for repeats in [
                {name: [way.count(net)] for name, way in delta.WAYS.items()}
            ]
        ),
        Result("lbfgs", "digits", "ms", {"cbp": [2.0]}, {"a": Figure(2, 3, True)}),
    ]


def test_a_file_reads_as_it_was_written(tmp_path):
    facts = report.circumstances(dtype="float32", threads=[1, 2])
    write(tmp_path / "results.json", facts, sample())
    assert read(tmp_path / "results.json") == (facts, sample())
    assert {"processor", "cores", "versions", "blas", "dtype"} <= set(facts)


def test_the_table_has_every_column_and_the_medians():
    lines = table(
        [
            Result("a", "one", "us", {"cbp": [1.0, 9.0, 2.0]}, {"ratio": Figure(3, 4)}),
            Result("a", "two", "us", {"cbp": [12345.6]}, net=STEPS["tiny"].net),
        ]
    )
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["a", "net", "cbp", "ratio"]
    assert cells[2] == ["one", "", "2", "3 (≥ 4 MISSED)"]
    assert cells[3] == ["two", "2-8-1, 32, relu", "12346", ""]


def test_the_verdict_counts_goals_and_names_those_missed():
    figures = {"a": Figure(1, 1), "b": Figure(1, 2), "c": Figure(9)}
    assert verdict([Result("steps", "tiny", "us", {}, figures)]) == [
        "1 of 2 goals met",
        "steps tiny: b 1 (≥ 2 MISSED)",
    ]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Paths of all of them."""
    return charts.draw(sample(), tmp_path_factory.mktemp("pictures"))


def test_pictures_are_drawn_and_say_what_they_show(pictures):
    assert [path.name for path in pictures] == [
        "performance-peers.svg",
        "performance-shares.svg",
        "performance-threads.svg",
        "backpropagation-cost.svg",
    ]
    texts = [" ".join(ET.parse(path).getroot().itertext()) for path in pictures]
    assert all(f"{name} " in texts[0] for name in (*STEPS, *peers.PEERS))
    assert texts[1].count("50 %") == len(SWEEP_WIDTHS) * len(SWEEP_BATCHES) + 1
    assert all(str(net) in texts[2] for net, _ in THREADS.values())
    assert "1 to 8 hidden layers: the recursion grows 5.3-fold" in texts[3]
    assert "differences 17-fold, expansion 18,000-fold" in texts[3]
    assert "2 to 16 nodes per layer: the recursion grows 57-fold" in texts[3]


def test_a_picture_without_results_is_left_out(tmp_path, pictures):
    [path] = charts.draw(sample()[: len(STEPS)], tmp_path)
    assert path.name == pictures[0].name
    assert path.read_bytes() == pictures[0].read_bytes()


# --- the command ---------------------------------------------------------------------


def test_help_lists_every_benchmark(capsys):
    with pytest.raises(SystemExit):
        run.parse(["--help"])
    text = capsys.readouterr().out
    for name, function in run.BENCHMARKS.items():
        assert f"  {name} " in text
        assert function.__doc__.splitlines()[0] in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stops"], "no benchmark 'stops'; there are steps"),
        (["--threads", "0,2"], "--threads 0: must be at least 1"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        run.parse(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4]), (16, [1, 2, 4, 8, 16])]
)
def test_numbers_of_threads_double_up_to_the_cores(cores, counts):
    assert run.powers_of_two(cores) == counts
