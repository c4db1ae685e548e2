"""y, between users and networks: labels or numbers outside, rows of outputs inside."""

import numpy as np
from scipy.sparse import issparse
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import type_of_target, unique_labels

from cbp.data.chunks import CHUNK, slices
from cbp.functions.activations import OUTPUT_ACTIVATIONS


def distinct_labels(y):
    """The labels that occur in y, which stand for y where no more need be known.

    y itself where that is as good: if it is short, has columns, or is made of Python's
    objects or of about as many labels as rows.
    """
    if _has_columns(y) or y.dtype.kind == "O" or len(y) <= CHUNK:
        return y
    labels = y[:0]
    for rows in slices(len(y)):
        labels = np.union1d(labels, y[rows])
        if len(labels) > CHUNK:
            return y
    return labels


def learn_labels(y, classes=None):
    """A binarizer of the labels in `classes`, or of those in y (or distinct in y).

    It is scikit-learn's, as converters of fitted models to other formats read it.
    """
    _check_labels(y)
    return LabelBinarizer().fit(y if classes is None or _has_columns(y) else classes)


def _check_labels(y):
    """Refuse what cannot be labels, more clearly than the binarizer does."""
    kind = type_of_target(y, input_name="y")
    if kind.startswith("continuous"):
        raise ValueError(
            f"Unknown label type: {kind}. A classifier expects classes; for numbers "
            "take MLPRegressor, or sort them into classes with numpy.digitize."
        )


def _has_columns(y):
    """Whether y says of each label, instead of each sample, which."""
    return issparse(y) or y.ndim == 2


def check_classes(classes, known):
    """The classes of all calls of partial_fit; `known` are those of the calls before.

    Raises
    ------
    ValueError
        Without classes in the first call, or with others than before.
    """
    if known is None:
        if classes is None:
            raise ValueError(
                "classes must be passed on the first call to partial_fit: "
                "classes=numpy.unique(all labels)."
            )
        return unique_labels(classes)
    if classes is not None and not np.array_equal(unique_labels(classes), known):
        raise ValueError(
            f"`classes={classes!r}` is not the same as on last call to partial_fit, "
            f"was: {known!r}"
        )
    return known


def check_same_classes(y, classes):
    """Raise a ValueError unless y has each of the classes of the fit before."""
    present = unique_labels(y)
    if set(present) != set(classes):
        raise ValueError(
            "warm_start can only be used where `y` has the same classes as in the "
            f"previous call to fit. Previously got {classes}, `y` has {present}"
        )


def label_output(binarizer):
    """The output activation for labels."""
    return "softmax" if binarizer.y_type_ == "multiclass" else "logistic"


def label_targets(binarizer, classes, y, distinct, dtype):
    """What the network is to give for y.

    Parameters
    ----------
    binarizer : LabelBinarizer
    classes : ndarray of shape (n_classes,)
    y : ndarray of shape (n,), or indicator matrix of shape (n, n_outputs)
    distinct : ndarray
        The labels that occur in y.
    dtype : numpy.dtype

    Returns
    -------
    targets : ndarray of shape (n,) or (n, n_outputs)
        For several classes their codes, from 0 on, in int32. Else of `dtype`: 1 for
        the second of two classes, or for each label of a sample, and 0.

    Raises
    ------
    ValueError
        If y has labels that are not among the classes, or is an indicator matrix
        where there was none before.
    """
    if _has_columns(y) and not binarizer.y_type_.startswith("multilabel"):
        raise ValueError(
            "The object was not fitted with multilabel input, but with y of the type "
            f"{binarizer.y_type_}; start anew with fit."
        )
    _check_labels(distinct)
    unknown = np.setdiff1d(unique_labels(distinct), classes)
    if unknown.size:
        raise ValueError(
            f"`y` has classes not in `self.classes_`: {unknown}. `self.classes_` has "
            f"{classes}; start anew with fit, or name every class in the first call "
            "of partial_fit."
        )
    if binarizer.y_type_.startswith("multilabel"):
        targets = np.empty((y.shape[0], len(binarizer.classes_)), dtype)
        for rows in slices(len(targets), max(1, CHUNK // targets.shape[1])):
            # An indicator may be any number that is not 0.
            targets[rows] = binarizer.transform(y[rows]) != 0
        return targets
    is_binary = binarizer.y_type_ == "binary"
    codes = np.empty(len(y), dtype if is_binary else np.int32)
    for rows in slices(len(y)):
        codes[rows] = np.searchsorted(binarizer.classes_, y[rows])
    return codes[:, np.newaxis] if is_binary else codes


def indicators(targets, n_classes, dtype):
    """Codes of classes (n,) as (n, n_classes) of 0 and 1; other targets as they are."""
    if targets.ndim == 2:
        return targets
    return (targets[:, np.newaxis] == np.arange(n_classes)).astype(dtype)


def labels(binarizer, a):
    """The labels that the outputs a (n, n_outputs) stand for."""
    if binarizer.y_type_.startswith("multilabel"):
        return binarizer.inverse_transform(a)
    return binarizer.classes_[_class_indices(binarizer, a)]


def _class_indices(binarizer, a):
    if a.shape[1] > 1:
        return a.argmax(axis=1)
    return np.minimum(a.ravel() > 0.5, len(binarizer.classes_) - 1).astype(np.intp)


def number_targets(y, dtype, loss):
    """(n, n_outputs): the targets of a regression.

    Raises
    ------
    TypeError, ValueError
        If y is not dense, does not hold finite numbers, or is negative for a loss
        that is defined for counts.
    """
    if issparse(y):
        raise TypeError("y is sparse, but a regression wants it dense: y.toarray().")
    if y.dtype.kind not in "fiub":
        raise ValueError(f"y must hold numbers for a regression; it holds {y.dtype}.")
    with np.errstate(over="ignore"):
        targets = y.reshape(y.shape[0], -1).astype(dtype, copy=False)
    assert_all_finite(targets, input_name="y")
    loss.check_targets(OUTPUT_ACTIVATIONS[loss.output](), targets)
    return np.require(targets, requirements=["C_CONTIGUOUS", "ALIGNED"])


def accuracy(binarizer, a, targets, weight=None):
    """Share of the samples whose every label is right; scikit-learn's accuracy_score.

    Parameters
    ----------
    binarizer : LabelBinarizer
    a : ndarray of shape (n, n_outputs)
    targets : ndarray of shape (n,) or (n, n_outputs)
        From `label_targets`.
    weight : ndarray of shape (n,), default=None
    """
    if binarizer.y_type_.startswith("multilabel"):
        right = ((a > 0.5) == (targets > 0.5)).all(axis=1)
    else:
        right = _class_indices(binarizer, a) == targets.ravel()
    return np.average(right, weights=weight)


def r2(a, targets, weight=None):
    """R^2, averaged over the outputs; scikit-learn's r2_score.

    Parameters
    ----------
    a, targets : ndarray of shape (n, n_outputs)
    weight : ndarray of shape (n,), default=None
    """
    a, targets = a.astype(np.float64), targets.astype(np.float64)
    each = 1.0 if weight is None else weight.astype(np.float64)[:, np.newaxis]
    with np.errstate(over="ignore", invalid="ignore"):
        error = (each * (targets - a) ** 2).sum(axis=0)
        centre = np.average(targets, axis=0, weights=weight)
        spread = (each * (targets - centre) ** 2).sum(axis=0)
    # A constant output has nothing to explain: 1 if it is met exactly, else 0.
    unexplained = np.where(error == 0, 0.0, 1.0)
    np.divide(error, spread, out=unexplained, where=(error != 0) & (spread != 0))
    return (1 - unexplained).mean()
