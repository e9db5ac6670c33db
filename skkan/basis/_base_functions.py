"""Base functions b of the edges, with their slopes, of arrays of numpy or torch.

The exponential may overflow to infinity, where the values are right; callers of numpy
switch its warnings off.
"""

import numpy as np
import torch


def _silu(x, with_slopes):
    exp = torch.exp if isinstance(x, torch.Tensor) else np.exp
    sigmoid = exp(-x)
    sigmoid += 1
    sigmoid = 1 / sigmoid
    values = x * sigmoid
    if not with_slopes:
        return values, None
    # s + x s (1 - s) = s + v - s v
    slopes = sigmoid + values
    sigmoid *= values
    slopes -= sigmoid
    return values, slopes


def _identity(x, with_slopes):
    return x, x**0 if with_slopes else None


BASE_ACTIVATIONS = {"silu": _silu, "identity": _identity}
