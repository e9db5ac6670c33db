"""The levels of second-order training."""

import pytest
import torch

from skkan import KANNetwork
from skkan._plan import COARSEST, FEWEST_ROWS, GROWTH, Level, levels


def make_network(grid_size, widths=(5, 6, 1)):
    return KANNetwork.from_samples(widths, torch.rand(20, 5), grid_size=grid_size)


@pytest.mark.parametrize("n_rows", [2, 999, 3000, 10_000, 10**6])
@pytest.mark.parametrize("grid_size", [1, 3, 5, 8, 20, 100])
def test_grids_and_rows_grow_up_to_those_of_the_fit(grid_size, n_rows):
    *growing, last = levels(make_network(grid_size), n_rows)
    assert last == Level(grid_size, n_rows)
    for one, next_one in zip(growing, [*growing, last][1:], strict=True):
        assert COARSEST <= one.grid_size <= next_one.grid_size or (
            one.grid_size == grid_size
        )
        assert one.n_rows <= next_one.n_rows
        assert one != next_one
        if one.grid_size < next_one.grid_size:
            assert (next_one.grid_size + 1) // 2 == one.grid_size
        else:
            assert 2 * one.n_rows <= next_one.n_rows <= 2 * GROWTH * one.n_rows


def test_grids_double_and_rows_follow_their_parameters():
    """36 edges with 4 functions beside those of the intervals; 4 rows for each."""
    assert levels(make_network(16), 10_000) == [
        Level(4, 4 * 36 * 8),
        Level(8, 4 * 36 * 12),
        Level(16, 4 * 36 * 20),
        Level(16, 10_000),
    ]


def test_small_problems_have_one_level():
    assert levels(make_network(5), FEWEST_ROWS) == [Level(5, FEWEST_ROWS)]
