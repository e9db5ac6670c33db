"""The quadratic model of a loss around the weights of a network.

The generalised Gauss-Newton matrix is a sum over blocks of rows, so that the Jacobian
of all rows is never held.
"""

import math
from functools import partial
from typing import NamedTuple

import torch
from scipy.linalg import blas

from skkan.network._jacobian import linearise, outer_weight_positions
from skkan.numerics._floating_point import SMALLEST_DIVISOR
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
MIRRORED_ROWS = 128  # at a time; their columns stay in a cache


def blocks_for(data, width):
    """Blocks of the rows of a Dataset, for work that needs `width` numbers for each."""
    size = max(MIN_BLOCK_ROWS, CACHED_NUMBERS // width)
    return data.blocks(max(1, min(size, MAX_BLOCK_NUMBERS // width)))


class QuadraticModel(NamedTuple):
    """value + gradient^T d + d^T curvature d / 2, with a step d from a point.

    Shift and scale of a hidden node are not identified: the curves behind it can make
    up for both, and a factor of a product for the scale of the other. The gauge
    constraints fix them softly.
    """

    value: float
    gradient: torch.Tensor  # (n_parameters,)
    curvature: torch.Tensor  # (n_parameters, n_parameters)
    gauge_constraints: torch.Tensor  # (n_constraints, n_parameters), for a zero product
    bounded_value: float | None = None  # for the noise, where outliers are bounded

    def constrained_curvature(self):
        """The curvature with the squares of the gauge constraints added."""
        if len(self.gauge_constraints) == 0:
            return self.curvature
        return self.curvature + self.gauge_constraints.T @ self.gauge_constraints

    def without_gauge_constraints(self):
        """The model of a network whose hidden nodes may move freely."""
        return self._replace(gauge_constraints=self.gauge_constraints[:0])


@torch.no_grad()
def normal_equations(network, loss, theta, data):
    """Mean loss of the rows, its gradient and its generalised Gauss-Newton matrix.

    With J the derivative of the raw output with respect to the weights, and R the
    root of the Hessian of the loss with respect to the raw output, the matrix is
    sum_n weight_n J_n^T R_n^T R_n J_n. Removed edges have zeros.

    Parameters
    ----------
    network : KANNetwork
    loss : Loss
    theta : Tensor of shape (n_parameters,)
        Weights of the network.
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
    sums_of = partial(gauss_newton_sums, network, loss, theta)
    work = data.n_rows * len(data.baseline) * network.n_parameters**2
    if work <= MIN_PARALLEL_WORK:
        return quadratic_model_of(network, loss, theta, sums_of(data))
    parts = data.blocks(math.ceil(data.n_rows / N_PARALLEL_PARTS))
    sums = parallel_map(sums_of, parts)
    return quadratic_model_of(network, loss, theta, sum(sums[1:], sums[0]))


class GaussNewtonSums(NamedTuple):
    """Sums over rows that make a QuadraticModel."""

    value: float
    bounded_value: float
    gradient: torch.Tensor  # (n_parameters,)
    curvature: torch.Tensor  # (n_parameters, n_parameters), the lower triangle counts
    node_moments: torch.Tensor  # see `_node_moments`

    def __add__(self, other):
        return GaussNewtonSums(*(a + b for a, b in zip(self, other, strict=True)))


def quadratic_model_of(network, loss, theta, sums):
    """QuadraticModel of the GaussNewtonSums over all rows."""
    value, bounded_value, gradient, curvature, moments = sums
    exists = network.weight_mask
    curvature = _symmetric(curvature)
    if not exists.all():
        gradient, curvature = gradient * exists, curvature * exists * exists[:, None]
    constraints = _gauge_constraints(
        network, theta * exists, exists, moments, curvature.diagonal()
    )
    if not loss.is_adaptive:
        bounded_value = value
    return QuadraticModel(value, gradient, curvature, constraints, bounded_value)


@torch.no_grad()
def gauss_newton_sums(network, loss, theta, data):
    """GaussNewtonSums over some rows; the arguments are as for `normal_equations`."""
    n_outputs, n_parameters = len(data.baseline), network.n_parameters
    weights = network.unpacked(theta)
    value, bounded_value, moments, buffer = 0.0, 0.0, 0.0, None
    gradient = theta.new_zeros(n_parameters)
    curvature = theta.new_zeros(n_parameters, n_parameters)
    own = outer_weight_positions(network)
    for block in blocks_for(data, n_outputs * n_parameters):
        target, weight = block.target, block.sample_weight
        line = linearise(network, weights, block.X, block.features)
        raw = block.baseline + line.output
        value += float(weight @ loss.value(raw, target))
        if loss.is_adaptive:
            bounded_value += float(weight @ loss.bounded(raw, target).sum(1))
        moments = moments + _node_moments(line, weight)
        slope = weight.unsqueeze(1) * loss.gradient(raw, target)
        gradient[: line.n_inner] += line.inner_gradient(slope)
        gradient[own.to(theta.device)] += slope.T @ line.outer
        root = loss.curvature_root(raw, target) * weight.sqrt().view(-1, 1, 1)
        if n_outputs == 1:
            if buffer is None:
                buffer = raw.new_empty(len(raw), n_parameters)
            jacobian = buffer[: len(raw)]
            n_inner = line.n_inner
            line.inner(root, out=jacobian[:, None, :n_inner])
            torch.mul(root.squeeze(2), line.outer, out=jacobian[:, n_inner:])
            _add_square(curvature, jacobian)
        else:
            _add_of_several_outputs(curvature, line, root)
    curvature = _in_order_of_weights(curvature, own)
    return GaussNewtonSums(value, bounded_value, gradient, curvature, moments)


def _node_moments(line, weight):
    """Weighted sums over rows that the moments of the hidden nodes depend on.

    Parameters
    ----------
    line : Linearisation
    weight : Tensor of shape (n_samples,)
        Weights of the rows.

    Returns
    -------
    Tensor of shape (n_sums,)
        For each hidden layer the means of the basis values that enter one node, then
        for each of its nodes, or factors of products, the means of their products with
        it.
    """
    sums = [weight.new_zeros(0)]
    for features, of_layer in zip(line.features, line.sums, strict=True):
        products = (weight.unsqueeze(1) * of_layer).T @ features
        sums += [weight @ features, products.flatten()]
    return torch.cat(sums)


def _gauge_constraints(network, theta, exists, moments, curvature):
    """Stiff directions along which mean and variance of the hidden nodes change.

    Shift and scale of a hidden node are not identified, so that the loss hardly changes
    with them. But nodes that wander leave their grids or fill too little of them. The
    gauge constraints keep steps from changing the first two moments. Of the factors of
    a product only the scales are not identified, and the constraints keep their mean
    squares.

    Parameters
    ----------
    network : KANNetwork
    theta : Tensor of shape (n_parameters,)
        Weights, zero for removed edges.
    exists : Tensor of shape (n_parameters,)
        1 for each weight of an edge, 0 where that is removed.
    moments : Tensor of shape (n_sums,)
        Sum of `_node_moments` over all rows.
    curvature : Tensor of shape (n_parameters,)
        Diagonal of the Gauss-Newton matrix.

    Returns
    -------
    Tensor of shape (n_constraints, n_parameters)
        Two for each sum, one for each factor.
    """
    rows, start = [], 0
    for layer in list(network.layers)[:-1]:
        size = layer.n_weights
        of_layer = slice(start, start + len(layer.weight) * size)
        n_sums = size + of_layer.stop - start
        sums, moments = moments[:n_sums], moments[n_sums:]
        mean, products = sums[:size], sums[size:].view(-1, size)
        node_mean = theta[of_layer].view(-1, size) @ mean
        of_variances = products - node_mean.unsqueeze(1) * mean
        n_plain = len(products) - 2 * layer.n_multiplications
        for index, of_variance in enumerate(of_variances):
            own = slice(start, start + size)
            stiffness = (GAUGE_STIFFNESS * curvature[own].max()).sqrt()
            directions = mean, of_variance
            if index >= n_plain:
                directions = (products[index],)
            for direction in directions:
                direction = exists[own] * direction
                length = direction.norm().clamp(min=SMALLEST_DIVISOR)
                row = torch.zeros_like(curvature)
                row[own] = direction / length * stiffness
                rows.append(row)
            start = own.stop
    return torch.stack(rows) if rows else curvature.new_zeros(0, len(curvature))


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


def _symmetric(lower):
    """The symmetric matrix with the lower triangle of a given one.

    A few rows at a time, as whole triangles would be copied several times.
    """
    for start in range(0, len(lower), MIRRORED_ROWS):
        own = slice(start, start + MIRRORED_ROWS)
        block = lower[own, own]
        block.copy_(block.tril().add_(block.tril(-1).T))
        if start:
            lower[:start, own] = lower[own, :start].T
    return lower


def _add_of_several_outputs(curvature, line, root):
    """Add a block of rows to the lower triangle of the curvature.

    After the inner weights stand all outer weights of the first output, then those of
    the next one.
    """
    n_outputs, n_inner = line.output.shape[1], line.n_inner
    square = curvature[:n_inner, :n_inner].contiguous()
    _add_square(square, line.inner(root).flatten(0, 1))
    curvature[:n_inner, :n_inner] = square
    hessian = root.mT @ root
    crossed = line.inner(hessian)
    of_outer = curvature[n_inner:, n_inner:].unflatten(0, (n_outputs, -1))
    of_outer = of_outer.unflatten(2, (n_outputs, -1))
    of_both = curvature[n_inner:, :n_inner].unflatten(0, (n_outputs, -1))
    for one in range(n_outputs):
        if n_inner:
            of_both[one] += line.outer.T @ crossed[:, one]
        # With labels no output depends on another one.
        first = 0 if hessian[:, one, :one].any() else one
        weight = hessian[:, one, first : one + 1]
        weighted = (weight.unsqueeze(2) * line.outer.unsqueeze(1)).flatten(1)
        product = (line.outer.T @ weighted).unflatten(1, (weight.shape[1], -1))
        of_outer[one, :, first : one + 1] += product


def _in_order_of_weights(curvature, own):
    """The curvature with outer weights where they stand, instead of by outputs."""
    order = own.flatten().argsort()  # the weights of a skip come after all others
    if (order.diff() == 1).all():
        return curvature
    n_inner = len(curvature) - len(order)
    order = torch.cat([torch.arange(n_inner), n_inner + order]).to(curvature.device)
    return _symmetric(curvature)[order][:, order]
