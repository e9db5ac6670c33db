"""The stages of second-order training."""

import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skkan import KANNetwork
from skkan.data._dataset import Dataset
from skkan.training._continuation import ContinuationStage, continuation_stages
from skkan.training._settings import CONTINUATION


def make_network(grid_size, widths=(5, 6, 1)):
    return KANNetwork.from_samples(widths, torch.rand(20, 5), grid_size=grid_size)


@pytest.mark.parametrize("n_rows", [2, 999, 3000, 10_000, 10**6])
@pytest.mark.parametrize("grid_size", [1, 3, 5, 8, 20, 100])
def test_grids_and_rows_grow_up_to_those_of_the_fit(grid_size, n_rows):
    *growing, last = continuation_stages(make_network(grid_size), n_rows)
    assert last == ContinuationStage(grid_size, n_rows)
    for one, next_one in zip(growing, [*growing, last][1:], strict=True):
        assert CONTINUATION.min_grid_size <= one.grid_size <= next_one.grid_size or (
            one.grid_size == grid_size
        )
        assert one.n_rows <= next_one.n_rows
        assert one != next_one
        if one.grid_size < next_one.grid_size:
            assert (next_one.grid_size + 1) // 2 == one.grid_size
        else:
            assert (
                2 * one.n_rows
                <= next_one.n_rows
                <= 2 * CONTINUATION.row_growth * one.n_rows
            )


def test_grids_double_and_rows_follow_their_parameters():
    """36 edges with 4 functions beside those of the intervals; 4 rows for each."""
    assert continuation_stages(make_network(16), 10_000) == [
        ContinuationStage(4, 4 * 36 * 8),
        ContinuationStage(8, 4 * 36 * 12),
        ContinuationStage(16, 4 * 36 * 20),
        ContinuationStage(16, 10_000),
    ]


@pytest.mark.parametrize("period", [2, 3, 5, 7, 10, 16])
def test_subsamples_meet_every_rhythm(period):
    """Tables of pairs or panels repeat; each phase keeps its share of the rows."""
    n_rows = 1000 * period
    X = (torch.arange(n_rows) % period).double().unsqueeze(1)
    data = Dataset(X, X, X[:, 0], X[0])
    sample = data.subsample(1000)
    assert len(sample.X) == 1000
    share = torch.bincount(sample.X[:, 0].long(), minlength=period) / 1000
    assert_allclose(share, 1 / period, atol=0.01)
    rows = Dataset(torch.arange(n_rows).unsqueeze(1), X, X, X).subsample(1000).X
    assert_array_equal(rows[:, 0] // period, torch.arange(1000))


def test_small_problems_have_one_stage():
    assert continuation_stages(make_network(5), CONTINUATION.min_rows) == [
        ContinuationStage(5, CONTINUATION.min_rows)
    ]
