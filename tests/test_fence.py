"""Where the grids of inputs end."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skkan._fence import FENCE, FEW, ISOLATED, SPREAD, fenced


def reach(column):
    """Where a column of few samples ends above its median."""
    values = np.sort(column)[::-1]
    others = values[min(FEW, len(values)) - 1]
    is_wild = others > SPREAD and values[0] > ISOLATED * others
    return others if is_wild else np.inf


@pytest.mark.parametrize("seed", range(20))
def test_fences_are_those_of_counting_rows(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_t(1, size=(rng.integers(2, 40), 3))
    expected = np.clip(x, -FENCE, FENCE)
    for column in range(3):
        low, high = -reach(-expected[:, column]), reach(expected[:, column])
        expected[:, column] = np.clip(expected[:, column], low, high)
    assert_array_equal(fenced(torch.from_numpy(x)).numpy(), expected)


@pytest.mark.parametrize(("n_rows", "n_wild"), [(100, 2), (10_000, 9)])
def test_wild_samples_lie_where_the_others_end(n_rows, n_wild, rng):
    x = rng.normal(size=(n_rows, 1)).clip(-2, 2)
    x[:n_wild] = 1e6
    found = fenced(torch.from_numpy(x)).numpy()
    assert_array_equal(found, x.clip(max=x[n_wild:].max()))


def test_samples_without_gaps_and_rare_values_stay(rng):
    """Two ones among a hundred are no outliers of the zeros, but a rare category."""
    x = np.column_stack([rng.normal(size=100), np.repeat([0.0, 4.0], [98, 2])])
    x[:3, 0] = np.nan
    assert_array_equal(fenced(torch.from_numpy(x)).numpy(), x)


def test_a_column_that_is_missing_stays_so():
    x = torch.full((10, 1), torch.nan)
    assert fenced(x).isnan().all()
