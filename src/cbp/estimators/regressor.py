"""`MLPRegressor`: the estimator with scikit-learn's signature for regression."""

from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if

from cbp.estimators.base import MLPEstimator, trains_by_epochs
from cbp.estimators.parameters import documented, loss
from cbp.functions.losses import REGRESSION_LOSSES


@documented(loss=loss(REGRESSION_LOSSES))
class MLPRegressor(RegressorMixin, MLPEstimator):
    """Multilayer perceptron for regression.

    Stands in for ``sklearn.neural_network.MLPRegressor``: same parameters, attributes
    and, in float64 and with the same `random_state`, the same model up to rounding.
    The loss of several outputs is their sum, of which the gradient is used, where
    scikit-learn reports their mean.

    Parameters
    ----------
    %(parameters)s

    Attributes
    ----------
    %(attributes)s

    See Also
    --------
    MLPClassifier : The classifier.
    MLPEstimator : Both, with a choice of the loss.

    Examples
    --------
    >>> import numpy as np
    >>> from cbp import MLPRegressor
    >>> X = np.linspace(-1, 1, 50).reshape(-1, 1)
    >>> regressor = MLPRegressor(
    ...     hidden_layer_sizes=20, learning_rate_init=0.05, tol=1e-6, random_state=0
    ... )
    >>> regressor.fit(X, X.ravel() ** 2).score(X, X.ravel() ** 2) > 0.99
    True
    """

    @available_if(trains_by_epochs)
    def partial_fit(self, X, y, sample_weight=None):
        """Train for one epoch, going on exactly where training stopped.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), or number, default=None

        Returns
        -------
        self : object

        See Also
        --------
        MLPEstimator.partial_fit : The same, in full.
        """
        return super().partial_fit(X, y, sample_weight)
