"""numpy's legacy shuffle of row numbers, at the speed of its bit generator.

``shuffle(rng, order)`` leaves in `order` and in `rng` just what ``rng.shuffle(order)``
does: for i = n - 1, ..., 1 it swaps order[i] with order[j], where j is drawn uniformly
from 0..i (Durstenfeld, CACM 7, 1964, algorithm 235). j is as many of the low bits of a
draw as i has; a j above i is thrown away.

Two things make it fast. Whether a draw is thrown away cannot be predicted, so it is
decided without a branch: the draw is stored in any case, and the place for the next one
moves on only if it counts. And since no j depends on a swap, a block of them is drawn
before its first swap; the cache fetches the entries that they mean while the drawing
goes on.
"""

import numpy as np

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint32_t, uint64_t

cnp.import_array()


# Not from numpy.random: that looks for types that not every numpy has.
cdef extern from "numpy/random/bitgen.h":
    ctypedef struct bitgen_t:
        void *state
        uint64_t (*next_uint64)(void *) noexcept nogil
        uint32_t (*next_uint32)(void *) noexcept nogil


cdef extern from *:
    """
    #if defined(__GNUC__)
    #define CBP_PREFETCH(address) __builtin_prefetch((address), 1)
    #else
    #define CBP_PREFETCH(address) ((void)(address))
    #endif
    """
    void CBP_PREFETCH(const void *) noexcept nogil


cdef enum:
    # Draws at a time: more than a cache can fetch at once, fewer than it has lines.
    BLOCK = 256
    # Some ten milliseconds of work.
    ROWS_BETWEEN_SIGNALS = 1 << 20


def shuffle(rng, order):
    """As ``rng.shuffle(order)``; a Ctrl-C leaves the rows in some other order.

    Parameters
    ----------
    rng : numpy.random.RandomState
        Over any bit generator. What only looks like one shuffles by itself.
    order : ndarray of shape (n,) and dtype numpy.intp
        Contiguous and writable; shuffled in place.
    """
    cdef bitgen_t *bits
    cdef ptrdiff_t *rows
    cdef Py_ssize_t last, pause
    is_plain = type(rng) is np.random.RandomState
    generator = getattr(rng, "_bit_generator", None) if is_plain else None
    if generator is None:
        rng.shuffle(order)
        return
    if (
        not isinstance(order, np.ndarray)
        or order.dtype != np.intp
        or order.ndim != 1
        or not order.flags.carray
    ):
        raise TypeError("order must be a contiguous, writable vector of numpy.intp.")
    bits = <bitgen_t *>PyCapsule_GetPointer(generator.capsule, "BitGenerator")
    rows = <ptrdiff_t *>cnp.PyArray_DATA(order)
    last = order.size - 1
    with generator.lock:
        while last > 0:
            pause = max(0, last - ROWS_BETWEEN_SIGNALS)
            with nogil:
                while last > pause:
                    last -= shuffle_block(bits, rows, last)
            PyErr_CheckSignals()


cdef Py_ssize_t shuffle_block(
    bitgen_t *bits, ptrdiff_t *rows, Py_ssize_t last
) noexcept nogil:
    """Draw and swap for i = last and some below it; returns for how many."""
    cdef uint64_t j[BLOCK]
    cdef uint64_t mask = ones_as_long_as(last)
    # Those of a block have equally many bits.
    cdef Py_ssize_t swap, n = min(last - <Py_ssize_t>(mask >> 1), BLOCK)
    cdef ptrdiff_t row
    draw_block(bits, rows, last, mask, n, j)
    for swap in range(n):
        row = rows[last - swap]
        rows[last - swap] = rows[j[swap]]
        rows[j[swap]] = row
    return n


cdef void draw_block(
    bitgen_t *bits, const ptrdiff_t *rows, Py_ssize_t last, uint64_t mask,
    Py_ssize_t n, uint64_t *j_out,
) noexcept nogil:
    """j for i = last, ..., last - n + 1, and their entries on the way to the cache."""
    cdef void *state = bits.state
    cdef Py_ssize_t found = 0
    if mask >> 32:
        while found < n:
            found += counts(bits.next_uint64(state) & mask, rows, last, j_out, found)
    else:
        while found < n:
            found += counts(bits.next_uint32(state) & mask, rows, last, j_out, found)


cdef inline bint counts(
    uint64_t draw, const ptrdiff_t *rows, Py_ssize_t last, uint64_t *j_out,
    Py_ssize_t found,
) noexcept nogil:
    """Whether a draw is no more than the i that it is for; it is stored in any case."""
    j_out[found] = draw
    CBP_PREFETCH(rows + draw)
    return draw <= <uint64_t>(last - found)


cdef inline uint64_t ones_as_long_as(uint64_t i) noexcept nogil:
    """The smallest 2^k - 1 that is not below i."""
    cdef uint64_t ones = 1
    while ones < i:
        ones = 2 * ones + 1
    return ones
