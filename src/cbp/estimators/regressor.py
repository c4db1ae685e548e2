"""`MLPRegressor`: the estimator with scikit-learn's signature for regression."""

from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from cbp.estimators.base import MLPEstimator, trains_by_epochs
from cbp.functions.losses import REGRESSION_LOSSES


class MLPRegressor(RegressorMixin, MLPEstimator):
    """Multilayer perceptron for regression.

    Stands in for ``sklearn.neural_network.MLPRegressor``: same parameters, attributes
    and, in float64 and with the same `random_state`, the same model up to rounding.
    The loss of several outputs is their sum, of which the gradient is used, where
    scikit-learn reports their mean. The parameters are described in full in
    `MLPEstimator`.

    Parameters
    ----------
    loss : {'squared_error', 'sum_of_squares', 'poisson'}, default='squared_error'
        Half the squared error, the squared error, or half the Poisson deviance of
        counts y >= 0, whose output is exp(z).
    hidden_layer_sizes : array-like of int, or int, default=(100,)
        Number of nodes of each hidden layer; ``()`` for a generalised linear model.
    activation : {'identity', 'logistic', 'tanh', 'relu'}, default='relu'
        Activation function of the hidden layers.
    solver : {'lbfgs', 'sgd', 'adam'}, default='adam'
        Adam, stochastic gradient descent with momentum, or scipy's L-BFGS-B.
    alpha : float, default=0.0001
        Strength of the L2 penalty; divided by the number of samples of a batch.
    batch_size : int or 'auto', default='auto'
        Samples per update; 'auto' is min(200, n_samples).
    learning_rate : {'constant', 'invscaling', 'adaptive'}, default='constant'
        Schedule of SGD.
    learning_rate_init : float, default=0.001
        Initial learning rate.
    power_t : float, default=0.5
        Exponent of 'invscaling'.
    max_iter : int, default=200
        Largest number of epochs, or of iterations of 'lbfgs'.
    shuffle : bool, default=True
        Whether to shuffle the samples before each epoch.
    random_state : int, RandomState instance or None, default=None
        Source of the initial parameters and of the shuffling.
    tol : float, default=1e-4
        An epoch improves if its loss falls below the best one by at least this.
    verbose : bool, default=False
        Whether to print the loss of each epoch.
    warm_start : bool, default=False
        Whether `fit` goes on exactly where the last one stopped.
    momentum : float, default=0.9
        Momentum of SGD.
    nesterovs_momentum : bool, default=True
        Whether the momentum of SGD is Nesterov's.
    early_stopping : bool, default=False
        Whether to stop when the score of samples set aside no longer improves.
    validation_fraction : float, default=0.1
        Share of the samples set aside for early stopping.
    beta_1 : float, default=0.9
        Decay of Adam's mean of the gradient.
    beta_2 : float, default=0.999
        Decay of Adam's mean of the squared gradient.
    epsilon : float, default=1e-8
        Keeps Adam from dividing by zero.
    n_iter_no_change : int or numpy.inf, default=10
        Training stops after more epochs than this without improvement.
    max_fun : int, default=15000
        Largest number of evaluations of the solver 'lbfgs'.
    n_jobs : int or None, default=None
        Threads at most; the model is bitwise the same for any number. None is all
        cores that this process may use, -1 all, -2 all but one.
    record : {'summary'} or None, default=None
        Whether to record each epoch in `record_`: how large error signals, gradients
        and steps were, and how many nodes were dead.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights of shape (n_{l-1}, n_l) and biases of shape (n_l,).
    network_ : Network
        The network itself, with its gradients and error signals.
    loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_
        The course of training, as in `MLPEstimator`.
    n_iter_, t_
        Number of epochs run and of samples seen.
    record_ : Record
        What happened in each epoch, layer by layer. With ``record="summary"`` only.
    n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_
        The shape of the network, as in `MLPEstimator`.

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

    _parameter_constraints: dict = {  # noqa: RUF012, scikit-learn's convention
        **MLPEstimator._parameter_constraints,
        "loss": [StrOptions(set(REGRESSION_LOSSES)), *REGRESSION_LOSSES.values()],
    }

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
