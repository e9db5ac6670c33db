"""The weighted mean of networks as one network."""

import torch

from skkan.network._layer import KANLayer
from skkan.network._network import KANNetwork


def weighted_average(networks, weights):
    """One network whose output is the weighted sum of the outputs of several.

    The hidden nodes of all networks form one layer, whose nodes know from which network
    they come. The edges that enter the outputs
    are multiplied by the weights. Networks without hidden nodes become part of the
    skip.

    Parameters
    ----------
    networks : sequence of KANNetwork
        With at most one hidden layer, and with inputs and their grids in common.
    weights : sequence of float
        Weight of each network, for a mean such that they sum to one.

    Returns
    -------
    KANNetwork
    """
    pairs = list(zip(networks, weights, strict=True))
    deep = [(n, weight) for n, weight in pairs if len(n.layers) > 1]
    direct = [(n.layers[0], weight) for n, weight in pairs if len(n.layers) == 1]
    direct += [(n.skip, weight) for n, weight in deep if n.skip is not None]
    skip = None
    if direct:
        terms = [layer.masked(layer.weight.detach()) * w for layer, w in direct]
        mask = torch.stack([layer.mask for layer, _ in direct]).amax(0)
        skip = KANLayer(networks[0].layers[0].basis, sum(terms), mask)
    if not deep:
        return KANNetwork([skip], None, networks[0].used)
    firsts, seconds = zip(*(network.layers for network, _ in deep), strict=True)
    inner = KANLayer(
        networks[0].layers[0].basis,
        torch.cat([layer.weight.detach() for layer in firsts]),
        torch.cat([layer.mask for layer in firsts]),
    )
    basis = seconds[0].basis
    outer = KANLayer(
        basis.with_grid(torch.cat([layer.basis.grid for layer in seconds])),
        torch.cat([n.layers[1].weight.detach() * weight for n, weight in deep], 1),
        torch.cat([layer.mask for layer in seconds], dim=1),
    )
    counts = torch.tensor([network.widths[1] for network, _ in deep])
    members = torch.repeat_interleave(counts).to(inner.mask.device)
    if len(deep) == 1:
        members = None
    return KANNetwork([inner, outer], skip, networks[0].used, members)
