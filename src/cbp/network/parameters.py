"""`Parameters`: all of a network's in one vector, and the views that users see."""

from itertools import chain, pairwise
from operator import is_

import numpy as np

from cbp.data.arrays import dense_array


def count_params(layer_sizes):
    """The number of parameters of a network of these sizes."""
    return sum((int(n_in) + 1) * int(n_out) for n_in, n_out in pairwise(layer_sizes))


def draw_params(layer_sizes, rng, scale):
    """Initial parameters, layer by layer W then b, from +-sqrt(scale / (n_in + n_out)).

    Parameters
    ----------
    layer_sizes : tuple of int
    rng : numpy.random.RandomState
    scale : float
        That of the activation of the hidden layers (Glorot and Bengio 2010).

    Returns
    -------
    params : ndarray of shape (n_params,), float64
    """
    coefs, intercepts = [], []
    for n_in, n_out in pairwise(layer_sizes):
        bound = np.sqrt(scale / (n_in + n_out))
        coefs.append(rng.uniform(-bound, bound, n_in * n_out))
        intercepts.append(rng.uniform(-bound, bound, n_out))
    return np.concatenate(coefs + intercepts)


def views(layer_sizes, flat):
    """Views into a vector of all parameters: the list of coefs, that of intercepts."""
    coefs, intercepts, start = [], [], 0
    for n_in, n_out in pairwise(layer_sizes):
        coefs.append(flat[start : start + n_in * n_out].reshape(n_in, n_out))
        start += n_in * n_out
    for n_out in layer_sizes[1:]:
        intercepts.append(flat[start : start + n_out])
        start += n_out
    return coefs, intercepts


class Parameters:
    """The vector of a network, and how arrays of users get into it.

    Parameters
    ----------
    layer_sizes : tuple of int
    vector : ndarray of shape (n_params,)
        All coefs (row-major), then all intercepts. It stays this one.

    Attributes
    ----------
    coefs, intercepts : list of L ndarrays
        Views of the vector.
    """

    def __init__(self, layer_sizes, vector):
        self.layer_sizes, self.vector = layer_sizes, vector
        self.coefs, self.intercepts = views(layer_sizes, vector)
        self._views = [*self.coefs, *self.intercepts]

    def are(self, coefs, intercepts):
        """Whether these are the views of the vector, and no other arrays."""
        if len(coefs) + len(intercepts) != len(self._views):
            return False
        return all(map(is_, chain(coefs, intercepts), self._views))

    def read(self, coefs, intercepts):
        """Copy the arrays into the vector, as far as they are not its views.

        Returns
        -------
        foreign : list of array-likes
            Those that were copied.

        Raises
        ------
        ValueError
            If their number or a shape does not fit; nothing is copied then.
        """
        n_layers = len(self.coefs)
        if len(coefs) != n_layers or len(intercepts) != n_layers:
            raise ValueError(
                f"coefs_ and intercepts_ have {len(coefs)} and {len(intercepts)} "
                f"entries; a network of sizes {self.layer_sizes} wants {n_layers}."
            )
        given = zip(self._views, [*coefs, *intercepts], strict=True)
        foreign = [
            (view, array, self._check(i, array))
            for i, (view, array) in enumerate(given)
            if array is not view
        ]
        for view, _, checked in foreign:
            view[...] = checked
        return [array for _, array, _ in foreign]

    def shares_memory(self, arrays):
        """Whether one of them may be a view of the vector."""
        return any(np.may_share_memory(array, self.vector) for array in arrays)

    def _check(self, i, array):
        """`array` as it can be copied into the i-th view."""
        n_layers, shape = len(self.coefs), self._views[i].shape
        name = f"{'coefs_' if i < n_layers else 'intercepts_'}[{i % n_layers}]"
        array = dense_array(name, array, self.vector.dtype, n_dims=(1, 2), finite=False)
        if array.shape != shape:
            raise ValueError(
                f"{name} has shape {array.shape}; a network of sizes "
                f"{self.layer_sizes} wants {shape}."
            )
        # Another view of the parameters would change while they are written.
        return array.copy() if self.shares_memory([array]) else array
