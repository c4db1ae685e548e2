"""`MLPEstimator`: scikit-learn's API over a network.

Holds the parameters, checks and encodes what users give, has it trained. No arithmetic
of networks here: `fit.Fit` sees to the training, `fitted.FittedMLP`, its base, has
what a fitted estimator can be asked. `MLPClassifier` and `MLPRegressor` are the special
cases with scikit-learn's signatures.
"""

from contextlib import contextmanager

import numpy as np
from sklearn import get_config
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import ClassifierTags, RegressorTags
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
from cbp.estimators.parameters import documented
from cbp.functions.losses import classifies, resolve_loss, said_of
from cbp.training.solvers import is_stochastic


def trains_by_epochs(estimator):
    if not is_stochastic(estimator.solver):
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. "
            f"{estimator.solver} is not stochastic; use solver='adam' or 'sgd'."
        )
    return True


@documented()
class MLPEstimator(CallbackSupportMixin, FittedMLP):
    """Multilayer perceptron whose loss decides what it predicts.

    With ``loss="log_loss"`` a classifier (binary, multiclass or multilabel), with any
    other loss a regressor (of one or several outputs). Trained in compiled kernels by
    minibatches with Adam or SGD, or by L-BFGS, in the dtype of X: float32 stays
    float32. With the same `random_state` and float64 data the model is that of
    scikit-learn's ``MLPClassifier`` or ``MLPRegressor`` up to rounding.

    Parameters
    ----------
    %(parameters)s

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes. Classifiers only.

    %(attributes)s

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
            tags.target_tags.positive_only = said_of(self.loss, "positive_only")
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
        attributes = fit.attributes()
        for name in OPTIONAL:
            vars(self).pop(name, None)
        vars(self).update(attributes)

    def _learn_labels(self, y, classes, goes_on, incremental):
        """Attributes that say which labels there are and what stands for them."""
        known = binarizer = None
        if goes_on:
            known = getattr(self, "classes_", None)
            binarizer = getattr(self, "_label_binarizer", None)
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
