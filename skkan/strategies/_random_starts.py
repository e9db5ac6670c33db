"""Curves at random as starting points: nearly straight ones lead to one or two optima.

Training tries them, and chooses one by a few steps of each.
"""

import torch

from skkan.network._edits import with_outputs_at_zero
from skkan.penalties._eigen_directions import EdgeKinds
from skkan.training import _settings


def random_starts(network, n_rows, data, plan, generator):
    """Networks with curves at random, as many as are cheap to try.

    Parameters
    ----------
    network : KANNetwork
        Gives shape and input grids.
    n_rows : int
        Number of rows on which they are tried.
    data : Dataset or DaskDataset
    plan : FitPlan
    generator : torch.Generator

    Returns
    -------
    list of KANNetwork
        Empty without hidden layers, where there is one optimum only, and for classes,
        whose evidence near the start does not tell the better one.
    """
    settings = _settings.RANDOM_STARTS
    if len(network.layers) == 1 or not plan.loss.has_noise:
        return []
    size = n_rows * network.widths[-1] + network.n_parameters
    products = size * network.n_parameters**2
    n_trials = min(settings.max_products / products, plan.max_iter / 2)
    n_starts = min(settings.max_starts, int(n_trials / settings.n_steps))
    return [
        _with_random_curves(network, data, plan, generator) for _ in range(n_starts)
    ]


@torch.no_grad()
def _with_random_curves(network, data, plan, generator):
    """Network with smooth curves at random; its nodes have the deviation one.

    Outputs that are zero stay so.
    """
    sample = data.sample(_settings.SECOND_ORDER.max_rows_per_grid_update)
    nodes, layers = network.inputs(sample.X), []
    for layer in network.layers:
        basis = layer.basis
        if layers:
            basis = basis.with_grids_of(
                nodes,
                grid_eps=plan.grid_eps,
                margin=plan.hidden_margin,
                sample_weight=sample.sample_weight,
            )
        layer = _drawn(layer.like(basis), generator)
        nodes = layer.sums_at(nodes)
        share = sample.sample_weight / sample.sample_weight.sum()
        scale = (share @ (nodes - share @ nodes).square()).sqrt()
        scale = torch.where(scale > 0, scale, 1.0)
        layers.append(layer.with_weight(layer.weight / scale.view(-1, 1, 1)))
        nodes = layer.nodes_of(nodes / scale)
    known = (network.layers[-1].weight == 0).flatten(1).all(1)
    network = network.with_layers([*layers, *network.all_layers[len(layers) :]])
    return with_outputs_at_zero(network, known)


def _drawn(layer, generator):
    """The layer with weights from the prior."""
    kinds = EdgeKinds.of([layer])
    shape = _settings.RANDOM_STARTS.prior_shape
    precision = kinds.in_use(
        layer.mask.new_tensor([shape]).repeat(layer.mask.numel(), 1)
    )
    draw = torch.randn(int(kinds.sizes.sum()), generator=generator, dtype=torch.float64)
    flat = kinds.back(draw.to(precision) * kinds.spread(precision).rsqrt())
    return layer.with_weight(layer.unpacked(flat.view(len(layer.mask), -1)))
