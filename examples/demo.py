"""Learn handwritten digits, and look at what backpropagation did.

    make demo          or: python examples/demo.py [PICTURE]

Trains cbp's MLPClassifier with scikit-learn's progress bar; draws the loss and, layer
by layer, the error signals delta^l = dC_0/dz^l of each epoch; writes a page on which
the trained network can be explored; times the same fit beside scikit-learn's class.
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


def seconds_to_fit(module, X, y):
    start = time.perf_counter()
    module.MLPClassifier(**PARAMETERS, random_state=0).fit(X, y)
    return time.perf_counter() - start


def draw(clf, path):
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    cbp.LossCurveDisplay.from_estimator(clf, ax=left)
    cbp.ErrorSignalDisplay.from_estimator(clf, ax=right)
    figure.savefig(path, dpi=150)


def main(path):
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)  # grey levels 0..16 to 0..1
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
    clf = cbp.MLPClassifier(**PARAMETERS, record="summary", random_state=0)
    clf.set_callbacks(ProgressBar()).fit(X, y)
    accuracy = clf.score(X_test, y_test)
    path.parent.mkdir(parents=True, exist_ok=True)
    page = path.with_suffix(".html")
    draw(clf, path)
    cbp.explore(clf, X_test, y_test, page)
    own, sklearn = (seconds_to_fit(module, X, y) for module in (cbp, neural_network))
    print(f"test accuracy  {accuracy:.4f} on {len(y_test)} digits not trained on")
    print(f"time of fit    {own:.3f} s; scikit-learn {sklearn:.3f} s, ", end="")
    print(f"{sklearn / own:.1f} times that (same parameters)")
    print(f"picture        {path.resolve()}")
    print(f"explore it at  {page.resolve().as_uri()}")
    if accuracy < WANTED_ACCURACY:
        sys.exit(f"The accuracy is below {WANTED_ACCURACY}.")


if __name__ == "__main__":
    # Forty epochs are enough here; that training could go on is no news.
    warnings.simplefilter("ignore", ConvergenceWarning)
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/demo.png"))
