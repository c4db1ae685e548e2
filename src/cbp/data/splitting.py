"""Which rows early stopping sets aside: those that scikit-learn's split would.

The same draws from the generator as ``sklearn.model_selection.train_test_split``, so
that the same seed gives the same model, but in vectors of row numbers instead of lists
of Python's integers: millions of rows take a second.
"""

import numpy as np
from sklearn.utils.extmath import _approximate_mode

from cbp.data._shuffle import shuffle
from cbp.data.chunks import slices


def split(n, n_aside, rng):
    """Row numbers of n rows that train, and of `n_aside` that are set aside."""
    rows = np.arange(n)
    shuffle(rng, rows)
    return rows[n_aside:], rows[:n_aside]


def split_by_class(codes, n_aside, rng):
    """As `split`, each class having the same share, as far as it goes, on both sides.

    Parameters
    ----------
    codes : ndarray of shape (n,)
        The class of each row, from 0 on.
    n_aside : int
    rng : numpy.random.RandomState

    Raises
    ------
    ValueError
        If a class has one row only, or one of the sides fewer rows than classes.
    """
    counts = _count(codes)
    present = counts[counts > 0]
    n_train = len(codes) - n_aside
    if present.min() < 2:
        raise ValueError("a class has one sample only.")
    if min(n_train, n_aside) < len(present):
        raise ValueError(
            f"there are {len(present)} classes, but {n_train} samples to train on and "
            f"{n_aside} to set aside."
        )
    rows = _sorted_by_class(codes, counts)
    ends = np.cumsum(present)
    kept = _approximate_mode(present, n_train, rng)
    aside = _approximate_mode(present - kept, n_aside, rng)
    train, validation = [], []
    for members, n_kept, n_out in zip(
        np.split(rows, ends[:-1]), kept, aside, strict=True
    ):
        shuffle(rng, members)
        train.append(members[:n_kept])
        validation.append(members[n_kept : n_kept + n_out])
    train, validation = np.concatenate(train), np.concatenate(validation)
    shuffle(rng, train)
    shuffle(rng, validation)
    return train, validation


def _count(codes):
    """How many rows there are of each class."""
    counts = np.zeros(1, np.intp)
    for rows in slices(len(codes)):
        more = np.bincount(codes[rows].astype(np.intp), minlength=len(counts))
        more[: len(counts)] += counts
        counts = more
    return counts


def _sorted_by_class(codes, counts):
    """The row numbers, those of each class ascending: a counting sort, in chunks."""
    sorted_rows = np.empty(len(codes), np.intp)
    free = np.cumsum(counts) - counts  # where the next row of each class goes
    for rows in slices(len(codes)):
        # Of few bits they are sorted by their digits, in linear time.
        chunk = codes[rows].astype(np.min_scalar_type(len(counts)))
        order = np.argsort(chunk, kind="stable")
        found = np.bincount(chunk, minlength=len(counts))
        begins = np.cumsum(found) - found
        to = np.arange(len(chunk)) + np.repeat(free - begins, found)
        sorted_rows[to] = rows.start + order
        free += found
    return sorted_rows
