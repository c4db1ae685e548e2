"""Find wrong labels: the samples that pull hardest at a trained network.

    python examples/label_errors.py [PICTURE]

Gives 30 of scikit-learn's digits a wrong label, trains on all, and asks which samples
have the largest gradients. A sample's gradient is a^{l-1} delta^l in every layer: large
where what is predicted, confidently, is not what the label says.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from cbp import MLPClassifier

N_WRONG = 30


def main(path):
    X, y_true = load_digits(return_X_y=True)
    X = X / 16  # grey levels 0..16 to 0..1
    rng = np.random.default_rng(0)
    wrong = rng.choice(len(y_true), N_WRONG, replace=False)
    y = y_true.copy()
    y[wrong] = (y[wrong] + rng.integers(1, 10, N_WRONG)) % 10

    # With a penalty and few epochs the network has not learned the errors by heart.
    clf = MLPClassifier((32,), alpha=1.0, max_iter=30, tol=0.01, random_state=0)
    suspects = clf.fit(X, y).backprop(X, y).most_influential(N_WRONG)

    found = np.isin(suspects, wrong)
    title = f"{found.sum()} of the {N_WRONG} most influential labels are wrong"
    print(f"{title}; {N_WRONG} of {len(y)} are.")
    draw(X[suspects], y[suspects], clf.predict(X[suspects]), found, title, path)
    print(f"picture  {path.resolve()}")


def draw(X, labels, predicted, found, title, path):
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    axes = figure.subplots(3, N_WRONG // 3).ravel()
    for ax, x, label, guess, is_wrong in zip(
        axes, X, labels, predicted, found, strict=True
    ):
        ax.imshow(x.reshape(8, 8), cmap="gray_r")
        ax.set_title(f"label {label}\nlooks like {guess}", fontsize=8)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(linewidth=3 if is_wrong else 0.5)
    figure.suptitle(f"{title} (thick frames)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/label-errors.png"))
