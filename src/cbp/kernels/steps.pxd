"""What a member of a team does: its part of each step of training, of each block of X.

A batch is worked off in blocks of rows, small enough for a block's activations to stay
in the cache and the workspace to stay bounded, whatever the batch is. Each block takes
two phases, and all members meet after each:

    rows     forward pass, C_0, BP1, BP2 for a share of the rows of the block
    weights  BP3, BP4 over all rows of the block for a share of the weights and, with
             the last block of the batch, the solver's step for the same weights

A weight is thus summed and updated by one thread, in the order of the rows: no
gradients to add up, and the same bits for any number of members. Alone, a thread does
both phases by itself. What all need to know of the progress of an epoch each member
works out on its own copy; the first member keeps the accounts.
"""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t

from cbp.kernels.equations cimport (
    Layer, Net, Rows, Slab, backward_pass, forward_pass, gradient, is_sparse, output,
    output_error, part_of, row_of, slab_of, transposed_copy, weights_of,
)
from cbp.kernels._simd cimport (
    cbp_clock, cbp_flush_subnormals, cbp_restore_subnormals, cbp_step,
)
from cbp.kernels.summary cimport SlabRange, Summary, add_block, add_step, keep_weights
from cbp.kernels._team cimport cbp_team, cbp_team_wait


cdef extern from "assert.h" nogil:
    void c_assert "assert"(bint)  # nothing unless CBP_DEBUG=1


cdef enum:
    # Multiply-adds between two looks at the clock: some hundred microseconds.
    LOOK_EVERY = 4_000_000
    # Bytes of X that a cache keeps from one epoch to the next.
    AT_HAND = 64 * 1024
    # Of a prediction, that go through all layers while they are in the cache.
    ROWS_AT_ONCE = 96
    # Bytes of a row after which the hardware foresees the rest.
    FORESEEN = 512


ctypedef struct Samples:
    Py_ssize_t n                # rows of this epoch or call
    Py_ssize_t X_rows
    const char *X               # a sparse X: its values
    Py_ssize_t X_row_bytes      # of a dense X
    const char *columns         # of a sparse X: the column of each value,
    const char *row_starts      # and where each row begins among them
    const char *y               # (X_rows, n_L)
    bint y_is_classes           # (X_rows,) int32 instead: the node that is 1
    const char *weight          # NULL: all 1
    const ptrdiff_t *order      # NULL: as they stand


ctypedef struct Progress:       # in an epoch
    Py_ssize_t batch
    Py_ssize_t batch_start
    Py_ssize_t row              # of the batch, the first not yet propagated
    double weight               # of the rows of the batch before that one
    double loss
    Py_ssize_t steps            # of the solver so far,
    cbp_step step               # the last of them
    double epoch_loss
    Py_ssize_t counted_rows     # of the batches with any weight


ctypedef struct Run:
    Net net
    Samples samples
    Progress progress
    cbp_team *team
    Py_ssize_t block_rows       # at most
    Py_ssize_t batch_size
    Slab *slabs
    Py_ssize_t n_slabs
    double *squares             # ||W||^2 of each slab before the last step
    bint updates                # whether a batch ends with a step of the solver
    bint sums_up                # whether anybody wants to be told of the epoch
    Summary summary
    const double *rates         # of the batches of the epoch
    double alpha
    double work_per_row         # multiply-adds
    double deadline
    bint is_late
    void *params                # packed: all W, then all b
    void *grad                  # the same layout,
    void *m                     # the same: moments of the solver, which may have
    void *v                     # none or one
    void *weights               # (block,) of samples that have some
    void *codes                 # (block,) of samples that have classes
    char *out                   # a forward run: (n, n_L) for a^L
    Py_ssize_t start            # and its rows
    Py_ssize_t end


# ---- samples -----------------------------------------------------------------------


cdef inline Py_ssize_t sample_at(const Samples *samples, Py_ssize_t i) noexcept nogil:
    cdef Py_ssize_t row = samples.order[i] if samples.order != NULL else i
    c_assert(0 <= i < samples.n and 0 <= row < samples.X_rows)
    return row


cdef inline Py_ssize_t row_start(
    const Samples *samples, int index_bytes, Py_ssize_t row
) noexcept nogil:
    """Where the values of a row of a sparse X begin."""
    if index_bytes == 4:
        return (<const int32_t *>samples.row_starts)[row]
    return (<const int64_t *>samples.row_starts)[row]


cdef inline void point_at_rows(
    const Net *net, const Samples *samples, Py_ssize_t start, Rows rows
) noexcept nogil:
    """a^0 = x: the nonzeros of rows of a sparse X, where they lie."""
    cdef Py_ssize_t i, row, begin, end
    for i in range(rows.first, rows.first + rows.n):
        row = sample_at(samples, start + i)
        begin = row_start(samples, net.index_bytes, row)
        end = row_start(samples, net.index_bytes, row + 1)
        c_assert(0 <= begin <= end)
        net.x[i].values = samples.X + begin * net.itemsize
        net.x[i].columns = samples.columns + begin * net.index_bytes
        net.x[i].count = end - begin


cdef inline void feed_X(
    const Net *net, const Samples *samples, Py_ssize_t start, Rows rows
) noexcept nogil:
    """a^0 = x, for rows of the block that begins with sample `start`."""
    cdef Py_ssize_t i, first = start + rows.first, skip = first * samples.X_row_bytes
    cdef const ptrdiff_t *order = NULL
    if net.index_bytes:
        point_at_rows(net, samples, start, rows)
        return
    if samples.order != NULL:
        order, skip = samples.order + first, 0
    for i in range(rows.n):
        sample_at(samples, first + i)
    net.k.gather(rows.n, net.layer[0].n, order, samples.X + skip, samples.X_row_bytes,
                 net.step, row_of(net, net.layer[0].a, rows.first))


cdef inline void feed_targets(
    const Net *net, const Samples *samples, Py_ssize_t start, Rows rows
) noexcept nogil:
    """The targets, and the weights if there are any."""
    cdef Py_ssize_t n = net.layer[net.L].n
    cdef Py_ssize_t first = start + rows.first, skip = first
    cdef const ptrdiff_t *order = NULL
    cdef void *targets = row_of(net, net.targets, rows.first)
    if samples.order != NULL:
        order, skip = samples.order + first, 0
    if net.codes != NULL:
        net.k.pick_codes(rows.n, order, <const int32_t *>samples.y + skip,
                         <char *>net.codes + rows.first * net.itemsize)
    elif samples.y_is_classes:
        net.k.one_hot(rows.n, n, order, <const int32_t *>samples.y + skip, net.step,
                      targets)
    else:
        net.k.gather(rows.n, n, order, samples.y + skip * n * net.itemsize,
                     n * net.itemsize, net.step, targets)
    if samples.weight != NULL:
        net.k.pick(rows.n, order, samples.weight + skip * net.itemsize,
                   <char *>net.weights + rows.first * net.itemsize)


cdef inline bint asks(const Net *net, const Samples *samples) noexcept nogil:
    """Whether rows of X come from far away, in an order that no hardware foresees."""
    return samples.order != NULL and not net.index_bytes and (
        samples.X_rows * samples.X_row_bytes > AT_HAND
    )


cdef inline void ask_for(
    const Net *net, const Samples *samples, Py_ssize_t start, Rows rows
) noexcept nogil:
    """Have the memory bring the rows that `feed_X` and `feed_targets` will read."""
    cdef Py_ssize_t first = start + rows.first
    cdef Py_ssize_t count = min(rows.n, samples.n - first)
    cdef Py_ssize_t n_bytes = net.layer[net.L].n * net.itemsize
    cdef const ptrdiff_t *order = samples.order + first
    if count <= 0:
        return
    net.k.prefetch(count, samples.X_row_bytes, min(samples.X_row_bytes, FORESEEN),
                   order, samples.X)
    if samples.y_is_classes:
        n_bytes = sizeof(int32_t)
    net.k.prefetch(count, n_bytes, n_bytes, order, samples.y)


# ---- shares ------------------------------------------------------------------------


cdef inline Py_ssize_t next_part(Py_ssize_t left, Py_ssize_t most) noexcept nogil:
    """Rows to take next, in parts of equal size: none ends in a sliver."""
    cdef Py_ssize_t parts
    if left <= most:
        return left
    parts = (left + most - 1) // most
    return (left + parts - 1) // parts


cdef inline Rows share_of_rows(
    const Net *net, Py_ssize_t rows, int member, int members
) noexcept nogil:
    """Whole tiles of rows, about as many for each member."""
    if members == 1:
        return Rows(0, rows)
    cdef Py_ssize_t tile = net.k.tile_rows, tiles = (rows + tile - 1) // tile
    cdef Py_ssize_t first = tiles * member // members * tile
    cdef Py_ssize_t end = tiles * (member + 1) // members * tile
    return Rows(min(first, rows), min(end, rows) - min(first, rows))


cdef inline Rows part_of_rows(
    Rows rows, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    cdef Py_ssize_t first = rows.n * part // parts, end = rows.n * (part + 1) // parts
    return Rows(rows.first + first, end - first)


cdef inline Py_ssize_t last_weighed(
    const Samples *samples, Py_ssize_t itemsize
) noexcept nogil:
    """The last sample with any weight, 0 if there is none: most often the last one."""
    cdef Py_ssize_t i = samples.n - 1, row
    if samples.weight == NULL:
        return max(i, 0)
    while i > 0:
        row = sample_at(samples, i)
        if (<const float *>samples.weight)[row] if itemsize == sizeof(float) else (
            (<const double *>samples.weight)[row]
        ):
            return i
        i -= 1
    return 0


cdef inline Py_ssize_t first_slab(
    const Run *run, int member, int members
) noexcept nogil:
    """Where the share of a member begins: about as many weights for each.

    Slabs of one panel stay together where X is sparse.
    """
    cdef Py_ssize_t s, total = 0, before = 0
    for s in range(run.n_slabs):
        total += run.slabs[s].nodes * run.slabs[s].width
    for s in range(run.n_slabs):
        if (before + run.slabs[s].nodes * run.slabs[s].width // 2) * members >= (
            total * member
        ) and not (is_sparse(&run.net, &run.slabs[s]) and run.slabs[s].node):
            return s
        before += run.slabs[s].nodes * run.slabs[s].width
    return run.n_slabs


# ---- a step of the solver ----------------------------------------------------------


cdef inline double update_part(
    const Run *run, const cbp_step *step, const void *grad, void *params,
    Py_ssize_t n, bint are_coefs, double factor,
) noexcept nogil:
    """n packed parameters; returns their sum of squares as it was before."""
    cdef Py_ssize_t skip = <char *>params - <char *>run.params
    return run.net.k.update(n, step, are_coefs, factor, grad, <char *>run.m + skip,
                            <char *>run.v + skip, params)


cdef inline void update(
    const Run *run, const cbp_step *step, Py_ssize_t s, const void *grad_W,
    const void *grad_b,
) noexcept nogil:
    """The step for one slab, with the gradient summed over the batch."""
    cdef const Net *net = &run.net
    cdef const Slab *slab = &run.slabs[s]
    cdef const Layer *layer = &net.layer[slab.l]
    run.squares[s] = update_part(run, step, grad_W, weights_of(net, slab),
                                 slab.nodes * slab.width, True, layer.rate_of_W)
    if slab.intercepts:
        update_part(run, step, grad_b, part_of(net, slab, layer.b), slab.intercepts,
                    False, layer.rate_of_b)
    transposed_copy(net, slab)


cdef inline double mean_loss(
    const Run *run, const Progress *progress, double squares
) noexcept nogil:
    # Without penalty weights may be so large that their squares overflow.
    cdef double penalty = run.alpha / 2 * squares if run.alpha > 0 else 0
    return (progress.loss + penalty) / progress.weight


cdef inline void close_batch(
    const Run *run, Progress *progress, Py_ssize_t rows
) noexcept nogil:
    """Enter the loss of the batch, from before the step, into that of the epoch."""
    cdef double squares = 0
    cdef Py_ssize_t s
    for s in range(run.n_slabs):
        squares += run.squares[s]
    progress.epoch_loss += mean_loss(run, progress, squares) * rows
    progress.counted_rows += rows


# ---- what a team runs --------------------------------------------------------------


cdef inline Py_ssize_t rows_of_batch(
    const Run *run, const Progress *progress
) noexcept nogil:
    return min(run.batch_size, run.samples.n - progress.batch_start)


cdef inline Py_ssize_t rows_of_block(
    const Run *run, const Progress *progress
) noexcept nogil:
    return next_part(rows_of_batch(run, progress) - progress.row, run.block_rows)


cdef inline void propagate(
    Run *run, const Progress *progress, Rows rows
) noexcept nogil:
    """Forward pass, C_0, BP1 and BP2."""
    cdef Py_ssize_t start = progress.batch_start + progress.row
    feed_X(&run.net, &run.samples, start, rows)
    feed_targets(&run.net, &run.samples, start, rows)
    forward_pass(&run.net, rows, False)
    output_error(&run.net, rows, False)
    backward_pass(&run.net, rows)


cdef inline void begin_step(const Run *run, Progress *progress) noexcept nogil:
    progress.steps += 1
    progress.step.rate = run.rates[progress.batch]
    progress.step.S = progress.weight
    run.net.k.begin_step(&progress.step)


cdef inline void work_off(
    Run *run, const Progress *progress, Py_ssize_t rows, Py_ssize_t s, bint steps
) noexcept nogil:
    """A block's part of the gradient of a slab, and the step once it is the last."""
    cdef const Net *net = &run.net
    cdef const Slab *slab = &run.slabs[s]
    cdef Layer *layer = &net.layer[slab.l]
    cdef void *grad_W = slab_of(net, slab, layer.grad_W)
    cdef void *grad_b = part_of(net, slab, layer.grad_b)
    gradient(net, rows, slab, progress.row > 0, grad_W, grad_b)
    if steps:
        update(run, &progress.step, s, grad_W, grad_b)


cdef inline void work_off_block(
    Run *run, const Progress *progress, Rows mine, Py_ssize_t rows, SlabRange slabs,
    bint steps,
) noexcept nogil:
    """The second phase of a block of so many rows, of which some were `mine`."""
    cdef const Net *net = &run.net
    cdef Py_ssize_t s, next_block = progress.batch_start + progress.row + rows
    cdef bint is_last = run.sums_up and (
        progress.batch_start == run.summary.last_batch
        and progress.row + rows == rows_of_batch(run, progress)
    )
    if is_last:
        keep_weights(net, slabs, &run.summary)
    for s in range(slabs.first, slabs.end):
        work_off(run, progress, rows, s, steps)
        if asks(net, &run.samples):
            # A few rows at a time, so that the memory keeps up.
            ask_for(net, &run.samples, next_block,
                    part_of_rows(mine, s - slabs.first, slabs.end - slabs.first))
    if run.sums_up:
        add_block(net, rows, slabs, &run.summary)
    if is_last:
        add_step(net, progress.weight, slabs, &run.summary)


cdef inline void train(void *job, int member, int members) noexcept nogil:
    """Go on with the epoch until its end or the deadline, one block at least."""
    cdef Run *run = <Run *>job
    cdef const Net *net = &run.net
    cdef Progress progress = run.progress
    cdef Py_ssize_t rows, batch_rows
    cdef Rows mine
    cdef SlabRange slabs = SlabRange(run.slabs, first_slab(run, member, members),
                                     first_slab(run, member + 1, members))
    cdef double work = 0
    cdef bint steps
    cdef unsigned long long state = cbp_flush_subnormals()
    while progress.batch_start < run.samples.n:
        batch_rows, rows = rows_of_batch(run, &progress), rows_of_block(run, &progress)
        c_assert(0 < rows <= run.block_rows)
        mine = share_of_rows(net, rows, member, members)
        propagate(run, &progress, mine)
        if members > 1:
            cbp_team_wait(run.team)

        if progress.row == 0:
            progress.weight = progress.loss = 0
        progress.weight += rows if net.weights == NULL else (
            net.k.weighted_sum(rows, NULL, net.weights)
        )
        steps = run.updates and progress.weight > 0 and (
            progress.row + rows == batch_rows
        )
        if steps:
            begin_step(run, &progress)
        work_off_block(run, &progress, mine, rows, slabs, steps)
        if member == 0:
            progress.loss += net.k.weighted_sum(rows, net.weights, net.losses)
            work += rows * run.work_per_row
            if work > LOOK_EVERY:
                run.is_late, work = cbp_clock() >= run.deadline, 0
        if members > 1:
            cbp_team_wait(run.team)

        progress.row += rows
        if progress.row == batch_rows:
            if steps and member == 0:
                close_batch(run, &progress, batch_rows)
            progress.batch += 1
            progress.batch_start += batch_rows
            progress.row = 0
        if run.is_late:
            break
    if member == 0:
        run.progress = progress
    cbp_restore_subnormals(state)


cdef inline void predict(void *job, int member, int members) noexcept nogil:
    """a^L of the samples from run.start to run.end, block by block."""
    cdef Run *run = <Run *>job
    cdef const Net *net = &run.net
    cdef Py_ssize_t n = net.layer[net.L].n, tile = net.k.tile_rows
    cdef Py_ssize_t most = min(ROWS_AT_ONCE, run.block_rows // members) // tile * tile
    cdef Py_ssize_t start = run.start + member * most
    cdef Rows rows
    while start < run.end:
        rows = Rows(member * most, min(most, run.end - start))
        # Rows of the block, counted from its first, which another member may have.
        feed_X(net, &run.samples, start - rows.first, rows)
        forward_pass(net, rows, False)
        output(net, rows)
        net.k.scatter(rows.n, n, net.step, row_of(net, net.layer[net.L].a, rows.first),
                      run.out + start * n * net.itemsize)
        start += members * most
