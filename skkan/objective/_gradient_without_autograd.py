"""Output of a network, and the gradient of any function of it, without autograd.

First-order solvers ask for both many times. What the weights do not change is prepared
once. Small networks spend their time on calls; they use numpy, whose calls are the
shortest. Masks are left to the caller: derivatives with respect to removed edges are
given like all others.
"""

from itertools import accumulate, pairwise

import numpy as np
import torch

from skkan.numerics._matrix_products import IGNORE_FLOAT_WARNINGS, product


class ForwardBackwardPass:
    """A network at some samples, as a function of its weights.

    Parameters
    ----------
    network : KANNetwork
    x : Tensor of shape (n_samples, n_features)
    features : Tensor of shape (n_samples, n_inputs, n_functions), default=None
        Basis values of the first layer, where the caller keeps them.
    with_gradient : bool, default=True
        Whether `gradient` will be called.
    weight_maps : list, default=None
        Those of another pass through the network.
    """

    @torch.no_grad()
    def __init__(
        self, network, x, features=None, *, with_gradient=True, weight_maps=None
    ):
        first, *others = network.layers
        if features is None:
            features = first.basis(network.inputs(x))
        kernels = [
            layer.evaluation(len(x), with_gradient=with_gradient) for layer in others
        ]
        self._uses_numpy = x.is_cpu and None not in kernels
        values = self._array(features.flatten(1))
        maps = weight_maps
        if maps is None:
            maps = [_WeightMap(layer, self._array) for layer in network.all_layers]
        self.weight_maps = maps
        self._passes = [_FirstLayerPass(maps[0], values)]
        for weights, layer, kernel in zip(maps[1:], others, kernels, strict=False):
            if self._uses_numpy:
                self._passes.append(_KernelPass(weights, kernel))
            else:
                self._passes.append(_BasisPass(weights, layer.basis, with_gradient))
        self._layers = [*network.layers]
        has_skip = network.skip is not None
        self._skip = _FirstLayerPass(maps[-1], values) if has_skip else None
        ends = pairwise([0, *accumulate(network.layer_sizes)])
        self._parts = [slice(*of_layer) for of_layer in ends]

    def _array(self, tensor):
        return tensor.numpy() if self._uses_numpy else tensor

    @IGNORE_FLOAT_WARNINGS
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
        self._sums = []
        layers = zip(self._passes, self._parts, self._layers, strict=False)
        for of_layer, part, layer in layers:
            self._sums.append(of_layer.output(nodes, theta[part]))
            nodes = layer.nodes_of(self._sums[-1])
        if self._skip is not None:
            nodes = nodes + self._skip.output(None, theta[self._parts[-1]])
        return torch.from_numpy(nodes) if self._uses_numpy else nodes

    @IGNORE_FLOAT_WARNINGS
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
        layers = [*zip(self._passes, self._sums, self._layers, strict=True)]
        for of_layer, sums, layer in reversed(layers):
            slope, of_weight = of_layer.gradients(layer.by_sums(slope, sums))
            parts.insert(0, of_weight)
        parts = [part.reshape(-1) for part in parts + last]
        if self._uses_numpy:
            return torch.from_numpy(np.concatenate(parts))
        return torch.cat(parts)


class _WeightMap:
    """Map from the weights in use of a layer to the weight of all functions.

    Weights of removed edges and of functions that are not in use become zero. Here and
    below, arrays are all numpy's or all torch's.
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

    def weight(self, theta):
        """Array of shape (n_outputs, n_inputs * n_functions) from weights in use."""
        weight = theta.reshape(self._n_outputs, -1)
        if self._position is not None:
            weight = weight[:, self._position]
        return weight if self._exists is None else weight * self._exists

    def gradient_in_use(self, gradient):
        """Gradient of the weights in use from that of all functions."""
        return gradient if self._packing is None else gradient[:, self._packing]


class _FirstLayerPass:
    """A layer whose inputs never change, by the values of its basis functions."""

    def __init__(self, weights, values):
        self._weights, self._values = weights, values
        self._product = torch.mm if isinstance(values, torch.Tensor) else product

    def output(self, nodes, theta):
        """Node values, column by column in memory; `nodes` is not used."""
        return self._product(self._weights.weight(theta), self._values.T).T

    def gradients(self, slope):
        """None in place of the gradient of the inputs, and that of the weights."""
        of_weight = self._product(slope.T, self._values)
        return None, self._weights.gradient_in_use(of_weight)


class _KernelPass:
    """A layer by the numpy kernel that `KANLayer.evaluation` chose for it."""

    def __init__(self, weights, kernel):
        self._weights, self._kernel = weights, kernel

    def output(self, nodes, theta):
        """Node values from the nodes before and the weights in use."""
        self._nodes, self._weight = nodes, self._weights.weight(theta)
        return self._kernel.output(nodes, self._weight)

    def gradients(self, slope):
        """Gradients of the inputs and of the weights."""
        of_x, columns = self._kernel.gradients(self._nodes, self._weight, slope)
        return of_x, columns.T


class _BasisPass:
    """A layer by the values of its basis functions, on any device."""

    def __init__(self, weights, basis, with_gradient):
        self._weights, self._basis = weights, basis
        self._with_gradient = with_gradient

    def output(self, nodes, theta):
        """Node values from the nodes before and the weights in use."""
        self._weight = self._weights.weight(theta)
        values, self._slopes = self._basis.values_and_derivatives(
            nodes, with_derivatives=self._with_gradient
        )
        self._values = values.flatten(1)
        return self._values @ self._weight.T

    def gradients(self, slope):
        """Gradients of the inputs and of the weights."""
        by_function = (slope @ self._weight).view(self._slopes.shape)
        return by_function.mul_(self._slopes).sum(2), slope.T @ self._values
