"""Coarse grids and few rows first: the stages of second-order training."""

import math
from typing import NamedTuple

COARSEST = 4  # intervals of the grids on which second-order training may begin
FEWEST_ROWS, ROWS_PER_PARAMETER = 1000, 4  # of a network on its first grids
GROWTH, LEAST_GROWTH = 4, 2  # of the rows, on the last grids


class ContinuationStage(NamedTuple):
    """A part of a second-order training, with some of the rows."""

    grid_size: int
    n_rows: int


def continuation_stages(network, n_rows):
    """From coarse grids and few rows to the grids of a network and all rows.

    The grids double at each level and their rows grow with the number of parameters;
    on the last grids the rows go on to grow. Coarse grids show the outline of a
    function at a fraction of the cost, and lead away from many a poor optimum. Without
    hidden layers there is one optimum only, and no coarser grid.

    Parameters
    ----------
    network : KANNetwork
        On its last grids.
    n_rows : int
        Number of rows that there are.

    Returns
    -------
    list of ContinuationStage
    """
    free = int(network.weight_mask.sum())
    on_grids = sum(
        int((layer.mask * layer.is_number).sum()) for layer in network.all_layers
    )

    def enough(grid_size):
        n_parameters = free + on_grids * (grid_size - network.grid_size)
        return max(FEWEST_ROWS, ROWS_PER_PARAMETER * n_parameters)

    chain, grid_size = [], math.ceil(network.grid_size / 2)
    while grid_size >= COARSEST and len(network.layers) > 1:
        chain.insert(0, ContinuationStage(grid_size, min(enough(grid_size), n_rows)))
        grid_size = math.ceil(grid_size / 2)
    count = enough(network.grid_size)
    while LEAST_GROWTH * count <= n_rows:
        chain.append(ContinuationStage(network.grid_size, count))
        count *= GROWTH
    return [*chain, ContinuationStage(network.grid_size, n_rows)]
