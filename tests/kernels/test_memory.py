"""Training adds a few bytes per row to X, whatever X has of rows and columns.

Each fit is one of a million rows or more in a process of its own, from a file that is
mapped read-only and wholly in memory before. What the process needs at its peak beyond
that is read from the system, not from Python's books.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cbp.training.early_stopping import BLOCK_BYTES

FIT = """
import json
import sys
import warnings

import numpy as np

from cbp import MLPClassifier, MLPRegressor

warnings.simplefilter("ignore")
path, n_columns, target, params, weighted = json.loads(sys.argv[1])
X = np.memmap(path, np.float32, "r").reshape(-1, n_columns)
column = np.array(X[:, 0])
y = {
    "float32": lambda: column,
    "float64": lambda: column.astype(np.float64),
    "integers": lambda: (3 * column).astype(np.int64),
    "two classes": lambda: (column > 0).astype(np.int64),
    "two words": lambda: np.where(column > 0, "yes", "no"),
    "ten classes": lambda: np.clip(3 * column + 5, 0, 9).astype(np.int64),
    "indicators": lambda: np.stack([column > 0, column > 1], axis=1),
}[target]()
weight = np.linspace(1, 2, len(X)) if weighted else None
is_number = target in ("float32", "float64", "integers")
Estimator = MLPRegressor if is_number else MLPClassifier


def fit(n):
    model = Estimator(
        hidden_layer_sizes=(8,), batch_size=10_000, max_iter=1, random_state=0, **params
    )
    model.fit(X[:n], y[:n], None if weight is None else weight[:n])


def status(name):
    with open("/proc/self/status") as file:
        lines = dict(line.split(":") for line in file)
    return 1024 * int(lines[name].split()[0])


fit(20_000)  # what is loaded or made at the first use
assert sum(float(part.sum()) for part in np.array_split(X, 100))  # all of X is there
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak begins anew
before = status("VmRSS")
fit(len(X))
print(status("VmHWM") - before)
"""

#: Bytes that do not depend on X: the kernels' workspace, chunks of labels, the parts of
#: a page that each array fills.
FIXED = 4 << 20

#: Bytes per row of what has to be there: the order of the rows, and the targets.
ORDER, SINGLE = 8, 4

pytestmark = [
    pytest.mark.skipif(
        not Path("/proc/self/clear_refs").exists(),
        reason="the peak of a process is reset through Linux's /proc",
    ),
    pytest.mark.skipif(
        "asan" in os.environ.get("LD_PRELOAD", ""),
        reason="AddressSanitizer keeps memory that was freed",
    ),
]


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """A function that gives the path of a file with n rows of so many columns."""
    folder = tmp_path_factory.mktemp("mapped")

    def path(n, n_columns):
        path = folder / f"{n}x{n_columns}"
        if not path.exists():
            rng = np.random.default_rng(0)
            with open(path, "wb") as file:
                for _ in range(10):
                    part = rng.normal(size=(n // 10, n_columns))
                    file.write(part.astype(np.float32).tobytes())
        return path

    return path


def peak(path, n_columns, target, params, weighted=False):
    """Bytes that a fit needs at its peak, beyond X and y."""
    arguments = json.dumps([str(path), n_columns, target, params, weighted])
    run = subprocess.run(
        [sys.executable, "-c", FIT, arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return int(run.stdout)


@pytest.mark.parametrize(
    "target",
    ["float32", "float64", "integers", "two classes", "two words", "ten classes"],
)
def test_fit_adds_the_order_of_the_rows_and_the_targets(mapped, target):
    n = 1_000_000
    added = peak(mapped(n, 8), 8, target, {})
    own_targets = 0 if target == "float32" else SINGLE
    assert added < (ORDER + own_targets) * n + FIXED
    assert added < 20 * n


def test_fit_adds_no_more_for_wide_rows(mapped):
    n = 300_000
    added = peak(mapped(n, 100), 100, "two classes", {})
    assert added < (ORDER + SINGLE) * n + FIXED


def test_fit_adds_the_indicators_of_several_labels(mapped):
    n = 1_000_000
    added = peak(mapped(n, 8), 8, "indicators", {})
    assert added < (ORDER + 2 * SINGLE) * n + 8 * n + FIXED


def test_fit_copies_weights_of_another_type_only(mapped):
    n = 1_000_000
    added = peak(mapped(n, 8), 8, "float32", {}, weighted=True)
    assert added < (ORDER + SINGLE) * n + FIXED


@pytest.mark.parametrize("target", ["float32", "two classes", "ten classes"])
def test_early_stopping_does_not_copy_the_rows_set_aside(mapped, target):
    n, n_columns = 1_000_000, 32
    params = {"early_stopping": True, "validation_fraction": 0.5}
    added = peak(mapped(n, n_columns), n_columns, target, params)
    # Rows in the order of their classes, then parted; scores of those set aside.
    needed = (2 * ORDER + 5 * SINGLE) * n + BLOCK_BYTES + FIXED
    assert needed < n / 2 * n_columns * SINGLE
    assert added < needed
