"""Networks changed during training: grids, hidden nodes and missing cells.

Every function takes a network and returns another one.
"""

from functools import partial

import torch

from skkan.basis._categories_and_missing import MixedBasis

# A node has outgrown its grid when less than this part of the margin is left.
MIN_MARGIN_LEFT = 1 / 3
# A grid is too wide when its node fills less than half of it. A node that fills less
# than 2% hardly varies, and scaling it would blow up rounding.
MIN_FILLED, MIN_VARYING = 0.5, 0.02
# Grids are not extended farther than that, in scaled units, in which first grids reach
# to about 10.
FARTHEST_KNOT = 1e3
# Intervals of an extended grid for each that was requested. A range that becomes 20
# times as wide at once takes as many; inputs whose ranges grow in turns add up theirs.
MAX_GROWTH = 4


def resized(network, grid_size, inputs=None):
    """Network on grids of another size, which may be coarser.

    Coarser grids hold less of the function.

    Parameters
    ----------
    network : KANNetwork
    grid_size : int
    inputs : BSplineBasis, default=None
        Basis of the first layer; None interpolates the present knots.

    Returns
    -------
    KANNetwork
    """
    bases = {layer.basis: layer.basis.resized(grid_size) for layer in network.layers}
    if inputs is not None:
        bases[network.layers[0].basis] = inputs
    return network.with_bases(bases)


def with_updated_hidden_grids(network, data, grid_eps, margin=0.0):
    """Network whose hidden layers have grids that fit the rows of data.

    Parameters
    ----------
    network : KANNetwork
    data : Dataset or DaskDataset
        The nodes of the first hidden layer come to this machine, since grids are
        quantiles.
    grid_eps : float
    margin : float, default=0.0
        These two as for `grid_from_samples`.

    Returns
    -------
    KANNetwork
    """
    return network.with_hidden_grids_from_nodes(
        data.map_rows(partial(_first_layer, network)),
        grid_eps=grid_eps,
        margin=margin,
        sample_weight=data.sample_weight,
    )


@torch.no_grad()
def _first_layer(network, x):
    return network.layers[0](network.inputs(x))


@torch.no_grad()
def with_standardised_nodes(network, x, *, grid_eps, margin, sample_weight):
    """Network with nearly the same function, whose nodes fit their grids.

    A hidden node that has used up most of the margin of its grid, or fills less than
    half of it, is shifted and scaled to mean zero and deviation one, and gets a grid
    from its samples. The curves before it take up shift and scale exactly; those behind
    it are projected onto the new grid. Nodes that hardly vary are left alone, since
    rounding would be blown up. A product is not shifted: its factors are scaled to mean
    squares of one.

    Parameters
    ----------
    network : KANNetwork
    x : Tensor of shape (n_samples, n_features)
    grid_eps, margin, sample_weight
        As for `grid_from_samples`.

    Returns
    -------
    network : KANNetwork
    scales : list of Tensor of shape (n_sums,), one per hidden layer
        The nodes, or the factors of products, were divided by them; None if no node had
        to change.
    """
    layers, scales = [network.layers[0]], []
    sums = network.layers[0].sums_at(network.inputs(x))
    share = sample_weight / sample_weight.sum()
    for layer in network.layers[1:]:
        below = layers[-1]
        nodes = below.nodes_of(sums)
        moved = _misfits(layer.basis.grid, nodes, margin)
        mean = share @ sums
        mean[sums.shape[1] - 2 * below.n_multiplications :] = 0.0  # of factors
        of_sums = below.at_sums(moved)
        shift = torch.where(of_sums, mean, 0.0)
        std = (share @ (sums - mean).square()).sqrt()
        scale = torch.where(of_sums, std, 1.0)
        scales.append(scale)
        if moved.any():
            layers[-1] = below.with_scaled_outputs(scale, shift)
            nodes = below.nodes_of((sums - shift) / scale)
            basis = layer.basis.with_grids_of(
                nodes, grid_eps=grid_eps, margin=margin, sample_weight=sample_weight
            )
            grid = torch.where(moved.unsqueeze(1), basis.grid, layer.basis.grid)
            basis = basis.with_grid(grid)
            scale, shift = below.nodes_of(scale), below.nodes_of(shift)
            layer = layer.with_basis(basis, scale=scale, shift=shift)
        layers.append(layer)
        if len(layers) < len(network.layers):
            sums = layer.sums_at(nodes)
    if all((scale == 1).all() for scale in scales):
        return network, None
    return network.with_layers([*layers, *network.all_layers[len(layers) :]]), scales


@torch.no_grad()
def with_range_of(network, x, grid_size, *, hidden=True):
    """Network whose grids keep their knots and reach the samples, layer by layer.

    Curves stay exactly as they are in the present ranges, as long as grids have at most
    four times the intervals that were requested. Then knots are taken out where they
    are dense, and curves stay nearly as they are.

    Parameters
    ----------
    network : KANNetwork
    x : Tensor of shape (n_samples, n_features)
    grid_size : int
        See `grid_with_range`.
    hidden : bool, default=True
        Whether hidden grids are extended, too, where those of the inputs need not be.

    Returns
    -------
    KANNetwork
        This one if its grids reach far enough.
    """
    nodes, layers, bases = network.inputs(x), [], {}
    for layer in network.layers:
        near = nodes.clamp(-FARTHEST_KNOT, FARTHEST_KNOT)
        basis = layer.basis.with_range_of(near, grid_size)
        if basis is not layer.basis:
            bases[layer.basis] = basis
            layer = layer.with_basis(basis)
        elif not hidden:
            return network
        hidden = True
        layers.append(layer)
        nodes = layer(nodes)
    if not bases:
        return network
    network, most = network.with_bases(bases), round(MAX_GROWTH * grid_size)
    return network.with_bases(
        {
            layer.basis: layer.basis.with_fewer_knots(most)
            for layer in network.layers
            if layer.basis.grid_size > most
        }
    )


def with_outputs_at_zero(network, outputs):
    """Network whose curves into some outputs are zero.

    Parameters
    ----------
    network : KANNetwork
    outputs : Tensor of bool of shape (n_outputs,)
    """
    if not outputs.any():
        return network
    keep = (~outputs).view(-1, 1, 1)
    ends = (network.layers[-1], network.skip)
    return network.with_weights(
        [
            layer.weight.detach() * keep if layer in ends else layer.weight.detach()
            for layer in network.all_layers
        ]
    )


def _misfits(grid, nodes, margin):
    """Mask of the nodes that nearly leave their grid or fill too little of it."""
    width = grid[:, -1] - grid[:, 0]
    low, high = nodes.amin(0), nodes.amax(0)
    beyond = torch.maximum(grid[:, 0] - low, high - grid[:, -1]) / width
    filled = (high - low) / width
    leaves = beyond > -MIN_MARGIN_LEFT * margin
    return (leaves | (filled < MIN_FILLED)) & (filled > MIN_VARYING)


def with_means_at_missing(network, data):
    """Network in which missing cells count as the mean of the rows of data.

    Values at "missing" that were learnt stay.

    Parameters
    ----------
    network : KANNetwork
    data : Dataset or DaskDataset

    Returns
    -------
    KANNetwork
    """
    if not network.layers[0].basis.takes_missing:
        return network
    sums = data.summed(partial(_sums_of_known, network), data.n_rows)
    return with_input_basis(network, network.layers[0].basis.with_means_from(sums))


def _sums_of_known(network, rows):
    inputs = network.inputs(rows.X)
    return network.layers[0].basis.sums_of_known(inputs, rows.sample_weight)


def with_values_at_missing(network, means):
    """Network that takes missing cells, which count as means.

    Parameters
    ----------
    network : KANNetwork
        A network that takes missing cells already is returned unchanged.
    means : Tensor of shape (n_inputs, n_functions)
        Values of the basis functions at a missing cell.

    Returns
    -------
    KANNetwork
    """
    if network.layers[0].basis.takes_missing:
        return network
    first = network.layers[0].basis
    basis = MixedBasis.around(first, means)
    return network.with_layers(
        [
            layer.like(basis) if layer.basis is first else layer
            for layer in network.all_layers
        ]
    )


def with_learnt_missing(network, x):
    """Network with a value at "missing" for every input that has missing cells.

    Training is to learn the value. Until then it is the mean of each edge.

    Parameters
    ----------
    network : KANNetwork
        With a `MixedBasis` of the inputs.
    x : Tensor of shape (n_samples, n_features)

    Returns
    -------
    KANNetwork
    """
    basis = network.layers[0].basis
    wider = basis.with_missing_of(network.inputs(x))
    return network if wider is basis else with_input_basis(network, wider)


def with_input_basis(network, basis):
    """Network with nearly the same function on another basis of the inputs."""
    return network.with_bases({network.layers[0].basis: basis})
