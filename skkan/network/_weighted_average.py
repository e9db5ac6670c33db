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
    counts = [layer.n_multiplications for layer in firsts]

    def joined(of_networks, n_last):
        """Parts of all networks: sums first, then the last ones, of products."""
        sizes = zip(of_networks, n_last, strict=True)
        parts = [part.split([len(part) - size, size]) for part, size in sizes]
        return torch.cat([part for pair in zip(*parts, strict=True) for part in pair])

    factors = [2 * count for count in counts]
    inner = KANLayer(
        networks[0].layers[0].basis,
        joined([layer.weight.detach() for layer in firsts], factors),
        joined([layer.mask for layer in firsts], factors),
        sum(counts),
    )
    basis = seconds[0].basis
    of_inputs = [n.layers[1].weight.detach().transpose(0, 1) * w for n, w in deep]
    outer = KANLayer(
        basis.with_grid(joined([layer.basis.grid for layer in seconds], counts)),
        joined(of_inputs, counts).transpose(0, 1).contiguous(),
        joined([layer.mask.T for layer in seconds], counts).T.contiguous(),
    )
    numbers = enumerate(network.widths[1] for network, _ in deep)
    numbers = [torch.full((width,), number) for number, width in numbers]
    members = joined(numbers, counts).to(inner.mask.device)
    if len(deep) == 1:
        members = None
    return KANNetwork([inner, outer], skip, networks[0].used, members)
