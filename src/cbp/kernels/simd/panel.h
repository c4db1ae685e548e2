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

/* n < LANES reals: a loop would take longer to set up than to run. */
INLINE void copy_few(ptrdiff_t n, const real *from, real *to)
{
#define COPY_IF_IN(size)                                                              \
    if (LANES > size && n & size) {                                                   \
        memcpy(to, from, size * sizeof(real));                                        \
        from += size;                                                                 \
        to += size;                                                                   \
    }
    COPY_IF_IN(8)
    COPY_IF_IN(4)
    COPY_IF_IN(2)
    COPY_IF_IN(1)
#undef COPY_IF_IN
}

INLINE void copy(ptrdiff_t n, const real *from, real *to)
{
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) store(to + i, load(from + i));
    copy_few(n - i, from + i, to + i);
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
            store(packed + width - LANES, broadcast(0));
            copy(filled, plain + k * n_columns + j, packed);
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
        for (ptrdiff_t k = 0; k < n_rows; k++, packed += width)
            copy(filled, packed, plain + k * n_columns + j);
    }
}

static void pack_transposed(ptrdiff_t n_rows, ptrdiff_t n_columns, const void *plain_,
                            void *packed_)
{
    const real *plain = plain_;
    real *packed = packed_;
    for (ptrdiff_t k = 0; k < n_rows; k += PANEL) {
        const ptrdiff_t width = panel_vectors(k, n_rows) * LANES;
        for (ptrdiff_t j = 0; j < n_columns; j++, packed += width)
            for (ptrdiff_t r = 0; r < width; r++)
                packed[r] = k + r < n_rows ? plain[(k + r) * n_columns + j] : 0;
    }
}

static void unpack_transposed(ptrdiff_t n_rows, ptrdiff_t n_columns, const void *packed_,
                              void *plain_)
{
    const real *packed = packed_;
    real *plain = plain_;
    for (ptrdiff_t k = 0; k < n_rows; k += PANEL) {
        const ptrdiff_t width = panel_vectors(k, n_rows) * LANES;
        for (ptrdiff_t j = 0; j < n_columns; j++, packed += width)
            for (ptrdiff_t r = 0; r < smaller(width, n_rows - k); r++)
                plain[(k + r) * n_columns + j] = packed[r];
    }
}

/* LANES rows and columns; a row of `from` and of `to` is so many reals long. */
INLINE void copy_transposed(ptrdiff_t from_row, const real *from, ptrdiff_t to_row, real *to)
{
    vec square[LANES];
    UNROLL
    for (ptrdiff_t i = 0; i < LANES; i++) square[i] = load(from + i * from_row);
    transpose_square(square);
    UNROLL
    for (ptrdiff_t i = 0; i < LANES; i++) store(to + i * to_row, square[i]);
}

static void transpose(ptrdiff_t n_in, ptrdiff_t n_out, ptrdiff_t node, ptrdiff_t nodes,
                      ptrdiff_t column, ptrdiff_t kept, const void *W_, void *WT_)
{
    const ptrdiff_t width = panel_vectors(column, n_out) * LANES;
    const ptrdiff_t end = smaller(node + nodes, kept);
    const ptrdiff_t columns = smaller(n_out - column, width);
    const real *W = (const real *)W_ + n_in * column;
    assert(node % PANEL == 0 && column % PANEL == 0 && end <= n_in);
    for (ptrdiff_t k = node; k < end; k += LANES) {
        const ptrdiff_t panel_T = k / PANEL * PANEL;
        const ptrdiff_t width_T = panel_vectors(panel_T, kept) * LANES;
        real *WT = (real *)WT_ + n_out * panel_T + column * width_T + k % PANEL;
        const ptrdiff_t rows = smaller(end - k, LANES);
        for (ptrdiff_t j = 0; j < columns; j += LANES)
            if (rows == LANES && columns - j >= LANES)
                copy_transposed(width, W + k * width + j, width_T, WT + j * width_T);
            else
                for (ptrdiff_t c = j; c < smaller(j + LANES, columns); c++)
                    for (ptrdiff_t r = 0; r < rows; r++)
                        WT[c * width_T + r] = W[(k + r) * width + c];
    }
}

/* ---- a block --------------------------------------------------------------------- */

/* f(is_ordered, ...) with a constant for whether `order` says which rows are meant. */
#define BY_ORDER(f, ...)                                                              \
    do {                                                                              \
        if (order) f(1, __VA_ARGS__);                                                 \
        else f(0, __VA_ARGS__);                                                       \
    } while (0)

INLINE const real *row_at(const int is_ordered, ptrdiff_t i, const ptrdiff_t *order,
                          const void *source, ptrdiff_t row_bytes)
{
    return (const real *)((const char *)source + (is_ordered ? order[i] : i) * row_bytes);
}

#if VECTOR_BYTES
/* `lines` (a constant) lines of the cache from the start of each row. */
INLINE void prefetch_lines(const int lines, ptrdiff_t rows, ptrdiff_t row_bytes,
                           const ptrdiff_t *order, const char *source)
{
    for (ptrdiff_t i = 0; i < rows; i++) {
        const char *row = (const char *)row_at(1, i, order, source, row_bytes);
        UNROLL
        for (int line = 0; line < lines; line++) __builtin_prefetch(row + line * 64);
    }
}
#endif

static void prefetch(ptrdiff_t rows, ptrdiff_t row_bytes, ptrdiff_t bytes,
                     const ptrdiff_t *order, const void *source_)
{
#if VECTOR_BYTES
    const char *source = source_;
    for (; bytes > 192; bytes -= 256, source += 256)
        prefetch_lines(4, rows, row_bytes, order, source);
    if (bytes > 64) prefetch_lines(3, rows, row_bytes, order, source);
    else if (bytes > 0) prefetch_lines(1, rows, row_bytes, order, source);
#else
    (void)rows, (void)row_bytes, (void)bytes, (void)order, (void)source_;
#endif
}

/* `n` (a constant) columns of all rows, a power of two or some panels. */
INLINE void gather_columns(const int is_ordered, const ptrdiff_t n, ptrdiff_t rows,
                           const ptrdiff_t *order, const real *source,
                           ptrdiff_t row_bytes, ptrdiff_t step, real *out)
{
    for (ptrdiff_t i = 0; i < rows; i++, out += PANEL) {
        const real *row = row_at(is_ordered, i, order, source, row_bytes);
        UNROLL
        for (ptrdiff_t j = 0; j + LANES <= n; j += LANES)
            store(out + column_at(j, step), load(row + j));
        if (n < LANES) memcpy(out, row, n * sizeof(real));
    }
}

/* Some columns of all rows at a time: a loop over the columns of each row would take
 * longer to set up than to run. */
static void gather(ptrdiff_t rows, ptrdiff_t n, const ptrdiff_t *order, const void *source_,
                   ptrdiff_t row_bytes, ptrdiff_t step, void *out_)
{
    const real *source = source_;
    real *out = out_;
#define GATHER(columns)                                                               \
    do {                                                                              \
        BY_ORDER(gather_columns, columns, rows, order, source, row_bytes, step, out); \
        n -= columns;                                                                 \
        source += columns;                                                            \
        out += columns < PANEL ? columns : columns / PANEL * step;                    \
    } while (0)
    while (n >= 4 * PANEL) GATHER(4 * PANEL);
    while (n >= PANEL) GATHER(PANEL);
    if (n >= LANES) GATHER(LANES);
    if (n & 8) GATHER(8);
    if (n & 4) GATHER(4);
    if (n & 2) GATHER(2);
    if (n & 1) GATHER(1);
#undef GATHER
}

static void scatter(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t step, const void *source,
                    void *out_)
{
    real *out = out_;
    for (ptrdiff_t i = 0; i < rows; i++, out += n) {
        const real *row = (const real *)source + i * PANEL;
        ptrdiff_t j = 0;
        for (; j + PANEL <= n; j += PANEL, row += step) copy(PANEL, row, out + j);
        copy(n - j, row, out + j);
    }
}

INLINE void set_ones(const int is_ordered, ptrdiff_t rows, ptrdiff_t n,
                     const ptrdiff_t *order, const int32_t *classes, ptrdiff_t step,
                     real *out)
{
    for (ptrdiff_t i = 0; i < rows; i++, out += PANEL) {
        const ptrdiff_t k = classes[is_ordered ? order[i] : i];
        assert(0 <= k && k < n);
        out[column_at(k, step)] = 1;
    }
    (void)n;
}

static void one_hot(ptrdiff_t rows, ptrdiff_t n, const ptrdiff_t *order,
                    const int32_t *classes, ptrdiff_t step, void *out_)
{
    real *out = out_;
    for (ptrdiff_t j = 0; j < n; j += PANEL)
        memset(out + column_at(j, step), 0, rows * PANEL * sizeof(real));
    BY_ORDER(set_ones, rows, n, order, classes, step, out);
}

static void pick_codes(ptrdiff_t n, const ptrdiff_t *order, const int32_t *classes,
                       void *out_)
{
    real *out = out_;
    for (ptrdiff_t i = 0; i < n; i++) out[i] = (real)classes[order ? order[i] : i];
}

static void pick(ptrdiff_t n, const ptrdiff_t *order, const void *source_, void *out_)
{
    const real *source = source_;
    real *out = out_;
    for (ptrdiff_t i = 0; i < n; i++) out[i] = source[order ? order[i] : i];
}

#endif
