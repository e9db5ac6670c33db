"""Splines as polynomials of one interval each, and where samples lie among them.

A spline of degree k is a polynomial on each interval of its grid. There, the position
of a sample is its distance from the middle of the interval, in widths of the interval.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.interpolate import BSpline

FARTHEST = 1e9  # beyond the grid, where a tangent ends, so that no value overflows
CELLS_PER_KNOT = 1.01  # more than one, since cells are widened by
CELL_ROUNDING = 1e-3  # of a cell
MOST_CELLS = 2000  # beyond that, knots are too uneven for it


class Location(NamedTuple):
    """Where samples lie on grids, and the powers of their positions there.

    A polynomial c_0 + sum_m c_m t^m has the value c_0 + sum_m c_m powers_m at a sample,
    and its derivative is sum_m c_m slopes_m. What lies beyond the grid is included in
    both.
    """

    piece: torch.Tensor  # (n_inputs, n_samples), input * grid_size + interval
    powers: torch.Tensor  # (k, n_inputs, n_samples), m = 1 to k
    slopes: torch.Tensor | None  # (k, n_inputs, n_samples), where asked for
    # Of the base function, where there is one: (n_inputs, n_samples).
    base: torch.Tensor | None
    base_slopes: torch.Tensor | None

    def values(self, coefficients):
        """Values of curves that are polynomials on each piece.

        Parameters
        ----------
        coefficients : Tensor of shape (k + 1, n_curves, n_pieces)
            Of the powers of the position.

        Returns
        -------
        Tensor of shape (n_curves, n_inputs, n_samples)
        """
        return self._sums(coefficients, self.powers, coefficients[0])

    def derivatives(self, coefficients):
        """Their derivatives, of the same shape."""
        return self._sums(coefficients, self.slopes, None)

    def _sums(self, coefficients, powers, constants):
        index = self.piece.flatten()
        n_curves = coefficients.shape[1]
        result = powers.new_zeros(n_curves, *self.piece.shape)
        # Curve by curve and power by power, since gathering single numbers keeps all
        # arrays contiguous.
        for curve, total in enumerate(result.flatten(1)):
            if constants is not None:
                torch.index_select(constants[curve], 0, index, out=total)
            for of_power, power in zip(coefficients[1:], powers, strict=True):
                near = of_power[curve].index_select(0, index)
                total.addcmul_(near, power.flatten())
        return result


@lru_cache
def cardinal_polynomials(spline_order, origin=0.5):
    """Polynomials of the B-splines of degree k on equidistant knots.

    Parameters
    ----------
    spline_order : int
    origin : float, default=0.5
        From which positions count, of an interval: 0.5 is its middle, 0 its beginning.

    Returns
    -------
    Tensor of shape (k + 1, k + 1)
        Row r has the coefficients of powers 0 to k of the position, of the spline that
        begins k - r intervals before it.
    """
    k = spline_order
    spline = BSpline.basis_element(range(k + 2))
    origins = [k - row + origin for row in range(k + 1)]
    derivatives = np.array([spline.derivative(m)(origins) for m in range(k + 1)])
    values = torch.from_numpy(derivatives).T
    return (
        values / torch.arange(k + 1, dtype=torch.float64).add(1).lgamma().exp().round()
    )


def spline_polynomials(knots, spline_order):
    """Polynomials of the k + 1 splines that live on each interval.

    The recurrence of the B-splines, of polynomials instead of values:
    B_{r,d}(x) = (x - t_r) / (t_{r+d} - t_r) B_{r,d-1}(x)
    + (t_{r+d+1} - x) / (t_{r+d+1} - t_{r+1}) B_{r+1,d-1}(x).

    Parameters
    ----------
    knots : Tensor of shape (n_inputs, grid_size + 1 + 2 * spline_order)
    spline_order : int

    Returns
    -------
    Tensor of shape (k + 1, k + 1, n_inputs, grid_size)
        Coefficient of each power of the position, then spline.

    References
    ----------
    C. de Boor, A Practical Guide to Splines, 1978, chapter X (the recurrence).
    """
    k = spline_order
    if k == 0:
        return knots.new_ones(1, 1, len(knots), knots.shape[1] - 1)
    # The 2k knots around each interval, whose ends are the two in the middle.
    near = knots.to(torch.float64)[:, 1:-1].unfold(1, 2 * k, 1).movedim(2, 0)
    middle, width = (near[k - 1] + near[k]) / 2, near[k] - near[k - 1]
    pieces = near.new_ones(1, 1, *middle.shape)  # spline, power, input, interval
    for degree in range(1, k + 1):
        left, right = near[k - degree : k], near[k : k + degree]
        ratio = pieces / (right - left).unsqueeze(1)
        pieces = near.new_zeros(degree + 1, degree + 1, *middle.shape)
        pieces[:-1, :-1] += (right - middle).unsqueeze(1) * ratio
        pieces[:-1, 1:] -= width * ratio
        pieces[1:, :-1] += (middle - left).unsqueeze(1) * ratio
        pieces[1:, 1:] += width * ratio
    return pieces.transpose(0, 1).to(knots).contiguous()


class LookupTable(NamedTuple):
    """Equal cells of the range of each grid, so narrow that none holds two knots.

    The cell of a sample, found by division, leaves two intervals to choose from, which
    is faster than a bisection.
    """

    count: int  # of each grid
    per_unit: torch.Tensor  # (n_inputs, 1), cells
    piece: torch.Tensor  # (n_inputs * count,), of the beginning of each cell
    end: torch.Tensor  # (n_inputs * grid_size,), of each piece, where another begins

    @classmethod
    def of(cls, grid):
        """Table of grids, (n_inputs, grid_size + 1); None if it would be too long."""
        if len(grid) == 0:  # all inputs are categories
            return None
        width = grid[:, -1:] - grid[:, :1]
        count = math.ceil((width / grid.diff(dim=1)).max() * CELLS_PER_KNOT)
        if count > MOST_CELLS:
            return None
        cell = torch.arange(count, device=grid.device).to(grid)
        # A little to the left, so that rounding only ever makes it too small.
        start = grid[:, :1] + (cell - CELL_ROUNDING) * (width / count)
        end = grid[:, 1:].clone()
        end[:, -1] = math.inf  # it belongs to the last interval
        return cls(
            count, count / width, _bisected(grid, start).flatten(), end.flatten()
        )


class Intervals:
    """The intervals of some grids.

    Parameters
    ----------
    grid : Tensor of shape (n_inputs, grid_size + 1)
    is_uniform : bool
        Whether the knots are equidistant.
    """

    def __init__(self, grid, *, is_uniform):
        self._grid, self._is_uniform = grid.contiguous(), is_uniform
        n_inputs, grid_size = len(grid), grid.shape[1] - 1
        self._first = torch.arange(n_inputs, device=grid.device).unsqueeze(1)
        self._last = grid_size - 1
        if is_uniform:
            self._density = grid_size / (grid[:, -1:] - grid[:, :1])
            return
        self._density = (1 / grid.diff(dim=1)).flatten()
        self._middle = ((grid[:, 1:] + grid[:, :-1]) / 2).flatten()
        self._cells = LookupTable.of(self._grid)

    def locate(self, x):
        """Where samples lie.

        Parameters
        ----------
        x : Tensor of shape (n_inputs, n_samples), inside of the grids

        Returns
        -------
        piece : Tensor of int of shape (n_inputs, n_samples)
            See `Location`.
        position : Tensor of shape (n_inputs, n_samples)
        density : Tensor that broadcasts to that shape
            One over the width of the interval.
        """
        if self._is_uniform:
            position = (x - self._grid[:, :1]) * self._density
            interval = position.floor().clamp_(0, self._last)
            piece = _pieces(interval.long(), self._last + 1)
            return piece, position.sub_(interval).sub_(0.5), self._density
        if self._cells is not None:
            count, per_unit, first_piece, end = self._cells
            cell = ((x - self._grid[:, :1]) * per_unit).long()
            cell = cell.clamp_(0, count - 1).add_(self._first * count)
            piece = first_piece.index_select(0, cell.flatten())
            piece += x.flatten() >= end.index_select(0, piece)
            piece = piece.view(x.shape)
        else:
            piece = _bisected(self._grid, x)
        index = piece.flatten()
        density = self._density.index_select(0, index).view(x.shape)
        middle = self._middle.index_select(0, index).view(x.shape)
        return piece, torch.sub(x, middle, out=middle).mul_(density), density


def _bisected(grid, x):
    interval = torch.searchsorted(grid, x.contiguous(), right=True).sub_(1)
    return _pieces(interval, grid.shape[1] - 1)


def _pieces(interval, grid_size):
    """Positions of intervals, one row for each input, among those of all inputs."""
    first = torch.arange(len(interval), device=interval.device).unsqueeze(1)
    interval = interval.clamp_(0, grid_size - 1)  # of no numbers, too
    return interval.add_(first * grid_size)


def powers_of(position, spline_order):
    """Powers 1 to k, Tensor of shape (k, n_inputs, n_samples)."""
    powers = position.new_empty(spline_order, *position.shape)
    for degree in range(spline_order):
        if degree == 0:
            powers[0] = position
        else:
            torch.mul(powers[degree - 1], position, out=powers[degree])
    return powers


def slopes_of(powers, density):
    """Derivatives of the powers, Tensor of shape (k, n_inputs, n_samples)."""
    slopes = torch.empty_like(powers)
    for degree in range(len(powers)):
        if degree == 0:
            slopes[0] = density
        else:
            factor = density * (degree + 1)
            torch.mul(powers[degree - 1], factor, out=slopes[degree])
    return slopes
