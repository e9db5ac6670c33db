"""Rows to fit, in scaled units, in memory."""

import math
from dataclasses import dataclass
from functools import partial

import torch

from skkan.numerics import _row_blocks
from skkan.numerics._threads import added

GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, eq=False)
class Dataset:
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
        return self.rows(subsample_positions(len(self.X), n_rows).to(self.X.device))

    def sample(self, n_rows):
        """The same, in memory wherever the rows are."""
        return self.thinned(n_rows)

    def rows(self, index):
        """Some of the rows, by their positions or by a mask."""
        return Dataset(
            self.X[index], self.target[index], self.sample_weight[index], self.baseline
        )

    def output_of(self, network):
        """What a network adds to the baseline, (n_samples, n_outputs)."""
        return self._by_pieces(network)

    def _by_pieces(self, function):
        """function(X); of many rows piece by piece, as sums are."""
        if self.n_rows <= _row_blocks.MOST_ROWS:
            return function(self.X)
        return torch.cat(
            [function(self.X[rows]) for rows in _row_blocks.pieces(self.n_rows)]
        )

    def summed(self, function, most_rows):
        """Sum of function(rows) over blocks of the rows, Dataset themselves."""
        if self.n_rows > _row_blocks.MOST_ROWS:
            parts = map(self.rows, _row_blocks.pieces(self.n_rows))
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
        if self.n_rows <= _row_blocks.MOST_ROWS:
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


def subsample_positions(n_rows, n_kept):
    """Positions of the rows that `TrainingData.thinned` keeps, in their order."""
    part = torch.arange(n_kept, dtype=torch.float64)
    index = ((part + (part * GOLDEN) % 1) * (n_rows / n_kept)).long()
    return index.clamp_(max=n_rows - 1)
