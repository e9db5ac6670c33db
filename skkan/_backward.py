"""Output of a network, and the gradient of any function of it, without a graph.

Masks are left to the caller: derivatives with respect to removed edges are given like
all others.
"""

import torch


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
        layers = network.layers
        if features is None:
            features, _ = layers[0].basis.values_and_derivatives(
                network.inputs(x), with_derivatives=False
            )
        self._steps, self._skip = [_Features(layers[0], weights[0], features)], None
        for layer, weight in zip(layers[1:], weights[1:], strict=False):
            nodes = self._steps[-1].nodes
            way = layer.way_through(nodes, with_gradient=with_gradient)
            if way is None:
                self._steps.append(_Values(layer, weight, nodes, with_gradient))
            else:
                self._steps.append(_Layer(layer, weight, nodes, way))
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
        last = [] if self._skip is None else [self._skip.gradients(slope)[1]]
        parts = []
        for step in reversed(self._steps):
            slope, of_weight = step.gradients(slope)
            parts.insert(0, of_weight)
        return torch.cat([part.reshape(-1) for part in parts + last])


class _Features:
    """A layer whose inputs never change, by the values of its basis functions."""

    def __init__(self, layer, weight, features):
        self._layer, self._features = layer, features
        self.nodes = layer.combine(features, weight)

    def gradients(self, slope):
        """No gradient of the inputs, and that of the weight."""
        gradient = slope.T @ self._features.flatten(1)
        return None, self._layer.packed(gradient.view(self._layer.weight.shape))


class _Layer:
    """A layer at some samples, by its own way."""

    def __init__(self, layer, weight, x, way):
        self._x, self._way = x.numpy(), way
        self._weight = layer.masked(weight).flatten(1).numpy()
        self.nodes = torch.from_numpy(way.output(self._x, self._weight))

    def gradients(self, slope):
        """Gradients of the inputs and of the weight."""
        of_x, columns = self._way.gradients(self._x, self._weight, slope.numpy())
        return torch.from_numpy(of_x), torch.from_numpy(columns.T)


class _Values:
    """The same by the values of the basis functions, on any device."""

    def __init__(self, layer, weight, x, with_gradient):
        self._weight = layer.masked(weight).flatten(1)
        values, self._slopes = layer.basis.values_and_derivatives(
            x, with_derivatives=with_gradient
        )
        self._values = values.flatten(1)
        self.nodes = self._values @ self._weight.T

    def gradients(self, slope):
        """Gradients of the inputs and of the weight."""
        by_function = (slope @ self._weight).view(self._slopes.shape)
        return by_function.mul_(self._slopes).sum(2), slope.T @ self._values
