"""Where the grids of inputs end."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from scipy.stats import norm

from skkan.basis._outlier_limits import (
    ADAPTIVE_TAIL_SHARE,
    ISOLATION_FACTOR,
    MAX_DEVIATIONS,
    MAX_TAIL_STRETCH,
    MIN_OTHERS_SPREAD,
    MIN_TAIL_ROWS,
    limited,
)
from skkan.data._scaling import AffineScaling


def reach(column):
    """Where a column of few samples ends above its median."""
    values = np.sort(column)[::-1]
    others = values[min(MIN_TAIL_ROWS, len(values)) - 1]
    is_wild = others > MIN_OTHERS_SPREAD and values[0] > ISOLATION_FACTOR * others
    return others if is_wild else np.inf


def farthest(column, *, adaptive):
    """Deviations of what differs from the median, the lower of two in the middle."""
    differing = np.sort(abs(column[column != 0]))
    typical = differing[(len(differing) - 1) // 2] if len(differing) else 0.0
    spread = max(1.0, typical / norm.ppf(0.75).round(4))
    if not adaptive:
        return MAX_DEVIATIONS * spread
    count = min(
        max(MIN_TAIL_ROWS + 1, int(np.ceil(ADAPTIVE_TAIL_SHARE * len(column)))),
        len(column),
    )
    tail = np.sort(abs(column))[-count]
    return max(MAX_DEVIATIONS * spread, min(tail, MAX_TAIL_STRETCH * MAX_DEVIATIONS))


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_fences_are_those_of_counting_rows(seed, adaptive):
    rng = np.random.default_rng(seed)
    x = rng.standard_t(1, size=(rng.integers(2, 40) * (1 + 20 * (seed % 2)), 3))
    x[rng.random(x.shape) < 0.3] = 0.0
    expected = np.column_stack(
        [
            np.clip(column, -far, far)
            for column in x.T
            for far in [farthest(column, adaptive=adaptive)]
        ]
    )
    for column in range(3):
        low, high = -reach(-expected[:, column]), reach(expected[:, column])
        expected[:, column] = np.clip(expected[:, column], low, high)
    found = limited(torch.from_numpy(x), adaptive=adaptive)
    assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize(("n_rows", "n_wild"), [(100, 2), (10_000, 9)])
def test_wild_samples_lie_where_the_others_end(n_rows, n_wild, rng):
    x = rng.normal(size=(n_rows, 1)).clip(-2, 2)
    x[:n_wild] = 1e6
    found = limited(torch.from_numpy(x), adaptive=True).numpy()
    assert_array_equal(found, x.clip(max=x[n_wild:].max()))


def test_samples_without_gaps_and_rare_values_stay(rng):
    """Two ones among a hundred are no outliers of the zeros, but a rare category."""
    x = np.column_stack([rng.normal(size=100), np.repeat([0.0, 4.0], [98, 2])])
    x[:3, 0] = np.nan
    assert_array_equal(limited(torch.from_numpy(x), adaptive=True).numpy(), x)


def test_columns_that_are_mostly_zero_keep_the_values_of_the_others(rng):
    """Amounts of rain, which are small by the deviation of the zeros among them."""
    rain = np.where(rng.random(1000) < 0.1, rng.exponential(5, 1000), 0.0)
    x = AffineScaling.robust(rain[:, None], np.ones(1000)).transform(rain[:, None])
    assert x.max() > 4 * MAX_DEVIATIONS
    found = limited(torch.from_numpy(x), adaptive=True).numpy()
    assert_array_equal(found[x < 0.9 * x.max()], x[x < 0.9 * x.max()])


def test_a_column_that_is_missing_stays_so():
    x = torch.full((10, 1), torch.nan)
    assert limited(x, adaptive=True).isnan().all()
