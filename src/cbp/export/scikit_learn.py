"""Fitted estimators between scikit-learn's classes and cbp's.

Both keep the same attributes in the same layout, so a conversion copies them. What is
private to one side, the state of its solver, stays behind: the first `partial_fit` or
warm-started `fit` after a conversion begins with new moments.
"""

import inspect
import math
from copy import deepcopy

import numpy as np
from sklearn import neural_network
from sklearn.utils.validation import check_is_fitted

from cbp.estimators.base import MLPEstimator
from cbp.estimators.classifier import MLPClassifier
from cbp.estimators.regressor import MLPRegressor
from cbp.functions.activations import resolve_activation
from cbp.training.history import History
from cbp.training.solvers import is_stochastic
from cbp.training.state import TrainingState

#: scikit-learn's class -> ours.
COUNTERPARTS = {
    neural_network.MLPClassifier: MLPClassifier,
    neural_network.MLPRegressor: MLPRegressor,
}

#: The losses and activations that scikit-learn has.
LOSSES = ("squared_error", "poisson", "log_loss")
ACTIVATIONS = ("identity", "logistic", "tanh", "relu")

#: What a fit leaves for its user on both sides, and what ONNX converters read.
ATTRIBUTES = (
    *("classes_", "coefs_", "intercepts_", "loss_", "best_loss_", "loss_curve_"),
    *("validation_scores_", "best_validation_score_", "n_iter_", "t_", "n_layers_"),
    *("n_outputs_", "out_activation_", "n_features_in_", "feature_names_in_"),
    "_label_binarizer",
)


def from_sklearn(estimator):
    """The cbp estimator that predicts as `estimator` does.

    Parameters
    ----------
    estimator : sklearn.neural_network.MLPClassifier or MLPRegressor
        Fitted. It is left as it is, and shares no array with the result.

    Returns
    -------
    converted : MLPClassifier or MLPRegressor
        With the same parameters and fitted attributes. Further training begins with
        new moments of the solver.

    Raises
    ------
    TypeError
        If `estimator` is of another class.
    NotFittedError
        If it is not fitted: there is nothing to convert.

    See Also
    --------
    to_sklearn : The reverse.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from cbp import from_sklearn
    >>> X, y = load_iris(return_X_y=True)
    >>> theirs = MLPClassifier((5,), solver="lbfgs", random_state=0).fit(X, y)
    >>> ours = from_sklearn(theirs)
    >>> bool((ours.predict(X) == theirs.predict(X)).all())
    True
    """
    for theirs, ours in COUNTERPARTS.items():
        if isinstance(estimator, theirs):
            check_is_fitted(estimator, "coefs_")
            converted = ours(**_params(estimator, ours))
            _copy_fitted(estimator, converted)
            if not is_stochastic(converted.solver):
                # Of which scikit-learn records the last loss only.
                converted.loss_curve_, converted.best_loss_ = [], converted.loss_
                converted.validation_scores_ = None
                converted.best_validation_score_ = None
            # Made while the parameters are those of the fit.
            converted._network = converted.network_
            converted._state = TrainingState(history=_history(converted))
            return converted
    raise TypeError(
        f"from_sklearn takes an MLPClassifier or MLPRegressor of scikit-learn, not "
        f"{type(estimator).__name__}; of a pipeline give the step."
    )


def _history(fitted):
    """The history that the attributes of a fit tell of."""
    best_loss = fitted.best_loss_
    return History(
        loss_curve=fitted.loss_curve_,
        best_loss=math.inf if best_loss is None else best_loss,
        validation_scores=fitted.validation_scores_ or [],
        n_iter=fitted.n_iter_,
        t=fitted.t_,
    )


def to_sklearn(estimator):
    """The estimator of scikit-learn that predicts as `estimator` does.

    For colleagues without cbp, and for tools that know scikit-learn's classes only.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor or MLPEstimator
        Fitted. It is left as it is, and shares no array with the result.

    Returns
    -------
    converted : sklearn.neural_network.MLPClassifier or MLPRegressor
        With the same parameters, but for `n_jobs` and `record`, and fitted attributes.
        Further training begins with new moments of the solver; scikit-learn refuses it
        if it lacks the solver or the schedule.

    Raises
    ------
    TypeError
        If `estimator` is of another class.
    ValueError
        If scikit-learn lacks the loss or the activation.
    NotFittedError
        If it is not fitted: there is nothing to convert.

    See Also
    --------
    from_sklearn : The reverse.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from cbp import MLPClassifier, to_sklearn
    >>> X, y = load_iris(return_X_y=True)
    >>> ours = MLPClassifier((5,), solver="lbfgs", random_state=0).fit(X, y)
    >>> theirs = to_sklearn(ours)
    >>> bool((ours.predict(X) == theirs.predict(X)).all())
    True
    """
    if not isinstance(estimator, MLPEstimator):
        raise TypeError(
            f"to_sklearn takes an MLPClassifier, MLPRegressor or MLPEstimator of cbp, "
            f"not {type(estimator).__name__}; of a pipeline give the step."
        )
    check_is_fitted(estimator, "coefs_")
    network = estimator.network_
    _check_is_known("loss", network.C_0, LOSSES)
    activation = resolve_activation(network.activation)
    _check_is_known("activation", activation, ACTIVATIONS)
    is_classifier = network.C_0.classifies
    theirs = (
        neural_network.MLPClassifier if is_classifier else neural_network.MLPRegressor
    )
    # scikit-learn reads these when it predicts, ours did when it was trained.
    settled = {"activation": activation.name, "loss": network.C_0.name}
    settled |= _named("solver", estimator.solver)
    settled |= _named("learning_rate", estimator.learning_rate)
    params = _params(estimator, theirs)
    converted = theirs(**{name: settled.get(name, params[name]) for name in params})
    _copy_fitted(estimator, converted)
    # What scikit-learn's own fit leaves for a further one.
    converted._no_improvement_count = 0
    converted._best_coefs = [w.copy() for w in converted.coefs_]
    converted._best_intercepts = [b.copy() for b in converted.intercepts_]
    return converted


def _check_is_known(what, record, known):
    if record.name not in known:
        raise ValueError(
            f"scikit-learn has no {what}={record.name!r}, but {' and '.join(known)}: "
            "train with one of these to convert."
        )


def _named(parameter, given):
    """A record as its name and the parameters that go with it."""
    if isinstance(given, str):
        return {}
    return {parameter: given.name, **given.get_params()}


def _params(source, target_class):
    """The parameters of `source` that the other side knows.

    One that an older scikit-learn made may lack some. Generators are copied, as
    training draws from them.
    """
    names = inspect.signature(target_class).parameters
    return {
        name: deepcopy(vars(source)[name]) for name in names if name in vars(source)
    }


def _copy_fitted(source, target):
    """Give `target` copies of the fitted attributes of `source`."""
    for name in ATTRIBUTES:
        if name in vars(source):
            setattr(target, name, deepcopy(getattr(source, name)))
    target.coefs_ = [np.array(w) for w in source.coefs_]
    target.intercepts_ = [np.array(b) for b in source.intercepts_]
