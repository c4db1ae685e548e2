"""The table of C kernels as Cython sees it; what they do is said in simd/simd.h."""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t


cdef extern from "simd.h" nogil:
    const int CBP_MOST_PARAMETERS

    ctypedef struct cbp_function:
        int code
        int from_z
        double *parameters

    const int CBP_MOST_HYPERPARAMETERS

    ctypedef struct cbp_step:
        int solver
        double *hyperparameters
        double *powers
        double rate
        double alpha
        double S
        double inverse_S
        double correction
        double epsilon

    ctypedef struct cbp_sparse_row:
        const void *values
        const void *columns
        ptrdiff_t count

    ctypedef struct cbp_kernels:
        const char *isa
        ptrdiff_t panel
        ptrdiff_t tile_rows
        ptrdiff_t (*padded_width)(ptrdiff_t) noexcept nogil
        ptrdiff_t (*packed_size)(ptrdiff_t, ptrdiff_t) noexcept nogil
        void (*pack)(ptrdiff_t, ptrdiff_t, const void *, void *) noexcept nogil
        void (*unpack)(ptrdiff_t, ptrdiff_t, const void *, void *) noexcept nogil
        void (*pack_transposed)(ptrdiff_t, ptrdiff_t, const void *,
                                void *) noexcept nogil
        void (*unpack_transposed)(ptrdiff_t, ptrdiff_t, const void *,
                                  void *) noexcept nogil
        void (*transpose)(ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t,
                          ptrdiff_t, const void *, void *) noexcept nogil
        void (*prefetch)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const ptrdiff_t *,
                         const void *) noexcept nogil
        void (*gather)(ptrdiff_t, ptrdiff_t, const ptrdiff_t *, const void *, ptrdiff_t,
                       ptrdiff_t, void *) noexcept nogil
        void (*one_hot)(ptrdiff_t, ptrdiff_t, const ptrdiff_t *, const int32_t *,
                        ptrdiff_t, void *) noexcept nogil
        void (*pick)(ptrdiff_t, const ptrdiff_t *, const void *, void *) noexcept nogil
        void (*pick_codes)(ptrdiff_t, const ptrdiff_t *, const int32_t *,
                           void *) noexcept nogil
        void (*scatter)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const void *,
                        void *) noexcept nogil
        void (*forward)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const cbp_function *,
                        ptrdiff_t, const void *, const void *, const void *, void *,
                        void *) noexcept nogil
        void (*forward_across)(ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t,
                               const cbp_function *, ptrdiff_t, const void *,
                               const void *, const void *,
                               void *, void *) noexcept nogil
        void (*backward)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const cbp_function *,
                         ptrdiff_t, const void *, const void *, const void *,
                         void *) noexcept nogil
        void (*gradient)(ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, const void *,
                         const void *, int, void *) noexcept nogil
        void (*column_sums)(ptrdiff_t, ptrdiff_t, const void *, int,
                            void *) noexcept nogil
        void (*forward_row)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const cbp_function *,
                            const void *, const void *, const void *,
                            void *) noexcept nogil
        void (*forward_sparse)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const cbp_function *,
                               int, ptrdiff_t,
                               const cbp_sparse_row *, const void *, const void *,
                               void *, void *) noexcept nogil
        void (*gradient_sparse)(ptrdiff_t, ptrdiff_t, ptrdiff_t, int,
                                const cbp_sparse_row *, const void *, int,
                                void *) noexcept nogil
        void (*output)(ptrdiff_t, ptrdiff_t, const cbp_function *, ptrdiff_t,
                       const void *,
                       void *) noexcept nogil
        void (*error_signal)(ptrdiff_t, ptrdiff_t, const cbp_function *,
                             const cbp_function *, ptrdiff_t, const void *,
                             const void *,
                             const void *, int, void *, void *,
                             void *) noexcept nogil
        void (*weigh)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const void *,
                      void *) noexcept nogil
        void (*regularize)(ptrdiff_t, const void *, void *, double,
                           double) noexcept nogil
        void (*begin_step)(cbp_step *) noexcept nogil
        double (*update)(ptrdiff_t, const cbp_step *, int, double, const void *,
                         void *, void *, void *) noexcept nogil
        double (*sum_of_squares)(ptrdiff_t, const void *) noexcept nogil
        double (*weighted_sum)(ptrdiff_t, const void *, const void *) noexcept nogil
        double (*column_squares)(ptrdiff_t, ptrdiff_t, ptrdiff_t,
                                 const void *) noexcept nogil
        void (*change)(ptrdiff_t, const void *, void *) noexcept nogil
        void (*mark_active)(ptrdiff_t, ptrdiff_t, const void *, void *) noexcept nogil
        void (*map)(ptrdiff_t, const cbp_function *, const void *,
                    void *) noexcept nogil

    int cbp_activation_code(const char *)
    int cbp_loss_code(const char *)
    int cbp_solver_code(const char *)
    const cbp_kernels *cbp_select(const char *, int)
    int cbp_available(const char **)
    unsigned long long cbp_flush_subnormals()
    void cbp_restore_subnormals(unsigned long long)
    double cbp_clock()
