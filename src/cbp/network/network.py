"""A multilayer perceptron as mathematics: sizes, functions, one vector of parameters.

`Network` is the door between NumPy users and the kernels. Above it everything is
checked; below it nothing can fail. It owns the parameters; the kernels own the
workspace; the caller owns everything that is passed in.

The estimators train a `Network`; a `Network` knows nothing of estimators.
"""

import sys
from contextlib import contextmanager
from copy import copy
from numbers import Integral, Real

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_random_state

from cbp.data.arrays import check_sample_weight, dense_array, sparse_rows
from cbp.functions.losses import resolve_functions
from cbp.network.backprop import Backprop, check_index
from cbp.network.lending import Pool, new_propagator
from cbp.network.parameters import Parameters, count_params, draw_params, views

#: What is settled when a network is made.
SETTINGS = (
    *("layer_sizes", "activation", "output_activation", "loss", "alpha", "dtype"),
    *("g", "C_0"),
)

#: No network has more parameters: sizes of buffers, in bytes, cannot overflow.
MOST_PARAMS = sys.maxsize >> 16


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
            rng = check_random_state(random_state)
            params = draw_params(self.layer_sizes, rng, hidden.scale)
            params = params.astype(self.dtype, copy=False)
        else:
            params = np.array(self._check_params(params))
        self.n_params = params.size
        self._parameters = Parameters(self.layer_sizes, params)
        self.coefs_ = list(self._parameters.coefs)
        self.intercepts_ = list(self._parameters.intercepts)
        functions = self.activation, self.output_activation, self.loss
        self._spec = self.layer_sizes, *functions, self.alpha, self.dtype
        self._pool = Pool(*self._spec)

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

    @property
    def params_(self):
        """All parameters; assigning copies into the vector, which stays the same."""
        if not self.owns(self.coefs_, self.intercepts_):
            self.set_weights(self.coefs_, self.intercepts_)
        return self._parameters.vector

    @params_.setter
    def params_(self, values):
        self.params_[...] = self._check_params(np.asarray(values))

    def copy_params(self):
        """All parameters in a vector of their own."""
        return self._current_params().copy()

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
        self._parameters.read(coefs, intercepts)
        self._show_own_views()

    def owns(self, coefs, intercepts):
        """Whether these are the network's own views of `params_`, and no others."""
        return self._parameters.are(coefs, intercepts)

    def _show_own_views(self):
        if not (isinstance(self.coefs_, list) and isinstance(self.intercepts_, list)):
            self.coefs_, self.intercepts_ = [], []
        # In place: a list that the user holds goes on to have effect.
        self.coefs_[:] = self._parameters.coefs
        self.intercepts_[:] = self._parameters.intercepts

    def _current_params(self):
        """The vector, with what was put into `coefs_` and `intercepts_` since.

        The user's arrays stay in the lists: what is written into them later has its
        effect at the next use. Only a view of the vector itself cannot stay, since it
        would be copied again, changed, at each use.
        """
        parameters = self._parameters
        if not parameters.are(self.coefs_, self.intercepts_):
            foreign = parameters.read(self.coefs_, self.intercepts_)
            if parameters.shares_memory(foreign):
                self._show_own_views()
        return parameters.vector

    def __getstate__(self):
        sizes = {"layer_sizes": self.layer_sizes}
        return {**sizes, **self.settings, "params_": self._current_params()}

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
            self.make_propagator(n_threads).forward(self._current_params(), X, a_out)
            return a_out
        # Without `with`, which takes a tenth of the time that one row does.
        propagator = self._pool.take()
        propagator.forward(self._current_params(), X, a_out)
        self._pool.put_back(propagator)
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
        params = self._current_params()
        gradient = np.empty_like(params)
        with self.propagator() as propagator:
            propagator.inspect(params, X, y, sample_losses, z, a, delta, input_grads)
            loss = propagator.loss_and_grad(params, X, y, sample_weight, gradient)
        return Backprop(
            loss,
            sample_losses,
            [None, *z],
            [X, *a],
            [None, *delta],
            *views(self.layer_sizes, gradient),
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
        z_out = np.empty((X.shape[0], self.layer_sizes[-1]), self.dtype)
        # With the identity for an output activation a^L is z^L.
        sizes, g, _, _, *rest = self._spec
        spec = sizes, g, "identity", "squared_error", *rest
        linear = new_propagator(*spec, n_threads=n_threads)
        linear.forward(self._current_params(), X, z_out)
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
        coefs, intercepts = views(self.layer_sizes, self._current_params())
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
        propagator = self._pool.take()
        yield propagator
        self._pool.put_back(propagator)

    def make_propagator(self, n_threads=1):
        """A new `Propagator`, whose workspace goes when it goes: for long calls."""
        return new_propagator(*self._spec, n_threads=n_threads)

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
            return self._current_params()
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
            return np.empty_like(self._parameters.vector)
        if not (
            isinstance(grad_out, np.ndarray)
            and grad_out.dtype == self.dtype
            and grad_out.shape == self._parameters.vector.shape
            and grad_out.flags.carray
        ):
            raise ValueError(
                f"grad_out must be a writable, contiguous array of shape "
                f"{self._parameters.vector.shape} and dtype {self.dtype}."
            )
        for used in (params, self._parameters.vector):
            if np.may_share_memory(grad_out, used):
                raise ValueError(
                    "grad_out shares memory with the parameters; give another array."
                )
        return grad_out


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
