"""Rows to fit that stay in chunks on a cluster.

Functions of rows go to the chunks, and their results come back. The target and the
sample weights are on this machine, too, in 8 bytes a number. Rows of X come here if
they are few.
"""

from functools import partial

import torch

from skkan.data._dataset import Dataset, subsample_positions
from skkan.numerics import _row_blocks


class DaskDataset:
    """Rows to fit in chunks, with the interface of `Dataset`.

    Parameters
    ----------
    X : Chunks
        Scaled rows.
    target : Tensor of shape (n_samples, n_outputs)
    sample_weight : Tensor of shape (n_samples,)
    baseline : Tensor of shape (n_outputs,)
    """

    in_chunks = True

    def __init__(self, X, target, sample_weight, baseline):
        self._X, self._cluster = X, X.cluster
        self.target, self.sample_weight = target, sample_weight
        self.baseline = baseline
        self.n_rows, self.n_features = X.shape
        self._samples = {}  # subsamples on this machine, by their number of rows
        of_chunks = [
            self._cluster.placed([part[rows].numpy() for rows in X.slices])
            for part in (target, sample_weight)
        ]
        self._parts = self._cluster.kept(
            [
                self._cluster.task(_as_chunk, *chunk)
                for chunk in zip(X.parts, *of_chunks, strict=True)
            ]
        )

    @property
    def n_observations(self):
        """Number of rows, where weights count as repetitions."""
        return float(self.sample_weight.sum())

    @property
    def has_gaps(self):
        """Whether a cell of X is missing."""
        return bool(self.missing_pattern.isnan().any())

    @property
    def missing_pattern(self):
        """Two rows that show which cells are missing; see `Dataset.missing_pattern`.

        The first has a missing cell in every column with any, the second in every
        column with no other.
        """
        counts = self.total(_missing_cells)
        is_missing = torch.stack([counts > 0, counts == self.n_rows])
        return torch.where(is_missing, torch.nan, 0.0).to(self.target)

    def subsample(self, n_rows):
        """The rows of `Dataset.subsample`; few rows come to this machine."""
        if n_rows >= self.n_rows:
            return self
        if n_rows > _row_blocks.SINGLE_BLOCK_ROWS:
            return self.rows(subsample_positions(self.n_rows, n_rows))
        return self.sample(n_rows)

    def sample(self, n_rows):
        """Subsample on this machine, where it is kept for the next call."""
        n_rows = min(n_rows, self.n_rows)
        if n_rows not in self._samples:
            index = subsample_positions(self.n_rows, n_rows)
            self._samples[n_rows] = Dataset(
                as_tensor(self._X.rows(index.numpy())),
                self.target[index],
                self.sample_weight[index],
                self.baseline,
            )
        return self._samples[n_rows]

    def rows(self, index):
        """Some of the rows, by their positions in order."""
        return DaskDataset(
            self._X[index.numpy()],
            self.target[index],
            self.sample_weight[index],
            self.baseline,
        )

    def kept(self, function):
        """List of function(rows) for each chunk, whose results stay on the cluster."""
        return self._cluster.kept(self._tasks(function))

    def results(self, function, kept=None):
        """List of function(rows) for each chunk.

        Parameters
        ----------
        function : callable
            Takes a Dataset and, if `kept` is given, its element for the chunk.
        kept : list, default=None
            What the method `kept` returned.
        """
        return self._cluster.results(self._tasks(function, kept))

    def total(self, function, kept=None):
        """Sum of function(rows) over the chunks; the arguments are as for `results`."""
        return self._cluster.total(self._tasks(function, kept))

    def map_rows(self, function):
        """function(X) for all rows, as for `Dataset`."""
        return torch.cat(self.results(partial(_of_inputs, function)))

    def summed(self, function, max_rows):
        """Sum of function(rows) over blocks of the rows, as for `Dataset`."""
        return self.total(partial(_summed, function, max_rows))

    def _tasks(self, function, kept=None):
        of_chunk = self._cluster.shared(partial(_of_chunk, function, self.baseline))
        parts = [self._parts] if kept is None else [self._parts, kept]
        return [
            self._cluster.task(_applied, of_chunk, *part)
            for part in zip(*parts, strict=True)
        ]


@torch.no_grad()
def _of_chunk(function, baseline, chunk, *kept):
    """A function of a Dataset, for the arrays of a chunk."""
    return function(Dataset(*map(as_tensor, chunk), baseline), *kept)


def as_tensor(part):
    """Tensor of an array that may have come from another process."""
    # Such arrays may be read-only, which torch does not support.
    return torch.from_numpy(part if part.flags.writeable else part.copy())


def _as_chunk(*parts):
    return parts


def _applied(function, *chunk):
    return function(*chunk)


def _summed(function, max_rows, data):
    return data.summed(function, max_rows)


def _of_inputs(function, data):
    return function(data.X)


def _missing_cells(data):
    return data.X.isnan().sum(0)
