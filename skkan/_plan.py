"""What a training is asked to do: the data, the plan, and the function to minimise."""

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch

from skkan import _rows
from skkan._losses import Loss
from skkan._objective import LossOfRows, Objective
from skkan._threads import added
from skkan.solvers import Solver

COARSEST = 4  # intervals of the grids on which second-order training may begin
FEWEST_ROWS, ROWS_PER_PARAMETER = 1000, 4  # of a network on its first grids
GOLDEN = (math.sqrt(5) - 1) / 2
GROWTH, LEAST_GROWTH = 4, 2  # of the rows, on the last grids


@dataclass(frozen=True)
class TrainingPlan:
    """How to fit: what is minimised, by what, and on which grids."""

    loss: Loss
    penalties: tuple
    solver: Solver
    grid_sizes: tuple  # one stage each, not decreasing
    n_grid_updates: int  # of the hidden layers, in the first half of each stage
    grid_eps: float
    max_iter: int  # of each stage
    tol: float
    hidden_margin: float = 0.0  # of the grids of hidden layers, in shares of the range
    learns_alpha: bool = False  # by evidence, instead of the penalties
    judged: bool = False  # whether rows held out have set the penalties


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Rows to fit, in scaled units, with the raw output to start from."""

    X: torch.Tensor  # (n_samples, n_features)
    target: torch.Tensor  # (n_samples, n_outputs)
    sample_weight: torch.Tensor  # (n_samples,)
    baseline: torch.Tensor  # (n_outputs,)

    @property
    def n_rows(self):
        return len(self.X)

    @property
    def n_features(self):
        return self.X.shape[1]

    @property
    def has_gaps(self):
        """Whether a cell of X is missing."""
        return bool(self.X.isnan().any())

    @property
    def n_observations(self):
        """Number of rows, where weights count as repetitions."""
        return float(self.sample_weight.sum())

    def thinned(self, n_rows):
        """One row of each of `n_rows` equal parts; all rows if there are no more.

        Multiples of the golden ratio say which row of its part, so that rows which
        repeat in any rhythm are met evenly.
        """
        if n_rows >= len(self.X):
            return self
        return self.rows(thinning(len(self.X), n_rows).to(self.X.device))

    def sample(self, n_rows):
        """The same, in memory wherever the rows are."""
        return self.thinned(n_rows)

    def rows(self, index):
        """Some of the rows, by their positions or by a mask."""
        return TrainingData(
            self.X[index], self.target[index], self.sample_weight[index], self.baseline
        )

    def loss_of_rows(self, network, loss):
        """Mean loss of the rows, as a function of the weights of a network."""
        rows = (self.X, self.target, self.sample_weight, self.baseline)
        return LossOfRows.of_samples(network, loss, *rows)

    def output_of(self, network):
        """What a network adds to the baseline, (n_samples, n_outputs)."""
        return self._by_pieces(network)

    def _by_pieces(self, function):
        """function(X); of many rows piece by piece, as sums are."""
        if self.n_rows <= _rows.MOST_ROWS:
            return function(self.X)
        return torch.cat([function(self.X[rows]) for rows in _rows.pieces(self.n_rows)])

    def summed(self, function, most_rows):
        """Sum of function(rows) over blocks of the rows, TrainingData themselves."""
        if self.n_rows > _rows.MOST_ROWS:
            parts = map(self.rows, _rows.pieces(self.n_rows))
            return added(part.summed(function, most_rows) for part in parts)
        total = 0.0
        for start in range(0, len(self.X), most_rows):
            total = total + function(self.rows(slice(start, start + most_rows)))
        return total

    def with_means_in(self, network):
        """A network in which missing cells count as the mean of these rows."""
        return with_means_of(self, network)

    def with_missing_in(self, network):
        """A network with a value at "missing" for all inputs that have such cells."""
        return network.with_missing_of(self.X)

    def with_hidden_grids_in(self, network, grid_eps):
        """A network with grids of its hidden layers that fit these rows."""
        settings = {"grid_eps": grid_eps, "sample_weight": self.sample_weight}
        if self.n_rows <= _rows.MOST_ROWS:
            return network.with_grids_from_samples(self.X, hidden_only=True, **settings)
        nodes = self._by_pieces(network.first_nodes)
        return network.with_hidden_grids(nodes, margin=0.0, **settings)


def with_means_of(data, network):
    """A network in which missing cells count as the mean of the rows of data."""
    if not network.takes_missing:
        return network
    return network.with_means_from(
        data.summed(partial(_sums_of_known, network), data.n_rows)
    )


def _sums_of_known(network, rows):
    return network.sums_of_known(rows.X, rows.sample_weight)


def thinning(n_rows, n_kept):
    """Positions of the rows that `TrainingData.thinned` keeps, in their order."""
    part = torch.arange(n_kept, dtype=torch.float64)
    index = ((part + (part * GOLDEN) % 1) * (n_rows / n_kept)).long()
    return index.clamp_(max=n_rows - 1)


class Level(NamedTuple):
    """A part of a second-order training, with some of the rows."""

    grid_size: int
    n_rows: int


def levels(network, n_rows):
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
    list of Level
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
        chain.insert(0, Level(grid_size, min(enough(grid_size), n_rows)))
        grid_size = math.ceil(grid_size / 2)
    count = enough(network.grid_size)
    while LEAST_GROWTH * count <= n_rows:
        chain.append(Level(network.grid_size, count))
        count *= GROWTH
    return [*chain, Level(network.grid_size, n_rows)]


def make_objective(network, data, plan):
    """What a solver minimises to fit a network to the data."""
    rows = data.loss_of_rows(network, plan.loss)
    return Objective.of_loss(network, plan.penalties, rows)
