"""Gaussian priors of the edges: precisions of size and roughness, and the noise."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch

from skkan.inference._settings import EVIDENCE
from skkan.numerics._floating_point import SMALLEST_DIVISOR
from skkan.penalties._eigen_directions import EdgeKinds
from skkan.penalties._quadratic import QuadraticPenalty


class CurveSizes(NamedTuple):
    """Largest root mean squares, a priori, of curves into an output."""

    of_nodes: float
    of_inputs: float

    @classmethod
    def of(cls, loss, data):
        """Those for the rows of a Dataset or DaskDataset, in units of its target."""
        of_inputs = math.inf
        if loss.has_noise and not loss.has_log_link:
            of_inputs = float((data.target - data.baseline).abs().max())
        return cls(loss.size_of_curves, max(loss.size_of_curves, of_inputs))


@dataclass(frozen=True, eq=False)
class Prior:
    """Precisions of all edges, and the noise.

    Attributes
    ----------
    precision : Tensor of shape (n_edges, 3)
        Precisions of the ridge, second-difference and third-difference part. A part
        with precision zero is unused and stays so.
    noise : float
        Variance of the scaled target around the network; 1 for classes.
    """

    precision: torch.Tensor
    noise: float

    @classmethod
    def of_alpha(cls, network, alpha, noise, n_observations):
        """Prior that is equivalent to penalties of weight `alpha`."""
        n_edges = sum(layer.mask.numel() for layer in network.all_layers)
        alpha = QuadraticPenalty(alpha).per_edge(n_edges).to(network.layers[0].mask)
        precision = clamped(alpha * (n_observations / noise))
        return cls(EdgeKinds.of(network.all_layers).in_use(precision), noise)

    def alpha(self, n_observations):
        """Weights of the penalties that are equivalent to this prior."""
        return self.precision * (self.noise / n_observations)

    def with_scaled_nodes(self, network, scales):
        """Prior of the network after its hidden nodes were divided by `scales`.

        Parameters
        ----------
        network : KANNetwork
        scales : list of Tensor of shape (n_sums,), one per hidden layer
            Those of products are of their factors.
        """
        counts = [layer.mask.numel() for layer in network.all_layers]
        parts = [*self.precision.split(counts)]
        for index, scale in enumerate(scales):
            factor = scale.square().repeat_interleave(network.widths[index])
            parts[index] = parts[index] * factor.unsqueeze(1)
        return Prior(clamped(torch.cat(parts)), self.noise)

    def with_bounded_outputs(self, network, sizes):
        """Prior that lets no curve into an output be much larger than it has to be.

        Scale and shift of hidden nodes are not identified. Without a bound, curves may
        be large and cancel: psi(h) - psi(h - f / c), times c, becomes f psi'(h) as c
        grows. On Friedman #1, concrete and bikeshare with 2 and 5 nodes (500 rows)
        output curves had deviations of up to 687 times that of the target; bounded,
        they have up to 3, and most fits have more evidence. Curves that enter nodes
        have no bound: with one, the error on the law of the KAN paper rises by 40%.

        Curves of inputs need not be larger than the target. Otherwise they go anywhere
        where no rows are, or hardly any weight is.

        Parameters
        ----------
        network : KANNetwork
        sizes : CurveSizes
        """
        n_inner = len(network.layers) - 1
        last = sizes.of_nodes if n_inner else sizes.of_inputs
        of_layers = [math.inf] * n_inner + [last, sizes.of_inputs]
        counts = [layer.mask.numel() for layer in network.all_layers]
        precision = self.precision.clone()
        for part, size in zip(precision.split(counts), of_layers, strict=False):
            part[:, 0].clamp_(min=size**-2)
        return Prior(precision, self.noise)

    def at_most(self, ceiling):
        """Prior with limited precisions.

        Parameters
        ----------
        ceiling : Tensor of shape (n_edges, 3) or None
            Largest precisions. Zero is no limit, and so is None.
        """
        if ceiling is None:
            return self
        most = torch.where(ceiling > 0, ceiling, torch.inf)
        return Prior(torch.minimum(self.precision, most), self.noise)

    def with_change_of_curvature(self, share):
        """Prior that uses the third-difference part of all edges.

        Parameters
        ----------
        share : float
            Its precision as a share of the second-difference one, for edges on which
            it is unused.
        """
        size, curvature, change = self.precision.unbind(1)
        change = torch.where(change > 0, change, share * curvature)
        return Prior(clamped(torch.stack([size, curvature, change], dim=1)), self.noise)

    def of_edges(self, edges, multipliers=None):
        """Prior of a network that has some of the edges only.

        Parameters
        ----------
        edges : Tensor of int
            Positions of its edges; see `without_edges`.
        multipliers : Tensor of shape (n_edges,), default=None
            By which the curves of these edges were multiplied.
        """
        precision = self.precision[edges]
        if multipliers is not None and (multipliers != 1).any():
            size = multipliers.abs().clamp(min=SMALLEST_DIVISOR)
            precision = clamped(precision / size.square().unsqueeze(1))
        return Prior(precision, self.noise)

    def towards(self, other, share):
        """Prior at a share of the way to another one, in logarithms."""
        ratio = other.precision / self.precision.clamp(min=EVIDENCE.min_precision)
        return Prior(
            self.precision * ratio**share,
            self.noise * (other.noise / self.noise) ** share,
        )


def clamped(precision):
    """Precisions within their limits; the ridge part is always in use."""
    used = precision > 0
    used[:, 0] = True
    limited = precision.clamp(EVIDENCE.min_precision, EVIDENCE.max_precision)
    return torch.where(used, limited, 0.0)
