"""The derivative of a network's output with respect to its weights.

The output is linear in the weights of the last layer and of the skip layer, the outer
weights. Every output has its own outer weights, and the derivative is the same for all,
so that it has no dimension for the outputs. All other weights, the inner ones, are
shared by the outputs. Masks are left to the caller: derivatives with respect to removed
edges are given like all others.
"""

from typing import NamedTuple

import torch


class Linearisation(NamedTuple):
    """Output of a network and its derivative with respect to all weights.

    The order of the weights is that of `KANNetwork.theta`: first the inner weights,
    then those of the last layer and the skip layer. The derivative with respect to the
    inner weights is kept as its factors.
    """

    output: torch.Tensor  # (n_samples, n_outputs)
    outer: torch.Tensor  # (n_samples, n_outer_weights of one output)
    # Per hidden layer:
    features: list  # basis values, (n_samples, n_weights of one sum)
    sums: list  # nodes and, of products, their factors, (n_samples, n_sums)
    sensitivities: list  # of the outputs to the sums, (n_samples, n_outputs, n_sums)

    @property
    def n_inner(self):
        """Number of inner weights."""
        pairs = zip(self.sums, self.features, strict=True)
        return sum(sums.shape[1] * features.shape[1] for sums, features in pairs)

    def inner_gradient(self, slope):
        """Derivative of sum(slope * output) with respect to the inner weights.

        Parameters
        ----------
        slope : Tensor of shape (n_samples, n_outputs)

        Returns
        -------
        Tensor of shape (n_inner,)
        """
        parts = [slope.new_zeros(0)]
        pairs = zip(self.sensitivities, self.features, strict=True)
        for sensitivity, features in pairs:
            of_sums = torch.einsum("no,noj->jn", slope, sensitivity)
            parts.append((of_sums @ features).flatten())
        return torch.cat(parts)

    def inner(self, root=None, *, out=None):
        """Derivative with respect to the inner weights.

        Parameters
        ----------
        root : Tensor of shape (n_samples, r, n_outputs), default=None
            Multiplies the derivatives of the outputs; None keeps them.
        out : Tensor of shape (n_samples, r, n_inner), default=None
            Where to write the result.

        Returns
        -------
        Tensor of shape (n_samples, r or n_outputs, n_inner)
        """
        sensitivities = self.sensitivities
        if root is not None:
            sensitivities = [root @ sensitivity for sensitivity in sensitivities]
        if out is None:
            n_rows = self.output.shape[1] if root is None else root.shape[1]
            out = self.output.new_empty(len(self.output), n_rows, self.n_inner)
        start = 0
        for sensitivity, features in zip(sensitivities, self.features, strict=True):
            size = (sensitivity.shape[2], features.shape[1])
            end = start + size[0] * size[1]
            torch.mul(
                sensitivity.unsqueeze(3),
                features[:, None, None],
                out=out[..., start:end].unflatten(2, size),
            )
            start = end
        return out


@torch.no_grad()
def linearise(network, weights, x, features=None):
    """Linearisation of a network, made layer by layer.

    With the sensitivities d_oj of output o to sum j of a layer, the derivative with
    respect to the weight of its basis function f on the edge from input i is
    d_oj B_if; the sensitivities of the layer below follow by the chain rule,
    d_oi = sum_j d_oj phi'_ji. Those of a factor are times the other factor.

    Parameters
    ----------
    network : KANNetwork
    weights : list of Tensor
        One weight per layer of `network.all_layers`.
    x : Tensor of shape (n_samples, n_features)
    features : Tensor of shape (n_samples, n_inputs, n_functions), default=None
        Basis values of the first layer, where the caller keeps them.

    Returns
    -------
    Linearisation
    """
    all_features, slopes, all_sums, inputs = [], [], [], network.inputs(x)
    for layer, weight in zip(network.layers, weights, strict=False):
        slope = None
        if features is None:
            features, slope = layer.basis.values_and_derivatives(
                inputs, with_derivatives=layer is not network.layers[0]
            )
        all_features.append(layer.packed(features))
        slopes.append(slope)
        if network.skip is not None and layer is network.layers[0]:
            by_skip = network.skip.combine(features, weights[-1])
        all_sums.append(layer.combine(features, weight))
        inputs, features = layer.nodes_of(all_sums[-1]), None
    output, outer = inputs, all_features[-1]
    if network.skip is not None:
        output = output + by_skip
        outer = torch.cat([outer, all_features[0]], dim=1)
    sensitivities = []
    for index in range(len(network.layers) - 1, 0, -1):
        weight = network.layers[index].masked(weights[index])
        slope = torch.einsum("nif,oif->noi", slopes[index], weight)
        slope = sensitivities[0] @ slope if sensitivities else slope
        below, sums = network.layers[index - 1], all_sums[index - 1].unsqueeze(1)
        sensitivities.insert(0, below.by_sums(slope, sums))
    return Linearisation(output, outer, all_features[:-1], all_sums[:-1], sensitivities)


@torch.no_grad()
def output_derivatives(network, x):
    """Derivatives of the raw outputs with respect to all weights.

    Parameters
    ----------
    network : KANNetwork
    x : Tensor of shape (n_samples, n_features)

    Returns
    -------
    Tensor of shape (n_outputs, n_parameters, n_samples)
        Zero for removed edges, which do not vary.
    """
    line = linearise(network, network.weights, x)
    inner = line.inner()
    n_samples, n_outputs = line.output.shape
    own = outer_weight_positions(network)
    columns = x.new_zeros(n_outputs, network.n_parameters, n_samples)
    for output in range(n_outputs):
        columns[output, : line.n_inner] = inner[:, output].T
        columns[output, own[output]] = line.outer.T
    return columns.mul_(network.weight_mask.unsqueeze(1))


def outer_weight_positions(network):
    """Positions of the outer weights among all weights.

    Returns
    -------
    Tensor of int of shape (n_outputs, n_outer_weights of one output)
    """
    positions = torch.arange(network.n_parameters).split(network.layer_sizes)
    parts = positions[len(network.layers) - 1 :]
    return torch.cat([part.view(network.widths[-1], -1) for part in parts], dim=1)
