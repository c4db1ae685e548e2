"""Training by L-BFGS: scipy's minimiser over the whole data's loss and gradient.

Knows a network and the propagator it lends. Goes by the names of `trainer.Trainer`
(`train`, `state`, `on_epoch`), with an iteration in the place of an epoch.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from cbp.network.network import Network
from cbp.training.record import Record, relative_change
from cbp.training.state import TrainingState
from cbp.training.trainer import DivergenceError, divergence_message

#: scipy stops once an iteration lowers the loss by less than this part of it: scipy's
#: own default, and in float32, where nothing so small can be seen, the precision.
LEAST_DECREASE = {
    np.dtype(np.float64): 2.220446049250313e-09,
    np.dtype(np.float32): float(np.finfo(np.float32).eps),
}

#: scipy's status of a search that a callback has ended.
STOPPED = 99


@dataclass
class LBFGSTrainer:
    """Minimises the loss of all samples at once.

    Parameters
    ----------
    network : Network
        Its `params_` are where the search begins and receive each iterate.
    state : TrainingState
        Whose `history` is filled, with the loss after each iteration.
    max_iter : int, default=200
        Largest number of iterations.
    tol : float, default=1e-4
        Converged when no component of the gradient is larger, or as soon as an
        iteration lowers the loss by less than `LEAST_DECREASE` of it.
    n_threads : int, default=1
        Threads at most; the result is the same for any number.
    verbose : bool, default=False
        Whether to print the loss of each iteration.
    on_epoch_begin : callable or None, default=None
        Called with the end of each iteration, before `on_epoch`.
    on_epoch : callable or None, default=None
        Called after each iteration; the search stops if it returns True.
    record : Record or None, default=None
        Filled while training, if there is one: of each iteration, with the gradient
        where it arrived and the change on the way there.
    """

    network: Network
    state: TrainingState
    max_iter: int = 200
    tol: float = 1e-4
    n_threads: int = 1
    verbose: bool = False
    on_epoch_begin: Callable[[], None] | None = None
    on_epoch: Callable[[], bool] | None = None
    record: Record | None = None

    def train(self, X, y, sample_weight=None):
        """Search until converged; warn if the search ends before.

        However this ends, ``network.params_`` holds the last iterate and the history
        the course so far.

        Parameters
        ----------
        X, y, sample_weight
            As `Trainer.train` takes them.

        Raises
        ------
        DivergenceError
            If the loss or a parameter in the end is not finite.
        KeyboardInterrupt
            On Ctrl-C, within an evaluation of the loss.
        """
        params, history = self.network.params_, self.state.history
        max_fun = self.state.solver.max_fun
        propagator = self.network.make_propagator(self.n_threads)
        if self.record is not None:
            propagator.use_summary()

        def loss_and_grad(x):
            gradient = np.empty_like(params)
            at = x.astype(params.dtype, copy=False)
            loss = propagator.loss_and_grad(at, X, y, sample_weight, gradient)
            return loss, gradient.astype(np.float64, copy=False)

        def after_iteration(intermediate_result):
            if self.record is not None:
                self._record(propagator, intermediate_result.x)
            params[:] = intermediate_result.x
            history.add(intermediate_result.fun, 0)
            history.best_loss = min(history.best_loss, history.loss_curve[-1])
            if self.verbose:
                print(
                    f"Iteration {history.n_iter}, loss = {history.loss_curve[-1]:.8f}"
                )
            # scipy does not say when an iteration begins.
            if self.on_epoch_begin is not None:
                self.on_epoch_begin()
            if self.on_epoch is not None and self.on_epoch():
                raise StopIteration

        result = minimize(
            loss_and_grad,
            params.astype(np.float64),
            method="L-BFGS-B",
            jac=True,
            callback=after_iteration,
            options={
                "maxiter": self.max_iter,
                "maxfun": max_fun,
                "gtol": self.tol,
                "ftol": LEAST_DECREASE[params.dtype],
            },
        )
        params[:] = result.x
        if not (math.isfinite(result.fun) and np.isfinite(params).all()):
            what = f"the loss is {result.fun} after {result.nit} iterations"
            raise DivergenceError(divergence_message(what, self.network, "raise alpha"))
        if not history.loss_curve:
            # The search began at a minimum.
            if self.record is not None:
                loss_and_grad(params)  # scipy may have looked elsewhere since
                self._record(propagator, result.x)
            history.loss_curve.append(np.float64(result.fun))
            history.best_loss = min(history.best_loss, history.loss_curve[-1])
        if not (result.success or result.status == STOPPED):
            warnings.warn(
                f"lbfgs failed to converge after {history.n_iter} iteration(s) "
                f"(status={result.status}): {result.message}. Scale the data, or "
                f"raise max_iter={self.max_iter} or max_fun={max_fun}.",
                ConvergenceWarning,
                stacklevel=2,
            )

    def _record(self, propagator, x):
        """Record the iteration that leads to x, where the loss was evaluated last."""
        delta_norms, grad_norms, _, dead_shares = propagator.summary()
        ratios = _update_ratios(self.network.coefs_, x)
        self.record.add(delta_norms, grad_norms, ratios, dead_shares)


def _update_ratios(coefs, x):
    """||change of W^l|| / ||W^l|| on the way from `coefs` to the parameters x."""
    ratios, start = [], 0
    for W in coefs:
        after = x[start : start + W.size].astype(W.dtype)
        start += W.size
        ratios.append(relative_change(W.ravel(), after))
    return ratios
