"""What users give, a model with its X and y, as the equations see it."""

from sklearn.utils.validation import check_is_fitted

from cbp.estimator import MLPEstimator
from cbp.network import Network


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
    if isinstance(model, Network):
        return model, X, y, sample_weight
    if not isinstance(model, MLPEstimator):
        raise TypeError(
            f"model is of the type {type(model).__name__}; give a cbp.Network or a "
            "fitted estimator of cbp. Of a pipeline give the last step, with X as the "
            "steps before it transform it; of another estimator see cbp.from_sklearn."
        )
    check_is_fitted(model, "coefs_")
    return model.network_, *model.network_samples(X, y, sample_weight)
