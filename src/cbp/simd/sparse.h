/* The two products that read X, for rows of X that are given by their nonzeros.
 *
 *   forward    a^0 W            a nonzero of a row, times its row of a panel of W
 *   gradient   (a^0)^T delta    a nonzero of a sample, times the sample's row of delta
 *
 * The chains of multiply-adds are those of product.h without the terms that are zero.
 * As long as all numbers are finite, a sparse X therefore gives the bits that the same X
 * gives dense, if the columns of each of its rows ascend.
 */
#ifndef CBP_SPARSE_H
#define CBP_SPARSE_H

#include "product.h"

/* Whole panels side by side in one pass over a row: the chains of one alone would leave
 * the processor waiting for the multiply-add before. */
#define ABREAST 2
#define MOST_VECTORS (ABREAST * WIDE)

/* How many panels to take together where `left` columns remain. */
INLINE ptrdiff_t panels_abreast(ptrdiff_t left)
{
    return round_up(left, LANES) >= ABREAST * PANEL ? ABREAST : 1;
}

/* Calls pass(P, V, index_bytes, ...) with all three as constants. */
#define RUN_INDEXED(P, V, index_bytes, pass, ...)                                     \
    do {                                                                              \
        if ((index_bytes) == 4) pass(P, V, 4, __VA_ARGS__);                           \
        else pass(P, V, 8, __VA_ARGS__);                                              \
    } while (0)
#define RUN_SPARSE(P, V, index_bytes, pass, ...)                                      \
    do {                                                                              \
        if ((P) > 1) RUN_INDEXED(ABREAST, WIDE, index_bytes, pass, __VA_ARGS__);      \
        else if ((V) > 1) RUN_INDEXED(1, WIDE, index_bytes, pass, __VA_ARGS__);       \
        else RUN_INDEXED(1, 1, index_bytes, pass, __VA_ARGS__);                       \
    } while (0)

INLINE ptrdiff_t column_of(const int index_bytes, const cbp_sparse_row *x, ptrdiff_t i,
                           ptrdiff_t n_in)
{
    const ptrdiff_t k = index_bytes == 4 ? (ptrdiff_t)((const int32_t *)x->columns)[i]
                                         : (ptrdiff_t)((const int64_t *)x->columns)[i];
    assert(0 <= k && k < n_in);
    (void)n_in;
    return k;
}

/* P panels of V vectors, n_in rows each, behind one another. */
INLINE void forward_nonzeros(const int P, const int V, const int index_bytes,
                             ptrdiff_t n_in, int activation, const cbp_sparse_row *x,
                             const real *panels, const real *b, real *z, real *a)
{
    const real *values = x->values;
    vec acc[MOST_VECTORS];
    UNROLL
    for (int q = 0; q < P * V; q++) acc[q] = load(b + q * LANES);
    for (ptrdiff_t i = 0; i < x->count; i++) {
        const real *w = panels + column_of(index_bytes, x, i, n_in) * V * LANES;
        const vec a_k = broadcast(values[i]);
        UNROLL
        for (int p = 0; p < P; p++)
            UNROLL
            for (int v = 0; v < V; v++)
                acc[p * V + v] =
                    acc[p * V + v] + a_k * load(w + (p * n_in * V + v) * LANES);
    }
    UNROLL
    for (int q = 0; q < P * V; q++) {
        if (z) store(z + q * LANES, acc[q]);
        store(a + q * LANES, activation == CBP_RELU ? relu(acc[q]) : acc[q]);
    }
}

static void forward_sparse(ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out,
                           int activation, int index_bytes, const cbp_sparse_row *x,
                           const void *W, const void *b_, ptrdiff_t stride, void *z_,
                           void *a_)
{
    const real *panels = W;
    assert(rows >= 0 && n_in > 0 && stride % LANES == 0 && stride >= padded_width(n_out));
    assert(index_bytes == 4 || index_bytes == 8);
    for (ptrdiff_t j = 0, P; j < n_out; j += P * PANEL) {
        const ptrdiff_t V = panel_vectors(j, n_out);
        const real *b = (const real *)b_ + j;
        P = panels_abreast(n_out - j);
        for (ptrdiff_t r = 0; r < rows; r++) {
            real *a = (real *)a_ + r * stride + j;
            real *z = z_ ? (real *)z_ + r * stride + j : NULL;
            RUN_SPARSE(P, V, index_bytes, forward_nonzeros, n_in, activation, x + r, panels,
                       b, z, a);
            if (needs_own_pass(activation)) activate_tile(1, P * V, activation, stride, a);
        }
        panels += n_in * P * V * LANES;
    }
}

INLINE void gradient_nonzeros(const int P, const int V, const int index_bytes,
                              ptrdiff_t n_in, const cbp_sparse_row *x, const real *delta,
                              real *panels)
{
    const real *values = x->values;
    vec d[MOST_VECTORS];
    UNROLL
    for (int q = 0; q < P * V; q++) d[q] = load(delta + q * LANES);
    for (ptrdiff_t i = 0; i < x->count; i++) {
        real *grad = panels + column_of(index_bytes, x, i, n_in) * V * LANES;
        const vec a_k = broadcast(values[i]);
        UNROLL
        for (int p = 0; p < P; p++)
            UNROLL
            for (int v = 0; v < V; v++) {
                real *g = grad + (p * n_in * V + v) * LANES;
                store(g, load(g) + a_k * d[p * V + v]);
            }
    }
}

static void gradient_sparse(ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out,
                            int index_bytes, const cbp_sparse_row *x, ptrdiff_t stride,
                            const void *delta_, int accumulate, void *grad_W, void *grad_b)
{
    real *panels = grad_W;
    assert(rows > 0 && n_in > 0 && stride % LANES == 0 && stride >= padded_width(n_out));
    assert(index_bytes == 4 || index_bytes == 8);
    if (!accumulate) memset(grad_W, 0, packed_size(n_in, n_out) * sizeof(real));
    for (ptrdiff_t j = 0, P; j < n_out; j += P * PANEL) {
        const ptrdiff_t V = panel_vectors(j, n_out);
        P = panels_abreast(n_out - j);
        for (ptrdiff_t r = 0; r < rows; r++)
            RUN_SPARSE(P, V, index_bytes, gradient_nonzeros, n_in, x + r,
                       (const real *)delta_ + r * stride + j, panels);
        panels += n_in * P * V * LANES;
    }
    column_sums(rows, n_out, stride, delta_, accumulate, grad_b);
}

#endif
