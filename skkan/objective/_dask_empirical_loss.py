"""The mean loss of rows in dask chunks: weights go out, sums come back."""

from dataclasses import replace
from functools import partial

import torch

from skkan.data._dask_dataset import as_tensor
from skkan.objective._empirical_loss import MAX_KEPT_FEATURES, EmpiricalLoss, unpacked
from skkan.objective._gauss_newton import quadratic_model_of


class DaskEmpiricalLoss:
    """Mean loss of rows in chunks, with the methods of `EmpiricalLoss`.

    There are no mini-batches and no penalties that depend on rows.

    Parameters
    ----------
    network : KANNetwork
    loss : Loss
    data : DaskDataset
    features : list of dask.delayed.Delayed, default=None
        Basis values of the first layer for each chunk, where they are kept.
    """

    def __init__(self, network, loss, data, features=None):
        self.network, self.loss, self._data = network, loss, data
        self._features = features

    @classmethod
    def of_rows(cls, network, loss, data):
        """Loss of all rows; basis values are kept as in `EmpiricalLoss`."""
        features = None
        if data.n_rows * network.layers[0].weight[0].numel() <= MAX_KEPT_FEATURES:
            features = data.kept(partial(_features, network))
        return cls(network, loss, data, features)

    def with_network(self, network):
        """Loss of another network for the same rows."""
        if network.layers[0].basis is not self.network.layers[0].basis:
            return DaskEmpiricalLoss.of_rows(network, self.loss, self._data)
        return DaskEmpiricalLoss(network, self.loss, self._data, self._features)

    def sample(self, n_rows):
        """Some of the rows in memory, as `EmpiricalLoss.sample`."""
        total = self._data.sample_weight.sum()
        return self._data.sample(n_rows).with_weights_divided_by(total)

    def raw(self, theta):
        """Raw output, baseline included, Tensor of shape (n_samples, n_outputs)."""
        function = self._chunk_function(EmpiricalLoss.raw, theta)
        return torch.cat(self._data.results(function, self._features))

    def of_raw(self, raw):
        """Loss of a raw output of all rows, float."""
        weight = self._data.sample_weight
        return float(weight @ self.loss.value(raw, self._data.target) / weight.sum())

    def value(self, theta, rows=None):
        """Loss of the output of the network, float."""
        return self._total(EmpiricalLoss.value, theta)

    def value_and_grad(self, theta, rows=None):
        """Loss, float, and its gradient, removed edges included."""
        return unpacked(self._total(EmpiricalLoss.packed, theta))

    def quadratic_model(self, theta):
        """Loss, gradient and curvature, QuadraticModel."""
        sums = self._total(EmpiricalLoss.gauss_newton_sums, theta)
        return quadratic_model_of(self.network, self.loss, theta, sums)

    def _total(self, method, theta):
        return self._data.total(self._chunk_function(method, theta), self._features)

    def _chunk_function(self, method, theta):
        total = self._data.sample_weight.sum()
        theta = theta.detach().clone()
        return partial(_of_chunk, method, self.network, self.loss, theta, total)


def _of_chunk(method, network, loss, theta, total_weight, data, features=None):
    """A method of `EmpiricalLoss` for the rows of one chunk."""
    data = data.with_weights_divided_by(total_weight)
    if features is not None:
        data = replace(data, features=as_tensor(features))
    return method(EmpiricalLoss(network, loss, data), theta)


def _features(network, data):
    return network.layers[0].basis(network.inputs(data.X)).numpy()
