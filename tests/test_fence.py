"""Where the grids of inputs end."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skkan._fence import FENCE, FEW, ISOLATED, SPREAD, fenced


def reach(column, weight):
    """Where a column ends above its median, counted row by row."""
    order = np.argsort(column)[::-1]
    total, values = 0.0, column[order]
    for value, own in zip(values, weight[order], strict=True):
        total += own
        if total >= max(FEW, 1e-3 * weight.sum()):
            others = value
            break
    else:
        others = values[-1]
    is_wild = others > SPREAD and values[0] > ISOLATED * others
    return others if is_wild else np.inf


@pytest.mark.parametrize("seed", range(20))
def test_fences_are_those_of_counting_rows(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_t(2, size=(rng.integers(2, 80), 3))
    weight = rng.integers(1, 4, len(x)) * 1.0
    expected = np.clip(x, -FENCE, FENCE)
    for column in range(3):
        low = -reach(-expected[:, column], weight)
        high = reach(expected[:, column], weight)
        expected[:, column] = np.clip(expected[:, column], low, high)
    found = fenced(torch.from_numpy(x), torch.from_numpy(weight))
    assert_array_equal(found.numpy(), expected)


def test_weights_are_repetitions(rng):
    x = rng.standard_t(1, size=(50, 2))
    weight = rng.integers(1, 4, 50)
    whole = fenced(torch.from_numpy(x), torch.from_numpy(weight * 1.0)).numpy()
    repeated = torch.from_numpy(x.repeat(weight, axis=0))
    again = fenced(repeated, torch.ones(len(repeated), dtype=torch.float64)).numpy()
    assert_array_equal(again, whole.repeat(weight, axis=0))


def test_one_wild_sample_lies_where_the_others_end(rng):
    x = rng.normal(size=(100, 1)).clip(-2, 2)
    x[0] = 1e6
    found = fenced(torch.from_numpy(x), torch.ones(100, dtype=torch.float64)).numpy()
    third = np.sort(x, axis=0)[-3, 0]
    assert_array_equal(found, x.clip(max=third))


def test_samples_without_gaps_and_rare_values_stay(rng):
    """Two of a hundred ones are no outliers of the zeros, but a rare category."""
    x = np.column_stack([rng.normal(size=100), np.repeat([0.0, 4.0], [98, 2])])
    x[:3, 0] = np.nan
    found = fenced(torch.from_numpy(x), torch.ones(100, dtype=torch.float64))
    assert_array_equal(found.numpy(), x)
