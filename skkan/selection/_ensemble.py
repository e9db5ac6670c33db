"""An ensemble as one network, with the penalty that its members were trained with."""

from typing import NamedTuple

import torch

from skkan.network._edits import resized
from skkan.network._network import KANNetwork
from skkan.network._weighted_average import weighted_average
from skkan.penalties._quadratic import QuadraticPenalty


class EnsembleMember(NamedTuple):
    """A network with at most one hidden layer, and its weight in an ensemble."""

    network: KANNetwork
    weight: float  # of its output
    alpha: float | torch.Tensor  # of its penalty; one, or of shape (n_edges, 3)

    def on_basis(self, basis):
        """The member on another basis of the inputs, which may be finer."""
        network = self.network
        if network.layers[0].basis is not basis:
            network = resized(network, basis.grid_size, basis)
        return self._replace(network=network)

    def alpha_of_layers(self):
        """Penalty weights, Tensors of shape (n_outputs, n_inputs, 3) of the layers."""
        masks = [layer.mask for layer in self.network.all_layers]
        counts = [mask.numel() for mask in masks]
        alpha = QuadraticPenalty(self.alpha).per_edge(sum(counts))
        return [
            of_layer.view(*mask.shape, 3)
            for of_layer, mask in zip(alpha.split(counts), masks, strict=True)
        ]


def ensemble_network(members):
    """One network for the weighted sum of members, and the penalty of its weights.

    A curve that is multiplied by w has a penalty weight divided by w^2. The variances
    of curves that are added up add up, too.

    Parameters
    ----------
    members : list of EnsembleMember
        The knots of their inputs are nested; the ensemble has the finest.

    Returns
    -------
    network : KANNetwork
    penalty : QuadraticPenalty
    """
    bases = [member.network.layers[0].basis for member in members]
    finest = max(bases, key=lambda basis: basis.grid_size)
    members = [member.on_basis(finest) for member in members]
    network = weighted_average(
        [member.network for member in members], [member.weight for member in members]
    )
    inner, outer, variances = [], [], []
    for member in members:
        *deep, last = member.alpha_of_layers()
        square = member.weight**2
        if len(member.network.layers) == 1 or member.network.skip is not None:
            variances.append(square / last)
        if member.network.skip is not None:
            *deep, last = deep
        if deep:
            inner.append(deep[0])
            outer.append(last / square)
    alpha = [torch.cat(inner), torch.cat(outer, dim=1)] if inner else []
    if variances:
        alpha.append(1 / sum(variances))
    return network, QuadraticPenalty(torch.cat([each.flatten(0, 1) for each in alpha]))
