"""A page on which backpropagation through the user's own network can be explored.

`explore` computes everything with `Network.backprop`, chooses what fits on a page
(`page_data.py`) and puts it into one file with the program that shows it (`page/`).
The page loads nothing and sends nothing: its policy forbids browsers to.
"""

import base64
import hashlib
import os
import secrets
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np
from scipy.sparse import issparse

from cbp.formulas.formula import six_digits
from cbp.inspection.page_data import arrays, plan_page, short, to_json
from cbp.inspection.samples import network_and_samples
from cbp.network.network import Network

#: Parts of the page's program, in the order in which they build on each other.
SCRIPTS = (
    "numbers.js",
    "elements.js",
    "formulas.js",
    "steps.js",
    "layout.js",
    "drawing.js",
    "terms.js",
    "details.js",
    "panels.js",
    "page.js",
)

STYLES = ("drawing.css", "page.css")

#: The rate of the step that is tried where no estimator has one.
LEARNING_RATE = 0.1


@dataclass(frozen=True, repr=False)
class Explorer:
    """A page, as `explore` makes it. Notebooks show it.

    Attributes
    ----------
    html : str
        The page, which needs nothing besides itself.
    """

    html: str

    def __repr__(self):
        return (
            f"Explorer({len(self.html) / 1000:.0f} kB of HTML; save(path) writes it, "
            "a notebook shows it)"
        )

    def _repr_html_(self):
        # In a document of its own neither styles nor names get in the notebook's way.
        return (
            f'<iframe srcdoc="{escape(self.html)}" title="Backpropagation, step by '
            'step" sandbox="allow-scripts" style="width: 100%; height: 860px; '
            'border: 0"></iframe>'
        )

    def save(self, path):
        """Write the page to a file, all of it or, if that fails, nothing.

        Parameters
        ----------
        path : str or path-like
            A file that exists is replaced.

        Raises
        ------
        OSError
            If it cannot be written; naming the path.
        """
        target = Path(os.path.realpath(path))
        beside = target.with_name(f".{secrets.token_hex(8)}.part")
        try:
            with open(beside, "x", encoding="utf-8") as file:
                file.write(self.html)
            os.replace(beside, target)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise OSError(
                error.errno,
                f"the page cannot be written ({error.strerror}); make its folder, or "
                "give the path of a file that may be written",
                os.fspath(path),
            ) from error


def explore(est, X, y, path=None, *, sample_weight=None):
    """Show what backpropagation computes, step by step, on a page for the browser.

    The network is drawn; each step, forward and back, says what is computed, from what
    and by which equation; nodes and weights open to their terms and numbers. One sample
    can be looked at, or the mean of all. The page also has the update that the gradient
    makes, with the loss before and after it, and what each output should do. Every
    number is one of ``est.backprop(X, y)``, to six digits.

    Large networks: of each layer at most 30 nodes are drawn, those with the largest
    mean |delta| (of the inputs: largest mean |x dC_0/dx|), fewer where there are many
    layers; what the others add to a sum is one summand. At most 24 samples can be
    chosen, those that pull hardest at the parameters (`Backprop.most_influential`); the
    mean is that of all. So the page stays below 1 MB.

    Parameters
    ----------
    est : fitted MLPEstimator, MLPClassifier, MLPRegressor, or Network
        The update is made with its `learning_rate_init`, or 0.1 for a Network.
    X : {array-like, sparse matrix} of shape (n, n_0)
    y : array-like of shape (n,) or (n, n_L)
        Labels or numbers, as for the estimator's `fit`; for a Network, as for its
        `backprop`.
    path : str or path-like, default=None
        A file to write the page to.
    sample_weight : array-like of shape (n,), default=None
        Weights of the samples in the mean.

    Returns
    -------
    explorer : Explorer
        Has the page as ``html``, writes it with ``save(path)``, and is shown by
        notebooks.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError, ValueError
        If `est` is no network, X, y or the weights do not fit it, or it has more than
        500 layers.
    OSError
        If `path` cannot be written.

    References
    ----------
    Nielsen, "Neural Networks and Deep Learning" (2015), chapter 2, has the equations
    BP1 to BP4 that the page names.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from cbp import MLPClassifier, explore
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = MLPClassifier((5,), solver="lbfgs", random_state=0).fit(X, y)
    >>> page = explore(clf, X, y)
    >>> page.html.startswith("<!DOCTYPE html>")
    True
    """
    net, rows, targets, weight = network_and_samples(est, X, y, sample_weight)
    result = net.backprop(rows, targets, weight)
    plan = plan_page(result)
    rate = LEARNING_RATE if isinstance(est, Network) else est.learning_rate_init
    content = {
        "about": _about(est, result, plan, rate),
        "samples": _samples(est, X, result, plan),
        "arrays": arrays(result, plan, rate),
    }
    explorer = Explorer(_page(to_json(content)))
    if path is not None:
        explorer.save(path)
    return explorer


def _page(data):
    """The page in one piece, which runs this program and no other."""
    style = "\n".join(map(_asset, STYLES))
    script = "\n".join(map(_asset, SCRIPTS))
    page = _asset("page.html")
    hashes = {"@style-hash@": _hash(style), "@script-hash@": _hash(script)}
    for name, value in {**hashes, "@style@": style, "@script@": script}.items():
        page = page.replace(name, value)
    return page.replace("@data@", data)  # the last: it is not searched for names


def _asset(name):
    return files("cbp.inspection").joinpath("page", name).read_text(encoding="utf-8")


def _hash(text):
    """As a Content Security Policy names what may run."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


# -- words ---------------------------------------------------------------------------


def _about(est, result, plan, rate):
    """What the page says of the network in words."""
    net = result.network
    layers = zip(net.layer_sizes, plan.nodes, _labels(est, net), strict=True)
    return {
        "model": type(est).__name__,
        "activation": net.g[1].name,  # of the hidden layers, if there are any
        "output_activation": net.g[-1].name,
        "loss": net.C_0.name,
        "formulas": {g.name: g.formula for g in net.g[1:]},
        "loss_formula": net.C_0.formula,
        "is_coupled": net.g[-1].couples,
        "is_canonical": net.C_0.is_canonical(net.g[-1]),
        "shrinkage": result.shrinkage,
        "learning_rate": rate,
        "learning_rate_name": _rate_name(est),
        "is_weighted": result.sample_weight is not None,
        "n_samples": len(result.y),
        "layers": [
            {"size": size, "nodes": nodes, "labels": [short(label(i)) for i in nodes]}
            for size, nodes, label in layers
        ],
    }


def _rate_name(est):
    return "of cbp.explore" if isinstance(est, Network) else "learning_rate_init"


def _labels(est, net):
    """For each layer, what its nodes are called: features, numbers, classes."""
    names = getattr(est, "feature_names_in_", None)
    classes = getattr(est, "classes_", None)
    inputs = "x{}".format if names is None else names.__getitem__
    outputs = "output {}".format
    if classes is not None:  # a single output is the probability of the last of two
        outputs = (classes if net.layer_sizes[-1] > 1 else classes[-1:]).__getitem__
    return [inputs, *["node {}".format] * (len(net.layer_sizes) - 2), outputs]


def _samples(est, X, result, plan):
    """Of each sample that can be chosen its row, the right answer, and that given."""
    net, a, y = result.network, result.a[-1][plan.rows], result.y[plan.rows]
    if hasattr(est, "classes_"):
        predicted = est.predict(X)[plan.rows]
        given = _class_names(est, predicted)
        right = _class_names(est, y if predicted.ndim == 2 else _decoded(est, y))
    elif net.C_0.takes_codes(net.g[-1]):
        given, right = ([f"output {j}" for j in v.argmax(axis=1)] for v in (a, y))
    else:
        given, right = ([", ".join(map(six_digits, row)) for row in v] for v in (a, y))
    return [
        {"row": row, "truth": short(truth), "predicted": short(prediction)}
        for row, truth, prediction in zip(plan.rows, right, given, strict=True)
    ]


def _decoded(est, y):
    """The classes that rows of the network's targets stand for."""
    codes = y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0].astype(np.intp)
    return est.classes_[codes]


def _class_names(est, answers):
    """Classes (n,), or indicators (n, n_classes) of all labels that apply, as text."""
    if answers.ndim == 1:
        return [str(label) for label in answers]
    indicated = answers.toarray() if issparse(answers) else answers
    return [
        ", ".join(map(str, est.classes_[row != 0])) or "no label" for row in indicated
    ]
