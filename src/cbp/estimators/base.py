"""`MLPEstimator`: scikit-learn's API over a network.

Holds the parameters, checks and encodes what users give, has it trained. No arithmetic
of networks here: `fitting.Fit` sees to the training, `fitted.FittedMLP`, its base, has
what a fitted estimator can be asked. `MLPClassifier` and `MLPRegressor` are the special
cases with scikit-learn's signatures.
"""

from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
from sklearn import get_config
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import ClassifierTags, RegressorTags
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.metaestimators import available_if

from cbp.data.samples import check_samples
from cbp.data.targets import (
    check_classes,
    check_same_classes,
    distinct_labels,
    label_output,
    label_targets,
    learn_labels,
    number_targets,
)
from cbp.estimators.callbacks import FitTask
from cbp.estimators.fit import OPTIONAL, Fit
from cbp.estimators.fitted import FittedMLP
from cbp.functions.activations import ACTIVATIONS, Activation
from cbp.functions.losses import LOSSES, Loss, classifies, resolve_loss


def trains_by_epochs(estimator):
    if estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. "
            f"{estimator.solver} is not stochastic; use solver='adam' or 'sgd'."
        )
    return True


class MLPEstimator(CallbackSupportMixin, FittedMLP):
    """Multilayer perceptron whose loss decides what it predicts.

    With ``loss="log_loss"`` a classifier (binary, multiclass or multilabel), with any
    other loss a regressor (of one or several outputs). Trained in compiled kernels by
    minibatches with Adam or SGD, or by L-BFGS, in the dtype of X: float32 stays
    float32. With
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

    solver : {'lbfgs', 'sgd', 'adam'}, default='adam'
        Adam (Kingma and Ba 2015), stochastic gradient descent with momentum, or
        scipy's L-BFGS-B, which minimises the loss of all samples at once.

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
        Largest number of epochs, or of iterations of 'lbfgs'.

    shuffle : bool, default=True
        Whether to shuffle the samples before each epoch.

    random_state : int, RandomState instance or None, default=None
        Source of the initial parameters and of the shuffling. Pass an int for
        the same model in every call.

    tol : float, default=1e-4
        An epoch improves if its loss falls below the best one by at least this, or
        with early stopping its score rises by as much. 'lbfgs' has converged when no
        component of the gradient is larger, or an iteration lowers the loss by less
        than 2e-9 of it (1e-7 in float32).

    verbose : bool, default=False
        Whether to print the loss of each epoch.

    warm_start : bool, default=False
        Whether `fit` goes on exactly where the last one stopped: with its weights,
        or what was put into `coefs_` and `intercepts_` since, the moments of the
        solver, the learning rate, the random stream, the rows set aside.

    momentum : float, default=0.9
        Momentum of SGD, from 0 to 1.

    nesterovs_momentum : bool, default=True
        Whether the momentum of SGD is Nesterov's.

    early_stopping : bool, default=False
        Whether to set samples aside, score them after each epoch (accuracy or R^2),
        stop when the score no longer improves and keep the weights of the best one.
        Not for 'lbfgs'.

    validation_fraction : float, default=0.1
        Share of the samples set aside for early stopping; of each class the same,
        unless y is multilabel.

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

    n_jobs : int or None, default=None
        Threads at most; the model is bitwise the same for any number. A step takes as
        many as its work is worth. None is all cores that this process may use (by its
        affinity, its container, OMP_NUM_THREADS) or n_jobs of
        ``joblib.parallel_config``, -1 all cores, -2 all but one; these are one thread
        within a worker of joblib or multiprocessing, whose siblings use the others.

    record : {'summary'} or None, default=None
        Whether to record each epoch in `record_`: for each layer the norms of error
        signals and gradients, the size of a step beside that of the weights, and the
        share of dead nodes. That takes no further pass over the data, and leaves the
        model bitwise as it is.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (n_{l-1}, n_l)
        w^l_jk is ``coefs_[l-1][k, j]``. Arrays may be changed, or replaced by others,
        with effect on the next prediction or warm-started fit.

    intercepts_ : list of ndarray of shape (n_l,)
        b^l_j is ``intercepts_[l-1][j]``.

    network_ : Network
        The network itself, with its gradients and error signals.

    classes_ : ndarray of shape (n_classes,)
        Labels of the classes. Classifiers only.

    loss_ : float
        Loss of the last epoch (nan if training was interrupted before the end of the
        first).

    best_loss_ : float or None
        Smallest loss of an epoch; None with early stopping.

    loss_curve_ : list of float
        Loss of each epoch: the mean over its samples of the loss of their batch
        before the update, penalty included; with 'lbfgs', the loss after each
        iteration. Goes on growing with `partial_fit` and `warm_start`.

    validation_scores_ : list of float or None
        Score of the samples set aside after each epoch; None without early stopping.

    best_validation_score_ : float or None
        Largest of these scores, that of the weights that were kept.

    n_iter_ : int
        Number of epochs of the last `fit` and of every `partial_fit` since.

    t_ : int
        Number of samples seen in training.

    record_ : Record
        What happened in each epoch, layer by layer. Only with ``record="summary"``;
        goes on growing with `partial_fit` and `warm_start` as long as it is on.

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
    the last finished batch, with early stopping those of the best score, with 'lbfgs'
    those of the last iteration. A `fit` that fails otherwise changes nothing.

    X, y and the weights are read in place while training runs: nobody else may write
    to them then, least of all to the indices of a sparse X.

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
        "loss": [StrOptions(set(LOSSES)), Loss],
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "activation": [StrOptions(set(ACTIVATIONS)), Activation],
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
        "n_jobs": [
            None,
            Interval(Integral, 1, None, closed="left"),
            Interval(Integral, None, -1, closed="right"),
        ],
        "record": [None, StrOptions({"summary"})],
    }

    #: Dtypes of X that training keeps; any other becomes the first of them.
    _dtypes = (np.float64, np.float32)

    # What a notebook shows links to scikit-learn's page of the same parameters.
    _doc_link_module = "cbp"
    _doc_link_template = (
        "https://scikit-learn.org/stable/modules/generated/"
        "sklearn.neural_network.{counterpart}.html"
    )

    def _doc_link_url_param_generator(self):
        name = "MLPClassifier" if classifies(self.loss) else "MLPRegressor"
        return {"counterpart": name}

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
        record=None,
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
        self.record = record

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        if classifies(self.loss):
            tags.estimator_type = "classifier"
            tags.classifier_tags = ClassifierTags(multi_label=True)
        else:
            tags.estimator_type = "regressor"
            tags.regressor_tags = RegressorTags()
            tags.target_tags.multi_output = True
            known = LOSSES.get(self.loss) if isinstance(self.loss, str) else self.loss
            tags.target_tags.positive_only = getattr(known, "positive_only", False)
        return tags

    # -- fit -------------------------------------------------------------------

    def fit(self, X, y, sample_weight=None):
        """Train a new network, or with `warm_start` the one that is there.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. Read in place if float32 or float64 and C-contiguous or CSR;
            other types become float64, other sparse formats CSR.

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
            On Ctrl-C; the estimator holds the weights reached so far.
        """
        with _unchanged_on_failure(self):
            return self._fit(X, y, sample_weight)

    @with_callbacks
    def _fit(self, X, y, sample_weight):
        goes_on = self.warm_start and hasattr(self, "coefs_")
        fit = self._prepare(X, y, sample_weight, goes_on)
        task = FitTask(self, fit.X, fit.y, fit.sample_weight)
        task.watch(fit.trainer, fit.attributes_if_stopped)
        self._train(fit)
        task.end()
        return self

    @available_if(trains_by_epochs)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train for one epoch, going on exactly where training stopped.

        k calls are the first k epochs of a `fit` on the same data. Each takes up the
        moments of the solver, the learning rate and the random stream of the one
        before. Parameters changed in between take effect, apart from `random_state`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, an indicator matrix of labels, or numbers.

        sample_weight : array-like of shape (n_samples,), or number, default=None
            Weights >= 0 of the samples.

        classes : array-like of shape (n_classes,), default=None
            Every class of all calls. A classifier needs them in the first call, as
            its y need not have them all.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, TypeError, KeyboardInterrupt
            As `fit`; without `classes` in the first call of a classifier, or with
            others than before; with early_stopping=True.
        """
        with _unchanged_on_failure(self):
            if self.early_stopping:
                raise ValueError(
                    "partial_fit does not support early_stopping=True. Use fit, or "
                    "early_stopping=False and score the model between the calls."
                )
            self._train(
                self._prepare(
                    X,
                    y,
                    sample_weight,
                    goes_on=hasattr(self, "coefs_"),
                    incremental=True,
                    classes=classes,
                )
            )
        return self

    def _prepare(
        self, X, y, sample_weight, goes_on, *, incremental=False, classes=None
    ):
        """Check and encode what the user gave; returns the `Fit`."""
        if not get_config()["skip_parameter_validation"]:
            self._validate_params()
        loss = resolve_loss(self.loss)
        X, y, sample_weight = check_samples(
            self,
            X,
            y,
            sample_weight,
            dtype=self.network_.dtype if goes_on else self._dtypes,
            reset=not goes_on,
            y_is_numeric=not loss.classifies,
        )
        if loss.classifies:
            distinct = distinct_labels(y)
            encoding = self._learn_labels(distinct, classes, goes_on, incremental)
            binarizer, classes = encoding["_label_binarizer"], encoding["classes_"]
            targets = label_targets(binarizer, classes, y, distinct, X.dtype)
        else:
            if classes is not None:
                raise ValueError(
                    f"classes={classes!r} is for classifiers, but loss={self.loss!r}."
                )
            encoding = {"out_activation_": loss.output}
            targets = number_targets(y, X.dtype, loss)
        return Fit(self, X, y, sample_weight, targets, encoding, goes_on, incremental)

    def _train(self, fit):
        """Train; what comes of it is kept if Ctrl-C cuts training short."""
        try:
            fit.train()
        except KeyboardInterrupt:
            self._keep(fit)
            raise
        self._keep(fit)

    def _keep(self, fit):
        for name in OPTIONAL:
            vars(self).pop(name, None)
        vars(self).update(fit.attributes())

    def _learn_labels(self, y, classes, goes_on, incremental):
        """Attributes that say which labels there are and what stands for them."""
        before = vars(self) if goes_on else {}
        known, binarizer = before.get("classes_"), before.get("_label_binarizer")
        if incremental:
            known = check_classes(classes, known)
        if binarizer is None:
            binarizer = learn_labels(y, known)
        elif not incremental:
            check_same_classes(y, known)
        return {
            "_label_binarizer": binarizer,
            "classes_": binarizer.classes_ if known is None else known,
            "out_activation_": label_output(binarizer),
        }


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
