"""Rows to fit that stay in chunks on a cluster.

Functions of rows go out and their results come back. The target and the sample weights
are on this machine, too, in 8 bytes a number. Rows of X come here if they are few.
"""

from dataclasses import dataclass
from functools import partial

import torch

from skkan.data._dataset import Dataset, subsample_positions, with_means_of
from skkan.numerics import _row_blocks


class DaskDataset:
    """What `Dataset` is, with rows in chunks.

    Parameters
    ----------
    X : Chunks
        Scaled rows.
    target : Tensor of shape (n_samples, n_outputs)
    sample_weight : Tensor of shape (n_samples,)
    baseline : Tensor of shape (n_outputs,)
    """

    def __init__(self, X, target, sample_weight, baseline):
        self._X, self._cluster = X, X.cluster
        self.target, self.sample_weight = target, sample_weight
        self.baseline = baseline
        self.n_rows, self.n_features = X.shape
        self._few = {}  # thinned rows that are here, by their number
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
        return bool(self._missing().any())

    def thinned(self, n_rows):
        """The rows that `Dataset.thinned` has; they come here if they are few."""
        if n_rows >= self.n_rows:
            return self
        if n_rows > _row_blocks.MOST_ROWS:
            return self.rows(subsample_positions(self.n_rows, n_rows))
        return self.sample(n_rows)

    def sample(self, n_rows):
        """The same, on this machine, where they stay."""
        n_rows = min(n_rows, self.n_rows)
        if n_rows not in self._few:
            self._few[n_rows] = self._brought(subsample_positions(self.n_rows, n_rows))
        return self._few[n_rows]

    def rows(self, index):
        """Some of the rows, by their positions in order."""
        return DaskDataset(
            self._X[index.numpy()],
            self.target[index],
            self.sample_weight[index],
            self.baseline,
        )

    def _brought(self, index):
        """Some of the rows on this machine, Dataset."""
        return Dataset(
            as_tensor(self._X.rows(index.numpy())),
            self.target[index],
            self.sample_weight[index],
            self.baseline,
        )

    def kept(self, function):
        """function(rows) for each chunk, which stays where it is made."""
        return self._cluster.kept(self._tasks(function))

    def mapped(self, function, beside=None):
        """List of function(rows), with Dataset, for each chunk.

        What lies `beside` the chunks, as `kept` returned it, is a further argument.
        """
        return self._cluster.results(self._tasks(function, beside))

    def total(self, function, beside=None):
        """Sum of the same over the chunks."""
        return self._cluster.total(self._tasks(function, beside))

    def summed(self, function, most_rows):
        """As for `Dataset`."""
        return self.total(partial(_summed, function, most_rows))

    def output_of(self, network):
        """What a network adds to the baseline, (n_samples, n_outputs)."""
        return torch.cat(self.mapped(partial(_output, network)))

    def with_means_in(self, network):
        """A network in which missing cells count as the mean of these rows."""
        return with_means_of(self, network)

    def with_missing_in(self, network):
        """A network with a value at "missing" for all inputs that have such cells."""
        # As good as all rows are one that lacks what any of them lacks, and another.
        some = torch.where(self._missing(), torch.nan, 0.0).to(self.target)
        return network.with_missing_of(some)

    def with_hidden_grids_in(self, network, grid_eps):
        """A network with grids of its hidden layers that fit these rows.

        What the first layer makes of them comes here, since grids are quantiles.
        """
        return network.with_hidden_grids(
            torch.cat(self.mapped(partial(_first_nodes, network))),
            grid_eps=grid_eps,
            margin=0.0,
            sample_weight=self.sample_weight,
        )

    def _missing(self):
        """Whether any, and whether every, cell of a column is missing, (2, n)."""
        counts = self.total(_missing_cells)
        return torch.stack([counts > 0, counts == self.n_rows])

    def _tasks(self, function, beside=None):
        of_chunk = self._cluster.shared(_OfChunk(function, self.baseline))
        parts = [self._parts] if beside is None else [self._parts, beside]
        return [
            self._cluster.task(_applied, of_chunk, *part)
            for part in zip(*parts, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class _OfChunk:
    """A function of rows, as one of a chunk."""

    function: object
    baseline: torch.Tensor

    def __call__(self, chunk, *beside):
        data = Dataset(*map(as_tensor, chunk), self.baseline)
        with torch.no_grad():
            return self.function(data, *beside)


def as_tensor(part):
    # What came from elsewhere may be for reading only, which torch does not know.
    return torch.from_numpy(part if part.flags.writeable else part.copy())


def _as_chunk(*parts):
    return parts


def _applied(function, *chunk):
    return function(*chunk)


def _summed(function, most_rows, data):
    return data.summed(function, most_rows)


def _output(network, data):
    return network(data.X)


def _first_nodes(network, data):
    return network.first_nodes(data.X)


def _missing_cells(data):
    return data.X.isnan().sum(0)
