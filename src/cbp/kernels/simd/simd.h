/* The kernels beneath propagator.pyx: one table of functions per instruction set and
 * per dtype, all compiled from kernels.c.
 *
 * Called by   propagator.pyx only.
 * Memory      the caller owns every buffer; nothing here allocates or can fail.
 * Pointers    are void because one set of signatures serves float and double; the
 *             table knows which of the two it was compiled for.
 *
 * Shapes, once for all functions below (n_in = n_{l-1}, n_out = n_l):
 *
 *   rows              number of samples in the block
 *   x[rows]           the rows of a sparse a^0; index_bytes is 4 or 8
 *   a_in, z, a, delta (rows, width of the layer) in panels of `panel` columns: each panel
 *                     a contiguous (rows, panel), from one panel to the next `step`
 *                     reals. Lanes beyond the width of the layer hold no meaning in
 *                     x and z, and zeros in the others as long as the numbers of the
 *                     layer are finite.
 *   W, WT, grad       packed panels: the columns of the matrix in groups of `panel` (the
 *                     last group narrower, whole vectors), each group a contiguous
 *                     (n_rows_of_matrix, width of the group), padded by zeros
 *   b, grad of b      padded to whole vectors by zeros
 *
 * A product streams through panels from end to end; panel.h says more about them.
 */
#ifndef CBP_SIMD_H
#define CBP_SIMD_H

#include <stddef.h>
#include <stdint.h>

/* What has a case in the kernels, with the name of its record in cbp.functions. */
#define CBP_ACTIVATIONS(X)                                                            \
    X(IDENTITY, "identity")                                                           \
    X(LOGISTIC, "logistic")                                                           \
    X(TANH, "tanh")                                                                   \
    X(RELU, "relu")                                                                   \
    X(LEAKY_RELU, "leaky_relu")                                                       \
    X(GELU, "gelu")                                                                   \
    X(SOFTMAX, "softmax")                                                             \
    X(EXP, "exp")                                                                     \
    X(LOG, "log") /* for `map` only, as the next: what the losses are made of */      \
    X(LOG_1_PLUS, "log1p")

#define CBP_LOSSES(X)                                                                 \
    X(SQUARED_ERROR, "squared_error")                                                 \
    X(SUM_OF_SQUARES, "sum_of_squares")                                               \
    X(LOG_LOSS, "log_loss")                                                           \
    X(POISSON, "poisson")                                                             \
    X(HUBER, "huber")

#define CBP_SOLVERS(X)                                                                \
    X(SGD, "sgd")                                                                     \
    X(ADAM, "adam")                                                                   \
    X(ADAMW, "adamw")

#define CBP_CODE(code, name) CBP_##code,
typedef enum { CBP_ACTIVATIONS(CBP_CODE) CBP_N_ACTIVATIONS } cbp_activation;
typedef enum { CBP_LOSSES(CBP_CODE) CBP_N_LOSSES } cbp_loss;
typedef enum { CBP_SOLVERS(CBP_CODE) CBP_N_SOLVERS } cbp_solver;

/* An activation or a loss. */
#define CBP_MOST_PARAMETERS 2
typedef struct {
    int code;
    int from_z; /* whether g' is computed from z instead of a */
    double parameters[CBP_MOST_PARAMETERS];
} cbp_function;

/* A step of the solver: what is the same for all parameters. */
#define CBP_MOST_HYPERPARAMETERS 4
typedef struct {
    int solver; /* its code */
    double hyperparameters[CBP_MOST_HYPERPARAMETERS];
    double powers[2]; /* the first two, to the power of the number of this step, from 1 */
    double rate;      /* of this step */
    double alpha, S;  /* the gradient of a coef is (grad + alpha coef) / S */
    double inverse_S, correction, epsilon; /* as `begin_step` has them */
} cbp_step;

/* One row of a sparse X, in place: `count` reals and, as int32 or int64, their columns. */
typedef struct {
    const void *values;
    const void *columns;
    ptrdiff_t count;
} cbp_sparse_row;

typedef struct {
    const char *isa;

    /* Sizes, in reals; tile_rows is how many rows a product works on together. */
    ptrdiff_t panel, tile_rows;
    ptrdiff_t (*padded_width)(ptrdiff_t n);
    ptrdiff_t (*packed_size)(ptrdiff_t n_rows, ptrdiff_t n_columns);

    /* Between the plain (n_rows, n_columns) and the packed form of a matrix. */
    void (*pack)(ptrdiff_t n_rows, ptrdiff_t n_columns, const void *plain, void *packed);
    void (*unpack)(ptrdiff_t n_rows, ptrdiff_t n_columns, const void *packed, void *plain);
    /* The same with the transposed matrix packed. */
    void (*pack_transposed)(ptrdiff_t n_rows, ptrdiff_t n_columns, const void *plain,
                            void *packed);
    void (*unpack_transposed)(ptrdiff_t n_rows, ptrdiff_t n_columns, const void *packed,
                              void *plain);

    /* WT (n_out, kept), the transposed of the first `kept` rows of W (n_in, n_out): what
     * comes from some `nodes` of these rows, from `node` on, and from the panel of W that
     * starts at `column`; node is a multiple of `panel`. */
    void (*transpose)(ptrdiff_t n_in, ptrdiff_t n_out, ptrdiff_t node, ptrdiff_t nodes,
                      ptrdiff_t column, ptrdiff_t kept, const void *W, void *WT);

    /* Ask the memory for the first `bytes` of the rows order[i], or i, of `source`. */
    void (*prefetch)(ptrdiff_t rows, ptrdiff_t row_bytes, ptrdiff_t bytes,
                     const ptrdiff_t *order, const void *source);
    /* Row order[i] of `source` (row_bytes apart), or row i if order is NULL, into row i of
     * a block; or the row that has a 1 at the column of its class. */
    void (*gather)(ptrdiff_t rows, ptrdiff_t n, const ptrdiff_t *order, const void *source,
                   ptrdiff_t row_bytes, ptrdiff_t step, void *out);
    void (*one_hot)(ptrdiff_t rows, ptrdiff_t n, const ptrdiff_t *order,
                    const int32_t *classes, ptrdiff_t step, void *out);
    /* out[i] = source[order[i]], or source[i]. */
    void (*pick)(ptrdiff_t n, const ptrdiff_t *order, const void *source, void *out);
    void (*pick_codes)(ptrdiff_t n, const ptrdiff_t *order, const int32_t *source,
                       void *out);
    /* Rows of a block into a plain (rows, n). */
    void (*scatter)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t step, const void *source,
                    void *out);

    /* z = a_in W + b; a = g(z). z may be NULL where nobody reads it; g, here and below,
     * where there is none: a is z. */
    void (*forward)(ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out, const cbp_function *g,
                    ptrdiff_t step, const void *a_in, const void *W, const void *b, void *z,
                    void *a);

    /* The same for the nodes from `first` on of a layer of at most `panel` nodes, from W^T
     * instead of W: lanes are nodes of the layer below. */
    void (*forward_across)(ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out, ptrdiff_t first,
                           const cbp_function *g, ptrdiff_t step, const void *a_in,
                           const void *WT, const void *b, void *z, void *a);

    /* BP2: delta = (delta_next W^T) * g'(z), with g' computed from `source`, which is a,
     * or z if g is from_z. */
    void (*backward)(ptrdiff_t rows, ptrdiff_t n_next, ptrdiff_t n, const cbp_function *g,
                     ptrdiff_t step, const void *delta_next, const void *WT,
                     const void *source, void *delta);

    /* BP4 summed over the rows, for `nodes` of the layer below (from a multiple of `panel`
     * on, where a_in and grad_W point) and one panel of delta, `width` columns of it or
     * all: grad_W (+)= a_in delta. With a_in and delta in each other's place it is the
     * gradient of W^T. BP3: sums (+)= delta. */
    void (*gradient)(ptrdiff_t rows, ptrdiff_t nodes, ptrdiff_t width, ptrdiff_t step,
                     const void *a_in, const void *delta, int accumulate, void *grad_W);
    void (*column_sums)(ptrdiff_t rows, ptrdiff_t width, const void *delta, int accumulate,
                        void *sums);

    /* a = g(a_in W + b) of one row, everything in the plain layout; a has room for whole
     * vectors. The bits are those of `forward` for the first n_in_lanes nodes, of
     * `forward_across` for the others. */
    void (*forward_row)(ptrdiff_t n_in, ptrdiff_t n_out, ptrdiff_t n_in_lanes,
                        const cbp_function *g, const void *a_in, const void *W,
                        const void *b, void *a);

    /* The two products that read a^0, for a^0 = x, over its nonzeros only. */
    void (*forward_sparse)(ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out,
                           const cbp_function *g, int index_bytes, ptrdiff_t step,
                           const cbp_sparse_row *x,
                           const void *W, const void *b, void *z, void *a);
    void (*gradient_sparse)(ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t width,
                            int index_bytes, const cbp_sparse_row *x, const void *delta,
                            int accumulate, void *grad_W);

    /* a^L = g(z^L). */
    void (*output)(ptrdiff_t rows, ptrdiff_t n, const cbp_function *g, ptrdiff_t step,
                   const void *z, void *a);

    /* BP1: a^L, C_0 of each sample and delta^L = dC_0/dz^L from z^L and the targets
     * in panels too; or, for at most `panel` nodes, from codes (rows,): the node whose
     * target is 1, as a real. Whether a holds a^L afterwards is up to keep_a. */
    void (*error_signal)(ptrdiff_t rows, ptrdiff_t n, const cbp_function *g,
                         const cbp_function *loss, ptrdiff_t step, const void *z,
                         const void *targets,
                         const void *codes, int keep_a, void *a, void *delta,
                         void *sample_losses);

    /* delta *= weight of the row. */
    void (*weigh)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t step, const void *weights,
                  void *delta);

    /* grad = (grad + alpha * param) / S over n packed parameters. */
    void (*regularize)(ptrdiff_t n, const void *params, void *grad, double alpha, double S);

    /* Makes the powers those of the next step, and works out what follows from them. */
    void (*begin_step)(cbp_step *step);

    /* A step over n packed parameters, whose rate is `factor` times that of the others;
     * only coefs are penalised and decay. m and v are the solver's moments, of which it
     * may have none or one. Returns ||params||^2 from before the step. */
    double (*update)(ptrdiff_t n, const cbp_step *step, int are_coefs, double factor,
                     const void *grad, void *m, void *v, void *params);

    double (*sum_of_squares)(ptrdiff_t n, const void *params);

    /* sum_i weights[i] * values[i]; weights 1 if NULL. */
    double (*weighted_sum)(ptrdiff_t n, const void *weights, const void *values);

    /* The sum of x^2 over `width` columns of some rows, `stride` reals apart; whole vectors
     * can be read. */
    double (*column_squares)(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t stride,
                             const void *x);

    /* x = now - x over n packed parameters. */
    void (*change)(ptrdiff_t n, const void *now, void *x);

    /* active[j] becomes 1 where a > 0 in any row of column j of a panel; it stays what it
     * is, 0 or 1, elsewhere. */
    void (*mark_active)(ptrdiff_t rows, ptrdiff_t width, const void *a, void *active);

    /* out[i] = g(x[i]), elementwise; softmax excepted. */
    void (*map)(ptrdiff_t n, const cbp_function *g, const void *x, void *out);
} cbp_kernels;

/* The code of a name; -1 if there is none. */
int cbp_activation_code(const char *name);
int cbp_loss_code(const char *name);
int cbp_solver_code(const char *name);

/* The best table for this processor, or the one named; NULL if the processor or the
 * build lacks it. itemsize is 4 or 8. */
const cbp_kernels *cbp_select(const char *isa, int itemsize);

/* Names of the instruction sets that cbp_select would give here, best first; returns
 * how many were written (at most 5). */
int cbp_available(const char *names_out[5]);

/* Subnormals flushed to zero on this thread until the returned state is restored. */
unsigned long long cbp_flush_subnormals(void);
void cbp_restore_subnormals(unsigned long long state);

/* Seconds on a clock that serves for differences only. */
double cbp_clock(void);

#endif
