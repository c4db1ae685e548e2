"""`FittedMLP`: what a fitted estimator can be asked, and how it is saved.

It predicts, shows what its network computes, and is pickled. It goes by the fitted
attributes; the parameters of training and the training itself are in `base.py`.

A fitted estimator consists of its parameters, plain numbers, strings, lists, arrays,
dataclasses of these, scikit-learn's binarizer of labels, and one `Network`, of which
`coefs_` and `intercepts_` are views. The network stays out of pickles and is built anew
from the two lists afterwards.
"""

import numpy as np
from scipy.special import log_expit, log_softmax
from sklearn.base import BaseEstimator
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from cbp.data.samples import check_samples
from cbp.data.targets import (
    distinct_labels,
    indicators,
    label_targets,
    labels,
    number_targets,
)
from cbp.functions.losses import classifies
from cbp.network.network import Network
from cbp.network.parameters import count_params
from cbp.training.threads import threads_for


def _loss(estimator):
    """The loss that was trained on, or will be: set_params must not mix them."""
    network = vars(estimator).get("_network")
    return estimator.loss if network is None else network.loss


def _predicts_classes(estimator):
    if not classifies(_loss(estimator)):
        raise AttributeError(
            "Probabilities of classes need loss='log_loss'; this "
            f"{type(estimator).__name__} has loss={_loss(estimator)!r}."
        )
    return True


class FittedMLP(BaseEstimator):
    """The part of `MLPEstimator` that goes by the fitted attributes."""

    # -- names of scikit-learn's own, which other packages read -------------------

    @property
    def _optimizer(self):
        if not self._state.moments:
            raise AttributeError("Only solvers that go by batches leave an _optimizer.")
        return self._state

    @property
    def _random_state(self):
        return self._state.rng

    # -- predict ---------------------------------------------------------------

    @property
    def network_(self):
        """The fitted `Network`, with the parameters in `coefs_` and `intercepts_`."""
        return self._current_network()

    def _current_network(self):
        """The network, which looks into the lists that the estimator has now."""
        network = vars(self).get("_network")
        if network is None or "coefs_" not in vars(self):
            check_is_fitted(self, ("coefs_", "intercepts_"))
        if network is None:
            network = self._network = self._network_of_attributes()
        elif self._describes_another(network):
            settings = {**network.settings, "output_activation": self.out_activation_}
            network = self._network = self._network_of_attributes(settings)
        if network.coefs_ is not self.coefs_:
            network.coefs_ = self.coefs_
        if network.intercepts_ is not self.intercepts_:
            network.intercepts_ = self.intercepts_
        return network

    def _describes_another(self, network):
        """Whether the user has given the attributes other sizes, or another output."""
        if self.out_activation_ != network.output_activation:
            return True
        if network.owns(self.coefs_, self.intercepts_):
            return False
        return _sizes(self.coefs_) != network.layer_sizes

    def _network_of_attributes(self, settings=None):
        """The network that `coefs_` and `intercepts_` describe, as after unpickling."""
        if settings is None:  # the attributes come from the user
            is_single = all(w.dtype == np.float32 for w in self.coefs_)
            settings = {
                "activation": self.activation,
                "output_activation": self.out_activation_,
                "loss": self.loss,
                "alpha": self.alpha,
                "dtype": np.float32 if is_single else np.float64,
            }
        sizes = _sizes(self.coefs_)
        network = Network(sizes, **settings, params=np.zeros(count_params(sizes)))
        network.set_weights(self.coefs_, self.intercepts_)
        return network

    def predict(self, X):
        """Labels of the classes, or the expected values.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)

        Raises
        ------
        ValueError
            If X does not fit what the estimator was trained on, or is not finite.
        """
        network = self._current_network()
        a = self._outputs(network, X)
        if network.C_0.classifies:
            return labels(self._label_binarizer, a)
        return a.ravel() if a.shape[1] == 1 else a

    @available_if(_predicts_classes)
    def predict_proba(self, X):
        """Probabilities of the classes. Classifiers only.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; rows sum to 1 unless y was multilabel.
        """
        a = self._outputs(self._current_network(), X)
        return np.concatenate((1 - a, a), axis=1) if a.shape[1] == 1 else a

    @available_if(_predicts_classes)
    def predict_log_proba(self, X):
        """Logarithms of `predict_proba`, finite where a probability rounds to 0.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
        """
        # What scikit-learn gives, ties of probabilities of 1 included, where it is
        # finite.
        p = self.predict_proba(X)
        rounded_off = p < np.finfo(p.dtype).tiny
        with np.errstate(divide="ignore"):
            log_p = np.log(p)
        if rounded_off.any():
            log_p[rounded_off] = self._exact_log_proba(X)[rounded_off]
        return log_p

    @available_if(_predicts_classes)
    def decision_function(self, X):
        """z^L, the logits of the classes. Classifiers only.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        z : ndarray of shape (n_samples,) or (n_samples, n_classes)
            What softmax makes probabilities of. For two classes the logit of the
            second, positive where it is predicted; multilabel, that of each label.
        """
        z = self._logits(X)
        return z.ravel() if z.shape[1] == 1 else z

    def _logits(self, X):
        network = self._current_network()
        X, n_threads = self._prepare_pass(X, network)
        return network.weighted_outputs(X, n_threads=n_threads)

    def _exact_log_proba(self, X):
        """The logarithms, from logits instead of probabilities."""
        z = self._logits(X)
        if self.network_.g[-1].couples:
            return log_softmax(z, axis=1)
        if z.shape[1] == 1:
            return np.hstack((log_expit(-z), log_expit(z)))
        return log_expit(z)

    # -- look inside -------------------------------------------------------------

    def backprop(self, X, y, sample_weight=None):
        """Forward and backward pass, with every quantity of the equations.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or numbers, as for `fit`.
        sample_weight : array-like of shape (n_samples,), or number, default=None

        Returns
        -------
        result : Backprop
            z, a and delta of every layer and sample, the gradients, and what follows
            from them: `chain_rule`, `sample_grad_norms`, `most_influential`.

        Raises
        ------
        ValueError, TypeError
            If X, y or the weights do not fit what the estimator was trained on.
        NotFittedError
            If it is not fitted.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from cbp import MLPClassifier
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> names = load_iris().target_names[y]
        >>> clf = MLPClassifier((5,), solver="lbfgs", random_state=0).fit(X, names)
        >>> clf.backprop(X, names).delta[2].shape
        (150, 3)
        """
        return self._current_network().backprop(
            *self.network_samples(X, y, sample_weight)
        )

    def hidden_activations(self, X, layer):
        """a^l, the activations of a hidden layer.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        layer : int
            l, from 1, the first hidden layer, to the number of hidden layers.

        Returns
        -------
        a : ndarray of shape (n_samples, n_l)

        Raises
        ------
        IndexError
            If there is no such hidden layer.
        ValueError
            If X does not fit what the estimator was trained on, or is not finite.
        """
        network = self._current_network()
        X, n_threads = self._prepare_pass(X, network)
        return network.hidden_activations(X, layer, n_threads=n_threads)

    def network_samples(self, X, y, sample_weight=None):
        """X, y and the weights as `network_` takes them.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or numbers, as for `fit`.
        sample_weight : array-like of shape (n_samples,), or number, default=None

        Returns
        -------
        X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        targets : ndarray of shape (n_samples, n_L)
            Labels as 0 and 1, for each output node.
        sample_weight : ndarray of shape (n_samples,) or None

        Raises
        ------
        ValueError, TypeError
            If they do not fit what the estimator was trained on.
        """
        network = self._current_network()
        loss = network.C_0
        X, y, sample_weight = check_samples(
            self,
            X,
            y,
            sample_weight,
            dtype=network.dtype,
            reset=False,
            y_is_numeric=not loss.classifies,
        )
        if not loss.classifies:
            return X, number_targets(y, X.dtype, loss), sample_weight
        distinct = distinct_labels(y)
        targets = label_targets(
            self._label_binarizer, self.classes_, y, distinct, X.dtype
        )
        return X, indicators(targets, len(self.classes_), X.dtype), sample_weight

    def score(self, X, y, sample_weight=None):
        """Accuracy of a classifier, R^2 of a regressor.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
        """
        metric = accuracy_score if classifies(_loss(self)) else r2_score
        return metric(y, self.predict(X), sample_weight=sample_weight)

    def _outputs(self, network, X):
        X, n_threads = self._prepare_pass(X, network)
        return network.forward(X, n_threads=n_threads)

    def _prepare_pass(self, X, network):
        """X as the network takes it, and in how many threads it is worth passing."""
        X = self._validate_X(X, network)
        return X, threads_for(X.shape[0] * network.n_params, self.n_jobs)

    def _validate_X(self, X, network):
        if (
            type(X) is np.ndarray
            and X.dtype == network.dtype
            and X.ndim == 2
            and X.shape[0] > 0
            and X.shape[1] == vars(self).get("n_features_in_")
            and "feature_names_in_" not in vars(self)
        ):
            # scikit-learn's check would find nothing in it, in several times the
            # time that a prediction takes.
            return X
        # The network has it in its own dtype, and looks whether it is finite.
        return validate_data(
            self,
            X,
            accept_sparse=["csr", "csc"],
            ensure_all_finite=False,
            reset=False,
        )

    # -- pickle and copy -------------------------------------------------------

    def __getstate__(self):
        state = dict(super().__getstate__())
        network = state.get("_network")
        if network is None:
            return state
        state["_network"] = network.settings
        if "_state" in state:
            params = self._current_network().copy_params()
            state["_state"] = self._state.saved_beside(params)
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        settings = state.get("_network")
        if settings is None:
            return
        self._network = network = self._network_of_attributes(settings)
        self.coefs_, self.intercepts_ = network.coefs_, network.intercepts_
        if "_state" in state:
            self._state = self._state.loaded_beside(network.params_)


def _sizes(coefs):
    """The layer sizes that the shapes of `coefs` imply."""
    if len(coefs) == 0 or any(np.ndim(w) != 2 for w in coefs):
        shapes = [np.shape(w) for w in coefs]
        raise ValueError(
            f"coefs_ has the shapes {shapes}; it must hold one matrix for each layer."
        )
    return (np.shape(coefs[0])[0], *(np.shape(w)[1] for w in coefs))
