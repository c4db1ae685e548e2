"""What an epoch leaves to be told: how large error signals, gradients and steps were.

Everything is summed slab by slab, by the thread whose slab it is, in the order of the
rows: the sums are the same for any number of threads. Error signals and activations are
read from the block while it is in the cache; gradient and weights of a slab once per
epoch, around the step of its last batch with any weight. Nothing here changes what is
trained.

A slab that brings intercepts stands for the nodes that they belong to: each node of a
layer has one such slab.
"""

from libc.math cimport INFINITY, sqrt
from libc.string cimport memcpy, memset

from cbp.kernels.equations cimport (
    Layer, Net, Slab, panel_of, part_of, slab_of, weights_of,
)


ctypedef struct SlabRange:      # those from first on, before end
    const Slab *slabs
    Py_ssize_t first
    Py_ssize_t end


ctypedef struct Summary:
    Py_ssize_t rows             # of the epoch
    Py_ssize_t last_batch       # with any weight: where it begins
    double *delta_squares       # of each slab with intercepts: of its nodes, all rows
    double *grad_squares        # of each slab: its part of the gradient of that batch,
    double *change_squares      # and of what the step has changed in the weights
    void *active                # as all b: 1 for nodes that were active, else 0
    void *before                # as all trained W: before the step, then the change


cdef inline void begin_summary(
    const Net *net, Summary *summary, Py_ssize_t n_slabs, Py_ssize_t n_intercepts,
    Py_ssize_t rows, Py_ssize_t last_batch,
) noexcept nogil:
    summary.rows, summary.last_batch = rows, last_batch
    memset(summary.delta_squares, 0, n_slabs * sizeof(double))
    memset(summary.grad_squares, 0, n_slabs * sizeof(double))
    memset(summary.change_squares, 0, n_slabs * sizeof(double))
    memset(summary.active, 0, n_intercepts * net.itemsize)


cdef inline void *kept(
    const Net *net, const Slab *slab, const Summary *summary
) noexcept nogil:
    """Where a slab lies in `before`; W^1 begins the trained matrices."""
    return <char *>summary.before + (
        <char *>weights_of(net, slab) - <char *>net.layer[1].W
    )


cdef inline void *active_of(
    const Net *net, Py_ssize_t l, const Summary *summary
) noexcept nogil:
    return <char *>summary.active + (
        <char *>net.layer[l].b - <char *>net.layer[1].b
    )


cdef inline void keep_weights(
    const Net *net, SlabRange mine, const Summary *summary
) noexcept nogil:
    """Before the step that is to be told of."""
    cdef Py_ssize_t s
    cdef const Slab *slab
    for s in range(mine.first, mine.end):
        slab = &mine.slabs[s]
        memcpy(kept(net, slab, summary), weights_of(net, slab),
               slab.nodes * slab.width * net.itemsize)


cdef inline void add_block(
    const Net *net, Py_ssize_t rows, SlabRange mine, Summary *summary
) noexcept nogil:
    """The error signals of a block, and which nodes were active in it."""
    cdef Py_ssize_t s, n
    cdef const Slab *slab
    cdef Layer *layer
    for s in range(mine.first, mine.end):
        slab = &mine.slabs[s]
        layer = &net.layer[slab.l]
        n = min(slab.intercepts, layer.n - slab.column)
        if n == 0:
            continue
        summary.delta_squares[s] += net.k.column_squares(
            rows, n, net.k.panel, panel_of(net, layer.delta, slab.column)
        )
        if slab.l < net.L and layer.dies:
            net.k.mark_active(rows, n, panel_of(net, layer.a, slab.column),
                              part_of(net, slab, active_of(net, slab.l, summary)))


cdef inline void add_step(
    const Net *net, double S, SlabRange mine, Summary *summary
) noexcept nogil:
    """The mean gradient of the last batch, whose weights sum to S, and the change.

    What lies in the gradient is its sum over the batch, without the penalty.
    """
    cdef Py_ssize_t s, n
    cdef const Slab *slab
    cdef Layer *layer
    cdef double squares
    if S <= 0:
        return
    for s in range(mine.first, mine.end):
        slab = &mine.slabs[s]
        layer = &net.layer[slab.l]
        n = slab.nodes * slab.width
        squares = net.k.column_squares(slab.nodes, slab.width, slab.width,
                                       slab_of(net, slab, layer.grad_W))
        if slab.intercepts:
            squares += net.k.column_squares(1, slab.intercepts, slab.intercepts,
                                            part_of(net, slab, layer.grad_b))
        summary.grad_squares[s] = squares / (S * S)
        # From here on `before` holds the change.
        net.k.change(n, weights_of(net, slab), kept(net, slab, summary))
        summary.change_squares[s] = net.k.column_squares(
            slab.nodes, slab.width, slab.width, kept(net, slab, summary)
        )


cdef inline double sum_of_layer(
    const double *sums, SlabRange all, Py_ssize_t l
) noexcept nogil:
    cdef Py_ssize_t s
    cdef double total = 0
    for s in range(all.first, all.end):
        if all.slabs[s].l == l:
            total += sums[s]
    return total


cdef inline double delta_norm(
    const Net *net, SlabRange all, const Summary *summary, Py_ssize_t l
) noexcept nogil:
    """Root mean square over rows and nodes."""
    return sqrt(sum_of_layer(summary.delta_squares, all, l)
                / (<double>max(summary.rows, 1) * net.layer[l].n))


cdef inline double grad_norm(
    SlabRange all, const Summary *summary, Py_ssize_t l
) noexcept nogil:
    return sqrt(sum_of_layer(summary.grad_squares, all, l))


cdef inline double update_ratio(
    SlabRange all, const Summary *summary, const double *squares, Py_ssize_t l
) noexcept nogil:
    """||change of W|| / ||W||, from the ||W||^2 of each slab before the step."""
    cdef double change = sum_of_layer(summary.change_squares, all, l)
    cdef double before = sum_of_layer(squares, all, l)
    if change == 0:
        return 0.0
    return sqrt(change / before) if before != 0 else INFINITY


cdef inline double dead_share(
    const Net *net, const Summary *summary, Py_ssize_t l
) noexcept nogil:
    """Of the nodes whose derivative was 0 in every row."""
    cdef Py_ssize_t n = net.layer[l].n
    if not net.layer[l].dies:
        return 0.0
    return (n - net.k.weighted_sum(n, NULL, active_of(net, l, summary))) / n
