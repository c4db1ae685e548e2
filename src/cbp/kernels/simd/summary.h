/* What sums up an epoch: the squares of error signals and of gradients, what a step has
 * changed, which nodes were active.
 */
#ifndef CBP_SUMMARY_H
#define CBP_SUMMARY_H

#include "panel.h"

/* A sum of float32 that is less than this may have lost squares to underflow: error
 * signals vanish from layer to layer, and to see that is what they are summed up for. It
 * is taken again of reals MAGNIFIER times as large, none of whose squares can overflow
 * then. In float64 squares underflow below 1e-154, as the sum, a double, would anyway. */
#define LEAST_SQUARES 0x1p-80
#define MAGNIFIER 0x1p63f

/* Sums of columns that run side by side: one would wait for each multiply-add. */
#define SUMS_ABREAST 8

INLINE double magnified_squares(const real scale, ptrdiff_t rows, ptrdiff_t width,
                                ptrdiff_t stride, const real *x)
{
    double total = 0;
    for (ptrdiff_t j = 0; j < width; j += LANES) {
        const real *column = x + j;
        vec sum[SUMS_ABREAST];
        ptrdiff_t i = 0;
        UNROLL
        for (int s = 0; s < SUMS_ABREAST; s++) sum[s] = broadcast(0);
        for (; i + SUMS_ABREAST <= rows; i += SUMS_ABREAST)
            UNROLL
            for (int s = 0; s < SUMS_ABREAST; s++, column += stride) {
                const vec x_s = scale * load(column);
                sum[s] = sum[s] + x_s * x_s;
            }
        for (; i < rows; i++, column += stride) {
            const vec x_0 = scale * load(column);
            sum[0] = sum[0] + x_0 * x_0;
        }
        UNROLL
        for (int s = 1; s < SUMS_ABREAST; s++) sum[0] = sum[0] + sum[s];
        total += lane_sum(keep(mask_first(width - j), sum[0]));
    }
    return total;
}

static double column_squares(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t stride, const void *x)
{
    const double total = magnified_squares(1, rows, width, stride, x);
    const int may_underflow = sizeof(real) < sizeof(double) && total < LEAST_SQUARES;
    if (!may_underflow) return total;
    return magnified_squares(MAGNIFIER, rows, width, stride, x) / MAGNIFIER / MAGNIFIER;
}

static void change(ptrdiff_t n, const void *now_, void *x_)
{
    const real *now = now_;
    real *x = x_;
    for (ptrdiff_t i = 0; i < n; i += LANES) store(x + i, load(now + i) - load(x + i));
}

INLINE int any_lane(ivec mask) { return lane_max(keep(mask, broadcast(1))) > 0; }

/* Between two looks whether all nodes were active already, which is soon the case. */
#define ROWS_BETWEEN 16

static void mark_active(ptrdiff_t rows, ptrdiff_t width, const void *a_, void *active_)
{
    for (ptrdiff_t j = 0; j < width; j += LANES) {
        const real *a = (const real *)a_ + j;
        real *active = (real *)active_ + j;
        const ivec here = mask_first(width - j);
        ivec seen = mask_less(broadcast(0), load(active));
        for (ptrdiff_t i = 0; i < rows && any_lane(here & ~seen);) {
            const ptrdiff_t end = smaller(i + ROWS_BETWEEN, rows);
            for (; i < end; i++) seen = seen | mask_less(broadcast(0), load(a + i * PANEL));
        }
        store(active, keep(here & seen, broadcast(1)));
    }
}

#endif
