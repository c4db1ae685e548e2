"""Early stopping sets the rows aside that scikit-learn's `train_test_split` would."""

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from cbp.data.chunks import CHUNK
from cbp.data.splitting import split, split_by_class


def assert_same_split(ours, theirs, rng, their_rng):
    for mine, yours in zip(ours, theirs, strict=True):
        assert mine.dtype == np.intp
        assert mine.flags.c_contiguous
        np.testing.assert_array_equal(mine, yours)
    assert rng.randint(2**31) == their_rng.randint(2**31)


@pytest.mark.parametrize("n, n_aside", [(3, 2), (10, 3), (1000, 999), (CHUNK + 5, 77)])
@pytest.mark.parametrize("seed", range(3))
def test_split_is_scikit_learns(n, n_aside, seed):
    rng, their_rng = np.random.RandomState(seed), np.random.RandomState(seed)
    theirs = train_test_split(np.arange(n), test_size=n_aside, random_state=their_rng)
    assert_same_split(split(n, n_aside, rng), theirs, rng, their_rng)


def draw_codes(n, shares, seed):
    """n codes of classes, with each class at least twice."""
    rng = np.random.RandomState(1000 + seed)
    codes = rng.choice(len(shares), size=n, p=np.array(shares) / sum(shares))
    codes[: 2 * len(shares)] = np.repeat(np.arange(len(shares)), 2)
    return rng.permutation(codes)


SHARES = {
    "one class": [1],
    "equal": [1, 1],
    "rare": [1, 50],
    "several": [3, 1, 2, 2],
    "many": [1] * 30,
    "very many": [1] * 300,
}


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.float64])
@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.85])
@pytest.mark.parametrize("classes", SHARES)
def test_split_by_class_is_scikit_learns(classes, fraction, dtype):
    shares = SHARES[classes]
    for seed, n in enumerate((10, 11, 97, 1000)):
        n *= len(shares)
        n_aside = max(int(fraction * n), len(shares))
        codes = draw_codes(n, shares, seed)
        rng, their_rng = np.random.RandomState(seed), np.random.RandomState(seed)
        theirs = train_test_split(
            np.arange(n), test_size=n_aside, stratify=codes, random_state=their_rng
        )
        ours = split_by_class(codes.astype(dtype), n_aside, rng)
        assert_same_split(ours, theirs, rng, their_rng)


@pytest.mark.parametrize("classes", ["equal", "several"])
def test_split_by_class_of_several_chunks_is_scikit_learns(classes):
    n = 2 * CHUNK + 13
    codes = np.sort(draw_codes(n, SHARES[classes], 0)).astype(np.int32)
    rng, their_rng = np.random.RandomState(7), np.random.RandomState(7)
    theirs = train_test_split(
        np.arange(n), test_size=n // 10, stratify=codes, random_state=their_rng
    )
    assert_same_split(split_by_class(codes, n // 10, rng), theirs, rng, their_rng)


@pytest.mark.parametrize(
    "codes, n_aside, match",
    [
        pytest.param([0, 0, 1], 2, "a class has one sample only", id="lone"),
        pytest.param([0, 0, 1, 1], 1, "2 classes, but 3 samples .* 1 to", id="aside"),
        pytest.param([0, 0, 1, 1], 3, "2 classes, but 1 samples .* 3 to", id="train"),
    ],
)
def test_impossible_shares_are_refused_before_a_draw(codes, n_aside, match):
    rng, untouched = np.random.RandomState(0), np.random.RandomState(0)
    with pytest.raises(ValueError, match=match):
        split_by_class(np.array(codes), n_aside, rng)
    with pytest.raises(ValueError):
        train_test_split(np.arange(len(codes)), test_size=n_aside, stratify=codes)
    assert rng.randint(2**31) == untouched.randint(2**31)
