"""Learn handwritten digits, and watch the error signals while it happens.

    make demo          or: python examples/demo.py [PICTURE]

Trains cbp's MLPClassifier with scikit-learn's progress bar, looks after every epoch
at delta^l = dC_0/dz^l, the error signal that backpropagation hands from layer to layer,
times the same fit beside scikit-learn's class, and draws what it saw.
"""

import sys
import time
import warnings
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn import neural_network
from sklearn.callback import ProgressBar
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

import cbp

PARAMETERS = dict(hidden_layer_sizes=(128, 64), batch_size=32, max_iter=40, alpha=1e-3)
WANTED_ACCURACY = 0.97


class DeltaSizes:
    """Callback: after each epoch, how large delta^l of every layer is on samples."""

    def __init__(self, X, y):
        self.X, self.y = X, y
        self.epochs = []

    def setup(self, estimator, context): ...
    def teardown(self, estimator, context): ...
    def on_fit_task_begin(self, estimator, context): ...

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.max_subtasks == 0:  # an epoch, not the whole fit
            result = fitted_estimator.backprop(self.X, self.y)
            squares = [np.mean(delta**2) for delta in result.delta[1:]]
            self.epochs.append(np.sqrt(squares))


def seconds_to_fit(module, X, y):
    start = time.perf_counter()
    module.MLPClassifier(**PARAMETERS, random_state=0).fit(X, y)
    return time.perf_counter() - start


def draw(clf, delta_norms, path):
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    cbp.LossCurveDisplay.from_estimator(clf, ax=left)
    cbp.ErrorSignalDisplay(delta_norms=delta_norms).plot(right)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main(path):
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)  # grey levels 0..16 to 0..1
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
    deltas = DeltaSizes(X[:300], y[:300])
    clf = cbp.MLPClassifier(**PARAMETERS, random_state=0)
    clf.set_callbacks(ProgressBar(), deltas).fit(X, y)
    accuracy = clf.score(X_test, y_test)
    draw(clf, deltas.epochs, path)
    own, sklearn = (seconds_to_fit(module, X, y) for module in (cbp, neural_network))
    print(f"test accuracy  {accuracy:.4f} on {len(y_test)} digits not trained on")
    print(f"time of fit    {own:.3f} s; scikit-learn {sklearn:.3f} s, ", end="")
    print(f"{sklearn / own:.1f} times that (same parameters, no callbacks)")
    print(f"picture        {path.resolve()}")
    if accuracy < WANTED_ACCURACY:
        sys.exit(f"The accuracy is below {WANTED_ACCURACY}.")


if __name__ == "__main__":
    # Forty epochs are enough here; that training could go on is no news.
    warnings.simplefilter("ignore", ConvergenceWarning)
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/demo.png"))
