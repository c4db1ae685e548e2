"""The equations of the forward and the backward pass, over some rows of a block.

Each function is a loop over the layers around one C kernel (simd/simd.h says what each
does and in which layout). They are called by `steps.pxd` and `propagator.pyx`, own
nothing, allocate nothing, know nothing of Python, and cannot fail.

The forward pass, BP1 and BP2 treat each row by itself: threads may share the rows of a
block. BP3 and BP4 are sums over all rows of the block, for each weight by itself:
threads may share the weights, in slabs.
"""

from cbp.kernels._simd cimport cbp_function, cbp_kernels, cbp_sparse_row


ctypedef struct Layer:
    Py_ssize_t n                # nodes
    cbp_function g              # a = g(z); none for l = 0
    bint dies                   # whether nodes can have g' = 0 for every sample
    Py_ssize_t n_in_lanes       # the first of them; sums of the others go across lanes
    bint is_transposed          # W^T is trained and W its copy, not the other way round
    double rate_of_W            # factors of the learning rate
    double rate_of_b
    void *W                     # packed (n_{l-1}, n_in_lanes): for the forward pass
    void *WT                    # packed (n_l, n_{l-1}): for BP2
    void *b                     # (padded n_l,)
    void *grad_W                # as the trained one of both
    void *grad_b                # as b
    void *z                     # (block, n_l) in panels; none for l = 0
    void *a                     # the same; the rows of a dense X for l = 0
    void *delta                 # the same


ctypedef struct Net:
    const cbp_kernels *k
    Py_ssize_t itemsize
    Py_ssize_t L                # the output layer
    Layer *layer                # layer[l] for l = 0..L; layer[0] is the input
    Py_ssize_t step             # reals from one panel of a block to the next
    cbp_sparse_row *x           # (block,) rows of a sparse X, in place of a^0
    int index_bytes             # of a column in x; 0: X is dense
    cbp_function loss           # C_0
    void *targets               # (block, n_L) in panels
    void *codes                 # (block,) instead: the node that is 1; NULL: not so
    void *weights               # (block,); NULL: all 1
    void *losses                # (block,) C_0


ctypedef struct Rows:
    Py_ssize_t first            # of the block
    Py_ssize_t n


ctypedef struct Slab:           # of the trained matrix of a layer
    Py_ssize_t l
    Py_ssize_t node             # these rows
    Py_ssize_t nodes
    Py_ssize_t column           # of one panel
    Py_ssize_t width
    Py_ssize_t intercepts       # how many, from `column` on, go with it


cdef inline void *row_of(const Net *net, void *matrix, Py_ssize_t row) noexcept nogil:
    """Where a row of a block's matrix begins."""
    return <char *>matrix + row * net.k.panel * net.itemsize


cdef inline void *panel_of(const Net *net, void *matrix, Py_ssize_t j) noexcept nogil:
    """Where the panel that begins with column j of a block's matrix begins."""
    return <char *>matrix + j // net.k.panel * net.step * net.itemsize


cdef inline void weighted_input(
    const Net *net, Rows rows, Py_ssize_t l, const cbp_function *g, void *z, void *a
) noexcept nogil:
    """z = a^{l-1} W^l + b^l and a = g(z), over the nonzeros of a sparse a^0.

    Without g a is z.
    """
    cdef Layer *below = &net.layer[l - 1]
    cdef Layer *layer = &net.layer[l]
    if z != NULL:
        z = row_of(net, z, rows.first)
    a = row_of(net, a, rows.first)
    if l == 1 and net.index_bytes:
        net.k.forward_sparse(rows.n, below.n, layer.n, g, net.index_bytes,
                             net.step, net.x + rows.first, layer.W, layer.b, z, a)
        return
    if layer.n_in_lanes:
        net.k.forward(rows.n, below.n, layer.n_in_lanes, g, net.step,
                      row_of(net, below.a, rows.first), layer.W, layer.b, z, a)
    if layer.n_in_lanes < layer.n:
        net.k.forward_across(rows.n, below.n, layer.n, layer.n_in_lanes, g,
                             net.step, row_of(net, below.a, rows.first), layer.WT,
                             layer.b, z, a)


cdef inline void forward_pass(const Net *net, Rows rows, bint keep_all) noexcept nogil:
    """z^l = a^{l-1} W^l + b^l and a^l = g(z^l), up to z^L.

    Training needs z of a hidden layer only if g' is computed from it, and no a^L.
    """
    cdef Py_ssize_t l
    cdef Layer *layer
    for l in range(1, net.L):
        layer = &net.layer[l]
        weighted_input(net, rows, l, &layer.g,
                       layer.z if keep_all or layer.g.from_z else NULL, layer.a)
    weighted_input(net, rows, net.L, NULL, NULL, net.layer[net.L].z)


cdef inline void output(const Net *net, Rows rows) noexcept nogil:
    """a^L = g(z^L)."""
    cdef Layer *layer = &net.layer[net.L]
    net.k.output(rows.n, layer.n, &layer.g, net.step,
                 row_of(net, layer.z, rows.first), row_of(net, layer.a, rows.first))


cdef inline void output_error(const Net *net, Rows rows, bint keep_all) noexcept nogil:
    """BP1: delta^L = dC_0/da^L * g'(z^L), with a^L and C_0 on the way.

    delta^l is linear in delta^L: to weigh this one by the sample's weight weighs all.
    """
    cdef Layer *layer = &net.layer[net.L]
    cdef Py_ssize_t skip = rows.first * net.itemsize
    cdef void *delta = row_of(net, layer.delta, rows.first)
    cdef void *codes = NULL if net.codes == NULL else <char *>net.codes + skip
    net.k.error_signal(rows.n, layer.n, &layer.g, &net.loss, net.step,
                       row_of(net, layer.z, rows.first),
                       row_of(net, net.targets, rows.first), codes, keep_all,
                       row_of(net, layer.a, rows.first), delta,
                       <char *>net.losses + skip)
    if net.weights != NULL:
        net.k.weigh(rows.n, layer.n, net.step, <char *>net.weights + skip, delta)


cdef inline void backward_pass(const Net *net, Rows rows) noexcept nogil:
    """BP2: delta^l = (W^{l+1} delta^{l+1}) * g'(z^l), from delta^L down to delta^1."""
    cdef Py_ssize_t l
    cdef Layer *layer
    cdef Layer *above
    for l in range(net.L - 1, 0, -1):
        layer, above = &net.layer[l], &net.layer[l + 1]
        net.k.backward(rows.n, above.n, layer.n, &layer.g, net.step,
                       row_of(net, above.delta, rows.first), above.WT,
                       row_of(net, layer.z if layer.g.from_z else layer.a, rows.first),
                       row_of(net, layer.delta, rows.first))


cdef inline void input_gradient(const Net *net, Rows rows) noexcept nogil:
    """dC_0/dx_k = sum_j w^1_jk delta^1_j, into the delta of layer 0."""
    cdef Layer *layer = &net.layer[0]
    cdef Layer *above = &net.layer[1]
    cdef void *delta = row_of(net, layer.delta, rows.first)
    # Without g nothing is read of a, of which a sparse X has none.
    net.k.backward(rows.n, above.n, layer.n, NULL, net.step,
                   row_of(net, above.delta, rows.first), above.WT, delta, delta)


cdef inline bint is_sparse(const Net *net, const Slab *slab) noexcept nogil:
    return slab.l == 1 and net.index_bytes != 0


cdef inline void gradient(
    const Net *net, Py_ssize_t rows, const Slab *slab, bint accumulate, void *grad_W,
    void *grad_b
) noexcept nogil:
    """BP3: dC_0/db^l = delta^l; BP4: dC_0/dW^l = a^{l-1} delta^l; summed over rows.

    The nonzeros of a sparse a^0 are not sorted into slabs: the first slab of a panel
    brings the gradients of all.
    """
    cdef Layer *layer = &net.layer[slab.l]
    cdef Layer *below = &net.layer[slab.l - 1]
    cdef void *delta = layer.delta
    cdef void *a = below.a
    if is_sparse(net, slab):
        if slab.node == 0:
            net.k.gradient_sparse(rows, below.n, slab.width, net.index_bytes, net.x,
                                  panel_of(net, delta, slab.column), accumulate, grad_W)
    elif layer.is_transposed:
        net.k.gradient(rows, slab.nodes, slab.width, net.step,
                       panel_of(net, delta, slab.node), panel_of(net, a, slab.column),
                       accumulate, grad_W)
    else:
        net.k.gradient(rows, slab.nodes, slab.width, net.step,
                       panel_of(net, a, slab.node), panel_of(net, delta, slab.column),
                       accumulate, grad_W)
    if slab.intercepts:
        net.k.column_sums(rows, slab.intercepts, panel_of(net, delta, slab.column),
                          accumulate, grad_b)


cdef inline void *slab_of(
    const Net *net, const Slab *slab, void *weights
) noexcept nogil:
    """Where a slab begins in a matrix that is packed like the trained one."""
    cdef Layer *layer = &net.layer[slab.l]
    cdef Py_ssize_t rows = layer.n if layer.is_transposed else net.layer[slab.l - 1].n
    return <char *>weights + net.itemsize * (
        rows * slab.column + slab.node * slab.width
    )


cdef inline void *weights_of(const Net *net, const Slab *slab) noexcept nogil:
    """Where the trained weights of a slab are."""
    cdef Layer *layer = &net.layer[slab.l]
    return slab_of(net, slab, layer.WT if layer.is_transposed else layer.W)


cdef inline void *part_of(
    const Net *net, const Slab *slab, void *intercepts
) noexcept nogil:
    """Where the panel of a slab begins in a vector that is padded like b."""
    return <char *>intercepts + slab.column * net.itemsize


cdef inline void transposed_copy(const Net *net, const Slab *slab) noexcept nogil:
    """Refresh what the copy, W^T or W, has of a slab of the trained matrix."""
    cdef Layer *layer = &net.layer[slab.l]
    cdef Py_ssize_t n_in = net.layer[slab.l - 1].n
    if layer.is_transposed:
        net.k.transpose(layer.n, n_in, slab.node, slab.nodes, slab.column,
                        layer.n_in_lanes, layer.WT, layer.W)
    elif layer.WT != NULL:
        net.k.transpose(n_in, layer.n, slab.node, slab.nodes, slab.column, n_in,
                        layer.W, layer.WT)
