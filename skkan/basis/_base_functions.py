"""Base functions b of the edges, with their slopes."""

import torch


def _silu(x, with_slope):
    sigmoid = torch.sigmoid(x)
    value = x * sigmoid
    if not with_slope:
        return value, None
    # s + x s (1 - s) = s + v - s v
    return value, torch.addcmul(sigmoid + value, sigmoid, value, value=-1)


def _identity(x, with_slope):
    return x, torch.ones_like(x) if with_slope else None


BASE_ACTIVATIONS = {"silu": _silu, "identity": _identity}
