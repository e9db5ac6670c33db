"""Derivatives of splines and base functions, by operations that torch has everywhere.

They serve graphics cards, dtypes that numpy has not or has slowly, and exported graphs.
They evaluate the polynomials that `SplineEvaluator` evaluates on the CPU.
"""

from math import perm

import torch

from skkan.basis._base_functions import base_derivatives
from skkan.basis._spline_pieces import FARTHEST


def derivatives_by_torch(basis, polynomials, x, *orders):
    """Derivatives of all functions of a basis.

    Parameters
    ----------
    basis : BSplineBasis
    polynomials : Tensor of shape (k + 1, k + 1, n_inputs * grid_size)
        See `spline_polynomials`.
    x : Tensor of shape (n_samples, n_inputs)
    *orders : int
        0 for the values.

    Returns
    -------
    list of Tensor of shape (n_samples, n_inputs, n_functions), one for each order
    """
    shape = *x.shape, basis.n_functions
    if not x.numel():
        return [x.new_zeros(shape) for _ in orders]
    grid = basis.grid.contiguous()
    inside = x.clamp(grid[:, 0], grid[:, -1])
    interval = torch.searchsorted(grid, inside.T.contiguous(), right=True).T - 1
    interval = interval.clamp(0, basis.grid_size - 1)
    first = torch.arange(basis.n_inputs, device=x.device) * basis.grid_size
    piece = (interval + first).flatten()
    width = grid.diff(dim=1).flatten()[piece]
    position = (inside.flatten() - grid[:, :-1].flatten()[piece]) / width
    near = [of_power[:, piece] for of_power in polynomials]
    local = _derivatives_within(basis, near, position, width, inside.flatten(), orders)
    local = _continued(basis, local, (x - inside).flatten())
    # Column (sample s, input i, function f) stands at (s n_inputs + i) width + f.
    function = torch.arange(len(local[orders[0]]), device=x.device).unsqueeze(1)
    column = interval.flatten() + function
    column[basis.spline_order + 1 :] = basis.n_splines
    index = torch.arange(x.numel(), device=x.device) * basis.n_functions + column
    zeros = inside.new_zeros(x.numel() * basis.n_functions)
    return [
        zeros.scatter(0, index.flatten(), local[order].flatten()).view(shape)
        for order in orders
    ]


def _derivatives_within(basis, polynomials, position, width, x, orders):
    """Derivatives within the grid of the functions that are not zero, by their order.

    Parameters
    ----------
    basis, orders
        As above.
    polynomials : list of Tensor of shape (k + 1, n)
        Coefficients of the splines at each sample, for each power of the position.
    position, width, x : Tensor of shape (n,)
        Position in the interval, width of it, and the sample.

    Returns
    -------
    dict of int to Tensor of shape (k + 1, n), or (k + 2, n) with a base function
    """
    # A tangent beyond the grid needs the slope beside the value.
    wanted, local = {*orders} | ({1} if 0 in orders else set()), {}
    if basis.base_activation is not None:
        base = base_derivatives(basis.base_activation, x, max(wanted))
    for order in wanted:
        values = torch.zeros_like(polynomials[0])
        for power in reversed(range(order, len(polynomials))):
            factor = perm(power, order)
            values = torch.add(values * position, polynomials[power], alpha=factor)
        local[order] = values if order == 0 else values / width**order
        if basis.base_activation is not None:
            local[order] = torch.cat([local[order], base[order].unsqueeze(0)])
    return local


def _continued(basis, local, beyond):
    """Derivatives continued beyond the grid, where samples lie `beyond` it."""
    if basis.extrapolation == "constant":
        within = beyond == 0
        return {m: part if m == 0 else part * within for m, part in local.items()}
    farthest = min(FARTHEST, torch.finfo(beyond.dtype).max)
    tangent = beyond.clamp(-farthest, farthest)
    continued = {m: part * (beyond == 0) for m, part in local.items() if m > 1}
    if 1 in local:
        continued[1] = local[1]
    if 0 in local:
        continued[0] = torch.addcmul(local[0], local[1], tangent)
    return continued
