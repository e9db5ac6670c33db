"""What a network computes: output, what passes through, how much its parts matter.

Networks are made, stored and changed in `network._network`. Both work in scaled units
and know nothing of losses, solvers or scikit-learn.
"""

from typing import NamedTuple

import torch
from torch import nn

from skkan.basis._autograd import checked_samples
from skkan.network._layer import KANLayer

NODE_FLOOR = 1e-4  # of the KAN 2.0 attribution, so that a dead node scores zero
CONSTANT_STD = 1e-8  # of an output, in units of a standardised target


class LayerPass(NamedTuple):
    """What went into a layer during one pass through the network."""

    layer: KANLayer
    weight: torch.Tensor  # (n_outputs, n_inputs, n_functions)
    inputs: torch.Tensor  # (n_samples, n_inputs)
    features: torch.Tensor  # (n_samples, n_inputs, n_functions)


class Composition(nn.Module):
    """The half of a `KANNetwork` that is evaluated; not to be instantiated."""

    def __init__(self, layers, skip=None, used=None):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.skip = skip
        self.register_buffer("used", used)

    @property
    def all_layers(self):
        """The layers in order, then the skip layer if there is one."""
        return [*self.layers] + ([] if self.skip is None else [self.skip])

    @property
    def weights(self):
        """The weight of each of `all_layers`, without gradient."""
        return [layer.weight.detach() for layer in self.all_layers]

    @property
    def n_parameters(self):
        """Number of weights, those of removed edges included."""
        return sum(len(layer.mask) * layer.n_weights for layer in self.all_layers)

    @property
    def theta(self):
        """The weights that are in use as one vector, (n_parameters,)."""
        layers = self.all_layers
        return torch.cat(
            [layer.packed(layer.weight.detach()).flatten() for layer in layers]
        )

    def unpacked(self, theta):
        """The weight of each of `all_layers` from one vector."""
        weights, start = [], 0
        for layer in self.all_layers:
            n_outputs, n_weights = layer.weight.shape[0], layer.n_weights
            stop = start + n_outputs * n_weights
            weights.append(layer.unpacked(theta[start:stop].view(n_outputs, n_weights)))
            start = stop
        return weights

    @property
    def grid_size(self):
        return self.layers[0].basis.grid_size

    @property
    def n_features(self):
        """Number of columns of x, unused ones included."""
        return self.widths[0] if self.used is None else len(self.used)

    @property
    def used_features(self):
        """Indices of the columns of x that are inputs, Tensor of shape (n_inputs,)."""
        if self.used is None:
            return torch.arange(self.n_features, device=self.layers[0].mask.device)
        return self.used.nonzero().flatten()

    @property
    def weight_mask(self):
        """1 for each weight of an edge, 0 where that is removed, (n_parameters,)."""
        return torch.cat(
            [
                layer.packed(
                    layer.mask.unsqueeze(-1).expand(layer.weight.shape)
                ).flatten()
                for layer in self.all_layers
            ]
        )

    @property
    def n_edges(self):
        """Number of edges that are not removed."""
        return sum(int(layer.mask.sum()) for layer in self.all_layers)

    @property
    def leaving_edges(self):
        """Positions of the edges that leave the inputs, and the nodes of hidden layers.

        Returns
        -------
        list of Tensor of int of shape (n_nodes, n_edges), one per layer of `layers`
            Among the edges of all layers; those of the skip leave the inputs, too.
        """
        counts = [layer.mask.numel() for layer in self.all_layers]
        positions = torch.arange(sum(counts)).split(counts)
        leaving = [
            part.view(layer.mask.shape).T
            for part, layer in zip(positions, self.all_layers, strict=True)
        ]
        if self.skip is not None:
            leaving[0] = torch.cat([leaving[0], leaving.pop()], dim=1)
        return leaving

    @property
    def widths(self):
        """Number of used inputs, of nodes of each hidden layer, of outputs."""
        return [
            self.layers[0].basis.n_inputs,
            *(len(layer.weight) for layer in self.layers),
        ]

    @property
    def takes_missing(self):
        """Whether it knows of missing cells, or of categories."""
        return self.layers[0].basis.takes_missing

    def forward(self, x):
        """Network output.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)

        Returns
        -------
        Tensor of shape (n_samples, n_outputs)
        """
        inputs = nodes = self.inputs(x)
        for layer in self.layers:
            nodes = layer(nodes)
        return nodes if self.skip is None else nodes + self.skip(inputs)

    def inputs(self, x):
        """The used columns of x, Tensor of shape (n_samples, n_inputs)."""
        if self.used is None:
            return x
        return checked_samples(x, len(self.used))[:, self.used]

    def propagate(self, x, weights=None, features=None):
        """Output, and what passed through each layer on the way.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
        weights : list of Tensor, default=None
            One weight per layer of `all_layers`; None takes the network's own.
        features : Tensor of shape (n_samples, n_inputs, n_functions), default=None
            Basis values of the first layer, where the caller keeps them.

        Returns
        -------
        output : Tensor of shape (n_samples, n_outputs)
        passes : list of LayerPass, one per layer of `all_layers`
        """
        if weights is None:
            weights = [layer.weight for layer in self.all_layers]
        passes, inputs = [], self.inputs(x)
        for layer, weight in zip(self.layers, weights, strict=False):
            if features is None:
                features = layer.basis(inputs)
            passes.append(LayerPass(layer, weight, inputs, features))
            inputs, features = layer.combine(features, weight), None
        output = inputs
        if self.skip is not None:
            features = passes[0].features
            passes.append(LayerPass(self.skip, weights[-1], passes[0].inputs, features))
            output = output + self.skip.combine(features, weights[-1])
        return output, passes

    def activations(self, x):
        """Values of every edge.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)

        Returns
        -------
        list of Tensor of shape (n_samples, n_outputs, n_inputs)
            One per layer of `all_layers`.
        """
        return [step.layer.activations(step.inputs) for step in self.propagate(x)[1]]

    @torch.no_grad()
    def first_nodes(self, x):
        """What the first layer makes of x, Tensor of shape (n_samples, n_nodes)."""
        return self.layers[0](self.inputs(x))

    def sums_of_known(self, x, sample_weight):
        """What `with_means_from` takes; see `MixedBasis.sums_of_known`."""
        return self.layers[0].basis.sums_of_known(self.inputs(x), sample_weight)

    @torch.no_grad()
    def edge_scores(self, output, passes, sample_share):
        """Share of each edge in the variation of the outputs.

        Every output node starts with the same score. A node hands its score down to
        its edges in proportion to their standard deviation,
        edge_ij = std(phi_ij) node_i / (std(node_i) + 1e-4),
        and a node below collects the scores of the edges that leave it.

        Parameters
        ----------
        output, passes
            What `propagate` returned.
        sample_share : Tensor of shape (n_samples,)
            Sample weights that sum to one.

        Returns
        -------
        list of Tensor of shape (n_outputs, n_inputs)
            One per layer of `all_layers`, not negative; zero if the network is
            constant. Edges that partly cancel count in full, so that scores may sum to
            more than one.

        References
        ----------
        Z. Liu et al., KAN 2.0: Kolmogorov-Arnold Networks Meet Science, 2024,
        section 4.1.
        """
        stds = [
            step.layer.edge_std(step.features, step.weight, sample_share)
            * step.layer.mask
            for step in passes
        ]
        output_std = node_std(output, sample_share)
        # The edges' deviations would not tell: they are precise to 1e-8 of the weights,
        # the root of rounding, and the floor of the nodes makes that a score of 1e-4.
        if output_std.max() < CONSTANT_STD:
            return [torch.zeros_like(std) for std in stds]
        node = torch.full_like(output_std, 1 / len(output_std))
        node = node / (output_std + NODE_FLOOR)
        through_skip = [] if self.skip is None else [stds.pop() * node.unsqueeze(1)]
        scores = []
        for step, std in reversed(list(zip(passes, stds, strict=False))):
            scores.insert(0, std * node.unsqueeze(1))
            node = scores[0].sum(0)
            if step.layer is not self.layers[0]:
                node = node / (node_std(step.inputs, sample_share) + NODE_FLOOR)
        return scores + through_skip

    @torch.no_grad()
    def attribution(self, x, sample_share):
        """Share of each column in the variation of the outputs; see `edge_scores`.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
        sample_share : Tensor of shape (n_samples,)
            Sample weights that sum to one.

        Returns
        -------
        Tensor of shape (n_features,)
            Non-negative; they sum to one unless the network is constant.
        """
        scores = self.edge_scores(*self.propagate(x), sample_share)
        return self.input_scores(scores)

    def input_scores(self, edge_scores):
        """Scores of the columns from those of all edges.

        They sum to one or are zero; that of an unused column is zero.
        """
        score = edge_scores[0].sum(0)
        if self.skip is not None:
            score = score + edge_scores[-1].sum(0)
        total = score.sum()
        share = score.new_zeros(self.n_features)
        share[self.used_features.to(score.device)] = score / total if total > 0 else 0.0
        return share


def node_std(values, sample_share):
    """Standard deviation over the samples of every node, Tensor of shape (n_nodes,)."""
    centred = values - sample_share @ values
    return (sample_share @ centred.square()).sqrt()
