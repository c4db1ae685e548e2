"""exp, tanh, logistic, log and log1p are right to a few units in the last place.

The best instruction set is tried on every float32, in comparison with float64; the
others, and float64 in comparison with long double, on samples that are dense where the
functions change from one formula to another.
"""

import numpy as np
import pytest

from cbp.kernels import propagator as kernels

pytestmark = pytest.mark.emulated

ISAS = kernels.available_instruction_sets()
DTYPES = (np.float32, np.float64)
#: In units in the last place of the exact result.
LARGEST_ERROR = {"exp": 2, "tanh": 4, "logistic": 4, "log": 4, "log1p": 4}
EXACT = {
    "exp": np.exp,
    "tanh": np.tanh,
    "logistic": lambda x: np.where(x < 0, np.exp(x), 1) / (1 + np.exp(-np.abs(x))),
    "log": np.log,
    "log1p": np.log1p,
}


def computed(function, x):
    out = np.empty_like(x)
    kernels.elementwise(function, x, out)
    return out


def assert_close(function, x, exact):
    """The result is the float nearest to `exact`, of a wider type, or one near that.

    Floats of one sign are numbered by their bits, from 0 over the subnormals up to
    infinity. Rounding `exact` takes half a unit: so they may lie one fewer apart.
    """
    integer = {4: np.uint32, 8: np.uint64}[x.itemsize]
    apart = integer(LARGEST_ERROR[function] - 1)
    actual = computed(function, x)
    with np.errstate(over="ignore", under="ignore"):
        nearest = exact.astype(x.dtype)
    distance = actual.view(integer) - nearest.view(integer) + apart
    wrong = distance > 2 * apart
    assert not wrong.any(), (function, x[wrong][0], actual[wrong][0], nearest[wrong][0])


def assert_equal(function, x, expected):
    assert (computed(function, x) == expected).all(), (function, x[0], x[-1])


# ---- every float32 -----------------------------------------------------------------

#: So many at a time that all arrays stay in the cache.
PIECE = 2**15


def every_float32(low, high, sign=1):
    """sign * x for low <= x < high with low >= 0, in pieces."""
    first, last = (int(np.float32(bound).view(np.uint32)) for bound in (low, high))
    sign_bit = np.uint32(0 if sign > 0 else 2**31)
    for start in range(first, last, PIECE):
        bits = np.arange(start, min(start + PIECE, last), dtype=np.uint32)
        yield (bits | sign_bit).view(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1, -1])
def test_exp_and_logistic_of_every_float32(sign):
    for x in every_float32(0, 2**-25, sign):
        assert_equal("exp", x, 1)
        assert_equal("logistic", x, 0.5)
    for x in every_float32(2**-25, 104, sign):
        exp = np.exp(x.astype(np.float64))
        assert_close("exp", x, exp)
        assert_close("logistic", x, exp / (1 + exp))
    for x in every_float32(104, np.inf, sign):
        assert_equal("exp", x, np.inf if sign > 0 else 0)
        assert_equal("logistic", x, 1 if sign > 0 else 0)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1, -1])
def test_tanh_of_every_float32(sign):
    for x in every_float32(0, 2**-13, sign):
        assert_close("tanh", x, x)
    for x in every_float32(2**-13, 10, sign):
        assert_close("tanh", x, np.tanh(x.astype(np.float64)))
    for x in every_float32(10, np.inf, sign):
        assert_equal("tanh", x, sign)


@pytest.mark.slow
def test_tanh_of_every_float32_is_odd_and_at_most_1():
    for x in every_float32(2**-13, 10):
        a = computed("tanh", x)
        assert a.max() <= 1
        assert_equal("tanh", -x, -a)


@pytest.mark.slow
def test_log_of_every_normal_float32():
    # ln x = e ln2 + ln m for x = 2^e m, which is quicker than the logarithm of each x.
    # The terms cancel near 1, but float64 has digits to spare.
    for m in every_float32(1, 2):
        ln_m = np.log(m.astype(np.float64))
        for e in range(-126, 128):
            x = (m.view(np.int32) + (e << 23)).view(np.float32)
            assert_close("log", x, ln_m + e * np.log(2))


@pytest.mark.slow
def test_log1p_of_every_float32_from_0_to_1():
    for x in every_float32(0, 2**-25):
        assert_close("log1p", x, x)
    for x in every_float32(2**-25, 1):
        assert_close("log1p", x, np.log1p(x.astype(np.float64)))
    assert_close("log1p", np.ones(1, np.float32), np.log([2.0]))


# ---- samples -----------------------------------------------------------------------


def neighbours(x, n):
    """Every x, none of them 0, with the n floats on each side of it."""
    bits = x.view({4: np.int32, 8: np.int64}[x.itemsize])[:, None]
    return (bits + np.arange(-n, n + 1, dtype=bits.dtype)).view(x.dtype).ravel()


def all_exponents(dtype):
    """Floats >= 0 with random bits; the smallest ones; the powers of 2."""
    info = np.finfo(dtype)
    integer = {4: np.int32, 8: np.int64}[info.dtype.itemsize]
    rng = np.random.default_rng(0)
    bits = rng.integers(0, info.max.view(integer), 50_000, integer, endpoint=True)
    bits[:1000] = np.arange(1000)
    powers = dtype(2) ** np.arange(info.minexp, info.maxexp, dtype=dtype)
    return np.append(bits.view(dtype), powers)


def samples_of_exponentials(dtype):
    """Seams lie between two n of n ln2 or n ln2/2, and where the ends are cut off."""
    usual = np.random.default_rng(0).uniform(0, 40, 50_000)
    last = {np.float32: 105, np.float64: 750}[dtype]
    between = np.arange(1, 4 * last / np.log(2)) * (np.log(2) / 4)
    seams = np.append(between, [10, 18, 20, 38, 89, 104, 710, 746])
    x = [all_exponents(dtype), usual.astype(dtype), neighbours(seams.astype(dtype), 4)]
    x = np.concatenate(x)
    return np.append(x, -x)


def samples_of_logarithms(dtype):
    """Seams lie at sqrt 2 times a power of 2; both terms are small near 1."""
    usual = np.random.default_rng(0).uniform(0, 2, 50_000)
    x = all_exponents(dtype)
    seams = np.sqrt(0.5) * 2.0 ** np.arange(-100, 100)
    near_1 = neighbours(np.ones(1, dtype), 1000)
    seams = neighbours(seams.astype(dtype), 4)
    return np.concatenate([x, usual.astype(dtype), seams, near_1])


def samples(function, dtype):
    if function == "log":
        x = samples_of_logarithms(dtype)
        return x[x >= np.finfo(dtype).tiny]
    if function == "log1p":
        x = samples_of_logarithms(dtype)
        return x[x <= 1]
    return samples_of_exponentials(dtype)


@pytest.mark.parametrize("function", LARGEST_ERROR)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_few_ulp_on_every_instruction_set(monkeypatch, dtype, function):
    x = samples(function, dtype)
    wider = np.float64 if dtype == np.float32 else np.longdouble
    with np.errstate(over="ignore", under="ignore"):
        exact = EXACT[function](x.astype(wider))
    for isa in ISAS:
        monkeypatch.setenv("CBP_ISA", isa)
        assert_close(function, x, exact)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_is_odd_and_at_most_1(monkeypatch, isa, dtype):
    monkeypatch.setenv("CBP_ISA", isa)
    x = samples("tanh", dtype)
    a = computed("tanh", x)
    assert np.abs(a).max() == 1
    np.testing.assert_array_equal(computed("tanh", -x), -a)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_at_the_ends_of_the_range(monkeypatch, isa, dtype):
    monkeypatch.setenv("CBP_ISA", isa)
    x = np.array([-np.inf, -1e4, -0.0, 0.0, 1e4, np.inf, np.nan], dtype)
    ends = {
        "exp": [0, 0, 1, 1, np.inf, np.inf, np.nan],
        "tanh": [-1, -1, -0.0, 0, 1, 1, np.nan],
        "logistic": [0, 0, 0.5, 0.5, 1, 1, np.nan],
        "relu": [0, 0, 0, 0, 1e4, np.inf, np.nan],
        "identity": x,
    }
    for function, expected in ends.items():
        out = computed(function, x)
        np.testing.assert_array_equal(out, np.array(expected, dtype), function)
    assert np.signbit(computed("tanh", x))[2]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_results_do_not_depend_on_the_place_in_the_array(monkeypatch, isa, dtype):
    monkeypatch.setenv("CBP_ISA", isa)
    x = np.linspace(0.1, 1, 70).astype(dtype)
    for function in (*LARGEST_ERROR, "relu", "identity"):
        whole = computed(function, x)
        for n in range(x.size + 1):
            np.testing.assert_array_equal(computed(function, x[:n]), whole[:n])
