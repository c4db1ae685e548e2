"""X, y and weights as users give them, checked and as the kernels read them."""

from numbers import Real

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import column_or_1d
from sklearn.utils.validation import validate_data

from cbp.data.arrays import check_sample_weight, sparse_rows


def check_samples(estimator, X, y, sample_weight, *, dtype, reset, y_is_numeric):
    """X and the weights as the kernels read them; y checked, but as the user means it.

    Parameters
    ----------
    estimator : BaseEstimator
        Knows, or learns, how many columns X has, and their names.
    X : {array-like, sparse matrix} of shape (n, n_0)
    y : array-like of shape (n,) or (n, n_L)
    sample_weight : array-like of shape (n,), number for all, or None
    dtype : dtype, or tuple of dtypes
        Of X; of several, one that it has, else the first.
    reset : bool
        Whether `estimator` learns about the columns.
    y_is_numeric : bool

    Returns
    -------
    X : {ndarray, canonical CSR matrix} of shape (n, n_0)
    y : ndarray
    sample_weight : ndarray of shape (n,) or None

    Raises
    ------
    ValueError, TypeError
        Naming what cannot be used.
    """
    X, y = validate_data(
        estimator,
        _native(X),
        y,
        accept_sparse=["csr", "csc"],
        dtype=dtype,
        multi_output=True,
        y_numeric=y_is_numeric,
        reset=reset,
    )
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    if issparse(X):
        X = sparse_rows(X, X.dtype)
    else:
        X = np.require(X, requirements=["C_CONTIGUOUS", "ALIGNED"])
    if isinstance(sample_weight, Real):
        sample_weight = np.full(X.shape[0], sample_weight)
    if sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, X.shape[0], X.dtype)
    return X, y, sample_weight


def _native(X):
    """X in this machine's byte order, so that its dtype is seen to be float32."""
    if isinstance(X, np.ndarray) and X.dtype.kind == "f" and not X.dtype.isnative:
        return X.astype(X.dtype.newbyteorder("="))
    return X
