"""Rows to fit, in scaled units, in memory."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from skkan.numerics import _row_blocks

# Multiples of the golden ratio, modulo 1, are spread more evenly than those of any
# other number.
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows to fit, in scaled units, with the raw output to start from."""

    X: torch.Tensor  # (n_samples, n_features)
    target: torch.Tensor  # (n_samples, n_outputs)
    sample_weight: torch.Tensor  # (n_samples,)
    baseline: torch.Tensor  # (n_outputs,)
    # Basis values of the first layer, (n_samples, n_inputs, n_functions), where kept.
    features: torch.Tensor | None = None
    # Observations that each row stands for, (n_samples,); None for one each.
    counts: torch.Tensor | None = None

    in_chunks: ClassVar[bool] = False

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
    def missing_pattern(self):
        """Rows that show which columns have missing cells, and which have no others.

        Returns
        -------
        Tensor of shape (n_rows, n_features)
            NaN where a cell is missing.
        """
        return self.X

    @property
    def n_observations(self):
        """Number of observations, the sum of the weights; see `effective_weights`."""
        return float(self.sample_weight.sum())

    def subsample(self, n_rows):
        """One row of each of `n_rows` equal parts; all rows if there are no more.

        Multiples of the golden ratio say which row of its part, so that rows which
        repeat in any rhythm are met evenly.
        """
        if n_rows >= len(self.X):
            return self
        return self.rows(subsample_positions(len(self.X), n_rows).to(self.X.device))

    def sample(self, n_rows):
        """Subsample in memory, of a DaskDataset as well."""
        return self.subsample(n_rows)

    def rows(self, index):
        """Some of the rows, by their positions, a slice or a mask."""
        return Dataset(
            self.X[index],
            self.target[index],
            self.sample_weight[index],
            self.baseline,
            None if self.features is None else self.features[index],
            None if self.counts is None else self.counts[index],
        )

    def with_weights_divided_by(self, total):
        """Dataset whose weights are shares of a total weight."""
        return replace(self, sample_weight=self.sample_weight / total)

    def blocks(self, n_rows):
        """Consecutive blocks of at most `n_rows` rows; itself if that is one block."""
        if n_rows >= len(self.X):
            yield self
            return
        for start in range(0, len(self.X), n_rows):
            yield self.rows(slice(start, start + n_rows))

    def sum_blocks(self):
        """The blocks that sums over many rows are made of; None for few rows."""
        if self.n_rows <= _row_blocks.SINGLE_BLOCK_ROWS:
            return None
        return [self.rows(rows) for rows in _row_blocks.row_blocks(self.n_rows)]

    def map_rows(self, function):
        """function(X) for all rows, made block by block of many rows.

        Parameters
        ----------
        function : callable
            Maps X, a Tensor of shape (n_samples, n_features), to a Tensor with a row
            for each sample. It can be pickled.
        """
        blocks = self.sum_blocks()
        if blocks is None:
            return function(self.X)
        return torch.cat([function(block.X) for block in blocks])

    def summed(self, function, max_rows):
        """Sum of function(rows) over blocks of the rows.

        Parameters
        ----------
        function : callable
            Maps a Dataset of at most `max_rows` rows to a Tensor or a number.
        max_rows : int
        """
        blocks = self.sum_blocks()
        if blocks is not None:
            return _row_blocks.tree_sum(
                block.summed(function, max_rows) for block in blocks
            )
        total = 0.0
        for block in self.blocks(max_rows):
            total = total + function(block)
        return total


def subsample_positions(n_rows, n_kept):
    """Positions of the rows that `Dataset.subsample` keeps, in their order."""
    part = torch.arange(n_kept, dtype=torch.float64)
    index = ((part + (part * GOLDEN_RATIO) % 1) * (n_rows / n_kept)).long()
    return index.clamp_(max=n_rows - 1)
