"""X, y, weights and parameters as the kernels read them in place.

Networks and estimators both bring their input into this form. An array that has it
already is taken as it is; none is changed.
"""

from math import isfinite

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import assert_all_finite

#: Up to so many numbers a quick look is taken whether they are finite.
FEW_NUMBERS = 4096


def dense_array(name, values, dtype, *, n_dims, finite=True):
    """`values` as an array of `dtype` whose rows the kernels can read in place.

    Raises
    ------
    TypeError
        Naming `name`, if they are sparse, or not real numbers.
    ValueError
        Naming `name`, if they have a number of dimensions that is not in `n_dims`, or
        hold NaN or infinity although they have to be `finite`.
    """
    if issparse(values):
        raise TypeError(f"{name} is sparse; give it dense, as {name}.toarray().")
    if _is_ready(values, dtype) and values.ndim in n_dims:
        if finite:
            _check_finite(name, values)
        return values
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array: {error}") from error
    if array.dtype.kind not in "fiubO":
        raise TypeError(f"{name} has dtype {array.dtype}; it must hold real numbers.")
    if array.ndim not in n_dims:
        raise ValueError(
            f"{name} has shape {array.shape}; it must have "
            f"{' or '.join(map(str, n_dims))} dimensions."
        )
    try:
        with np.errstate(over="ignore"):  # what overflows is found to be infinite
            array = array.astype(dtype, copy=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold real numbers only: {error}") from error
    if finite:
        _check_finite(name, array)
    return array if _rows_can_be_read(array) else array.copy("C")


def _is_ready(values, dtype):
    """Whether this is an array that the kernels read as it is: no more to be done."""
    if type(values) is not np.ndarray or values.dtype != dtype:
        return False
    flags = values.flags
    return flags.c_contiguous and flags.aligned


def _check_finite(name, array):
    # scikit-learn's own check has the better message, but for a few numbers takes
    # longer than a prediction. Their sum of squares is finite only if they all are.
    if array.size > FEW_NUMBERS or not isfinite(np.vdot(array, array)):
        assert_all_finite(array, input_name=name)


def _rows_can_be_read(array):
    in_rows = array.strides[-1] == array.itemsize or array.shape[-1] == 1
    whole = all(stride % array.itemsize == 0 for stride in array.strides)
    return array.flags.aligned and in_rows and whole


def sparse_rows(X, dtype):
    """A sparse X in CSR form and `dtype`, as the kernels read it in place.

    The columns of each row ascend, none occurs twice. X itself if it is so already;
    it is never changed.

    Raises
    ------
    TypeError
        If X does not hold real numbers.
    ValueError
        If X is not two-dimensional, or holds NaN or infinity.
    """
    if X.dtype.kind not in "fiub":
        raise TypeError(f"X has dtype {X.dtype}; it must hold real numbers.")
    if X.ndim != 2:
        raise ValueError(f"X has shape {X.shape}; it must have 2 dimensions.")
    rows = X.tocsr()
    if not (_is_readable_csr(rows) and rows.has_canonical_format):
        rows = rows.copy() if rows is X else rows
        rows.sum_duplicates()
    with np.errstate(over="ignore"):  # what overflows is found to be infinite
        rows = rows.astype(dtype, copy=False)
    assert_all_finite(rows.data[: rows.nnz], input_name="X")
    return rows


def _is_readable_csr(X):
    arrays = X.data, X.indices, X.indptr
    in_line = all(array.flags.c_contiguous and array.flags.aligned for array in arrays)
    return in_line and X.indices.dtype == X.indptr.dtype


def check_sample_weight(sample_weight, n, dtype):
    """Weights as a contiguous vector: finite, not negative, not all zero.

    Raises
    ------
    ValueError
        Naming `sample_weight` and what is wrong with it.
    """
    weight = dense_array("sample_weight", sample_weight, dtype, n_dims=(1,))
    if weight.shape != (n,):
        raise ValueError(
            f"sample_weight has shape {weight.shape}; expected one weight for each "
            f"of the {n} samples."
        )
    if weight.min() < 0:
        raise ValueError(
            f"sample_weight must not be negative; it holds {weight.min()}."
        )
    if not weight.any():
        raise ValueError("sample_weight is zero for every sample; nothing is left.")
    # Sums are divided by that of the weights, in `dtype`.
    smallest, total = np.finfo(dtype).tiny, weight.sum(dtype=np.float64)
    if not smallest <= total <= 1 / np.float64(smallest):
        raise ValueError(
            f"sample_weight sums to {total}, which cannot be divided by in "
            f"{np.dtype(dtype)}; scale the weights to a mean of 1."
        )
    return np.ascontiguousarray(weight)
