"""`MLPEstimator`: checks what users give, encodes y, trains, sets attributes.

No network's arithmetic here: `network.Network` holds the parameters and makes the
passes, `training.Trainer` runs the epochs. `MLPEstimator` is the whole thing;
`MLPClassifier` and `MLPRegressor` are its special cases with scikit-learn's signatures.

A fitted estimator consists of its parameters, plain numbers, strings, lists, arrays,
scikit-learn's binarizer of labels, and one `Network`, of which `coefs_` and
`intercepts_` are views. The network stays out of pickles and is built anew from the two
lists afterwards.
"""

from contextlib import contextmanager
from copy import deepcopy
from numbers import Integral, Real

import numpy as np
from scipy.special import log_expit, log_softmax
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.metrics import accuracy_score, r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import (
    ClassifierTags,
    RegressorTags,
    check_random_state,
    column_or_1d,
)
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from cbp.callbacks import FitTask
from cbp.functions import ACTIVATIONS, LOSSES
from cbp.network import Network, check_sample_weight
from cbp.targets import REGRESSION_OUTPUTS, indicators, regression_targets
from cbp.training import SGD, Adam, Trainer

#: What a network is made of besides its sizes and parameters.
NETWORK_SETTINGS = ("activation", "output_activation", "loss", "alpha")


def _loss(estimator):
    """The loss that was trained on, or will be: set_params must not mix them."""
    network = vars(estimator).get("_network")
    return estimator.loss if network is None else network.loss


def _predicts_classes(estimator):
    if _loss(estimator) != "log_loss":
        raise AttributeError(
            "Probabilities of classes need loss='log_loss'; this "
            f"{type(estimator).__name__} has loss={_loss(estimator)!r}."
        )
    return True


class MLPEstimator(CallbackSupportMixin, BaseEstimator):
    """Multilayer perceptron whose loss decides what it predicts.

    With ``loss="log_loss"`` a classifier (binary, multiclass or multilabel), with any
    other loss a regressor (of one or several outputs). Trained by minibatches with
    Adam or SGD in compiled kernels, in the dtype of X: float32 stays float32. With
    the same `random_state` and float64 data the model is that of scikit-learn's
    ``MLPClassifier`` or ``MLPRegressor`` up to rounding.

    Parameters
    ----------
    loss : {'squared_error', 'sum_of_squares', 'log_loss', 'poisson'}, \
            default='squared_error'
        C_0, the loss of one sample with outputs a, summed over the outputs:

        - 'squared_error': 1/2 (a - y)^2
        - 'sum_of_squares': (a - y)^2
        - 'log_loss': the negative log-likelihood of classes, with softmax outputs for
          several classes and logistic outputs for two classes or multilabel y
        - 'poisson': half the Poisson deviance of counts y >= 0, with exp outputs

    hidden_layer_sizes : array-like of int, or int, default=(100,)
        Number of nodes of each hidden layer; ``()`` for a generalised linear model.

    activation : {'identity', 'logistic', 'tanh', 'relu'}, default='relu'
        Activation function of the hidden layers.

    solver : {'adam', 'sgd'}, default='adam'
        Adam (Kingma and Ba 2015) or stochastic gradient descent with momentum.
        'lbfgs' is not supported yet.

    alpha : float, default=0.0001
        Strength of the L2 penalty: a batch of S samples (or with weights that sum to
        S) adds alpha/2 ||W||^2 / S to its loss. Intercepts are not penalised.

    batch_size : int or 'auto', default='auto'
        Samples per update; 'auto' is min(200, n_samples).

    learning_rate : {'constant', 'invscaling', 'adaptive'}, default='constant'
        Schedule of SGD. 'invscaling' divides `learning_rate_init` by
        (t + 1)^power_t, t being the number of samples seen; 'adaptive' divides the
        rate by 5 each time the loss has not improved by `tol` for more than
        `n_iter_no_change` epochs, and stops below 1e-6.

    learning_rate_init : float, default=0.001
        Initial learning rate.

    power_t : float, default=0.5
        Exponent of 'invscaling'.

    max_iter : int, default=200
        Largest number of epochs.

    shuffle : bool, default=True
        Whether to shuffle the samples before each epoch.

    random_state : int, RandomState instance or None, default=None
        Source of the initial parameters and of the shuffling. Pass an int for
        the same model in every call.

    tol : float, default=1e-4
        An epoch improves if its loss falls below the best one by at least this.

    verbose : bool, default=False
        Whether to print the loss of each epoch.

    warm_start : bool, default=False
        True is not supported yet.

    momentum : float, default=0.9
        Momentum of SGD, from 0 to 1.

    nesterovs_momentum : bool, default=True
        Whether the momentum of SGD is Nesterov's.

    early_stopping : bool, default=False
        True is not supported yet.

    validation_fraction : float, default=0.1
        Share of the samples set aside for early stopping.

    beta_1 : float, default=0.9
        Decay of Adam's mean of the gradient, in [0, 1).

    beta_2 : float, default=0.999
        Decay of Adam's mean of the squared gradient, in [0, 1).

    epsilon : float, default=1e-8
        Keeps Adam from dividing by zero.

    n_iter_no_change : int or numpy.inf, default=10
        Training stops (or the adaptive rate falls) after more epochs than this
        without improvement.

    max_fun : int, default=15000
        Largest number of evaluations of the solver 'lbfgs'.

    n_jobs : None or 1, default=None
        Number of threads; more than one is not supported yet.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (n_{l-1}, n_l)
        w^l_jk is ``coefs_[l-1][k, j]``. Arrays may be changed, or replaced: what is put
        into the list is copied into the network when it is next used.

    intercepts_ : list of ndarray of shape (n_l,)
        b^l_j is ``intercepts_[l-1][j]``.

    network_ : Network
        The network itself, with its gradients and error signals.

    classes_ : ndarray of shape (n_classes,)
        Labels of the classes. Classifiers only.

    loss_ : float
        Loss of the last epoch (nan if training was interrupted before its end).

    best_loss_ : float
        Smallest loss of an epoch.

    loss_curve_ : list of float
        Loss of each epoch: the mean over its samples of the loss of their batch
        before the update, penalty included.

    validation_scores_, best_validation_score_ : None
        There is no early stopping yet.

    n_iter_ : int
        Number of epochs run.

    t_ : int
        Number of samples seen in training.

    n_layers_ : int
        Number of layers, input and output included.

    n_outputs_ : int
        Number of nodes of the output layer.

    out_activation_ : str
        Activation function of the output layer.

    n_features_in_ : int
        Number of columns of X.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns of X, if all are strings.

    See Also
    --------
    MLPClassifier : The classifier.
    MLPRegressor : The regressor.
    Network : Forward pass and backpropagation without estimator.

    Notes
    -----
    Scale the columns of X, for example with
    ``make_pipeline(StandardScaler(), MLPEstimator())``.

    On Ctrl-C, `fit` raises KeyboardInterrupt and the estimator holds the weights of
    the last finished batch. A `fit` that fails otherwise changes nothing.

    References
    ----------
    Nielsen, "Neural Networks and Deep Learning" (2015), chapter 2, derives the
    equations. Glorot and Bengio, AISTATS 2010, the initial weights. Kingma and Ba,
    ICLR 2015, Adam.

    Examples
    --------
    >>> import numpy as np
    >>> from cbp import MLPEstimator
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> net = MLPEstimator("poisson", (), learning_rate_init=0.1, random_state=0)
    >>> net.fit(X, [1, 2, 4, 8]).predict([[1.5]]).round()
    array([3.])
    """

    _parameter_constraints: dict = {  # noqa: RUF012, scikit-learn's convention
        "loss": [StrOptions(set(LOSSES))],
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [None, Integral],
    }

    def __init__(
        self,
        loss="squared_error",
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
    ):
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.n_jobs = n_jobs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        if self.loss == "log_loss":
            tags.estimator_type = "classifier"
            tags.classifier_tags = ClassifierTags(multi_label=True)
        else:
            tags.estimator_type = "regressor"
            tags.regressor_tags = RegressorTags()
            tags.target_tags.multi_output = True
            tags.target_tags.positive_only = self.loss == "poisson"
        return tags

    # -- fit -------------------------------------------------------------------

    def fit(self, X, y, sample_weight=None):
        """Train a new network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples. Read in place if C-contiguous and float32 or float64; other types
            become float64.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, an indicator matrix of labels, or numbers.

        sample_weight : array-like of shape (n_samples,), or number, default=None
            Weights >= 0 of the samples.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, TypeError
            For data or a parameter that cannot be used, naming it, and if training
            diverges, naming the epoch. The estimator is then what it was before.
        KeyboardInterrupt
            On Ctrl-C; the estimator holds the weights of the last finished batch.
        """
        with _unchanged_on_failure(self):
            return self._fit(X, y, sample_weight)

    @with_callbacks
    def _fit(self, X, y, sample_weight):
        self._validate_params()
        self._check_supported()
        X, y = self._validate_data(X, y)
        if isinstance(sample_weight, Real):
            sample_weight = np.full(X.shape[0], sample_weight)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X.shape[0], X.dtype)
        targets, output = self._encode(y, X.dtype)
        rng = check_random_state(self.random_state)
        network = Network(
            (X.shape[1], *self._hidden_sizes(), targets.shape[1]),
            activation=self.activation,
            output_activation=output["out_activation_"],
            loss=self.loss,
            alpha=self.alpha,
            dtype=X.dtype,
            random_state=rng,
        )
        trainer = self._trainer(network, rng)
        task = FitTask(self, X, y, sample_weight)
        task.watch(trainer, lambda: _fitted(deepcopy(network), trainer, output))
        try:
            trainer.train(X, targets, sample_weight)
        finally:
            # Ctrl-C keeps this; after an error it is undone.
            for name in ("_label_binarizer", "classes_"):
                vars(self).pop(name, None)
            vars(self).update(_fitted(network, trainer, output))
        task.end()
        return self

    def _check_supported(self):
        refused = (
            (self.solver == "lbfgs", "solver='lbfgs'", "solver='adam' or 'sgd'"),
            (
                self.early_stopping,
                "early_stopping=True",
                "early_stopping=False with tol, n_iter_no_change and max_iter, which "
                "look at the training loss, or a callback that stops",
            ),
            (
                self.warm_start,
                "warm_start=True",
                "warm_start=False and a larger max_iter",
            ),
            (
                self.n_jobs not in (None, 1),
                f"n_jobs={self.n_jobs}",
                "n_jobs=None, which is one thread",
            ),
        )
        for is_set, setting, instead in refused:
            if is_set:
                raise ValueError(f"{setting} is not supported yet; use {instead}.")

    def _hidden_sizes(self):
        sizes = self.hidden_layer_sizes
        sizes = (sizes,) if isinstance(sizes, Integral) else tuple(sizes)
        if not all(isinstance(size, Integral) and size > 0 for size in sizes):
            raise ValueError(
                f"hidden_layer_sizes must be > 0, got {list(sizes)}; give one integer "
                "for each hidden layer, or () for none."
            )
        return sizes

    def _validate_data(self, X, y):
        """X as the kernels read it; y checked, but as the user means it."""
        X, y = validate_data(
            self,
            _native(X),
            y,
            dtype=(np.float64, np.float32),
            multi_output=True,
            y_numeric=self.loss != "log_loss",
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return np.require(X, requirements=["C_CONTIGUOUS", "ALIGNED"]), y

    def _encode(self, y, dtype):
        """Targets (n, n_outputs) for the network, and the attributes to decode by."""
        if self.loss == "log_loss":
            check_classification_targets(y)
            binarizer = LabelBinarizer().fit(y)
            several = binarizer.y_type_ == "multiclass"
            return indicators(binarizer, y, dtype), {
                "_label_binarizer": binarizer,
                "classes_": binarizer.classes_,
                "out_activation_": "softmax" if several else "logistic",
            }
        targets = regression_targets(y, dtype)
        if self.loss == "poisson" and targets.min() < 0:
            raise ValueError(
                f"y must not be negative for loss='poisson'; it holds {targets.min()}."
            )
        return targets, {"out_activation_": REGRESSION_OUTPUTS[self.loss]}

    def _trainer(self, network, rng):
        if self.solver == "adam":
            solver = Adam.for_network(
                network,
                learning_rate_init=float(self.learning_rate_init),
                beta_1=float(self.beta_1),
                beta_2=float(self.beta_2),
                epsilon=float(self.epsilon),
            )
        else:
            solver = SGD.for_network(
                network,
                learning_rate_init=float(self.learning_rate_init),
                schedule=self.learning_rate,
                power_t=float(self.power_t),
                momentum=float(self.momentum),
                nesterov=bool(self.nesterovs_momentum),
            )
        return Trainer(
            network,
            solver,
            rng,
            batch_size=self.batch_size,
            shuffle=self.shuffle,
            max_iter=self.max_iter,
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            verbose=self.verbose,
        )

    # -- predict ---------------------------------------------------------------

    @property
    def network_(self):
        """The fitted `Network`, with the parameters in `coefs_` and `intercepts_`."""
        check_is_fitted(self, "_network")
        network = self._network
        network.set_weights(self.coefs_, self.intercepts_)
        self.coefs_, self.intercepts_ = network.coefs_, network.intercepts_
        return network

    def predict(self, X):
        """Labels of the classes, or the expected values.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)

        Raises
        ------
        ValueError
            If X does not fit what the estimator was trained on, or is not finite.
        """
        a = self.network_.forward(self._validate_X(X))
        if a.shape[1] == 1:
            a = a.ravel()
        if self._network.loss == "log_loss":
            return self._label_binarizer.inverse_transform(a)
        return a

    @available_if(_predicts_classes)
    def predict_proba(self, X):
        """Probabilities of the classes. Classifiers only.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; rows sum to 1 unless y was multilabel.
        """
        a = self.network_.forward(self._validate_X(X))
        return np.hstack((1 - a, a)) if a.shape[1] == 1 else a

    @available_if(_predicts_classes)
    def predict_log_proba(self, X):
        """Logarithms of `predict_proba`, finite where a probability rounds to 0.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
        """
        network = self.network_
        z = network.weighted_outputs(self._validate_X(X))
        if network.output_activation == "softmax":
            return log_softmax(z, axis=1)
        if z.shape[1] == 1:
            return np.hstack((log_expit(-z), log_expit(z)))
        return log_expit(z)

    def score(self, X, y, sample_weight=None):
        """Accuracy of a classifier, R^2 of a regressor.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
        """
        metric = accuracy_score if _loss(self) == "log_loss" else r2_score
        return metric(y, self.predict(X), sample_weight=sample_weight)

    def _validate_X(self, X):
        # Whether X is finite is looked at once, by the network.
        dtype = self._network.dtype
        return validate_data(self, X, dtype=dtype, ensure_all_finite=False, reset=False)

    # -- pickle and copy -------------------------------------------------------

    def __getstate__(self):
        state = dict(super().__getstate__())
        network = state.get("_network")
        if network is not None:
            settings = {name: getattr(network, name) for name in NETWORK_SETTINGS}
            state["_network"] = {**settings, "dtype": network.dtype.name}
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        settings = state.get("_network")
        if settings is not None:
            network = Network(_sizes(self.coefs_), random_state=0, **settings)
            network.set_weights(self.coefs_, self.intercepts_)
            self._network = network
            self.coefs_, self.intercepts_ = network.coefs_, network.intercepts_


@contextmanager
def _unchanged_on_failure(estimator):
    """Restore the attributes of `estimator` unless it fits or Ctrl-C cuts it short."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException as error:
        trained = vars(estimator).get("_network") is not before.get("_network")
        if not (isinstance(error, KeyboardInterrupt) and trained):
            vars(estimator).update(before)
            for name in vars(estimator).keys() - before.keys():
                del vars(estimator)[name]
        raise


def _fitted(network, trainer, output):
    """The attributes of an estimator that `trainer` has trained so far."""
    history = trainer.history
    return {
        **output,
        "_network": network,
        "coefs_": network.coefs_,
        "intercepts_": network.intercepts_,
        "n_layers_": len(network.layer_sizes),
        "n_outputs_": network.layer_sizes[-1],
        "n_iter_": history.n_iter,
        "t_": history.t,
        "loss_": history.loss_curve[-1] if history.loss_curve else np.nan,
        "best_loss_": history.best_loss,
        "loss_curve_": list(history.loss_curve),
        "validation_scores_": None,
        "best_validation_score_": None,
    }


def _native(X):
    """X in this machine's byte order, so that its dtype is seen to be float32."""
    if isinstance(X, np.ndarray) and X.dtype.kind == "f" and not X.dtype.isnative:
        return X.astype(X.dtype.newbyteorder("="))
    return X


def _sizes(coefs):
    """The layer sizes that the shapes of `coefs` imply."""
    if not coefs or any(np.ndim(w) != 2 for w in coefs):
        shapes = [np.shape(w) for w in coefs]
        raise ValueError(
            f"coefs_ has the shapes {shapes}; it must hold one matrix for each layer."
        )
    return (np.shape(coefs[0])[0], *(np.shape(w)[1] for w in coefs))
