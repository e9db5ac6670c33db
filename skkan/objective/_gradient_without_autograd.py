"""Output of a network, and the gradient of any function of it, without a graph.

Solvers ask for them over and over: what the weights do not change is prepared once, and
small networks, which spend their time on calls, go by numpy, whose calls are the
shortest. Masks are left to the caller: derivatives with respect to removed edges are
given like all others.
"""

from itertools import accumulate, pairwise

import numpy as np
import torch

from skkan.numerics._matrix_products import AS_SILENT_AS_TORCH, product


class ForwardBackwardPass:
    """A network at some samples, as a function of its weights.

    Parameters
    ----------
    network : KANNetwork
    x : Tensor of shape (n_samples, n_features)
    features : Tensor of shape (n_samples, n_inputs, n_functions), default=None
        Basis values of the first layer, where the caller keeps them.
    with_gradient : bool, default=True
        Whether `gradient` will be asked for.
    """

    @torch.no_grad()
    def __init__(self, network, x, features=None, *, with_gradient=True):
        first, *others = network.layers
        if features is None:
            features = first.basis(network.inputs(x))
        ways = [
            layer.way_through(len(x), with_gradient=with_gradient) for layer in others
        ]
        self._by_numpy = x.is_cpu and None not in ways
        known = self._array(features.flatten(1))
        self._steps = [_Known(_Weights(first, self._array), known, self._by_numpy)]
        for layer, way in zip(others, ways, strict=True):
            weights = _Weights(layer, self._array)
            if self._by_numpy:
                self._steps.append(_ByWay(weights, way))
            else:
                self._steps.append(_ByValues(weights, layer.basis, with_gradient))
        self._skip = None
        if network.skip is not None:
            self._skip = _Known(
                _Weights(network.skip, self._array), known, self._by_numpy
            )
        sizes = [layer.n_weights * len(layer.weight) for layer in network.all_layers]
        self._parts = [slice(*ends) for ends in pairwise([0, *accumulate(sizes)])]

    def _array(self, tensor):
        return tensor.numpy() if self._by_numpy else tensor

    @AS_SILENT_AS_TORCH
    def output(self, theta):
        """Output for the weights in one vector.

        Parameters
        ----------
        theta : Tensor of shape (n_parameters,)

        Returns
        -------
        Tensor of shape (n_samples, n_outputs)
        """
        theta, nodes = self._array(theta), None
        for step, part in zip(self._steps, self._parts, strict=False):
            nodes = step.output(nodes, theta[part])
        if self._skip is not None:
            nodes = nodes + self._skip.output(None, theta[self._parts[-1]])
        return torch.from_numpy(nodes) if self._by_numpy else nodes

    @AS_SILENT_AS_TORCH
    def gradient(self, slope):
        """Derivative of sum(slope * output) at the weights of the last output.

        Parameters
        ----------
        slope : Tensor of shape (n_samples, n_outputs)

        Returns
        -------
        Tensor of shape (n_parameters,)
        """
        slope = self._array(slope)
        last = [] if self._skip is None else [self._skip.gradients(slope)[1]]
        parts = []
        for step in reversed(self._steps):
            slope, of_weight = step.gradients(slope)
            parts.insert(0, of_weight)
        parts = [part.reshape(-1) for part in parts + last]
        if self._by_numpy:
            return torch.from_numpy(np.concatenate(parts))
        return torch.cat(parts)


class _Weights:
    """The weight of a layer, zero where an edge is removed or a function not in use.

    Here and below, arrays are all of numpy or all of torch.
    """

    def __init__(self, layer, as_array):
        exists = layer.mask.unsqueeze(2).expand(layer.weight.shape)
        self._n_outputs, self._position = len(layer.weight), None
        self._packing = layer.basis.packing
        if self._packing is not None:
            count = torch.arange(len(self._packing), device=exists.device)
            position = count.new_zeros(exists[0].numel())
            position[self._packing] = count
            in_use = torch.zeros_like(position)
            in_use[self._packing] = 1
            exists = exists * in_use.view(exists.shape[1:])
            self._packing, self._position = as_array(self._packing), as_array(position)
        exists = exists.flatten(1)
        self._exists = None if exists.all() else as_array(exists)

    def of(self, theta):
        """From those in use, an array of shape (n_outputs, n_inputs * n_functions)."""
        weight = theta.reshape(self._n_outputs, -1)
        if self._position is not None:
            weight = weight[:, self._position]
        return weight if self._exists is None else weight * self._exists

    def in_use(self, gradient):
        """The gradient of those in use, from one of all."""
        return gradient if self._packing is None else gradient[:, self._packing]


class _Known:
    """A layer whose inputs never change, by the values of its basis functions."""

    def __init__(self, weights, features, by_numpy):
        self._weights, self._features = weights, features
        self._product = product if by_numpy else torch.mm

    def output(self, nodes, theta):
        """Node values; those before are not asked for."""
        return self._product(self._features, self._weights.of(theta).T)

    def gradients(self, slope):
        """No gradient of the inputs, and that of the weight."""
        of_weight = self._product(slope.T, self._features)
        return None, self._weights.in_use(of_weight)


class _ByWay:
    """A layer by the way that its kernel has for it; arrays are numpy's."""

    def __init__(self, weights, way):
        self._weights, self._way = weights, way

    def output(self, nodes, theta):
        """Node values."""
        self._nodes, self._weight = nodes, self._weights.of(theta)
        return self._way.output(nodes, self._weight)

    def gradients(self, slope):
        """Gradients of the inputs and of the weight."""
        of_x, columns = self._way.gradients(self._nodes, self._weight, slope)
        return of_x, columns.T


class _ByValues:
    """The same by the values of the basis functions, on any device."""

    def __init__(self, weights, basis, with_gradient):
        self._weights, self._basis = weights, basis
        self._with_gradient = with_gradient

    def output(self, nodes, theta):
        """As of `_ByWay`."""
        self._weight = self._weights.of(theta)
        values, self._slopes = self._basis.values_and_derivatives(
            nodes, with_derivatives=self._with_gradient
        )
        self._values = values.flatten(1)
        return self._values @ self._weight.T

    def gradients(self, slope):
        """As of `_ByWay`."""
        by_function = (slope @ self._weight).view(self._slopes.shape)
        return by_function.mul_(self._slopes).sum(2), slope.T @ self._values
