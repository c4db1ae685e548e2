"""The compiled `Propagator`: passes, gradients and epochs over raw buffers.

Design
------
a) `simd/` (C) has the products, activations, losses and updates of one block of rows,
   per instruction set and dtype, behind one table of functions.
b) `_equations.pxd` is the forward pass and BP1 to BP4 over those.
c) The functions below feed them: which rows make a block, which solver a step.
d) `Propagator` is the door: it owns the workspace, checks every array that comes in,
   and keeps the place in an epoch between two calls.

Everything from c) down is `noexcept nogil`, owns nothing and allocates nothing.

A batch is worked off in blocks of rows small enough for a block's activations to stay
in the cache, whatever the size of the batch: forward, backward, its part of the
gradient, then the next block. The workspace is therefore bounded by the widths of the
layers alone.

Two layouts. Outside: one plain vector (all coefs, then all intercepts). Inside: packed
panels (see simd.h), filled by `_load` when a call starts and written back by `_store`
when it ends. Rows of X are read in place, through a pointer per row; those of a sparse
X (CSR) through pointers to their values and columns.

Dtypes: buffers are `void *`; the table knows whether they hold floats or doubles.
"""

import os
import sys
from itertools import combinations

import numpy as np
from scipy.sparse import issparse

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport pow, sqrt
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t

from cbp._equations cimport (
    Block, Layer, Net, backward_pass, forward_pass, gradients, input_gradient,
    output_error, transposed_copies,
)
from cbp._simd cimport (
    CBP_EXP, CBP_IDENTITY, CBP_LOG_LOSS, CBP_LOGISTIC, CBP_POISSON, CBP_RELU,
    CBP_SOFTMAX, CBP_SQUARED_ERROR, CBP_SUM_OF_SQUARES, CBP_TANH,
    cbp_available, cbp_clock, cbp_flush_subnormals, cbp_kernels,
    cbp_restore_subnormals, cbp_select, cbp_sparse_row,
)

cnp.import_array()


cdef extern from "assert.h" nogil:
    void c_assert "assert"(bint)  # nothing unless CBP_DEBUG=1


cdef dict ACTIVATION_CODES = {
    "identity": CBP_IDENTITY, "logistic": CBP_LOGISTIC, "tanh": CBP_TANH,
    "relu": CBP_RELU, "softmax": CBP_SOFTMAX, "exp": CBP_EXP,
}
cdef dict LOSS_CODES = {
    "squared_error": CBP_SQUARED_ERROR, "sum_of_squares": CBP_SUM_OF_SQUARES,
    "log_loss": CBP_LOG_LOSS, "poisson": CBP_POISSON,
}

cdef enum:
    # A block's activations and error signals fill about half of a second-level cache.
    BLOCK_BYTES = 256 * 1024
    MOST_BLOCK_ROWS = 256
    FEWEST_BLOCK_ROWS = 32
    CACHE_LINE = 64

# So that no size of a buffer, in bytes, overflows.
cdef Py_ssize_t MOST_PARAMS = sys.maxsize >> 16

# Seconds between two looks for Ctrl-C.
cdef double PATIENCE = 0.05


# ---- samples -----------------------------------------------------------------------


ctypedef struct Samples:
    Py_ssize_t n                # rows of this epoch or call
    Py_ssize_t X_rows
    const char *X               # a sparse X: its values
    Py_ssize_t X_row_bytes      # of a dense X
    const char *columns         # of a sparse X: the column of each value,
    const char *row_starts      # and where each row begins among them
    const char *y
    const char *weight          # NULL: all 1
    const ptrdiff_t *order      # NULL: as they stand


cdef Py_ssize_t row_of(const Samples *samples, Py_ssize_t i) noexcept nogil:
    cdef Py_ssize_t row = samples.order[i] if samples.order != NULL else i
    c_assert(0 <= i < samples.n and 0 <= row < samples.X_rows)
    return row


cdef void point_at_rows(
    const Net *net, const Samples *samples, Py_ssize_t start, Py_ssize_t rows,
    Py_ssize_t itemsize,
) noexcept nogil:
    """a^0 = x: rows of X are not copied, only pointed at."""
    cdef Py_ssize_t i
    if net.index_bytes:
        point_at_sparse_rows(net, samples, start, rows, itemsize)
        return
    for i in range(rows):
        net.layer[0].a_rows[i] = (
            samples.X + row_of(samples, start + i) * samples.X_row_bytes
        )


cdef Py_ssize_t row_start(
    const Samples *samples, int index_bytes, Py_ssize_t row
) noexcept nogil:
    """Where the values of a row of a sparse X begin."""
    if index_bytes == 4:
        return (<const int32_t *>samples.row_starts)[row]
    return (<const int64_t *>samples.row_starts)[row]


cdef void point_at_sparse_rows(
    const Net *net, const Samples *samples, Py_ssize_t start, Py_ssize_t rows,
    Py_ssize_t itemsize,
) noexcept nogil:
    """a^0 = x: the nonzeros of the rows of X, where they lie."""
    cdef Py_ssize_t i, row, begin, end
    for i in range(rows):
        row = row_of(samples, start + i)
        begin = row_start(samples, net.index_bytes, row)
        end = row_start(samples, net.index_bytes, row + 1)
        c_assert(0 <= begin <= end)
        net.x[i].values = samples.X + begin * itemsize
        net.x[i].columns = samples.columns + begin * net.index_bytes
        net.x[i].count = end - begin


cdef void gather_targets(
    const Net *net, const Samples *samples, Py_ssize_t start, Py_ssize_t rows,
    Py_ssize_t itemsize, const Block *block,
) noexcept nogil:
    """The targets, and the weights if there are any, of the rows of a block."""
    cdef Layer *layer = &net.layer[net.L]
    cdef const ptrdiff_t *order = NULL
    cdef Py_ssize_t skip = start * itemsize
    if samples.order != NULL:
        order, skip = samples.order + start, 0
    net.k.gather(rows, layer.n, order, samples.y + skip * layer.n, layer.n,
                 layer.stride, block.targets)
    if samples.weight != NULL:
        net.k.gather(rows, 1, order, samples.weight + skip, 1, 1, block.weights)


# ---- solvers -----------------------------------------------------------------------


ctypedef struct Solver:
    bint is_adam
    void *m                     # packed like the parameters; velocity for sgd
    void *v
    Py_ssize_t steps            # so far
    double learning_rate
    double beta_1               # momentum for sgd
    double beta_2
    double epsilon
    bint nesterov


cdef double update_part(
    const Net *net, const Solver *solver, Py_ssize_t start, Py_ssize_t n,
    Py_ssize_t itemsize, double alpha, double S, double rate,
) noexcept nogil:
    """The n packed parameters from `start` on; returns their old sum of squares."""
    cdef Py_ssize_t skip = start * itemsize
    cdef void *params = <char *>net.params + skip
    cdef void *grad = <char *>net.grad + skip
    cdef void *m = <char *>solver.m + skip
    cdef void *v = <char *>solver.v + skip
    if solver.is_adam:
        return net.k.adam(n, grad, alpha, S, rate, solver.beta_1, solver.beta_2,
                          solver.epsilon, m, v, params)
    return net.k.sgd(n, grad, alpha, S, rate, solver.beta_1, solver.nesterov, m, params)


cdef double update(
    const Net *net, Solver *solver, Py_ssize_t itemsize, double S
) noexcept nogil:
    """One step with the gradient summed over a batch of weight S.

    Returns ||W||^2 as it was when the batch was propagated. Only coefs are penalised.
    """
    cdef double rate = solver.learning_rate
    cdef double squares
    solver.steps += 1
    if solver.is_adam:
        rate *= (sqrt(1 - pow(solver.beta_2, <double>solver.steps))
                 / (1 - pow(solver.beta_1, <double>solver.steps)))
    squares = update_part(net, solver, 0, net.n_coefs, itemsize, net.alpha, S, rate)
    update_part(net, solver, net.n_coefs, net.n_intercepts, itemsize, 0.0, S, rate)
    transposed_copies(net, 2)
    return squares


# ---- memory ------------------------------------------------------------------------


ctypedef struct Arena:
    char *base                  # NULL while only measuring
    Py_ssize_t used


cdef char *aligned(char *start) noexcept nogil:
    """The next cache line after `start`."""
    return start + CACHE_LINE - <size_t>start % CACHE_LINE


cdef char *take(Arena *arena, Py_ssize_t n_bytes) noexcept nogil:
    """The next n_bytes of the arena, starting on a cache line."""
    cdef char *at = NULL
    if arena.base != NULL:
        at = arena.base + arena.used
    arena.used += (n_bytes + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE
    return at


# ---- the door ----------------------------------------------------------------------


cdef class Propagator:
    """One network's passes, over a workspace of its own. One call at a time.

    Parameters
    ----------
    layer_sizes : tuple of int
    activation, output_activation, loss : str
    alpha : float
    dtype : numpy.dtype
        float32 or float64.

    Attributes
    ----------
    isa : str
        The instruction set in use: the best one, or what CBP_ISA names.

    Notes
    -----
    `Network` checks meaning (finite, in the domain of the loss); this class checks
    only what keeps memory safe: type, shape, layout.
    """

    cdef Net net
    cdef Solver solver
    cdef Samples samples
    cdef Block block
    cdef readonly tuple layer_sizes
    cdef readonly object dtype
    cdef Py_ssize_t itemsize
    cdef object workspace       # everything in net points into it
    cdef object input_workspace  # or into this one, once `inspect` was called
    cdef object held            # arrays that samples points into
    cdef dict lent              # name -> plain vector that end_epoch writes to
    cdef readonly bint in_epoch
    # The place in an epoch:
    cdef Py_ssize_t batch_size
    cdef Py_ssize_t batch_start
    cdef Py_ssize_t row         # of the batch, the first not yet propagated
    cdef double batch_weight
    cdef double batch_loss
    cdef double epoch_loss
    cdef Py_ssize_t counted_rows  # of the batches with any weight

    def __cinit__(self, layer_sizes, activation, output_activation, loss, alpha, dtype):
        cdef char *start
        self.layer_sizes = tuple(layer_sizes)
        if len(self.layer_sizes) < 2 or min(self.layer_sizes) < 1:
            raise ValueError(
                f"layer_sizes={self.layer_sizes} must hold two sizes >= 1 at least."
            )
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise TypeError(f"dtype={self.dtype} must be float32 or float64.")
        self.itemsize = self.dtype.itemsize
        self.net.k = chosen_kernels(self.itemsize)
        if self.n_params > MOST_PARAMS:
            raise MemoryError(
                f"layer_sizes={self.layer_sizes} means {self.n_params} parameters, "
                "more than this machine can address."
            )
        self.net.L = len(self.layer_sizes) - 1
        self.net.activation = ACTIVATION_CODES[activation]
        self.net.output_activation = ACTIVATION_CODES[output_activation]
        self.net.loss = LOSS_CODES[loss]
        self.net.alpha = alpha
        self.block.rows = self._block_rows()
        size = self._lay_out(NULL)
        memory = np.zeros(size + CACHE_LINE, np.uint8)
        self.workspace = memory
        start = <char *>cnp.PyArray_DATA(memory)
        self._lay_out(aligned(start))

    @property
    def isa(self):
        return self.net.k.isa.decode()

    cdef Py_ssize_t _block_rows(self):
        width = 2 * sum(self.net.k.row_stride(n) for n in self.layer_sizes[1:])
        rows = BLOCK_BYTES // (width * self.itemsize)
        return max(FEWEST_BLOCK_ROWS, min(MOST_BLOCK_ROWS, rows))

    cdef Py_ssize_t _lay_out(self, char *base) except -1:
        """Place every buffer from `base` on; returns the size of all. NULL measures."""
        cdef Net *net = &self.net
        cdef Arena arena = Arena(base, 0)
        cdef Layer measured
        cdef Py_ssize_t l, n_packed, rows = self.block.rows

        sizes = self.layer_sizes
        net.n_coefs = net.n_intercepts = 0
        for l in range(1, net.L + 1):
            net.n_coefs += net.k.packed_size(sizes[l - 1], sizes[l])
            net.n_intercepts += net.k.padded_width(sizes[l])
        n_packed = net.n_coefs + net.n_intercepts

        net.layer = <Layer *>take(&arena, (net.L + 1) * sizeof(Layer))
        net.params = take(&arena, n_packed * self.itemsize)
        net.grad = take(&arena, n_packed * self.itemsize)
        self.solver.m = take(&arena, n_packed * self.itemsize)
        self.solver.v = take(&arena, n_packed * self.itemsize)
        for l in range(net.L + 1):
            self._place_layer(&arena, l, &net.layer[l] if base != NULL else &measured)
        if base != NULL:
            self._point_at_parameters()
        net.x = <cbp_sparse_row *>take(&arena, rows * sizeof(cbp_sparse_row))
        self.block.targets = take(
            &arena, rows * net.k.row_stride(sizes[net.L]) * self.itemsize
        )
        self.block.weights = take(&arena, rows * self.itemsize)
        self.block.losses = take(&arena, rows * self.itemsize)
        return arena.used

    cdef int _place_layer(self, Arena *arena, Py_ssize_t l, Layer *layer) except -1:
        cdef Py_ssize_t i, rows = self.block.rows, row_bytes, n_packed
        layer.n = self.layer_sizes[l]
        layer.stride = self.net.k.row_stride(layer.n)
        row_bytes = layer.stride * self.itemsize
        layer.a_rows = <const void **>take(arena, rows * sizeof(void *))
        layer.WT = layer.z = layer.a = layer.delta = NULL
        if l == 0:
            return 0
        if l > 1:
            n_packed = self.net.k.packed_size(layer.n, self.layer_sizes[l - 1])
            layer.WT = take(arena, n_packed * self.itemsize)
        layer.z = take(arena, rows * row_bytes)
        layer.a = take(arena, rows * row_bytes)
        layer.delta = take(arena, rows * row_bytes)
        layer.delta_rows = <const void **>take(arena, rows * sizeof(void *))
        if arena.base != NULL:
            for i in range(rows):
                layer.a_rows[i] = <char *>layer.a + i * row_bytes
                layer.delta_rows[i] = <char *>layer.delta + i * row_bytes
        return 0

    cdef int _make_room_for_input_gradient(self) except -1:
        """Place W^1 transposed and dC_0/dx, as wide as X, which `inspect` needs."""
        cdef Layer *first = &self.net.layer[1]
        cdef Layer *layer = &self.net.layer[0]
        cdef Arena arena = Arena(NULL, 0)
        cdef Py_ssize_t WT_bytes, delta_bytes
        if self.input_workspace is not None:
            return 0
        WT_bytes = self.net.k.packed_size(first.n, layer.n) * self.itemsize
        delta_bytes = self.block.rows * layer.stride * self.itemsize
        memory = np.zeros(WT_bytes + delta_bytes + 2 * CACHE_LINE, np.uint8)
        self.input_workspace = memory
        arena.base = aligned(<char *>cnp.PyArray_DATA(memory))
        first.WT = take(&arena, WT_bytes)
        layer.delta = take(&arena, delta_bytes)
        return 0

    cdef void _point_at_parameters(self) noexcept:
        """W, b and their gradients: all coefs first, then all intercepts."""
        cdef Net *net = &self.net
        cdef Layer *layer
        cdef Py_ssize_t l, coefs = 0, intercepts = net.n_coefs * self.itemsize
        for l in range(1, net.L + 1):
            layer = &net.layer[l]
            layer.W = <char *>net.params + coefs
            layer.grad_W = <char *>net.grad + coefs
            layer.b = <char *>net.params + intercepts
            layer.grad_b = <char *>net.grad + intercepts
            coefs += net.k.packed_size(net.layer[l - 1].n, layer.n) * self.itemsize
            intercepts += net.k.padded_width(layer.n) * self.itemsize

    # -- between the plain and the packed layout ---------------------------------

    cdef void _load(self, const char *plain, void *packed) noexcept nogil:
        """Plain vector -> packed vector."""
        cdef Net *net = &self.net
        cdef char *to = <char *>packed
        cdef Py_ssize_t l, n_in, n
        for l in range(1, net.L + 1):
            n_in, n = net.layer[l - 1].n, net.layer[l].n
            net.k.pack(n_in, n, plain, to)
            plain += n_in * n * self.itemsize
            to += net.k.packed_size(n_in, n) * self.itemsize
        for l in range(1, net.L + 1):
            n = net.layer[l].n
            net.k.pack(1, n, plain, to)
            plain += n * self.itemsize
            to += net.k.padded_width(n) * self.itemsize

    cdef void _store(self, const void *packed, char *plain) noexcept nogil:
        """Packed vector -> plain vector."""
        cdef Net *net = &self.net
        cdef const char *source = <const char *>packed
        cdef Py_ssize_t l, n_in, n
        for l in range(1, net.L + 1):
            n_in, n = net.layer[l - 1].n, net.layer[l].n
            net.k.unpack(n_in, n, source, plain)
            plain += n_in * n * self.itemsize
            source += net.k.packed_size(n_in, n) * self.itemsize
        for l in range(1, net.L + 1):
            n = net.layer[l].n
            net.k.unpack(1, n, source, plain)
            plain += n * self.itemsize
            source += net.k.padded_width(n) * self.itemsize

    cdef _load_params(self, params, Py_ssize_t lowest_transposed):
        self._load(<const char *>self._data("params", params, (self.n_params,), False),
                   self.net.params)
        transposed_copies(&self.net, lowest_transposed)

    @property
    def n_params(self):
        sizes = self.layer_sizes
        return sum((sizes[l] + 1) * sizes[l + 1] for l in range(len(sizes) - 1))

    # -- passes over all rows ----------------------------------------------------

    def forward(self, params, X, a_out):
        """a_out (n, n_L) = a^L."""
        cdef Layer *last = &self.net.layer[self.net.L]
        cdef Py_ssize_t start = 0, rows, n
        cdef char *out
        self._hold_X(X)
        self._load_params(params, self.net.L + 1)
        n = self.samples.n
        out = <char *>self._data("a_out", a_out, (n, last.n), True)
        while start < n:
            with nogil:
                started = cbp_clock()
                while start < n and cbp_clock() - started < PATIENCE:
                    rows = min(self.block.rows, n - start)
                    point_at_rows(&self.net, &self.samples, start, rows,
                                  self.itemsize)
                    forward_pass(&self.net, rows, False)
                    self.net.k.output(rows, last.n, self.net.output_activation,
                                      last.stride, last.z, last.a)
                    self.net.k.gather(rows, last.n, NULL, last.a, last.stride, last.n,
                                      out + start * last.n * self.itemsize)
                    start += rows
            PyErr_CheckSignals()
        self.held = None

    def inspect(
        self, params, X, y, sample_losses_out, z_out, a_out, delta_out, input_grads_out
    ):
        """Every z, a, delta (n, n_l), C_0 (n,) and dC_0/dx (n, n_0), row by row."""
        cdef Net *net = &self.net
        cdef Layer *layer
        cdef Py_ssize_t start = 0, rows, n, l
        self._hold_samples(X, y, None, None)
        n = self.samples.n
        z_out, a_out, delta_out = tuple(z_out), tuple(a_out), tuple(delta_out)
        self._data("sample_losses_out", sample_losses_out, (n,), True)
        self._data("input_grads_out", input_grads_out, (n, net.layer[0].n), True)
        for name, arrays in (
            ("z_out", z_out), ("a_out", a_out), ("delta_out", delta_out)
        ):
            if len(arrays) != net.L:
                raise ValueError(f"{name} has {len(arrays)} arrays, not {net.L}.")
            for l in range(net.L):
                self._data(f"{name}[{l}]", arrays[l], (n, net.layer[l + 1].n), True)
        self._make_room_for_input_gradient()
        self._load_params(params, 1)
        while start < n:
            rows = min(self.block.rows, n - start)
            with nogil:
                point_at_rows(net, &self.samples, start, rows, self.itemsize)
                gather_targets(net, &self.samples, start, rows, self.itemsize,
                               &self.block)
                forward_pass(net, rows, True)
                output_error(net, rows, &self.block)
                backward_pass(net, rows)
                input_gradient(net, rows)
            self._copy_rows(start, rows, 1, 1, self.block.losses, sample_losses_out)
            layer = &net.layer[0]
            self._copy_rows(start, rows, layer.n, layer.stride, layer.delta,
                            input_grads_out)
            for l in range(1, net.L + 1):
                layer = &net.layer[l]
                self._copy_rows(start, rows, layer.n, layer.stride, layer.z,
                                z_out[l - 1])
                self._copy_rows(start, rows, layer.n, layer.stride, layer.a,
                                a_out[l - 1])
                self._copy_rows(start, rows, layer.n, layer.stride, layer.delta,
                                delta_out[l - 1])
            start += rows
            PyErr_CheckSignals()
        self.held = None

    cdef _copy_rows(self, Py_ssize_t start, Py_ssize_t rows, Py_ssize_t n,
                    Py_ssize_t stride, const void *source, out):
        """Rows of a block without their padding, to the rows of `out` from `start`."""
        cdef char *to = <char *>cnp.PyArray_DATA(out) + start * n * self.itemsize
        self.net.k.gather(rows, n, NULL, source, stride, n, to)

    def loss_and_grad(self, params, X, y, sample_weight, grad_out):
        """Loss (weighted mean plus penalty); its flat gradient into grad_out."""
        cdef Net *net = &self.net
        cdef char *out
        out = <char *>self._data("grad_out", grad_out, (self.n_params,), True)
        self._hold_samples(X, y, sample_weight, None)
        self._load_params(params, 2)
        if self.samples.n == 0:
            raise ValueError("X is empty: the mean over no samples is undefined.")
        self._begin(self.samples.n)
        finished = False
        while not finished:
            with nogil:
                finished = self._propagate_batch(cbp_clock() + PATIENCE)
            PyErr_CheckSignals()
        if self.batch_weight <= 0:
            raise ValueError("sample_weight sums to 0: the weighted mean is undefined.")
        with nogil:
            net.k.regularize(net.n_coefs, net.params, net.grad, net.alpha,
                             self.batch_weight)
            net.k.regularize(net.n_intercepts,
                             <char *>net.params + net.n_coefs * self.itemsize,
                             <char *>net.grad + net.n_coefs * self.itemsize,
                             0.0, self.batch_weight)
            self._store(net.grad, out)
            squares = net.k.sum_of_squares(net.n_coefs, net.params)
        self.held = None
        return self._mean_loss(squares)

    # -- an epoch ----------------------------------------------------------------

    def use_adam(
        self, m, v, Py_ssize_t steps, double learning_rate, double beta_1,
        double beta_2, double epsilon,
    ):
        """Take Adam's moments (flat, written back by end_epoch) for the next epoch."""
        self._borrow({"m": m, "v": v})
        self.solver.is_adam = True
        self.solver.steps = steps
        self.solver.learning_rate = learning_rate
        self.solver.beta_1, self.solver.beta_2 = beta_1, beta_2
        self.solver.epsilon = epsilon

    def use_sgd(self, velocity, double learning_rate, double momentum, bint nesterov):
        """Take sgd's velocity (flat, written back by end_epoch) for the next epoch."""
        self._borrow({"velocity": velocity})
        self.solver.is_adam = False
        self.solver.steps = 0
        self.solver.learning_rate = learning_rate
        self.solver.beta_1 = momentum
        self.solver.nesterov = nesterov

    cdef _borrow(self, dict moments):
        if self.in_epoch:
            raise ValueError("An epoch is under way; call end_epoch first.")
        self._check_lent(moments)
        self.lent = moments

    cdef _check_lent(self, dict arrays):
        """Flat vectors that end_epoch writes to: each with a memory of its own."""
        for name, array in arrays.items():
            self._data(name, array, (self.n_params,), True)
        for (name, array), (other, beside) in combinations(arrays.items(), 2):
            if np.may_share_memory(array, beside):
                raise ValueError(f"{name} and {other} share memory.")

    def begin_epoch(self, params, X, y, sample_weight, order, Py_ssize_t batch_size):
        """Start an epoch over the rows `order` of X, in batches of batch_size.

        All arrays are lent until end_epoch: nobody else may write to them.
        """
        if self.lent is None:
            raise ValueError(
                "begin_epoch needs a solver: call use_adam or use_sgd first."
            )
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1.")
        lent = {"params": params, **self.lent}
        self._check_lent(lent)
        self._hold_samples(X, y, sample_weight, order)
        self._load_params(params, 2)
        for i, moment in enumerate(self.lent.values()):
            self._load(<const char *>cnp.PyArray_DATA(moment), self._moment(i))
        self._begin(batch_size)
        self.lent = lent
        self.in_epoch = True

    cdef void *_moment(self, int i) noexcept:
        return self.solver.m if i == 0 else self.solver.v

    def advance(self, double seconds):
        """Work for about `seconds`; returns whether the epoch is finished."""
        cdef unsigned long long state
        cdef double deadline
        cdef bint finished
        if not self.in_epoch:
            raise ValueError("advance needs an epoch: call begin_epoch first.")
        with nogil:
            state = cbp_flush_subnormals()
            deadline = cbp_clock() + seconds
            while self.batch_start < self.samples.n:
                if self._propagate_batch(deadline):
                    self._finish_batch()
                if cbp_clock() >= deadline:
                    break
            finished = self.batch_start >= self.samples.n
            cbp_restore_subnormals(state)
        return finished

    def end_epoch(self):
        """Write parameters and moments back; returns (loss, steps so far)."""
        if not self.in_epoch:
            raise ValueError("end_epoch needs an epoch: call begin_epoch first.")
        lent, self.lent, self.held, self.in_epoch = self.lent, None, None, False
        self._check_lent(lent)
        params, *moments = lent.values()
        self._store(self.net.params, <char *>cnp.PyArray_DATA(params))
        for i, moment in enumerate(moments):
            self._store(self._moment(i), <char *>cnp.PyArray_DATA(moment))
        loss = self.epoch_loss / self.counted_rows if self.counted_rows else 0.0
        return loss, self.solver.steps

    cdef void _begin(self, Py_ssize_t batch_size) noexcept:
        self.batch_size = min(batch_size, max(self.samples.n, 1))
        self.batch_start = self.row = 0
        self.epoch_loss = self.counted_rows = 0

    cdef Py_ssize_t _batch_rows(self) noexcept nogil:
        return min(self.batch_size, self.samples.n - self.batch_start)

    cdef bint _propagate_batch(self, double deadline) noexcept nogil:
        """Add blocks of the batch to the gradient; True once the batch is complete.

        One block at least, further ones until the deadline.
        """
        cdef Py_ssize_t left, blocks, rows, start, batch_rows = self._batch_rows()
        cdef const void *weights
        cdef Net *net = &self.net
        if self.row == 0:
            self.batch_loss = self.batch_weight = 0
        while self.row < batch_rows:
            # Blocks of equal size: no batch ends in a sliver.
            left = batch_rows - self.row
            blocks = (left + self.block.rows - 1) // self.block.rows
            rows = (left + blocks - 1) // blocks
            c_assert(0 < rows <= self.block.rows)
            start = self.batch_start + self.row
            point_at_rows(net, &self.samples, start, rows, self.itemsize)
            gather_targets(net, &self.samples, start, rows, self.itemsize, &self.block)
            weights = self.block.weights if self.samples.weight != NULL else NULL

            forward_pass(net, rows, False)
            output_error(net, rows, &self.block)
            if weights != NULL:
                # delta^l is linear in delta^L: weighing this one weighs them all.
                net.k.weigh(rows, net.layer[net.L].stride, weights,
                            net.layer[net.L].delta)
                self.batch_weight += net.k.weighted_sum(rows, NULL, weights)
            else:
                self.batch_weight += rows
            backward_pass(net, rows)
            gradients(net, rows, self.row > 0)
            self.batch_loss += net.k.weighted_sum(rows, weights, self.block.losses)
            self.row += rows
            if self.row < batch_rows and cbp_clock() >= deadline:
                break
        return self.row == batch_rows

    cdef double _mean_loss(self, double squares) noexcept nogil:
        return (self.batch_loss + self.net.alpha / 2 * squares) / self.batch_weight

    cdef void _finish_batch(self) noexcept nogil:
        cdef Py_ssize_t rows = self._batch_rows()
        cdef double squares
        if self.batch_weight > 0:
            squares = update(&self.net, &self.solver, self.itemsize, self.batch_weight)
            self.epoch_loss += self._mean_loss(squares) * rows
            self.counted_rows += rows
        self.batch_start += rows
        self.row = 0

    # -- checks ------------------------------------------------------------------

    cdef void *_data(self, name, array, tuple shape, bint writable) except? NULL:
        """The memory of an array that has just the given shape, dtype and layout."""
        if not isinstance(array, np.ndarray):
            raise TypeError(
                f"{name} must be a numpy array, not {type(array).__name__}."
            )
        if array.dtype != self.dtype:
            raise TypeError(f"{name} has dtype {array.dtype}, not {self.dtype}.")
        if (<object>array).shape != shape:
            raise ValueError(f"{name} has shape {(<object>array).shape}, not {shape}.")
        if not (array.flags.c_contiguous and array.flags.aligned):
            raise ValueError(f"{name} must be C-contiguous and aligned.")
        if writable and not array.flags.writeable:
            raise ValueError(f"{name} is read-only, but it receives a result.")
        return cnp.PyArray_DATA(array)

    cdef _hold_X(self, X):
        """Point `samples` at the rows of X and keep it alive."""
        if self.in_epoch:
            raise ValueError("An epoch is under way; call end_epoch first.")
        is_array = isinstance(X, np.ndarray)
        is_csr = not is_array and issparse(X) and X.format == "csr"
        if not (is_array or is_csr) or X.dtype != self.dtype:
            raise TypeError(
                f"X must be a numpy array, or a CSR matrix, of dtype {self.dtype}."
            )
        shape = (<object>X).shape
        if len(shape) != 2 or shape[1] != self.layer_sizes[0]:
            raise ValueError(f"X has shape {shape}, not (n, {self.layer_sizes[0]}).")
        if is_csr:
            self.held = self._point_at_csr(X, shape[0])
        else:
            self.held = self._point_at_dense(X)
        self.samples.n = self.samples.X_rows = shape[0]
        self.samples.y = self.samples.weight = NULL
        self.samples.order = NULL

    cdef tuple _point_at_dense(self, X):
        row_bytes, item_bytes = (<object>X).strides
        in_rows = item_bytes == self.itemsize or self.layer_sizes[0] == 1
        if X.size and not (
            X.flags.aligned and in_rows and row_bytes % self.itemsize == 0
        ):
            raise ValueError("X must be aligned, with contiguous rows.")
        self.samples.X = <const char *>cnp.PyArray_DATA(X)
        self.samples.X_row_bytes = row_bytes
        self.net.index_bytes = 0
        return (X,)

    cdef tuple _point_at_csr(self, X, Py_ssize_t n):
        # Another thread may put other arrays into X; these ones are checked and held.
        values, columns, row_starts = held = X.data, X.indices, X.indptr
        for name, array in (
            ("X.data", values), ("X.indices", columns), ("X.indptr", row_starts)
        ):
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{name} must be a numpy array.")
            if array.ndim != 1 or not (
                array.flags.c_contiguous and array.flags.aligned
            ):
                raise ValueError(f"{name} must be a contiguous, aligned vector.")
        if values.dtype != self.dtype:
            raise TypeError(f"X.data has dtype {values.dtype}, not {self.dtype}.")
        if columns.dtype not in (np.int32, np.int64) or (
            columns.dtype != row_starts.dtype
        ):
            raise TypeError(
                "X.indices and X.indptr must share one dtype, int32 or int64, not "
                f"{columns.dtype} and {row_starts.dtype}."
            )
        n_columns = self.layer_sizes[0]
        if row_starts.size != n + 1 or row_starts[0] != 0 or (
            (row_starts[1:] < row_starts[:n]).any()
        ):
            raise ValueError(f"X.indptr must be {n + 1} numbers from 0 on, ascending.")
        n_values = row_starts[n]
        if n_values > min(values.size, columns.size):
            raise ValueError(
                f"X.indptr ends at {n_values}; X.data and X.indices have "
                f"{values.size} and {columns.size} entries."
            )
        columns = columns[:n_values]
        if n_values and not 0 <= columns.min() <= columns.max() < n_columns:
            raise ValueError(f"X.indices must be columns from 0 to {n_columns - 1}.")
        self.samples.X = <const char *>cnp.PyArray_DATA(values)
        self.samples.columns = <const char *>cnp.PyArray_DATA(columns)
        self.samples.row_starts = <const char *>cnp.PyArray_DATA(row_starts)
        self.net.index_bytes = columns.dtype.itemsize
        return held

    cdef _hold_samples(self, X, y, sample_weight, order):
        """Point `samples` at all that training looks at, and keep it alive."""
        self._hold_X(X)
        n = self.samples.n
        shape = (n, self.layer_sizes[self.net.L])
        self.samples.y = <const char *>self._data("y", y, shape, False)
        if sample_weight is not None:
            self.samples.weight = <const char *>self._data(
                "sample_weight", sample_weight, (n,), False
            )
        if order is not None:
            if (
                not isinstance(order, np.ndarray)
                or order.dtype != np.intp
                or order.ndim != 1
                or not order.flags.carray
            ):
                raise TypeError("order must be a contiguous vector of numpy.intp.")
            if order.size and not 0 <= order.min() <= order.max() < n:
                raise ValueError(f"order must hold rows from 0 to {n - 1} only.")
            self.samples.order = <const ptrdiff_t *>cnp.PyArray_DATA(order)
            self.samples.n = order.size
        self.held = (self.held, y, sample_weight, order)


def available_instruction_sets():
    """Names that CBP_ISA can take on this machine, the default first."""
    cdef const char *names[5]
    n = cbp_available(names)
    return tuple(names[i].decode() for i in range(n))


def elementwise(activation, x, out):
    """out = g(x) by the vectorised functions, for arrays of one float dtype."""
    cdef const cbp_kernels *k
    if activation == "softmax":
        raise ValueError("activation='softmax' couples the nodes of a layer.")
    if x.dtype != out.dtype or x.dtype not in (np.float32, np.float64):
        raise TypeError("x and out must share one dtype, float32 or float64.")
    for array in (x, out):
        if not (array.flags.c_contiguous and array.flags.aligned):
            raise ValueError("x and out must be C-contiguous and aligned.")
    if x.size != out.size or not out.flags.writeable:
        raise ValueError("out must be writable and of the size of x.")
    k = chosen_kernels(x.dtype.itemsize)
    k.map(x.size, ACTIVATION_CODES[activation], cnp.PyArray_DATA(x),
          cnp.PyArray_DATA(out))


cdef const cbp_kernels *chosen_kernels(int itemsize) except NULL:
    """The best table for this processor, or the one that CBP_ISA names."""
    cdef const cbp_kernels *k
    isa = os.environ.get("CBP_ISA")
    if isa:
        encoded = isa.encode()
        k = cbp_select(encoded, itemsize)
    else:
        k = cbp_select(NULL, itemsize)
    if k == NULL:
        raise ValueError(
            f"CBP_ISA={isa!r} is not available here; choose one of "
            f"{available_instruction_sets()}."
        )
    return k
