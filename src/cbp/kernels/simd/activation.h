/* g(z), and g'(z) computed from a = g(z), on one vector; g(z) on rows. */
#ifndef CBP_ACTIVATION_H
#define CBP_ACTIVATION_H

#include "elementary.h"
#include "simd.h"

/* max(z, 0) that lets NaN through. */
INLINE vec relu(vec z) { return at_least(z, 0); }

/* The elementwise activations; softmax couples a row and lives in output.h. */
INLINE vec activate(int activation, vec z)
{
    switch (activation) {
    case CBP_LOGISTIC: return logistic(z);
    case CBP_TANH: return hyperbolic_tangent(z);
    case CBP_RELU: return relu(z);
    case CBP_EXP: return exponential(z);
    case CBP_LOG: return logarithm(z);
    case CBP_LOG_1_PLUS: return logarithm_of_1_plus(z);
    default: return z;
    }
}

INLINE void activate_each(const int activation, ptrdiff_t rows, ptrdiff_t columns,
                          ptrdiff_t stride, const real *z, real *a)
{
    const ptrdiff_t whole = columns / LANES * LANES;
    const ivec rest = mask_first(columns - whole);
    for (ptrdiff_t i = 0; i < rows; i++, z += stride, a += stride) {
        for (ptrdiff_t j = 0; j < whole; j += LANES)
            store(a + j, activate(activation, load(z + j)));
        if (whole < columns)
            store(a + whole, keep(rest, activate(activation, load(z + whole))));
    }
}

/* a = g(z) on rows of padded length, with zeros in the padding; z may be a. One loop for
 * each g that takes constants, which it then keeps in registers. */
static void activate_rows(int activation, ptrdiff_t rows, ptrdiff_t columns,
                          ptrdiff_t stride, const real *z, real *a)
{
    switch (activation) {
    case CBP_LOGISTIC: activate_each(CBP_LOGISTIC, rows, columns, stride, z, a); break;
    case CBP_TANH: activate_each(CBP_TANH, rows, columns, stride, z, a); break;
    case CBP_EXP: activate_each(CBP_EXP, rows, columns, stride, z, a); break;
    default: activate_each(activation, rows, columns, stride, z, a);
    }
}

/* delta * g'(z). */
INLINE vec times_derivative(int activation, vec a, vec delta)
{
    switch (activation) {
    case CBP_LOGISTIC: return delta * (a * (1 - a));
    case CBP_TANH: return delta * (1 - a * a);
    case CBP_RELU: return keep(mask_less(broadcast(0), a), delta);
    case CBP_EXP: return delta * a;
    default: return delta;
    }
}

#endif
