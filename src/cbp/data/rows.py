"""The rows of X that train, in their running order, and those set aside."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass
class Rows:
    """Which rows of X train, in their running order, and which are set aside.

    Parameters
    ----------
    order : ndarray of shape (n_train,)
        Indices of rows; each epoch shuffles them once more.
    validation : ndarray of shape (n_validation,) or None, default=None
        Indices of the rows that early stopping scores; None without it.
    """

    order: np.ndarray
    validation: np.ndarray | None = None

    @classmethod
    def all(cls, n):
        """All n rows train."""
        return cls(np.arange(n, dtype=np.intp))

    def copy(self):
        """The same rows, whose order can be shuffled apart from this one."""
        return replace(self, order=self.order.copy())

    @property
    def n(self):
        """How many rows there are in all."""
        return len(self.order) + self.n_aside

    @property
    def n_aside(self):
        """How many of them do not train."""
        return 0 if self.validation is None else len(self.validation)

    def __getstate__(self):
        # Up to 2^16 or 2^32 rows take a quarter or half of the space in a file.
        small = np.min_scalar_type(self.n)
        return {
            name: None if rows is None else rows.astype(small)
            for name, rows in vars(self).items()
        }

    def __setstate__(self, state):
        for name, rows in state.items():
            setattr(self, name, None if rows is None else rows.astype(np.intp))
