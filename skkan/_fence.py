"""How far the grids of inputs reach, so that a few wild values do not stretch them.

What lies beyond is left to the continuation of the curves.
"""

import torch

FENCE = 5.0  # the farthest, in robust standard deviations from the median
# Values that share of the rows, or that many, which are farther from the median than
# all others by some factor, lie in gaps where nothing tells a curve its way.
FEW, FEW_SHARE = 3.0, 1e-3
ISOLATED = 2.0
SPREAD = (
    0.5  # of the others, in robust standard deviations, from which that can be told
)


def fenced(x, sample_weight):
    """Samples such that wild ones lie at the fence, or where others end.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_inputs)
        In robust standard deviations from the median; NaN where missing.
    sample_weight : Tensor of shape (n_samples,)
        Counts as repetitions.

    Returns
    -------
    Tensor of shape (n_samples, n_inputs)
    """
    x = x.clamp(-FENCE, FENCE)
    high, low = _reach(x, sample_weight), _reach(-x, sample_weight)
    return x.clamp(-low, high)


def _reach(x, sample_weight):
    """Where each column ends but for few isolated samples, Tensor of (n_inputs,)."""
    values, order = x.nan_to_num(-torch.inf).sort(dim=0, descending=True)
    few = max(FEW, FEW_SHARE * float(sample_weight.sum()))
    # Moved by less than any weight, against rounding of the sum.
    index = (sample_weight[order].cumsum(0) < few * (1 - 1e-10)).sum(0, keepdim=True)
    others = values.gather(0, index.clamp(max=len(values) - 1)).squeeze(0)
    is_told = (others > SPREAD) & (values[0] > ISOLATED * others)
    return torch.where(is_told, others, torch.inf)
