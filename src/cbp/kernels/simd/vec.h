/* One vector of reals, by the vector extensions of GCC and Clang; one real elsewhere.
 *
 * Written as ordinary arithmetic: `a + s * b` works for vectors, for a vector and a
 * scalar, and (plain path) for single reals. Masks are integers, all ones for true.
 */
#ifndef CBP_VEC_H
#define CBP_VEC_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef CBP_FLOAT64
typedef double real;
typedef int64_t integer;
#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023
#define ROUNDER 0x1.8p52 /* adding and subtracting it rounds to an integer */
#else
typedef float real;
typedef int32_t integer;
#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
#define ROUNDER 0x1.8p23f
#endif

#if defined(CBP_PLAIN) || !(defined(__GNUC__) || defined(__clang__))
#define VECTOR_BYTES 0
#elif defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

#if defined(__GNUC__) || defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#else
#define INLINE static inline
#define UNROLL
#endif

#if VECTOR_BYTES

typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef integer ivec __attribute__((vector_size(VECTOR_BYTES)));
/* The same in memory: aligned like a real only, and free to alias. */
typedef real vec_in_memory
    __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));
#define LANES ((ptrdiff_t)(VECTOR_BYTES / sizeof(real)))

INLINE vec load(const real *p) { return *(const vec_in_memory *)p; }
INLINE void store(real *p, vec x) { *(vec_in_memory *)p = x; }
INLINE vec broadcast(real x) { return x - (vec){0}; }
INLINE ivec bits(vec x) { return (ivec)x; }
INLINE vec from_bits(ivec x) { return (vec)x; }
INLINE ivec mask_less(vec x, vec y) { return x < y; }
INLINE ivec mask_equal(vec x, vec y) { return x == y; }

/* The processor's own instruction, by the part of its name that all sets share. */
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#if VECTOR_BYTES == 64 && defined(CBP_FLOAT64)
typedef __m512d native;
#define NATIVE(operation, ...) ((vec)_mm512_##operation##_pd(__VA_ARGS__))
#elif VECTOR_BYTES == 64
typedef __m512 native;
#define NATIVE(operation, ...) ((vec)_mm512_##operation##_ps(__VA_ARGS__))
#elif VECTOR_BYTES == 32 && defined(CBP_FLOAT64)
typedef __m256d native;
#define NATIVE(operation, ...) ((vec)_mm256_##operation##_pd(__VA_ARGS__))
#elif VECTOR_BYTES == 32
typedef __m256 native;
#define NATIVE(operation, ...) ((vec)_mm256_##operation##_ps(__VA_ARGS__))
#elif defined(__SSE2__) && defined(CBP_FLOAT64)
typedef __m128d native;
#define NATIVE(operation, ...) ((vec)_mm_##operation##_pd(__VA_ARGS__))
#elif defined(__SSE2__)
typedef __m128 native;
#define NATIVE(operation, ...) ((vec)_mm_##operation##_ps(__VA_ARGS__))
#endif
#elif defined(__aarch64__)
#include <arm_neon.h>
#ifdef CBP_FLOAT64
typedef float64x2_t native;
#define NATIVE(operation, ...) ((vec)v##operation##q_f64(__VA_ARGS__))
#else
typedef float32x4_t native;
#define NATIVE(operation, ...) ((vec)v##operation##q_f32(__VA_ARGS__))
#endif
#endif

/* at_least and at_most: x where it is NaN. Of x86 that is the second operand. */
#ifdef NATIVE
INLINE vec square_root(vec x) { return NATIVE(sqrt, (native)x); }
INLINE vec at_least(vec x, real low)
{
    return NATIVE(max, (native)broadcast(low), (native)x);
}
INLINE vec at_most(vec x, real high)
{
    return NATIVE(min, (native)broadcast(high), (native)x);
}
#else
INLINE vec square_root(vec x)
{
    for (ptrdiff_t i = 0; i < LANES; i++) x[i] = (real)sqrt((double)x[i]);
    return x;
}
INLINE vec at_least(vec x, real low)
{
    for (ptrdiff_t i = 0; i < LANES; i++) x[i] = low > x[i] ? low : x[i];
    return x;
}
INLINE vec at_most(vec x, real high)
{
    for (ptrdiff_t i = 0; i < LANES; i++) x[i] = high < x[i] ? high : x[i];
    return x;
}
#endif

/* One real from each of LANES places; not by way of memory, where a load would have to
 * wait for all the stores that it spans. */
INLINE vec load_strided(ptrdiff_t stride, const real *p)
{
    vec x;
    UNROLL
    for (ptrdiff_t i = 0; i < LANES; i++) x[i] = p[i * stride];
    return x;
}

INLINE void store_strided(vec x, ptrdiff_t stride, real *p)
{
    UNROLL
    for (ptrdiff_t i = 0; i < LANES; i++) p[i * stride] = x[i];
}

#if defined(__clang__)
#define SHUFFLE(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define SHUFFLE(x, y, ...) __builtin_shuffle(x, y, (ivec){__VA_ARGS__})
#endif
#if defined(CBP_FLOAT64)
#define VECTOR_LANES (VECTOR_BYTES / 8)
#else
#define VECTOR_LANES (VECTOR_BYTES / 4)
#endif
#if VECTOR_LANES == 2
#define LOWER_HALVES 0, 2
#define UPPER_HALVES 1, 3
#elif VECTOR_LANES == 4
#define LOWER_HALVES 0, 4, 1, 5
#define UPPER_HALVES 2, 6, 3, 7
#elif VECTOR_LANES == 8
#define LOWER_HALVES 0, 8, 1, 9, 2, 10, 3, 11
#define UPPER_HALVES 4, 12, 5, 13, 6, 14, 7, 15
#else
#define LOWER_HALVES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define UPPER_HALVES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#endif

/* One of log2(LANES) equal rounds that transpose a square of LANES vectors: the lanes of
 * rows i and i + LANES/2 alternate in rows 2i and 2i + 1. */
INLINE void interleave(const vec in[LANES], vec out[LANES])
{
    UNROLL
    for (ptrdiff_t i = 0; i < LANES / 2; i++) {
        out[2 * i] = SHUFFLE(in[i], in[i + LANES / 2], LOWER_HALVES);
        out[2 * i + 1] = SHUFFLE(in[i], in[i + LANES / 2], UPPER_HALVES);
    }
}

INLINE void transpose_square(vec square[LANES])
{
    vec other[LANES];
    interleave(square, other);
#if VECTOR_LANES == 2
    memcpy(square, other, sizeof other);
#else
    interleave(other, square);
#if VECTOR_LANES == 8
    interleave(square, other);
    memcpy(square, other, sizeof other);
#elif VECTOR_LANES == 16
    interleave(square, other);
    interleave(other, square);
#endif
#endif
}

/* lane_sum of each of LANES vectors, in the lane of its number. */
INLINE vec lane_sums(vec x[LANES])
{
    UNROLL
    for (ptrdiff_t half = LANES / 2; half; half /= 2)
        UNROLL
        for (ptrdiff_t i = 0; i < half; i++)
            x[i] = SHUFFLE(x[i], x[i + half], LOWER_HALVES) +
                   SHUFFLE(x[i], x[i + half], UPPER_HALVES);
    return x[0];
}

/* By halves, which waits for fewer additions than one after the other. */
INLINE real lane_sum(vec x)
{
    real lanes[LANES];
    store(lanes, x);
    UNROLL
    for (ptrdiff_t half = LANES / 2; half; half /= 2)
        UNROLL
        for (ptrdiff_t i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}

INLINE real lane_max(vec x)
{
    real lanes[LANES];
    store(lanes, x);
    UNROLL
    for (ptrdiff_t half = LANES / 2; half; half /= 2)
        UNROLL
        for (ptrdiff_t i = 0; i < half; i++)
            lanes[i] = lanes[i + half] > lanes[i] ? lanes[i + half] : lanes[i];
    return lanes[0];
}

/* All ones in the lanes below n, zeros above. */
INLINE ivec mask_first(ptrdiff_t n)
{
    static const integer lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const ivec number = bits(load((const real *)lane));
    return number < (integer)n - (ivec){0};
}

#else /* plain path */

typedef real vec;
typedef integer ivec;
#define LANES ((ptrdiff_t)1)

INLINE vec load(const real *p) { return *p; }
INLINE void store(real *p, vec x) { *p = x; }
INLINE vec broadcast(real x) { return x; }
INLINE ivec bits(vec x) { ivec i; memcpy(&i, &x, sizeof i); return i; }
INLINE vec from_bits(ivec i) { vec x; memcpy(&x, &i, sizeof x); return x; }
INLINE ivec mask_less(vec x, vec y) { return -(ivec)(x < y); }
INLINE ivec mask_equal(vec x, vec y) { return -(ivec)(x == y); }
INLINE vec square_root(vec x) { return (real)sqrt((double)x); }
INLINE vec load_strided(ptrdiff_t stride, const real *p) { (void)stride; return *p; }
INLINE void store_strided(vec x, ptrdiff_t stride, real *p) { (void)stride; *p = x; }
INLINE void transpose_square(vec square[1]) { (void)square; }
INLINE vec lane_sums(vec x[1]) { return x[0]; }
INLINE vec at_least(vec x, real low) { return low > x ? low : x; }
INLINE vec at_most(vec x, real high) { return high < x ? high : x; }
INLINE real lane_sum(vec x) { return x; }
INLINE real lane_max(vec x) { return x; }
INLINE ivec mask_first(ptrdiff_t n) { return -(ivec)(0 < n); }

#endif

INLINE vec select(ivec mask, vec yes, vec no)
{
    return from_bits((mask & bits(yes)) | (~mask & bits(no)));
}
INLINE vec keep(ivec mask, vec x) { return from_bits(mask & bits(x)); }
INLINE vec magnitude(vec x) { return from_bits(bits(x) & ~bits(broadcast((real)-0.0))); }

INLINE ptrdiff_t round_up(ptrdiff_t n, ptrdiff_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

#endif
