/* g(z), and g'(z) computed from a = g(z), on one vector and on a tile of rows. */
#ifndef CBP_ACTIVATION_H
#define CBP_ACTIVATION_H

#include "elementary.h"
#include "simd.h"

/* max(z, 0) that lets NaN through. */
INLINE vec relu(vec z) { return keep(~mask_less(z, broadcast(0)), z); }

/* The elementwise activations; softmax couples a row and lives in output.h. */
INLINE vec activate(int activation, vec z)
{
    switch (activation) {
    case CBP_LOGISTIC: return logistic(z);
    case CBP_TANH: return hyperbolic_tangent(z);
    case CBP_RELU: return relu(z);
    case CBP_EXP: return exponential(z);
    default: return z;
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
