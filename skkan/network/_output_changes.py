"""What the output loses without an edge, without a node, or when a column is permuted.

The scores of edges and nodes and `feature_importances_` are shares of the variance of
the output. What cancels later in the network does not count.
"""

import math

import numpy as np
import torch

# In units of a standardised target: the root of rounding, to which the deviation of an
# edge is precise.
CONSTANT_OUTPUT_STD = 1e-8
# Pairs of a row and the row that lends it a value. The standard error of an importance
# is then about 3% of it.
MIN_PAIRS = 2000
# Rows over which changes are taken: one of them costs a pass through the network for
# each input, and the error of an importance is that of the pairs.
MAX_CHANGED_ROWS = 1000
MAX_REPEATS = 30  # of the permutation; the pairs of few rows are soon the same ones


class OutputChanges:
    """Mean squared changes of the output over some rows, as shares of its variance.

    Squares and variances are summed over the outputs, which are in scaled units. All
    shares are zero if the output is constant.

    Parameters
    ----------
    network : KANNetwork
    x : Tensor of shape (n_samples, n_features)
    sample_share : Tensor of shape (n_samples,)
        Sample weights that sum to one.
    """

    @torch.no_grad()
    def __init__(self, network, x, sample_share):
        self._network, self._share = network, sample_share
        self._output, self._passes = network.propagate(x)
        self._variance = float(self._mean_square(self._centred(self._output)))
        if self._variance < CONSTANT_OUTPUT_STD**2:
            self._variance = math.inf

    @classmethod
    def over(cls, network, data):
        """Changes over at most `MAX_CHANGED_ROWS` rows of a dataset."""
        sample = data.sample(MAX_CHANGED_ROWS)
        return cls(network, sample.X, sample.sample_weight / sample.sample_weight.sum())

    @torch.no_grad()
    def of_edges(self):
        """Share that the output loses if an edge is replaced by its mean, each alone.

        Returns
        -------
        list of Tensor of shape (n_outputs, n_inputs)
            One per layer of `network.all_layers`. Shares of edges that others make up
            for may exceed one.
        """
        changes = []
        for level, step in enumerate(self._passes):
            score = torch.zeros_like(step.layer.mask)
            for index in range(score.shape[1]):
                edges = self._leaving(step, index)
                if self._enters_output(step):
                    score[:, index] = self._share @ edges.square()
                else:
                    score[:, index] = self._of_nodes_moved_alone(level + 1, -edges)
            changes.append(score / self._variance)
        return changes

    @torch.no_grad()
    def of_nodes(self):
        """Share that the output loses if all edges that leave a node are replaced.

        Returns
        -------
        list of Tensor of shape (n_outputs,), one per layer of `network.all_layers`
            Of the nodes that the layer enters. An output loses all of its own variance.
        """
        own = self._share @ self._centred(self._output).square()
        changes = []
        for level, step in enumerate(self._passes):
            score = own
            if not self._enters_output(step):
                above = self._passes[level + 1]
                score = torch.stack(
                    [
                        self._of_moved(level + 2, -self._leaving(above, index))
                        for index in range(len(step.layer.mask))
                    ]
                )
            changes.append(score / self._variance)
        return changes

    @torch.no_grad()
    def of_all_but(self, keep):
        """Share that the output loses if several edges are replaced by their means.

        Parameters
        ----------
        keep : list of Tensor of bool of shape (n_outputs, n_inputs)
            The other edges.

        Returns
        -------
        float
        """
        moved = self._output.new_zeros(1)
        for step, kept in zip(self._passes, keep, strict=True):
            layer, features = step.layer, step.features
            if layer not in (self._network.layers[0], self._network.skip):
                features = layer.basis(step.inputs + moved)
                moved = layer.combine(features - step.features, step.weight)
            mean = torch.tensordot(self._share, step.features, dims=1)
            moved = moved - layer.combine(
                features - mean, step.weight * ~kept.unsqueeze(2)
            )
        return float(self._mean_square(moved)) / self._variance

    @torch.no_grad()
    def importances(self):
        """Mean squared change of the output when a column is permuted, as shares.

        Each row takes the value of another row in this column, drawn in proportion to
        the weights. The permutations are the same for all columns and in each call.

        Returns
        -------
        Tensor of shape (n_features,)
            The changes are divided by their sum. They are all zero if the output is
            constant. That of an unused column is zero.

        References
        ----------
        L. Breiman, Random Forests, 2001, section 10. Squared changes of the output
        stand for those of the error.
        """
        first, skip = self._passes[0], self._skip
        share = first.inputs.new_zeros(self._network.n_features)
        if math.isinf(self._variance):
            return share
        changes = first.inputs.new_zeros(first.inputs.shape[1])
        is_additive = len(self._network.layers) == 1
        lenders = [] if is_additive else list(self._lenders())
        for index in range(len(changes)):
            nodes, direct = self._leaving(first, index), 0.0
            if is_additive:  # two independent draws of one curve
                changes[index] = 2 * self._mean_square(nodes)
                continue
            if skip is not None:
                direct = self._leaving(skip, index)
            for rows in lenders:
                through_skip = direct if skip is None else direct[rows] - direct
                moved = self._of_moved(1, nodes[rows] - nodes, through_skip)
                changes[index] += moved / len(lenders)
        share[self._network.used_features.to(share.device)] = changes / changes.sum()
        return share

    @property
    def _skip(self):
        return None if self._network.skip is None else self._passes[-1]

    def _enters_output(self, step):
        return step.layer in (self._network.layers[-1], self._network.skip)

    def _centred(self, values):
        return values - torch.tensordot(self._share, values, dims=1)

    def _mean_square(self, values):
        """Weighted mean over the rows of the sum of squares over the outputs."""
        return self._share @ values.square().sum(1)

    def _leaving(self, step, index):
        """Centred values of the edges that leave an input, (n_samples, n_outputs)."""
        weight = step.layer.masked(step.weight)[:, index]
        return self._centred(step.features[:, index] @ weight.T)

    def _of_moved(self, level, nodes, direct=0.0):
        """Mean square if nodes of a level are moved together, outputs `direct`ly."""
        layers = self._network.layers
        if level == len(layers):
            return self._mean_square(nodes + direct)
        changes = torch.zeros_like(self._output)
        if nodes.any():  # else nothing changes, up to rounding
            nodes = self._passes[level].inputs + nodes
            for layer in layers[level:]:
                nodes = layer(nodes)
            skipped = 0.0 if self._skip is None else self._through_skip
            changes = nodes + skipped - self._output
        return self._mean_square(changes + direct)

    @property
    def _through_skip(self):
        skip = self._skip
        return skip.layer.combine(skip.features, skip.weight)

    def _of_nodes_moved_alone(self, level, moves):
        """Mean square if each node of a level is moved alone, Tensor of (n_nodes,).

        Parameters
        ----------
        level : int
            Of the layer that the nodes enter.
        moves : Tensor of shape (n_samples, n_nodes)
        """
        step = self._passes[level]
        features = step.layer.basis(step.inputs + moves) - step.features
        weight = step.layer.masked(step.weight)
        if self._enters_output(step):
            changes = torch.einsum("njf,ojf->noj", features, weight)
            return self._share @ changes.square().sum(1)
        return torch.stack(
            [
                self._of_moved(level + 1, features[:, node] @ weight[:, node].T)
                for node in range(moves.shape[1])
            ]
        )

    def _lenders(self):
        """For each repeat, the rows whose values the rows take, in turn."""
        n_rows = len(self._share)
        ends = self._share.cumsum(0).cpu().numpy()
        middle = (np.arange(n_rows) + 0.5) / n_rows * ends[-1]
        rows = np.searchsorted(ends, middle)
        n_repeats = min(MAX_REPEATS, -(-MIN_PAIRS // n_rows))
        generator = np.random.default_rng(0)
        for _ in range(n_repeats):
            order = torch.from_numpy(generator.permutation(rows))
            yield order.to(self._share.device)
