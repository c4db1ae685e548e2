/* The three products of a network, each register-blocked and with its epilogue.
 *
 *   forward    a^{l-1} W        broadcast a node of a row, times a row of a panel of W
 *   backward   delta W^T        the same, over the transposed copy of W
 *   gradient   (a^{l-1})^T delta  broadcast a node of a sample, times a row of delta
 *
 * A tile holds M rows by V vectors of the result in registers while it runs along the
 * whole inner dimension; M and V are constants wherever a tile is instantiated. Every
 * element of a result is one chain of multiply-adds in the order of the inner index,
 * whatever the tile it falls in: a row gives the same bits alone and in any batch.
 */
#ifndef CBP_PRODUCT_H
#define CBP_PRODUCT_H

#include <assert.h>

#include "activation.h"

/* Tiles that fill the registers: 12 accumulators of 16, or 24 of 32, leave room for the
 * row of the panel and the broadcast. One vector wide, 12 rows hide the latency. */
#define WIDE 2
#if VECTOR_BYTES == 64 || defined(__aarch64__)
#define WIDE_TILE_ROWS 12
#else
#define WIDE_TILE_ROWS 6
#endif
#define NARROW_TILE_ROWS 12
#define MOST_TILE_ROWS 12
#define PANEL (WIDE * LANES)

/* Calls tile(M, V, ...) with M and V as constants. */
#define TILE_CASE(M, V, tile, ...) case M: tile(M, V, __VA_ARGS__); break;
#define TILE_CASES_TO_6(V, tile, ...)                                                 \
    TILE_CASE(1, V, tile, __VA_ARGS__) TILE_CASE(2, V, tile, __VA_ARGS__)             \
    TILE_CASE(3, V, tile, __VA_ARGS__) TILE_CASE(4, V, tile, __VA_ARGS__)             \
    TILE_CASE(5, V, tile, __VA_ARGS__) TILE_CASE(6, V, tile, __VA_ARGS__)
#define TILE_CASES_TO_12(V, tile, ...)                                                \
    TILE_CASES_TO_6(V, tile, __VA_ARGS__)                                             \
    TILE_CASE(7, V, tile, __VA_ARGS__) TILE_CASE(8, V, tile, __VA_ARGS__)             \
    TILE_CASE(9, V, tile, __VA_ARGS__) TILE_CASE(10, V, tile, __VA_ARGS__)            \
    TILE_CASE(11, V, tile, __VA_ARGS__) TILE_CASE(12, V, tile, __VA_ARGS__)
#if WIDE_TILE_ROWS == 12
#define WIDE_TILE_CASES TILE_CASES_TO_12
#else
#define WIDE_TILE_CASES TILE_CASES_TO_6
#endif
#define RUN_TILE(M, V, tile, ...)                                                     \
    do {                                                                              \
        if ((V) == WIDE) switch (M) { WIDE_TILE_CASES(WIDE, tile, __VA_ARGS__) }      \
        else switch (M) { TILE_CASES_TO_12(1, tile, __VA_ARGS__) }                    \
    } while (0)

INLINE ptrdiff_t tile_rows(ptrdiff_t vectors, ptrdiff_t rows_left)
{
    ptrdiff_t most = vectors == WIDE ? WIDE_TILE_ROWS : NARROW_TILE_ROWS;
    return rows_left < most ? rows_left : most;
}

/* Vectors across the panel that starts at a column of a matrix of `width` columns. */
INLINE ptrdiff_t panel_vectors(ptrdiff_t column, ptrdiff_t width)
{
    ptrdiff_t left = round_up(width - column, LANES) / LANES;
    return left < WIDE ? left : WIDE;
}

/* Whole cache lines, an odd number of them: rows one after the other then spread over
 * all sets of the cache, where a power of two would crowd into a few. */
static ptrdiff_t row_stride(ptrdiff_t n)
{
    const ptrdiff_t line = 64 / sizeof(real);
    return (round_up(n, line) / line | 1) * line;
}

static ptrdiff_t padded_width(ptrdiff_t n) { return round_up(n, LANES); }

static ptrdiff_t packed_size(ptrdiff_t n_rows, ptrdiff_t n_columns)
{
    return n_rows * round_up(n_columns, LANES);
}

/* ---- packed panels ------------------------------------------------------------- */

static void pack(ptrdiff_t n_rows, ptrdiff_t n_columns, const void *plain_, void *packed_)
{
    const real *plain = plain_;
    real *packed = packed_;
    for (ptrdiff_t j = 0; j < n_columns; j += PANEL) {
        const ptrdiff_t width = panel_vectors(j, n_columns) * LANES;
        const ptrdiff_t filled = n_columns - j < width ? n_columns - j : width;
        for (ptrdiff_t k = 0; k < n_rows; k++, packed += width) {
            memcpy(packed, plain + k * n_columns + j, filled * sizeof(real));
            memset(packed + filled, 0, (width - filled) * sizeof(real));
        }
    }
}

static void unpack(ptrdiff_t n_rows, ptrdiff_t n_columns, const void *packed_, void *plain_)
{
    const real *packed = packed_;
    real *plain = plain_;
    for (ptrdiff_t j = 0; j < n_columns; j += PANEL) {
        const ptrdiff_t width = panel_vectors(j, n_columns) * LANES;
        const ptrdiff_t filled = n_columns - j < width ? n_columns - j : width;
        for (ptrdiff_t k = 0; k < n_rows; k++, packed += width)
            memcpy(plain + k * n_columns + j, packed, filled * sizeof(real));
    }
}

static void transpose(ptrdiff_t n_in, ptrdiff_t n_out, const void *W_, void *WT_)
{
    const real *W = W_;
    for (ptrdiff_t j = 0; j < n_out; j += PANEL) {
        const ptrdiff_t width = panel_vectors(j, n_out) * LANES;
        const ptrdiff_t filled = n_out - j < width ? n_out - j : width;
        real *WT = WT_;
        for (ptrdiff_t k = 0; k < n_in; k += PANEL) {
            const ptrdiff_t width_T = panel_vectors(k, n_in) * LANES;
            const ptrdiff_t filled_T = n_in - k < width_T ? n_in - k : width_T;
            for (ptrdiff_t c = 0; c < filled; c++)
                for (ptrdiff_t r = 0; r < filled_T; r++)
                    WT[(j + c) * width_T + r] = W[(k + r) * width + c];
            WT += n_out * width_T;
        }
        W += n_in * width;
    }
}

/* ---- a block of rows times a panel --------------------------------------------- */

INLINE void multiply_add(const int M, const int V, ptrdiff_t n, const real *const *rows,
                         const real *panel, vec acc[MOST_TILE_ROWS][WIDE])
{
    const real *row[MOST_TILE_ROWS];
    UNROLL
    for (int m = 0; m < M; m++) row[m] = rows[m];
    for (ptrdiff_t k = 0; k < n; k++, panel += V * LANES) {
        vec w[WIDE];
        UNROLL
        for (int v = 0; v < V; v++) w[v] = load(panel + v * LANES);
        UNROLL
        for (int m = 0; m < M; m++) {
            const vec a = broadcast(row[m][k]);
            UNROLL
            for (int v = 0; v < V; v++) acc[m][v] = acc[m][v] + a * w[v];
        }
    }
}

INLINE void forward_tile(const int M, const int V, ptrdiff_t n_in, int activation,
                         const real *const *a_in, const real *panel, const real *b,
                         ptrdiff_t stride, real *z, real *a)
{
    vec acc[MOST_TILE_ROWS][WIDE];
    UNROLL
    for (int v = 0; v < V; v++) {
        const vec bias = load(b + v * LANES);
        UNROLL
        for (int m = 0; m < M; m++) acc[m][v] = bias;
    }
    multiply_add(M, V, n_in, a_in, panel, acc);
    UNROLL
    for (int m = 0; m < M; m++)
        UNROLL
        for (int v = 0; v < V; v++) {
            const ptrdiff_t at = m * stride + v * LANES;
            if (z) store(z + at, acc[m][v]);
            store(a + at, activation == CBP_RELU ? relu(acc[m][v]) : acc[m][v]);
        }
}

/* identity and relu are done in the registers of a product; to repeat the others in every
 * tile's code would crowd the instruction cache. */
INLINE int needs_own_pass(int activation)
{
    return activation != CBP_IDENTITY && activation != CBP_RELU;
}

/* g on a tile fresh in the first cache. */
static void activate_tile(ptrdiff_t rows, ptrdiff_t vectors, int activation,
                          ptrdiff_t stride, real *a)
{
    for (ptrdiff_t r = 0; r < rows; r++, a += stride)
        for (ptrdiff_t v = 0; v < vectors; v++)
            store(a + v * LANES, activate(activation, load(a + v * LANES)));
}

static void forward(ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out, int activation,
                    const void *const *a_in_, const void *W, const void *b_,
                    ptrdiff_t stride, void *z_, void *a_)
{
    const real *const *a_in = (const real *const *)a_in_;
    const real *panel = W;
    assert(rows >= 0 && n_in > 0 && stride % LANES == 0 && stride >= padded_width(n_out));
    for (ptrdiff_t j = 0; j < n_out; j += PANEL) {
        const ptrdiff_t V = panel_vectors(j, n_out);
        const real *b = (const real *)b_ + j;
        for (ptrdiff_t r = 0, M; r < rows; r += M) {
            real *a = (real *)a_ + r * stride + j;
            real *z = z_ ? (real *)z_ + r * stride + j : NULL;
            M = tile_rows(V, rows - r);
            RUN_TILE(M, V, forward_tile, n_in, activation, a_in + r, panel, b, stride, z, a);
            if (needs_own_pass(activation))
                activate_tile(M, V, activation, stride, a);
        }
        panel += n_in * V * LANES;
    }
}

INLINE void backward_tile(const int M, const int V, ptrdiff_t n_next, int activation,
                          const real *const *delta_next, const real *panel,
                          ptrdiff_t stride, const real *a, real *delta)
{
    vec acc[MOST_TILE_ROWS][WIDE];
    UNROLL
    for (int m = 0; m < M; m++)
        UNROLL
        for (int v = 0; v < V; v++) acc[m][v] = broadcast(0);
    multiply_add(M, V, n_next, delta_next, panel, acc);
    UNROLL
    for (int m = 0; m < M; m++)
        UNROLL
        for (int v = 0; v < V; v++) {
            const ptrdiff_t at = m * stride + v * LANES;
            vec d = acc[m][v];
            if (activation == CBP_RELU) d = times_derivative(CBP_RELU, load(a + at), d);
            store(delta + at, d);
        }
}

/* delta * g' on a tile fresh in the first cache, where g' takes arithmetic. */
static void derive_tile(ptrdiff_t rows, ptrdiff_t vectors, int activation,
                        ptrdiff_t stride, const real *a, real *delta)
{
    for (ptrdiff_t r = 0; r < rows; r++, a += stride, delta += stride)
        for (ptrdiff_t v = 0; v < vectors; v++) {
            const vec d = load(delta + v * LANES);
            store(delta + v * LANES,
                  times_derivative(activation, load(a + v * LANES), d));
        }
}

static void backward(ptrdiff_t rows, ptrdiff_t n_next, ptrdiff_t n, int activation,
                     const void *const *delta_next_, const void *WT, ptrdiff_t stride,
                     const void *a_, void *delta_)
{
    const real *const *delta_next = (const real *const *)delta_next_;
    const real *panel = WT;
    assert(rows >= 0 && n_next > 0 && stride % LANES == 0 && stride >= padded_width(n));
    for (ptrdiff_t j = 0; j < n; j += PANEL) {
        const ptrdiff_t V = panel_vectors(j, n);
        for (ptrdiff_t r = 0, M; r < rows; r += M) {
            const real *a = (const real *)a_ + r * stride + j;
            real *delta = (real *)delta_ + r * stride + j;
            M = tile_rows(V, rows - r);
            RUN_TILE(M, V, backward_tile, n_next, activation, delta_next + r, panel, stride,
                     a, delta);
            if (needs_own_pass(activation))
                derive_tile(M, V, activation, stride, a, delta);
        }
        panel += n_next * V * LANES;
    }
}

/* ---- sums over the rows -------------------------------------------------------- */

/* M nodes of the layer below by V vectors of delta. */
INLINE void gradient_tile(const int M, const int V, ptrdiff_t rows, ptrdiff_t k,
                          const real *const *a_in, ptrdiff_t stride, const real *delta,
                          int accumulate, real *grad)
{
    vec acc[MOST_TILE_ROWS][WIDE];
    UNROLL
    for (int m = 0; m < M; m++)
        UNROLL
        for (int v = 0; v < V; v++)
            acc[m][v] = accumulate ? load(grad + (m * V + v) * LANES) : broadcast(0);
    for (ptrdiff_t i = 0; i < rows; i++, delta += stride) {
        const real *a = a_in[i] + k;
        vec d[WIDE];
        UNROLL
        for (int v = 0; v < V; v++) d[v] = load(delta + v * LANES);
        UNROLL
        for (int m = 0; m < M; m++) {
            const vec a_m = broadcast(a[m]);
            UNROLL
            for (int v = 0; v < V; v++) acc[m][v] = acc[m][v] + a_m * d[v];
        }
    }
    UNROLL
    for (int m = 0; m < M; m++)
        UNROLL
        for (int v = 0; v < V; v++) store(grad + (m * V + v) * LANES, acc[m][v]);
}

static void column_sums(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t stride, const real *delta,
                        int accumulate, real *sums)
{
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        vec sum = accumulate ? load(sums + j) : broadcast(0);
        for (ptrdiff_t i = 0; i < rows; i++) sum = sum + load(delta + i * stride + j);
        store(sums + j, sum);
    }
}

static void gradient(ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out,
                     const void *const *a_in_, ptrdiff_t stride, const void *delta_,
                     int accumulate, void *grad_W, void *grad_b)
{
    const real *const *a_in = (const real *const *)a_in_;
    real *grad = grad_W;
    assert(rows > 0 && n_in > 0 && stride % LANES == 0 && stride >= padded_width(n_out));
    for (ptrdiff_t j = 0; j < n_out; j += PANEL) {
        const ptrdiff_t V = panel_vectors(j, n_out);
        const real *delta = (const real *)delta_ + j;
        for (ptrdiff_t k = 0, M; k < n_in; k += M) {
            M = tile_rows(V, n_in - k);
            RUN_TILE(M, V, gradient_tile, rows, k, a_in, stride, delta, accumulate, grad);
            grad += M * V * LANES;
        }
    }
    column_sums(rows, n_out, stride, delta_, accumulate, grad_b);
}

#endif
