/* g(z), and delta g'(z), on one vector and on rows: a case here is all that an elementwise
 * activation needs. Its g' is computed from a = g(z), or from z if its record says so.
 */
#ifndef CBP_ACTIVATION_H
#define CBP_ACTIVATION_H

#include "elementary.h"
#include "panel.h"
#include "simd.h"

/* A cbp_function in reals, by value: a constant code, and parameters in registers. */
typedef struct {
    int code, from_z;
    real parameter[CBP_MOST_PARAMETERS];
} function;

INLINE int code_of(const cbp_function *g) { return g ? g->code : CBP_IDENTITY; }

INLINE function with_code(const int code, const cbp_function *g)
{
    function f = {code, g && g->from_z, {0}};
    if (g)
        UNROLL
        for (int i = 0; i < CBP_MOST_PARAMETERS; i++)
            f.parameter[i] = (real)g->parameters[i];
    return f;
}

INLINE function function_of(const cbp_function *g) { return with_code(code_of(g), g); }

/* max(z, 0) that lets NaN through. */
INLINE vec relu(vec z) { return at_least(z, 0); }

/* The elementwise activations; softmax couples a row and lives in output.h. */
INLINE vec activate(const function g, vec z)
{
    switch (g.code) {
    case CBP_LOGISTIC: return logistic(z);
    case CBP_TANH: return hyperbolic_tangent(z);
    case CBP_RELU: return relu(z);
    case CBP_LEAKY_RELU:
        return select(mask_less(z, broadcast(0)), g.parameter[0] * z, z);
    case CBP_GELU: return z_times_normal_distribution(z);
    case CBP_EXP: return exponential(z);
    case CBP_LOG: return logarithm(z);
    case CBP_LOG_1_PLUS: return logarithm_of_1_plus(z);
    default: return z;
    }
}

/* delta * g'(z), from a, or from z. */
INLINE vec times_slope(const function g, vec source, vec delta)
{
    const vec a = source;
    switch (g.code) {
    case CBP_LOGISTIC: return delta * (a * (1 - a));
    case CBP_TANH: return delta * (1 - a * a);
    case CBP_RELU: return keep(mask_less(broadcast(0), a), delta);
    case CBP_LEAKY_RELU:
        return select(mask_less(broadcast(0), a), delta, g.parameter[0] * delta);
    case CBP_GELU: return delta * slope_of_z_times_normal_distribution(source);
    case CBP_EXP: return delta * a;
    default: return delta;
    }
}

INLINE void activate_each(const function g, ptrdiff_t rows, ptrdiff_t columns,
                          ptrdiff_t stride, const real *z, real *a)
{
    const ptrdiff_t whole = columns / LANES * LANES;
    const ivec rest = mask_first(columns - whole);
    for (ptrdiff_t i = 0; i < rows; i++, z += stride, a += stride) {
        for (ptrdiff_t j = 0; j < whole; j += LANES)
            store(a + j, activate(g, load(z + j)));
        if (whole < columns)
            store(a + whole, keep(rest, activate(g, load(z + whole))));
    }
}

INLINE void slope_each(const function g, ptrdiff_t rows, ptrdiff_t columns,
                       ptrdiff_t stride, const real *source, real *delta)
{
    const ptrdiff_t whole = columns / LANES * LANES;
    const ivec rest = mask_first(columns - whole);
    for (ptrdiff_t i = 0; i < rows; i++, source += stride, delta += stride) {
        for (ptrdiff_t j = 0; j < whole; j += LANES)
            store(delta + j, times_slope(g, load(source + j), load(delta + j)));
        if (whole < columns)
            store(delta + whole, keep(rest, times_slope(g, load(source + whole),
                                                        load(delta + whole))));
    }
}

/* Calls pass(g, ...) with the code as a constant: one loop for each g, which keeps its
 * constants in registers. */
#define CASE_OF_PASS(code, name) case CBP_##code: PASS(with_code(CBP_##code, g)); break;

/* a = g(z) on rows of padded length, with zeros in the padding; z may be a. */
static void activate_rows(const cbp_function *g, ptrdiff_t rows, ptrdiff_t columns,
                          ptrdiff_t stride, const real *z, real *a)
{
#define PASS(f) activate_each(f, rows, columns, stride, z, a)
    switch (code_of(g)) { CBP_ACTIVATIONS(CASE_OF_PASS) }
#undef PASS
}

/* delta *= g'(z), likewise. */
static void slope_rows(const cbp_function *g, ptrdiff_t rows, ptrdiff_t columns,
                       ptrdiff_t stride, const real *source, real *delta)
{
    const int fills_panel = columns == PANEL; /* then without a loop over its vectors */
#define PASS(f)                                                                       \
    fills_panel ? slope_each(f, rows, PANEL, stride, source, delta)                   \
                : slope_each(f, rows, columns, stride, source, delta)
    switch (code_of(g)) { CBP_ACTIVATIONS(CASE_OF_PASS) }
#undef PASS
}

#endif
