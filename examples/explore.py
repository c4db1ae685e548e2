"""Walk through backpropagation on a trained network, in the browser.

    python examples/explore.py [PAGE]

Trains a small network to tell iris flowers apart and writes a page on which each step,
each node and each weight can be looked at. pandas is needed, for the names of the
columns.
"""

import sys
from pathlib import Path

from sklearn.datasets import load_iris

from cbp import MLPClassifier, explore


def main(path):
    iris = load_iris(as_frame=True)
    X = (iris.data - iris.data.mean()) / iris.data.std()
    y = iris.target_names[iris.target]
    clf = MLPClassifier((4,), "tanh", learning_rate_init=0.05, random_state=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    explore(clf.fit(X, y), X, y, path)
    print(f"Open {path.resolve().as_uri()} in a browser.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/explorer.html"))
