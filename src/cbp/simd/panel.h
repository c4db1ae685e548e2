/* How matrices lie in memory, and the ways in and out of that layout.
 *
 *   parameters  packed panels: the columns of the matrix in groups of two vectors (the
 *               last group narrower, whole vectors), each group a contiguous
 *               (n_rows, width of the group), padded by zeros
 *   a block     the same, but every panel PANEL wide, and from one to the next `step`
 *               reals: a block has room for more rows than it may hold
 */
#ifndef CBP_PANEL_H
#define CBP_PANEL_H

#include <assert.h>

#include "vec.h"

#define WIDE 2
#define PANEL (WIDE * LANES)

INLINE ptrdiff_t smaller(ptrdiff_t x, ptrdiff_t y) { return x < y ? x : y; }

/* Vectors across the panel that starts at a column of a matrix of `width` columns. */
INLINE ptrdiff_t panel_vectors(ptrdiff_t column, ptrdiff_t width)
{
    const ptrdiff_t left = round_up(width - column, LANES) / LANES;
    return left < WIDE ? left : WIDE;
}

/* Where column j of the first row of a block is. */
INLINE ptrdiff_t column_at(ptrdiff_t j, ptrdiff_t step)
{
    return j / PANEL * step + j % PANEL;
}

static ptrdiff_t padded_width(ptrdiff_t n) { return round_up(n, LANES); }

static ptrdiff_t packed_size(ptrdiff_t n_rows, ptrdiff_t n_columns)
{
    return n_rows * round_up(n_columns, LANES);
}

/* ---- parameters ----------------------------------------------------------------- */

static void pack(ptrdiff_t n_rows, ptrdiff_t n_columns, const void *plain_, void *packed_)
{
    const real *plain = plain_;
    real *packed = packed_;
    for (ptrdiff_t j = 0; j < n_columns; j += PANEL) {
        const ptrdiff_t width = panel_vectors(j, n_columns) * LANES;
        const ptrdiff_t filled = smaller(n_columns - j, width);
        for (ptrdiff_t k = 0; k < n_rows; k++, packed += width) {
            const real *row = plain + k * n_columns + j;
            if (filled == PANEL) {
                memcpy(packed, row, PANEL * sizeof(real));
            } else {
                for (ptrdiff_t c = 0; c < filled; c++) packed[c] = row[c];
                for (ptrdiff_t c = filled; c < width; c++) packed[c] = 0;
            }
        }
    }
}

static void unpack(ptrdiff_t n_rows, ptrdiff_t n_columns, const void *packed_, void *plain_)
{
    const real *packed = packed_;
    real *plain = plain_;
    for (ptrdiff_t j = 0; j < n_columns; j += PANEL) {
        const ptrdiff_t width = panel_vectors(j, n_columns) * LANES;
        const ptrdiff_t filled = smaller(n_columns - j, width);
        for (ptrdiff_t k = 0; k < n_rows; k++, packed += width) {
            real *row = plain + k * n_columns + j;
            if (filled == PANEL)
                memcpy(row, packed, PANEL * sizeof(real));
            else
                for (ptrdiff_t c = 0; c < filled; c++) row[c] = packed[c];
        }
    }
}

static void transpose(ptrdiff_t n_in, ptrdiff_t n_out, ptrdiff_t node, ptrdiff_t nodes,
                      ptrdiff_t column, const void *W_, void *WT_)
{
    const ptrdiff_t width = panel_vectors(column, n_out) * LANES;
    const ptrdiff_t filled = smaller(n_out - column, width);
    const real *W = (const real *)W_ + n_in * column;
    assert(node % PANEL == 0 && column % PANEL == 0 && node + nodes <= n_in);
    for (ptrdiff_t k = node; k < node + nodes; k += PANEL) {
        const ptrdiff_t width_T = panel_vectors(k, n_in) * LANES;
        const ptrdiff_t filled_T = smaller(n_in - k, width_T);
        real *WT = (real *)WT_ + n_out * k + column * width_T;
        for (ptrdiff_t c = 0; c < filled; c++)
            for (ptrdiff_t r = 0; r < filled_T; r++)
                WT[c * width_T + r] = W[(k + r) * width + c];
    }
}

/* ---- a block --------------------------------------------------------------------- */

/* Rows of the future that gather asks the memory for: X may be larger than any cache,
 * and no hardware foresees a shuffled order. */
#define ROWS_AHEAD 4

INLINE void prefetch_row(ptrdiff_t n, const real *row)
{
#if VECTOR_BYTES
    for (ptrdiff_t j = 0; j < n; j += 64 / sizeof(real)) __builtin_prefetch(row + j);
#else
    (void)n, (void)row;
#endif
}

static void gather(ptrdiff_t rows, ptrdiff_t n, const ptrdiff_t *order, const void *source,
                   ptrdiff_t row_bytes, ptrdiff_t step, void *out_)
{
    for (ptrdiff_t i = 0; i < rows; i++) {
        const real *row =
            (const real *)((const char *)source + (order ? order[i] : i) * row_bytes);
        real *out = (real *)out_ + i * PANEL;
        ptrdiff_t j = 0;
        if (order && i + ROWS_AHEAD < rows)
            prefetch_row(n, (const real *)((const char *)source +
                                           order[i + ROWS_AHEAD] * row_bytes));
        for (; j + PANEL <= n; j += PANEL, out += step)
            UNROLL
            for (ptrdiff_t v = 0; v < WIDE; v++)
                store(out + v * LANES, load(row + j + v * LANES));
        for (ptrdiff_t c = 0; j + c < n; c++) out[c] = row[j + c];
    }
}

static void scatter(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t step, const void *source,
                    void *out_)
{
    real *out = out_;
    for (ptrdiff_t i = 0; i < rows; i++, out += n) {
        const real *row = (const real *)source + i * PANEL;
        ptrdiff_t j = 0;
        for (; j + PANEL <= n; j += PANEL, row += step)
            UNROLL
            for (ptrdiff_t v = 0; v < WIDE; v++)
                store(out + j + v * LANES, load(row + v * LANES));
        for (ptrdiff_t c = 0; j + c < n; c++) out[j + c] = row[c];
    }
}

static void one_hot(ptrdiff_t rows, ptrdiff_t n, const ptrdiff_t *order,
                    const int32_t *classes, ptrdiff_t step, void *out_)
{
    for (ptrdiff_t i = 0; i < rows; i++) {
        real *row = (real *)out_ + i * PANEL;
        const ptrdiff_t k = classes[order ? order[i] : i];
        assert(0 <= k && k < n);
        for (ptrdiff_t j = 0; j < n; j += LANES) store(row + column_at(j, step), broadcast(0));
        row[column_at(k, step)] = 1;
    }
}

static void pick(ptrdiff_t n, const ptrdiff_t *order, const void *source_, void *out_)
{
    const real *source = source_;
    real *out = out_;
    for (ptrdiff_t i = 0; i < n; i++) out[i] = source[order ? order[i] : i];
}

#endif
