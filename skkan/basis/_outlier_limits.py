"""How far the grids of inputs reach, so that a few wild values do not stretch them.

What lies beyond is left to the continuation of the curves.
"""

import math

import torch

from skkan.data._scaling import NORMAL_MEDIAN

# The farthest from the median, in robust standard deviations of what differs from it:
# columns that are mostly zero have a small deviation, and yet no wild values.
FENCE = 5.0
# That many rows, or that share of them, which are farther from the median than all
# others by some factor, lie in gaps where nothing tells a curve its way.
FEW, FEW_SHARE = 3, 1e-3
ISOLATED = 2.0
# Grids that follow the samples afford long tails: all rows but this share of them, and
# but few, as far as that many fences.
TAIL, LONGEST = 0.01, 4.0
SPREAD = 0.5  # of the others, in robust standard deviations, from which that is told


def limited(x, *, adaptive):
    """Samples such that wild ones lie at the fence, or where others end.

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
    farthest = FENCE * _spread(x)
    if adaptive:
        farthest = torch.maximum(farthest, _tail(x).clamp(max=LONGEST * FENCE))
    x = x.clamp(-farthest, farthest)
    return x.clamp(-_reach(-x), _reach(x))


def _spread(x):
    """Of what differs from the median, and one at least, Tensor of (n_inputs,)."""
    differences = torch.where(x == 0, torch.nan, x.abs())
    typical = differences.nanmedian(dim=0).values.nan_to_num(0.0)
    return (typical / NORMAL_MEDIAN).clamp(min=1.0)


def _tail(x):
    """What a share of the rows, and more than few, exceed, Tensor of (n_inputs,)."""
    count = min(max(FEW + 1, math.ceil(TAIL * len(x))), len(x))
    return x.abs().nan_to_num(-torch.inf).topk(count, dim=0).values[-1]


def _reach(x):
    """Where each column ends but for few isolated samples, Tensor of (n_inputs,)."""
    few = min(max(FEW, math.ceil(FEW_SHARE * len(x))), len(x))
    values = x.nan_to_num(-torch.inf).topk(few, dim=0).values
    most, others = values[0], values[-1]
    is_told = (others > SPREAD) & (most > ISOLATED * others)
    return torch.where(is_told, others, torch.inf)
