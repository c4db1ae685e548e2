/* Which table of kernels runs here, and the processor's floating-point switches. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 199309L
#endif
#include "simd.h"

#include <string.h>
#include <time.h>

/* setup.py defines CBP_HAVE_<ISA> for each instruction set that it compiled. */
extern const cbp_kernels cbp_plain_float32, cbp_plain_float64;
#ifdef CBP_HAVE_SSE2
extern const cbp_kernels cbp_sse2_float32, cbp_sse2_float64;
#endif
#ifdef CBP_HAVE_AVX2
extern const cbp_kernels cbp_avx2_float32, cbp_avx2_float64;
#endif
#ifdef CBP_HAVE_AVX512
extern const cbp_kernels cbp_avx512_float32, cbp_avx512_float64;
#endif
#ifdef CBP_HAVE_NEON
extern const cbp_kernels cbp_neon_float32, cbp_neon_float64;
#endif

typedef struct {
    const cbp_kernels *float32, *float64;
} tables;

/* Best first. Features are asked for, not processor models: a list of models is out of
 * date on the next processor. */
static int find(tables found[5])
{
    int n = 0;
#ifdef CBP_HAVE_AVX512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        found[n++] = (tables){&cbp_avx512_float32, &cbp_avx512_float64};
#endif
#ifdef CBP_HAVE_AVX2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        found[n++] = (tables){&cbp_avx2_float32, &cbp_avx2_float64};
#endif
#ifdef CBP_HAVE_SSE2
    found[n++] = (tables){&cbp_sse2_float32, &cbp_sse2_float64};
#endif
#ifdef CBP_HAVE_NEON
    found[n++] = (tables){&cbp_neon_float32, &cbp_neon_float64};
#endif
    found[n++] = (tables){&cbp_plain_float32, &cbp_plain_float64};
    return n;
}

#define NAME(code, name) name,

static int index_of(const char *name, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(name, names[i])) return i;
    return -1;
}

int cbp_activation_code(const char *name)
{
    static const char *const names[] = {CBP_ACTIVATIONS(NAME)};
    return index_of(name, names, CBP_N_ACTIVATIONS);
}

int cbp_loss_code(const char *name)
{
    static const char *const names[] = {CBP_LOSSES(NAME)};
    return index_of(name, names, CBP_N_LOSSES);
}

int cbp_solver_code(const char *name)
{
    static const char *const names[] = {CBP_SOLVERS(NAME)};
    return index_of(name, names, CBP_N_SOLVERS);
}

const cbp_kernels *cbp_select(const char *isa, int itemsize)
{
    tables found[5];
    const int n = find(found);
    for (int i = 0; i < n; i++)
        if (!isa || !strcmp(isa, found[i].float32->isa))
            return itemsize == 4 ? found[i].float32 : found[i].float64;
    return NULL;
}

int cbp_available(const char *names_out[5])
{
    tables found[5];
    const int n = find(found);
    for (int i = 0; i < n; i++) names_out[i] = found[i].float32->isa;
    return n;
}

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>
#define FLUSH_TO_ZERO_AND_DENORMALS_ARE_ZERO 0x8040u
unsigned long long cbp_flush_subnormals(void)
{
    const unsigned state = _mm_getcsr();
    _mm_setcsr(state | FLUSH_TO_ZERO_AND_DENORMALS_ARE_ZERO);
    return state;
}
void cbp_restore_subnormals(unsigned long long state) { _mm_setcsr((unsigned)state); }
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define FPCR_FLUSH_TO_ZERO (1ull << 24)
unsigned long long cbp_flush_subnormals(void)
{
    unsigned long long state;
    __asm__ volatile("mrs %0, fpcr" : "=r"(state));
    __asm__ volatile("msr fpcr, %0" ::"r"(state | FPCR_FLUSH_TO_ZERO));
    return state;
}
void cbp_restore_subnormals(unsigned long long state)
{
    __asm__ volatile("msr fpcr, %0" ::"r"(state));
}
#else
unsigned long long cbp_flush_subnormals(void) { return 0; }
void cbp_restore_subnormals(unsigned long long state) { (void)state; }
#endif

double cbp_clock(void)
{
    struct timespec now;
#ifdef CLOCK_MONOTONIC
    clock_gettime(CLOCK_MONOTONIC, &now);
#else
    timespec_get(&now, TIME_UTC);
#endif
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
