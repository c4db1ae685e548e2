"""`Record`: what the layers of a network went through, and how that is measured."""

from dataclasses import dataclass, field

import numpy as np

from cbp.training.history import joined


def root_mean_square(values):
    """The root of the mean square of all entries of an array, in float64."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def relative_change(before, after):
    """||after - before|| / ||before||: inf if that was 0, 0 if nothing changed."""
    change, size = (
        np.linalg.norm(values.astype(np.float64)) for values in (after - before, before)
    )
    if change == 0:
        return 0.0
    return float(change / size) if size else np.inf


@dataclass(repr=False)
class Record:
    """How error signals, gradients and steps were in each epoch and layer.

    Left as `record_` by an estimator with ``record="summary"``. Each field is a list
    with one entry for each epoch, itself a list of floats with one for each layer, from
    the first hidden layer on: ``plt.plot(model.record_.delta_norms)`` draws a line for
    each layer. With 'lbfgs' an iteration stands for an epoch and all samples for its
    batch: error signals and gradients are those where it arrives.

    Parameters
    ----------
    delta_norms : list of list of L floats
        Root mean square (the norms below are Euclidean) of the error signals delta^l
        over the samples of the epoch and the nodes of the layer: each sample's by the
        parameters before the update of its batch, and times its weight if there are
        weights. It falls from layer to layer where gradients vanish, and rises where
        they explode. What is below 1e-154 may count as 0: its square underflows.
    grad_norms : list of list of L floats
        Euclidean norm of dC/dW^l and dC/db^l together, without the penalty's part, in
        the last batch of the epoch (that has any weight), before its update.
    update_ratios : list of list of L floats
        Norm of the change of W^l in the update of that batch over the norm of W^l
        before it: how far a step goes beside what is there.
    dead_shares : list of list of L - 1 floats
        Share of the nodes of each hidden layer that relu let through for no sample of
        the epoch: no error signal has passed them. 0 for other activations.

    Examples
    --------
    >>> import numpy as np
    >>> from cbp import MLPRegressor
    >>> X = np.linspace(-1, 1, 50).reshape(-1, 1)
    >>> model = MLPRegressor(
    ...     hidden_layer_sizes=(8, 8), tol=0.1, record="summary", random_state=0
    ... )
    >>> record = model.fit(X, X.ravel() ** 2).record_
    >>> np.shape(record.delta_norms) == (model.n_iter_, 3)
    True
    >>> np.shape(record.dead_shares) == (model.n_iter_, 2)
    True
    """

    delta_norms: list[list[float]] = field(default_factory=list)
    grad_norms: list[list[float]] = field(default_factory=list)
    update_ratios: list[list[float]] = field(default_factory=list)
    dead_shares: list[list[float]] = field(default_factory=list)

    def add(self, delta_norms, grad_norms, update_ratios, dead_shares):
        """Append an epoch: a list of one float for each layer, for each field."""
        self.delta_norms.append(delta_norms)
        self.grad_norms.append(grad_norms)
        self.update_ratios.append(update_ratios)
        self.dead_shares.append(dead_shares)

    def joined_to(self, before, in_place):
        """This record with the epochs of the calls before in front of its own."""
        return Record(**joined(before, self, vars(self), in_place))

    def __repr__(self):
        n_layers = len(self.delta_norms[0]) if self.delta_norms else 0
        return f"Record({len(self.delta_norms)} epochs, {n_layers} layers)"
