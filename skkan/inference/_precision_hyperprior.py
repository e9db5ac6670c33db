"""Prior density of the precisions of edges, for losses without a noise.

A row of a classification holds at most one bit, too little to determine the size of
each of many curves. Curves that enter the same node are therefore assumed to be of
similar size. Each of them has a roughness of its own. The module knows no data.
"""

import torch

from skkan.inference._settings import HYPERPRIOR
from skkan.numerics._floating_point import SMALLEST_DIVISOR


class Hyperprior:
    """Density of the precisions of the parts of the penalty, for each edge.

    Logarithms of ridge precisions are normal around the mean of their group. The other
    precisions have an exponential density. Constants are left out.

    Parameters
    ----------
    groups : Tensor of int of shape (n_edges,)
        Number of the group of each edge; -1 for removed edges.
    """

    def __init__(self, groups):
        self._exists = groups >= 0
        numbers = torch.unique(groups[self._exists])
        member = (groups == numbers.unsqueeze(1)).to(torch.float64)
        self._member = member  # (n_groups, n_edges)
        self._share = member / member.sum(1, keepdim=True)

    @classmethod
    def of(cls, network, kinds):
        """Hyperprior with a group for each kind of edges that enter the same node.

        Parameters
        ----------
        network : KANNetwork
        kinds : EdgeKinds
        """
        groups, n_nodes = [], 0
        for layer in network.all_layers:
            n_outputs = len(layer.mask)
            node = torch.arange(n_outputs, device=layer.mask.device) + n_nodes
            node = torch.where(layer.mask > 0, node.unsqueeze(1), -1)
            groups.append(node.flatten())
            n_nodes += n_outputs
        groups = torch.cat(groups)
        apart = kinds.numbers.to(groups.device) * n_nodes
        return cls(torch.where(groups < 0, groups, groups + apart))

    def log_densities(self, precision):
        """Logarithm of the density of each edge, (n_edges,); 0 for removed ones.

        Parameters
        ----------
        precision : Tensor of shape (n_edges, 3)
            Ridge, second-difference and third-difference part; zero is unused.
        """
        size = precision[:, 0].log()
        standardised = (size - self._means(size)) / HYPERPRIOR.log_ridge_std
        density = -0.5 * standardised.square()
        density = density - HYPERPRIOR.roughness_rate * precision[:, 1:].sum(1)
        return torch.where(self._exists, density, 0.0)

    def removal_gains(self, precision, groups):
        """Change of the log density by the removal of several edges together.

        The rest of the group has another mean. Let d be the differences of the
        logarithms of k removed edges from the mean of n edges. Their removal lowers the
        sum of squares by sum(d^2) + sum(d)^2 / (n - k).

        Parameters
        ----------
        precision : Tensor of shape (n_edges, 3)
        groups : Tensor of int of shape (n_groups, n_members)
            Positions of existing edges.

        Returns
        -------
        Tensor of shape (n_groups,)
        """
        size = precision[:, 0].log()
        gone = self._member[:, groups]
        apart = gone * (size - self._means(size))[groups]
        left = self._member.sum(1, keepdim=True) - gone.sum(2)
        squares = apart.square().sum(2) + apart.sum(2).square() / left.clamp(min=1)
        rates = HYPERPRIOR.roughness_rate * precision[:, 1:].sum(1)[groups].sum(1)
        return 0.5 / HYPERPRIOR.log_ridge_std**2 * squares.sum(0) + rates

    def proposal(self, precision, explained, used):
        """Precisions that maximise the log evidence plus the log density.

        The derivative of the log evidence with respect to the logarithm r of a
        precision is (explained - used e^r) / 2. `explained` and `used` are taken as
        constants.

        Parameters
        ----------
        precision : Tensor of shape (n_edges, 3)
        explained : Tensor of shape (n_edges, 3)
            tr(P^-1 S) - tr(H^-1 S) for each part S of the prior precision P.
        used : Tensor of shape (n_edges, 3)
            m^T S m of the posterior mean m.

        Returns
        -------
        Tensor of shape (n_edges, 3)
        """
        rates = precision * explained / (used + 2 * HYPERPRIOR.roughness_rate)
        size, now = precision[:, 0], precision[:, 0].log()
        push, pull = 0.5 * size * explained[:, 0], 0.5 * size * used[:, 0]
        # To start, one factor for all precisions of a group.
        ratio = (self._member @ push) / (self._member @ pull).clamp(
            min=SMALLEST_DIVISOR
        )
        change = self._member.T @ ratio.clamp(0.1, 10.0).log()
        variance, longest = HYPERPRIOR.log_ridge_std**2, HYPERPRIOR.max_log_step
        n_members = self._member.sum(1)
        for _ in range(HYPERPRIOR.max_newton_steps):
            size = now + change
            drawn = pull * change.exp()
            slope = push - drawn - (size - self._means(size)) / variance
            # The Hessian is diagonal but for the mean, which is of rank one in a group.
            inverse = 1 / (drawn + 1 / variance)
            left = n_members * variance - self._member @ inverse
            of_mean = self._member @ (inverse * slope)
            of_mean = of_mean / left.clamp(min=SMALLEST_DIVISOR)
            step = inverse * (slope + self._member.T @ of_mean)
            step = step.clamp(-longest, longest)
            change = change + step
            if step.abs().max() < HYPERPRIOR.tolerance:
                break
        return torch.cat([(now + change).exp().unsqueeze(1), rates[:, 1:]], dim=1)

    def _means(self, values):
        """Mean of the group of each edge."""
        return self._member.T @ (self._share @ values)
