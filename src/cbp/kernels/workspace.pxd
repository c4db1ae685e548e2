"""Where all that a run needs lies: one stretch of memory, cut up once.

`lay_out` places every buffer; with no memory to place them in it measures how much they
need. `load` and `store` translate between a plain vector of parameters (all coefs, then
all intercepts) and the packed one that the kernels read.
"""

from cbp.kernels.equations cimport Layer, Net, Slab, transposed_copy
from cbp.kernels._simd cimport cbp_sparse_row
from cbp.kernels.steps cimport Run
from cbp.kernels.summary cimport Summary


cdef enum:
    # Of a block's activations and error signals: a large block spares the gradients and
    # the weights a round trip through the memory, a larger one than this gains nothing.
    BLOCK_BYTES = 16 * 1024 * 1024
    MOST_BLOCK_ROWS = 516
    FEWEST_BLOCK_ROWS = 36
    # Rows by which panels are longer than the block: panels a power of two apart would
    # crowd into a few sets of the cache.
    SKEW_ROWS = 8
    # Panels of nodes of the layer below whose weights make a slab; fewer where a layer
    # would have fewer slabs than ENOUGH_SLABS for threads to share.
    SLAB_PANELS = 4
    ENOUGH_SLABS = 6
    # What a sum across the lanes of a vector costs, in multiply-adds of vectors.
    SUM_ACROSS = 6
    CACHE_LINE = 64


ctypedef struct Arena:
    char *base                  # NULL while only measuring
    Py_ssize_t used


cdef inline char *aligned(char *start) noexcept nogil:
    """The next cache line after `start`."""
    return start + CACHE_LINE - <size_t>start % CACHE_LINE


cdef inline char *take(Arena *arena, Py_ssize_t n_bytes) noexcept nogil:
    """The next n_bytes of the arena, starting on a cache line."""
    cdef char *at = NULL
    if arena.base != NULL:
        at = arena.base + arena.used
    arena.used += (n_bytes + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE
    return at


# ---- sizes -------------------------------------------------------------------------


cdef inline Py_ssize_t panels_in(const Net *net, Py_ssize_t n) noexcept nogil:
    return (n + net.k.panel - 1) // net.k.panel


cdef inline Py_ssize_t rows_of_a_block(const Net *net) noexcept nogil:
    """Rows of the largest block: whole tiles."""
    cdef Py_ssize_t l, rows, width = net.layer[0].n
    for l in range(1, net.L + 1):
        width += 2 * net.layer[l].n  # a of every layer, delta of every layer but 0
    rows = BLOCK_BYTES // (width * net.itemsize)
    rows = max(FEWEST_BLOCK_ROWS, min(MOST_BLOCK_ROWS, rows))
    return rows // net.k.tile_rows * net.k.tile_rows


cdef inline Py_ssize_t block_bytes(const Net *net, Py_ssize_t l) noexcept nogil:
    """Of z, a or delta of a layer."""
    return panels_in(net, net.layer[l].n) * net.step * net.itemsize


cdef inline void choose_lanes(const Net *net, Py_ssize_t l) noexcept nogil:
    """Keep the lanes full in a layer of so few nodes that it matters.

    Nodes that would fill no more than half of the last vector are summed across lanes,
    unless there are so few terms to a sum that this costs more. And of W and W^T the
    one with less padding is trained. X may be sparse: the first layer stays as it is.
    """
    cdef Layer *layer = &net.layer[l]
    cdef Py_ssize_t lanes = net.k.padded_width(1), n_in = net.layer[l - 1].n
    cdef Py_ssize_t left = layer.n % lanes
    layer.n_in_lanes, layer.is_transposed = layer.n, False
    if l == 1 or layer.n >= net.k.panel:
        return
    if 2 * left <= lanes and n_in * (lanes - left) >= SUM_ACROSS * left * lanes:
        layer.n_in_lanes -= left
    layer.is_transposed = layer.n_in_lanes < layer.n or (
        net.k.packed_size(layer.n, n_in) < net.k.packed_size(n_in, layer.n)
    )


cdef inline Py_ssize_t matrix_rows(const Net *net, Py_ssize_t l) noexcept nogil:
    """Of the trained matrix, W or W^T."""
    return net.layer[l].n if net.layer[l].is_transposed else net.layer[l - 1].n


cdef inline Py_ssize_t matrix_columns(const Net *net, Py_ssize_t l) noexcept nogil:
    return net.layer[l - 1].n if net.layer[l].is_transposed else net.layer[l].n


cdef inline Py_ssize_t packed_coefs(const Net *net, Py_ssize_t l) noexcept nogil:
    return net.k.packed_size(matrix_rows(net, l), matrix_columns(net, l))


cdef inline Py_ssize_t packed_intercepts(const Net *net) noexcept nogil:
    cdef Py_ssize_t l, n = 0
    for l in range(1, net.L + 1):
        n += net.k.padded_width(net.layer[l].n)
    return n


cdef inline Py_ssize_t all_packed_coefs(const Net *net) noexcept nogil:
    cdef Py_ssize_t l, n = 0
    for l in range(1, net.L + 1):
        n += packed_coefs(net, l)
    return n


# ---- slabs -------------------------------------------------------------------------


cdef inline Py_ssize_t slab_nodes(const Net *net, Py_ssize_t l) noexcept nogil:
    cdef Py_ssize_t panels = panels_in(net, matrix_rows(net, l)) * (
        panels_in(net, matrix_columns(net, l))
    )
    return net.k.panel * max(1, min(SLAB_PANELS, panels // ENOUGH_SLABS))


cdef inline Py_ssize_t slabs_down(const Net *net, Py_ssize_t l) noexcept nogil:
    """How many slabs a panel of a layer is cut into."""
    cdef Py_ssize_t nodes = slab_nodes(net, l)
    return (matrix_rows(net, l) + nodes - 1) // nodes


cdef inline Py_ssize_t count_slabs(const Net *net) noexcept nogil:
    cdef Py_ssize_t l, n = 0
    for l in range(1, net.L + 1):
        n += slabs_down(net, l) * panels_in(net, matrix_columns(net, l))
    return n


cdef inline void cut_slabs(const Net *net, Slab *slab) noexcept nogil:
    """The weights in slabs, in the order in which they are worked off.

    All panels of delta pass the same nodes before the next ones, so that these stay in
    the cache. In the first layer all nodes pass a panel: a sparse X has them together.
    """
    cdef Py_ssize_t l, i, j, s, nodes, down, across, rows, columns
    for l in range(1, net.L + 1):
        rows, columns = matrix_rows(net, l), matrix_columns(net, l)
        nodes, down = slab_nodes(net, l), slabs_down(net, l)
        across = panels_in(net, columns)
        for s in range(down * across):
            i, j = (s % down, s // down) if l == 1 else (s // across, s % across)
            slab.l, slab.node, slab.column = l, i * nodes, j * net.k.panel
            slab.nodes = min(nodes, rows - slab.node)
            slab.width = min(net.k.panel, net.k.padded_width(columns - slab.column))
            slab.intercepts = 0
            if net.layer[l].is_transposed and s == 0:
                slab.intercepts = net.k.padded_width(net.layer[l].n)
            elif not net.layer[l].is_transposed and i == 0:
                slab.intercepts = slab.width
            slab += 1


# ---- buffers -----------------------------------------------------------------------


cdef inline void place_parameters(Run *run, Arena *arena) noexcept nogil:
    """Parameters, gradient and moments, each packed: all W, then all b."""
    cdef Net *net = &run.net
    cdef Layer *layer
    cdef Py_ssize_t l, n_bytes, skip = 0
    n_bytes = (all_packed_coefs(net) + packed_intercepts(net)) * net.itemsize
    run.params = take(arena, n_bytes)
    run.grad = take(arena, n_bytes)
    run.m = take(arena, n_bytes)
    run.v = take(arena, n_bytes)
    for l in range(1, net.L + 1):
        layer = &net.layer[l]
        if layer.is_transposed:
            layer.WT = <char *>run.params + skip
        else:
            layer.W = <char *>run.params + skip
        layer.grad_W = <char *>run.grad + skip
        skip += packed_coefs(net, l) * net.itemsize
    for l in range(1, net.L + 1):
        layer = &net.layer[l]
        layer.b = <char *>run.params + skip
        layer.grad_b = <char *>run.grad + skip
        skip += net.k.padded_width(layer.n) * net.itemsize


cdef inline void place_layer(
    const Net *net, Arena *arena, Py_ssize_t l
) noexcept nogil:
    cdef Layer *layer = &net.layer[l]
    cdef Py_ssize_t n_in = net.layer[l - 1].n
    layer.a = take(arena, block_bytes(net, l))
    layer.z = take(arena, block_bytes(net, l))
    layer.delta = take(arena, block_bytes(net, l))
    if layer.is_transposed:
        layer.W = take(
            arena, net.k.packed_size(n_in, layer.n_in_lanes) * net.itemsize
        )
    elif l > 1:
        layer.WT = take(arena, net.k.packed_size(layer.n, n_in) * net.itemsize)


cdef inline Py_ssize_t lay_out(Run *run, char *base) noexcept nogil:
    """Place every buffer from `base` on; returns the size of all. NULL measures.

    The layers have their sizes already. Those buffers that are as wide as X are not
    here: `lay_out_rows` places a^0, for which a sparse X has no use, and
    `lay_out_input_gradient` what only `inspect` needs.
    """
    cdef Net *net = &run.net
    cdef Arena arena = Arena(base, 0)
    cdef Py_ssize_t l, rows
    for l in range(1, net.L + 1):
        choose_lanes(net, l)
    run.block_rows = rows = rows_of_a_block(net)
    net.step = (rows + SKEW_ROWS) * net.k.panel
    run.n_slabs = count_slabs(net)
    run.slabs = <Slab *>take(&arena, run.n_slabs * sizeof(Slab))
    run.squares = <double *>take(&arena, run.n_slabs * sizeof(double))
    if base != NULL:
        cut_slabs(net, run.slabs)
    place_parameters(run, &arena)
    for l in range(1, net.L + 1):
        place_layer(net, &arena, l)
    net.x = <cbp_sparse_row *>take(&arena, rows * sizeof(cbp_sparse_row))
    net.targets = take(&arena, block_bytes(net, net.L))
    net.losses = take(&arena, rows * net.itemsize)
    run.weights = take(&arena, rows * net.itemsize)
    run.codes = take(&arena, rows * net.itemsize)
    return arena.used


cdef inline Py_ssize_t lay_out_rows(Run *run, char *base) noexcept nogil:
    """Place a^0."""
    cdef Arena arena = Arena(base, 0)
    run.net.layer[0].a = take(&arena, block_bytes(&run.net, 0))
    return arena.used


cdef inline Py_ssize_t lay_out_input_gradient(Run *run, char *base) noexcept nogil:
    """Place W^1 transposed and dC_0/dx."""
    cdef Net *net = &run.net
    cdef Layer *first = &net.layer[1]
    cdef Arena arena = Arena(base, 0)
    first.WT = take(
        &arena, net.k.packed_size(first.n, net.layer[0].n) * net.itemsize
    )
    net.layer[0].delta = take(&arena, block_bytes(net, 0))
    return arena.used


cdef inline Py_ssize_t lay_out_summary(Run *run, char *base) noexcept nogil:
    """Place what an epoch is summed up in."""
    cdef Net *net = &run.net
    cdef Summary *summary = &run.summary
    cdef Arena arena = Arena(base, 0)
    cdef Py_ssize_t sums = run.n_slabs * sizeof(double)
    summary.delta_squares = <double *>take(&arena, sums)
    summary.grad_squares = <double *>take(&arena, sums)
    summary.change_squares = <double *>take(&arena, sums)
    summary.active = take(&arena, packed_intercepts(net) * net.itemsize)
    summary.before = take(&arena, all_packed_coefs(net) * net.itemsize)
    return arena.used


# ---- between the plain and the packed layout ---------------------------------------


cdef inline void load(const Net *net, const char *plain, void *packed) noexcept nogil:
    """Plain vector -> packed vector."""
    cdef char *to = <char *>packed
    cdef Py_ssize_t l, n_in, n
    for l in range(1, net.L + 1):
        n_in, n = net.layer[l - 1].n, net.layer[l].n
        if net.layer[l].is_transposed:
            net.k.pack_transposed(n_in, n, plain, to)
        else:
            net.k.pack(n_in, n, plain, to)
        to += packed_coefs(net, l) * net.itemsize
        plain += n_in * n * net.itemsize
    for l in range(1, net.L + 1):
        n = net.layer[l].n
        net.k.pack(1, n, plain, to)
        plain += n * net.itemsize
        to += net.k.padded_width(n) * net.itemsize


cdef inline void store(const Net *net, const void *packed, char *plain) noexcept nogil:
    """Packed vector -> plain vector."""
    cdef const char *source = <const char *>packed
    cdef Py_ssize_t l, n_in, n
    for l in range(1, net.L + 1):
        n_in, n = net.layer[l - 1].n, net.layer[l].n
        if net.layer[l].is_transposed:
            net.k.unpack_transposed(n_in, n, source, plain)
        else:
            net.k.unpack(n_in, n, source, plain)
        source += packed_coefs(net, l) * net.itemsize
        plain += n_in * n * net.itemsize
    for l in range(1, net.L + 1):
        n = net.layer[l].n
        net.k.unpack(1, n, source, plain)
        plain += n * net.itemsize
        source += net.k.padded_width(n) * net.itemsize


cdef inline void load_params(Run *run, const char *plain, bint all) noexcept nogil:
    """Pack the parameters, with the copies that the forward pass or all passes read."""
    cdef Py_ssize_t s
    load(&run.net, plain, run.params)
    for s in range(run.n_slabs):
        if all or run.net.layer[run.slabs[s].l].is_transposed:
            transposed_copy(&run.net, &run.slabs[s])
