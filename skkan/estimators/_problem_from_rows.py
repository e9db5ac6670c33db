"""From checked rows and the parameters of an estimator to a problem of training."""

from dataclasses import replace

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from skkan.basis._outlier_limits import limited_anew
from skkan.data._categories import Categories
from skkan.data._column_checks import checked_same_columns, naming_arguments
from skkan.data._merged_rows import canonical_rows, without_zero_weights
from skkan.data._observations import effective_weights, observation_counts
from skkan.data._preprocessing import Preprocessing
from skkan.data._remembered_rows import N_REMEMBERED, joined, remembered
from skkan.data._scaling import AffineScaling
from skkan.data._validation_split import split_rows
from skkan.estimators._parameter_checks import (
    checked_continuation,
    checked_device,
    checked_grid_sizes,
    checked_layer_sizes,
    plain_interactions,
)
from skkan.network._edits import FARTHEST_KNOT, with_learnt_missing, with_range_of
from skkan.numerics import _row_blocks
from skkan.numerics._user_warnings import warn_user
from skkan.selection._interactions import ADDITIVE, checked_interactions
from skkan.selection._search_space import WITHOUT_SEARCH, Structure
from skkan.strategies._fit_problem import MAX_GRID_ROWS, FitProblem
from skkan.training._stages import adapted_loss


def make_fit_problem(
    estimator, rows, target, previous, *, validation_rows=None, streaming=False
):
    """Rows and parameters, checked and scaled.

    Parameters
    ----------
    estimator : KANRegressor or KANClassifier
    rows : tuple (X, y, sample weight)
        Checked.
    target : Target
    previous : FittedModel or None
        Fit to continue.
    validation_rows : tuple like `rows`, default=None
    streaming : bool, default=False
        Whether rows come batch by batch.

    Returns
    -------
    FitProblem
    """
    structure, device = requested_structure(estimator), checked_device(estimator.device)
    interactions = requested_interactions(estimator, structure)
    if previous is not None and structure.grid_eps is None:
        structure = replace(structure, grid_eps=previous.continuation.grid_eps)
    grid_size = structure.or_else(WITHOUT_SEARCH).grid_size
    grid_sizes = checked_grid_sizes(grid_size, estimator.grid_schedule)
    X, y, weight = rows
    rows = batch = without_zero_weights((X, target.encode(y), weight))
    generator = _generator(estimator, streaming)
    network = None
    if previous is not None:
        network = previous.network(device)
        _check_continues(estimator, previous, network, rows, streaming=streaming)
    if streaming and previous is not None:
        before = previous.continuation.rows or previous.imagined_rows(N_REMEMBERED)
        rows = joined(before, batch)
    rows = canonical_rows(*rows)
    seen = remembered(rows, generator) if streaming else None
    weigh = estimator._row_weigher(target, rows)
    *rows, weight, counts = weigh((*rows, observation_counts(rows[0], rows[2])))
    rows = *rows, effective_weights(weight, counts), counts
    unit = rows[2][0] / weight[0]  # the effective weight of a row of weight 1
    if validation_rows is not None:
        X_val, y_val, weight_val = validation_rows
        with naming_arguments("X_val and y_val"):
            validation_rows = weigh((X_val, target.encode(y_val), weight_val))
        checked_same_columns(y=rows[1], y_val=validation_rows[1])
    elif estimator.early_stopping:
        rows, validation_rows = _split(estimator, rows, target)
    preprocessing = _preprocessing(estimator, target, rows, previous)
    loss = target.loss
    if not streaming:  # a batch does not tell what kind of target it is from
        scale = preprocessing.target_scaling.scale
        loss = target.loss_of_rows(rows[1], rows[2] / unit, scale)
    data = preprocessing.dataset(rows, device)
    validation = validation_rows and preprocessing.dataset(validation_rows, device)
    has_missing = any(part.has_gaps for part in (data, validation) if part)
    if network is not None and has_missing:
        network = previous.network_with_missing(device)
        if not streaming:
            network = with_learnt_missing(network, data.missing_pattern)
    extension = 1.0
    if network is not None:
        grid_size = network.grid_size / previous.continuation.extension
        # A stream may have come far, so that its new rows look like outliers in it.
        new = preprocessing.dataset(batch, device) if streaming else data
        network = _reaching(
            network, new, structure.grid_eps, grid_size, estimator, streaming
        )
        extension = network.grid_size / grid_size
        grid_sizes = _remaining_grid_sizes(
            estimator, network, grid_sizes, extension, streaming=streaming
        )
        loss = adapted_loss(loss, [network], data)
    return FitProblem(
        settings=estimator,
        structure=structure,
        grid_sizes=grid_sizes,
        data=data,
        validation=validation,
        has_missing=has_missing,
        n_categories=_n_categories(estimator),
        loss=loss,
        preprocessing=preprocessing,
        target=target,
        generator=generator,
        previous=previous,
        network=network,
        extension=extension,
        streaming=streaming,
        remembered=seen,
        interactions=interactions,
    )


def requested_structure(estimator):
    """The structure that the parameters ask for, with None for "auto"."""
    sizes, n_multiplications = _layer_sizes(estimator)
    is_open = isinstance(sizes, str)
    # Where nodes may not take all features, each feature has a curve of its own.
    is_free = estimator.interaction_cst is None
    grid_size, grid_eps = (
        None if isinstance(value, str) else value
        for value in (estimator.grid_size, estimator.grid_eps)
    )
    if grid_size is None and estimator.grid_schedule is not None:
        grid_size = WITHOUT_SEARCH.grid_size  # where the schedule begins
    skip = bool(estimator.additive_skip) or not is_free
    return Structure(
        hidden_layer_sizes=None if is_open else sizes,
        grid_size=grid_size,
        grid_eps=grid_eps,
        additive_skip=skip or None if is_open else skip and len(sizes) > 0,
        n_multiplications=n_multiplications,
    )


def _layer_sizes(estimator):
    return checked_layer_sizes(
        estimator.hidden_layer_sizes, estimator.n_multiplications
    )


def requested_interactions(estimator, structure):
    """What features may act together; see `checked_interactions`.

    Raises
    ------
    ValueError
        If groups are not groups of features, or are more than hidden nodes.
    """
    if estimator.hidden_layer_sizes == ADDITIVE:
        return []
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        names = [f"x{index}" for index in range(estimator.n_features_in_)]
    found = checked_interactions(estimator.interaction_cst, [*map(str, names)])
    n_nodes = min(structure.n_nodes, default=None)
    if isinstance(found, list) and n_nodes is not None and len(found) > n_nodes:
        raise ValueError(
            f"interaction_cst has {len(found)} groups of two or more features, and a "
            f"hidden layer of {n_nodes} nodes: each group needs a node of its own. "
            "Take larger hidden_layer_sizes, or fewer groups."
        )
    return found


def _check_continues(estimator, previous, network, rows, *, streaming):
    """Raise a ValueError if the previous network is not of the requested kind."""
    basis = network.layers[0].basis
    skip = requested_structure(estimator).additive_skip
    has_skip = network.skip is not None
    if skip is None or len(network.layers) == 1:  # which has no need of a skip
        skip = has_skip
    requested = {"n_outputs": (rows[1].shape[1], network.widths[-1])}
    if not streaming:
        sizes, n_multiplications = _layer_sizes(estimator)
        requested |= {
            "hidden_layer_sizes": (sizes, previous.continuation.hidden_layer_sizes),
            "n_multiplications": (
                n_multiplications,
                previous.continuation.n_multiplications,
            ),
            "spline_order": (estimator.spline_order, basis.spline_order),
            "base_activation": (estimator.base_activation, basis.base_activation),
            "extrapolation": (estimator.extrapolation, basis.extrapolation),
            "interaction_cst": (
                plain_interactions(estimator.interaction_cst),
                previous.continuation.interaction_cst,
            ),
            "additive_skip": (skip, has_skip),
        }
    checked_continuation(requested)


def _reaching(network, data, grid_eps, grid_size, estimator, streaming):
    """Network whose grids reach the rows, outliers left out.

    Parameters
    ----------
    network : KANNetwork
    data : Dataset or DaskDataset
    grid_eps, grid_size : float
        The latter is the number of intervals that was requested.
    estimator : KANRegressor or KANClassifier
    streaming : bool
        Whether hidden nodes follow the rows although the inputs stay in their range,
        as nothing else updates their grids.
    """
    x, basis = data.sample(MAX_GRID_ROWS).X, network.layers[0].basis
    numbers = network.used_features[basis.is_number]
    grid, x = basis.splines.grid, x.clone()
    within = limited_anew(x[:, numbers], grid, adaptive=grid_eps < 1)
    x[:, numbers] = within
    too_far = (within.abs() > FARTHEST_KNOT).any(0).cpu().numpy()
    if too_far.any():
        names = getattr(estimator, "feature_names_in_", np.arange(data.n_features))
        columns = names[numbers.cpu().numpy()[too_far]].tolist()
        warn_user(
            f"{type(estimator).__name__} continues its curves in columns {columns}: "
            f"there are rows more than {FARTHEST_KNOT:.0f} deviations of the first "
            "rows away from these. Clip them, or start afresh by fit with "
            "warm_start=False.",
            ConvergenceWarning,
        )
    return with_range_of(network, x, grid_size, hidden=streaming)


def _remaining_grid_sizes(estimator, network, grid_sizes, extension, *, streaming):
    """Grid sizes that the network of the previous fit has still to visit."""
    is_open = estimator.grid_size == "auto" and estimator.grid_schedule is None
    if streaming or is_open:
        return (network.grid_size,)
    sizes = [round(size * extension) for size in grid_sizes]
    if sizes[-1] < network.grid_size:
        raise ValueError(
            f"grid_size must not shrink, got {grid_sizes[-1]} after an earlier fit "
            f"that ended at {round(network.grid_size / extension)}: a coarser grid "
            "cannot represent the fitted curves. Raise it, or set warm_start=False."
        )
    return tuple(size for size in sizes if size >= network.grid_size)


def _split(estimator, rows, target):
    """Rows to fit, and rows to validate on."""
    fitted, validation = split_rows(
        rows,
        estimator.validation_fraction,
        target.strata(rows[1]),
        _seed(estimator),
    )
    # Validation rows are scored after every step, so that they come here from their
    # chunks. So do the others if they have become few: they are summed as in memory.
    X, *others = fitted
    if len(X) <= _row_blocks.SINGLE_BLOCK_ROWS:
        X = np.asarray(X)
    X_val, y_val, weight_val, _ = validation
    return (X, *others), (np.asarray(X_val), y_val, weight_val)


def _preprocessing(estimator, target, rows, previous):
    X, matrix, weight, *_ = rows
    if previous is not None:
        scaling = previous.preprocessing.input_scaling.with_new_columns(X, weight)
        return replace(previous.preprocessing, input_scaling=scaling)
    target_scaling = target.scaling(matrix, weight)
    baseline = target.loss.baseline(
        torch.from_numpy(target_scaling.transform(matrix)), torch.from_numpy(weight)
    )
    input_scaling = AffineScaling.robust(X, weight)
    if estimator.categories_ is not None:
        input_scaling = input_scaling.without_units(_n_categories(estimator) > 0)
    return Preprocessing(input_scaling, target_scaling, baseline.numpy())


def _n_categories(estimator):
    """Number of categories of each feature, 0 for numbers, (n_features,)."""
    if estimator.categories_ is None:
        return np.zeros(estimator.n_features_in_, dtype=int)
    return Categories(estimator.categories_).counts


def _seed(estimator):
    return int(check_random_state(estimator.random_state).randint(2**31 - 1))


def _generator(estimator, streaming):
    """Generator from `random_state`; each batch of a stream gets another one."""
    n_before = getattr(estimator, "n_iter_", 0) if streaming else 0
    return torch.Generator().manual_seed(_seed(estimator) + n_before)
