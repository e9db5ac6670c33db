"""Users' functions of numpy or torch, turned into functions of float64 ndarrays.

A trial call finds out whether a function takes arrays or tensors.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from skkan.numerics._threads import single_thread


@dataclass(frozen=True)
class TensorFunction:
    """A function of tensors, called with ndarrays.

    Attributes
    ----------
    function : callable
        Takes float64 tensors.
    """

    function: Callable

    @single_thread
    def __call__(self, z):
        with torch.no_grad():
            values = self.function(torch.tensor(np.asarray(z)))
        return values.numpy() if isinstance(values, torch.Tensor) else values


def trial_points(low, high):
    """Points in an open interval, ndarray of shape (3, 4)."""
    if math.isinf(low):
        low = high - 4 if math.isfinite(high) else -2.0
    if math.isinf(high):
        high = low + 4
    return low + (high - low) * (np.arange(12.0).reshape(3, 4) + 0.5) / 12


def on_arrays(function, role, name, z):
    """The function as a function of float64 ndarrays, after a trial call at `z`.

    Raises
    ------
    TypeError
        If it takes neither arrays nor tensors.
    ValueError
        If its values have another shape or dtype, or are all NaN.
    """
    if not callable(function):
        raise TypeError(
            f"{role} of {name!r} must be a function of numpy or torch, got "
            f"{function!r}: pass a callable such as numpy.sin."
        )
    values, failures = None, []
    for kind in (function, TensorFunction(function)):
        try:
            with np.errstate(all="ignore"):
                values = kind(z.copy())
        except (TypeError, ValueError, AttributeError, RuntimeError) as failure:
            failures.append(f"{type(failure).__name__}: {failure}".splitlines()[0])
            continue
        if not isinstance(values, torch.Tensor):
            break
    else:
        raise TypeError(
            f"{role} of {name!r} must take a float64 ndarray or tensor, got "
            f"{' and '.join(failures)}: write it with functions of numpy or of torch, "
            "such as numpy.sin in place of math.sin."
        )
    _check_values(values, role, name, z)
    return kind


def _check_values(values, role, name, z):
    """Raise unless `values` has the shape and dtype of `z` and holds numbers."""
    problem = f"{role} of {name!r} must return a float64 ndarray or tensor of the shape"
    problem += f" of its argument, {z.shape}, got "
    if not isinstance(values, np.ndarray) or values.shape != z.shape:
        shape = getattr(values, "shape", None)
        found = f"shape {shape}" if shape else f"{type(values).__name__} {values!r}"
        raise ValueError(
            f"{problem}{found}: compute element by element; to a constant add 0 * x."
        )
    if values.dtype != np.float64:
        raise ValueError(
            f"{problem}dtype {values.dtype}: keep the precision of the argument, or "
            "end with .astype(float) (.double() of a tensor)."
        )
    if np.isnan(values).all():
        raise ValueError(
            f"{role} of {name!r} must have values in its domain, got NaN at all of "
            f"{z.min():.3g} to {z.max():.3g}: set domain to where it is defined."
        )
