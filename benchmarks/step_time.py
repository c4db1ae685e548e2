"""Microseconds per Adam step, beside scikit-learn, PyTorch and JAX.

    python benchmarks/step_time.py [--quick] [--cases tiny,digits] [--dtype float64]

A step is what one batch costs: forward pass, loss, gradients, update. It is taken from
the difference of a long and a short fit, so that set-up (validation, allocation,
compilation) cancels out; what a library does once per epoch, as shuffling, stays in.
All libraries get the same random data, batches, hyperparameters and one thread, and
take turns, so that what else the machine does falls on all of them. Every ratio is
between medians of this same run. What is installed takes part; scikit-learn always.
"""

import argparse
import importlib
import json
import math
import os
import platform
import statistics
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise

import numpy as np
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

#: Read by BLAS, OpenMP, PyTorch and XLA when they are loaded: set, then start again.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}

#: Adam's hyperparameters, equal everywhere; the penalty is off because PyTorch and JAX
#: would need more operations for it.
ADAM = {"learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}

#: Epochs of the short fit. The long one has as many more as fill the time aimed at.
SHORT = 1


@dataclass(frozen=True)
class Case:
    """A network, its batches, and how much faster than scikit-learn cbp is to be."""

    name: str
    sizes: tuple  # (n_0, ..., n_L); one output: squared error, several: softmax
    batch: int
    steps: int  # batches in an epoch
    goal: int | None  # step time of scikit-learn / step time of cbp

    def data(self, dtype):
        """Random X (n, n_0) and y (n,): numbers, or labels if there are classes."""
        rng = np.random.default_rng(0)
        n, n_classes = self.batch * self.steps, self.sizes[-1]
        X = rng.standard_normal((n, self.sizes[0])).astype(dtype)
        if n_classes == 1:
            return X, rng.standard_normal(n).astype(dtype)
        return X, rng.permutation(np.arange(n) % n_classes)


CASES = [
    Case("tiny", (2, 8, 1), 32, 100, 100),
    Case("digits32", (64, 32, 10), 32, 56, 20),
    Case("digits", (64, 100, 10), 200, 9, 4),
    Case("housing", (8, 64, 64, 1), 200, 100, None),
    Case("mnist", (784, 256, 128, 10), 128, 50, 1),
]


# --- the libraries: each takes a case with its data and gives fit(epochs) ------------


def with_estimators(module, case, X, y):
    """scikit-learn's classes, or those of cbp, which have the same parameters."""
    name = "MLPRegressor" if case.sizes[-1] == 1 else "MLPClassifier"

    def fit(epochs):
        estimator = getattr(module, name)(
            hidden_layer_sizes=case.sizes[1:-1],
            batch_size=case.batch,
            alpha=0.0,
            learning_rate_init=ADAM["learning_rate"],
            beta_1=ADAM["beta_1"],
            beta_2=ADAM["beta_2"],
            epsilon=ADAM["epsilon"],
            max_iter=epochs,
            tol=0.0,
            n_iter_no_change=10**9,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator.fit(X, y)

    return fit


def with_torch(torch, case, X, y):
    """PyTorch as its tutorials write it: eager, torch.optim.Adam."""
    torch.set_num_threads(1)
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    is_classifier = case.sizes[-1] > 1
    loss = torch.nn.CrossEntropyLoss() if is_classifier else torch.nn.MSELoss()

    def fit(epochs):
        torch.manual_seed(0)
        layers = [
            module
            for n_in, n_out in pairwise(case.sizes)
            for module in (torch.nn.Linear(n_in, n_out, dtype=X.dtype), torch.nn.ReLU())
        ]
        model = torch.nn.Sequential(*layers[:-1])
        adam = torch.optim.Adam(
            model.parameters(),
            lr=ADAM["learning_rate"],
            betas=(ADAM["beta_1"], ADAM["beta_2"]),
            eps=ADAM["epsilon"],
        )
        for _ in range(epochs):
            for rows in torch.randperm(len(X)).split(case.batch):
                output = model(X[rows])
                adam.zero_grad()
                loss(output if is_classifier else output[:, 0], y[rows]).backward()
                adam.step()

    return fit


def with_jax(jax, case, X, y):
    """JAX with one compiled call per epoch: jit around lax.scan over the batches."""
    jnp = jax.numpy
    jax.config.update("jax_enable_x64", X.dtype == np.float64)
    X, y = jnp.asarray(X), jnp.asarray(y)

    def loss(params, x, target):
        for W, b in params[:-1]:
            x = jax.nn.relu(x @ W + b)
        z = x @ params[-1][0] + params[-1][1]
        if case.sizes[-1] == 1:
            return 0.5 * jnp.mean((z[:, 0] - target) ** 2)
        log_a = jax.nn.log_softmax(z)
        return -jnp.mean(jnp.take_along_axis(log_a, target[:, None], axis=1))

    def step(state, rows):
        params, m, v, t = state
        value, grads = jax.value_and_grad(loss)(params, X[rows], y[rows])
        t += 1
        beta_1, beta_2 = ADAM["beta_1"], ADAM["beta_2"]
        rate = ADAM["learning_rate"] * jnp.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        rate = rate.astype(X.dtype)
        m = jax.tree.map(lambda m, g: beta_1 * m + (1 - beta_1) * g, m, grads)
        v = jax.tree.map(lambda v, g: beta_2 * v + (1 - beta_2) * g * g, v, grads)
        params = jax.tree.map(
            lambda w, m, v: w - rate * m / (jnp.sqrt(v) + ADAM["epsilon"]), params, m, v
        )
        return (params, m, v, t), value

    @jax.jit
    def epoch(state, key):
        rows = jax.random.permutation(key, len(X)).reshape(case.steps, case.batch)
        return jax.lax.scan(step, state, rows)

    def fit(epochs):
        rng = np.random.default_rng(0)
        params = [
            (
                jnp.asarray(rng.standard_normal(shape) / shape[0] ** 0.5, X.dtype),
                jnp.zeros(shape[1], X.dtype),
            )
            for shape in pairwise(case.sizes)
        ]
        zeros = jax.tree.map(jnp.zeros_like, params)
        state = params, zeros, zeros, jnp.zeros((), jnp.int32)
        for key in jax.random.split(jax.random.key(0), epochs):
            state, _ = epoch(state, key)
        jax.block_until_ready(state)

    return fit


def installed_libraries():
    """Name -> (its module, how to fit with it), in the order of the table."""
    libraries = {}
    for name, module, fitter in [
        ("cbp", "cbp", with_estimators),
        ("scikit-learn", None, with_estimators),
        ("PyTorch", "torch", with_torch),
        ("JAX", "jax", with_jax),
    ]:
        try:
            found = importlib.import_module(module) if module else neural_network
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            continue
        libraries[name] = (found, fitter)
    return libraries


# --- measuring -----------------------------------------------------------------------


def seconds(fit, epochs):
    start = time.perf_counter()
    fit(epochs)
    return time.perf_counter() - start


def long_enough(fit, aim):
    """Epochs of a fit that takes `aim` seconds longer than the short one."""
    fit(SHORT)  # compiles, warms up
    short, more = seconds(fit, SHORT), 1
    while (extra := seconds(fit, SHORT + more) - short) < aim / 4:
        more *= 4
    return SHORT + max(more, round(more * aim / extra))


def step_times(case, libraries, dtype, repeats, aim):
    """Name -> microseconds per step, one number for each repeat."""
    X, y = case.data(dtype)
    fits = {name: how(module, case, X, y) for name, (module, how) in libraries.items()}
    long = {name: long_enough(fit, aim) for name, fit in fits.items()}
    times = {name: [] for name in fits}
    for _ in range(repeats):
        for name, fit in fits.items():
            difference = seconds(fit, long[name]) - seconds(fit, SHORT)
            steps = (long[name] - SHORT) * case.steps
            times[name].append(1e6 * difference / steps)
    return times


# --- reporting -----------------------------------------------------------------------


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


def circumstances(dtype, repeats):
    """What the figures depend on: machine, versions, settings."""
    versions = {}
    packages = ("compiled-backprop", "scikit-learn", "numpy", "scipy", "torch", "jax")
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "threads": 1,
        "dtype": dtype,
        "repeats": repeats,
        "switches": {k: v for k, v in os.environ.items() if k.startswith("CBP_")},
    }


def line(case, cells):
    """One line of the table; cells: name -> (time, ratio to cbp)."""
    columns = [f"{case[0]:9} {case[1]:16} {case[2]:>5}"]
    for name, (microseconds, ratio) in cells.items():
        columns.append(f"{microseconds:>12}")
        if name != "cbp" and "cbp" in cells:
            columns.append(f"{ratio:>6}")
        if name == "scikit-learn":
            columns.append(f"{case[3]:>5}")
    return " ".join(columns)


def heading(names):
    cells = {name: (name, "ratio") for name in names}
    return line(("case", "sizes", "batch", "goal"), cells)


def medians(case, times):
    """The line of a case: median times, and ratios of these to that of cbp."""
    middle = {name: statistics.median(values) for name, values in times.items()}
    own = middle.get("cbp", math.nan)
    cells = {name: (f"{us:.2f}", f"{us / own:.3g}x") for name, us in middle.items()}
    sizes = "-".join(map(str, case.sizes))
    goal = f"{case.goal}x" if case.goal else "-"
    return line((case.name, sizes, case.batch, goal), cells)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    names = [case.name for case in CASES]
    parser.add_argument("--cases", default=",".join(names), help="%(default)s")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--quick", action="store_true", help="rough figures, sooner")
    parser.add_argument("--json", metavar="PATH", help="also write every repeat there")
    arguments = parser.parse_args()
    arguments.cases = arguments.cases.split(",")
    unknown = set(arguments.cases) - set(names)
    if unknown:
        parser.error(f"there is no case {unknown.pop()!r}; there are {names}")
    return arguments


def main():
    arguments = parse_arguments()
    repeats, aim = (3, 0.15) if arguments.quick else (9, 0.6)
    report = circumstances(arguments.dtype, repeats)
    for key, value in report.items():
        print(f"{key:10} {value}")
    libraries = installed_libraries()
    print("\nMicroseconds per step (median); ratio: the peer's time / that of cbp")
    print(heading(libraries), flush=True)
    report["cases"] = []
    for case in CASES:
        if case.name in arguments.cases:
            times = step_times(case, libraries, arguments.dtype, repeats, aim)
            print(medians(case, times), flush=True)
            report["cases"].append({**asdict(case), "microseconds": times})
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(report, file, indent=1)


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD)
    if hasattr(os, "sched_setaffinity"):  # what ignores the settings is held, too
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    main()
