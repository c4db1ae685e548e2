/* exp, expm1, log, and what networks make of them, on one vector.
 *
 * exp: x = n ln 2 + r with |r| <= ln(2)/2, then the Taylor polynomial of e^r to a degree
 * whose remainder is below half an ulp, then the scale 2^n put together from its bits.
 * log: x = 2^e m with m in [1/sqrt 2, sqrt 2), s = (m-1)/(m+1), then the odd series
 * 2 atanh(s) = 2 (s + s^3/3 + s^5/5 + ...). Both after Muller, "Elementary Functions"
 * (3rd ed., 2016), chapters 9 to 11. ln 2 comes in two parts, the first with enough
 * trailing zeros for n * LN2_HIGH to be exact.
 */
#ifndef CBP_ELEMENTARY_H
#define CBP_ELEMENTARY_H

#include "vec.h"

#ifdef CBP_FLOAT64
#define LOG2_E 0x1.71547652b82fep+0
#define LN2_HIGH 0x1.62e42fefa3800p-1
#define LN2_LOW 0x1.ef35793c76730p-45
#define EXP_LOWEST -746.0 /* e^x is 0 below and inf above */
#define EXP_HIGHEST 710.0
#define SQRT_HALF 0x1.6a09e667f3bcdp-1
#define SMALLEST_NORMAL 0x1p-1022
#define TANH_HIGHEST 20.0 /* tanh is 1 to the last bit from here on */
#define EXP_DEGREE 13
#define ATANH_TERMS 12
#else
#define LOG2_E 0x1.715476p+0f
#define LN2_HIGH 0x1.62e400p-1f
#define LN2_LOW 0x1.7f7d1cp-20f
#define EXP_LOWEST -104.0f
#define EXP_HIGHEST 89.0f
#define SQRT_HALF 0x1.6a09e6p-1f
#define SMALLEST_NORMAL 0x1p-126f
#define TANH_HIGHEST 10.0f
#define EXP_DEGREE 7
#define ATANH_TERMS 6
#endif

/* 1/k!, k = 0 .. 13. */
static const double INVERSE_FACTORIAL[] = {
    1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320,
    1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};

INLINE vec nearest_integer(vec x) { return (x + ROUNDER) - ROUNDER; }

/* 2^n for integers n from 1 - BIAS to BIAS: the sum's low bits hold n + BIAS, the
 * shift makes them the exponent. */
INLINE vec power_of_two(vec n)
{
    return from_bits(bits(n + ((real)ROUNDER + EXPONENT_BIAS)) << MANTISSA_BITS);
}

/* The integer n nearest to x / ln 2 and e^r - 1 for r = x - n ln 2. */
INLINE vec reduced_expm1(vec x, vec *n)
{
    *n = nearest_integer(x * LOG2_E);
    vec r = x - *n * LN2_HIGH;
    r = r - *n * LN2_LOW;
    vec sum = broadcast((real)INVERSE_FACTORIAL[EXP_DEGREE]);
    UNROLL
    for (int k = EXP_DEGREE - 1; k >= 2; k--) sum = (real)INVERSE_FACTORIAL[k] + r * sum;
    return r + r * r * sum;
}

INLINE vec exponential(vec x)
{
    vec n, tail = reduced_expm1(at_most(at_least(x, EXP_LOWEST), EXP_HIGHEST), &n);
    /* In two halves, because 2^n itself may be subnormal or infinite. */
    vec half = nearest_integer(n * (real)0.5);
    return (1 + tail) * power_of_two(half) * power_of_two(n - half);
}

/* e^x - 1 for |x| <= 2 TANH_HIGHEST. */
INLINE vec exponential_minus_1(vec x)
{
    vec n, tail = reduced_expm1(x, &n), scale = power_of_two(n);
    return scale * tail + (scale - 1);
}

INLINE vec hyperbolic_tangent(vec x)
{
    vec e = exponential_minus_1(2 * at_most(magnitude(x), TANH_HIGHEST));
    return with_sign_of(e / (e + 2), x);
}

/* 1/(1 + e^-x), from e = e^-|x| so that neither end overflows. */
INLINE vec logistic_from(vec e, vec x)
{
    return select(mask_less(x, broadcast(0)), e, broadcast(1)) / (1 + e);
}
INLINE vec logistic(vec x) { return logistic_from(exponential(-magnitude(x)), x); }

/* ln x for normal x > 0. */
INLINE vec logarithm(vec x)
{
    const ivec one = bits(broadcast(1)), sqrt_half = bits(broadcast(SQRT_HALF));
    /* exponent + BIAS, counted from 1/sqrt 2; positive, so the shift may be either. */
    ivec biased = (bits(x) + (one - sqrt_half)) >> MANTISSA_BITS;
    vec e = from_bits(biased + bits(broadcast(ROUNDER))) - ((real)ROUNDER + EXPONENT_BIAS);
    vec m = from_bits(bits(x) - (biased << MANTISSA_BITS) + one);
    vec f = m - 1, s = f / (2 + f), s2 = s * s;
    vec sum = broadcast((real)(2.0 / (2 * ATANH_TERMS + 1)));
    UNROLL
    for (int k = ATANH_TERMS - 1; k >= 1; k--) sum = (real)(2.0 / (2 * k + 1)) + s2 * sum;
    /* 2 s = f - s f keeps the leading term exact. */
    return e * LN2_HIGH + (f - (s * (f - s2 * sum) - e * LN2_LOW));
}

/* ln(1 + e) for 0 <= e <= 1: the second term makes up for the rounding of 1 + e. */
INLINE vec logarithm_of_1_plus(vec e)
{
    vec u = 1 + e;
    return logarithm(u) + (e - (u - 1)) / u;
}

#endif
