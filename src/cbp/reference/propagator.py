# ruff: noqa: E741 - l is the layer, as in the equations
"""The reference's `Propagator`: checks arrays, has the equations do the work, writes.

The compiled kernels have a class of the same name and methods, which owns a workspace;
this one owns lists of Python floats while training is under way, and nothing else.
"""

import time
from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse

from cbp.reference.equations import (
    Net,
    Sums,
    add_signals,
    backward,
    forward,
    gradient_norms,
    input_gradient,
    mean_loss_and_gradient,
    no_sums,
    sample_loss,
    summary_of,
    update_ratio,
)


def unpack(sizes, flat):
    """w and b from the list W^1, ..., W^L, b^1, ..., b^L; W^l has row k, column j."""
    w, b, start = [None], [None], 0
    for l in range(1, len(sizes)):
        n_k, n_j = sizes[l - 1], sizes[l]
        w.append([[flat[start + k * n_j + j] for k in range(n_k)] for j in range(n_j)])
        start += n_k * n_j
    for n_j in sizes[1:]:
        b.append(flat[start : start + n_j])
        start += n_j
    return w, b


def pack(sizes, w, b):
    """The inverse of `unpack`."""
    flat = []
    for l in range(1, len(sizes)):
        for k in range(sizes[l - 1]):
            for j in range(sizes[l]):
                flat.append(w[l][j][k])
    for l in range(1, len(sizes)):
        flat.extend(b[l])
    return flat


def read_row(X, i):
    """x of sample i, as Python floats; a row of a sparse X is made dense."""
    return (X[[i]].toarray()[0] if issparse(X) else X[i]).tolist()


def read_target(net, y, i):
    """y of sample i, as Python floats; the code j of a class means y_j = 1, else 0."""
    if y.ndim == 1:
        return [1.0 if j == y[i] else 0.0 for j in range(net.sizes[-1])]
    return y[i].tolist()


def read_samples(net, X, y, sample_weight, rows):
    """(x, y, v) of every sample in rows, as Python floats, and S."""
    samples, S = [], 0.0
    for i in rows:
        v = 1.0 if sample_weight is None else float(sample_weight[i])
        samples.append((read_row(X, i), read_target(net, y, i), v))
        S += v
    return samples, S


def write(out, values):
    """Store Python floats; what is too large for `out` becomes inf, unwarned."""
    with np.errstate(over="ignore"):
        out[...] = values


def check(name, array, shape, dtype, written=False):
    """Refuse an array that the compiled kernels could not use as it lies in memory."""
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        got = getattr(array, "dtype", type(array).__name__)
        raise TypeError(f"{name} must be a numpy array of {np.dtype(dtype)}, got {got}")
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if not array.flags.aligned:
        raise ValueError(f"{name} must be aligned in memory; pass a copy")
    # The rows of X may lie at any distance from each other.
    if not (array[:1] if name == "X" else array).flags.c_contiguous:
        raise ValueError(
            f"{name} must be contiguous, got strides {array.strides}; "
            f"pass numpy.ascontiguousarray({name})"
        )
    if written and not array.flags.writeable:
        raise ValueError(f"{name} must be writable, got a read-only array; pass a copy")


def check_csr(X, shape, dtype):
    """Refuse a sparse X of another format, dtype or shape."""
    if X.format != "csr" or X.dtype != dtype:
        raise TypeError(
            f"X must be CSR of {np.dtype(dtype)}, got {X.format} of {X.dtype}"
        )
    if X.shape != shape:
        raise ValueError(f"X must have shape {shape}, got {X.shape}")


class Progress(NamedTuple):
    """Training after a finished batch; replaced as a whole, so an interrupt is safe."""

    params: list
    moments: list
    steps: int
    loss: float  # sum of C times the rows of its batch
    rows: int  # of the batches with any weight
    batches: int
    sums: Sums


class Propagator:
    """The equations for arrays of samples and one flat vector of parameters.

    The compiled kernels have a class of the same name and methods. Arrays are
    C-contiguous and of `dtype`, n is the number of rows of X, and arguments named
    `_out` are filled. X may also be a SciPy matrix in CSR form, and y, with log_loss on
    softmax outputs, the code of each row's class, from 0 on, in int32 (n,). An argument
    that is not as described raises TypeError (no array, or of another dtype) or
    ValueError.

    Parameters
    ----------
    layer_sizes : tuple of int
        (n_0, ..., n_L), L >= 1.
    activation, output_activation : str or Activation
    loss : str or Loss
        Of the hidden layers, of layer L, and C_0; as in `functions`.
    alpha : float
        Strength of the penalty on the weights.
    dtype : numpy.float32 or numpy.float64
        Of all arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from cbp.reference.propagator import Propagator
    >>> p = Propagator((2, 1), "relu", "identity", "squared_error", 0.0, np.float64)
    >>> params, grad = np.array([1.0, 2.0, 3.0]), np.empty(3)
    >>> p.loss_and_grad(params, np.array([[1.0, 1.0]]), np.array([[4.0]]), None, grad)
    2.0
    >>> grad
    array([2., 2., 2.])
    """

    def __init__(self, layer_sizes, activation, output_activation, loss, alpha, dtype):
        functions = activation, output_activation, loss
        self._net = Net.of(layer_sizes, *functions, alpha)
        n = self._net.sizes
        self._dtype = np.dtype(dtype)
        self._n_params = sum((n[l - 1] + 1) * n[l] for l in range(1, len(n)))
        self._solver = self._training = self._epoch = self._progress = None
        self._sums_up, self._sums = False, None

    def use_threads(self, n_threads, work_per_thread=0.0):
        """Take up to `n_threads` threads from now on; here there is always one."""
        if n_threads < 1:
            raise ValueError(f"n_threads={n_threads} must be at least 1.")
        self.n_threads = n_threads

    def forward(self, params, X, a_out):
        """a^L of every row of X, into a_out (n, n_L)."""
        w, b = self._unpack(params)
        n = self._check_data(X)
        check("a_out", a_out, (n, self._net.sizes[-1]), self._dtype, written=True)
        for i in range(n):
            _, a = forward(self._net, w, b, read_row(X, i))
            write(a_out[i], a[-1])

    def inspect(
        self, params, X, y, sample_losses_out, z_out, a_out, delta_out, input_grads_out
    ):
        """Every quantity of every sample, without sample weights and penalty.

        sample_losses_out (n,) and input_grads_out (n, n_0), or None, are arrays; z_out,
        a_out and delta_out are lists of L arrays (n, n_l), that of layer l at l-1.
        """
        net, layers = self._net, range(1, len(self._net.sizes))
        w, b = self._unpack(params)
        n = self._check_data(X, y)
        check("sample_losses_out", sample_losses_out, (n,), self._dtype, written=True)
        if input_grads_out is not None:
            check(
                "input_grads_out", input_grads_out, X.shape, self._dtype, written=True
            )
        for name, out in (("z_out", z_out), ("a_out", a_out), ("delta_out", delta_out)):
            if len(out) != len(layers):
                raise ValueError(f"{name} must be {len(layers)} arrays, got {len(out)}")
            for l in layers:
                shape = (n, net.sizes[l])
                check(f"{name}[{l - 1}]", out[l - 1], shape, self._dtype, written=True)

        for i in range(n):
            y_i = read_target(net, y, i)
            z, a = forward(net, w, b, read_row(X, i))
            delta = backward(net, w, z, a, y_i)
            write(sample_losses_out[i : i + 1], sample_loss(net, z[-1], a[-1], y_i))
            if input_grads_out is not None:
                write(input_grads_out[i], input_gradient(net, w, delta))
            for l in layers:
                write(z_out[l - 1][i], z[l])
                write(a_out[l - 1][i], a[l])
                write(delta_out[l - 1][i], delta[l])

    def loss_and_grad(self, params, X, y, sample_weight, grad_out):
        """Return C of (mean); its gradient goes into grad_out, flat like params."""
        w, b = self._unpack(params)
        n = self._check_data(X, y, sample_weight)
        check("grad_out", grad_out, params.shape, self._dtype, written=True)
        samples, S = read_samples(self._net, X, y, sample_weight, range(n))
        self._sums = None
        if S <= 0.0:
            raise ValueError(
                f"sample_weight must have a positive sum over the {n} rows, got {S}"
            )
        C, dw, db = mean_loss_and_gradient(self._net, w, b, samples, S)
        write(grad_out, pack(self._net.sizes, dw, db))
        if self._sums_up:
            sums = add_signals(self._net, w, b, samples, no_sums(self._net))
            norms = gradient_norms(self._net, w, b, samples, S)
            self._sums = sums._replace(grad_norms=norms)
        return C

    def use_summary(self):
        """Sum up every epoch and `loss_and_grad` from now on, for `summary`."""
        self._check_is_idle()
        self._sums_up = True

    def summary(self):
        """What the last finished epoch, or `loss_and_grad`, was like in each layer.

        Returns
        -------
        delta_norms : list of L floats
            Root mean square, over rows and nodes, of delta^l times the row's weight.
        grad_norms : list of L floats
            Norm of dC/dW^l and dC/db^l together, without the penalty, of the last
            batch with any weight before its update.
        update_ratios : list of L floats
            ||change of W^l|| / ||W^l|| in the update of that batch; 0 without one.
        dead_shares : list of L - 1 floats
            Share of the nodes of a hidden layer whose a was above 0 in no row; 0 for
            other activations than relu.

        Raises
        ------
        ValueError
            Unless an epoch, or `loss_and_grad`, has ended since `use_summary`.
        """
        if self._sums is None:
            raise ValueError(
                "summary tells of a finished epoch: call use_summary before it begins."
            )
        return summary_of(self._net, self._sums)

    def use_solver(self, solver, moments, steps=0, factors=None):
        """A solver for the next training, whose moments are those after `steps` steps.

        factors (L, 2), for the coefs and the intercepts of each layer, multiply the
        rate; all 1 by default.
        """
        self._check_is_idle()
        for name, moment in zip(solver.moments, moments, strict=True):
            check(name, moment, (self._n_params,), self._dtype, written=True)
        L = len(self._net.sizes) - 1
        if factors is None:
            factors = np.ones((L, 2))
        if np.shape(factors) != (L, 2):
            raise ValueError(
                f"factors must have shape {(L, 2)}, got {np.shape(factors)}"
            )
        self._solver = solver, list(moments), int(steps), self._kinds(factors)

    def _kinds(self, factors):
        """(factor, whether it is a coef) of each parameter, in the flat order."""
        n, kinds = self._net.sizes, []
        for l in range(1, len(n)):
            kinds += [(float(factors[l - 1][0]), True)] * (n[l - 1] * n[l])
        for l in range(1, len(n)):
            kinds += [(float(factors[l - 1][1]), False)] * n[l]
        return kinds

    def begin_training(self, params, X, y, sample_weight, batch_size):
        """Set out to train `params` on rows of X, batch_size at a time."""
        self._check_is_idle()
        if self._solver is None:
            raise ValueError("there is no solver yet; call use_solver first")
        check("params", params, (self._n_params,), self._dtype, written=True)
        self._check_data(X, y, sample_weight)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        _, moments, steps, _ = self._solver
        self._training = params, X, y, sample_weight, batch_size
        moments = [moment.tolist() for moment in moments]
        self._progress = Progress(
            params.tolist(), moments, steps, 0.0, 0, 0, no_sums(self._net)
        )

    def begin_epoch(self, order, rates):
        """Set out to train on the rows `order` (intp), with a rate for each batch."""
        if not self.in_training or self.in_epoch:
            raise ValueError(
                "begin_epoch comes after begin_training, and after the end_epoch of "
                "the epoch before"
            )
        _, X, _, _, batch_size = self._training
        check("order", order, (np.size(order),), np.intp)
        rows, n = order.tolist(), X.shape[0]
        if not all(0 <= i < n for i in rows):
            raise ValueError(f"order must hold row numbers below {n}, got {order}")
        batches = [rows[r : r + batch_size] for r in range(0, len(rows), batch_size)]
        check("rates", rates, (len(batches),), np.float64)
        self._epoch, self._sums = (batches, rates.tolist()), None
        self._progress = self._progress._replace(
            loss=0.0, rows=0, batches=0, sums=no_sums(self._net)
        )

    def advance(self, seconds):
        """Train for `seconds`, but at least one batch; return whether that was all."""
        self._check_epoch()
        deadline = time.perf_counter() + seconds
        n_batches = len(self._epoch[0])
        while self._progress.batches < n_batches:
            self._progress = self._after_next_batch()
            if time.perf_counter() >= deadline:
                break
        return self._progress.batches == n_batches

    def end_epoch(self):
        """Finish the epoch where it is.

        Returns
        -------
        loss : float
            Mean over the samples of C of their batch before its update; batches that
            were left out, for their weights are all 0, do not count.
        steps : int
            Number of updates so far, those of earlier epochs included.
        """
        self._check_epoch()
        (batches, _), done = self._epoch, self._progress
        self._epoch = None
        is_summed_up = self._sums_up and done.batches == len(batches)
        self._sums = done.sums if is_summed_up else None
        return (done.loss / done.rows if done.rows else 0.0), done.steps

    def end_training(self):
        """Write parameters and moments back as the last finished batch left them."""
        if not self.in_training:
            raise ValueError("no training is under way; call begin_training first")
        write(self._training[0], self._progress.params)
        _, moments, _, _ = self._solver
        for moment, values in zip(moments, self._progress.moments, strict=True):
            write(moment, values)
        self._solver = self._training = self._epoch = self._progress = None

    @property
    def in_training(self):
        """Whether `begin_training` was called, and `end_training` not yet."""
        return self._training is not None

    @property
    def in_epoch(self):
        """Whether `begin_epoch` was called, and `end_epoch` not yet."""
        return self._epoch is not None

    def _check_epoch(self):
        if not self.in_epoch:
            raise ValueError("no epoch is under way; call begin_epoch first")

    def _check_is_idle(self):
        if self.in_training:
            raise ValueError("training is under way; call end_training first")

    def _after_next_batch(self):
        net, done = self._net, self._progress
        _, X, y, sample_weight, _ = self._training
        batches, rates = self._epoch
        batch, rate = batches[done.batches], rates[done.batches]
        samples, S = read_samples(net, X, y, sample_weight, batch)
        w, b = unpack(net.sizes, done.params)
        sums = done.sums
        if self._sums_up:
            sums = add_signals(net, w, b, samples, sums)
        if S == 0.0:
            return done._replace(batches=done.batches + 1, sums=sums)
        C, dw, db = mean_loss_and_gradient(net, w, b, samples, S)
        loss, rows = done.loss + C * len(batch), done.rows + len(batch)

        (solver, _, _, kinds), t = self._solver, done.steps + 1
        columns = zip(pack(net.sizes, dw, db), done.params, *done.moments, strict=True)
        updated = [
            solver.update(t, rate * factor, *column, is_coef=is_coef)
            for column, (factor, is_coef) in zip(columns, kinds, strict=True)
        ]
        params, *moments = (list(values) for values in zip(*updated, strict=True))
        if self._sums_up:
            w_after, _ = unpack(net.sizes, params)
            layers = range(1, len(net.sizes))
            ratios = [update_ratio(w[l], w_after[l]) for l in layers]
            norms = gradient_norms(net, w, b, samples, S)
            sums = sums._replace(grad_norms=norms, update_ratios=ratios)
        return Progress(params, moments, t, loss, rows, done.batches + 1, sums)

    def _unpack(self, params):
        check("params", params, (self._n_params,), self._dtype)
        return unpack(self._net.sizes, params.tolist())

    def _check_data(self, X, y=None, sample_weight=None):
        """Check what is given and return n."""
        if issparse(X):
            n = X.shape[0]
            check_csr(X, (n, self._net.sizes[0]), self._dtype)
        else:
            n = len(X) if np.ndim(X) else 0
            check("X", X, (n, self._net.sizes[0]), self._dtype)
        if y is not None:
            self._check_targets(y, n)
        if sample_weight is not None:
            check("sample_weight", sample_weight, (n,), self._dtype)
        return n

    def _check_targets(self, y, n):
        net, n_L = self._net, self._net.sizes[-1]
        may_be_codes = net.loss.takes_codes(net.output_activation)
        if not (may_be_codes and np.ndim(y) == 1):
            check("y", y, (n, n_L), self._dtype)
            return
        check("y", y, (n,), np.int32)
        if n and not 0 <= y.min() <= y.max() < n_L:
            raise ValueError(f"y must hold codes of classes below {n_L}, got {y}")
