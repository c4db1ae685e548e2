"""Derives the polynomials of elementary.h; needs mpmath. Run by hand.

Remez's algorithm finds the polynomial of a degree whose largest error, relative to the
function computed with it, is smallest: solve for coefficients that give errors of one
size and alternating sign at degree + 2 points, move the points to where the errors are
largest, repeat. (Muller, "Elementary Functions", 3rd ed., 2016, chapter 3.)
"""

from itertools import pairwise
from textwrap import fill

from mpmath import mp, mpf

mp.dps = 50
#: Points at which errors are looked at.
FINENESS = 3000
#: ln2/2, and a little more: rounding decides which integer is nearest.
HALF_LN2 = mp.log(2) / 2 * mpf("1.0001")


# Each returns p(x), and by how much its relative error counts in the function.


def exp_tail(r):
    """(e^r - 1) / r, of e^r - 1."""
    return mp.expm1(r) / r, mpf(1)


def tanh_tail(t):
    """(tanh r - r) / r^3 for t = r^2, of tanh r."""
    r = mp.sqrt(t)
    return (mp.tanh(r) - r) / r**3, 1 - r / mp.tanh(r)


def atanh_tail(t):
    """2 (atanh s - s) / s^3 for t = s^2, of 2 atanh s."""
    s = mp.sqrt(t)
    return 2 * (mp.atanh(s) - s) / s**3, 1 - s / mp.atanh(s)


def erfcx_tail(centre, highest):
    """erfcx(x) in t = (x - centre) / (x + centre) for 0 <= x <= highest, and that t."""

    def tail(t):
        x = centre * (1 + t) / (1 - t)
        return mp.exp(x * x) * mp.erfc(x), mpf(1)

    return tail, -1, (mpf(highest) - centre) / (highest + centre)


#: name, p, an end of its interval, the other, the degree for 53 and for 24 bits.
POLYNOMIALS = [
    ("EXP", exp_tail, -HALF_LN2, HALF_LN2, {53: 10, 24: 5}),
    ("TANH", tanh_tail, 0, (HALF_LN2 / 2) ** 2, {53: 5, 24: 1}),
    ("LOG", atanh_tail, 0, ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2, {53: 6, 24: 2}),
    ("LOG_1_PLUS", atanh_tail, 0, mpf(1) / 9, {53: 8, 24: 3}),
    ("ERFCX", *erfcx_tail(mpf("3.75"), 27.5), {53: 22}),
    ("ERFCX", *erfcx_tail(mpf(2), 14), {24: 10}),
]


def extrema_between_zeros(errors):
    """Index of the largest error in each run of errors of one sign."""
    changes = [i for i, (a, b) in enumerate(pairwise(errors), 1) if (a > 0) != (b > 0)]
    return [
        max(range(start, stop), key=lambda i: abs(errors[i]))
        for start, stop in pairwise([0, *changes, len(errors)])
    ]


def remez(p, low, high, degree):
    """The coefficients, that of the lowest power first, and the largest error."""
    x = [xi for xi in mp.linspace(low, high, FINENESS) if xi]
    y, share = zip(*map(p, x), strict=True)
    n = degree + 2
    points = [int(len(x) * (1 - mp.cos(mp.pi * (i + 0.5) / n)) / 2) for i in range(n)]
    while True:
        system = mp.matrix(n, n)
        for row, i in enumerate(points):
            for k in range(degree + 1):
                system[row, k] = x[i] ** k / y[i] * share[i]
            system[row, n - 1] = (-1) ** row
        *coefficients, _ = mp.lu_solve(system, mp.matrix([share[i] for i in points]))
        errors = [
            (mp.polyval(coefficients[::-1], x[i]) / y[i] - 1) * share[i]
            for i in range(len(x))
        ]
        extrema = extrema_between_zeros(errors)
        if extrema == points:
            return coefficients, max(map(abs, errors))
        assert len(extrema) == n
        points = extrema


def literal(value, bits):
    """In hexadecimal, as C has it, rounded to so many bits."""
    mantissa, exponent = mp.frexp(value)
    rounded = float(mp.ldexp(mp.nint(mp.ldexp(mantissa, bits)), exponent - bits))
    digits, exponent = rounded.hex().split("p")
    return digits.rstrip("0").rstrip(".") + "p" + exponent + ("f" if bits == 24 else "")


if __name__ == "__main__":
    for bits in (53, 24):
        for name, p, low, high, degrees in POLYNOMIALS:
            if bits not in degrees:
                continue
            coefficients, error = remez(p, low, high, degrees[bits])
            values = ", ".join(literal(c, bits) for c in coefficients)
            definition = f"static const real {name}_TAIL[] = {{{values}}};"
            print(f"/* to 2^{mp.nstr(mp.log(error, 2), 4)} */")
            print(fill(definition, 88, subsequent_indent="    "))
