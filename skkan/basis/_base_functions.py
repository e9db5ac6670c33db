"""Base functions b of the edges, with derivatives, of arrays of numpy or torch.

The exponential may overflow to infinity, where the values are right; callers of numpy
switch its warnings off.
"""

from math import comb

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


def base_derivatives(name, x, order):
    """Values and derivatives of a base function.

    Parameters
    ----------
    name : {"silu", "identity"}
    x : ndarray or Tensor
    order : int
        Highest order, at least 1.

    Returns
    -------
    list of ndarray or Tensor of the shape of `x`
        One for each of the orders 0 to `order`.
    """
    values, slopes = BASE_ACTIVATIONS[name](x, True)
    if order == 1:
        return [values, slopes]
    if name == "identity":
        return [values, slopes, *[0 * slopes] * (order - 1)]
    # Of the sigmoid, s' = s - s s, and of its product with x, both by Leibniz' rule.
    exp = torch.exp if isinstance(x, torch.Tensor) else np.exp
    sigmoid = [1 / (1 + exp(-x))]
    for m in range(order):
        square = sum(comb(m, j) * sigmoid[j] * sigmoid[m - j] for j in range(m + 1))
        sigmoid.append(sigmoid[m] - square)
    orders = range(2, order + 1)
    return [values, slopes, *(x * sigmoid[m] + m * sigmoid[m - 1] for m in orders)]
