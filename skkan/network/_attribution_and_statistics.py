"""Statistics of edges over the training rows, and the attribution scores of KAN 2.0.

A fitted estimator keeps statistics in place of the rows. Displays and formulas read
them. They are in scaled units.
"""

from dataclasses import dataclass

import numpy as np
import torch

from skkan.numerics._floating_point import SMALLEST_DIVISOR

NODE_STD_FLOOR = 1e-4  # of the KAN 2.0 paper, so that a dead node scores zero
# In units of a standardised target: the root of rounding, to which the deviation of an
# edge is precise.
CONSTANT_OUTPUT_STD = 1e-8
N_BINS = 40  # of the densities; each is 2.5% of the range of an input


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """Statistics of the inputs and edges of one layer over the weighted training rows.

    Attributes
    ----------
    score : ndarray of shape (n_outputs, n_inputs)
        What the output loses without each edge; see `OutputChanges.of_edges`.
    node_score : ndarray of shape (n_outputs,)
        What it loses without each node that edges enter; see `OutputChanges.of_nodes`.
    std : ndarray of shape (n_outputs, n_inputs)
        Standard deviation of the values of each edge.
    low, high : ndarrays of shape (n_inputs,)
        Range of each input, missing cells left out.
    density : ndarray of shape (n_inputs, N_BINS)
        Share of the known cells in each of `N_BINS` equal parts of that range.
    mean_features : ndarray of shape (n_inputs, n_functions)
        Mean of the basis functions of each input.
    carried : ndarray of shape (n_outputs, n_inputs) or None
        Of edges into the outputs: what each carries with all that are more important;
        see `OutputChanges.carried`. None where it was not stored.
    """

    score: np.ndarray
    node_score: np.ndarray
    std: np.ndarray
    low: np.ndarray
    high: np.ndarray
    density: np.ndarray
    mean_features: np.ndarray
    carried: np.ndarray | None = None

    def to_arrays(self):
        """Dict of the arrays, from which `LayerStatistics(**arrays)` rebuilds it."""
        return dict(vars(self))


@torch.no_grad()
def network_statistics(network, x, sample_share, changes):
    """Statistics of the edges and inputs of every layer.

    Parameters
    ----------
    network : KANNetwork
    x : Tensor of shape (n_samples, n_inputs)
    sample_share : Tensor of shape (n_samples,)
        Sample weights that sum to one.
    changes : OutputChanges
        Of some of these rows.

    Returns
    -------
    list of LayerStatistics, one per layer of `network.all_layers`
    """
    _, passes = network.propagate(x)
    layers = []
    scores = changes.of_edges()
    of_changes = scores, changes.of_nodes(), changes.carried(scores)
    for step, *score, carried in zip(passes, *of_changes, strict=True):
        std = step.layer.edge_std(step.features, step.weight, sample_share)
        low, high = _range(step.inputs)
        density = _density(step.inputs, low, high, sample_share)
        mean = torch.einsum("n,nif->if", sample_share, step.features)
        fields = std * step.layer.mask, low, high, density, mean
        fields = [each.cpu().numpy() for each in fields]
        layers.append(LayerStatistics(*score, *fields, carried))
    return layers


def _range(inputs):
    """Smallest and largest known value of each input; zero where none is known."""
    missing = inputs.isnan()
    if not missing.any():
        return inputs.amin(0), inputs.amax(0)
    low = torch.where(missing, torch.inf, inputs).amin(0)
    high = torch.where(missing, -torch.inf, inputs).amax(0)
    empty = missing.all(0)
    return torch.where(empty, 0.0, low), torch.where(empty, 0.0, high)


def _density(inputs, low, high, sample_share):
    width = torch.where(high > low, high - low, 1.0)
    density = inputs.new_zeros(inputs.shape[1], N_BINS)
    weight = sample_share.unsqueeze(1).expand(inputs.shape)
    missing = inputs.isnan()
    if missing.any():
        weight = weight * ~missing
        weight = weight / weight.sum(0).clamp(min=SMALLEST_DIVISOR)
        inputs = torch.where(missing, low, inputs)
    bins = ((inputs - low) / width * N_BINS).long().clamp_(0, N_BINS - 1)
    return density.scatter_add_(1, bins.T, weight.T.contiguous())


@torch.no_grad()
def edge_scores(network, output, passes, sample_share):
    """Share of each edge in the variation of the outputs.

    Every output node starts with the same score. The score of an edge is that of the
    node that it enters, in proportion to the standard deviation of the edge,
    edge_ij = std(phi_ij) node_i / (std(node_i) + 1e-4).
    The score of a hidden node is the sum over the edges that leave it. Each factor of a
    product has the score of the product.

    Parameters
    ----------
    network : KANNetwork
    output, passes
        Result of `network.propagate`.
    sample_share : Tensor of shape (n_samples,)
        Sample weights that sum to one.

    Returns
    -------
    list of Tensor of shape (n_outputs, n_inputs)
        One per layer of `all_layers`, non-negative; zero if the network is constant.
        Edges that partly cancel count in full, so that scores may sum to more than one.

    References
    ----------
    Z. Liu et al., KAN 2.0: Kolmogorov-Arnold Networks Meet Science, 2024,
    section 4.1.
    """
    stds = [
        step.layer.edge_std(step.features, step.weight, sample_share) * step.layer.mask
        for step in passes
    ]
    output_std = _node_std(output, sample_share)
    # Rounding of the edges' deviations would become scores of 1e-4, by the floor of the
    # nodes.
    if output_std.max() < CONSTANT_OUTPUT_STD:
        return [torch.zeros_like(std) for std in stds]
    node = torch.full_like(output_std, 1 / len(output_std))
    node = node / (output_std + NODE_STD_FLOOR)
    through_skip = [] if network.skip is None else [stds.pop() * node.unsqueeze(1)]
    scores = []
    below = [None, *passes]
    for before, step, std in reversed(list(zip(below, passes, stds, strict=False))):
        scores.insert(0, std * node.unsqueeze(1))
        node = scores[0].sum(0)
        if step.layer is not network.layers[0]:
            sums = before.sums() if before.layer.n_multiplications else step.inputs
            node = before.layer.at_sums(node)
            node = node / (_node_std(sums, sample_share) + NODE_STD_FLOOR)
    return scores + through_skip


def input_scores(network, scores):
    """Attribution of each column of x from the scores of all edges.

    Parameters
    ----------
    network : KANNetwork
    scores : list of Tensor of shape (n_outputs, n_inputs)
        As `edge_scores` returns them.

    Returns
    -------
    Tensor of shape (n_features,)
        The scores sum to one or are all zero. That of an unused column is zero.
    """
    score = scores[0].sum(0)
    if network.skip is not None:
        score = score + scores[-1].sum(0)
    total = score.sum()
    share = score.new_zeros(network.n_features)
    share[network.used_features.to(score.device)] = score / total if total > 0 else 0.0
    return share


def _node_std(values, sample_share):
    """Standard deviation over the samples of every node, Tensor of shape (n_nodes,)."""
    centred = values - sample_share @ values
    return (sample_share @ centred.square()).sqrt()
