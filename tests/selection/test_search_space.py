"""Structures, the number of their weights, and the limits of a search."""

import pytest
import torch

from skkan.data._dataset import Dataset
from skkan.selection._search_space import (
    WITHOUT_SEARCH,
    InputCounts,
    Structure,
    search_space,
)

OPEN = Structure(None, None, None, None)


def test_structure_counts_its_weights_and_fills_gaps():
    structure = Structure((3, 2), None, None, True).or_else(WITHOUT_SEARCH)
    assert structure == Structure((3, 2), 5, 1.0, True, False)
    # 4 * 3 + 3 * 2 + 2 * 1 edges and 4 * 1 of the skip, with 5 + 4 functions.
    assert structure.n_parameters(InputCounts(4, 0, 4), 1) == 24 * 9
    # 10 categories, each with an edge to three nodes and one output.
    assert structure.n_parameters(InputCounts(4, 10, 4), 1) == 24 * 9 + 10 * 4


def space_of(n_rows, n_numbers, requested=OPEN, *, may_take_pairs=True):
    rows = torch.zeros(n_rows, 1)
    data = Dataset(rows, rows, torch.ones(n_rows), rows[0])
    counts = InputCounts(n_numbers, 0, 4)
    return search_space(requested, data, counts, may_take_pairs=may_take_pairs)


@pytest.mark.parametrize(
    ("n_numbers", "grid_size", "by_evidence"),
    [(41, 20, True), (42, 10, True), (71, 10, True), (111, 5, True), (112, 5, False)],
)
def test_additive_model_has_the_finest_affordable_grid(
    n_numbers, grid_size, by_evidence
):
    """A thousand parameters: 41 * 24 on the finest grid, 71 * 14 and 111 * 9."""
    space = space_of(500, n_numbers)
    assert (space.additive.grid_size, space.by_evidence) == (grid_size, by_evidence)
    assert {each.grid_size for each in space.hidden} == {min(10, grid_size)}


def test_few_rows_are_not_searched_for_hidden_nodes():
    assert space_of(59, 3).hidden == ()
    assert len(space_of(60, 3).hidden) == 2


def test_hidden_nodes_take_all_features_or_pairs_beside_a_skip():
    dense = Structure((10,), 10, 0.2, False, False)
    pairs = Structure((10,), 10, 0.2, True, True)
    assert space_of(60, 3).hidden == (dense, pairs)
    assert space_of(60, 3, may_take_pairs=False).hidden == (dense,)
    with_skip = Structure(None, None, None, True)
    assert space_of(60, 3, with_skip).hidden[0].additive_skip


def test_second_order_network_is_small():
    """Its (n_numbers * 5 + 5) * 9 weights are a thousand at most."""
    assert space_of(500, 21).second_order == WITHOUT_SEARCH
    assert space_of(500, 22).second_order is None
