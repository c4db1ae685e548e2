"""A multilayer perceptron as mathematics: sizes, functions, one vector of parameters.

`Network` is the door between NumPy users and the kernels. Above it everything is
checked; below it nothing can fail. It owns the parameters; the kernels own the
workspace; the caller owns everything that is passed in.

The estimators train a `Network`; a `Network` knows nothing of estimators.
"""

import os
import sys
from contextlib import contextmanager
from copy import copy
from importlib import import_module
from itertools import chain, pairwise
from numbers import Integral, Real
from operator import is_

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_random_state

from cbp.data.arrays import check_sample_weight, dense_array, sparse_rows
from cbp.functions.losses import resolve_functions
from cbp.network.backprop import Backprop, check_index

#: What is settled when a network is made.
SETTINGS = (
    *("layer_sizes", "activation", "output_activation", "loss", "alpha", "dtype"),
    *("g", "C_0"),
)

#: No network has more parameters: sizes of buffers, in bytes, cannot overflow.
MOST_PARAMS = sys.maxsize >> 16

#: Workspaces kept for the next call, as many as threads often call at once.
MOST_IDLE = 4

#: CBP_IMPLEMENTATION -> the module whose `Propagator` does the arithmetic.
IMPLEMENTATIONS = {
    "kernels": "cbp.kernels.propagator",
    "reference": "cbp.reference.propagator",
}


class Network:
    """A multilayer perceptron with its loss: forward pass and backpropagation.

    Parameters
    ----------
    layer_sizes : sequence of int
        n_0, ..., n_L: the number of inputs, of nodes in each hidden layer, of outputs.
    activation : str or record of `cbp.activations`, default='relu'
        g of the hidden layers: 'identity', 'logistic', 'tanh', 'relu', 'leaky_relu' or
        'gelu'.
    output_activation : str or record, default='identity'
        g of the output layer: one of the hidden activations, 'softmax' or 'exp'.
    loss : str or record of `cbp.losses`, default='squared_error'
        C_0 of one sample, summed over the outputs: 'squared_error' 1/2 (a - y)^2,
        'sum_of_squares' (a - y)^2, 'log_loss' (with logistic or softmax outputs),
        'poisson' (half the Poisson deviance, with exp outputs), 'huber' (with identity
        outputs, linear in large errors).
    alpha : float, default=0.0
        Strength of the L2 penalty: alpha/2 ||W||^2 / S is added to the loss, where
        S is the number of rows, or the sum of their weights. Intercepts go free.
    dtype : {numpy.float64, numpy.float32}, default=numpy.float64
        Type of the parameters and of the whole computation.
    random_state : int, RandomState instance or None, default=None
        Draws the initial parameters, layer by layer W then b, uniformly from
        +-sqrt(f / (n_{l-1} + n_l)) with f = 2 for logistic hidden layers, else 6
        (Glorot and Bengio 2010; scikit-learn's stream).
    params : array-like of shape (n_params,), default=None
        Parameters to begin with, which are copied, in the place of drawn ones.

    Attributes
    ----------
    params_ : ndarray of shape (n_params,)
        All parameters in one contiguous vector: the coefs of all layers (row-major),
        then the intercepts of all layers.
    coefs_ : list of ndarray of shape (n_{l-1}, n_l)
        w^l_jk is ``coefs_[l-1][k, j]``. Writable views of `params_`.
    intercepts_ : list of ndarray of shape (n_l,)
        b^l_j is ``intercepts_[l-1][j]``. Writable views of `params_`.
    n_params : int
        The number of parameters.
    g : tuple of L + 1 records of `cbp.activations`
        The activation function of each layer; ``g[0]`` is None.
    C_0 : record of `cbp.losses`
        The loss of one sample.

    Raises
    ------
    ValueError
        For an unknown name, a loss that is not defined for the output activation, a
        size below 1, a negative alpha.

    References
    ----------
    Rumelhart, Hinton and Williams, "Learning representations by back-propagating
    errors", Nature 323 (1986). Nielsen, "Neural Networks and Deep Learning" (2015),
    chapter 2, names the equations BP1 to BP4.

    Examples
    --------
    >>> import numpy as np
    >>> from cbp import Network
    >>> net = Network((2, 3, 1), activation="tanh", random_state=0)
    >>> X, y = np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([1.0, 0.0])
    >>> net.forward(X).shape
    (2, 1)
    >>> result = net.backprop(X, y)
    >>> [d.shape for d in result.delta[1:]]
    [(2, 3), (2, 1)]
    >>> loss, gradient = net.loss_and_grad(X, y)
    >>> gradient.shape == net.params_.shape
    True
    """

    def __init__(
        self,
        layer_sizes,
        *,
        activation="relu",
        output_activation="identity",
        loss="squared_error",
        alpha=0.0,
        dtype=np.float64,
        random_state=None,
        params=None,
    ):
        self.layer_sizes = _check_layer_sizes(layer_sizes)
        hidden, output, self.C_0 = resolve_functions(
            activation, output_activation, loss
        )
        self.g = (None, *[hidden] * (len(self.layer_sizes) - 2), output)
        # A record that the user holds may be given other parameters.
        self.activation, self.output_activation, self.loss = map(
            copy, (activation, output_activation, loss)
        )
        self.alpha = _check_alpha(alpha)
        self.dtype = _check_dtype(dtype)
        if params is None:
            params = self._draw_params(check_random_state(random_state), hidden.scale)
        else:
            params = np.array(self._check_params(params))
        self._own(params)

    def __setattr__(self, name, value):
        if name in SETTINGS and name in vars(self):
            raise AttributeError(
                f"{name} is settled when a Network is made; make another one with "
                f"{name}={value!r}."
            )
        super().__setattr__(name, value)

    @property
    def settings(self):
        """What `Network(layer_sizes, ...)` takes to make such a network, by name."""
        names = ("activation", "output_activation", "loss", "alpha")
        settings = {name: getattr(self, name) for name in names}
        return {**settings, "dtype": self.dtype.name}

    # -- parameters ------------------------------------------------------------

    def _draw_params(self, rng, factor):
        coefs, intercepts = [], []
        for n_in, n_out in pairwise(self.layer_sizes):
            bound = np.sqrt(factor / (n_in + n_out))
            coefs.append(rng.uniform(-bound, bound, n_in * n_out))
            intercepts.append(rng.uniform(-bound, bound, n_out))
        return np.concatenate(coefs + intercepts).astype(self.dtype, copy=False)

    def _own(self, params):
        """Make `params` the vector of this network and cut the views into it."""
        self._params, self.n_params = params, params.size
        self.coefs_, self.intercepts_ = self._views(params)
        self._own_views = [*self.coefs_, *self.intercepts_]
        self._idle_propagators = []

    @property
    def params_(self):
        """All parameters; assigning copies into the vector, which stays the same."""
        if not self.owns(self.coefs_, self.intercepts_):
            self.set_weights(self.coefs_, self.intercepts_)
        return self._params

    @params_.setter
    def params_(self, values):
        self.params_[...] = self._check_params(np.asarray(values))

    def copy_params(self):
        """All parameters in a vector of their own."""
        self._adopt_replaced_entries()
        return self._params.copy()

    def _views(self, flat):
        """Views into `flat`, shaped as the coefs and the intercepts."""
        coefs, intercepts, start = [], [], 0
        for n_in, n_out in pairwise(self.layer_sizes):
            coefs.append(flat[start : start + n_in * n_out].reshape(n_in, n_out))
            start += n_in * n_out
        for n_out in self.layer_sizes[1:]:
            intercepts.append(flat[start : start + n_out])
            start += n_out
        return coefs, intercepts

    def set_weights(self, coefs, intercepts):
        """Copy the given arrays into `params_`, as far as they are not its own views.

        `coefs_` and `intercepts_` are lists of views of `params_` afterwards.

        Parameters
        ----------
        coefs : list of L array-likes of shape (n_{l-1}, n_l)
        intercepts : list of L array-likes of shape (n_l,)

        Raises
        ------
        ValueError
            If the number of arrays or a shape does not fit `layer_sizes`; nothing
            is copied then.
        """
        self._read(coefs, intercepts)
        self._show_own_views()

    def owns(self, coefs, intercepts):
        """Whether these are the network's own views of `params_`, and no others."""
        if len(coefs) + len(intercepts) != len(self._own_views):
            return False
        return all(map(is_, chain(coefs, intercepts), self._own_views))

    def _show_own_views(self):
        n_layers = len(self.layer_sizes) - 1
        if not (isinstance(self.coefs_, list) and isinstance(self.intercepts_, list)):
            self.coefs_, self.intercepts_ = [], []
        # In place: a list that the user holds goes on to have effect.
        self.coefs_[:] = self._own_views[:n_layers]
        self.intercepts_[:] = self._own_views[n_layers:]

    def _adopt_replaced_entries(self):
        """What was put into `coefs_` and `intercepts_` goes into the vector.

        The user's arrays stay in the lists: what is written into them later has its
        effect at the next use. Only a view of the vector itself cannot stay, since it
        would be copied again, changed, at each use.
        """
        if self.owns(self.coefs_, self.intercepts_):
            return
        foreign = self._read(self.coefs_, self.intercepts_)
        if any(np.may_share_memory(array, self._params) for array in foreign):
            self._show_own_views()

    def _read(self, coefs, intercepts):
        """Copy the arrays into the vector unless they are its views; returns those."""
        n_layers = len(self.layer_sizes) - 1
        if len(coefs) != n_layers or len(intercepts) != n_layers:
            raise ValueError(
                f"coefs_ and intercepts_ have {len(coefs)} and {len(intercepts)} "
                f"entries; a network of sizes {self.layer_sizes} wants {n_layers}."
            )
        given = zip(self._own_views, [*coefs, *intercepts], strict=True)
        foreign = [
            (view, array, self._check_weights(i, array))
            for i, (view, array) in enumerate(given)
            if array is not view
        ]
        for view, _, checked in foreign:
            view[...] = checked
        return [array for _, array, _ in foreign]

    def _check_weights(self, i, array):
        """`array` as it can be copied into the i-th of the network's views."""
        n_layers, shape = len(self.layer_sizes) - 1, self._own_views[i].shape
        name = f"{'coefs_' if i < n_layers else 'intercepts_'}[{i % n_layers}]"
        array = dense_array(name, array, self.dtype, n_dims=(1, 2), finite=False)
        if array.shape != shape:
            raise ValueError(
                f"{name} has shape {array.shape}; a network of sizes "
                f"{self.layer_sizes} wants {shape}."
            )
        # Another view of the parameters would change while they are written.
        return array.copy() if np.may_share_memory(array, self._params) else array

    def __getstate__(self):
        self._adopt_replaced_entries()
        sizes = {"layer_sizes": self.layer_sizes}
        return {**sizes, **self.settings, "params_": self._params}

    def __setstate__(self, state):
        settings = dict(state)
        self.__init__(params=settings.pop("params_"), **settings)

    def __repr__(self):
        return (
            f"Network({self.layer_sizes}, activation={self.activation!r}, "
            f"output_activation={self.output_activation!r}, loss={self.loss!r}, "
            f"alpha={self.alpha!r}, dtype=numpy.{self.dtype.name})"
        )

    # -- passes ----------------------------------------------------------------

    def forward(self, X, *, n_threads=1):
        """Forward pass.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, n_0)
        n_threads : int, default=1
            Threads at most; the result is the same for any number.

        Returns
        -------
        a : ndarray of shape (n, n_L)
            a^L, the activations of the output layer.

        Raises
        ------
        ValueError
            If X is not two-dimensional, has another number of columns, or holds NaN
            or infinity.
        """
        X = self._check_X(X, min_rows=0)
        a_out = np.empty((X.shape[0], self.layer_sizes[-1]), self.dtype)
        if n_threads > 1:
            self.make_propagator(n_threads).forward(self._params, X, a_out)
            return a_out
        # Without `with`, which takes a tenth of the time that one row does.
        propagator = self._take_propagator()
        propagator.forward(self._params, X, a_out)
        self._put_back(propagator)
        return a_out

    def backprop(self, X, y, sample_weight=None):
        """Forward and backward pass, with every quantity of the equations.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, n_0)
        y : array-like of shape (n, n_L), or (n,) if n_L is 1
            Targets. For log_loss 0 or 1; with softmax one 1 in every row.
        sample_weight : array-like of shape (n,), default=None

        Returns
        -------
        Backprop

        Raises
        ------
        ValueError
            If a shape does not fit, X or y is empty or not finite, y is outside the
            domain of the loss, or the weights are negative or sum to 0.
        """
        X, y, sample_weight = self._check_samples(X, y, sample_weight)
        n = X.shape[0]
        sample_losses = np.empty(n, self.dtype)
        # Dense, it would be far larger than a sparse X.
        input_grads = None if issparse(X) else np.empty(X.shape, self.dtype)
        z, a, delta = (
            [np.empty((n, width), self.dtype) for width in self.layer_sizes[1:]]
            for _ in range(3)
        )
        gradient = np.empty_like(self._params)
        with self.propagator() as propagator:
            propagator.inspect(
                self._params, X, y, sample_losses, z, a, delta, input_grads
            )
            loss = propagator.loss_and_grad(self._params, X, y, sample_weight, gradient)
        return Backprop(
            loss,
            sample_losses,
            [None, *z],
            [X, *a],
            [None, *delta],
            *self._views(gradient),
            input_grads,
            y.copy(),
            None if sample_weight is None else sample_weight.copy(),
            copy(self),
        )

    def loss_and_grad(self, X, y, sample_weight=None, *, params=None, grad_out=None):
        """Loss and its gradient in all parameters, as any optimiser can call it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, n_0)
        y : array-like of shape (n, n_L), or (n,) if n_L is 1
        sample_weight : array-like of shape (n,), default=None
        params : array-like of shape (n_params,), default=None
            Where to evaluate, laid out as `params_`; `params_` itself by default.
        grad_out : ndarray of shape (n_params,), default=None
            Receives the gradient; must be contiguous, of the network's dtype, and
            share no memory with the parameters. A new array by default.

        Returns
        -------
        loss : float
        gradient : ndarray of shape (n_params,)

        Raises
        ------
        ValueError
            As `backprop`, or if `params` or `grad_out` do not fit.

        Examples
        --------
        >>> import numpy as np
        >>> from scipy.optimize import minimize
        >>> from cbp import Network
        >>> X, y = np.eye(4), np.array([0.0, 1.0, 1.0, 0.0])
        >>> net = Network((4, 3, 1), activation="tanh", random_state=0)
        >>> result = minimize(
        ...     lambda params: net.loss_and_grad(X, y, params=params),
        ...     net.params_, jac=True, method="L-BFGS-B",
        ... )
        >>> bool(result.fun < 1e-6)
        True
        """
        X, y, sample_weight = self._check_samples(X, y, sample_weight)
        params = self._check_params(params)
        grad_out = self._check_grad_out(grad_out, params)
        with self.propagator() as propagator:
            loss = propagator.loss_and_grad(params, X, y, sample_weight, grad_out)
        return loss, grad_out

    def weighted_outputs(self, X, *, n_threads=1):
        """z^L, what the output activation is applied to: logits, of a classifier.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, n_0)
        n_threads : int, default=1
            Threads at most; the result is the same for any number.

        Returns
        -------
        z : ndarray of shape (n, n_L)

        Raises
        ------
        ValueError
            As `forward`.
        """
        X = self._check_X(X, min_rows=0)
        self._adopt_replaced_entries()
        z_out = np.empty((X.shape[0], self.layer_sizes[-1]), self.dtype)
        # With the identity for an output activation a^L is z^L.
        linear = self._propagator_of("identity", "squared_error", n_threads)
        linear.forward(self._params, X, z_out)
        return z_out

    def hidden_activations(self, X, layer, *, n_threads=1):
        """a^l, the activations of a hidden layer.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, n_0)
        layer : int
            l, from 1 to L - 1.
        n_threads : int, default=1
            Threads at most; the result is the same for any number.

        Returns
        -------
        a : ndarray of shape (n, n_l)

        Raises
        ------
        IndexError
            If there is no such hidden layer.
        ValueError
            As `forward`.
        """
        n_hidden = len(self.layer_sizes) - 2
        if n_hidden == 0:
            raise IndexError(f"layer={layer!r}: this network has no hidden layer.")
        check_index("layer", layer, 1, n_hidden, "hidden layers")
        return self._cut_after(layer).forward(X, n_threads=n_threads)

    def _cut_after(self, layer):
        """The network whose output is the activation of a hidden layer of this one."""
        self._adopt_replaced_entries()
        coefs, intercepts = self._views(self._params)
        kept = [*coefs[:layer], *intercepts[:layer]]
        return Network(
            self.layer_sizes[: layer + 1],
            activation=self.activation,
            output_activation=self.activation,
            dtype=self.dtype,
            params=np.concatenate([array.ravel() for array in kept]),
        )

    @contextmanager
    def propagator(self):
        """Lend a `Propagator` of the chosen implementation with its workspace.

        Calls at the same time, from several threads, get one each.
        """
        propagator = self._take_propagator()
        yield propagator
        self._put_back(propagator)

    def _take_propagator(self):
        self._adopt_replaced_entries()
        try:
            return self._idle_propagators.pop()
        except IndexError:
            return self._propagator_of(self.output_activation, self.loss, 1)

    def _put_back(self, propagator):
        if len(self._idle_propagators) < MOST_IDLE and not propagator.in_training:
            self._idle_propagators.append(propagator)

    def make_propagator(self, n_threads=1):
        """A new `Propagator`, whose workspace goes when it goes: for long calls."""
        self._adopt_replaced_entries()
        return self._propagator_of(self.output_activation, self.loss, n_threads)

    def _propagator_of(self, output_activation, loss, n_threads):
        propagator = _implementation().Propagator(
            self.layer_sizes,
            self.activation,
            output_activation,
            loss,
            self.alpha,
            self.dtype,
        )
        propagator.use_threads(n_threads)
        return propagator

    # -- the checking door -----------------------------------------------------

    def _check_X(self, X, min_rows=1):
        if issparse(X):
            X = sparse_rows(X, self.dtype)
        else:
            X = dense_array("X", X, self.dtype, n_dims=(2,))
        if X.shape[1] != self.layer_sizes[0]:
            raise ValueError(
                f"X has {X.shape[1]} columns; the network has {self.layer_sizes[0]} "
                "inputs. Give one column per input."
            )
        if X.shape[0] < min_rows:
            raise ValueError("X is empty; give at least one sample.")
        return X

    def _check_samples(self, X, y, sample_weight):
        X = self._check_X(X)
        y = dense_array("y", y, self.dtype, n_dims=(1, 2))
        if y.ndim == 1 and self.layer_sizes[-1] == 1:
            y = y.reshape(-1, 1)
        if y.shape != (X.shape[0], self.layer_sizes[-1]):
            raise ValueError(
                f"y has shape {y.shape}; X has {X.shape[0]} rows and the network "
                f"{self.layer_sizes[-1]} outputs, so it must be "
                f"{(X.shape[0], self.layer_sizes[-1])}."
            )
        self.C_0.check_targets(self.g[-1], y)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X.shape[0], self.dtype)
        return X, np.ascontiguousarray(y), sample_weight

    def _check_params(self, params):
        if params is None:
            return self._params
        # An optimiser may try parameters that are not finite; the loss then tells it.
        params = dense_array("params", params, self.dtype, n_dims=(1,), finite=False)
        n_params = count_params(self.layer_sizes)
        if params.shape != (n_params,):
            raise ValueError(
                f"params has shape {params.shape}; a network of sizes "
                f"{self.layer_sizes} has {n_params} parameters."
            )
        return np.ascontiguousarray(params)

    def _check_grad_out(self, grad_out, params):
        if grad_out is None:
            return np.empty_like(self._params)
        if not (
            isinstance(grad_out, np.ndarray)
            and grad_out.dtype == self.dtype
            and grad_out.shape == self._params.shape
            and grad_out.flags.carray
        ):
            raise ValueError(
                f"grad_out must be a writable, contiguous array of shape "
                f"{self._params.shape} and dtype {self.dtype}."
            )
        for used in (params, self._params):
            if np.may_share_memory(grad_out, used):
                raise ValueError(
                    "grad_out shares memory with the parameters; give another array."
                )
        return grad_out


def _implementation():
    name = os.environ.get("CBP_IMPLEMENTATION") or "kernels"
    _check_name("CBP_IMPLEMENTATION", name, tuple(IMPLEMENTATIONS))
    return import_module(IMPLEMENTATIONS[name])


def _check_name(what, name, names):
    if not isinstance(name, str) or name not in names:
        raise ValueError(f"{what}={name!r} is unknown; it must be one of {names}.")
    return name


def count_params(layer_sizes):
    """The number of parameters of a network of these sizes."""
    return sum((int(n_in) + 1) * int(n_out) for n_in, n_out in pairwise(layer_sizes))


def _check_layer_sizes(layer_sizes):
    try:
        sizes = tuple(layer_sizes)
    except TypeError as error:
        raise TypeError(
            f"layer_sizes={layer_sizes!r} must be a sequence: n_0, ..., n_L."
        ) from error
    if len(sizes) < 2:
        raise ValueError(
            f"layer_sizes={sizes} has {len(sizes)} entries; it needs at least the "
            "number of inputs and the number of outputs."
        )
    for size in sizes:
        if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
            raise ValueError(f"layer_sizes={sizes} must hold integers >= 1 only.")
    if count_params(sizes) > MOST_PARAMS:
        raise ValueError(
            f"layer_sizes={sizes} means more parameters than can be addressed."
        )
    return tuple(int(size) for size in sizes)


def _check_alpha(alpha):
    if not isinstance(alpha, Real) or not 0 <= alpha < np.inf:
        raise ValueError(f"alpha={alpha!r} must be a finite number >= 0.")
    return float(alpha)


def _check_dtype(dtype):
    try:
        known = None if dtype is None else np.dtype(dtype)
    except TypeError:
        known = None
    if known is None or known not in (np.float32, np.float64):
        raise ValueError(f"dtype={dtype!r} must be numpy.float32 or numpy.float64.")
    return known
