"""Labels become what a network is trained on, also where they come in chunks."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from cbp.data.chunks import CHUNK, slices
from cbp.data.targets import distinct_labels, label_targets, learn_labels

#: Sizes in one chunk, at the border, and over several.
SIZES = (7, CHUNK, CHUNK + 1, 2 * CHUNK + 100)


@pytest.mark.parametrize("n", [0, 1, 9, 10, 11, 20, 35])
def test_slices_cover_every_row_once(n):
    rows = np.arange(n)
    parts = [rows[part] for part in slices(n, 10)]
    assert all(0 < len(part) <= 10 for part in parts)
    np.testing.assert_array_equal(np.concatenate([rows[:0], *parts]), rows)


LABELS = {
    "integers": np.array([-3, 5, 70]),
    "small integers": np.array([1, 2, 200], np.uint8),
    "whole floats": np.array([-1.0, 0.0, 4.0]),
    "strings": np.array(["a", "bcd", "z"]),
    "objects": np.array(["a", "bcd", "z"], object),
}


def draw_labels(labels, n):
    """n labels, of which each occurs; the last one in the last row only."""
    codes = np.random.RandomState(0).randint(len(labels) - 1, size=n)
    codes[: len(labels) - 1] = np.arange(len(labels) - 1)
    codes[-1] = len(labels) - 1
    return labels[codes]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("kind", LABELS)
def test_distinct_labels_are_all_labels(kind, n):
    y = draw_labels(LABELS[kind], n)
    distinct = distinct_labels(y)
    assert distinct.dtype == y.dtype
    np.testing.assert_array_equal(np.unique(distinct), LABELS[kind])
    if kind != "objects":
        assert len(distinct) <= CHUNK


def test_as_many_labels_as_rows_are_not_gathered():
    y = np.arange(3 * CHUNK)
    assert distinct_labels(y) is y


def encoded(y, dtype=np.float32):
    distinct = distinct_labels(y)
    binarizer = learn_labels(distinct)
    return label_targets(binarizer, binarizer.classes_, y, distinct, dtype)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("kind", LABELS)
def test_several_classes_become_codes(kind, n):
    y = draw_labels(LABELS[kind], n)
    codes = encoded(y)
    assert codes.dtype == np.int32
    np.testing.assert_array_equal(LABELS[kind][codes], y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("kind", [*LABELS, "booleans"])
def test_two_classes_become_one_column(kind, n, dtype):
    labels = np.array([False, True]) if kind == "booleans" else LABELS[kind][:2]
    y = draw_labels(labels, n)
    targets = encoded(y, dtype)
    assert targets.dtype == dtype
    assert targets.shape == (n, 1)
    np.testing.assert_array_equal(targets[:, 0] == 1, y == labels[1])
    np.testing.assert_array_equal(targets[:, 0] == 0, y == labels[0])


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("form", [np.array, csr_array])
def test_indicators_of_labels_become_columns(form, n):
    indicators = np.random.RandomState(0).randint(2, size=(n, 3))
    targets = encoded(form(indicators))
    assert targets.dtype == np.float32
    np.testing.assert_array_equal(targets, indicators)
