"""Splines as polynomials on each interval of their grid, and the search of intervals.

The intervals of all inputs are numbered as pieces: input * grid_size + interval. The
position of a sample is its distance from the beginning of its interval, in widths of
the interval.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.interpolate import BSpline
from scipy.special import factorial

FARTHEST = 1e9  # beyond the grid, where a tangent ends, so that no value overflows
CELLS_PER_KNOT = 1.01  # more than one, since cells are widened by
CELL_ROUNDING = 1e-3  # of a cell
MAX_CELLS = 2000  # beyond that, knots are too uneven for a table


@lru_cache
def cardinal_polynomials(spline_order):
    """Polynomials of the B-splines of degree k on equidistant knots.

    Parameters
    ----------
    spline_order : int

    Returns
    -------
    ndarray of shape (k + 1, k + 1)
        Row r has the coefficients of powers 0 to k of the position, of the spline that
        begins k - r intervals before it.
    """
    k = spline_order
    spline = BSpline.basis_element(range(k + 2))
    starts = np.arange(k, -1.0, -1.0)
    derivatives = np.array([spline.derivative(m)(starts) for m in range(k + 1)])
    return derivatives.T / factorial(np.arange(k + 1))


def spline_polynomials(knots, spline_order):
    """Polynomials of the k + 1 splines that are not zero on each interval.

    The recurrence of the B-splines, of polynomials instead of values:
    B_{r,d}(x) = (x - t_r) / (t_{r+d} - t_r) B_{r,d-1}(x)
    + (t_{r+d+1} - x) / (t_{r+d+1} - t_{r+1}) B_{r+1,d-1}(x).

    Parameters
    ----------
    knots : Tensor of shape (n_inputs, grid_size + 1 + 2 * spline_order)
    spline_order : int

    Returns
    -------
    Tensor of shape (k + 1, k + 1, n_inputs * grid_size)
        Coefficient of each power of the position, then spline.

    References
    ----------
    C. de Boor, A Practical Guide to Splines, 1978, chapter X (the recurrence).
    """
    k = spline_order
    if k == 0:
        return knots.new_ones(1, 1, len(knots) * (knots.shape[1] - 1))
    # The 2k knots around each interval, whose ends are the two in the middle.
    near = knots.to(torch.float64)[:, 1:-1].unfold(1, 2 * k, 1).movedim(2, 0)
    start, width = near[k - 1], near[k] - near[k - 1]
    pieces = near.new_ones(1, 1, *start.shape)  # spline, power, input, interval
    for degree in range(1, k + 1):
        left, right = near[k - degree : k], near[k : k + degree]
        ratio = pieces / (right - left).unsqueeze(1)
        pieces = near.new_zeros(degree + 1, degree + 1, *start.shape)
        pieces[:-1, :-1] += (right - start).unsqueeze(1) * ratio
        pieces[:-1, 1:] -= width * ratio
        pieces[1:, :-1] += (start - left).unsqueeze(1) * ratio
        pieces[1:, 1:] += width * ratio
    return pieces.transpose(0, 1).to(knots).flatten(2).contiguous()


class LookupTable(NamedTuple):
    """Equal cells of the range of each grid, so narrow that none holds two knots.

    The cell of a sample, found by division, leaves two intervals to choose from, which
    is faster than a bisection.
    """

    n_cells: int  # of each grid
    first_piece: np.ndarray  # (n_inputs * n_cells,), piece where each cell begins
    end: np.ndarray  # (n_inputs * grid_size,), of each piece

    @classmethod
    def of_grid(cls, grid):
        """Table of grids, ndarray of (n_inputs, grid_size + 1); None if too long."""
        if len(grid) == 0:  # all inputs are categories
            return None
        width = grid[:, -1:] - grid[:, :1]
        n_cells = math.ceil((width / np.diff(grid)).max() * CELLS_PER_KNOT)
        if n_cells > MAX_CELLS:
            return None
        # A little to the left, so that rounding only ever makes it too small.
        cell = np.arange(n_cells, dtype=grid.dtype) - grid.dtype.type(CELL_ROUNDING)
        starts = grid[:, :1] + cell * (width / n_cells)
        end = grid[:, 1:].copy()
        end[:, -1] = np.inf  # belongs to the last interval
        return cls(n_cells, bisected_pieces(grid, starts).ravel(), end.ravel())


def bisected_pieces(grid, x):
    """Piece of each sample, ndarray of int of the shape of `x`.

    Parameters
    ----------
    grid : ndarray of shape (n_inputs, grid_size + 1)
    x : ndarray of shape (n_inputs, n_rows)
    """
    grid_size = grid.shape[1] - 1
    intervals = [
        knots.searchsorted(samples, side="right") - 1
        for knots, samples in zip(grid, x, strict=True)
    ]
    pieces = np.clip(intervals, 0, grid_size - 1)  # NaN has a piece, too
    return pieces + np.arange(len(grid))[:, None] * grid_size
