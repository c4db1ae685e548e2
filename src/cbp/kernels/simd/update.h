/* What is done once per step to every parameter, over packed vectors.
 *
 * n is a multiple of LANES; padding stays zero because its gradient is.
 */
#ifndef CBP_UPDATE_H
#define CBP_UPDATE_H

#include <assert.h>

#include "elementary.h"

/* Squares of reals summed into a double this often, so that the sum over millions of
 * floats keeps the precision of its terms. */
#define SQUARES_CHUNK 1024

/* (grad + alpha param) / S: the mean over the samples, with the penalty's part. */
INLINE vec mean_gradient(vec grad, vec param, real alpha, real inverse_S)
{
    return (grad + alpha * param) * inverse_S;
}

static double sum_of_squares(ptrdiff_t n, const void *params)
{
    const real *w = params;
    double total = 0;
    for (ptrdiff_t i = 0; i < n;) {
        const ptrdiff_t end = n - i < SQUARES_CHUNK ? n : i + SQUARES_CHUNK;
        vec sum = broadcast(0);
        for (; i < end; i += LANES) sum = sum + load(w + i) * load(w + i);
        total += lane_sum(sum);
    }
    return total;
}

static void regularize(ptrdiff_t n, const void *params, void *grad_, double alpha, double S)
{
    const real *w = params, inverse_S = (real)(1 / S);
    real *grad = grad_;
    for (ptrdiff_t i = 0; i < n; i += LANES)
        store(grad + i, mean_gradient(load(grad + i), load(w + i), (real)alpha, inverse_S));
}

static void begin_step(cbp_step *step)
{
    const double *beta = step->hyperparameters;
    double *power = step->powers;
    power[0] *= beta[0];
    power[1] *= beta[1];
    step->inverse_S = 1 / step->S;
    if (step->solver == CBP_SGD) return;
    step->correction = sqrt(1 - power[1]) / (1 - power[0]);
    step->epsilon = beta[2] * (step->solver == CBP_ADAMW ? sqrt(1 - power[1]) : 1);
    /* Not subnormal: flushed to zero it would let 0 be divided by 0. */
    if (step->epsilon < SMALLEST_NORMAL) step->epsilon = SMALLEST_NORMAL;
}

/* Adam; hyperparameters beta_1, beta_2, epsilon. The corrections of the bias of m and v
 * are folded into the rate (Kingma and Ba 2015, the end of their section 2). If it is
 * decoupled, AdamW (Loshchilov and Hutter 2019): the fourth is the decay of coefs, and
 * epsilon is added to the corrected root of v, which scales it here. */
INLINE double adam(const int decoupled, ptrdiff_t n, const cbp_step *step, int are_coefs,
                   double factor, const void *grad_, void *m_, void *v_, void *params)
{
    const double *beta = step->hyperparameters;
    const double decay = decoupled && are_coefs ? step->rate * factor * beta[3] : 0;
    const real *grad = grad_, inverse_S = (real)step->inverse_S;
    const real alpha = are_coefs ? (real)step->alpha : 0;
    const real rate = (real)(step->rate * factor * step->correction);
    const real beta_1 = (real)beta[0], rest_1 = (real)(1 - beta[0]);
    const real beta_2 = (real)beta[1], rest_2 = (real)(1 - beta[1]);
    const real epsilon = (real)step->epsilon, kept = (real)(1 - decay);
    real *m = m_, *v = v_, *w = params;
    double squares = 0;
    assert(n % LANES == 0 && step->S > 0);
    for (ptrdiff_t i = 0; i < n;) {
        const ptrdiff_t end = n - i < SQUARES_CHUNK ? n : i + SQUARES_CHUNK;
        vec sum = broadcast(0);
        for (; i < end; i += LANES) {
            const vec wi = load(w + i);
            const vec g = mean_gradient(load(grad + i), wi, alpha, inverse_S);
            const vec mi = beta_1 * load(m + i) + rest_1 * g;
            const vec vi = beta_2 * load(v + i) + rest_2 * (g * g);
            sum = sum + wi * wi;
            store(m + i, mi);
            store(v + i, vi);
            store(w + i, (decoupled ? kept * wi : wi) -
                             rate * mi / (square_root(vi) + epsilon));
        }
        squares += lane_sum(sum);
    }
    return squares;
}

/* SGD; hyperparameters momentum, Nesterov's or not. velocity = momentum velocity - rate g;
 * Nesterov's step looks one velocity ahead. */
INLINE double sgd(const int nesterov, ptrdiff_t n, const cbp_step *step, int are_coefs,
                  double factor, const void *grad_, void *velocity_, void *params)
{
    const real *grad = grad_, inverse_S = (real)step->inverse_S;
    const real alpha = are_coefs ? (real)step->alpha : 0;
    const real rate = (real)(step->rate * factor);
    const real momentum = (real)step->hyperparameters[0];
    real *velocity = velocity_, *w = params;
    double squares = 0;
    assert(n % LANES == 0 && step->S > 0);
    for (ptrdiff_t i = 0; i < n;) {
        const ptrdiff_t end = n - i < SQUARES_CHUNK ? n : i + SQUARES_CHUNK;
        vec sum = broadcast(0);
        for (; i < end; i += LANES) {
            const vec wi = load(w + i);
            const vec g = mean_gradient(load(grad + i), wi, alpha, inverse_S);
            const vec vi = momentum * load(velocity + i) - rate * g;
            sum = sum + wi * wi;
            store(velocity + i, vi);
            store(w + i, wi + (nesterov ? momentum * vi - rate * g : vi));
        }
        squares += lane_sum(sum);
    }
    return squares;
}

static double update(ptrdiff_t n, const cbp_step *step, int are_coefs, double factor,
                     const void *grad, void *m, void *v, void *params)
{
    switch (step->solver) {
    case CBP_SGD:
        return step->hyperparameters[1] != 0
                   ? sgd(1, n, step, are_coefs, factor, grad, m, params)
                   : sgd(0, n, step, are_coefs, factor, grad, m, params);
    case CBP_ADAMW: return adam(1, n, step, are_coefs, factor, grad, m, v, params);
    default: return adam(0, n, step, are_coefs, factor, grad, m, v, params);
    }
}

#endif
