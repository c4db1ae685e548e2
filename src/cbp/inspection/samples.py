"""What users give, estimators or networks with X and y, as the equations see it."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from cbp.estimators.base import MLPEstimator
from cbp.network.network import Network
from cbp.training.solvers import is_stochastic


def network_and_samples(model, X, y, sample_weight=None):
    """The network of a model, with X, y and the weights as it takes them.

    Parameters
    ----------
    model : Network or fitted MLPEstimator, MLPClassifier, MLPRegressor
    X : {array-like, sparse matrix} of shape (n, n_0)
    y : array-like
        Labels or numbers, as for the estimator's `fit`; for a Network, as for its
        `backprop`.
    sample_weight : array-like of shape (n,), or number, default=None

    Returns
    -------
    network : Network
        The model's own.
    X, y, sample_weight
        Arguments for `Network.backprop`.

    Raises
    ------
    TypeError
        If the model is neither.
    NotFittedError
        If it is an estimator that is not fitted.
    """
    check_model(model)
    if isinstance(model, Network):
        return model, X, y, sample_weight
    return model.network_, *model.network_samples(X, y, sample_weight)


def check_model(model):
    """Refuse what is neither a network nor a fitted estimator of this package.

    Raises
    ------
    TypeError
        If the model is neither.
    NotFittedError
        If it is an estimator that is not fitted.
    """
    if isinstance(model, Network):
        return
    if not isinstance(model, MLPEstimator):
        raise TypeError(
            f"model is of the type {type(model).__name__}; give a cbp.Network or a "
            "fitted estimator of cbp. Of a pipeline give the last step, with X as the "
            "steps before it transform it; of another estimator see cbp.from_sklearn."
        )
    check_is_fitted(model, "coefs_")


def backprop_of(model, X, y):
    """Both passes through a model, which needs X and y alike.

    Parameters
    ----------
    model : Network or fitted MLPEstimator, MLPClassifier, MLPRegressor
    X, y : as for `network_and_samples`

    Returns
    -------
    result : Backprop

    Raises
    ------
    ValueError
        If only one of X and y is given, they do not fit the model, or delta is not
        finite.
    TypeError, NotFittedError
        As `check_model`.
    """
    check_model(model)
    if X is None or y is None:
        here, missing = ("y", "X") if X is None else ("X", "y")
        raise ValueError(
            f"{missing}=None, though {here} is given; error signals need both."
        )
    network, X, y, sample_weight = network_and_samples(model, X, y)
    result = network.backprop(X, y, sample_weight)
    for layer, delta in enumerate(result.delta[1:], 1):
        if not np.isfinite(delta).all():
            raise ValueError(
                f"delta of layer {layer} is not finite: the weights have grown too "
                "large. Fit again with a smaller learning_rate_init or a larger alpha."
            )
    return result


def unit_of(estimator):
    """What an estimator's curves have one value for: 'epoch' or 'iteration'."""
    return "epoch" if is_stochastic(estimator.solver) else "iteration"


def record_of(model):
    """What a fit has recorded of each epoch.

    Parameters
    ----------
    model : Network or fitted MLPEstimator, MLPClassifier, MLPRegressor

    Returns
    -------
    record : object
        The model's `record_`.

    Raises
    ------
    ValueError
        If there is none, or no epoch is in it.
    TypeError, NotFittedError
        As `check_model`.
    """
    check_model(model)
    record = getattr(model, "record_", None)
    if record is None:
        raise ValueError(
            f"X=None, y=None, and this {type(model).__name__} has no record_ of its "
            'epochs; give X and y, or fit an estimator with record="summary".'
        )
    if len(record.grad_norms) == 0:
        raise ValueError(
            "record_ holds no epoch: training was interrupted during the first. "
            "Give X and y, or fit again."
        )
    return record
