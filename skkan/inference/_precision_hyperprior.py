"""What is expected of the precisions of edges, where no noise is learnt with them.

A row tells at most one bit of its class, too little to tell how large each of many
curves is. Those that enter the same node are taken to be of like size; how straight
they are each of them learns for itself. It knows nothing of data.
"""

import torch

from skkan.inference._settings import HYPERPRIOR


class Hyperprior:
    """Density of the precisions of the parts of the penalty, for each edge.

    Logarithms of precisions on size are normal around the mean of their group, which
    they determine themselves. Constants are left out.

    Parameters
    ----------
    groups : Tensor of int of shape (n_edges,)
        Edges that are alike have the same number; removed ones have -1.
    """

    def __init__(self, groups):
        self._exists = groups >= 0
        numbers = torch.unique(groups[self._exists])
        member = (groups == numbers.unsqueeze(1)).to(torch.float64)
        self._member = member  # (n_groups, n_edges)
        self._share = member / member.sum(1, keepdim=True)

    @classmethod
    def of(cls, network, kinds):
        """That of a network: edges of a kind are alike that enter the same node.

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
            On size, curvature and change of curvature; parts at zero are unused.
        """
        size = precision[:, 0].log()
        apart = (size - self._means(size)) / HYPERPRIOR.log_ridge_std
        rates = HYPERPRIOR.roughness_rate * precision[:, 1:].sum(1)
        density = -0.5 * apart.square() - rates
        return torch.where(self._exists, density, 0.0)

    def removal_gains(self, precision, groups):
        """What the removal of several edges together adds to the log density.

        Those that stay move to their own mean. With the deviations d of the logarithms
        from the mean of n edges, the removal of k takes sum(d^2) + sum(d)^2 / (n - k)
        from the sum of squares.

        Parameters
        ----------
        precision : Tensor of shape (n_edges, 3)
        groups : Tensor of int of shape (n_groups, n_members)
            Positions of the edges of each group, all of which exist.

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
        """Precisions that balance what the data say of them and this density.

        With the logarithm r of a precision, the log evidence has the derivative
        (explained - used e^r) / 2, where both are taken from where it stands.

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
        # All of a group by the same factor at first, as if they were one.
        ratio = (self._member @ push) / (self._member @ pull).clamp(min=1e-300)
        change = self._member.T @ ratio.clamp(0.1, 10.0).log()
        variance, limit = HYPERPRIOR.log_ridge_std**2, HYPERPRIOR.max_log_step
        for _ in range(HYPERPRIOR.max_rounds):
            before, mean = change, self._means(now + change)
            for _ in range(HYPERPRIOR.max_newton_steps):
                drawn = pull * change.exp()
                slope = push - drawn - (now + change - mean) / variance
                step = slope / (drawn + 1 / variance)
                change = change + step.clamp(-limit, limit)
            if (change - before).abs().max() < HYPERPRIOR.tolerance:
                break
        return torch.cat([(now + change).exp().unsqueeze(1), rates[:, 1:]], dim=1)

    def _means(self, values):
        """Mean of its group for each edge."""
        return self._member.T @ (self._share @ values)
