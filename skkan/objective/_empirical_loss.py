"""The mean loss of rows in memory, as a function of the flattened weights."""

from dataclasses import replace
from functools import cached_property, partial

import torch

from skkan.numerics._threads import parallel_map, parallel_tree_sum
from skkan.objective._gauss_newton import (
    blocks_for,
    gauss_newton_sums,
    normal_equations,
    quadratic_model_of,
)
from skkan.objective._gradient_without_autograd import ForwardBackwardPass

# Basis values of the first layer are kept up to this many numbers (200 MB), since the
# inputs never change within a fit.
MAX_KEPT_FEATURES = 25_000_000
# From here on starting a thread costs little against the work for a block of rows.
MIN_PARALLEL_ROWS = 50_000
FEATURE_ROWS = 2**14  # basis values of many rows are made in such blocks, about 5 MB
PASS_ARRAYS = 16  # numbers that a pass holds for each node and row


class EmpiricalLoss:
    """Mean loss of rows in memory, as a function of the flattened weights.

    Parameters
    ----------
    network : KANNetwork
    loss : Loss
    data : Dataset
        Its weights sum to one, or to less where it is a part of all rows.
    """

    def __init__(self, network, loss, data):
        self.network, self.loss, self.data = network, loss, data
        self._full_passes = {}  # through all rows, by whether they have gradients
        self._weight_maps = None  # of all passes

    @classmethod
    def of_rows(cls, network, loss, data):
        """Loss of all rows of a Dataset, whose weights may have any sum."""
        data = data.with_weights_divided_by(data.sample_weight.sum())
        return cls(network, loss, _with_features(network, data))

    def with_network(self, network):
        """Loss of another network for the same rows."""
        data = self.data
        if network.layers[0].basis is not self.network.layers[0].basis:
            data = _with_features(network, data)
        return EmpiricalLoss(network, self.loss, data)

    def sample(self, n_rows):
        """Some of the rows, Dataset without basis values."""
        # The same numbers, in the same layout, as for rows in chunks.
        return replace(self.data.subsample(n_rows), features=None)

    @cached_property
    def _parts(self):
        """Losses of blocks of the rows, whose sum this is; None for few rows."""
        blocks = self.data.sum_blocks()
        if blocks is None:
            return None
        return [EmpiricalLoss(self.network, self.loss, block) for block in blocks]

    @torch.no_grad()
    def raw(self, theta):
        """Raw output, baseline included, Tensor of shape (n_samples, n_outputs)."""
        if self._parts:
            return torch.cat(
                parallel_map(partial(EmpiricalLoss.raw, theta=theta), self._parts)
            )

        return self._raw_of(self.data, theta)

    def _raw_of(self, data, theta):
        def output_of(block):
            return self._pass_through(block, with_gradient=False).output(theta)

        work = map if data.n_rows <= MIN_PARALLEL_ROWS else parallel_map
        return data.baseline + torch.cat(list(work(output_of, self._blocks(data))))

    def of_raw(self, raw):
        """Loss of a raw output of all rows, float."""
        return float(self.data.sample_weight @ self.loss.value(raw, self.data.target))

    def value(self, theta, rows=None):
        """Loss of the output of the network, float; see `Objective`."""
        if self._parts and rows is None:
            return self._sum_of_parts(EmpiricalLoss.value, theta)
        data = self._batch(rows)
        values = self.loss.value(self._raw_of(data, theta), data.target)
        return float(data.sample_weight @ values)

    @torch.no_grad()
    def value_and_grad(self, theta, rows=None):
        """Loss, float, and its gradient, removed edges included; see `Objective`."""
        if self._parts and rows is None:
            return unpacked(self._sum_of_parts(EmpiricalLoss.packed, theta))
        gradient, value = None, 0.0
        for block in self._blocks(self._batch(rows)):
            run = self._pass_through(block)
            raw = block.baseline + run.output(theta)
            weight = block.sample_weight
            slope = weight.unsqueeze(1) * self.loss.gradient(raw, block.target)
            of_block = run.gradient(slope)
            gradient = of_block if gradient is None else gradient.add_(of_block)
            value += float(weight @ self.loss.value(raw, block.target))
        return value, gradient

    def packed(self, theta):
        """Loss and gradient in one Tensor; see `unpacked`."""
        value, gradient = self.value_and_grad(theta)
        return torch.cat([gradient.new_tensor([value]), gradient])

    def quadratic_model(self, theta):
        """Loss, gradient and curvature, QuadraticModel."""
        if self._parts:
            sums = self._sum_of_parts(EmpiricalLoss.gauss_newton_sums, theta)
            return quadratic_model_of(self.network, self.loss, theta, sums)
        return normal_equations(self.network, self.loss, theta, self.data)

    def gauss_newton_sums(self, theta):
        """Sums over these rows, which may be a part of all, GaussNewtonSums."""
        return gauss_newton_sums(self.network, self.loss, theta, self.data)

    def with_penalties(self, theta, penalties, rows=None):
        """Loss, and penalties that depend on rows, two Tensors with a graph."""
        data = self._batch(rows)
        output, passes = self.network.propagate(
            data.X, self.network.unpacked(theta), data.features
        )
        weight = data.sample_weight
        loss = weight @ self.loss.value(data.baseline + output, data.target)
        weight = weight / weight.sum()
        penalty = sum(part.value(passes, weight) for part in penalties)
        return loss, penalty if penalties else loss.new_zeros(())

    def _sum_of_parts(self, method, theta):
        return parallel_tree_sum(partial(method, theta=theta), self._parts)

    def _blocks(self, data):
        """Blocks of rows that a pass can hold."""
        return blocks_for(data, PASS_ARRAYS * max(self.network.widths[1:]))

    def _pass_through(self, block, *, with_gradient=True):
        """Pass of the network through some rows; a pass through all rows is kept."""
        run = self._full_passes.get(with_gradient) if block is self.data else None
        if run is None:
            run = ForwardBackwardPass(
                self.network,
                block.X,
                block.features,
                with_gradient=with_gradient,
                weight_maps=self._weight_maps,
            )
            self._weight_maps = run.weight_maps
            if block is self.data:
                self._full_passes[with_gradient] = run
        return run

    def _batch(self, rows):
        """Some of the rows, with the weight of all; None stands for all rows."""
        if rows is None:
            return self.data
        batch = self.data.rows(rows)
        scale = self.data.n_rows / len(rows)
        return replace(batch, sample_weight=batch.sample_weight * scale)


@torch.no_grad()
def _with_features(network, data):
    """Dataset with basis values of the first layer, unless they are too many."""
    n_functions = network.layers[0].weight.shape[1:]
    if len(data.X) * n_functions.numel() > MAX_KEPT_FEATURES:
        return replace(data, features=None)
    basis, inputs = network.layers[0].basis, network.inputs(data.X)
    if len(inputs) <= MIN_PARALLEL_ROWS:
        return replace(data, features=basis(inputs))
    features = inputs.new_empty(len(inputs), *n_functions)
    # Made block by block, since evaluation takes several times the memory of values.
    parts = zip(inputs.split(FEATURE_ROWS), features.split(FEATURE_ROWS), strict=True)
    for part, values in parts:
        values.copy_(basis(part))
    return replace(data, features=features)


def unpacked(packed):
    """Loss, float, and gradient of a Tensor that `EmpiricalLoss.packed` returned."""
    return float(packed[0]), packed[1:].clone()
