"""Training on rows that stay in chunks on a cluster.

Weights go out and sums come back. The target and the sample weights are on this
machine, too, in 8 bytes a number; so are raw outputs where a whole distribution is
asked for. Rows of X come here if they are few.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from skkan import _rows
from skkan._basis import BSplineBasis
from skkan._normal_equations import Rows, model_of
from skkan._objective import LossOfRows
from skkan._plan import TrainingData, thinning


class ChunkedData:
    """What `TrainingData` is, with rows in chunks.

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
            self._cluster.placed([part[rows].numpy() for rows in X.slices()])
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
        """The rows that `TrainingData.thinned` has; they come here if they are few."""
        if n_rows >= self.n_rows:
            return self
        if n_rows > _rows.MOST_ROWS:
            return self.rows(thinning(self.n_rows, n_rows))
        return self.sample(n_rows)

    def sample(self, n_rows):
        """The same, on this machine, where they stay."""
        n_rows = min(n_rows, self.n_rows)
        if n_rows not in self._few:
            self._few[n_rows] = self._brought(thinning(self.n_rows, n_rows))
        return self._few[n_rows]

    def rows(self, index):
        """Some of the rows, by their positions in order."""
        return ChunkedData(
            self._X[index.numpy()],
            self.target[index],
            self.sample_weight[index],
            self.baseline,
        )

    def _brought(self, index):
        """Some of the rows on this machine, TrainingData."""
        places = self._X.places(index.numpy())
        tasks = [
            self._cluster.task(np.take, part, place, 0)
            for part, place in zip(self._X.parts, places, strict=True)
            if len(place)
        ]
        X = np.concatenate(self._cluster.results(tasks))
        return TrainingData(
            torch.from_numpy(X),
            self.target[index],
            self.sample_weight[index],
            self.baseline,
        )

    def loss_of_rows(self, network, loss):
        """Mean loss of the rows, as a function of the weights of a network."""
        return LossOfChunks(loss, self)

    def mapped(self, function):
        """List of function(rows), with TrainingData, for each chunk."""
        return self._cluster.results(self._tasks(function))

    def total(self, function):
        """Sum of function(rows) over the chunks."""
        return self._cluster.total(self._tasks(function))

    def summed(self, function, most_rows):
        """As for `TrainingData`."""
        return self.total(partial(_summed, function, most_rows))

    def output_of(self, network):
        """What a network adds to the baseline, (n_samples, n_outputs)."""
        return torch.cat(self.mapped(partial(_output, network)))

    def with_means_in(self, network):
        """A network in which missing cells count as the mean of these rows."""
        basis = network.layers[0].basis
        if isinstance(basis, BSplineBasis):
            return network
        sums = self.total(partial(_sums_of_known, network))
        return network.with_means_from(sums)

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

    def _tasks(self, function):
        of_chunk = self._cluster.shared(_OfChunk(function, self.baseline))
        return [self._cluster.task(_applied, of_chunk, part) for part in self._parts]


class LossOfChunks:
    """What `LossOfRows` is, for rows in chunks; mini-batches aside.

    Parameters
    ----------
    loss : Loss
    data : ChunkedData
    """

    def __init__(self, loss, data):
        self._loss, self._data = loss, data

    def on_rows(self, network, X, target, sample_weight):
        """The same loss of other rows, which are in memory."""
        return LossOfRows.of_samples(
            network, self._loss, X, target, sample_weight, self._data.baseline
        )

    @property
    def n_rows(self):
        return self._data.n_rows

    def raw(self, network, theta):
        """Raw output, baseline included, Tensor of shape (n_samples, n_outputs)."""
        return torch.cat(self._data.mapped(self._part("raw", network, theta)))

    def of_raw(self, raw):
        """Loss of a raw output of all rows, float."""
        weight = self._data.sample_weight
        return float(weight @ self._loss.value(raw, self._data.target) / weight.sum())

    def value(self, network, theta):
        """Loss of the output of a network, float."""
        return self._data.total(self._part("value", network, theta))

    def value_and_grad(self, network, theta, rows=None):
        """Loss, float, and its gradient, removed edges included."""
        both = self._data.total(self._part("value_and_grad", network, theta))
        return float(both[0]), both[1:].clone()

    def quadratic_model(self, network, theta):
        """Loss, gradient and curvature, QuadraticModel."""
        sums = self._data.total(self._part("sums", network, theta))
        return model_of(network, self._loss, sums)

    def _part(self, what, network, theta):
        total = self._data.sample_weight.sum()
        return _PartOfLoss(what, self._loss, network, theta.detach().clone(), total)


@dataclass(frozen=True, eq=False)
class _PartOfLoss:
    """What one chunk adds to the loss of all."""

    what: str
    loss: object
    network: torch.nn.Module
    theta: torch.Tensor
    total: torch.Tensor  # sum of all weights

    def __call__(self, data):
        share = data.sample_weight / self.total
        rows = Rows(data.X, data.target, share, data.baseline, None)
        loss = LossOfRows(self.loss, rows)
        if self.what == "raw":
            return loss.raw(self.network, self.theta)
        if self.what == "value":
            return loss.value(self.network, self.theta)
        if self.what == "sums":
            return loss.sums(self.network, self.theta)
        value, gradient = loss.value_and_grad(self.network, self.theta)
        return torch.cat([gradient.new_tensor([value]), gradient])


@dataclass(frozen=True, eq=False)
class _OfChunk:
    """A function of rows, as one of a chunk."""

    function: object
    baseline: torch.Tensor

    def __call__(self, chunk):
        with torch.no_grad():
            return self.function(TrainingData(*map(_tensor, chunk), self.baseline))


def _tensor(part):
    # What came from elsewhere may be for reading only, which torch does not know.
    return torch.from_numpy(part if part.flags.writeable else part.copy())


def _as_chunk(*parts):
    return parts


def _applied(function, chunk):
    return function(chunk)


def _summed(function, most_rows, data):
    return data.summed(function, most_rows)


def _output(network, data):
    return network(data.X)


def _first_nodes(network, data):
    return network.layers[0](network.inputs(data.X))


def _sums_of_known(network, data):
    inputs = network.inputs(data.X)
    return network.layers[0].basis.sums_of_known(inputs, data.sample_weight)


def _missing_cells(data):
    return data.X.isnan().sum(0)
