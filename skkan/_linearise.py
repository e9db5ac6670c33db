"""The derivative of a network's output with respect to its weights.

The output is linear in the weights of the last layer and of the skip layer, and every
output has its own copy of those; all other weights are shared by the outputs. The two
parts are kept apart, since the first has no dimension for the outputs. Masks are left
to the caller: derivatives with respect to removed edges are given like all others.
"""

from typing import NamedTuple

import torch


class Linearised(NamedTuple):
    """Output of a network and its derivative with respect to all weights.

    The weights of a network are ordered as in `KANNetwork.weights`: first the inner
    ones, those of all layers but the last, then those of the last and the skip layer.
    """

    output: torch.Tensor  # (n_samples, n_outputs)
    inner: torch.Tensor  # (n_samples, n_outputs, n_inner_weights)
    outer: torch.Tensor  # (n_samples, n_outer_weights of one output)
    hidden: list  # per hidden layer: basis values (n, i f) and nodes (n, o)


@torch.no_grad()
def linearise(network, weights, x, features=None):
    """Output and derivative, layer by layer.

    With the sensitivities d_oj of output o to node j of a layer, the derivative with
    respect to the weight of its basis function f on the edge from input i is
    d_oj B_if; the sensitivities of the layer below follow by the chain rule,
    d_oi = sum_j d_oj phi'_ji.

    Parameters
    ----------
    network : KANNetwork
    weights : list of Tensor
        One weight per layer of `network.all_layers`.
    x : Tensor of shape (n_samples, n_inputs)
    features : Tensor of shape (n_samples, n_inputs, n_functions), default=None
        Basis values of the first layer, where the caller keeps them.

    Returns
    -------
    Linearised
    """
    all_features, slopes, nodes, inputs = [], [], [], x
    for layer, weight in zip(network.layers, weights, strict=False):
        slope = None
        if features is None:
            features, slope = layer.basis.values_and_derivatives(
                inputs, with_derivatives=layer is not network.layers[0]
            )
        all_features.append(features)
        slopes.append(slope)
        inputs, features = layer.combine(features, weight), None
        nodes.append(inputs)
    output = inputs
    outer = all_features[-1].flatten(1)
    if network.skip is not None:
        output = output + network.skip.combine(all_features[0], weights[-1])
        outer = torch.cat([outer, all_features[0].flatten(1)], dim=1)
    n_samples, n_outputs = output.shape
    blocks, sensitivity = [], None
    for index in range(len(network.layers) - 1, 0, -1):
        weight = network.layers[index].masked(weights[index])
        slope = torch.einsum("nif,oif->noi", slopes[index], weight)
        sensitivity = slope if sensitivity is None else sensitivity @ slope
        below = all_features[index - 1].flatten(1)
        block = sensitivity.unsqueeze(-1) * below[:, None, None, :]
        blocks.append(block.flatten(2))
    inner = x.new_zeros(n_samples, n_outputs, 0)
    if blocks:
        inner = torch.cat(blocks[::-1], dim=2)
    hidden = [
        (values.flatten(1), node)
        for values, node in zip(all_features[:-1], nodes[:-1], strict=True)
    ]
    return Linearised(output, inner, outer, hidden)
