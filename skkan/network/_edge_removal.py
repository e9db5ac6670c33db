"""Networks without some of their edges, and without what these leave idle."""

from itertools import pairwise

import torch

from skkan.network._network import KANNetwork


@torch.no_grad()
def without_edges(network, keep, x, sample_share):
    """Network without some edges, and without the nodes that they leave idle.

    Hidden nodes that no kept edge enters, or that none leaves, are removed with their
    edges, until every node lies on a path from an input to an output. Inputs that no
    edge leaves are not used any more. A removed edge between two remaining nodes is
    masked. The remaining edges of a node take up the means of its removed ones; an
    output that no edge enters is zero. Where no path is left, one input and one node of
    each layer stay without edges.

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
    """
    has_skip = network.skip is not None
    keep = [
        kept & (layer.mask > 0)
        for kept, layer in zip(keep, network.all_layers, strict=True)
    ]
    keep = _on_paths(keep, has_skip=has_skip)
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
    masked = network.with_layers(
        [
            layer.without_edges(*of_layer)
            for layer, *of_layer in zip(
                network.all_layers, keep, lost, stds, strict=True
            )
        ]
    )
    return _without_idle_nodes(masked)


def _without_idle_nodes(network):
    """Network of the nodes that edges leave, and the positions of its edges."""
    leaving = [layer.mask.any(0) for layer in network.all_layers]
    if network.skip is not None:
        leaving[0] = leaving[0] | leaving.pop()
    nodes = [_positions(flags) for flags in leaving]
    nodes.append(torch.arange(network.widths[-1], device=nodes[0].device))
    ends = [*pairwise(nodes), (nodes[0], nodes[-1])]
    layers, edges, n_before = [], [], 0
    for layer, (sources, targets) in zip(network.all_layers, ends, strict=False):
        basis = layers[0].basis if layer is network.skip else None
        layers.append(layer.between(sources, targets, basis))
        pairs = targets.unsqueeze(1) * layer.basis.n_inputs + sources
        edges.append(n_before + pairs.flatten())
        n_before += layer.mask.numel()
    used = torch.zeros(network.n_features, dtype=torch.bool, device=nodes[0].device)
    used[network.used_features[nodes[0]]] = True
    skip = None if network.skip is None else layers.pop()
    members = None if network.members is None else network.members[nodes[1]]
    smaller = KANNetwork(layers, skip, None if used.all() else used, members)
    return smaller, torch.cat(edges)


def _on_paths(keep, *, has_skip):
    """Masks of the kept edges that lie on a path from an input to an output."""
    chain = keep[:-1] if has_skip else keep
    before = -1
    while before != (before := sum(int(kept.sum()) for kept in chain)):
        for index in range(len(chain) - 1):
            alive = chain[index].any(1) & chain[index + 1].any(0)
            chain[index] = chain[index] & alive.unsqueeze(1)
            chain[index + 1] = chain[index + 1] & alive
    return chain + keep[len(chain) :]


def _positions(flags):
    """Positions of the flags that are set; the first position if none is."""
    positions = flags.nonzero().flatten()
    return positions if len(positions) else positions.new_zeros(1)
