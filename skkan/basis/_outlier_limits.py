"""Limits of the grids of inputs, so that a few outliers do not stretch them.

Beyond the limits curves are continued.
"""

import math

import numpy as np
import torch

from skkan.data._scaling import NORMAL_MEDIAN, AffineScaling

# Largest distance from the median, in robust standard deviations of the values that
# differ from it. Columns that are mostly zero have a small deviation, and no outliers.
MAX_DEVIATIONS = 5.0
# Rows, at least and as a share, are isolated where they are farther from the median
# than all others by the factor. Between them no sample determines a curve.
MIN_TAIL_ROWS, TAIL_SHARE = 3, 1e-3
ISOLATION_FACTOR = 2.0
# Adaptive grids afford long tails. They reach all rows but this share of them, up to
# this multiple of the largest distance.
ADAPTIVE_TAIL_SHARE, MAX_TAIL_STRETCH = 0.01, 4.0
# Fewer rows do not tell what is typical. Each such batch widens a range to three times
# its width at most.
MIN_TYPICAL_ROWS = 20
# Robust standard deviations that the other rows must reach, before rows are isolated.
MIN_OTHERS_SPREAD = 0.5


def limited(x, *, adaptive):
    """Samples whose outliers are moved to the limit, or to where the others end.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_inputs)
        Distinct rows, so that their weights do not matter, in robust standard
        deviations from the median; NaN where missing.
    adaptive : bool
        Whether the grids are to follow the samples.

    Returns
    -------
    Tensor of shape (n_samples, n_inputs)
    """
    farthest = MAX_DEVIATIONS * _typical_deviation(x)
    if adaptive:
        longest = MAX_TAIL_STRETCH * MAX_DEVIATIONS
        farthest = torch.maximum(farthest, _tail(x).clamp(max=longest))
    x = x.clamp(-farthest, farthest)
    return x.clamp(-_reach(-x), _reach(x))


def limited_anew(x, grid, *, adaptive):
    """Samples of a later batch, limited by what is typical in it.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_inputs)
        Distinct rows in units of an earlier batch; NaN where missing.
    grid : Tensor of shape (n_inputs, grid_size + 1)
        Present grids.
    adaptive : bool
        As for `limited`.

    Returns
    -------
    Tensor of shape (n_samples, n_inputs)
    """
    if len(x) < MIN_TYPICAL_ROWS:
        low, high = grid[:, 0], grid[:, -1]
        return x.clamp(low - (high - low), high + (high - low))
    scaling = AffineScaling.robust(x.cpu().numpy(), np.ones(len(x)))
    scaling = scaling.without_units(np.isinf(scaling.scale))
    own = torch.from_numpy(scaling.transform(x.cpu().numpy()))
    within = scaling.inverse_transform(limited(own, adaptive=adaptive).numpy())
    return torch.from_numpy(within).to(x)


def _typical_deviation(x):
    """Deviation of the values off the median, at least one, Tensor of (n_inputs,)."""
    differences = torch.where(x == 0, torch.nan, x.abs())
    typical = differences.nanmedian(dim=0).values.nan_to_num(0.0)
    return (typical / NORMAL_MEDIAN).clamp(min=1.0)


def _tail(x):
    """Distance that a share of the rows exceeds, Tensor of (n_inputs,)."""
    count = min(max(MIN_TAIL_ROWS + 1, math.ceil(ADAPTIVE_TAIL_SHARE * len(x))), len(x))
    return x.abs().nan_to_num(-torch.inf).topk(count, dim=0).values[-1]


def _reach(x):
    """Largest value without a few isolated ones, Tensor of (n_inputs,)."""
    few = min(max(MIN_TAIL_ROWS, math.ceil(TAIL_SHARE * len(x))), len(x))
    values = x.nan_to_num(-torch.inf).topk(few, dim=0).values
    most, others = values[0], values[-1]
    has_isolated = (others > MIN_OTHERS_SPREAD) & (most > ISOLATION_FACTOR * others)
    return torch.where(has_isolated, others, torch.inf)
