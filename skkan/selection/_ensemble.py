"""A weighted sum of networks, with the penalty that its parts were trained with."""

from typing import NamedTuple

import torch

from skkan.network._edits import resized
from skkan.network._network import KANNetwork
from skkan.network._weighted_average import weighted_average
from skkan.penalties._quadratic import QuadraticPenalty


class EnsembleMember(NamedTuple):
    """A network with at most one hidden layer, in a sum."""

    network: KANNetwork
    share: float  # what its output is multiplied by
    alpha: float | torch.Tensor  # of its penalty; one, or of shape (n_edges, 3)

    def on_basis(self, basis):
        """The same with another basis of the inputs, which may be finer."""
        network = self.network
        if network.layers[0].basis is not basis:
            network = resized(network, basis.grid_size, basis)
        return self._replace(network=network)

    def alpha_of_layers(self):
        """Strengths, a Tensor of shape (n_outputs, n_inputs, 3) for each layer."""
        masks = [layer.mask for layer in self.network.all_layers]
        counts = [mask.numel() for mask in masks]
        alpha = QuadraticPenalty(self.alpha).per_edge(sum(counts))
        return [
            of_layer.view(*mask.shape, 3)
            for of_layer, mask in zip(alpha.split(counts), masks, strict=True)
        ]


def ensemble_network(parts):
    """One network for the sum of parts, and the penalty of its weights.

    What was multiplied by a share has one over its square of the strength; what is
    added up has variances that add up.

    Parameters
    ----------
    parts : list of Part
        With knots of the inputs in common; the finest are those of the sum.

    Returns
    -------
    network : KANNetwork
    penalty : QuadraticPenalty
    """
    basis = max((part.network.layers[0].basis for part in parts), key=_grid_size)
    parts = [part.on_basis(basis) for part in parts]
    network = weighted_average(
        [part.network for part in parts], [part.share for part in parts]
    )
    inner, outer, variances = [], [], []
    for part in parts:
        *deep, last = part.alpha_of_layers()
        square = part.share**2
        if len(part.network.layers) == 1 or part.network.skip is not None:
            variances.append(square / last)
        if part.network.skip is not None:
            *deep, last = deep
        if deep:
            inner.append(deep[0])
            outer.append(last / square)
    alpha = [torch.cat(inner), torch.cat(outer, dim=1)] if inner else []
    if variances:
        alpha.append(1 / sum(variances))
    return network, QuadraticPenalty(torch.cat([each.flatten(0, 1) for each in alpha]))


def _grid_size(basis):
    return basis.grid_size
