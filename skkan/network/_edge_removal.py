"""Networks without some of their edges, and without what these leave idle."""

from operator import or_
from typing import NamedTuple

import torch

from skkan.network._network import KANNetwork
from skkan.network._products import at_sums, nodes_of, partners


@torch.no_grad()
def without_edges(network, keep, x, sample_share):
    """Network without some edges, and without the nodes that they leave idle.

    Hidden nodes that no kept edge enters, or that none leaves, are removed with their
    edges, until every node lies on a path from an input to an output. Inputs that no
    edge leaves are not used any more. A removed edge between two remaining nodes is
    masked. The remaining edges of a node take up the means of its removed ones; an
    output that no edge enters is zero. A product of which a factor has no edge left
    becomes a sum: the other factor, times the mean of the lost one. Where no path is
    left, one input and one node of each layer stay without edges.

    Parameters
    ----------
    network : KANNetwork
    keep : list of Tensor of bool of shape (n_outputs, n_inputs)
        One per layer of `all_layers`.
    x : Tensor of shape (n_samples, n_features)
        Rows over which the means are taken.
    sample_share : Tensor of shape (n_samples,)
        Sample weights that sum to one.

    Returns
    -------
    network : KANNetwork
    edges : Tensor of int of shape (n_pairs,)
        Position of each edge of the new network, masked ones included, among all edges
        of the given network.
    multipliers : Tensor of shape (n_pairs,)
        By which the curves of these edges were multiplied.
    """
    has_skip, counts = network.skip is not None, network.n_multiplications
    keep = [
        kept & (layer.mask > 0)
        for kept, layer in zip(keep, network.all_layers, strict=True)
    ]
    keep = _on_paths(keep, counts, has_skip=has_skip)
    passes = network.propagate(x)[1]
    lost = [
        (step.layer.edge_mean(step.features, sample_share) * ~kept).sum(1)
        for step, kept in zip(passes, keep, strict=True)
    ]
    stds = [
        step.layer.edge_std(step.features, step.weight, sample_share) for step in passes
    ]
    if has_skip:  # the last layer and the skip enter the same nodes
        total, last = lost[-2] + lost[-1], keep[-2].any(1)
        lost[-2:] = torch.where(last, total, 0.0), torch.where(last, 0.0, total)
    layers, multipliers = [], []
    for layer, *of_layer in zip(network.all_layers, keep, lost, stds, strict=True):
        kept, mean, _ = of_layer
        multiplier = torch.ones_like(mean)
        if layer.n_multiplications:
            other = partners(len(mean), layer.n_multiplications)
            is_alone = kept.any(1)[-len(other) :] & ~kept.any(1)[other]
            multiplier[-len(other) :][is_alone] = mean[other][is_alone]
        layer = layer.without_edges(*of_layer)
        layers.append(layer.with_weight(layer.weight * multiplier.view(-1, 1, 1)))
        multipliers.append(multiplier.repeat_interleave(kept.shape[1]))
    smaller, edges = _without_idle_nodes(network.with_layers(layers))
    return smaller, edges, torch.cat(multipliers)[edges]


def _without_idle_nodes(network):
    """Network of the nodes that edges leave, and the positions of its edges."""
    leaving = [layer.mask.any(0) for layer in network.all_layers]
    if network.skip is not None:
        leaving[0] = leaving[0] | leaving.pop()
    inputs = _positions(leaving[0])
    outputs = torch.arange(network.widths[-1], device=inputs.device)
    hidden = [
        _left(layer, _positions(flags))
        for layer, flags in zip(network.layers, leaving[1:], strict=False)
    ]
    nodes = [inputs, *(each.nodes for each in hidden), inputs]  # the skip's come last
    sums = [*(each.sums for each in hidden), outputs, outputs]
    counts = [*(each.n_products for each in hidden), 0, 0]
    layers, edges, n_before = [], [], 0
    for layer, sources, targets, n_products in zip(
        network.all_layers, nodes, sums, counts, strict=False
    ):
        basis = layers[0].basis if layer is network.skip else None
        layers.append(layer.between(sources, targets, basis, n_products))
        pairs = targets.unsqueeze(1) * layer.basis.n_inputs + sources
        edges.append(n_before + pairs.flatten())
        n_before += layer.mask.numel()
    used = torch.zeros(network.n_features, dtype=torch.bool, device=nodes[0].device)
    used[network.used_features[inputs]] = True
    skip = None if network.skip is None else layers.pop()
    members = None if network.members is None else network.members[nodes[1]]
    smaller = KANNetwork(layers, skip, None if used.all() else used, members)
    return smaller, torch.cat(edges)


class _NodesLeft(NamedTuple):
    """Positions of the nodes of a hidden layer that are left, and of their sums."""

    nodes: torch.Tensor
    sums: torch.Tensor
    n_products: int


def _left(layer, nodes):
    """What is left of a layer; products that lack a factor become sums."""
    is_entered, n_products = layer.mask.any(1), layer.n_multiplications
    first = layer.n_nodes - n_products
    is_product = nodes >= first
    factor = torch.where(is_product, 2 * nodes - first, nodes)
    other = torch.where(is_product, factor + 1, factor)
    is_whole = is_product & is_entered[factor] & is_entered[other]
    alone = torch.where(is_entered[factor], factor, other)[~is_whole]
    pairs = torch.stack([factor[is_whole], other[is_whole]], dim=1).flatten()
    ordered = torch.cat([nodes[~is_whole], nodes[is_whole]])
    return _NodesLeft(ordered, torch.cat([alone, pairs]), int(is_whole.sum()))


def _on_paths(keep, counts, *, has_skip):
    """Masks of the kept edges that lie on a path from an input to an output."""
    chain = keep[:-1] if has_skip else keep
    before = -1
    while before != (before := sum(int(kept.sum()) for kept in chain)):
        for index in range(len(chain) - 1):
            entered = nodes_of(chain[index].any(1), counts[index], or_)
            alive = entered & chain[index + 1].any(0)
            chain[index] = chain[index] & at_sums(alive, counts[index]).unsqueeze(1)
            chain[index + 1] = chain[index + 1] & alive
    return chain + keep[len(chain) :]


def _positions(flags):
    """Positions of the flags that are set; the first position if none is."""
    positions = flags.nonzero().flatten()
    return positions if len(positions) else positions.new_zeros(1)
