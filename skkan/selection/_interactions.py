"""Which features hidden nodes may take together.

Nodes are divided among groups of features. A node takes the features of its group
alone, both factors of a product those of the same group, and the nodes of further
layers take those of their own group. An additive skip takes every feature by itself.
"""

from itertools import combinations

import numpy as np
import torch

from skkan.data._column_checks import feature_position
from skkan.selection import _settings

PAIRWISE = "pairwise"
NO_INTERACTIONS = "no_interactions"
ADDITIVE = "additive"  # as `hidden_layer_sizes`


def checked_interactions(interaction_cst, names):
    """Groups of features that may act together.

    Parameters
    ----------
    interaction_cst : "pairwise", "no_interactions", sequence of sequences or None
        As the estimators have it.
    names : list of str
        Of the features.

    Returns
    -------
    "pairwise", list of tuples of int, or None
        Without interactions the list is empty.

    Raises
    ------
    ValueError
        If a group is none, or holds what is no feature.
    """
    if interaction_cst is None or interaction_cst == PAIRWISE:
        return interaction_cst
    if isinstance(interaction_cst, str):  # NO_INTERACTIONS
        return []
    groups = []
    for group in interaction_cst:
        if isinstance(group, str) or not hasattr(group, "__iter__"):
            raise ValueError(
                "interaction_cst must hold groups of features, such as [(0, 1), (2,)], "
                f"got {group!r} in {interaction_cst!r}."
            )
        groups.append(
            {feature_position(feature, names, "interaction_cst") for feature in group}
        )
    # As in HistGradientBoosting: those that are not named may act together.
    groups.append(set(range(len(names))).difference(*groups))
    together = [tuple(sorted(group)) for group in groups if len(group) > 1]
    return list(dict.fromkeys(together))


def with_groups(network, groups):
    """Network whose hidden nodes take the features of one group each.

    Parameters
    ----------
    network : KANNetwork
        With hidden nodes and without removed edges.
    groups : list of tuples of int
        At most as many as the smallest hidden layer has nodes.

    Returns
    -------
    KANNetwork
    """
    layers, before = [], None
    for layer in network.layers[:-1]:
        n_inputs = layer.mask.shape[1]
        of_nodes = np.arange(layer.n_nodes) % len(groups)
        own = layer.at_sums(of_nodes)
        if before is None:
            may_take = np.zeros((len(groups), n_inputs))
            for row, group in zip(may_take, groups, strict=True):
                row[list(group)] = 1.0
            may_take = may_take[own]
        else:
            may_take = (own[:, None] == before).astype(float)
        mask = layer.mask * torch.from_numpy(may_take).to(layer.mask)
        weight = layer.weight.detach() * mask.unsqueeze(2)
        layers.append(layer.like(weight=weight, mask=mask))
        before = of_nodes
    return network.with_layers([*layers, *network.all_layers[len(layers) :]])


def screened_pairs(data, n_categories):
    """Pairs of features that explain most of what an additive model leaves.

    Features are cut into a few bins of equal weight. What is left of the target by a
    ridge regression on the bins of all features is averaged over the cells of each
    pair. The weighted squares of these means are compared with what noise would give.

    Parameters
    ----------
    data : Dataset or DaskDataset
    n_categories : ndarray of int of shape (n_features,)
        0 for numbers.

    Returns
    -------
    list of tuples (int, int)
        Those that explain clearly more than noise, the best one first; the best one
        where none does.

    References
    ----------
    Y. Lou et al., Accurate Intelligible Models with Pairwise Interactions, 2013 (ranks
    pairs by what they explain of the residuals of an additive model).
    """
    settings = _settings.PAIRS
    sample = data.sample(_settings.SEARCH_SPACE.max_rows)
    X, target, weight = (
        part.cpu().numpy() for part in (sample.X, sample.target, sample.sample_weight)
    )
    weight = weight * len(weight) / weight.sum()
    n_bins = np.sqrt(len(X) / settings.rows_per_cell)
    n_bins = int(np.clip(n_bins, settings.min_bins, settings.max_bins))
    bins = [
        _bins(column, weight, n_bins, is_category=count > 0)
        for column, count in zip(X.T, n_categories, strict=True)
    ]
    left = _left_by_curves(bins, target - data.baseline.cpu().numpy(), weight)
    noise = weight @ np.square(left) / weight.sum()
    noise = np.where(noise > 0, noise, 1.0)
    gains = {}
    for one, other in combinations(range(len(bins)), 2):
        cell = bins[one] * (bins[other].max() + 1) + bins[other]
        of_cell = np.bincount(cell, weight)
        cells = of_cell > 0
        explained = 0.0
        for column, variance in zip(left.T, noise, strict=True):
            sums = np.bincount(cell, weight * column)[cells]
            explained += np.sum(np.square(sums) / of_cell[cells]) / variance
        expected = cells.sum() * left.shape[1]
        z = (explained - expected) / np.sqrt(2 * expected)
        gains[one, other] = explained - expected, z
    ranked = sorted(gains, key=lambda pair: -gains[pair][0])
    clear = [pair for pair in ranked if gains[pair][1] > settings.min_z]
    return clear or ranked[:1]


def _bins(column, weight, n_bins, *, is_category):
    """Number of the bin of each row; missing cells have one of their own."""
    missing = np.isnan(column)
    known = column[~missing]
    bins = np.full(len(column), n_bins)
    if is_category:
        values, counts = np.unique(known, return_counts=True)
        frequent = values[np.argsort(-counts, kind="stable")[: n_bins - 1]]
        places = np.searchsorted(np.sort(frequent), known).clip(max=len(frequent) - 1)
        is_frequent = np.sort(frequent)[places] == known
        bins[~missing] = np.where(is_frequent, places, n_bins - 1)
    elif len(known):
        order = np.argsort(known, kind="stable")
        ends = weight[~missing][order].cumsum()
        cuts = np.searchsorted(ends, ends[-1] * np.arange(1, n_bins) / n_bins)
        cuts = known[order][cuts.clip(max=len(known) - 1)]
        bins[~missing] = np.searchsorted(cuts, known, side="left")
    return np.unique(bins, return_inverse=True)[1]


def _left_by_curves(bins, target, weight):
    """Residuals of a ridge regression on the bins of all features."""
    design = np.concatenate(
        [np.eye(own.max() + 1)[own] for own in bins] + [np.ones((len(target), 1))],
        axis=1,
    )
    normal = (design.T * weight) @ design + np.eye(design.shape[1])
    coef = np.linalg.solve(normal, (design.T * weight) @ target)
    return target - design @ coef
