"""The compiled `Propagator`: passes, gradients and epochs over raw buffers.

Design
------
a) `simd/` (C) has the products, activations, losses and updates of one block of rows,
   per instruction set and dtype, behind one table of functions; `team/` (C) a few
   threads that work in step.
b) `equations.pxd` is the forward pass and BP1 to BP4 over those.
c) `steps.pxd` feeds them: which rows make a block, which thread does what of a step.
d) `summary.pxd` sums up what they computed in an epoch, if somebody wants to know.
e) `workspace.pxd` says where everything lies.
f) `Propagator`, here, is the door: it owns the workspace and the team, checks every
   array that comes in, and keeps the progress of an epoch between two calls.

Everything but the door is `noexcept nogil`, owns nothing and allocates nothing.

Two layouts. Outside: one plain vector (all coefs, then all intercepts) and rows of
numbers. Inside: panels (see simd.h). Parameters are packed by `load` when a call
starts and written back by `store` when it ends; rows of X are copied block by block,
those of a sparse X (CSR) pointed at.

Dtypes: buffers are `void *`; the table knows whether they hold floats or doubles.
"""

import mmap
import os
import sys
from contextlib import suppress
from itertools import combinations

import numpy as np
from scipy.sparse import issparse

from cbp.functions.activations import OUTPUT_ACTIVATIONS
from cbp.functions.losses import resolve_functions

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport pow
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t

from cbp.kernels.equations cimport (
    Layer, Net, Rows, backward_pass, forward_pass, input_gradient, output_error,
)
from cbp.kernels._simd cimport (
    CBP_MOST_HYPERPARAMETERS, CBP_MOST_PARAMETERS, cbp_activation_code, cbp_available,
    cbp_clock, cbp_function, cbp_kernels, cbp_loss_code, cbp_select, cbp_solver_code,
    cbp_step,
)
from cbp.kernels.steps cimport (
    Progress, Run, feed_targets, feed_X, last_weighed, mean_loss, predict, train,
)
from cbp.kernels.summary cimport (
    SlabRange, Summary, begin_summary, dead_share, delta_norm, grad_norm, update_ratio,
)
from cbp.kernels._team cimport cbp_team_run, cbp_team_start, cbp_team_stop
from cbp.kernels.workspace cimport (
    CACHE_LINE, aligned, all_packed_coefs, lay_out, lay_out_input_gradient,
    lay_out_rows, lay_out_summary, load, load_params, packed_intercepts, store,
)

cnp.import_array()


cdef enum:
    HUGE_PAGE = 2 * 1024 * 1024
    # So few rows are predicted faster by the weights as they stand than packed.
    FEW_ROWS = 4

# So that no size of a buffer, in bytes, overflows.
cdef Py_ssize_t MOST_PARAMS = sys.maxsize >> 16

# Seconds between two looks for Ctrl-C.
cdef double PATIENCE = 0.05

# Multiply-adds of a step that are worth a thread, since to meet costs about a
# microsecond; a prediction has to start its threads first, which takes some thirty
# times as long.
cdef double WORK_PER_THREAD = 600_000
cdef double STARTS_PER_MEETING = 30


# ---- the door ----------------------------------------------------------------------


cdef class Propagator:
    """One network's passes, over a workspace of its own. One call at a time.

    Parameters
    ----------
    layer_sizes : tuple of int
    activation, output_activation : str or Activation
    loss : str or Loss
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

    cdef Run run
    cdef readonly tuple layer_sizes
    cdef readonly Py_ssize_t n_params
    cdef readonly object dtype
    cdef object layers          # of run.net
    cdef object workspace       # everything else in run points into it,
    cdef object rows_of_X       # or into this one, once there was a dense X,
    cdef object input_workspace  # or this one, once `inspect` was called,
    cdef object summary_workspace  # or this one, after `use_summary`
    cdef object held            # arrays that run.samples points into
    cdef object held_order      # the same
    cdef object held_rates      # an array that run.rates points at
    cdef dict lent              # name -> plain vector that end_training writes to
    cdef readonly bint in_training
    cdef readonly bint in_epoch
    cdef bint takes_codes       # whether y may be codes of classes
    cdef bint has_summary       # of the last epoch, or `loss_and_grad`, which has ended
    cdef Py_ssize_t batch_size
    cdef readonly int n_threads
    cdef double work_per_thread
    cdef int team_members

    def __cinit__(self, layer_sizes, activation, output_activation, loss, alpha, dtype):
        cdef Net *net = &self.run.net
        cdef Py_ssize_t l
        self.layer_sizes = tuple(layer_sizes)
        if len(self.layer_sizes) < 2 or min(self.layer_sizes) < 1:
            raise ValueError(
                f"layer_sizes={self.layer_sizes} must hold two sizes >= 1 at least."
            )
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise TypeError(f"dtype={self.dtype} must be float32 or float64.")
        net.itemsize = self.dtype.itemsize
        net.k = chosen_kernels(net.itemsize)
        n_params = sum(
            (n_in + 1) * n for n_in, n in zip(self.layer_sizes, self.layer_sizes[1:])
        )
        if n_params > MOST_PARAMS:
            raise MemoryError(
                f"layer_sizes={self.layer_sizes} means {n_params} parameters, more "
                "than this machine can address."
            )
        self.n_params = n_params
        net.L = len(self.layer_sizes) - 1
        hidden, output, loss = resolve_functions(activation, output_activation, loss)
        net.loss = function_of(loss, cbp_loss_code(loss.name.encode()))
        self.takes_codes = loss.takes_codes(output)
        self.run.alpha = alpha
        self.layers = np.zeros((net.L + 1) * sizeof(Layer), np.uint8)
        net.layer = <Layer *>cnp.PyArray_DATA(self.layers)
        for l in range(net.L + 1):
            net.layer[l].n = self.layer_sizes[l]
        for l in range(1, net.L + 1):
            g = hidden if l < net.L else output
            net.layer[l].g = function_of(g, cbp_activation_code(g.name.encode()))
            net.layer[l].g.from_z = g.slope_from == "z"
            net.layer[l].dies = g.dies
            # Forward, BP2 and BP4; nobody asks for the delta of layer 0.
            self.run.work_per_row += (3.0 if l > 1 else 2.0) * (
                <double>self.layer_sizes[l - 1] * self.layer_sizes[l]
            )
            if l < net.L:
                self.run.work_per_row += g.work * self.layer_sizes[l]
        self.workspace = laid_out(&self.run, lay_out)
        self.use_threads(1)

    def __dealloc__(self):
        cbp_team_stop(self.run.team)

    @property
    def isa(self):
        return self.run.net.k.isa.decode()

    def use_threads(self, int n_threads, double work_per_thread=WORK_PER_THREAD):
        """Work with up to n_threads threads where a step has enough work for each.

        The threads begin with the first call that needs them, sleep between two calls,
        and end with this object or the next `use_threads`. The results are bitwise the
        same for any number.
        """
        if n_threads < 1:
            raise ValueError(f"n_threads={n_threads} must be at least 1.")
        cbp_team_stop(self.run.team)
        self.run.team = NULL
        self.team_members = 1
        self.n_threads = n_threads
        self.work_per_thread = work_per_thread

    cdef _gather_team(self, double work, double work_per_thread, Py_ssize_t rows):
        """Have as many threads at hand as `work` on `rows` rows is worth."""
        cdef Py_ssize_t tiles = (
            min(rows, self.run.block_rows) // self.run.net.k.tile_rows
        )
        cdef int members = <int>max(1, min(self.n_threads, tiles))
        if work < members * work_per_thread:
            members = <int>max(1.0, work / work_per_thread)
        if members == self.team_members:
            return
        cbp_team_stop(self.run.team)
        self.run.team = NULL
        self.team_members = members
        if members > 1:
            self.run.team = cbp_team_start(members)

    cdef _load_params(self, params, bint for_all_passes):
        load_params(
            &self.run,
            <const char *>self._data("params", params, (self.n_params,), False),
            for_all_passes,
        )

    # -- passes over all rows ----------------------------------------------------

    def forward(self, params, X, a_out):
        """a_out (n, n_L) = a^L."""
        cdef Run *run = &self.run
        cdef Net *net = &run.net
        cdef Py_ssize_t n, at_once
        cdef double work = run.work_per_row / 3 + 1  # a third of a step of training
        self._hold_X(X)
        n = run.samples.n
        run.out = <char *>self._data("a_out", a_out, (n, net.layer[net.L].n), True)
        if n <= FEW_ROWS and not net.index_bytes:
            self._forward_few(
                <char *>self._data("params", params, (self.n_params,), False)
            )
            self.held = None
            return
        self._load_params(params, False)
        self._gather_team(n * work, STARTS_PER_MEETING * self.work_per_thread, n)
        # Some 50 ms at 20 GFLOP/s; whole blocks.
        at_once = <Py_ssize_t>(5e8 / work) // run.block_rows * run.block_rows
        run.end = 0
        while run.end < n:
            run.start = run.end
            run.end = min(n, run.start + max(at_once, run.block_rows))
            with nogil:
                cbp_team_run(run.team, predict, run)
            PyErr_CheckSignals()
        self.held = None

    cdef void _forward_few(self, char *params) noexcept:
        """a^L row by row, by the parameters as they stand."""
        cdef Run *run = &self.run
        cdef Net *net = &run.net
        cdef Layer *last = &net.layer[net.L]
        cdef Py_ssize_t i, l, n_in, n, panel = net.k.panel
        cdef const char *W
        cdef const char *b
        cdef const void *a_in
        cdef void *a
        with nogil:
            for i in range(run.samples.n):
                a_in = run.samples.X + i * run.samples.X_row_bytes
                W = b = params
                for l in range(1, net.L + 1):
                    b += net.layer[l - 1].n * net.layer[l].n * net.itemsize
                for l in range(1, net.L + 1):
                    n_in, n = net.layer[l - 1].n, net.layer[l].n
                    a = net.layer[l].a if l < net.L else last.z
                    net.k.forward_row(n_in, n, net.layer[l].n_in_lanes,
                                      &net.layer[l].g if l < net.L else NULL, a_in, W,
                                      b, a)
                    W += n_in * n * net.itemsize
                    b += n * net.itemsize
                    a_in = a
                # A block of one row: its panels follow one another.
                net.k.output(1, last.n, &last.g, panel, last.z, last.a)
                net.k.scatter(1, last.n, panel, last.a,
                              run.out + i * last.n * net.itemsize)

    def inspect(
        self, params, X, y, sample_losses_out, z_out, a_out, delta_out, input_grads_out
    ):
        """Every z, a, delta (n, n_l), C_0 (n,) and dC_0/dx (n, n_0), row by row.

        input_grads_out may be None: nobody wants dC_0/dx.
        """
        cdef Net *net = &self.run.net
        cdef Layer *layer
        cdef Py_ssize_t start = 0, n, l
        cdef Rows rows
        cdef char *losses
        cdef bint wants_input_grads = input_grads_out is not None
        self._hold_samples(X, y, None)
        n = self.run.samples.n
        z_out, a_out, delta_out = tuple(z_out), tuple(a_out), tuple(delta_out)
        losses = <char *>self._data("sample_losses_out", sample_losses_out, (n,), True)
        if wants_input_grads:
            self._data("input_grads_out", input_grads_out, (n, net.layer[0].n), True)
        for name, arrays in (
            ("z_out", z_out), ("a_out", a_out), ("delta_out", delta_out)
        ):
            if len(arrays) != net.L:
                raise ValueError(f"{name} has {len(arrays)} arrays, not {net.L}.")
            for l in range(net.L):
                self._data(f"{name}[{l}]", arrays[l], (n, net.layer[l + 1].n), True)
        if wants_input_grads and self.input_workspace is None:
            self.input_workspace = laid_out(&self.run, lay_out_input_gradient)
        self._load_params(params, True)
        while start < n:
            rows = Rows(0, min(self.run.block_rows, n - start))
            with nogil:
                feed_X(net, &self.run.samples, start, rows)
                feed_targets(net, &self.run.samples, start, rows)
                forward_pass(net, rows, True)
                output_error(net, rows, True)
                backward_pass(net, rows)
                if wants_input_grads:
                    input_gradient(net, rows)
                net.k.pick(rows.n, NULL, net.losses, losses + start * net.itemsize)
            if wants_input_grads:
                self._copy_rows(start, rows.n, 0, net.layer[0].delta, input_grads_out)
            for l in range(1, net.L + 1):
                layer = &net.layer[l]
                self._copy_rows(start, rows.n, l, layer.z, z_out[l - 1])
                self._copy_rows(start, rows.n, l, layer.a, a_out[l - 1])
                self._copy_rows(start, rows.n, l, layer.delta, delta_out[l - 1])
            start += rows.n
            PyErr_CheckSignals()
        self.held = None

    cdef _copy_rows(
        self, Py_ssize_t start, Py_ssize_t rows, Py_ssize_t l, const void *source, out
    ):
        """Rows of a block's matrix to the rows of `out` from `start` on."""
        cdef Net *net = &self.run.net
        cdef Py_ssize_t n = net.layer[l].n
        cdef char *to = <char *>cnp.PyArray_DATA(out) + start * n * net.itemsize
        net.k.scatter(rows, n, net.step, source, to)

    def loss_and_grad(self, params, X, y, sample_weight, grad_out):
        """Loss (weighted mean plus penalty); its flat gradient into grad_out."""
        cdef Run *run = &self.run
        cdef Net *net = &run.net
        cdef Progress *progress = &run.progress
        cdef Py_ssize_t n_coefs
        cdef double squares
        cdef char *out
        out = <char *>self._data("grad_out", grad_out, (self.n_params,), True)
        self._hold_samples(X, y, sample_weight)
        self._load_params(params, True)
        if run.samples.n == 0:
            raise ValueError("X is empty: the mean over no samples is undefined.")
        self._begin(run.samples.n)
        run.updates = False
        while progress.batch_start < run.samples.n:
            self._train_for(PATIENCE)
            PyErr_CheckSignals()
        if progress.weight <= 0:
            raise ValueError("sample_weight sums to 0: the weighted mean is undefined.")
        n_coefs = all_packed_coefs(net)
        with nogil:
            net.k.regularize(n_coefs, run.params, run.grad, run.alpha, progress.weight)
            net.k.regularize(packed_intercepts(net), net.layer[1].b,
                             net.layer[1].grad_b, 0.0, progress.weight)
            store(net, run.grad, out)
            squares = net.k.sum_of_squares(n_coefs, run.params)
        self.held, self.has_summary = None, run.sums_up
        return mean_loss(run, progress, squares)

    # -- summaries ---------------------------------------------------------------

    def use_summary(self):
        """Sum up every epoch and `loss_and_grad` from now on, for `summary`."""
        self._check_is_idle()
        if self.summary_workspace is None:
            self.summary_workspace = laid_out(&self.run, lay_out_summary)
        self.run.sums_up = True

    def summary(self):
        """What the last finished epoch, or `loss_and_grad`, was like in each layer.

        Returns (delta_norms, grad_norms, update_ratios, dead_shares), lists of floats
        for the layers from 1 on; dead_shares are those of hidden layers. Raises
        ValueError unless an epoch, or `loss_and_grad`, has ended since `use_summary`.
        """
        cdef const Net *net = &self.run.net
        cdef const Summary *summary = &self.run.summary
        cdef SlabRange all = SlabRange(self.run.slabs, 0, self.run.n_slabs)
        cdef Py_ssize_t l
        if not self.has_summary:
            raise ValueError(
                "summary tells of a finished epoch: call use_summary before it begins."
            )
        return (
            [delta_norm(net, all, summary, l) for l in range(1, net.L + 1)],
            [grad_norm(all, summary, l) for l in range(1, net.L + 1)],
            [
                update_ratio(all, summary, self.run.squares, l)
                for l in range(1, net.L + 1)
            ],
            [dead_share(net, summary, l) for l in range(1, net.L)],
        )

    # -- training ----------------------------------------------------------------

    def use_solver(self, solver, moments, Py_ssize_t steps=0, factors=None):
        """Take a solver, with its moments (flat) after so many steps, for training.

        factors (L, 2) multiply the rate for coefs and intercepts of each layer.
        """
        cdef cbp_step *step = &self.run.progress.step
        cdef double[:, :] given
        cdef Py_ssize_t l, L = self.run.net.L
        cdef int code = cbp_solver_code(solver.name.encode())
        hyperparameters = solver.hyperparameters
        if code < 0 or len(hyperparameters) > CBP_MOST_HYPERPARAMETERS:
            raise ValueError(f"The kernels have no case for {solver!r}.")
        self._check_is_idle()
        moments = dict(zip(solver.moments, moments, strict=True))
        self._check_lent(moments)
        factors = np.ones((L, 2)) if factors is None else np.array(factors, np.float64)
        if factors.shape != (L, 2):
            raise ValueError(f"factors has shape {factors.shape}, not {(L, 2)}.")
        given = factors
        self.lent = moments
        step.solver, step.alpha = code, self.run.alpha
        for i in range(CBP_MOST_HYPERPARAMETERS):
            step.hyperparameters[i] = (
                hyperparameters[i] if i < len(hyperparameters) else 0.0
            )
        for l in range(L):
            self.run.net.layer[l + 1].rate_of_W = given[l, 0]
            self.run.net.layer[l + 1].rate_of_b = given[l, 1]
        self.run.progress.steps = steps

    cdef _check_lent(self, dict arrays):
        """Flat vectors that end_training writes to: each with a memory of its own."""
        cdef Py_ssize_t apart, n_bytes
        for name, array in arrays.items():
            self._data(name, array, (self.n_params,), True)
        n_bytes = self.n_params * self.run.net.itemsize
        for (name, array), (other, beside) in combinations(arrays.items(), 2):
            apart = <char *>cnp.PyArray_DATA(array) - <char *>cnp.PyArray_DATA(beside)
            if -n_bytes < apart < n_bytes:
                raise ValueError(f"{name} and {other} share memory.")

    def begin_training(self, params, X, y, sample_weight, Py_ssize_t batch_size):
        """Take parameters and samples for some epochs, in batches of batch_size.

        All arrays are lent until end_training: nobody else may write to them, and only
        then do parameters and moments hold what was trained.
        """
        cdef const Net *net = &self.run.net
        if self.lent is None:
            raise ValueError(
                "begin_training needs a solver: call use_solver first."
            )
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1.")
        lent = {"params": params, **self.lent}
        self._check_lent(lent)
        self._hold_samples(X, y, sample_weight)
        self._load_params(params, True)
        for i, moment in enumerate(self.lent.values()):
            load(net, <const char *>cnp.PyArray_DATA(moment), self._moment(i))
        self.batch_size = batch_size
        self.lent = lent
        self.in_training = True

    def begin_epoch(self, order, rates):
        """Start an epoch over the rows `order` of X, with a rate for each batch."""
        cdef Progress *progress = &self.run.progress
        cdef cbp_step *step = &progress.step
        if not self.in_training or self.in_epoch:
            raise ValueError(
                "begin_epoch comes after begin_training, and after the end_epoch of "
                "the epoch before."
            )
        self._hold_order(order, rates)
        self._begin(self.batch_size)
        # Anew in each epoch: a product of many would depend on where training began.
        for i in range(2):
            step.powers[i] = pow(step.hyperparameters[i], <double>progress.steps)
        self.run.updates = self.in_epoch = True

    cdef void *_moment(self, int i) noexcept:
        return self.run.m if i == 0 else self.run.v

    def advance(self, double seconds):
        """Work for about `seconds`; returns whether the epoch is finished."""
        if not self.in_epoch:
            raise ValueError("advance needs an epoch: call begin_epoch first.")
        self._train_for(seconds)
        return self.run.progress.batch_start >= self.run.samples.n

    cdef _train_for(self, double seconds):
        cdef Run *run = &self.run
        cdef Py_ssize_t rows = min(run.batch_size, run.block_rows)
        self._gather_team(rows * run.work_per_row, self.work_per_thread, rows)
        run.deadline = cbp_clock() + seconds
        run.is_late = seconds <= 0
        with nogil:
            cbp_team_run(run.team, train, run)

    def end_epoch(self):
        """Returns (loss, steps so far) as the last finished batch left them."""
        cdef Progress *progress = &self.run.progress
        if not self.in_epoch:
            raise ValueError("end_epoch needs an epoch: call begin_epoch first.")
        self.held_order = self.held_rates = None
        self.in_epoch = False
        self.has_summary = (
            self.run.sums_up and progress.batch_start >= self.run.samples.n
        )
        if progress.counted_rows == 0:
            return 0.0, progress.steps
        return progress.epoch_loss / progress.counted_rows, progress.steps

    def end_training(self):
        """Write parameters and moments back, as the last finished batch left them."""
        cdef const Net *net = &self.run.net
        if not self.in_training:
            raise ValueError("There is no training to end: call begin_training first.")
        lent = self.lent
        self.lent = self.held = self.held_order = self.held_rates = None
        self.in_training = self.in_epoch = False
        self._check_lent(lent)
        params, *moments = lent.values()
        store(net, self.run.params, <char *>cnp.PyArray_DATA(params))
        for i, moment in enumerate(moments):
            store(net, self._moment(i), <char *>cnp.PyArray_DATA(moment))

    cdef void _begin(self, Py_ssize_t batch_size) noexcept:
        cdef Progress *progress = &self.run.progress
        self.run.batch_size = min(batch_size, max(self.run.samples.n, 1))
        progress.batch = progress.batch_start = progress.row = 0
        progress.weight = progress.loss = 0
        progress.epoch_loss = progress.counted_rows = 0
        self.has_summary = False
        if self.run.sums_up:
            self._begin_summary()

    cdef void _begin_summary(self) noexcept:
        cdef const Net *net = &self.run.net
        cdef Py_ssize_t last = last_weighed(&self.run.samples, net.itemsize)
        begin_summary(net, &self.run.summary, self.run.n_slabs, packed_intercepts(net),
                      self.run.samples.n, last - last % self.run.batch_size)

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
        if not is_plain(array):
            raise ValueError(f"{name} must be C-contiguous and aligned.")
        if writable and not cnp.PyArray_ISWRITEABLE(array):
            raise ValueError(f"{name} is read-only, but it receives a result.")
        return cnp.PyArray_DATA(array)

    cdef _check_is_idle(self):
        if self.in_training:
            raise ValueError("Training is under way; call end_training first.")

    cdef _hold_X(self, X):
        """Point `samples` at the rows of X and keep it alive."""
        self._check_is_idle()
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
        self.run.samples.n = self.run.samples.X_rows = shape[0]
        self.run.samples.y = self.run.samples.weight = NULL
        self.run.samples.order = NULL
        self.run.net.weights = NULL

    cdef tuple _point_at_dense(self, X):
        row_bytes, item_bytes = (<object>X).strides
        in_rows = item_bytes == self.run.net.itemsize or self.layer_sizes[0] == 1
        if X.size and not (
            X.flags.aligned and in_rows and row_bytes % self.run.net.itemsize == 0
        ):
            raise ValueError("X must be aligned, with contiguous rows.")
        self.run.samples.X = <const char *>cnp.PyArray_DATA(X)
        self.run.samples.X_row_bytes = row_bytes
        self.run.net.index_bytes = 0
        if self.rows_of_X is None:
            self.rows_of_X = laid_out(&self.run, lay_out_rows)
        return (X,)

    cdef tuple _point_at_csr(self, X, Py_ssize_t n):
        # Another thread may put other arrays into X; these ones are checked and held.
        values, columns, row_starts = held = X.data, X.indices, X.indptr
        for name, array in (
            ("X.data", values), ("X.indices", columns), ("X.indptr", row_starts)
        ):
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{name} must be a numpy array.")
            if array.ndim != 1 or not is_plain(array):
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
        self.run.samples.X = <const char *>cnp.PyArray_DATA(values)
        self.run.samples.columns = <const char *>cnp.PyArray_DATA(columns)
        self.run.samples.row_starts = <const char *>cnp.PyArray_DATA(row_starts)
        self.run.net.index_bytes = columns.dtype.itemsize
        return held

    cdef _hold_samples(self, X, y, sample_weight):
        """Point `samples` at all that training looks at, and keep it alive."""
        self._hold_X(X)
        n = self.run.samples.n
        shape = (n, self.layer_sizes[self.run.net.L])
        self.run.samples.y_is_classes = (
            self.takes_codes and isinstance(y, np.ndarray) and y.ndim == 1
        )
        self.run.net.codes = NULL
        if self.run.samples.y_is_classes:
            if shape[1] <= self.run.net.k.panel:
                self.run.net.codes = self.run.codes
            self.run.samples.y = self._classes(y, shape)
        else:
            self.run.samples.y = <const char *>self._data("y", y, shape, False)
        if sample_weight is not None:
            self.run.samples.weight = <const char *>self._data(
                "sample_weight", sample_weight, (n,), False
            )
            self.run.net.weights = self.run.weights
        self.held = (self.held, y, sample_weight)

    cdef _hold_order(self, order, rates):
        """Point at the order of the rows and the rates, and keep them alive."""
        cdef Py_ssize_t n = self.run.samples.X_rows
        cdef ptrdiff_t *rows
        if (
            not isinstance(order, np.ndarray)
            or order.dtype != np.intp
            or order.ndim != 1
            or not is_plain(order)
        ):
            raise TypeError("order must be a contiguous vector of numpy.intp.")
        rows = <ptrdiff_t *>cnp.PyArray_DATA(order)
        if not are_below[ptrdiff_t](rows, order.size, n):
            raise ValueError(f"order must hold rows from 0 to {n - 1} only.")
        n_batches = -(-order.size // self.batch_size)
        if (
            not isinstance(rates, np.ndarray)
            or cnp.PyArray_TYPE(rates) != cnp.NPY_FLOAT64
            or (<object>rates).shape != (n_batches,)
            or not is_plain(rates)
        ):
            raise TypeError(
                f"rates must be a contiguous vector of {n_batches} numpy.float64, one "
                "for each batch."
            )
        self.run.samples.order, self.run.samples.n = rows, order.size
        self.run.rates = <const double *>cnp.PyArray_DATA(rates)
        self.held_order, self.held_rates = order, rates

    cdef const char *_classes(self, y, tuple shape) except? NULL:
        """y (n,) of int32: the node of the output layer whose target is 1."""
        cdef int32_t *classes
        n, n_classes = shape
        if y.dtype != np.int32 or y.shape != (n,) or not is_plain(y):
            raise TypeError(
                f"y must be a contiguous vector of {n} classes of int32, or have shape "
                f"{shape}."
            )
        classes = <int32_t *>cnp.PyArray_DATA(y)
        if not are_below[int32_t](classes, n, n_classes):
            raise ValueError(f"y must hold classes from 0 to {n_classes - 1} only.")
        return <const char *>classes


cdef object zeroed(Py_ssize_t n_bytes):
    """A buffer of zeros; a large one on huge pages where the system has them.

    A processor finds a few megabytes by its table of ordinary pages, and more by
    looking each page up. Memory that malloc gives out again is on such pages.
    """
    if n_bytes < HUGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros(n_bytes, np.uint8)
    try:
        memory = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"There are no {n_bytes} bytes for a workspace.") from error
    with suppress(OSError):  # a kernel without huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8)


ctypedef Py_ssize_t (*layout)(Run *, char *) noexcept nogil


cdef object laid_out(Run *run, layout place):
    """The memory, zeroed, in which `place` has set every pointer that it sets."""
    memory = zeroed(place(run, NULL) + CACHE_LINE)
    place(run, aligned(<char *>cnp.PyArray_DATA(memory)))
    return memory


cdef bint is_plain(cnp.ndarray array) noexcept:
    """Whether C can read it as it lies."""
    return cnp.PyArray_IS_C_CONTIGUOUS(array) and cnp.PyArray_ISALIGNED(array)


ctypedef fused index:
    ptrdiff_t
    int32_t


cdef bint are_below(index *numbers, Py_ssize_t n, Py_ssize_t end) noexcept nogil:
    """Whether n numbers are all within 0 <= number < end."""
    cdef Py_ssize_t i
    for i in range(n):
        if <size_t>numbers[i] >= <size_t>end:  # what is negative becomes huge
            return False
    return True


def available_instruction_sets():
    """Names that CBP_ISA can take on this machine, the default first."""
    cdef const char *names[5]
    n = cbp_available(names)
    return tuple(names[i].decode() for i in range(n))


cdef cbp_function function_of(record, int code) except *:
    """An activation or a loss as the kernels take it."""
    cdef cbp_function function
    parameters = record.parameters
    if code < 0 or len(parameters) > CBP_MOST_PARAMETERS:
        raise ValueError(f"The kernels have no case for {record!r}.")
    function.code, function.from_z = code, False
    for i in range(CBP_MOST_PARAMETERS):
        function.parameters[i] = parameters[i] if i < len(parameters) else 0.0
    return function


def elementwise(activation, x, out):
    """out = g(x) by the vectorised functions, for arrays of one float dtype.

    Beside the activations: "log" of normal x > 0, "log1p" of 0 <= x <= 1.
    """
    cdef const cbp_kernels *k
    cdef cbp_function g
    known = OUTPUT_ACTIVATIONS.get(activation)
    if known is not None and known.couples:
        raise ValueError(f"activation={activation!r} couples the nodes of a layer.")
    if x.dtype != out.dtype or x.dtype not in (np.float32, np.float64):
        raise TypeError("x and out must share one dtype, float32 or float64.")
    for array in (x, out):
        if not is_plain(array):
            raise ValueError("x and out must be C-contiguous and aligned.")
    if x.size != out.size or not out.flags.writeable:
        raise ValueError("out must be writable and of the size of x.")
    k = chosen_kernels(x.dtype.itemsize)
    if known is None:
        g.code = cbp_activation_code(activation.encode())
        if g.code < 0:
            raise ValueError(f"activation={activation!r} is unknown to the kernels.")
    else:
        g = function_of(known(), cbp_activation_code(activation.encode()))
    k.map(x.size, &g, cnp.PyArray_DATA(x), cnp.PyArray_DATA(out))


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
