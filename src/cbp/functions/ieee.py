"""exp and log of one number as in IEEE 754, where Python's own would raise."""

import math


def exp(x):
    """e^x: inf where Python's own would raise."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def log(x):
    """ln x: -inf at 0 and NaN below, where Python's own would raise."""
    if x == 0.0:
        return -math.inf
    return math.nan if x < 0.0 else math.log(x)


def sum_exp(z):
    """M = max_k z_k and sum_k e^{z_k - M}, none of whose terms can overflow."""
    # Where max() overlooks a NaN, the sum does not.
    M = max(z)
    total = 0.0
    for z_k in z:
        total += exp(z_k - M)
    return M, total
