"""Early stopping: the score of held-out rows judges the epochs."""

import numpy as np
from scipy.sparse import issparse

from cbp.data.chunks import slices

#: Bytes of the held-out rows that are copied out of X at a time to be scored.
BLOCK_BYTES = 1 << 24


class HeldOutScore:
    """The score of a network, as it is when it is called, on rows that do not train.

    Parameters
    ----------
    network : Network
    X : ndarray of shape (n, n_0), or its canonical CSR
        All rows.
    rows : ndarray of shape (n_held_out,)
        Indices of those that are held out.
    targets : ndarray of shape (n_held_out, n_L), or codes of classes
        Theirs.
    metric : callable
        metric(a, targets, sample_weight) is the score of outputs a.
    sample_weight : ndarray of shape (n_held_out,), default=None
    n_threads : int, default=1
        Threads at most.
    """

    def __init__(
        self, network, X, rows, targets, metric, sample_weight=None, n_threads=1
    ):
        self.network, self.metric = network, metric
        self.targets, self.sample_weight = targets, sample_weight
        self.blocks = _Blocks(X, rows)
        self.a = np.empty((len(rows), network.layer_sizes[-1]), network.dtype)
        self.propagator = network.make_propagator(n_threads)

    def __call__(self):
        """The score; nan if the network predicts no numbers."""
        for block, X in self.blocks:
            self.propagator.forward(self.network.params_, X, self.a[block])
            del X  # before the next block is made
        if not np.isfinite(self.a).all():
            return np.nan
        return float(self.metric(self.a, self.targets, self.sample_weight))


class _Blocks:
    """Some rows of X, time and again, in blocks: (slice, X[rows[slice]]).

    Rows that fit into one block are copied once, others anew each time.
    """

    def __init__(self, X, rows):
        n_bytes = X.data.nbytes + X.indices.nbytes if issparse(X) else X.nbytes
        rows_per_block = max(1, BLOCK_BYTES * X.shape[0] // max(1, n_bytes))
        self.X, self.rows = X, rows
        self.slices = slices(len(rows), rows_per_block)
        self.only = X[rows] if len(self.slices) == 1 else None

    def __iter__(self):
        for block in self.slices:
            rows = self.rows[block]
            yield block, self.X[rows] if self.only is None else self.only
