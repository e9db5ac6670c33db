"""A weighted sum of networks, with the penalty that its parts were trained with."""

from dataclasses import dataclass

import torch

from skkan._network import KANNetwork
from skkan._penalties import QuadraticPenalty
from skkan._second_order import Candidate


@dataclass(frozen=True)
class WeightedSum:
    """A weighted sum of networks with one hidden layer, and of an additive model."""

    networks: list
    shares: list
    alpha: float  # of each network
    additive: Candidate | None = None

    def with_additive(self, additive, share):
        """The same with an additive model, whose weight is what `share` leaves."""
        basis = additive.network.layers[0].basis
        return WeightedSum(
            [network.resized(basis.grid_size, basis) for network in self.networks],
            [*self.shares, 1 - share],
            self.alpha,
            additive,
        )

    def network(self):
        if self.additive is None:
            return KANNetwork.weighted_sum(self.networks, self.shares)
        return KANNetwork.weighted_sum(
            [*self.networks, self.additive.network], self.shares
        )

    def penalty(self, data):
        """The penalties of the parts, as one of the weights of the sum.

        What was multiplied by a share has one over its square of the strength.
        """
        one = QuadraticPenalty(self.alpha).per_edge(1)
        first, last = self.networks[0].all_layers[:2]
        inner = one.expand(len(self.networks) * first.mask.numel(), 3)
        outer = [
            one.expand(*last.mask.shape, 3) / share**2
            for share in self.shares[: len(self.networks)]
        ]
        parts = [inner, torch.cat(outer, dim=1).flatten(0, 1)]
        if self.additive is not None:
            alpha = self.additive.prior.alpha(data.n_observations).cpu()
            parts.append(alpha / self.shares[-1] ** 2)
        elif self.networks[0].skip is not None:  # the mean of as many
            n_edges = self.networks[0].skip.mask.numel()
            parts.append(one.expand(n_edges, 3) * len(self.networks))
        return QuadraticPenalty(torch.cat(parts))
