"""Draw what cbp can show of a fitted network, as in docs/inspection.md.

    python examples/displays.py [FOLDER]

Trains a few networks on scikit-learn's digits and diabetes data, in some seconds, and
writes one picture for each display into the folder, default build/displays.
"""

import sys
import warnings
from pathlib import Path

import matplotlib
from matplotlib import pyplot as plt
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

import cbp


def digits():
    """Grey levels from 0 to 1."""
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def diabetes():
    """With names of the columns, and a target of mean 0 and variance 1."""
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    return X, StandardScaler().fit_transform(y.to_frame()).ravel()


def loss_curve():
    X, y = digits()
    clf = cbp.MLPClassifier((32,), early_stopping=True, max_iter=60, random_state=0)
    return cbp.LossCurveDisplay.from_estimator(clf.fit(X, y))


def error_signal():
    X, y = digits()
    clf = cbp.MLPClassifier((64, 32, 16), max_iter=30, random_state=0).fit(X, y)
    return cbp.ErrorSignalDisplay.from_estimator(clf, X, y)


def gradient_flow():
    X, y = digits()
    clf = cbp.MLPClassifier(
        (32,) * 5, activation="logistic", max_iter=1, random_state=0
    ).fit(X, y)
    return cbp.GradientFlowDisplay.from_estimator(clf, X, y)


def network():
    X, y = diabetes()
    reg = cbp.MLPRegressor(
        hidden_layer_sizes=(6, 4),
        activation="tanh",
        solver="lbfgs",
        alpha=0.1,
        max_iter=100,
        random_state=0,
    )
    return cbp.NetworkDisplay.from_estimator(reg.fit(X, y), X, y, sample=7)


def wide_network():
    X, y = digits()
    clf = cbp.MLPClassifier((100, 16), max_iter=20, random_state=0).fit(X, y)
    return cbp.NetworkDisplay.from_estimator(clf, X, y, nodes="delta", edges="gradient")


PICTURES = {
    "loss-curve": loss_curve,
    "error-signal": error_signal,
    "gradient-flow": gradient_flow,
    "network": network,
    "wide-network": wide_network,
}


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    # Text stays text, and the same networks give the same files.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "cbp"})
    for name, draw in PICTURES.items():
        display = draw()
        path = folder / f"display-{name}.svg"
        display.figure_.savefig(path, metadata={"Date": None})
        plt.close(display.figure_)
        print(path)


if __name__ == "__main__":
    matplotlib.use("Agg")  # files, no windows
    # The networks are for looking at; that training could go on is no news.
    warnings.simplefilter("ignore", ConvergenceWarning)
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/displays"))
