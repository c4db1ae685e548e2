"""`MLPClassifier`: the estimator with scikit-learn's signature for classification."""

from sklearn.base import ClassifierMixin

from cbp.estimators.base import MLPEstimator
from cbp.estimators.parameters import PARAMETERS, documented


@documented()
class MLPClassifier(ClassifierMixin, MLPEstimator):
    """Multilayer perceptron for classification.

    Stands in for ``sklearn.neural_network.MLPClassifier``: same parameters,
    attributes and, in float64 and with the same `random_state`, the same model up to
    rounding. Minimises the log loss, with a logistic output for two classes, logistic
    outputs for an indicator matrix of labels, softmax outputs for several classes.

    Parameters
    ----------
    %(parameters)s

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes.

    %(attributes)s

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
        given = dict(locals())
        params = {name: given[name] for name in PARAMETERS if name != "loss"}
        super().__init__(loss="log_loss", **params)

    def __sklearn_tags__(self):
        # ClassifierMixin has put its own tags in the place of MLPEstimator's.
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
