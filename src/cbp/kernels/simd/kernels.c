/* One table of kernels. setup.py compiles this file once per instruction set and dtype:
 *
 *   CBP_TABLE     name of the table, e.g. cbp_avx2_float32
 *   CBP_ISA_NAME  what the instruction set is called in CBP_ISA
 *   CBP_FLOAT64   defined for double
 *   CBP_PLAIN     defined for the plain path, without vector extensions
 *
 * The headers say `static` throughout: nothing compiled for one instruction set can be
 * linked into another.
 */
#include "simd.h"

#include "output.h"
#include "product.h"
#include "sparse.h"
#include "summary.h"
#include "update.h"

static void map(ptrdiff_t n, const cbp_function *g, const void *x_, void *out_)
{
    const real *x = x_;
    real *out = out_, last[LANES] = {0};
    const ptrdiff_t rest = n % LANES;
    activate_rows(g, 1, n - rest, 0, x, out);
    memcpy(last, x + n - rest, rest * sizeof(real));
    activate_rows(g, 1, LANES, 0, last, last);
    memcpy(out + n - rest, last, rest * sizeof(real));
}

/* Four sums, because one would wait for each addition. */
INLINE double sum_by_fours(const int is_weighted, ptrdiff_t n, const real *weights,
                           const real *values)
{
    double sum[4] = {0};
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4)
        UNROLL
        for (int s = 0; s < 4; s++)
            sum[s] += (is_weighted ? (double)weights[i + s] : 1.0) * (double)values[i + s];
    for (int s = 0; i < n; i++, s++)
        sum[s] += (is_weighted ? (double)weights[i] : 1.0) * (double)values[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static double weighted_sum(ptrdiff_t n, const void *weights, const void *values)
{
    return weights ? sum_by_fours(1, n, weights, values) : sum_by_fours(0, n, NULL, values);
}

const cbp_kernels CBP_TABLE = {
    .isa = CBP_ISA_NAME,
    .panel = PANEL,
    .tile_rows = WIDE_TILE_ROWS,
    .padded_width = padded_width,
    .packed_size = packed_size,
    .pack = pack,
    .unpack = unpack,
    .pack_transposed = pack_transposed,
    .unpack_transposed = unpack_transposed,
    .transpose = transpose,
    .prefetch = prefetch,
    .gather = gather,
    .one_hot = one_hot,
    .pick = pick,
    .pick_codes = pick_codes,
    .scatter = scatter,
    .forward = forward,
    .forward_across = forward_across,
    .backward = backward,
    .gradient = gradient,
    .column_sums = column_sums,
    .forward_row = forward_row,
    .forward_sparse = forward_sparse,
    .gradient_sparse = gradient_sparse,
    .output = output,
    .error_signal = error_signal,
    .weigh = weigh,
    .regularize = regularize,
    .begin_step = begin_step,
    .update = update,
    .sum_of_squares = sum_of_squares,
    .weighted_sum = weighted_sum,
    .column_squares = column_squares,
    .change = change,
    .mark_active = mark_active,
    .map = map,
};
