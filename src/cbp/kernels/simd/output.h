/* The output layer: a^L = g(z^L), the losses C_0, and the error signal delta^L (BP1).
 *
 * Everything is written once, on a few vectors, for two ways to fill them:
 *
 *   lanes are samples  a vector per node, each lane another row of the block; sums over
 *                      the nodes need no sums across lanes. For up to PANEL nodes.
 *   lanes are nodes    the vectors of one row, the last one filled in part
 *
 * `across` (a constant wherever a function is instantiated) is true for the second.
 */
#ifndef CBP_OUTPUT_H
#define CBP_OUTPUT_H

#include "activation.h"
#include "panel.h"

/* Where vector q of the nodes is. */
INLINE ptrdiff_t vector_at(const int across, ptrdiff_t q, ptrdiff_t step)
{
    return across ? column_at(q * LANES, step) : q * LANES;
}

INLINE ptrdiff_t count_vectors(const int across, ptrdiff_t n)
{
    return across ? round_up(n, LANES) / LANES : n;
}

/* Which lanes of vector q are nodes. */
INLINE ivec nodes_of(const int across, ptrdiff_t q, ptrdiff_t n)
{
    return mask_first(across ? n - q * LANES : LANES);
}

INLINE vec sum_over_nodes(const int across, vec x)
{
    return across ? broadcast(lane_sum(x)) : x;
}

/* a = softmax(z); returns ln sum_k e^(z_k - max z) and gives max z, for the loss. Lanes
 * beyond the nodes become 0. */
INLINE vec softmax(const int across, ptrdiff_t n, ptrdiff_t step, const real *z, real *a,
                   vec *max_out)
{
    const ptrdiff_t Q = count_vectors(across, n);
    vec max = across ? broadcast(z[0]) : load(z), sum = broadcast(0);
    for (ptrdiff_t q = 0; q < Q; q++) {
        const vec z_q = load(z + vector_at(across, q, step));
        max = select(nodes_of(across, q, n) & mask_less(max, z_q), z_q, max);
    }
    if (across) max = broadcast(lane_max(max));
    for (ptrdiff_t q = 0; q < Q; q++) {
        const ptrdiff_t at = vector_at(across, q, step);
        const vec e = keep(nodes_of(across, q, n), exponential(load(z + at) - max));
        sum = sum + e;
        store(a + at, e);
    }
    sum = sum_over_nodes(across, sum);
    for (ptrdiff_t q = 0; q < Q; q++) {
        const ptrdiff_t at = vector_at(across, q, step);
        store(a + at, load(a + at) / sum);
    }
    *max_out = max;
    return logarithm(sum);
}

INLINE void activate_output(const int across, ptrdiff_t n, const function g,
                            ptrdiff_t step, const real *z, real *a)
{
    vec max;
    if (g.code == CBP_SOFTMAX) {
        softmax(across, n, step, z, a, &max);
        return;
    }
    for (ptrdiff_t q = 0; q < count_vectors(across, n); q++) {
        const ptrdiff_t at = vector_at(across, q, step);
        store(a + at, activate(g, load(z + at)));
    }
}

/* Half the Poisson deviance, y ln(y/a) - y + a with a = e^z. With t = ln y - z it is
 * y (t + e^-t - 1): near the minimum, where the terms cancel, a rounding error in t then
 * counts only squared. What is subnormal in y counts as 0, and 0 ln 0 = 0. */
INLINE vec half_deviance(vec y, vec z, vec a)
{
    const ivec positive = ~mask_less(y, broadcast((real)SMALLEST_NORMAL));
    const vec log_y = logarithm(select(positive, y, broadcast(1))), t = log_y - z;
    const ivec near = positive & mask_less(magnitude(t), broadcast(1));
    const vec closely = y * (t + exponential_minus_1(keep(near, -t)));
    return select(near, closely, keep(positive, y * log_y) - y * z - y + a);
}

/* -y ln a - (1-y) ln(1-a) for a = logistic(z), without the logarithm of a rounded 0;
 * e = e^-|z|. */
INLINE vec cross_entropy(vec y, vec z, vec e)
{
    return relu(z) - z * y + logarithm_of_1_plus(e);
}

/* The losses whose output activation is canonical: delta^L = a - y, because g' cancels. */
INLINE vec canonical(const int across, ptrdiff_t n, int loss, ptrdiff_t step,
                     const real *z, const real *y, real *a, real *delta)
{
    vec C = broadcast(0);
    for (ptrdiff_t q = 0; q < count_vectors(across, n); q++) {
        const ptrdiff_t at = vector_at(across, q, step);
        const ivec here = nodes_of(across, q, n);
        const vec z_q = load(z + at), y_q = load(y + at);
        vec a_q, C_q;
        if (loss == CBP_POISSON) {
            a_q = exponential(z_q);
            C_q = half_deviance(y_q, z_q, a_q);
        } else {
            const vec e = exponential(-magnitude(z_q));
            a_q = logistic_from(e, z_q);
            C_q = cross_entropy(y_q, z_q, e);
        }
        C = C + keep(here, C_q);
        store(a + at, a_q);
        store(delta + at, keep(here, a_q - y_q));
    }
    return sum_over_nodes(across, C);
}

INLINE vec canonical_softmax(const int across, ptrdiff_t n, ptrdiff_t step, const real *z,
                             const real *y, real *a, real *delta)
{
    vec max, C = broadcast(0);
    const vec log_sum = softmax(across, n, step, z, a, &max);
    for (ptrdiff_t q = 0; q < count_vectors(across, n); q++) {
        const ptrdiff_t at = vector_at(across, q, step);
        const ivec here = nodes_of(across, q, n);
        const vec y_q = load(y + at);
        /* -y ln a with ln a = (z - max) - ln sum, in this order: max + ln sum would
         * round ln sum away. 0 where y is 0, whatever z is. */
        const vec minus_log_a = log_sum - (load(z + at) - max);
        C = C + keep(here & mask_less(broadcast(0), y_q), y_q * minus_log_a);
        store(delta + at, keep(here, load(a + at) - y_q));
    }
    return sum_over_nodes(across, C);
}

/* The losses that go with any output: dC_0/da of one output from error = a - y, and the
 * factor that makes twice C_0 of it: the multiply-add stays one for all. */
INLINE vec loss_slope(const function loss, vec error, vec *factor_out)
{
    vec slope = error;
    *factor_out = error;
    switch (loss.code) {
    case CBP_SUM_OF_SQUARES: return 2 * error;
    case CBP_HUBER:
        slope = at_most(at_least(error, -loss.parameter[0]), loss.parameter[0]);
        *factor_out = 2 * error - slope;
        return slope;
    default: return slope;
    }
}

/* These losses on any output: delta = dC_0/da g'(z). */
INLINE vec of_errors(const int across, ptrdiff_t n, const function g,
                     const function loss, ptrdiff_t step, const real *z, const real *y,
                     real *a, real *delta)
{
    vec C = broadcast(0), along = broadcast(0);
    activate_output(across, n, g, step, z, a);
    for (ptrdiff_t q = 0; q < count_vectors(across, n); q++) {
        const ptrdiff_t at = vector_at(across, q, step);
        const ivec here = nodes_of(across, q, n);
        const vec a_q = load(a + at), error = keep(here, a_q - load(y + at));
        vec factor;
        const vec dC_da = loss_slope(loss, error, &factor);
        C = C + dC_da * factor;
        along = along + dC_da * a_q;
        store(delta + at,
              keep(here, times_slope(g, g.from_z ? load(z + at) : a_q, dC_da)));
    }
    if (g.code == CBP_SOFTMAX) {
        /* da_k/dz_j = a_k ([k = j] - a_j) makes
         * delta_j = a_j (dC_0/da_j - sum_k dC_0/da_k a_k). */
        along = sum_over_nodes(across, along);
        for (ptrdiff_t q = 0; q < count_vectors(across, n); q++) {
            const ptrdiff_t at = vector_at(across, q, step);
            const vec d = load(a + at) * (load(delta + at) - along);
            store(delta + at, keep(nodes_of(across, q, n), d));
        }
    }
    return sum_over_nodes(across, C) * (real)0.5;
}

/* BP1; returns C_0, in every lane if lanes are nodes. */
INLINE vec loss_and_delta(const int across, ptrdiff_t n, const function g,
                          const function loss, ptrdiff_t step, const real *z,
                          const real *y, real *a, real *delta)
{
    switch (loss.code) {
    case CBP_LOG_LOSS:
        if (g.code == CBP_SOFTMAX)
            return canonical_softmax(across, n, step, z, y, a, delta);
        /* falls through */
    case CBP_POISSON: return canonical(across, n, loss.code, step, z, y, a, delta);
    default: return of_errors(across, n, g, loss, step, z, y, a, delta);
    }
}

/* Between `rows` (at most LANES) rows of a block, n <= PANEL columns wide, and a vector
 * per column. */
typedef struct {
    real vectors[PANEL * LANES];
} samples_in_lanes;

/* So few columns move sooner one by one than by transposing squares. */
#define FEW_COLUMNS (LANES / 4)

INLINE void to_lanes(ptrdiff_t rows, ptrdiff_t n, const real *block, samples_in_lanes *out)
{
    if (rows < LANES) {
        memset(out->vectors, 0, n * LANES * sizeof(real));
        for (ptrdiff_t j = 0; j < n; j++)
            for (ptrdiff_t i = 0; i < rows; i++)
                out->vectors[j * LANES + i] = block[i * PANEL + j];
    } else if (n > FEW_COLUMNS) {
        for (ptrdiff_t j = 0; j < n; j += LANES)
            copy_transposed(PANEL, block + j, LANES, out->vectors + j * LANES);
    } else {
        for (ptrdiff_t j = 0; j < n; j++)
            store(out->vectors + j * LANES, load_strided(PANEL, block + j));
    }
}

/* The same from the codes of the rows' classes: 1 at the code, else 0. */
INLINE void codes_to_lanes(ptrdiff_t rows, ptrdiff_t n, const real *codes,
                           samples_in_lanes *out)
{
    real copied[LANES] = {0};
    vec code;
    copy(rows, codes, copied);
    code = load(copied);
    for (ptrdiff_t j = 0; j < n; j++)
        store(out->vectors + j * LANES,
              keep(mask_equal(code, broadcast((real)j)), broadcast(1)));
}

INLINE void from_lanes(ptrdiff_t rows, ptrdiff_t n, samples_in_lanes *in, real *block)
{
    if (rows < LANES) {
        for (ptrdiff_t j = 0; j < n; j++)
            for (ptrdiff_t i = 0; i < rows; i++)
                block[i * PANEL + j] = in->vectors[j * LANES + i];
    } else if (n > FEW_COLUMNS) {
        const ptrdiff_t padded = round_up(n, LANES);
        for (ptrdiff_t j = n; j < padded; j++)
            store(in->vectors + j * LANES, broadcast(0));
        for (ptrdiff_t j = 0; j < n; j += LANES)
            copy_transposed(LANES, in->vectors + j * LANES, PANEL, block + j);
    } else {
        for (ptrdiff_t j = 0; j < n; j++)
            store_strided(load(in->vectors + j * LANES), PANEL, block + j);
    }
}

INLINE void output_of_lanes(ptrdiff_t rows, ptrdiff_t n, const function g,
                            ptrdiff_t step, const real *z, real *a)
{
    samples_in_lanes z_i, a_i;
    to_lanes(rows, n, z, &z_i);
    activate_output(0, n, g, step, z_i.vectors, a_i.vectors);
    from_lanes(rows, n, &a_i, a);
}

static void output(ptrdiff_t rows, ptrdiff_t n, const cbp_function *g_, ptrdiff_t step,
                   const void *z_, void *a_)
{
    const function g = function_of(g_);
    const real *z = z_;
    real *a = a_;
    if (n > PANEL) {
        for (ptrdiff_t i = 0; i < rows; i++)
            activate_output(1, n, g, step, z + i * PANEL, a + i * PANEL);
        return;
    }
    for (; rows >= LANES; rows -= LANES, z += LANES * PANEL, a += LANES * PANEL)
        output_of_lanes(LANES, n, g, step, z, a);
    if (rows) output_of_lanes(rows, n, g, step, z, a);
}

/* BP1 of `rows` (at most LANES) rows; keeps a^L unless a is NULL. */
INLINE vec error_signal_of_lanes(ptrdiff_t rows, ptrdiff_t n, const function g,
                                 const function loss, ptrdiff_t step,
                                 const real *z, const real *y,
                                 const real *codes, real *a, real *delta)
{
    samples_in_lanes z_i, y_i, a_i, delta_i;
    vec C;
    to_lanes(rows, n, z, &z_i);
    if (codes) codes_to_lanes(rows, n, codes, &y_i);
    else to_lanes(rows, n, y, &y_i);
    C = loss_and_delta(0, n, g, loss, step, z_i.vectors, y_i.vectors, a_i.vectors,
                       delta_i.vectors);
    if (a) from_lanes(rows, n, &a_i, a);
    from_lanes(rows, n, &delta_i, delta);
    return C;
}

static void error_signal(ptrdiff_t rows, ptrdiff_t n, const cbp_function *g_,
                         const cbp_function *loss_, ptrdiff_t step, const void *z_,
                         const void *targets,
                         const void *codes_, int keep_a, void *a_, void *delta_,
                         void *sample_losses)
{
    const function g = function_of(g_), loss = function_of(loss_);
    const real *z = z_, *y = targets, *codes = codes_;
    real *a = a_, *delta = delta_, *C = sample_losses, C_last[LANES];
    ptrdiff_t i = 0, at = 0;
    assert(!codes || n <= PANEL);
    if (n > PANEL) {
        for (; i < rows; i++, at += PANEL) {
            store(C_last, loss_and_delta(1, n, g, loss, step, z + at, y + at, a + at,
                                         delta + at));
            C[i] = C_last[0];
        }
        return;
    }
    for (; i + LANES <= rows; i += LANES, at += LANES * PANEL)
        store(C + i,
              error_signal_of_lanes(LANES, n, g, loss, step, z + at, y + at,
                                    codes ? codes + i : NULL, keep_a ? a + at : NULL,
                                    delta + at));
    if (i < rows) {
        store(C_last,
              error_signal_of_lanes(rows - i, n, g, loss, step, z + at, y + at,
                                    codes ? codes + i : NULL, keep_a ? a + at : NULL,
                                    delta + at));
        memcpy(C + i, C_last, (rows - i) * sizeof(real));
    }
}

static void weigh(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t step, const void *weights,
                  void *delta_)
{
    const real *weight = weights;
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        real *delta = (real *)delta_ + column_at(j, step);
        for (ptrdiff_t i = 0; i < rows; i++, delta += PANEL)
            store(delta, weight[i] * load(delta));
    }
}

#endif
