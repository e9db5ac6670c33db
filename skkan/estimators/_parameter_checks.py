"""Checks of the estimators' parameters, each with a remedy in its message."""

from itertools import pairwise
from numbers import Integral

import numpy as np
import torch


def checked_continuation(requested):
    """Raise unless the requested values are those of the previous fit.

    `requested` maps names to pairs of values: requested, and fitted.
    """
    for name, (value, fitted) in requested.items():
        if value != fitted:
            raise ValueError(
                f"The earlier fit, which is to be continued, has {name}={fitted!r}, "
                f"got {value!r}: keep it, or start afresh by fit with warm_start=False."
            )


def checked_layer_sizes(hidden_layer_sizes, n_multiplications):
    """Numbers of sums and of products of each hidden layer.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, int or str
    n_multiplications : array-like of int or int

    Returns
    -------
    hidden_layer_sizes : tuple of int or str
    n_multiplications : tuple of int
        Empty where there are none.
    """
    counts = np.atleast_1d(np.asarray(n_multiplications, dtype=object)).tolist()
    if not all(count == 0 or is_count(count) for count in counts):
        raise ValueError(
            "n_multiplications must hold integers of at least 0, got "
            f"{n_multiplications!r}: give the number of products of all hidden layers, "
            "or of each, such as (2, 0)."
        )
    if isinstance(hidden_layer_sizes, str):
        if any(counts):
            raise ValueError(
                "n_multiplications needs hidden_layer_sizes that are set, got "
                f"n_multiplications={n_multiplications!r} and hidden_layer_sizes="
                f"{hidden_layer_sizes!r}, which chooses among sums alone: set "
                "hidden_layer_sizes, such as (5,), or (0,) for products alone."
            )
        return hidden_layer_sizes, ()
    sizes = np.atleast_1d(np.asarray(hidden_layer_sizes, dtype=object)).tolist()
    if np.ndim(n_multiplications) == 0:
        if any(counts) and not sizes:
            raise ValueError(
                "n_multiplications needs a hidden layer, got "
                f"n_multiplications={n_multiplications!r} and hidden_layer_sizes=(): "
                "set hidden_layer_sizes=(0,) for products alone."
            )
        counts = counts * len(sizes)
    elif len(counts) != len(sizes):
        raise ValueError(
            "n_multiplications must be an integer or hold one for each hidden layer, "
            f"got {n_multiplications!r} and hidden_layer_sizes="
            f"{hidden_layer_sizes!r}: give {len(sizes)} integers."
        )
    pairs = zip(sizes, counts, strict=True)
    if not all(is_count(size) or (size == 0 and count) for size, count in pairs):
        raise ValueError(
            "hidden_layer_sizes must hold integers of at least 1, or 0 where "
            "n_multiplications adds products, got "
            f"{hidden_layer_sizes!r}: for an additive model without hidden layers "
            "pass ()."
        )
    counts = tuple(map(int, counts)) if any(counts) else ()
    return tuple(map(int, sizes)), counts


def plain_interactions(interaction_cst):
    """`interaction_cst` in types that files hold: text, None or lists of lists."""
    if interaction_cst is None or isinstance(interaction_cst, str):
        return interaction_cst
    groups = []
    for group in interaction_cst:
        features = [each if isinstance(each, str) else int(each) for each in group]
        groups.append(sorted(features, key=str))
    return groups


def checked_grid_sizes(grid_size, grid_schedule):
    """All grid sizes in the order in which they are visited."""
    schedule = () if grid_schedule is None else tuple(np.atleast_1d(grid_schedule))
    if not all(is_count(size) for size in schedule):
        raise ValueError(
            f"grid_schedule must hold integers of at least 1, got {grid_schedule!r}: "
            "give the grid sizes to visit after grid_size, such as (10, 20)."
        )
    sizes = (int(grid_size), *(int(size) for size in schedule))
    if any(after <= before for before, after in pairwise(sizes)):
        raise ValueError(
            "grid_schedule must increase strictly from grid_size, got grid_size="
            f"{grid_size} and grid_schedule={grid_schedule!r}: a coarser grid cannot "
            "represent the fitted curves. Sort it and leave grid_size out."
        )
    return sizes


def is_count(value):
    """Whether a value is a whole number of at least 1; True is none."""
    return isinstance(value, Integral) and not isinstance(value, bool) and value > 0


def checked_device(device):
    """torch.device that exists on this machine."""
    try:
        device = torch.device(device)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device must name a device of this machine such as 'cpu', got {device!r} "
            f"({str(error).splitlines()[0]})."
        ) from error
    return device
