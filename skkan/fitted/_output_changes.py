"""What the output loses without an edge, without a node, or when a column is permuted.

The scores of edges and nodes and `feature_importances_` are shares of the variance of
the output. What cancels later in the network does not count.
"""

import math

import numpy as np
import torch

from skkan.fitted._numpy_predictor import LayerCurves
from skkan.network._attribution_and_statistics import CONSTANT_OUTPUT_STD
from skkan.network._products import nodes_of, partners
from skkan.numerics._matrix_products import IGNORE_FLOAT_WARNINGS

# Pairs of a row and the row that lends it a value. The standard error of an importance
# is then about 4% of it.
MIN_PAIRS = 1000
# Rows over which changes are taken: one of them costs a pass through the network for
# each input, and the error of an importance is that of the pairs.
MAX_CHANGED_ROWS = 1000
MAX_PAIRS_OF_ROWS = 64**2  # of few rows, all of which are taken
MAX_REPEATS = 100  # of the draws, which rows of very unequal weights need


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
    @IGNORE_FLOAT_WARNINGS
    def __init__(self, network, x, sample_share):
        self._share = sample_share.cpu().numpy()
        self._n_features = network.n_features
        self._used = network.used_features.cpu().numpy()
        output, passes = network.propagate(x)
        self._output = output.cpu().numpy()
        n_layers = len(network.layers)
        self._weights = [
            step.layer.masked(step.weight).detach().cpu() for step in passes
        ]
        # Edges that leave the inputs are linear in these; the others are curves.
        self._features = passes[0].features.cpu().numpy()
        self._skip = n_layers if network.skip is not None else None
        self._inputs = [step.inputs.cpu().numpy() for step in passes[1:n_layers]]
        self._n_products, self._sums = network.n_multiplications, self._inputs
        if any(self._n_products):  # of products the factors, which edges enter
            self._sums = [step.sums().cpu().numpy() for step in passes[: n_layers - 1]]
        self._curves = [
            LayerCurves(step.layer.basis.cpu(), weight)
            for step, weight in zip(
                passes[1:n_layers], self._weights[1:n_layers], strict=True
            )
        ]
        pairs = zip(self._curves, self._inputs, strict=True)
        # (n_outputs, n_samples, n_inputs) of each layer behind the first one
        self._edges = [curves.summands(inputs) for curves, inputs in pairs]
        self._weights = [weight.numpy() for weight in self._weights]
        self._variance = self._mean_square(self._centred(self._output))
        if self._variance < CONSTANT_OUTPUT_STD**2:
            self._variance = math.inf

    @classmethod
    def over(cls, network, data):
        """Changes over at most `MAX_CHANGED_ROWS` rows of a dataset."""
        sample = data.sample(MAX_CHANGED_ROWS)
        return cls(network, sample.X, sample.sample_weight / sample.sample_weight.sum())

    @IGNORE_FLOAT_WARNINGS
    def of_edges(self):
        """Share that the output loses if an edge is replaced by its mean, each alone.

        Returns
        -------
        list of ndarray of shape (n_outputs, n_inputs)
            One per layer of `network.all_layers`. Shares of edges that others make up
            for may exceed one.
        """
        changes = []
        for layer, weight in enumerate(self._weights):
            score = np.zeros(weight.shape[:2])
            for index in range(score.shape[1]):
                edges = self._leaving(layer, index)
                if self._enters_output(layer):
                    score[:, index] = self._share @ np.square(edges)
                else:
                    score[:, index] = self._of_sums_moved_alone(layer + 1, -edges)
            changes.append(score / self._variance)
        return changes

    @IGNORE_FLOAT_WARNINGS
    def of_nodes(self):
        """Share that the output loses if all edges that leave a node are replaced.

        Returns
        -------
        list of ndarray of shape (n_nodes,), one per layer of `network.all_layers`
            Of the nodes that the layer enters, then of the factors of products, which
            their means replace. An output loses all of its own variance.
        """
        own = self._share @ np.square(self._centred(self._output))
        changes = []
        for layer in range(len(self._weights)):
            score = own
            if not self._enters_output(layer):
                score = [
                    self._of_moved(layer + 2, -self._leaving(layer + 1, node))
                    for node in range(self._inputs[layer].shape[1])
                ]
                sums, n_products = self._sums[layer], self._n_products[layer]
                for factor in range(sums.shape[1] - 2 * n_products, sums.shape[1]):
                    moved = np.zeros_like(sums)
                    moved[:, factor] = -self._centred(sums[:, factor])
                    score.append(self._of_moved(layer + 1, moved))
            changes.append(np.array(score) / self._variance)
        return changes

    def carried(self, scores):
        """Share of the variance that the most important edges into the outputs carry.

        Means replace the other ones. The nodes that the edges leave are as they are.

        Parameters
        ----------
        scores : list of ndarray of shape (n_outputs, n_inputs)
            As `of_edges` returns them.

        Returns
        -------
        list of ndarray of shape (n_outputs, n_inputs)
            For each edge what it carries with those that come before it, which have
            higher scores, or equal ones and an earlier place. NaN for edges into hidden
            nodes. Negative where the others make up for them.
        """
        found = [np.full(score.shape, np.nan) for score in scores]
        ends = [layer for layer in range(len(scores)) if self._enters_output(layer)]
        order = np.concatenate([scores[layer].ravel() for layer in ends])
        order = (-order).argsort(kind="stable")
        rank, gain = order.argsort(), np.zeros(len(order))
        starts = np.cumsum([scores[layer].size for layer in ends])[:-1]
        parts = np.split(np.arange(len(order)), starts)
        places = [
            part.reshape(scores[layer].shape)
            for part, layer in zip(parts, ends, strict=True)
        ]
        for output, own in enumerate(np.concatenate(places, axis=1)):
            values = [self._entering(layer, output) for layer in ends]
            ranked = rank[own].argsort()
            rest = self._centred(np.concatenate(values, axis=1)[:, ranked])
            rest = rest[:, ::-1].cumsum(1)  # from the least important one on
            lost = (self._share @ np.square(rest))[::-1]
            gain[own[ranked]] = lost - np.append(lost[1:], 0.0)
        carried = gain[order].cumsum()[rank] / self._variance
        for layer, part in zip(ends, np.split(carried, starts), strict=True):
            found[layer] = part.reshape(found[layer].shape)
        return found

    @IGNORE_FLOAT_WARNINGS
    def of_all_but(self, keep):
        """Share that the output loses if several edges are replaced by their means.

        Parameters
        ----------
        keep : list of ndarray of bool of shape (n_outputs, n_inputs)
            The other edges, for each layer of `network.all_layers`.

        Returns
        -------
        float
        """
        moved = self._lost_by_inputs(0, keep[0])
        layers = zip(self._curves, self._edges, keep[1:], strict=False)
        for level, (curves, edges, kept) in enumerate(layers, start=1):
            mean = np.einsum("n,onj->oj", self._share, edges)[:, None]
            inputs = self._moved_inputs(level, moved)
            others = np.where(kept[:, None], curves.summands(inputs), mean)
            moved = (others - edges).sum(2).T
        if self._skip is not None:
            moved = moved + self._lost_by_inputs(self._skip, keep[self._skip])
        return self._mean_square(moved) / self._variance

    @IGNORE_FLOAT_WARNINGS
    def importances(self):
        """Mean squared change of the output when a column is permuted, as shares.

        Each row takes the value of another row in this column, drawn in proportion to
        the weights. The permutations are the same for all columns and in each call.

        Returns
        -------
        ndarray of shape (n_features,)
            The changes are divided by their sum. They are all zero if the output is
            constant. That of an unused column is zero.

        References
        ----------
        L. Breiman, Random Forests, 2001, section 10. Squared changes of the output
        stand for those of the error.
        """
        share = np.zeros(self._n_features)
        if math.isinf(self._variance):
            return share
        changes = np.zeros(len(self._used))
        lenders = self._lenders() if self._curves else []
        for index in range(len(changes)):
            nodes, direct = self._leaving(0, index), 0.0
            if not self._curves:  # two independent draws of one curve
                changes[index] = 2 * self._mean_square(nodes)
            if self._skip is not None:
                direct = self._leaving(self._skip, index)
            for rows, weight in lenders:
                through_skip = 0.0 if self._skip is None else direct[rows] - direct
                moved = nodes[rows] - nodes
                changes[index] += self._of_moved(1, moved, through_skip, weight)
        share[self._used] = changes / changes.sum()
        return share

    def _enters_output(self, layer):
        return layer in (len(self._curves), self._skip)

    def _centred(self, values):
        return values - self._share @ values

    def _mean_square(self, values, weight=None):
        """Weighted mean over the rows of the sum of squares over the outputs."""
        weight = self._share if weight is None else weight
        return float(weight @ np.square(values).sum(1))

    def _leaving(self, layer, index):
        """Centred values of the edges that leave an input, (n_samples, n_outputs)."""
        if layer in (0, self._skip):
            edges = self._features[:, index] @ self._weights[layer][:, index].T
        else:
            edges = self._edges[layer - 1][:, :, index].T
        return self._centred(edges)

    def _entering(self, layer, output):
        """Values of the edges into an output, ndarray of (n_samples, n_inputs)."""
        if layer in (0, self._skip):
            weight = self._weights[layer][output]
            return np.einsum("nif,if->ni", self._features, weight)
        return self._edges[layer - 1][output]

    def _lost_by_inputs(self, layer, keep):
        """Change of the nodes of a layer without some edges that leave the inputs."""
        weight = self._weights[layer] * ~keep[:, :, None]
        features = self._features.reshape(len(self._features), -1)
        return -self._centred(features @ weight.reshape(len(weight), -1).T)

    def _moved_inputs(self, level, moves):
        """Inputs of a layer when the sums before it are moved."""
        sums = self._sums[level - 1] + moves
        return nodes_of(sums, self._n_products[level - 1])

    def _of_moved(self, level, nodes, direct=0.0, weight=None):
        """Mean square if sums are moved together, and outputs `direct`ly.

        Parameters
        ----------
        level : int
            Of the layer that they enter; that behind the last one of the outputs.
        nodes : ndarray of shape (n_samples, n_sums)
        direct : float or ndarray of shape (n_samples, n_outputs), default=0.0
        weight : ndarray of shape (n_samples,), default=None
            Of the rows; None takes their shares.
        """
        if level <= len(self._curves) and nodes.any():
            moved = self._moved_inputs(level, nodes)
            moved = self._curves[level - 1](moved)
            layers = zip(self._curves[level:], self._n_products[level:], strict=True)
            for curves, n_products in layers:
                moved = curves(nodes_of(moved, n_products))
            nodes = moved - self._edges[-1].sum(2).T
        elif level <= len(self._curves):
            nodes = np.zeros_like(self._output)
        return self._mean_square(nodes + direct, weight)

    def _of_sums_moved_alone(self, level, moves):
        """Mean square if each sum before a layer is moved alone, ndarray of (n_sums,).

        Parameters
        ----------
        level : int
            Of the layer.
        moves : ndarray of shape (n_samples, n_sums)
        """
        n_products = self._n_products[level - 1]
        if n_products == 0:
            return self._of_nodes_moved_alone(level, moves)
        first, sums = moves.shape[1] - 2 * n_products, self._sums[level - 1]
        moves, score = moves.copy(), np.empty(moves.shape[1])
        moves[:, first:] *= sums[:, partners(len(score), n_products)]
        for start in (first, first + 1):
            of_nodes = np.concatenate([moves[:, :first], moves[:, start::2]], axis=1)
            found = self._of_nodes_moved_alone(level, of_nodes)
            score[:first], score[start::2] = found[:first], found[first:]
        return score

    def _of_nodes_moved_alone(self, level, moves):
        """The same of nodes, whose moves have the shape (n_samples, n_nodes)."""
        curves, inputs = self._curves[level - 1], self._inputs[level - 1]
        changes = curves.summands(inputs + moves) - self._edges[level - 1]
        if self._enters_output(level):
            return np.einsum("n,onj,onj->j", self._share, changes, changes)
        return [
            self._of_moved(level + 1, changes[:, :, node].T)
            for node in range(moves.shape[1])
        ]

    def _lenders(self):
        """Rows whose values the rows take, in turn, and the weight of each such pair.

        All pairs where they are few; else draws, of which each row of the same weight
        is in as many.
        """
        share, n_rows = self._share, len(self._share)
        if n_rows**2 <= MAX_PAIRS_OF_ROWS:
            places = np.arange(n_rows)
            shifts = [(places + shift) % n_rows for shift in range(1, n_rows)]
            return [(rows, share * share[rows]) for rows in shifts]
        n_effective = 1 / np.square(share).sum()
        n_repeats = min(MAX_REPEATS, math.ceil(MIN_PAIRS / n_effective))
        generator = np.random.default_rng(0)
        draws = (drawn_by_weight(share, generator) for _ in range(n_repeats))
        return [(rows, share / n_repeats) for rows in draws]


def drawn_by_weight(share, generator):
    """Positions of as many rows, drawn in proportion to their weights, in random order.

    Systematic draws: a row of k times the mean weight comes k times, up to one.

    Parameters
    ----------
    share : ndarray of shape (n_rows,)
        Weights that sum to one.
    generator : numpy.random.Generator
    """
    ends = share.cumsum()
    points = (np.arange(len(share)) + generator.random()) / len(share) * ends[-1]
    rows = np.searchsorted(ends, points, side="right").clip(max=len(share) - 1)
    return generator.permutation(rows)
