"""Propagators: which implementation does the arithmetic, and who may use one now.

A propagator has a workspace and serves one call at a time. A network keeps a few that
are idle, and makes another when all are lent: so several threads may call it at once.
"""

import os
from importlib import import_module

#: Workspaces kept for the next call, as many as threads often call at once.
MOST_IDLE = 4

#: CBP_IMPLEMENTATION -> the module whose `Propagator` does the arithmetic.
IMPLEMENTATIONS = {
    "kernels": "cbp.kernels.propagator",
    "reference": "cbp.reference.propagator",
}


def new_propagator(*spec, n_threads=1):
    """A `Propagator` of the implementation that CBP_IMPLEMENTATION names.

    Parameters
    ----------
    *spec : object
        What it is made of: the sizes of the layers, the activations of hidden layers
        and of the output, the loss, alpha, the dtype.
    n_threads : int, default=1
        Threads at most.
    """
    name = os.environ.get("CBP_IMPLEMENTATION") or "kernels"
    if name not in IMPLEMENTATIONS:
        raise ValueError(
            f"CBP_IMPLEMENTATION={name!r} is unknown; it must be one of "
            f"{tuple(IMPLEMENTATIONS)}."
        )
    propagator = import_module(IMPLEMENTATIONS[name]).Propagator(*spec)
    propagator.use_threads(n_threads)
    return propagator


class Pool:
    """Idle propagators of one network.

    Parameters
    ----------
    *spec : object
        What `new_propagator` makes them of.
    """

    def __init__(self, *spec):
        self._spec, self._idle = spec, []

    def take(self):
        """A propagator that nobody else uses until it is put back."""
        try:
            return self._idle.pop()
        except IndexError:
            return new_propagator(*self._spec)

    def put_back(self, propagator):
        """Keep it for the next call, unless it is of no further use."""
        if len(self._idle) < MOST_IDLE and not propagator.in_training:
            self._idle.append(propagator)
