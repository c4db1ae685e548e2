/* The output layer: a^L = g(z^L), the losses C_0, and the error signal delta^L (BP1). */
#ifndef CBP_OUTPUT_H
#define CBP_OUTPUT_H

#include "activation.h"

/* Softmax of one row; returns ln sum_k e^(z_k - max z) and gives max z, for the loss.
 * Lanes beyond n become 0. */
INLINE real softmax_row(ptrdiff_t n, const real *z, real *a, real *max_out)
{
    vec highest = broadcast(z[0]), sum = broadcast(0);
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const vec zj = select(mask_first(n - j), load(z + j), highest);
        highest = select(mask_less(highest, zj), zj, highest);
    }
    const real max = lane_max(highest);
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const vec e = keep(mask_first(n - j), exponential(load(z + j) - max));
        sum = sum + e;
        store(a + j, e);
    }
    const real total = lane_sum(sum);
    for (ptrdiff_t j = 0; j < n; j += LANES) store(a + j, load(a + j) / total);
    *max_out = max;
    return (real)log((double)total);
}

static void output(ptrdiff_t rows, ptrdiff_t n, int activation, ptrdiff_t stride,
                   const void *z_, void *a_)
{
    const real *z = z_;
    real *a = a_, max;
    for (ptrdiff_t i = 0; i < rows; i++, z += stride, a += stride) {
        if (activation == CBP_SOFTMAX)
            softmax_row(n, z, a, &max);
        else
            for (ptrdiff_t j = 0; j < n; j += LANES)
                store(a + j, activate(activation, load(z + j)));
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

/* C_0 of one row, and delta^L, for the losses whose output activation is canonical:
 * delta^L = a - y, because g' cancels. */
INLINE real log_loss_logistic_row(ptrdiff_t n, const real *z, const real *y, real *a,
                                  real *delta)
{
    vec loss = broadcast(0);
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const ivec here = mask_first(n - j);
        const vec zj = load(z + j), yj = load(y + j), e = exponential(-magnitude(zj));
        const vec aj = logistic_from(e, zj);
        /* -y ln a - (1-y) ln(1-a), without the logarithm of a rounded 0. */
        loss = loss + keep(here, relu(zj) - zj * yj + logarithm_of_1_plus(e));
        store(a + j, aj);
        store(delta + j, keep(here, aj - yj));
    }
    return lane_sum(loss);
}

INLINE real log_loss_softmax_row(ptrdiff_t n, const real *z, const real *y, real *a,
                                 real *delta)
{
    real max;
    const real log_sum = softmax_row(n, z, a, &max);
    vec loss = broadcast(0);
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const ivec here = mask_first(n - j);
        const vec yj = load(y + j);
        /* -y ln a with ln a = (z - max) - ln sum, in this order: max + ln sum would
         * round ln sum away. 0 where y is 0, whatever z is. */
        const vec minus_log_a = log_sum - (load(z + j) - max);
        loss = loss + keep(mask_less(broadcast(0), yj), yj * minus_log_a);
        store(delta + j, keep(here, load(a + j) - yj));
    }
    return lane_sum(loss);
}

INLINE real poisson_exp_row(ptrdiff_t n, const real *z, const real *y, real *a, real *delta)
{
    vec loss = broadcast(0);
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const ivec here = mask_first(n - j);
        const vec zj = load(z + j), yj = load(y + j), aj = exponential(zj);
        loss = loss + keep(here, half_deviance(yj, zj, aj));
        store(a + j, aj);
        store(delta + j, keep(here, aj - yj));
    }
    return lane_sum(loss);
}

/* scale/2 sum (a - y)^2 on any output: dC_0/da = scale (a - y), then g'. */
INLINE real squares_row(ptrdiff_t n, int activation, real scale, const real *z,
                        const real *y, real *a, real *delta)
{
    vec loss = broadcast(0), along = broadcast(0);
    real max;
    if (activation == CBP_SOFTMAX) softmax_row(n, z, a, &max);
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        if (activation != CBP_SOFTMAX) store(a + j, activate(activation, load(z + j)));
        const vec aj = load(a + j), error = keep(mask_first(n - j), aj - load(y + j));
        const vec dC_da = scale * error;
        loss = loss + dC_da * error;
        along = along + dC_da * aj;
        store(delta + j,
              keep(mask_first(n - j), times_derivative(activation, aj, dC_da)));
    }
    if (activation == CBP_SOFTMAX) {
        /* da_k/dz_j = a_k ([k = j] - a_j) makes
         * delta_j = a_j (dC_0/da_j - sum_k dC_0/da_k a_k). */
        const real sum = lane_sum(along);
        for (ptrdiff_t j = 0; j < n; j += LANES)
            store(delta + j,
                  keep(mask_first(n - j), load(a + j) * (load(delta + j) - sum)));
    }
    return lane_sum(loss) / 2;
}

static void error_signal(ptrdiff_t rows, ptrdiff_t n, int activation, int loss,
                         ptrdiff_t stride, const void *z_, const void *targets, void *a_,
                         void *delta_, void *sample_losses)
{
    const real *z = z_, *y = targets;
    real *a = a_, *delta = delta_, *C = sample_losses;
    for (ptrdiff_t i = 0; i < rows;
         i++, z += stride, y += stride, a += stride, delta += stride) {
        if (loss == CBP_POISSON)
            C[i] = poisson_exp_row(n, z, y, a, delta);
        else if (loss == CBP_LOG_LOSS && activation == CBP_SOFTMAX)
            C[i] = log_loss_softmax_row(n, z, y, a, delta);
        else if (loss == CBP_LOG_LOSS)
            C[i] = log_loss_logistic_row(n, z, y, a, delta);
        else
            C[i] = squares_row(n, activation, loss == CBP_SQUARED_ERROR ? 1 : 2, z, y, a,
                               delta);
    }
}

static void weigh(ptrdiff_t rows, ptrdiff_t stride, const void *weights, void *delta_)
{
    const real *weight = weights;
    real *delta = delta_;
    for (ptrdiff_t i = 0; i < rows; i++, delta += stride)
        for (ptrdiff_t j = 0; j < stride; j += LANES)
            store(delta + j, weight[i] * load(delta + j));
}

#endif
