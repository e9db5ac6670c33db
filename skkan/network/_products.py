"""Nodes that multiply: from the sums of a layer to its nodes, and back by derivatives.

The sums of a layer stand in the last dimension, n plain ones and 2 m factors. Its nodes
are the n sums, then the m products of two consecutive factors each. Arrays are numpy's
or torch's.
"""

from operator import mul

import numpy as np
import torch


def nodes_of(sums, n_products, join=mul):
    """Nodes of the sums of a layer.

    Parameters
    ----------
    sums : array of shape (..., n + 2 m)
    n_products : int
        The number m.
    join : callable, default=operator.mul
        What becomes of two factors.

    Returns
    -------
    array of shape (..., n + m)
        The sums themselves if there are no products.
    """
    if n_products == 0:
        return sums
    first = sums.shape[-1] - 2 * n_products
    products = join(sums[..., first::2], sums[..., first + 1 :: 2])
    concatenate = torch.cat if isinstance(sums, torch.Tensor) else np.concatenate
    return concatenate([sums[..., :first], products], -1)


def at_sums(of_nodes, n_products):
    """A value of each node at each of its sums.

    Parameters
    ----------
    of_nodes : array of shape (..., n + m)

    Returns
    -------
    array of shape (..., n + 2 m)
    """
    if n_products == 0:
        return of_nodes
    return of_nodes[..., owners(of_nodes.shape[-1], n_products)]


def by_sums(slope, sums, n_products):
    """Derivative with respect to the sums of a layer, from that by its nodes.

    Parameters
    ----------
    slope : array of shape (..., n + m)
    sums : array of shape (..., n + 2 m)

    Returns
    -------
    array of shape (..., n + 2 m)
    """
    if n_products == 0:
        return slope
    slope, first = at_sums(slope, n_products), sums.shape[-1] - 2 * n_products
    slope[..., first:] *= sums[..., partners(sums.shape[-1], n_products)]
    return slope


def owners(n_nodes, n_products):
    """Position of the node of each sum, list of int."""
    first = n_nodes - n_products
    pairs = [node for node in range(first, n_nodes) for _ in range(2)]
    return [*range(first), *pairs]


def partners(n_sums, n_products):
    """Position of the other factor of each factor, list of int."""
    firsts = range(n_sums - 2 * n_products, n_sums, 2)
    return [place for first in firsts for place in (first + 1, first)]
