"""`MLPClassifier`: the estimator with scikit-learn's signature for classification."""

from sklearn.base import ClassifierMixin

from cbp.estimators.base import MLPEstimator


class MLPClassifier(ClassifierMixin, MLPEstimator):
    """Multilayer perceptron for classification.

    Stands in for ``sklearn.neural_network.MLPClassifier``: same parameters,
    attributes and, in float64 and with the same `random_state`, the same model up to
    rounding. Minimises the log loss, with a logistic output for two classes, logistic
    outputs for an indicator matrix of labels, softmax outputs for several classes.
    The parameters are described in full in `MLPEstimator`.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, or int, default=(100,)
        Number of nodes of each hidden layer; ``()`` for logistic regression.
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
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes.
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
    MLPRegressor : The regressor.
    MLPEstimator : Both, with a choice of the loss.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from cbp import MLPClassifier
    >>> X, y = make_blobs(centers=3, cluster_std=0.5, random_state=0)
    >>> classifier = MLPClassifier((8,), learning_rate_init=0.05, random_state=0)
    >>> classifier.fit(X, y).predict_proba(X[:1]).shape
    (1, 3)
    >>> classifier.score(X, y)
    1.0
    """

    _parameter_constraints: dict = {  # noqa: RUF012, scikit-learn's convention
        name: constraint
        for name, constraint in MLPEstimator._parameter_constraints.items()
        if name != "loss"
    }

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        n_jobs=None,
        record=None,
    ):
        super().__init__(
            loss="log_loss",
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
            n_jobs=n_jobs,
            record=record,
        )

    def __sklearn_tags__(self):
        # ClassifierMixin has put its own tags in the place of MLPEstimator's.
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
