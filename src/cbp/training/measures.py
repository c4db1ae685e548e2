"""How large numbers are, and how much they have changed, in float64."""

import numpy as np


def root_mean_square(values):
    """The root of the mean square of all entries of an array."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def relative_change(before, after):
    """||after - before|| / ||before||: inf if that was 0, 0 if nothing changed."""
    change, size = (
        np.linalg.norm(values.astype(np.float64)) for values in (after - before, before)
    )
    if change == 0:
        return 0.0
    return float(change / size) if size else np.inf
