"""The quadratic model of a loss around the weights of a network.

The generalised Gauss-Newton matrix is a sum over the rows, accumulated over blocks of
them, so that the Jacobian of all rows is never held.
"""

import math
from copy import copy
from typing import NamedTuple

import torch
from scipy.linalg import blas

from skkan.network._jacobian import linearise
from skkan.numerics._threads import side_by_side

# Numbers in the Jacobian of a block of rows: what caches hold, unless that is too few
# rows for a matrix product to be fast; and at most 32 MB.
CACHED_BLOCK = 2**19
ROWS_PER_PRODUCT = 512
LARGEST_BLOCK = 2**22
# Products above which the sums are made in parts, side by side. Their number is that
# of no machine, so that the rounding is the same on all.
LARGE_WORK, N_PARTS = 1e10, 4
ANCHOR = 1e3  # stiffness of anchors, relative to the largest curvature of their weights


class WeightedRows(NamedTuple):
    """WeightedRows over which a loss is averaged."""

    X: torch.Tensor  # (n_samples, n_inputs)
    target: torch.Tensor  # (n_samples, n_outputs)
    share: torch.Tensor  # (n_samples,), sums to one
    baseline: torch.Tensor  # (n_outputs,)
    features: torch.Tensor | None  # basis values of the first layer, where kept

    def blocks(self, width):
        """The rows in blocks, for work that needs `width` numbers for each."""
        size = max(ROWS_PER_PRODUCT, CACHED_BLOCK // width)
        return self._of_size(max(1, min(size, LARGEST_BLOCK // width)))

    def parts(self, count):
        """The rows in that many parts, or as many as there are rows."""
        return self._of_size(max(1, math.ceil(len(self.X) / count)))

    def _of_size(self, size):
        if size >= len(self.X):
            yield self
            return
        for start in range(0, len(self.X), size):
            yield self.part(slice(start, start + size))

    def part(self, rows):
        """Some of the rows, by a slice."""
        features = None if self.features is None else self.features[rows]
        return WeightedRows(
            self.X[rows], self.target[rows], self.share[rows], self.baseline, features
        )


class QuadraticModel(NamedTuple):
    """value + gradient^T d + d^T curvature d / 2, with a step d from a point."""

    value: float
    gradient: torch.Tensor  # (n_parameters,)
    curvature: torch.Tensor  # (n_parameters, n_parameters)
    anchors: torch.Tensor  # (n_anchors, n_parameters), directions not to step along
    bounded_value: float | None = None  # for the noise, where outliers are bounded

    def anchored_curvature(self):
        """The curvature that keeps steps from moving hidden nodes off their grids."""
        return self.curvature + self.anchors.T @ self.anchors

    def without_anchors(self):
        """The same of a network whose hidden nodes may move freely."""
        return self._replace(anchors=self.anchors[:0])


@torch.no_grad()
def normal_equations(network, loss, weights, rows):
    """Mean loss of the rows, its gradient and its generalised Gauss-Newton matrix.

    With J the derivative of the raw output with respect to the weights, and R the
    root of the Hessian of the loss with respect to the raw output, the matrix is
    sum_n share_n J_n^T R_n^T R_n J_n. Removed edges have zeros.

    Parameters
    ----------
    network : KANNetwork
    loss : Loss
    weights : list of Tensor, one per layer of `network.all_layers`
    rows : Rows

    Returns
    -------
    QuadraticModel

    References
    ----------
    N. Schraudolph, Fast Curvature Matrix-Vector Products for Second-Order Gradient
    Descent, 2002 (the generalised Gauss-Newton matrix).
    """
    work = len(rows.X) * len(rows.baseline) * network.n_parameters**2
    n_parts = N_PARTS if work > LARGE_WORK else 1
    sums = side_by_side(
        lambda part: sums_over(network, loss, weights, part), rows.parts(n_parts)
    )
    return model_of(network, loss, sum(sums[1:], sums[0]))


def model_of(network, loss, sums):
    """The model that sums over all rows amount to.

    Parameters
    ----------
    network : KANNetwork
    loss : Loss
    sums : Sums

    Returns
    -------
    QuadraticModel
    """
    value, bounded_value, gradient, curvature, moments = sums
    free = network.weight_mask
    curvature = curvature.tril()
    curvature = curvature.add_(curvature.tril(-1).T)
    if not free.all():
        gradient, curvature = gradient * free, curvature * free * free.unsqueeze(1)
    anchors = moments.anchors(curvature.diagonal())
    if not loss.is_adaptive:
        bounded_value = value
    return QuadraticModel(value, gradient, curvature, anchors, bounded_value)


class GaussNewtonSums(NamedTuple):
    """What is summed over rows; of the curvature the lower triangle."""

    value: float
    bounded_value: float
    gradient: torch.Tensor
    curvature: torch.Tensor
    moments: object

    def __add__(self, other):
        return GaussNewtonSums(*(a + b for a, b in zip(self, other, strict=True)))


@torch.no_grad()
def sums_over(network, loss, weights, rows):
    """The sums over some of the rows; arguments are those of `normal_equations`."""
    n_outputs, n_parameters = len(rows.baseline), network.n_parameters
    value, bounded_value, moments = 0.0, 0.0, _Moments(network, weights)
    gradient = weights[0].new_zeros(n_parameters)
    curvature = weights[0].new_zeros(n_parameters, n_parameters)
    own = weights_of_each_output(network, n_outputs).to(gradient.device)
    buffer = None
    for block in rows.blocks(n_outputs * n_parameters):
        line = linearise(network, weights, block.X, block.features)
        raw = block.baseline + line.output
        value += float(block.share @ loss.value(raw, block.target))
        if loss.is_adaptive:
            bounded = loss.bounded(raw, block.target).sum(1)
            bounded_value += float(block.share @ bounded)
        moments.add(line, block.share)
        slope = block.share.unsqueeze(1) * loss.gradient(raw, block.target)
        gradient[: line.n_inner] += line.inner_gradient(slope)
        gradient[own] += slope.T @ line.outer
        root = loss.curvature_root(raw, block.target)
        root = root * block.share.sqrt().view(-1, 1, 1)
        if n_outputs == 1:
            if buffer is None:
                buffer = raw.new_empty(len(raw), n_parameters)
            jacobian = buffer[: len(raw)]
            n_inner = line.n_inner
            line.inner(root, out=jacobian[:, None, :n_inner])
            torch.mul(root.squeeze(2), line.outer, out=jacobian[:, n_inner:])
            _add_square(curvature, jacobian)
        else:
            _add_of_several_outputs(curvature, line, root, own)
    return GaussNewtonSums(value, bounded_value, gradient, curvature, moments)


class _Moments:
    """How mean and variance of the hidden nodes depend on the weights before them.

    What a hidden node loses in scale the curve behind it can make up for, so that the
    loss hardly tells where to stop; but nodes that wander leave their grids, or fill
    too little of them. Steps are therefore kept from changing the first two moments.
    """

    def __init__(self, network, weights):
        hidden = [*network.layers][:-1]
        self._weights = [
            layer.packed(layer.masked(weight))
            for layer, weight in zip(hidden, weights, strict=False)
        ]
        self._free = [
            layer.packed(layer.masked(torch.ones_like(weight)))
            for layer, weight in zip(hidden, weights, strict=False)
        ]
        self._means = [weight.new_zeros(weight[0].numel()) for weight in self._weights]
        self._products = [torch.zeros_like(weight) for weight in self._weights]

    def add(self, line, share):
        """Add a block of rows."""
        for index, (features, nodes) in enumerate(
            zip(line.features, line.nodes, strict=True)
        ):
            self._means[index] += share @ features
            self._products[index] += (share.unsqueeze(1) * nodes).T @ features

    def __add__(self, other):
        total = copy(self)
        total._means, total._products = (
            [a + b for a, b in zip(own, more, strict=True)]
            for own, more in (
                (self._means, other._means),
                (self._products, other._products),
            )
        )
        return total

    def anchors(self, curvature):
        """Two directions for each node, long enough to outweigh the curvature."""
        rows, start = [], 0
        for weight, mean, product, free in zip(
            self._weights, self._means, self._products, self._free, strict=True
        ):
            node_mean = weight @ mean
            of_variances = product - node_mean.unsqueeze(1) * mean
            for of_variance, own in zip(of_variances, free, strict=True):
                end = start + len(mean)
                largest = curvature[start:end].max()
                for direction in (own * mean, own * of_variance):
                    length = direction.norm().clamp(min=1e-300)
                    row = torch.zeros_like(curvature)
                    row[start:end] = direction / length * (ANCHOR * largest).sqrt()
                    rows.append(row)
                start = end
        return torch.stack(rows) if rows else curvature.new_zeros(0, len(curvature))


def weights_of_each_output(network, n_outputs):
    """Positions of the outer weights, (n_outputs, n_outer_weights of one output)."""
    sizes = [len(layer.mask) * layer.n_weights for layer in network.all_layers]
    n_inner = sum(sizes[: len(network.layers) - 1])
    parts, start = [], n_inner
    for size in sizes[len(network.layers) - 1 :]:
        parts.append(torch.arange(start, start + size).view(n_outputs, -1))
        start += size
    return torch.cat(parts, dim=1)


def _add_square(total, rows):
    """Add rows^T rows to the lower triangle of a matrix."""
    if len(total) == 0:  # a network without hidden layers has no inner weights
        return
    if total.device.type != "cpu":
        total.addmm_(rows.T, rows)
        return
    # Half of the work of a matrix product. BLAS counts columns first, so that it sees
    # both arrays transposed.
    blas.dsyrk(1.0, rows.numpy().T, beta=1.0, c=total.numpy().T, overwrite_c=1)


def _add_of_several_outputs(curvature, line, root, own):
    """Add a block of rows to the lower triangle of the curvature."""
    n_outputs, n_inner = len(own), line.n_inner
    square = curvature[:n_inner, :n_inner].contiguous()
    _add_square(square, line.inner(root).flatten(0, 1))
    curvature[:n_inner, :n_inner] = square
    hessian = root.mT @ root
    crossed = line.inner(hessian)
    for one in range(n_outputs):
        rows = own[one].unsqueeze(1)
        curvature[rows, torch.arange(n_inner)] += line.outer.T @ crossed[:, one]
        for other in range(one + 1):
            weight = hessian[:, one, other]
            if weight.any():
                product = (weight.unsqueeze(1) * line.outer).T @ line.outer
                curvature[rows, own[other]] += product
                if other < one:  # the weights of a skip come after all others
                    curvature[own[other].unsqueeze(1), own[one]] += product.T
