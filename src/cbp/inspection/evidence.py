"""What a diagnosis rests on: measures of a fitted estimator on some of its rows.

Copies of the estimator are trained where only training tells; itself it stays as it is.
"""

import warnings
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from cbp.training.record import relative_change, root_mean_square
from cbp.training.solvers import is_stochastic
from cbp.training.trainer import AUTO_BATCH_SIZE, DivergenceError

#: Rows that are looked at, evenly spaced over X. A relu that is active on none of 2048
#: rows is called dead (Gorishniy et al. 2024, arXiv:2410.24210, count it so).
MOST_ROWS = 2048

#: A node is saturated on a sample if g'(z) is below this part of its maximum. A choice:
#: |z| > 2.2 for tanh, 4.4 for logistic.
SATURATED = 0.05

#: Rows that any network should be able to learn by heart, and the epochs it has for it:
#: so many rounds of so many.
FEW_ROWS, ROUNDS, EPOCHS = 20, 10, 200

#: What may be left of the loss of a constant prediction on these rows. A choice:
#: of the digits, nets that are well come to leave less; two hidden nodes leave 14 %.
LEFT = 0.1


@dataclass(frozen=True)
class LayerReport:
    """What was measured in a layer l = 1..L.

    Attributes
    ----------
    layer, n_nodes : int
    delta : float
        Root mean square of delta^l over nodes and samples.
    delta_ratio : float
        `delta` over that of the layer above; nan for the output layer.
    dead_share : float
        Share of relu nodes that are active on no sample; nan for other functions.
    saturated_share : float
        Share of nodes and samples where g'(z) of logistic or tanh is below 5 % of its
        maximum; nan for other functions and the output layer.
    update_ratio : float
        ||change|| / ||W^l|| of one more step of the solver: inf if W^l was 0, 0 if
        nothing changed, nan with lbfgs or if the step diverges.
    """

    layer: int
    n_nodes: int
    delta: float
    delta_ratio: float
    dead_share: float
    saturated_share: float
    update_ratio: float


class Evidence:
    """What the checks look at, each measured once.

    Parameters
    ----------
    est, X, y, sample_weight
        As for `diagnose`.
    """

    def __init__(self, est, X, y, sample_weight):
        X, targets, sample_weight = est.network_samples(X, y, sample_weight)
        weight = np.ones(len(targets)) if sample_weight is None else sample_weight
        seen = np.flatnonzero(weight)  # training does not see rows of weight 0
        rows = seen[_spread(len(seen), MOST_ROWS)]
        self.est, self.X, self.targets = est, X[rows], targets[rows]
        self.weight = None if sample_weight is None else sample_weight[rows]
        self.y = _as_given(y)[rows]
        self.result = est.network_.backprop(self.X, self.targets, self.weight)
        self.network = self.result.network

    @property
    def loss(self):
        return float(np.average(self.result.sample_losses, weights=self.weight))

    @cached_property
    def chance_loss(self):
        return self._chance_loss(self.targets, self.weight)

    def _chance_loss(self, targets, weight=None):
        """The mean loss of the best prediction that is the same for every sample."""
        net = self.network
        return net.C_0.of_constant(net.g[-1], targets.astype(np.float64), weight)

    @property
    def hidden(self):
        """Reports of the hidden layers."""
        return self.layers[:-1]

    @property
    def has_dead_layer(self):
        """Whether all nodes of some layer are dead, which stops others, too."""
        return any(report.dead_share == 1 for report in self.hidden)

    @cached_property
    def layers(self):
        sizes = self.network.layer_sizes[1:]
        deltas = [root_mean_square(delta) for delta in self.result.delta[1:]]
        above = [*deltas[1:], np.nan]
        return [
            LayerReport(
                layer,
                n_nodes,
                delta,
                delta / next_delta if next_delta else np.nan,
                self._dead_share(layer),
                self._saturated_share(layer),
                ratio,
            )
            for layer, n_nodes, delta, next_delta, ratio in zip(
                range(1, len(sizes) + 1),
                sizes,
                deltas,
                above,
                self.update_ratios,
                strict=True,
            )
        ]

    def _dead_share(self, layer):
        if layer == len(self.network.g) - 1 or not self.network.g[layer].dies:
            return np.nan
        return float(np.mean(~(self.result.a[layer] > 0).any(axis=0)))

    def _saturated_share(self, layer):
        steepest = self.network.g[layer].steepest
        if layer == len(self.network.g) - 1 or steepest is None:
            return np.nan
        slopes = self.result.activation_slopes(layer)
        return float(np.mean(slopes < SATURATED * steepest))

    @property
    def step_diverges(self):
        """Whether one more step of the solver leads to numbers that are not finite."""
        return is_stochastic(self.est.solver) and self.next_coefs is None

    @property
    def update_ratios(self):
        """||change of W^l|| / ||W^l|| of one more step, as `LayerReport` has them."""
        before = self.network.coefs_
        if self.next_coefs is None:
            return [np.nan] * len(before)
        return list(map(relative_change, before, self.next_coefs))

    @cached_property
    def next_coefs(self):
        """coefs_ after one more step, on a batch of the rows.

        None with lbfgs, which makes no single steps, and if the step diverges.
        """
        if not is_stochastic(self.est.solver):
            return None
        size = self.est.batch_size
        size = AUTO_BATCH_SIZE if size == "auto" else size
        batch = _spread(len(self.targets), size)  # X may be sorted by class
        # Callbacks are the user's own, and may hold what cannot be copied.
        after = deepcopy(copy(self.est).set_callbacks()).set_params(
            batch_size=len(batch),
            early_stopping=False,
            random_state=0,
            verbose=False,
            record=None,
        )
        vars(after).pop("feature_names_in_", None)  # X has lost them
        weight = None if self.weight is None else self.weight[batch]
        try:
            after.partial_fit(self.X[batch], self.y[batch], weight)
        except DivergenceError:
            return None
        return after.coefs_

    @cached_property
    def few_rows_loss(self):
        """What is left of the loss of 20 rows after training anew on them alone.

        As a part of the loss of a constant prediction; nan if there is nothing to
        learn, inf if training diverges. Training ends once less than `LEFT` is left.
        """
        rows = _spread(len(self.targets), FEW_ROWS)
        X, targets = self.X[rows], self.targets[rows]
        to_learn = self._chance_loss(targets)
        if not to_learn > 0:
            return np.nan
        student = (
            clone(self.est)
            .set_callbacks()
            .set_params(
                alpha=0.0,
                max_iter=EPOCHS,
                tol=0.0,
                n_iter_no_change=np.inf,
                early_stopping=False,
                batch_size="auto",
                warm_start=True,
                random_state=0,
                verbose=False,
                record=None,
            )
        )
        left = np.inf
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            for _ in range(ROUNDS):
                try:
                    student.fit(X, self.y[rows])
                except DivergenceError:
                    return np.inf
                left = student.loss_ / to_learn
                if left < LEFT:
                    break
        return float(left)


def _spread(n, most):
    """Indices of up to `most` of n rows, evenly spaced."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(np.intp)


def _as_given(y):
    """y with rows that can be picked, as `fit` takes them."""
    return y.tocsr() if issparse(y) else np.asarray(y)


def column_sizes(X):
    """The root mean square of each column."""
    if issparse(X):
        squares = X.astype(np.float64).power(2).mean(axis=0)
        return np.sqrt(np.asarray(squares).ravel())
    return np.sqrt(np.mean(np.square(X, dtype=np.float64), axis=0))
