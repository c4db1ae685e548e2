/* The three products of a network, each register-blocked and with its epilogue.
 *
 *   forward    a^{l-1} W        broadcast a node of a row, times a row of a panel of W
 *   backward   delta W^T        the same, over the transposed copy of W
 *   gradient   (a^{l-1})^T delta  broadcast a node of a sample, times a row of delta
 *
 * A tile holds M rows by V vectors of the result in registers while it runs along the
 * inner dimension; M and V are constants wherever a tile is instantiated. All that a tile
 * reads lies in panels, one line of the cache after the other. Every element of a result
 * is one chain of multiply-adds in the order of the inner index, whatever the tile it
 * falls in and wherever the chain is put down and taken up again: a row gives the same
 * bits alone and in any batch, on one thread and on many.
 *
 * The inner loops are unrolled although the multiply-adds alone would keep an idle core
 * busy: two threads of a core share its instructions per cycle, and every instruction
 * that only counts a loop is then missing in the products.
 */
#ifndef CBP_PRODUCT_H
#define CBP_PRODUCT_H

#include "activation.h"
#include "panel.h"

/* Tiles that fill the registers: 12 accumulators of 16, or 24 of 32, leave room for the
 * row of a panel and the broadcast. One vector wide, 12 rows hide the latency. */
#if VECTOR_BYTES == 64 || defined(__aarch64__)
#define WIDE_TILE_ROWS 12
#else
#define WIDE_TILE_ROWS 6
#endif
#define NARROW_TILE_ROWS 12
#define MOST_TILE_ROWS 12

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

/* Rows of the next tile. Two tiles of middling height finish sooner than a full one and
 * a sliver, whose few chains would wait for the multiply-add before. */
INLINE ptrdiff_t tile_rows(ptrdiff_t vectors, ptrdiff_t left)
{
    const ptrdiff_t most = vectors == WIDE ? WIDE_TILE_ROWS : NARROW_TILE_ROWS;
    if (left <= most) return left;
    return left < 2 * most ? (left + 1) / 2 : most;
}

/* How much of the inner dimension a tile runs along at a time: as much of a panel of W as
 * stays in the first cache while all rows of a block pass. */
#define DEPTH_BYTES 20480
INLINE ptrdiff_t depth_of_pass(ptrdiff_t n)
{
    const ptrdiff_t most = DEPTH_BYTES / (ptrdiff_t)(PANEL * sizeof(real));
    const ptrdiff_t passes = (n + most - 1) / most;
    return round_up((n + passes - 1) / passes, PANEL);
}

/* How many rows pass all panels of W together: as many as leave in the second cache, from
 * one panel and from one pass to the next, what they bring along and what they have become;
 * but enough to be worth the way of W from the memory. */
#define BYTES_TOGETHER (320 * 1024)
#define FEWEST_TOGETHER (4 * MOST_TILE_ROWS)
INLINE ptrdiff_t rows_together(ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out)
{
    const ptrdiff_t row_bytes = (depth_of_pass(n_in) + n_out) * (ptrdiff_t)sizeof(real);
    const ptrdiff_t fit = round_up(BYTES_TOGETHER / row_bytes, MOST_TILE_ROWS);
    const ptrdiff_t most = fit > FEWEST_TOGETHER ? fit : FEWEST_TOGETHER;
    const ptrdiff_t parts = (rows + most - 1) / most;
    return parts > 1 ? round_up((rows + parts - 1) / parts, MOST_TILE_ROWS) : rows;
}

/* ---- rows of a block times a panel ---------------------------------------------- */

/* n <= PANEL columns of a panel of rows, times as many rows of a panel of W. */
INLINE void multiply_add_panel(const int M, const int V, const ptrdiff_t n,
                               const real *rows, const real *w,
                               vec acc[MOST_TILE_ROWS][WIDE])
{
    UNROLL
    for (ptrdiff_t k = 0; k < n; k++, w += V * LANES) {
        vec w_k[WIDE];
        UNROLL
        for (int v = 0; v < V; v++) w_k[v] = load(w + v * LANES);
        UNROLL
        for (int m = 0; m < M; m++) {
            const vec a = broadcast(rows[m * PANEL + k]);
            UNROLL
            for (int v = 0; v < V; v++) acc[m][v] = acc[m][v] + a * w_k[v];
        }
    }
}

INLINE void multiply_add(const int M, const int V, ptrdiff_t n, ptrdiff_t step,
                         const real *rows, const real *w, vec acc[MOST_TILE_ROWS][WIDE])
{
    for (; n >= PANEL; n -= PANEL, rows += step, w += PANEL * V * LANES)
        multiply_add_panel(M, V, PANEL, rows, w, acc);
    if (n) multiply_add_panel(M, V, n, rows, w, acc);
}

/* b is NULL where the chains of an earlier pass, left in a, go on. */
INLINE void forward_tile(const int M, const int V, ptrdiff_t n, int activation,
                         ptrdiff_t step, const real *a_in, const real *w, const real *b,
                         real *z, real *a)
{
    vec acc[MOST_TILE_ROWS][WIDE];
    UNROLL
    for (int m = 0; m < M; m++)
        UNROLL
        for (int v = 0; v < V; v++)
            acc[m][v] = load((b ? b : a + m * PANEL) + v * LANES);
    multiply_add(M, V, n, step, a_in, w, acc);
    UNROLL
    for (int m = 0; m < M; m++)
        UNROLL
        for (int v = 0; v < V; v++) {
            const ptrdiff_t at = m * PANEL + v * LANES;
            if (z) store(z + at, acc[m][v]);
            store(a + at, activation == CBP_RELU ? relu(acc[m][v]) : acc[m][v]);
        }
}

/* identity and relu are done in the registers of a product, forward and backward; to
 * repeat the other activations in every tile's code would crowd the instruction cache.
 * They pass over a panel of some tiles, fresh in the first cache. */
INLINE int needs_own_pass(int activation)
{
    return activation != CBP_IDENTITY && activation != CBP_RELU;
}

/* Whether it is time for it: at the last tile, and whenever so many rows are waiting. */
#define MOST_WAITING (4096 / (PANEL * (ptrdiff_t)sizeof(real)))
INLINE int is_due(ptrdiff_t waiting, ptrdiff_t end, ptrdiff_t rows)
{
    return waiting >= MOST_WAITING || end == rows;
}

static void forward_together(ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out,
                             const cbp_function *g, ptrdiff_t step, const real *a_in,
                             const real *W, const real *b, real *z, real *a)
{
    const ptrdiff_t depth = depth_of_pass(n_in);
    const int activation = code_of(g);
    for (ptrdiff_t k = 0; k < n_in; k += depth) {
        const ptrdiff_t n = smaller(depth, n_in - k);
        const int last = k + n == n_in, passes = last && needs_own_pass(activation);
        const real *a_k = a_in + k / PANEL * step;
        for (ptrdiff_t j = 0; j < n_out; j += PANEL) {
            const ptrdiff_t V = panel_vectors(j, n_out), panel = j / PANEL * step;
            const real *w = W + n_in * j + k * V * LANES, *b_j = k ? NULL : b + j;
            real *a_j = a + panel, *z_j = z && last ? z + panel : NULL;
            for (ptrdiff_t r = 0, passed = 0, M; r < rows; r += M) {
                real *a_r = a_j + r * PANEL, *z_r = z_j ? z_j + r * PANEL : NULL;
                M = tile_rows(V, rows - r);
                RUN_TILE(M, V, forward_tile, n, last ? activation : CBP_IDENTITY, step,
                         a_k + r * PANEL, w, b_j, z_r, a_r);
                if (passes && is_due(r + M - passed, r + M, rows)) {
                    a_r = a_j + passed * PANEL;
                    activate_rows(g, r + M - passed, smaller(n_out - j, PANEL), PANEL, a_r,
                                  a_r);
                    passed = r + M;
                }
            }
        }
    }
}

static void forward(ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out,
                    const cbp_function *g, ptrdiff_t step, const void *a_in, const void *W, const void *b,
                    void *z_, void *a)
{
    const ptrdiff_t together = rows_together(rows, n_in, n_out);
    real *z = z_;
    assert(rows >= 0 && n_in > 0);
    for (ptrdiff_t r = 0; r < rows; r += together)
        forward_together(smaller(together, rows - r), n_in, n_out, g, step,
                         (const real *)a_in + r * PANEL, W, b,
                         z ? z + r * PANEL : NULL, (real *)a + r * PANEL);
}

/* Chains begin anew in the first pass; a is read for relu only. */
INLINE void backward_tile(const int M, const int V, ptrdiff_t n, int activation,
                          ptrdiff_t step, int first, const real *delta_next,
                          const real *w, const real *a, real *delta)
{
    vec acc[MOST_TILE_ROWS][WIDE];
    UNROLL
    for (int m = 0; m < M; m++)
        UNROLL
        for (int v = 0; v < V; v++)
            acc[m][v] = first ? broadcast(0) : load(delta + m * PANEL + v * LANES);
    multiply_add(M, V, n, step, delta_next, w, acc);
    UNROLL
    for (int m = 0; m < M; m++)
        UNROLL
        for (int v = 0; v < V; v++) {
            const ptrdiff_t at = m * PANEL + v * LANES;
            vec d = acc[m][v];
            if (activation == CBP_RELU)
                d = times_slope(with_code(CBP_RELU, NULL), load(a + at), d);
            store(delta + at, d);
        }
}

static void backward_together(ptrdiff_t rows, ptrdiff_t n_next, ptrdiff_t n,
                              const cbp_function *g, ptrdiff_t step,
                              const real *delta_next, const real *WT, const real *source,
                              real *delta)
{
    const ptrdiff_t depth = depth_of_pass(n_next);
    const int activation = code_of(g);
    for (ptrdiff_t i = 0; i < n_next; i += depth) {
        const ptrdiff_t inner = smaller(depth, n_next - i);
        const int last = i + inner == n_next, passes = last && needs_own_pass(activation);
        const real *delta_i = delta_next + i / PANEL * step;
        for (ptrdiff_t j = 0; j < n; j += PANEL) {
            const ptrdiff_t V = panel_vectors(j, n), panel = j / PANEL * step;
            const real *w = WT + n_next * j + i * V * LANES;
            for (ptrdiff_t r = 0, passed = 0, M; r < rows; r += M) {
                ptrdiff_t at = panel + r * PANEL;
                M = tile_rows(V, rows - r);
                RUN_TILE(M, V, backward_tile, inner, last ? activation : CBP_IDENTITY, step,
                         i == 0, delta_i + r * PANEL, w, source + at, delta + at);
                if (passes && is_due(r + M - passed, r + M, rows)) {
                    at = panel + passed * PANEL;
                    slope_rows(g, r + M - passed, smaller(n - j, PANEL), PANEL, source + at,
                               delta + at);
                    passed = r + M;
                }
            }
        }
    }
}

static void backward(ptrdiff_t rows, ptrdiff_t n_next, ptrdiff_t n,
                     const cbp_function *g, ptrdiff_t step, const void *delta_next,
                     const void *WT, const void *source, void *delta)
{
    const ptrdiff_t together = rows_together(rows, n_next, n);
    assert(rows >= 0 && n_next > 0);
    for (ptrdiff_t r = 0; r < rows; r += together)
        backward_together(smaller(together, rows - r), n_next, n, g, step,
                          (const real *)delta_next + r * PANEL, WT,
                          (const real *)source + r * PANEL, (real *)delta + r * PANEL);
}

/* ---- sums over the rows -------------------------------------------------------- */

/* M nodes of the layer below by V vectors of delta, for one sample. */
INLINE void add_products(const int M, const int V, const real *a_in, const real *delta,
                         vec acc[MOST_TILE_ROWS][WIDE])
{
    vec d[WIDE];
    UNROLL
    for (int v = 0; v < V; v++) d[v] = load(delta + v * LANES);
    UNROLL
    for (int m = 0; m < M; m++) {
        const vec a_m = broadcast(a_in[m]);
        UNROLL
        for (int v = 0; v < V; v++) acc[m][v] = acc[m][v] + a_m * d[v];
    }
}

#define ROWS_AT_A_TIME 8

INLINE void gradient_tile(const int M, const int V, ptrdiff_t rows, const real *a_in,
                          const real *delta, int accumulate, real *grad)
{
    vec acc[MOST_TILE_ROWS][WIDE];
    ptrdiff_t i = 0;
    UNROLL
    for (int m = 0; m < M; m++)
        UNROLL
        for (int v = 0; v < V; v++)
            acc[m][v] = accumulate ? load(grad + (m * V + v) * LANES) : broadcast(0);
    for (; i + ROWS_AT_A_TIME <= rows; i += ROWS_AT_A_TIME)
        UNROLL
        for (int s = 0; s < ROWS_AT_A_TIME; s++, a_in += PANEL, delta += PANEL)
            add_products(M, V, a_in, delta, acc);
    for (; i < rows; i++, a_in += PANEL, delta += PANEL)
        add_products(M, V, a_in, delta, acc);
    UNROLL
    for (int m = 0; m < M; m++)
        UNROLL
        for (int v = 0; v < V; v++) store(grad + (m * V + v) * LANES, acc[m][v]);
}

/* So many rows of a panel of a and of one of delta stay in the first cache while all
 * tiles of a slab pass. */
#define ROWS_OF_PASS (12288 / (ptrdiff_t)(PANEL * sizeof(real)))

static void gradient(ptrdiff_t rows, ptrdiff_t nodes, ptrdiff_t width, ptrdiff_t step,
                     const void *a_in_, const void *delta_, int accumulate, void *grad_W)
{
    const ptrdiff_t V = panel_vectors(0, width);
    const ptrdiff_t passes = (rows + ROWS_OF_PASS - 1) / ROWS_OF_PASS;
    assert(rows > 0 && nodes > 0 && 0 < width);
    for (ptrdiff_t pass = 0, r = 0, end; pass < passes; pass++, r = end) {
        const real *delta = (const real *)delta_ + r * PANEL;
        real *grad = grad_W;
        end = rows * (pass + 1) / passes;
        if (end < rows) end -= end % ROWS_AT_A_TIME;
        for (ptrdiff_t k = 0; k < nodes; k += PANEL) {
            const real *a_in = (const real *)a_in_ + k / PANEL * step + r * PANEL;
            const ptrdiff_t n = smaller(PANEL, nodes - k);
            for (ptrdiff_t i = 0, M; i < n; i += M) {
                M = tile_rows(V, n - i);
                RUN_TILE(M, V, gradient_tile, end - r, a_in + i, delta, accumulate || r,
                         grad);
                grad += M * V * LANES;
            }
        }
    }
}

INLINE void column_sums_of(const int V, ptrdiff_t rows, const real *delta, int accumulate,
                           real *sums)
{
    enum { ABREAST = 4 }; /* one would wait for each addition */
    vec sum[ABREAST][WIDE];
    ptrdiff_t i = 0;
    UNROLL
    for (int v = 0; v < V; v++) {
        sum[0][v] = accumulate ? load(sums + v * LANES) : broadcast(0);
        UNROLL
        for (int s = 1; s < ABREAST; s++) sum[s][v] = broadcast(0);
    }
    for (; i + ABREAST <= rows; i += ABREAST)
        UNROLL
        for (int s = 0; s < ABREAST; s++, delta += PANEL)
            UNROLL
            for (int v = 0; v < V; v++) sum[s][v] = sum[s][v] + load(delta + v * LANES);
    for (; i < rows; i++, delta += PANEL)
        UNROLL
        for (int v = 0; v < V; v++) sum[0][v] = sum[0][v] + load(delta + v * LANES);
    UNROLL
    for (int v = 0; v < V; v++)
        store(sums + v * LANES, (sum[0][v] + sum[1][v]) + (sum[2][v] + sum[3][v]));
}

static void column_sums(ptrdiff_t rows, ptrdiff_t width, const void *delta, int accumulate,
                        void *sums)
{
    if (panel_vectors(0, width) == WIDE)
        column_sums_of(WIDE, rows, delta, accumulate, sums);
    else
        column_sums_of(1, rows, delta, accumulate, sums);
}

/* ---- few nodes ------------------------------------------------------------------ */

/* So few nodes fill no vector. Of a W that is kept transposed the lanes are nodes of the
 * layer below: the gradient is the product above with a and delta in each other's place,
 * and the forward pass sums across lanes. */
#define ROWS_ACROSS (LANES < 8 ? 8 : LANES)

/* V vectors of M rows times those of a node. */
INLINE void across_panel(const int M, const int V, const real *a_in, const real *w,
                         vec acc[ROWS_ACROSS])
{
    UNROLL
    for (int v = 0; v < V; v++) {
        const vec w_v = load(w + v * LANES);
        UNROLL
        for (int m = 0; m < M; m++)
            acc[m] = acc[m] + load(a_in + m * PANEL + v * LANES) * w_v;
    }
}

/* z of M rows for node j; M is ROWS_ACROSS or 1. */
INLINE void across_tile(const int M, ptrdiff_t n_in, ptrdiff_t n_out, ptrdiff_t j,
                        ptrdiff_t step, const real *a_in, const real *WT, real b, real *z)
{
    vec acc[ROWS_ACROSS];
    UNROLL
    for (int m = 0; m < M; m++) acc[m] = broadcast(0);
    for (; n_in > LANES; n_in -= PANEL, a_in += step, WT += n_out * PANEL)
        across_panel(M, WIDE, a_in, WT + j * PANEL, acc);
    if (n_in > 0) across_panel(M, 1, a_in, WT + j * LANES, acc);
    if (M == 1) {
        z[j] = lane_sum(acc[0]) + b;
        return;
    }
    UNROLL
    for (int g = 0; g < ROWS_ACROSS; g += LANES) {
        real lanes[LANES];
        store(lanes, lane_sums(acc + g) + broadcast(b));
        UNROLL
        for (int m = 0; m < LANES; m++) z[(g + m) * PANEL + j] = lanes[m];
    }
}

static void forward_across(ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out, ptrdiff_t first,
                           const cbp_function *g, ptrdiff_t step, const void *a_in_,
                           const void *WT, const void *b_, void *z_, void *a_)
{
    const real *b = b_;
    const ptrdiff_t M = rows < ROWS_ACROSS ? 1 : ROWS_ACROSS;
    assert(rows >= 0 && n_in > 0 && first < n_out && n_out <= PANEL);
    for (ptrdiff_t next = 0; next < rows; next += M) {
        /* The last tile overlaps the one before: the same sums once more. */
        const ptrdiff_t r = smaller(next, rows - M);
        const real *a_in = (const real *)a_in_ + r * PANEL;
        real *a = (real *)a_ + r * PANEL;
        for (ptrdiff_t j = first; j < n_out; j++)
            if (M == 1) across_tile(1, n_in, n_out, j, step, a_in, WT, b[j], a);
            else across_tile(ROWS_ACROSS, n_in, n_out, j, step, a_in, WT, b[j], a);
        if (z_)
            for (ptrdiff_t m = 0; m < M; m++)
                copy(n_out - first, a + m * PANEL + first,
                     (real *)z_ + (r + m) * PANEL + first);
        if (g) activate_rows(g, M, n_out - first, PANEL, a + first, a + first);
    }
}

/* ---- one row on the plain layout -------------------------------------------------- */

/* So many vectors abreast keep the processor busy with the chains of a single row. */
#define MOST_ABREAST 8

INLINE void row_columns(const int V, ptrdiff_t n_in, ptrdiff_t n_out, const real *a_in,
                        const real *W, const real *b, real *z)
{
    vec acc[MOST_ABREAST];
    UNROLL
    for (int v = 0; v < V; v++) acc[v] = load(b + v * LANES);
    for (ptrdiff_t k = 0; k < n_in; k++, W += n_out) {
        const vec a = broadcast(a_in[k]);
        UNROLL
        for (int v = 0; v < V; v++) acc[v] = acc[v] + a * load(W + v * LANES);
    }
    UNROLL
    for (int v = 0; v < V; v++) store(z + v * LANES, acc[v]);
}

INLINE real row_column(ptrdiff_t n_in, ptrdiff_t n_out, const real *a_in, const real *W,
                       real b)
{
    real z = b;
    for (ptrdiff_t k = 0; k < n_in; k++) z = z + a_in[k] * W[k * n_out];
    return z;
}

/* The chains of `forward_across`: W is gathered as if it were transposed. */
INLINE real row_across(ptrdiff_t n_in, ptrdiff_t n_out, const real *a_in, const real *W,
                       real b)
{
    vec acc = broadcast(0);
    ptrdiff_t k = 0;
    for (; k + LANES <= n_in; k += LANES)
        acc = acc + load(a_in + k) * load_strided(n_out, W + k * n_out);
    if (k < n_in) {
        real a_last[LANES] = {0}, w_last[LANES] = {0};
        for (ptrdiff_t i = 0; k + i < n_in; i++) {
            a_last[i] = a_in[k + i];
            w_last[i] = W[(k + i) * n_out];
        }
        acc = acc + load(a_last) * load(w_last);
    }
    return lane_sum(acc) + b;
}

static void forward_row(ptrdiff_t n_in, ptrdiff_t n_out, ptrdiff_t n_in_lanes,
                        const cbp_function *g, const void *a_in_, const void *W_,
                        const void *b_, void *a_)
{
    const real *a_in = a_in_, *W = W_, *b = b_;
    real *a = a_;
    assert(n_in > 0 && n_out > 0);
    if (n_in_lanes < LANES)
        for (ptrdiff_t j = 0; j < n_in_lanes; j++)
            a[j] = row_column(n_in, n_out, a_in, W + j, b[j]);
    else
        for (ptrdiff_t j = 0, V; j < n_in_lanes; j += V * LANES) {
            V = MOST_ABREAST;
            while (V > 1 && (j + V / 2 * LANES >= n_in_lanes || V * LANES > n_in_lanes))
                V /= 2;
            /* The last vectors overlap those before: the same chains once more, instead
             * of lanes beyond the matrix. */
            if (j + V * LANES > n_in_lanes) j = n_in_lanes - V * LANES;
            switch (V) {
            case 8: row_columns(8, n_in, n_out, a_in, W + j, b + j, a + j); break;
            case 4: row_columns(4, n_in, n_out, a_in, W + j, b + j, a + j); break;
            case 2: row_columns(2, n_in, n_out, a_in, W + j, b + j, a + j); break;
            default: row_columns(1, n_in, n_out, a_in, W + j, b + j, a + j);
            }
        }
    for (ptrdiff_t j = n_in_lanes; j < n_out; j++)
        a[j] = row_across(n_in, n_out, a_in, W + j, b[j]);
    if (g) activate_rows(g, 1, n_out, 0, a, a);
}

#endif
