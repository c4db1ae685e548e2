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

/* Calls pass(index_bytes, ...) with index_bytes as a constant. */
#define RUN_INDEXED(pass, index_bytes, ...)                                           \
    do {                                                                              \
        if ((index_bytes) == 4) pass(4, __VA_ARGS__);                                 \
        else pass(8, __VA_ARGS__);                                                    \
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
INLINE void forward_nonzeros(const int index_bytes, const int P, const int V,
                             ptrdiff_t n_in, int activation, ptrdiff_t step,
                             const cbp_sparse_row *x, const real *panels, const real *b,
                             real *z, real *a)
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
    for (int p = 0; p < P; p++)
        UNROLL
        for (int v = 0; v < V; v++) {
            const vec z_v = acc[p * V + v];
            if (z) store(z + p * step + v * LANES, z_v);
            store(a + p * step + v * LANES, activation == CBP_RELU ? relu(z_v) : z_v);
        }
}

static void forward_sparse(ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out,
                           const cbp_function *g, int index_bytes, ptrdiff_t step,
                           const cbp_sparse_row *x, const void *W, const void *b_, void *z_,
                           void *a_)
{
    const int activation = code_of(g);
    assert(rows >= 0 && n_in > 0 && (index_bytes == 4 || index_bytes == 8));
    for (ptrdiff_t j = 0, P; j < n_out; j += P * PANEL) {
        const ptrdiff_t V = panel_vectors(j, n_out), panel = j / PANEL * step;
        const real *b = (const real *)b_ + j, *panels = (const real *)W + n_in * j;
        P = panels_abreast(n_out - j);
        for (ptrdiff_t r = 0; r < rows; r++) {
            real *a = (real *)a_ + panel + r * PANEL;
            real *z = z_ ? (real *)z_ + panel + r * PANEL : NULL;
            if (P > 1)
                RUN_INDEXED(forward_nonzeros, index_bytes, ABREAST, WIDE, n_in, activation,
                            step, x + r, panels, b, z, a);
            else if (V > 1)
                RUN_INDEXED(forward_nonzeros, index_bytes, 1, WIDE, n_in, activation, step,
                            x + r, panels, b, z, a);
            else
                RUN_INDEXED(forward_nonzeros, index_bytes, 1, 1, n_in, activation, step,
                            x + r, panels, b, z, a);
            if (needs_own_pass(activation))
                for (ptrdiff_t p = 0; p < P; p++)
                    activate_rows(g, 1, smaller(n_out - j - p * PANEL, PANEL), PANEL,
                                  a + p * step, a + p * step);
        }
    }
}

INLINE void gradient_nonzeros(const int index_bytes, const int V, ptrdiff_t n_in,
                              const cbp_sparse_row *x, const real *delta, real *panel)
{
    const real *values = x->values;
    vec d[WIDE];
    UNROLL
    for (int v = 0; v < V; v++) d[v] = load(delta + v * LANES);
    for (ptrdiff_t i = 0; i < x->count; i++) {
        real *grad = panel + column_of(index_bytes, x, i, n_in) * V * LANES;
        const vec a_k = broadcast(values[i]);
        UNROLL
        for (int v = 0; v < V; v++)
            store(grad + v * LANES, load(grad + v * LANES) + a_k * d[v]);
    }
}

static void gradient_sparse(ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t width,
                            int index_bytes, const cbp_sparse_row *x, const void *delta_,
                            int accumulate, void *grad_W)
{
    const ptrdiff_t V = panel_vectors(0, width);
    assert(rows > 0 && n_in > 0 && (index_bytes == 4 || index_bytes == 8));
    if (!accumulate) memset(grad_W, 0, n_in * V * LANES * sizeof(real));
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real *delta = (const real *)delta_ + r * PANEL;
        if (V == WIDE)
            RUN_INDEXED(gradient_nonzeros, index_bytes, WIDE, n_in, x + r, delta, grad_W);
        else
            RUN_INDEXED(gradient_nonzeros, index_bytes, 1, n_in, x + r, delta, grad_W);
    }
}

#endif
