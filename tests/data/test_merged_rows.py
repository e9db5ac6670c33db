"""The canonical form of the training rows."""

from collections import Counter

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skkan.data._merged_rows import canonical_rows
from skkan.numerics import _row_blocks


def make_rows(rng, n_samples=40):
    """Rows of which many are equal in X, some of them in the target, too."""
    X = rng.integers(-2, 3, (n_samples, 2)) / 3
    target = rng.integers(0, 2, (n_samples, 1)).astype(float)
    return X, target


def total_weights(X, target, weight):
    """Weight of each distinct row."""
    totals = Counter()
    for row, w in zip(np.hstack([X, target]).tolist(), weight.tolist(), strict=True):
        totals[tuple(row)] += w
    return totals


def assert_same_bytes(one, two):
    for a, b in zip(one, two, strict=True):
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()


def test_repetitions_are_weights(rng):
    """A row of weight 3 and three rows become the same input, bit for bit."""
    X, target = make_rows(rng)
    count = rng.integers(0, 4, len(X))
    repeated = [np.repeat(part, count, axis=0) for part in (X, target)]
    weighted = canonical_rows(X, target, count.astype(float))
    assert_same_bytes(weighted, canonical_rows(*repeated, np.ones(count.sum())))


def test_order_does_not_matter(rng):
    """Weights are multiples of 1/4 here, whose sums do not round."""
    X, target = make_rows(rng)
    weight = rng.integers(1, 9, len(X)) / 4
    order = rng.permutation(len(X))
    expected = canonical_rows(X, target, weight)
    shuffled = canonical_rows(X[order], target[order], weight[order])
    assert_same_bytes(shuffled, expected)


def test_rows_keep_their_weights(rng):
    """Against a dictionary: nothing is lost, and no row occurs twice."""
    X, target = make_rows(rng)
    weight = rng.integers(0, 9, len(X)) / 4
    merged = canonical_rows(X, target, weight)
    expected = {row: w for row, w in total_weights(X, target, weight).items() if w}
    assert total_weights(*merged) == expected
    assert len(merged[0]) == len(expected)
    assert merged[2].sum() == weight.sum()


@pytest.mark.parametrize("most_rows", [5, 100])
def test_rows_without_weight_are_dropped(most_rows, rng, monkeypatch):
    """They must not even take part in the grids, however many rows there are."""
    monkeypatch.setattr(_row_blocks, "SINGLE_BLOCK_ROWS", most_rows)
    X = rng.standard_normal((30, 2))
    target = rng.standard_normal((30, 1))
    weight = 1.0 * (np.arange(30) % 3 > 0)
    kept, kept_target, kept_weight = canonical_rows(X, target, weight)
    assert {tuple(row) for row in kept} == {tuple(row) for row in X[weight > 0]}
    assert len(kept_target) == 20
    assert_array_equal(kept_weight, np.ones(20))


def test_many_rows_keep_their_order(rng, monkeypatch):
    """Sorting would cost more than the rounding it saves; the arrays go through."""
    X, target = make_rows(rng)
    weight = rng.uniform(1, 2, len(X))
    monkeypatch.setattr(_row_blocks, "SINGLE_BLOCK_ROWS", len(X) - 1)
    for part, given in zip(
        canonical_rows(X, target, weight), (X, target, weight), strict=True
    ):
        assert part is given
    monkeypatch.setattr(_row_blocks, "SINGLE_BLOCK_ROWS", len(X))
    assert len(canonical_rows(X, target, weight)[0]) < len(X)


def test_negative_zero_is_zero():
    """-0.0 == 0.0, although their bytes differ: such rows merge, and give 0.0."""
    X = np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, -1.0]])
    target = np.array([[0.0], [-0.0], [-0.0]])
    rows, targets, weight = canonical_rows(X, target, np.array([1.0, 2.0, 4.0]))
    assert sorted(zip(rows.tolist(), weight.tolist(), strict=True)) == [
        ([0.0, -1.0], 4.0),
        ([0.0, 1.0], 3.0),
    ]
    assert not np.signbit(rows[rows == 0]).any()
    assert not np.signbit(targets).any()


def test_arguments_are_left_alone(rng):
    """The user's data are not ours to sort."""
    parts = (*make_rows(rng), rng.uniform(0, 1, 40).round())
    copies = [part.copy() for part in parts]
    canonical_rows(*parts)
    for part, copy in zip(parts, copies, strict=True):
        assert_array_equal(part, copy)


def test_canonical_rows_are_canonical(rng):
    """Doing it twice changes nothing."""
    once = canonical_rows(*make_rows(rng), rng.uniform(1, 2, 40))
    assert_same_bytes(canonical_rows(*once), once)
