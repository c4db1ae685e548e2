/* exp, expm1, tanh, logistic, log and log1p on one vector: exp to 2 ulp, the others to 4,
 * which tests/kernels/test_elementary.py tries for every float32.
 *
 * exp: x = n ln2 + r with |r| <= ln2/2, a polynomial for e^r, and the scale 2^n put
 * together from its bits. tanh and logistic: x = n ln2/2 + r, and what n and r contribute
 * combined by the addition theorem of tanh. log: x = 2^e m with m in [1/sqrt 2, sqrt 2),
 * s = (m-1)/(m+1), and ln m = 2 atanh(s). ln2 comes in two parts, the first with enough
 * trailing zeros for n * LN2_HIGH to be exact. After Muller, "Elementary Functions"
 * (3rd ed., 2016), chapters 9 to 11.
 *
 * The polynomials are printed by minimax.py, each with its largest error relative to the
 * function that it is for:
 *
 *   EXP_TAIL         (e^r - 1) / r                for |r| <= ln2/2
 *   TANH_TAIL        (tanh r - r) / r^3           in r^2, for |r| <= ln2/4
 *   LOG_TAIL         2 (atanh s - s) / s^3        in s^2, for the s of log
 *   LOG_1_PLUS_TAIL  the same                     for 0 <= s <= 1/3
 *   ERFCX_TAIL       e^(x^2) erfc(x)              in (x - CENTRE) / (x + CENTRE), for
 *                                                 0 <= x <= NORMAL_HIGHEST / sqrt 2
 */
#ifndef CBP_ELEMENTARY_H
#define CBP_ELEMENTARY_H

#include "vec.h"

#ifdef CBP_FLOAT64

#define LOG2_E 0x1.71547652b82fep+0
#define LN2 0x1.62e42fefa39efp-1
#define LN2_HIGH 0x1.62e42fefa3800p-1
#define LN2_LOW 0x1.ef35793c76730p-45
#define EXP_LOWEST -746.0 /* e^x is 0 below and inf above */
#define EXP_HIGHEST 710.0
#define TANH_HIGHEST 20.0 /* tanh, logistic are 1 to the last bit from here on */
#define LOGISTIC_HIGHEST 38.0
#define SQRT_HALF 0x1.6a09e667f3bcdp-1
#define SMALLEST_NORMAL 0x1p-1022

/* to 2^-55.65 */
static const real EXP_TAIL[] = {0x1p+0, 0x1.0000000000005p-1, 0x1.555555555553p-3,
    0x1.5555555552113p-5, 0x1.111111111a26cp-7, 0x1.6c16c17f2cb19p-10,
    0x1.a01a0170fee68p-13, 0x1.a019a6a9050e9p-16, 0x1.71de8e6db3f96p-19,
    0x1.28a287d866607p-22, 0x1.ae644884354bep-26};
/* to 2^-57.76 */
static const real TANH_TAIL[] = {-0x1.55555555554bdp-2, 0x1.11111110e0b99p-3,
    -0x1.ba1ba11712883p-5, 0x1.664eca003ba45p-6, -0x1.223c7dc0040b9p-7,
    0x1.c385937f62c7cp-9};
/* to 2^-59.5 */
static const real LOG_TAIL[] = {0x1.5555555555592p-1, 0x1.999999997fee9p-2,
    0x1.24924941e0c5cp-2, 0x1.c71c52164a5ecp-3, 0x1.74663c53e0e99p-3,
    0x1.39a1fb93c8b6cp-3, 0x1.2f02e60085dcp-3};
/* to 2^-54.19 */
static const real LOG_1_PLUS_TAIL[] = {0x1.5555555555937p-1, 0x1.99999998ebddp-2,
    0x1.2492497829d54p-2, 0x1.c71c4a6dadbcap-3, 0x1.74624fee92bcfp-3,
    0x1.3aa928721b14cp-3, 0x1.163f6971cf894p-3, 0x1.959ea5279e098p-4,
    0x1.6b4f60ace3a2ep-3};
#define NORMAL_HIGHEST 38.8 /* beyond it the density is 0, or the tail is */
#define ERFCX_CENTRE 3.75
/* to 2^-56.01 */
static const real ERFCX_TAIL[] = {0x1.2a2af19c1493p-3, -0x1.17fbeb3720c7p-2,
    0x1.cedd51405001cp-3, -0x1.4efec82e8f522p-3, 0x1.a4446b49b665cp-4,
    -0x1.c0f0cf1ccae59p-5, 0x1.8b900558316bap-6, -0x1.0d5f9180e125dp-7,
    0x1.d8a2c2a23003ap-10, -0x1.ac69713f5c76fp-16, -0x1.3fbcce7e5e9c8p-13,
    0x1.91cdef909cc27p-15, 0x1.e109d368cdd2fp-19, -0x1.9ef8be43d8c33p-18,
    0x1.916832aaba1fdp-21, 0x1.6227935c8834ep-21, -0x1.864c8d3db3067p-23,
    -0x1.38598e6bbefe9p-24, 0x1.fa1370dc5e11bp-26, 0x1.342a301e5a066p-27,
    -0x1.d4e9eb5f4be99p-29, -0x1.09fec140ed10cp-30, 0x1.fa9994ef7f2c6p-34};

#else

#define LOG2_E 0x1.715476p+0f
#define LN2 0x1.62e430p-1f
#define LN2_HIGH 0x1.62e400p-1f
#define LN2_LOW 0x1.7f7d1cp-20f
#define EXP_LOWEST -104.0f
#define EXP_HIGHEST 89.0f
#define TANH_HIGHEST 10.0f
#define LOGISTIC_HIGHEST 18.0f
#define SQRT_HALF 0x1.6a09e6p-1f
#define SMALLEST_NORMAL 0x1p-126f

/* to 2^-26.47 */
static const real EXP_TAIL[] = {0x1p+0f, 0x1.fffffep-2f, 0x1.55547ep-3f, 0x1.555652p-5f,
    0x1.123ce6p-7f, 0x1.6c16a6p-10f};
/* to 2^-24.11 */
static const real TANH_TAIL[] = {-0x1.554feep-2f, 0x1.0c8174p-3f};
/* to 2^-30.21 */
static const real LOG_TAIL[] = {0x1.55557ap-1f, 0x1.995edp-2f, 0x1.31e0dep-2f};
/* to 2^-27.74 */
static const real LOG_1_PLUS_TAIL[] = {0x1.555502p-1f, 0x1.99d208p-2f, 0x1.1ebd0ep-2f,
    0x1.1ed7bep-2f};
#define NORMAL_HIGHEST 19.7f
#define ERFCX_CENTRE 2.0f
/* to 2^-26.01 */
static const real ERFCX_TAIL[] = {0x1.058672p-2f, -0x1.b57038p-2f, 0x1.eeea7ap-3f,
    -0x1.437dacp-4f, 0x1.e9414ap-9f, 0x1.c9ee06p-8f, -0x1.bb50ccp-11f, -0x1.f21dc6p-11f,
    0x1.6b282ap-15f, 0x1.0b6f12p-13f, 0x1.24415p-16f};

#endif

INLINE vec horner(vec x, const real *coefficients, const int degree)
{
    vec sum = broadcast(coefficients[degree]);
    UNROLL
    for (int k = degree - 1; k >= 0; k--) sum = coefficients[k] + x * sum;
    return sum;
}
#define POLYNOMIAL(x, coefficients) \
    horner(x, coefficients, (int)(sizeof(coefficients) / sizeof(real)) - 1)

/* The integer n nearest to x; offset + n in the lowest bits of *n_bits. */
INLINE vec nearest_integer(vec x, const real offset, ivec *n_bits)
{
    const vec shifted = x + (ROUNDER + offset);
    *n_bits = bits(shifted);
    return shifted - (ROUNDER + offset);
}

/* 2^n from bits whose lowest hold n + EXPONENT_BIAS, if that is no subnormal number. */
INLINE vec power_of_two(ivec biased) { return from_bits(biased << MANTISSA_BITS); }

INLINE vec exponential(vec x)
{
    ivec n_bits;
    x = at_most(at_least(x, EXP_LOWEST), EXP_HIGHEST);
    /* 2^n by two factors, because it may itself be subnormal or infinite. */
    const vec n = nearest_integer(x * LOG2_E, 2 * EXPONENT_BIAS, &n_bits);
    const vec r = (x - n * LN2_HIGH) - n * LN2_LOW;
    const ivec half = n_bits >> 1;
    return (1 + r * POLYNOMIAL(r, EXP_TAIL)) * power_of_two(half) *
           power_of_two(n_bits - half);
}

/* e^x - 1 for |x| <= 1. */
INLINE vec exponential_minus_1(vec x)
{
    ivec n_bits;
    const vec n = nearest_integer(x * LOG2_E, EXPONENT_BIAS, &n_bits);
    const vec r = (x - n * LN2_HIGH) - n * LN2_LOW, scale = power_of_two(n_bits);
    return scale * (r * POLYNOMIAL(r, EXP_TAIL)) + (scale - 1);
}

/* tanh r for |r| <= ln2/4. */
INLINE vec short_hyperbolic_tangent(vec r)
{
    const vec t = r * r;
    return r * (1 + t * POLYNOMIAL(t, TANH_TAIL)); /* -0 for r = -0, unlike r + ... */
}

/* tanh(a + r) = (tanh a + tanh r) / (1 + tanh a tanh r) with a = n ln2/2 and therefore
 * tanh a = (s - 1) / (s + 1) for s = 2^n; never above 1. One part of ln2 is enough,
 * because tanh grows the less the larger n is. */
INLINE vec hyperbolic_tangent(vec x)
{
    ivec n_bits;
    x = at_most(at_least(x, -TANH_HIGHEST), TANH_HIGHEST);
    const vec n = nearest_integer(x * (2 * LOG2_E), EXPONENT_BIAS, &n_bits);
    const vec tanh_r = short_hyperbolic_tangent(x - n * (LN2 / 2));
    /* 1 - s, not s - 1: -0 - 0 is -0, but -0 + 0 is 0. */
    const vec s = power_of_two(n_bits), sum = s + 1, difference = 1 - s;
    return (sum * tanh_r - difference) / (sum - difference * tanh_r);
}

/* 1/(1 + e^-x), from e = e^-|x| so that neither end overflows. */
INLINE vec logistic_from(vec e, vec x)
{
    return select(mask_less(x, broadcast(0)), e, broadcast(1)) / (1 + e);
}

/* The same from e^-x = 2^n (1 + tanh r) / (1 - tanh r) for -x/2 = n ln2/2 + r, in units
 * of UNIT: e^-x itself may be infinite where the result is not yet 0. */
INLINE vec logistic(vec x)
{
#define UNIT ((real)0x1p-64)
    ivec n_bits;
    const vec y = at_most(at_least((real)-0.5 * x, -LOGISTIC_HIGHEST / 2), -EXP_LOWEST / 2);
    const vec n = nearest_integer(y * (2 * LOG2_E), EXPONENT_BIAS - 64, &n_bits);
    const vec r = (y - n * (LN2_HIGH / 2)) - n * (LN2_LOW / 2);
    const vec tanh_r = short_hyperbolic_tangent(r), s = power_of_two(n_bits);
    const vec complement = UNIT - UNIT * tanh_r;
    return complement / (complement + (s + s * tanh_r));
}

/* ln x for normal x > 0. */
INLINE vec logarithm(vec x)
{
    const ivec one = bits(broadcast(1)), sqrt_half = bits(broadcast(SQRT_HALF));
    /* exponent + BIAS, counted from 1/sqrt 2; positive, so the shift may be either. */
    ivec biased = (bits(x) + (one - sqrt_half)) >> MANTISSA_BITS;
    vec e = from_bits(biased + bits(broadcast(ROUNDER))) - ((real)ROUNDER + EXPONENT_BIAS);
    vec m = from_bits(bits(x) - (biased << MANTISSA_BITS) + one);
    vec f = m - 1, s = f / (2 + f), t = s * s;
    /* 2 s = f - s f keeps the leading term exact. */
    return e * LN2_HIGH + (f - (s * (f - t * POLYNOMIAL(t, LOG_TAIL)) - e * LN2_LOW));
}

/* ln(1 + e) for 0 <= e <= 1, likewise. */
INLINE vec logarithm_of_1_plus(vec e)
{
    const vec s = e / (2 + e), t = s * s;
    return e - s * (e - t * POLYNOMIAL(t, LOG_1_PLUS_TAIL));
}

/* Phi(-|y|) of the normal distribution, and its density at y, for |y| <= NORMAL_HIGHEST:
 * erfc(x) / 2 for x = |y| / sqrt 2, whose factor e^-(x^2) they share. (Schonfelder 1978
 * has the variable in which erfcx is so smooth.) */
INLINE vec normal_tail(vec y, vec *density_out)
{
    const vec x = magnitude(y) * (real)0x1.6a09e667f3bcdp-1;
    const vec t = (x - ERFCX_CENTRE) / (x + ERFCX_CENTRE);
    const vec e = exponential((real)-0.5 * (y * y));
    *density_out = e * (real)0x1.9884533d43651p-2; /* 1 / sqrt(2 pi) */
    return (e * (real)0.5) * POLYNOMIAL(t, ERFCX_TAIL);
}

INLINE vec clamped_to_normal(vec z)
{
    return at_most(at_least(z, -NORMAL_HIGHEST), NORMAL_HIGHEST);
}

/* z Phi(z). */
INLINE vec z_times_normal_distribution(vec z)
{
    vec density;
    const vec y = clamped_to_normal(z), tail = normal_tail(y, &density);
    return select(mask_less(z, broadcast(0)), y * tail, z * (1 - tail));
}

/* Phi(z) + z phi(z). */
INLINE vec slope_of_z_times_normal_distribution(vec z)
{
    vec density;
    const vec y = clamped_to_normal(z), tail = normal_tail(y, &density);
    return select(mask_less(z, broadcast(0)), tail, 1 - tail) + y * density;
}

#endif
