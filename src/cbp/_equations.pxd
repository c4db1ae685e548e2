"""The equations of the forward and the backward pass, over one block of rows.

Each function is a loop over the layers around one C kernel (simd/simd.h says what each
does and in which layout). They are called by `_kernels.pyx` only, own nothing, allocate
nothing, know nothing of Python, and cannot fail. Sums over the samples of a batch are
made by calling `gradients` for one block after the other.
"""

from cbp._simd cimport CBP_IDENTITY, cbp_kernels, cbp_sparse_row


ctypedef struct Layer:
    Py_ssize_t n                # nodes
    Py_ssize_t stride           # reals from one row of z, a, delta to the next
    void *W                     # packed (n_{l-1}, n_l)
    void *WT                    # packed (n_l, n_{l-1}): the transposed copy for BP2
    void *b                     # (padded n_l,)
    void *grad_W                # as W
    void *grad_b                # as b
    void *z                     # (block, stride); none for l = 0
    void *a                     # (block, stride); none for l = 0
    void *delta                 # (block, stride)
    const void **a_rows         # (block,) pointers to the rows of a; of X for l = 0
    const void **delta_rows     # (block,) pointers to the rows of delta


ctypedef struct Net:
    const cbp_kernels *k
    Py_ssize_t L                # the output layer
    Layer *layer                # layer[l] for l = 0..L; layer[0] is the input
    cbp_sparse_row *x           # (block,) rows of a sparse X, in place of a_rows
    int index_bytes             # of a column in x; 0: X is dense
    int activation
    int output_activation
    int loss
    double alpha
    Py_ssize_t n_coefs          # packed, all layers; the intercepts follow
    Py_ssize_t n_intercepts
    void *params                # (n_coefs + n_intercepts,) where W and b point into
    void *grad                  # the same for grad_W and grad_b


ctypedef struct Block:
    Py_ssize_t rows             # at most
    void *targets               # (rows, stride of layer L)
    void *weights               # (rows,)
    void *losses                # (rows,)


cdef inline void weighted_input(
    const Net *net, Py_ssize_t rows, Py_ssize_t l, int activation, void *z, void *a
) noexcept nogil:
    """z = a^{l-1} W^l + b^l and a = g(z), over the nonzeros of a sparse a^0."""
    cdef Layer *below = &net.layer[l - 1]
    cdef Layer *layer = &net.layer[l]
    if l == 1 and net.index_bytes:
        net.k.forward_sparse(rows, below.n, layer.n, activation, net.index_bytes, net.x,
                             layer.W, layer.b, layer.stride, z, a)
    else:
        net.k.forward(rows, below.n, layer.n, activation, below.a_rows, layer.W,
                      layer.b, layer.stride, z, a)


cdef inline void forward_pass(
    const Net *net, Py_ssize_t rows, bint keep_z
) noexcept nogil:
    """z^l = a^{l-1} W^l + b^l and a^l = g(z^l), up to z^L."""
    cdef Py_ssize_t l
    cdef Layer *layer
    for l in range(1, net.L):
        layer = &net.layer[l]
        weighted_input(net, rows, l, net.activation, layer.z if keep_z else NULL,
                       layer.a)
    weighted_input(net, rows, net.L, CBP_IDENTITY, NULL, net.layer[net.L].z)


cdef inline void output_error(
    const Net *net, Py_ssize_t rows, const Block *block
) noexcept nogil:
    """BP1: delta^L = dC_0/da^L * g'(z^L), with a^L and C_0 on the way."""
    cdef Layer *layer = &net.layer[net.L]
    net.k.error_signal(rows, layer.n, net.output_activation, net.loss, layer.stride,
                       layer.z, block.targets, layer.a, layer.delta, block.losses)


cdef inline void backward_pass(const Net *net, Py_ssize_t rows) noexcept nogil:
    """BP2: delta^l = (W^{l+1} delta^{l+1}) * g'(z^l), from delta^L down to delta^1."""
    cdef Py_ssize_t l
    cdef Layer *layer
    cdef Layer *above
    for l in range(net.L - 1, 0, -1):
        layer, above = &net.layer[l], &net.layer[l + 1]
        net.k.backward(rows, above.n, layer.n, net.activation, above.delta_rows,
                       above.WT, layer.stride, layer.a, layer.delta)


cdef inline void layer_gradient(
    const Net *net, Py_ssize_t rows, Py_ssize_t l, bint accumulate
) noexcept nogil:
    """BP3: dC_0/db^l = delta^l; BP4: dC_0/dW^l = a^{l-1} delta^l; summed over rows."""
    cdef Layer *below = &net.layer[l - 1]
    cdef Layer *layer = &net.layer[l]
    if l == 1 and net.index_bytes:
        net.k.gradient_sparse(rows, below.n, layer.n, net.index_bytes, net.x,
                              layer.stride, layer.delta, accumulate, layer.grad_W,
                              layer.grad_b)
    else:
        net.k.gradient(rows, below.n, layer.n, below.a_rows, layer.stride, layer.delta,
                       accumulate, layer.grad_W, layer.grad_b)


cdef inline void gradients(
    const Net *net, Py_ssize_t rows, bint accumulate
) noexcept nogil:
    """BP3 and BP4 of every layer."""
    cdef Py_ssize_t l
    for l in range(1, net.L + 1):
        layer_gradient(net, rows, l, accumulate)


cdef inline void input_gradient(const Net *net, Py_ssize_t rows) noexcept nogil:
    """dC_0/dx_k = sum_j w^1_jk delta^1_j, into the delta of layer 0."""
    cdef Layer *layer = &net.layer[0]
    cdef Layer *above = &net.layer[1]
    # g' of the identity reads no a, of which layer 0 has no copy.
    net.k.backward(rows, above.n, layer.n, CBP_IDENTITY, above.delta_rows, above.WT,
                   layer.stride, layer.delta, layer.delta)


cdef inline void transposed_copies(const Net *net, Py_ssize_t lowest) noexcept nogil:
    """Refresh W^T of the layers from `lowest` up, which BP2 reads."""
    cdef Py_ssize_t l
    for l in range(lowest, net.L + 1):
        net.k.transpose(net.layer[l - 1].n, net.layer[l].n, net.layer[l].W,
                        net.layer[l].WT)
