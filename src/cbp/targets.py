"""y, between users and networks: labels or numbers outside, rows of outputs inside."""

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import assert_all_finite

#: Loss -> the output activation of a regressor; a classifier's depends on y.
REGRESSION_OUTPUTS = {
    "squared_error": "identity",
    "sum_of_squares": "identity",
    "poisson": "exp",
}


def indicators(binarizer, y, dtype):
    """1 for the class of a sample, or for each of its labels; else 0."""
    if binarizer.y_type_ != "multiclass":
        return np.ascontiguousarray(binarizer.transform(y), dtype=dtype)
    # Without the integers, as large as these, that the binarizer makes first.
    indicators = np.zeros((len(y), len(binarizer.classes_)), dtype)
    indicators[np.arange(len(y)), np.searchsorted(binarizer.classes_, y)] = 1
    return indicators


def regression_targets(y, dtype):
    """The targets of a regression as (n, n_outputs)."""
    if issparse(y):
        raise TypeError("y is sparse, but a regression wants it dense: y.toarray().")
    if y.dtype.kind not in "fiub":
        raise ValueError(f"y must hold numbers for a regression; it holds {y.dtype}.")
    with np.errstate(over="ignore"):
        targets = y.reshape(y.shape[0], -1).astype(dtype, copy=False)
    assert_all_finite(targets, input_name="y")
    return np.require(targets, requirements=["C_CONTIGUOUS", "ALIGNED"])
