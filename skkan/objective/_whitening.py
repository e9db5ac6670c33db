"""Coordinates in which an objective is nearly round: whitened weights.

The weights of an edge are whitened by the curvature of the objective along them alone,
that of the other edges left out. The curvature of the penalty spans twelve orders of
magnitude on fine grids. In whitened weights the number of steps of a first-order solver
does not depend on grids or scales, and a gradient tells how far a minimum is.
"""

import torch

from skkan.network._jacobian import linearise
from skkan.penalties._eigen_directions import EdgeKinds

# Rows from which curvatures are taken, for each basis function of an input and in all.
# They say where steps go, not where they end.
ROWS_PER_FUNCTION, MIN_ROWS, MAX_ROWS = 2**4, 2**9, 2**12
MAX_VALUES = 2**24  # basis values of these rows, 128 MB
# Numbers in the matrices of all edges, 8 MB, which caches hold. Above, the curvatures
# of the directions of an edge stand for its matrix: a problem then takes up to twice as
# many steps.
MAX_MATRIX_NUMBERS = 2**20
FACTOR_RIDGE = 1e-12  # on the unit diagonal of a scaled matrix that is factored


class Whitening:
    """The map from whitened weights to weights, one matrix for each edge.

    Parameters
    ----------
    kinds : list of EdgeKind
    roots : list of Tensor
        For the edges of each kind a matrix R with R R^T the inverse of their curvature,
        (n_edges, n_functions, n_functions); or a factor for each of the directions of
        the kind, (n_edges, n_functions).
    """

    def __init__(self, kinds, roots):
        # Arrays are all numpy's, whose calls are the shortest, or all torch's.
        self._uses_numpy = roots[0].is_cpu
        self._parts = [
            tuple(map(self._array, (kind.members, kind.vectors, root)))
            for kind, root in zip(kinds, roots, strict=True)
        ]

    def _array(self, tensor):
        return tensor.numpy() if self._uses_numpy else tensor

    def weights(self, whitened):
        """R v, the step in the weights that belongs to a step v in whitened ones."""
        step = torch.empty_like(whitened)
        values, result = self._array(whitened), self._array(step)
        for members, vectors, root in self._parts:
            own = values[members]
            if root.ndim == 2:
                result[members] = (root * own) @ vectors.T
            else:
                result[members] = (root @ own[..., None])[..., 0]
        return step

    def gradient(self, gradient):
        """R^T g, the gradient with respect to whitened weights."""
        whitened = torch.empty_like(gradient)
        values, result = self._array(gradient), self._array(whitened)
        for members, vectors, root in self._parts:
            own = values[members]
            if root.ndim == 2:
                result[members] = root * (own @ vectors)
            else:
                result[members] = (root.mT @ own[..., None])[..., 0]
        return whitened


def n_sample_rows(network):
    """Number of rows from which the curvatures of a network are taken."""
    n_values = sum(layer.n_weights for layer in network.layers)
    n_functions = max(layer.basis.n_functions for layer in network.layers)
    n_rows = max(MIN_ROWS, min(ROWS_PER_FUNCTION * n_functions, MAX_ROWS))
    return max(1, min(n_rows, MAX_VALUES // n_values))


@torch.no_grad()
def whitening(network, loss, theta, data, forms):
    """Whitening for the weights of a network.

    The curvature of the loss along the weights of an edge is the Gram matrix of the
    basis functions of its input, times the mean curvature of the loss along the node
    that it leads to. One row more is spread over all functions, so that those without
    rows have a scale.

    Parameters
    ----------
    network : KANNetwork
    loss : Loss
    theta : Tensor of shape (n_parameters,)
    data : Dataset
        Weights of the rows may have any sum.
    forms : list of QuadraticForm
        Penalties of the weights of the network.

    Returns
    -------
    Whitening
    """
    share = data.sample_weight / data.sample_weight.sum()
    features, curvatures = _features_and_curvatures(network, loss, theta, data, share)
    edges = EdgeKinds.of(network.all_layers)
    n_numbers = sum(kind.vectors.numel() * len(kind.edges) for kind in edges.kinds)
    is_full = n_numbers <= MAX_MATRIX_NUMBERS
    blocks, start = [[] for _ in edges.kinds], 0
    for layer, values, of_nodes in zip(
        network.all_layers, features, curvatures, strict=True
    ):
        inputs = slice(start, start + layer.mask.shape[1])
        numbers, sizes = edges.numbers[inputs], edges.sizes[inputs]
        for number in numbers.unique().tolist():
            vectors, own = edges.kinds[number].vectors, values
            is_own = (numbers == number).repeat_interleave(sizes)
            if not is_own.all():
                own = values[:, is_own.nonzero().flatten().to(values.device)]
            own = own.unflatten(1, (-1, len(vectors))).transpose(0, 1)
            gram = _gram(own, share, vectors, is_full=is_full)
            scale = of_nodes.view(-1, *[1] * gram.ndim)
            blocks[number].append((scale * gram).flatten(0, 1))
        start += layer.mask.numel()
    roots = []
    for number, (kind, parts) in enumerate(zip(edges.kinds, blocks, strict=True)):
        curvature = torch.cat(parts)
        along = curvature if curvature.ndim == 2 else curvature.diagonal(dim1=1, dim2=2)
        along += along.mean(1, keepdim=True) / len(share)
        for form in forms:
            along += form.curvatures[number]
        roots.append(_root(curvature, along, kind.vectors))
    return Whitening(edges.kinds, roots)


def _features_and_curvatures(network, loss, theta, data, share):
    """What the curvatures of the edges are made of, for each of `all_layers`.

    Returns
    -------
    features : list of Tensor of shape (n_samples, n_weights of one node)
        Basis values.
    curvatures : list of Tensor of shape (n_nodes,)
        Mean curvature of the loss along each node.
    """
    line = linearise(network, network.unpacked(theta), data.X, data.features)
    root = loss.curvature_root(data.baseline + line.output, data.target)
    n_last = network.layers[-1].n_weights
    features = [*line.features, line.outer[:, :n_last]]
    along_nodes = [root @ sensitivity for sensitivity in line.sensitivities] + [root]
    if network.skip is not None:
        features.append(line.outer[:, n_last:])
        along_nodes.append(root)
    curvatures = [
        torch.einsum("n,nrj->j", share, along.square()) for along in along_nodes
    ]
    return features, curvatures


def _gram(values, share, vectors, *, is_full):
    """Mean products of functions along some directions.

    Parameters
    ----------
    values : Tensor of shape (n_inputs, n_samples, n_functions)
    share : Tensor of shape (n_samples,)
        Weights of the rows.
    vectors : Tensor of shape (n_functions, n_functions)
        The directions.
    is_full : bool

    Returns
    -------
    Tensor of shape (n_inputs, n_functions, n_functions)
        Its diagonal, (n_inputs, n_functions), unless `is_full`.
    """
    weighted = share.unsqueeze(1) * values
    gram = weighted.mT @ values
    if is_full:
        return vectors.T @ gram @ vectors
    return ((gram @ vectors) * vectors).sum(1)


def _root(curvature, along, vectors):
    """Roots of the inverse curvatures of some edges; see `Whitening`.

    Parameters
    ----------
    curvature : Tensor of shape (n_edges, n_functions, n_functions)
        Along the directions; or its diagonal, (n_edges, n_functions).
    along : Tensor of shape (n_edges, n_functions)
        Its diagonal.
    vectors : Tensor of shape (n_functions, n_functions)
        The directions.
    """
    scale = along.rsqrt()
    # Nothing depends on what has no curvature.
    scale = torch.where(torch.isfinite(scale), scale, 1.0)
    if curvature.ndim == 2:
        return scale
    matrix = scale.unsqueeze(2) * curvature * scale.unsqueeze(1)
    matrix.diagonal(dim1=1, dim2=2).fill_(1 + FACTOR_RIDGE)
    factor, info = torch.linalg.cholesky_ex(matrix)
    if info.any():  # numbers that are not finite
        return scale
    return vectors @ torch.linalg.solve_triangular(
        factor.mT, torch.diag_embed(scale), upper=True, left=False
    )
