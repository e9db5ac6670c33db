"""The mean loss of rows that stay in chunks: weights go out, sums come back."""

from dataclasses import dataclass
from functools import partial

import torch

from skkan.data._dask_dataset import as_tensor
from skkan.objective._empirical_loss import LARGEST_CACHE, EmpiricalLoss, unpacked
from skkan.objective._gauss_newton import WeightedRows, model_of


class DaskEmpiricalLoss:
    """What `EmpiricalLoss` is, for rows in chunks; mini-batches aside.

    Parameters
    ----------
    loss : Loss
    data : ChunkedData
    features : list of dask.delayed.Delayed, default=None
        Basis values of the first layer beside each chunk, where they are kept.
    """

    def __init__(self, loss, data, features=None):
        self._loss, self._data, self._features = loss, data, features

    @classmethod
    def of_samples(cls, network, loss, data):
        """The loss of all rows, which keeps basis values as `EmpiricalLoss` does."""
        features = None
        if data.n_rows * network.weights[0][0].numel() <= LARGEST_CACHE:
            features = data.kept(partial(_features, network))
        return cls(loss, data, features)

    def on_rows(self, network, X, target, sample_weight):
        """The same loss of other rows, which are in memory."""
        return EmpiricalLoss.of_samples(
            network, self._loss, X, target, sample_weight, self._data.baseline
        )

    @property
    def n_rows(self):
        return self._data.n_rows

    def raw(self, network, theta):
        """Raw output, baseline included, Tensor of shape (n_samples, n_outputs)."""
        return torch.cat(
            self._data.mapped(
                self._part(EmpiricalLoss.raw, network, theta), self._features
            )
        )

    def of_raw(self, raw):
        """Loss of a raw output of all rows, float."""
        weight = self._data.sample_weight
        return float(weight @ self._loss.value(raw, self._data.target) / weight.sum())

    def value(self, network, theta):
        """Loss of the output of a network, float."""
        return self._total(EmpiricalLoss.value, network, theta)

    def value_and_grad(self, network, theta, rows=None):
        """Loss, float, and its gradient, removed edges included."""
        return unpacked(self._total(EmpiricalLoss.packed, network, theta))

    def quadratic_model(self, network, theta):
        """Loss, gradient and curvature, QuadraticModel."""
        sums = self._total(EmpiricalLoss.sums, network, theta)
        return model_of(network, self._loss, sums)

    def _total(self, method, network, theta):
        return self._data.total(self._part(method, network, theta), self._features)

    def _part(self, method, network, theta):
        total = self._data.sample_weight.sum()
        return _PartOfLoss(method, self._loss, network, theta.detach().clone(), total)


@dataclass(frozen=True, eq=False)
class _PartOfLoss:
    """What one chunk adds to the loss of all."""

    method: object  # of EmpiricalLoss
    loss: object
    network: torch.nn.Module
    theta: torch.Tensor
    total: torch.Tensor  # sum of all weights

    def __call__(self, data, features=None):
        share = data.sample_weight / self.total
        features = None if features is None else as_tensor(features)
        rows = WeightedRows(data.X, data.target, share, data.baseline, features)
        return self.method(EmpiricalLoss(self.loss, rows), self.network, self.theta)


def _features(network, data):
    return network.layers[0].basis(network.inputs(data.X)).numpy()
