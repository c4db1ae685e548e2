"""Is the gradient the slope of the loss? Backpropagation against difference quotients.

The rules of such a comparison are those of Stanford's course CS231n: centred
differences, in float64, the error relative to the sum of both sizes, some entries of
every tensor, kinks of relu apart. The quotient is that of 4th order,

    dC/dw ~ (-C(w+2h) + 8 C(w+h) - 8 C(w-h) + C(w-2h)) / 12h
"""

from dataclasses import dataclass, replace
from math import inf, isfinite
from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state

from cbp.formulas.formula import six_digits
from cbp.formulas.tables import html_table, text_table
from cbp.inspection.samples import network_and_samples
from cbp.network.network import Network

#: h for a parameter of size 1 or less. Rounding of the loss puts some eps/h = 2e-12 of
#: it into the quotient, far below `CORRECT`; the remainder is h^4/30 = 7e-18 of the 5th
#: derivative. That grows with the 5th power of X, which need not be scaled, and of the
#: weights; and a smaller step crosses fewer kinks. So these parts of it are tried as
#: well, unless gradient and quotient agree at once.
STEP = 2.0**-13
PARTS = (1.0, 2.0**-4, 2.0**-8, 2.0**-12, 2.0**-16)

#: Two quotients accuse a gradient if so many times closer to each other than to it.
CLEARLY = 10

#: Relative errors up to which a gradient is correct, and above which it is wrong.
CORRECT, WRONG = 1e-6, 1e-2

#: What rounding of the losses, sums over samples and nodes, may put into a quotient,
#: over the loss. A gradient of SMALLEST times the loss may be off by it and be correct.
ROUNDING = 64 * np.finfo(np.float64).eps / STEP
SMALLEST = ROUNDING / CORRECT

#: (multiples of h, coefficients of the losses there times 12h)
QUOTIENT = ((-2, 1.0), (-1, -8.0), (1, 8.0), (2, -1.0))


@dataclass(frozen=True)
class TensorCheck:
    """What was found out about the gradient in one array of parameters.

    Attributes
    ----------
    name : str
        As ``"coefs_[0]"``.
    shape : tuple of int
    n_checked : int
        How many entries were compared, those at kinks left out.
    error : float
        The largest relative error |a - n| / (|a| + |n|) of a gradient a and its
        quotient n; inf if one of them is not finite. Where both are so small that the
        rounding of the loss shows, 1e-4 of the loss, |a - n| is related to that size
        instead.
    worst : tuple of int or None
        The entry that has this error; None if no entry was compared.
    gradient, quotient : float
        a and n of that entry.
    n_kinks : int
        Entries left out because every step moved some z of a relu across 0, where the
        loss has a kink and its quotient need not be any slope; or because quotients
        over ever smaller steps do not settle.
        Entries whose gradient or quotient is not finite are never left out.
    kink_error : float
        The largest relative error of these.
    verdict : {'correct', 'doubtful', 'wrong', 'kinks only'}
        Errors up to 1e-6, up to 1e-2, above; no entry could be compared.
    """

    name: str
    shape: tuple
    n_checked: int
    error: float
    worst: tuple | None
    gradient: float
    quotient: float
    n_kinks: int
    kink_error: float
    verdict: str


@dataclass(frozen=True, repr=False)
class GradientCheck:
    """The outcome of `check_gradients`; shows itself as a table.

    Attributes
    ----------
    tensors : list of TensorCheck
        One for each array of coefs and intercepts.
    passed : bool
        Whether none of them is doubtful or wrong, and some entry was compared.
    """

    tensors: list

    @property
    def passed(self):
        verdicts = {tensor.verdict for tensor in self.tensors}
        return "correct" in verdicts and verdicts <= {"correct", "kinks only"}

    def __repr__(self):
        return f"{text_table(*self._table)}\n{self._summary}"

    def _repr_html_(self):
        return f"<div>{html_table(*self._table)}<p>{self._summary}</p></div>"

    @property
    def _summary(self):
        bad, unknown = self._names("doubtful", "wrong"), self._names("kinks only")
        sentences = []
        if bad:
            sentences.append(f"The gradient is not the slope of the loss in {bad}.")
        elif self.passed:
            sentences.append("The gradient is the slope of the loss.")
        if unknown:
            sentences.append(
                f"Not compared: {unknown}. Every entry tried is at a kink of relu; "
                "give other or fewer rows, or raise n_entries."
            )
        return " ".join(sentences)

    def _names(self, *verdicts):
        return ", ".join(t.name for t in self.tensors if t.verdict in verdicts)

    @property
    def _table(self):
        header = (
            *("tensor", "shape", "checked", "relative error", "worst entry"),
            *("gradient", "quotient", "at kinks", "error there", "verdict"),
        )
        return header, [_row(tensor) for tensor in self.tensors]


def _row(t):
    return (
        t.name,
        " x ".join(map(str, t.shape)),
        str(t.n_checked),
        f"{t.error:.1e}",
        "" if t.worst is None else ", ".join(map(str, t.worst)),
        six_digits(t.gradient),
        six_digits(t.quotient),
        str(t.n_kinks),
        f"{t.kink_error:.1e}" if t.n_kinks else "",
        t.verdict,
    )


def check_gradients(model, X, y, sample_weight=None, *, n_entries=20, random_state=0):
    """Compare the gradient with difference quotients of the loss.

    In float64, whatever the dtype of the model, with the loss as it is, penalty and
    weights included. Takes some four times `n_entries` forward and backward passes over
    X for each array of parameters, up to five times as many where a quotient disagrees
    at first. A few dozen rows are enough; with more, more entries are at kinks.

    Parameters
    ----------
    model : Network, or fitted MLPEstimator, MLPClassifier or MLPRegressor
        It is not changed.
    X : {array-like, sparse matrix} of shape (n, n_0)
    y : array-like
        As for the estimator's `fit`, or the network's `backprop`.
    sample_weight : array-like of shape (n,), default=None
    n_entries : int, default=20
        How many entries of each array of coefs and intercepts to compare, at most: half
        of them where the gradient is largest, the others at random.
    random_state : int, RandomState instance or None, default=0
        Chooses those.

    Returns
    -------
    check : GradientCheck
        ``check.passed``, and a table with a verdict for each array.

    Raises
    ------
    ValueError, TypeError
        If the model, X, y or the weights cannot be used, or `n_entries` is no integer
        >= 1.
    NotFittedError
        If the model is an estimator that is not fitted.

    References
    ----------
    Karpathy, lecture notes of CS231n, "Learning", on gradient checks.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from cbp import MLPClassifier, check_gradients
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier((5,), solver="lbfgs", random_state=0).fit(X, y)
    >>> check_gradients(clf, X[::5], y[::5]).passed
    True
    """
    if not isinstance(n_entries, Integral) or n_entries < 1:
        raise ValueError(f"n_entries={n_entries!r} must be an integer >= 1.")
    rng = check_random_state(random_state)
    network, *samples = network_and_samples(model, X, y, sample_weight)
    return GradientCheck(
        [tensor.check(n_entries, rng) for tensor in _tensors(network, samples)]
    )


def _tensors(network, samples):
    """A `_Tensor` for each array of parameters of a copy of the network in float64."""
    settings = {**network.settings, "dtype": np.float64}
    network = Network(network.layer_sizes, **settings, params=network.params_)
    here = network.backprop(*samples)
    _, active = _loss_and_active(network, samples)
    named = (
        ("coefs_", network.coefs_, here.coef_grads),
        ("intercepts_", network.intercepts_, here.intercept_grads),
    )
    for name, arrays, gradients in named:
        for i, (array, gradient) in enumerate(zip(arrays, gradients, strict=True)):
            yield _Tensor(f"{name}[{i}]", array, gradient, network, samples, active)


@dataclass(frozen=True)
class _Tensor:
    """One array of parameters (a view of the network's), and the gradient in it.

    `active` says which relus are active on which samples; it is empty without relus.
    """

    name: str
    array: np.ndarray
    gradient: np.ndarray
    network: Network
    samples: list
    active: np.ndarray

    def check(self, n_entries, rng):
        """Compare some entries; returns a `TensorCheck`."""
        entries = [self._entry(i) for i in self._choose(n_entries, rng)]
        smooth = [entry for entry in entries if not entry.at_kink]
        kinks = [entry for entry in entries if entry.at_kink]
        worst = max(smooth, key=lambda entry: entry.error, default=None)
        return TensorCheck(
            self.name,
            self.array.shape,
            len(smooth),
            worst.error if worst else 0.0,
            worst.index if worst else None,
            worst.gradient if worst else 0.0,
            worst.quotient if worst else 0.0,
            len(kinks),
            max((entry.error for entry in kinks), default=0.0),
            _verdict(worst),
        )

    def _choose(self, n_entries, rng):
        """Flat indices: those with the largest gradients, and others."""
        size = np.abs(self.gradient)
        size[np.isnan(size)] = np.inf  # argsort would put them last
        by_size = np.argsort(-size, axis=None, kind="stable")
        n_largest = (n_entries + 1) // 2
        others = rng.permutation(by_size[n_largest:])
        return np.concatenate([by_size[:n_largest], others])[:n_entries]

    def _entry(self, flat):
        index = tuple(int(i) for i in np.unravel_index(flat, self.array.shape))
        gradient, entries = float(self.gradient[index]), []
        for part in PARTS:
            entries.append(self._compare(index, gradient, part))
            if entries[-1].agrees or not isfinite(entries[-1].error):
                return entries[-1]
        return _settled(entries)

    def _compare(self, index, gradient, part):
        """An `_Entry` from a quotient over this part of the step."""
        before = float(self.array[index])
        h = part * STEP * max(1.0, abs(before))
        quotient, crosses, largest = 0.0, False, 0.0
        for steps, coefficient in QUOTIENT:
            self.array[index] = before + steps * h
            loss, active = _loss_and_active(self.network, self.samples)
            quotient += coefficient * loss / (12 * h)
            crosses |= not np.array_equal(active, self.active)
            largest = max(largest, abs(loss))
        self.array[index] = before
        error = _relative_error(gradient, quotient, SMALLEST / part * largest)
        return _Entry(index, gradient, quotient, error, crosses and isfinite(error))


@dataclass(frozen=True)
class _Entry:
    index: tuple
    gradient: float
    quotient: float
    error: float
    at_kink: bool

    @property
    def agrees(self):
        return not self.at_kink and self.error <= CORRECT


def _settled(entries):
    """Of disagreeing entries with ever smaller steps the one to go by.

    That is the one which the next confirms best; left out, as at a kink, if the two
    are not `CLEARLY` closer to each other than to the gradient.
    """
    smooth = [entry for entry in entries if not entry.at_kink]
    if len(smooth) < 2:
        return replace(entries[0], at_kink=True)
    changes = np.abs(np.diff([entry.quotient for entry in smooth]))
    steadiest = int(np.argmin(changes))
    entry = smooth[steadiest]
    accuses = CLEARLY * changes[steadiest] < abs(entry.gradient - entry.quotient)
    return replace(entry, at_kink=not accuses)


def _relative_error(gradient, quotient, smallest):
    """|a - n| over |a| + |n|, or over `smallest` if that is larger."""
    difference = abs(gradient - quotient)
    if not isfinite(difference):
        return inf
    size = max(abs(gradient) + abs(quotient), smallest)
    return difference / size if size else 0.0


def _loss_and_active(network, samples):
    """The loss, and where z is above each kink of its g: (n, nodes and kinks)."""
    kinks = [
        (layer, kink) for layer, g in enumerate(network.g[1:], 1) for kink in g.kinks
    ]
    if not kinks:  # the loss costs less without every z
        return network.loss_and_grad(*samples)[0], np.empty((0, 0), bool)
    there = network.backprop(*samples)
    return there.loss, np.hstack([there.z[layer] > kink for layer, kink in kinks])


def _verdict(worst):
    if worst is None:
        return "kinks only"
    if worst.error > WRONG:
        return "wrong"
    return "correct" if worst.error <= CORRECT else "doubtful"
