"""The quadratic model of a loss around the weights of a network.

The generalised Gauss-Newton matrix is a sum over blocks of rows, so that the Jacobian
of all rows is never held.
"""

import math
from copy import copy
from functools import partial
from typing import NamedTuple

import torch
from scipy.linalg import blas

from skkan.network._jacobian import linearise
from skkan.numerics._threads import parallel_map

# Numbers in the Jacobian of a block of rows: 4 MB, what caches hold, unless that is
# too few rows for a matrix product to be fast; and at most 32 MB.
CACHED_NUMBERS = 2**19
MIN_BLOCK_ROWS = 512
MAX_BLOCK_NUMBERS = 2**22
# Sums of more multiplications, about a second's work, are made in parts by several
# threads. The number of parts does not depend on the machine, so that the rounding is
# the same everywhere.
MIN_PARALLEL_WORK, N_PARALLEL_PARTS = 1e10, 4
# Stiffness of a gauge constraint relative to the largest curvature of its weights. A
# step then moves a node by about a thousandth of a free step.
GAUGE_STIFFNESS = 1e3


def blocks_for(data, width):
    """Blocks of the rows of a Dataset, for work that needs `width` numbers for each."""
    size = max(MIN_BLOCK_ROWS, CACHED_NUMBERS // width)
    return data.blocks(max(1, min(size, MAX_BLOCK_NUMBERS // width)))


class QuadraticModel(NamedTuple):
    """value + gradient^T d + d^T curvature d / 2, with a step d from a point.

    Shift and scale of a hidden node are not identified: the curves behind it can make
    up for both. The gauge constraints fix them softly.
    """

    value: float
    gradient: torch.Tensor  # (n_parameters,)
    curvature: torch.Tensor  # (n_parameters, n_parameters)
    gauge_constraints: torch.Tensor  # (n_constraints, n_parameters), for a zero product
    bounded_value: float | None = None  # for the noise, where outliers are bounded

    def constrained_curvature(self):
        """The curvature with the squares of the gauge constraints added."""
        return self.curvature + self.gauge_constraints.T @ self.gauge_constraints

    def without_gauge_constraints(self):
        """The model of a network whose hidden nodes may move freely."""
        return self._replace(gauge_constraints=self.gauge_constraints[:0])


@torch.no_grad()
def normal_equations(network, loss, weights, data):
    """Mean loss of the rows, its gradient and its generalised Gauss-Newton matrix.

    With J the derivative of the raw output with respect to the weights, and R the
    root of the Hessian of the loss with respect to the raw output, the matrix is
    sum_n weight_n J_n^T R_n^T R_n J_n. Removed edges have zeros.

    Parameters
    ----------
    network : KANNetwork
    loss : Loss
    weights : list of Tensor, one per layer of `network.all_layers`
    data : Dataset
        Its sample weights sum to one.

    Returns
    -------
    QuadraticModel

    References
    ----------
    N. Schraudolph, Fast Curvature Matrix-Vector Products for Second-Order Gradient
    Descent, 2002 (the generalised Gauss-Newton matrix).
    """
    sums_of = partial(gauss_newton_sums, network, loss, weights)
    work = data.n_rows * len(data.baseline) * network.n_parameters**2
    if work <= MIN_PARALLEL_WORK:
        return quadratic_model_of(network, loss, sums_of(data))
    parts = data.blocks(math.ceil(data.n_rows / N_PARALLEL_PARTS))
    sums = parallel_map(sums_of, parts)
    return quadratic_model_of(network, loss, sum(sums[1:], sums[0]))


class GaussNewtonSums(NamedTuple):
    """Sums over rows that make a QuadraticModel.

    Of the curvature only the lower triangle counts.
    """

    value: float
    bounded_value: float
    gradient: torch.Tensor
    curvature: torch.Tensor
    moments: object  # NodeMomentSums

    def __add__(self, other):
        return GaussNewtonSums(*(a + b for a, b in zip(self, other, strict=True)))


def quadratic_model_of(network, loss, sums):
    """QuadraticModel of the GaussNewtonSums over all rows."""
    value, bounded_value, gradient, curvature, moments = sums
    exists = network.weight_mask
    curvature = curvature.tril()
    curvature = curvature.add_(curvature.tril(-1).T)
    if not exists.all():
        gradient, curvature = gradient * exists, curvature * exists * exists[:, None]
    constraints = moments.gauge_constraints(curvature.diagonal())
    if not loss.is_adaptive:
        bounded_value = value
    return QuadraticModel(value, gradient, curvature, constraints, bounded_value)


@torch.no_grad()
def gauss_newton_sums(network, loss, weights, data):
    """GaussNewtonSums over some rows; the arguments are as for `normal_equations`."""
    n_outputs, n_parameters = len(data.baseline), network.n_parameters
    value, bounded_value, moments = 0.0, 0.0, NodeMomentSums(network, weights)
    gradient = weights[0].new_zeros(n_parameters)
    curvature = weights[0].new_zeros(n_parameters, n_parameters)
    own = weights_of_each_output(network, n_outputs).to(gradient.device)
    buffer = None
    for block in blocks_for(data, n_outputs * n_parameters):
        target, share = block.target, block.sample_weight
        line = linearise(network, weights, block.X, block.features)
        raw = block.baseline + line.output
        value += float(share @ loss.value(raw, target))
        if loss.is_adaptive:
            bounded_value += float(share @ loss.bounded(raw, target).sum(1))
        moments.add(line, share)
        slope = share.unsqueeze(1) * loss.gradient(raw, target)
        gradient[: line.n_inner] += line.inner_gradient(slope)
        gradient[own] += slope.T @ line.outer
        root = loss.curvature_root(raw, target) * share.sqrt().view(-1, 1, 1)
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


class NodeMomentSums:
    """Derivatives of mean and variance of the hidden nodes, as sums over rows.

    Shift and scale of a hidden node are not identified, so that the loss hardly changes
    with them. But nodes that wander leave their grids or fill too little of them. The
    gauge constraints keep steps from changing the first two moments.
    """

    def __init__(self, network, weights):
        hidden = [*network.layers][:-1]
        self._weights = [
            layer.packed(layer.masked(weight))
            for layer, weight in zip(hidden, weights, strict=False)
        ]
        self._exists = [
            layer.packed(layer.masked(torch.ones_like(weight)))
            for layer, weight in zip(hidden, weights, strict=False)
        ]
        self._means = [weight.new_zeros(weight[0].numel()) for weight in self._weights]
        self._products = [torch.zeros_like(weight) for weight in self._weights]

    def add(self, line, share):
        """Add a block of rows, given their linearisation and their weights."""
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

    def gauge_constraints(self, curvature):
        """Two directions for each node, long enough to outweigh the curvature.

        Parameters
        ----------
        curvature : Tensor of shape (n_parameters,)
            Diagonal of the Gauss-Newton matrix.

        Returns
        -------
        Tensor of shape (2 * n_nodes, n_parameters)
        """
        rows, start = [], 0
        for weight, mean, product, exists in zip(
            self._weights, self._means, self._products, self._exists, strict=True
        ):
            node_mean = weight @ mean
            of_variances = product - node_mean.unsqueeze(1) * mean
            for of_variance, own in zip(of_variances, exists, strict=True):
                end = start + len(mean)
                largest = curvature[start:end].max()
                for direction in (own * mean, own * of_variance):
                    length = direction.norm().clamp(min=1e-300)
                    row = torch.zeros_like(curvature)
                    stiffness = (GAUGE_STIFFNESS * largest).sqrt()
                    row[start:end] = direction / length * stiffness
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
    # It is half of the work of a matrix product. BLAS counts columns first, so that it
    # sees both arrays transposed.
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
