"""Output of a network, and the gradient of any function of it, without a graph.

Of layers with few outputs only the curves are evaluated, piece by piece, and never the
basis functions: a sample meets one polynomial an edge, whatever the size of the grid.
Masks are left to the caller: derivatives with respect to removed edges are given like
all others.
"""

import torch

MOST_CURVES = 6  # an input, above which basis values that all of them share are cheaper


class ForwardPass:
    """One pass through a network, with what its way back needs.

    Parameters
    ----------
    network : KANNetwork
    weights : list of Tensor
        One weight per layer of `network.all_layers`.
    x : Tensor of shape (n_samples, n_features)
    features : Tensor of shape (n_samples, n_inputs, n_functions), default=None
        Basis values of the first layer, where the caller keeps them.
    with_gradient : bool, default=True
        Whether `gradient` will be asked for.

    Attributes
    ----------
    output : Tensor of shape (n_samples, n_outputs)
    """

    @torch.no_grad()
    def __init__(self, network, weights, x, features=None, *, with_gradient=True):
        if features is None:
            features, _ = network.layers[0].basis.values_and_derivatives(
                network.inputs(x), with_derivatives=False
            )
        self._first = _Features(network.layers[0], weights[0], features)
        self._steps, self._skip = [self._first], None
        for layer, weight in zip(network.layers[1:], weights[1:], strict=False):
            nodes = self._steps[-1].nodes
            if layer.mask.shape[0] <= MOST_CURVES:
                place = layer.basis.locate(nodes, with_slopes=with_gradient)
                self._steps.append(_Curves(layer, weight, place))
            else:
                values = layer.basis.values_and_derivatives(
                    nodes, with_derivatives=with_gradient
                )
                self._steps.append(_Features(layer, weight, *values))
        self.output = self._steps[-1].nodes
        if network.skip is not None:
            self._skip = _Features(network.skip, weights[-1], features)
            self.output = self.output + self._skip.nodes

    @torch.no_grad()
    def gradient(self, slope):
        """Derivative of sum(slope * output) with respect to all weights.

        Parameters
        ----------
        slope : Tensor of shape (n_samples, n_outputs)

        Returns
        -------
        Tensor of shape (n_parameters,)
        """
        parts = []
        if self._skip is not None:
            parts.append(self._skip.weight_gradient(slope))
        for step in reversed(self._steps):
            parts.insert(0, step.weight_gradient(slope))
            if step is not self._first:
                slope = step.input_gradient(slope)
        if self._skip is not None:
            parts.append(parts.pop(-1))
        return torch.cat([part.flatten() for part in parts])


class _Features:
    """A layer at some samples, by the values of its basis functions."""

    def __init__(self, layer, weight, features, slopes=None):
        self._layer, self._weight = layer, layer.masked(weight)
        self._features, self._slopes = features, slopes
        self.nodes = layer.combine(features, weight)

    def weight_gradient(self, slope):
        gradient = slope.T @ self._features.flatten(1)
        return self._layer.packed(gradient.view(self._weight.shape))

    def input_gradient(self, slope):
        by_function = (slope @ self._weight.flatten(1)).view(self._slopes.shape)
        return by_function.mul_(self._slopes).sum(2)


class _Curves:
    """A layer at some samples, by the polynomials of its curves."""

    def __init__(self, layer, weight, place):
        self._basis, weight = layer.basis, layer.masked(weight)
        self._place = place
        self._pieces = self._basis.pieces(weight)
        values = self._place.values(self._pieces)
        self._base_weight = None
        if layer.basis.base_activation is not None:
            self._base_weight = weight[..., -1]
            values = torch.addcmul(
                values, self._base_weight.unsqueeze(2), self._place.base
            )
        self.nodes = values.sum(1).T

    def weight_gradient(self, slope):
        slope = slope.T.contiguous()
        moments = self._place.moments(slope, self._pieces.shape[2])
        gradient = self._basis.pieces_transposed(moments)
        if self._base_weight is not None:
            base = slope @ self._place.base.T
            gradient = torch.cat([gradient, base.unsqueeze(2)], dim=2)
        return gradient

    def input_gradient(self, slope):
        derivatives = self._place.derivatives(self._pieces)
        if self._base_weight is not None:
            derivatives.addcmul_(
                self._base_weight.unsqueeze(2), self._place.base_slopes
            )
        return torch.einsum("oin,no->ni", derivatives, slope)
