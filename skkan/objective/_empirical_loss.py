"""The mean loss of rows in memory, as a function of the flattened weights."""

from functools import cached_property, partial

import torch

from skkan.numerics import _row_blocks
from skkan.numerics._threads import added_side_by_side, side_by_side
from skkan.objective._gauss_newton import (
    WeightedRows,
    model_of,
    normal_equations,
    sums_over,
)
from skkan.objective._gradient_without_autograd import ForwardBackwardPass

# Basis values of the first layer are kept up to this many numbers (200 MB), since the
# inputs never change within a fit.
LARGEST_CACHE = 25_000_000
MANY_ROWS = 50_000  # from which it pays to evaluate blocks of them side by side
FEATURE_ROWS = 2**14  # of which basis values are made at a time, where rows are many
PASS_ARRAYS = 16  # numbers that a pass holds for each node and row


class EmpiricalLoss:
    """Mean loss of rows in memory, as a function of the flattened weights.

    Parameters
    ----------
    loss : Loss
    rows : WeightedRows
    """

    def __init__(self, loss, rows):
        self._loss, self._rows = loss, rows
        self._last_runs = {}  # by whether they have gradients

    @classmethod
    def of_samples(cls, network, loss, X, target, sample_weight, baseline):
        """The loss of some samples; the other arguments are those of `Objective`."""
        share = sample_weight / sample_weight.sum()
        features = None
        if len(X) * network.weights[0][0].numel() <= LARGEST_CACHE:
            features = _features(network, X)
        return cls(loss, WeightedRows(X, target, share, baseline, features))

    def on_rows(self, network, X, target, sample_weight):
        """The same loss of other rows."""
        return EmpiricalLoss.of_samples(
            network, self._loss, X, target, sample_weight, self._rows.baseline
        )

    @property
    def features(self):
        """Basis values of the first layer, where they are kept."""
        return self._rows.features

    @property
    def n_rows(self):
        return len(self._rows.X)

    @cached_property
    def _pieces(self):
        """The same of few rows each, whose sum this is; an empty list for few rows."""
        if self.n_rows <= _row_blocks.MOST_ROWS:
            return []
        return [
            EmpiricalLoss(self._loss, self._rows.part(rows))
            for rows in _row_blocks.pieces(self.n_rows)
        ]

    @torch.no_grad()
    def raw(self, network, theta):
        """Raw output, baseline included, Tensor of shape (n_samples, n_outputs)."""
        if self._pieces:
            work = partial(EmpiricalLoss.raw, network=network, theta=theta)
            return torch.cat(side_by_side(work, self._pieces))

        def output_of(block):
            return self._pass_through(network, block, with_gradient=False).output(theta)

        blocks = self._rows.blocks(_width_of_pass(network))
        work = map if self.n_rows <= MANY_ROWS else side_by_side
        return self._rows.baseline + torch.cat(list(work(output_of, blocks)))

    def of_raw(self, raw):
        """Loss of a raw output of all rows, float."""
        return float(self._rows.share @ self._loss.value(raw, self._rows.target))

    def value(self, network, theta):
        """Loss of the output of a network, float."""
        if self._pieces:
            work = partial(EmpiricalLoss.value, network=network, theta=theta)
            return added_side_by_side(work, self._pieces)
        return self.of_raw(self.raw(network, theta))

    @torch.no_grad()
    def value_and_grad(self, network, theta, rows=None):
        """Loss, float, and its gradient, removed edges included; see `Objective`."""
        if self._pieces and rows is None:
            work = partial(EmpiricalLoss.packed, network=network, theta=theta)
            return unpacked(added_side_by_side(work, self._pieces))
        gradient, value = 0.0, 0.0
        for block in self._batch(rows).blocks(_width_of_pass(network)):
            run = self._pass_through(network, block)
            raw = block.baseline + run.output(theta)
            slope = block.share.unsqueeze(1) * self._loss.gradient(raw, block.target)
            gradient = gradient + run.gradient(slope)
            value += float(block.share @ self._loss.value(raw, block.target))
        return value, gradient

    def _pass_through(self, network, block, *, with_gradient=True):
        """The pass of a network through some rows; that through all is kept."""
        make = partial(
            ForwardBackwardPass,
            network,
            block.X,
            block.features,
            with_gradient=with_gradient,
        )
        if block is not self._rows:
            return make()
        last_network, run = self._last_runs.get(with_gradient, (None, None))
        if last_network is not network:
            run = make()
            self._last_runs[with_gradient] = network, run
        return run

    def packed(self, network, theta):
        """Loss and gradient in one Tensor; see `unpacked`."""
        value, gradient = self.value_and_grad(network, theta)
        return torch.cat([gradient.new_tensor([value]), gradient])

    def quadratic_model(self, network, theta):
        """Loss, gradient and curvature, QuadraticModel."""
        if self._pieces:
            work = partial(EmpiricalLoss.sums, network=network, theta=theta)
            sums = added_side_by_side(work, self._pieces)
            return model_of(network, self._loss, sums)
        return normal_equations(
            network, self._loss, network.unpacked(theta), self._rows
        )

    def sums(self, network, theta):
        """What these rows, as some of many, add to the quadratic model of all, Sums."""
        weights = network.unpacked(theta)
        return sums_over(network, self._loss, weights, self._rows)

    def with_penalties(self, network, theta, penalties, rows):
        """Loss and penalties that depend on rows, two Tensors with a graph."""
        X, target, share, baseline, features = self._batch(rows)
        output, passes = network.propagate(X, network.unpacked(theta), features)
        loss = share @ self._loss.value(baseline + output, target)
        share = share / share.sum()
        penalty = sum(part.value(passes, share) for part in penalties)
        return loss, penalty if penalties else loss.new_zeros(())

    def _batch(self, rows):
        """Some of the rows (None: all), whose shares make up for the others."""
        if rows is None:
            return self._rows
        X, target, share, baseline, features = self._rows
        features = None if features is None else features[rows]
        share = share[rows] * (self.n_rows / len(rows))
        return WeightedRows(X[rows], target[rows], share, baseline, features)


@torch.no_grad()
def _features(network, X):
    """Basis values of the first layer, made block by block to spare memory."""
    basis, inputs = network.layers[0].basis, network.inputs(X)
    if len(inputs) <= MANY_ROWS:
        return basis(inputs)
    parts = inputs.split(FEATURE_ROWS)
    features = inputs.new_empty(len(inputs), *network.weights[0].shape[1:])
    for part, room in zip(parts, features.split(FEATURE_ROWS), strict=True):
        room.copy_(basis(part))
    return features


def unpacked(packed):
    """Loss, float, and gradient."""
    return float(packed[0]), packed[1:].clone()


def _width_of_pass(network):
    """Numbers that a pass holds for each row."""
    return PASS_ARRAYS * max(network.widths[1:])
