"""Statistics of the edges and inputs of each layer over the training rows.

A fitted estimator keeps them in place of the rows. Displays, pruning and formulas read
them. They are in scaled units.
"""

from dataclasses import dataclass

import numpy as np
import torch

from skkan.network._attribution import edge_scores, input_scores

N_BINS = 40  # of the densities; each is 2.5% of the range of an input


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """Statistics of the inputs and edges of one layer over the weighted training rows.

    Attributes
    ----------
    score : ndarray of shape (n_outputs, n_inputs)
        Attribution of each edge; see `edge_scores`.
    std : ndarray of shape (n_outputs, n_inputs)
        Standard deviation of the values of each edge.
    low, high : ndarrays of shape (n_inputs,)
        Range of each input, missing cells left out.
    density : ndarray of shape (n_inputs, N_BINS)
        Share of the known cells in each of `N_BINS` equal parts of that range.
    mean_features : ndarray of shape (n_inputs, n_functions)
        Mean of the basis functions of each input.
    """

    score: np.ndarray
    std: np.ndarray
    low: np.ndarray
    high: np.ndarray
    density: np.ndarray
    mean_features: np.ndarray

    def to_arrays(self):
        """Dict of the arrays, from which `LayerStatistics(**arrays)` rebuilds it."""
        return dict(vars(self))


@torch.no_grad()
def network_statistics(network, x, sample_share):
    """Statistics of the edges and inputs of every layer, and of the columns of x.

    Parameters
    ----------
    network : KANNetwork
    x : Tensor of shape (n_samples, n_inputs)
    sample_share : Tensor of shape (n_samples,)
        Sample weights that sum to one.

    Returns
    -------
    layers : list of LayerStatistics, one per layer of `network.all_layers`
    importances : Tensor of shape (n_features,)
        See `KANNetwork.attribution`.
    """
    output, passes = network.propagate(x)
    scores = edge_scores(network, output, passes, sample_share)
    layers = []
    for step, score in zip(passes, scores, strict=True):
        std = step.layer.edge_std(step.features, step.weight, sample_share)
        low, high = _range(step.inputs)
        density = _density(step.inputs, low, high, sample_share)
        mean = torch.einsum("n,nif->if", sample_share, step.features)
        fields = score, std * step.layer.mask, low, high, density, mean
        layers.append(LayerStatistics(*(each.cpu().numpy() for each in fields)))
    return layers, input_scores(network, scores)


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
    share = sample_share.unsqueeze(1).expand(inputs.shape)
    missing = inputs.isnan()
    if missing.any():
        share = share * ~missing
        share = share / share.sum(0).clamp(min=1e-300)
        inputs = torch.where(missing, low, inputs)
    bins = ((inputs - low) / width * N_BINS).long().clamp_(0, N_BINS - 1)
    return density.scatter_add_(1, bins.T, share.T.contiguous())
