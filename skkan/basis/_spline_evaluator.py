"""Where the samples of a layer lie on its grids, and the splines of each place.

Samples stand input by input, and what belongs to each of them stands in rows as long
as there are samples, so that every operation runs along contiguous memory. Rows of
small layers are shorter than a call is long, and numpy's calls are the shortest: torch
looks up, adds up by index and multiplies matrices, on the same memory.
"""

from typing import NamedTuple

import numpy as np
import torch

from skkan.basis._spline_pieces import (
    FARTHEST,
    LookupTable,
    cardinal_polynomials,
    spline_polynomials,
)
from skkan.numerics._matrix_products import product

MOST_PLACES = 8  # shapes of blocks whose places are remembered


class Place(NamedTuple):
    """Where samples lie on the grids, and the base function there.

    Arrays; what depends on the input and on the row has shape (n_inputs, n_rows).
    """

    piece: np.ndarray  # (n_samples,), input * grid_size + interval
    position: np.ndarray  # (n_samples,), in the interval, in widths of it
    density: np.ndarray  # broadcasts to (n_inputs, n_rows), one over the width
    beyond: np.ndarray | None  # (n_samples,), distance from the grid, in widths
    base: np.ndarray | None
    base_slopes: np.ndarray | None


class SplineEvaluator:
    """The intervals of the grids of a basis, and the k + 1 splines on each of them.

    Numbers may overflow on the way; callers switch numpy's warnings off.

    Positions are counted from the beginning of an interval where all are equally wide,
    else from its middle.

    Parameters
    ----------
    basis : BSplineBasis
    """

    def __init__(self, basis):
        grid, k = basis.grid.contiguous(), basis.spline_order
        self.knots = basis.knots
        self.spline_order, self.n_functions = k, basis.n_functions
        self.n_inputs, self.grid_size = basis.n_inputs, basis.grid_size
        self.is_uniform = basis.is_uniform
        self._base = BASES.get(basis.base_activation)
        self.has_base = self._base is not None
        self._is_linear = basis.extrapolation == "linear"
        self._grid, self._cells, self._places = grid, None, {}
        self._n_steps = self.grid_size
        if self.is_uniform:
            self._values = cardinal_polynomials(k, 0.0).to(grid).numpy()  # by powers
            slopes = np.zeros_like(self._values)
            slopes[:, :-1] = self._values[:, 1:] * np.arange(1, k + 1)
            self._both = np.concatenate([self._values, slopes])
        else:
            self._cells = cells = LookupTable.of(grid)
            self._n_steps = 1 if cells is None else cells.count
            if cells is not None:
                self._first_piece, self._end = cells.piece.numpy(), cells.end.numpy()
            self._middle = ((grid[:, 1:] + grid[:, :-1]) / 2).flatten().numpy()
            self._densities = (1 / grid.diff(dim=1)).flatten().numpy()
            self._polynomials = spline_polynomials(basis.knots, k).flatten(2).numpy()
        low, high = grid[:, :1].numpy(), grid[:, -1:].numpy()
        first = np.arange(self.n_inputs)[:, None] * self.grid_size
        self._ranges = low, high, self._n_steps / (high - low), first

    def locate(self, x, inputs=None, *, with_slopes):
        """Where samples lie.

        Parameters
        ----------
        x : ndarray of shape (n_inputs, n_rows)
        inputs : slice, default=None
            Which inputs of the layer these are; None is all.
        with_slopes : bool
            Whether to compute the derivatives of the base function.

        Returns
        -------
        Place
        """
        ranges = self._ranges
        if inputs is not None and len(x) < self.n_inputs:
            ranges = [of_all[inputs] for of_all in ranges]
        low, high, density, first = ranges
        inside, beyond = x, None
        position = x - low
        position *= density
        # What is no number is not within, either.
        least = np.minimum.reduce(position, axis=None)
        largest = np.maximum.reduce(position, axis=None)
        if not (least >= 0 and largest < self._n_steps):
            inside = np.clip(x, low, high)
            beyond = np.clip(x - inside, -FARTHEST, FARTHEST)
            np.clip(position, 0, self._n_steps, out=position)
        if self.is_uniform:
            steps = self._steps(position, beyond)
            position -= steps
            position = position.reshape(-1)
            piece = steps.astype(np.int64)
            piece += first
            piece = piece.reshape(-1)
        else:
            piece = self._pieces(inside, position, beyond, first)
            density = self._densities.take(piece)
            position = inside.reshape(-1) - self._middle.take(piece)
            position *= density
            density = density.reshape(x.shape)
        base = base_slopes = None
        if self.has_base:
            base, base_slopes = self._extended_base(inside, beyond, with_slopes)
        if beyond is not None:
            beyond *= density
            beyond = beyond.reshape(-1)
        return Place(piece, position, density, beyond, base, base_slopes)

    def _steps(self, position, beyond):
        """Whole steps from the beginning of a grid, less than there are."""
        if beyond is None:
            return np.floor(position)
        # What is no number has no values, but some place.
        steps = np.floor(np.where(np.isnan(position), 0, position))
        return np.minimum(steps, self._n_steps - 1, out=steps)

    def _pieces(self, x, position, beyond, first):
        """Pieces of samples within the grids, by the cells that they are in."""
        if self._cells is None:
            grid = self._grid[first.ravel() // self.grid_size]
            piece = torch.searchsorted(grid, torch.from_numpy(x), right=True).numpy()
            piece = np.clip(piece - 1, 0, self.grid_size - 1)
            piece += first
            return piece.reshape(-1)
        cell = self._steps(position, beyond).astype(np.int64)
        cell += first // self.grid_size * self._cells.count
        piece = self._first_piece.take(cell)
        piece += x >= self._end.take(piece)
        return piece.reshape(-1)

    def _extended_base(self, x, beyond, with_slopes):
        """The base function and its continuation, at the nearest points of the grid."""
        is_tangent = self._is_linear and beyond is not None
        base, slopes = self._base(x, with_slopes or is_tangent)
        if is_tangent:
            base = base + slopes * beyond
        elif with_slopes and beyond is not None:
            slopes *= beyond == 0
        return base, slopes

    def places(self, shape, inputs=None):
        """Where samples on piece 0 have the first of their splines in a dense block.

        The block has one row for each function, input by input; piece p stands p rows
        further down.

        Parameters
        ----------
        shape : tuple (n_inputs, n_rows)
        inputs : slice, default=None

        Returns
        -------
        ndarray of int of shape (n_inputs * n_rows,)
        """
        start = 0 if inputs is None else inputs.start
        known = self._places.get((shape, start))
        if known is None:
            n_inputs, n_rows = shape
            # The grids before an input have fewer pieces than functions.
            rows = np.arange(n_inputs) * (self.n_functions - self.grid_size)
            rows -= start * self.grid_size
            known = (rows[:, None] * n_rows + np.arange(n_rows)).reshape(-1)
            if len(self._places) >= MOST_PLACES:
                self._places = {}
            self._places[shape, start] = known
        return known

    def splines(self, place, *, with_slopes):
        """The k + 1 splines that are not zero at each sample.

        Returns
        -------
        values : ndarray of shape (k + 1, n_samples)
        slopes : ndarray of the same shape, or None
            With respect to the position.
        """
        if not self.is_uniform:
            return self.curves(place, self._polynomials, with_slopes=with_slopes)
        powers = _powers(place.position, self.spline_order)
        if not (with_slopes or self._has_tangents(place)):
            return product(self._values, powers), None
        both, n_splines = product(self._both, powers), self.spline_order + 1
        return self._extended(place, both[:n_splines], both[n_splines:])

    def curves(self, place, polynomials, *, with_slopes):
        """Curves that are a polynomial on each piece.

        Parameters
        ----------
        place : Place
        polynomials : ndarray of shape (k + 1, n_curves, n_pieces)
            Coefficient of each power of the position; see `pieces`.
        with_slopes : bool

        Returns
        -------
        values : ndarray of shape (n_curves, n_samples)
        slopes : ndarray of the same shape, or None
            With respect to the position.
        """
        with_slopes = with_slopes or self._has_tangents(place)
        n_powers, n_curves, n_pieces = polynomials.shape
        table = polynomials.reshape(n_powers * n_curves, n_pieces)
        # No piece needs to be clipped, but this is the fastest mode.
        near = table.take(place.piece, axis=1, mode="clip")
        *lower, values = near.reshape(n_powers, n_curves, -1)
        slopes = None
        for constants in reversed(lower):  # Horner's scheme, and its derivative
            if with_slopes and slopes is None:
                slopes = values.copy()
            elif with_slopes:
                slopes *= place.position
                slopes += values
            values *= place.position
            values += constants
        if with_slopes and slopes is None:
            slopes = np.zeros_like(values)
        return self._extended(place, values, slopes)

    def _has_tangents(self, place):
        """Whether slopes are needed for the values."""
        return self._is_linear and place.beyond is not None

    def _extended(self, place, values, slopes):
        """Continue functions and their slopes beyond the grid, in place."""
        if self._has_tangents(place):
            values += slopes * place.beyond
        elif place.beyond is not None and slopes is not None:
            slopes *= place.beyond == 0
        return values, slopes

    def pieces(self, weight):
        """Polynomials of curves on each interval.

        Parameters
        ----------
        weight : ndarray of shape (n_curves, n_inputs, n_functions)

        Returns
        -------
        ndarray of shape (k + 1, n_curves, n_pieces)
            Coefficient of each power of the position.
        """
        n_curves, size = len(weight), self.grid_size
        shape = self.spline_order + 1, n_curves, self.n_inputs, size
        near = np.empty(shape, weight.dtype)
        for row, of_row in enumerate(near):
            of_row[...] = weight[:, :, row : row + size]
        near = near.reshape(len(near), n_curves, -1)
        if self.is_uniform:
            flat = product(self._values.T, near.reshape(len(near), -1))
            return flat.reshape(near.shape)
        return (self._polynomials[:, :, None] * near).sum(1)

    def moments(self, place, slope):
        """What the values of curves, given by their `pieces`, are the transpose of.

        Parameters
        ----------
        place : Place
        slope : ndarray of shape (n_curves, n_rows)
            Weights of the rows, the same for all inputs.

        Returns
        -------
        ndarray of shape (k + 1, n_curves, n_pieces)
        """
        n_pieces = self.n_inputs * self.grid_size
        sums = np.empty((self.spline_order + 1, len(slope), n_pieces), slope.dtype)
        for curve, weights in enumerate(slope):
            terms = weighted = np.concatenate([weights] * self.n_inputs)
            for degree, of_power in enumerate(sums):
                if degree > 0 and self._has_tangents(place):
                    tangents = degree * place.beyond * weighted
                    weighted *= place.position
                    terms = weighted + tangents
                elif degree > 0:
                    weighted *= place.position
                of_power[curve] = np.bincount(place.piece, terms, n_pieces)
        return sums

    def pieces_transposed(self, moments):
        """The transpose of `pieces`, with nothing for the base function.

        Parameters
        ----------
        moments : ndarray of shape (k + 1, n_curves, n_pieces)

        Returns
        -------
        ndarray of shape (n_curves, n_inputs, n_functions)
        """
        n_curves, size = moments.shape[1], self.grid_size
        if self.is_uniform:
            near = product(self._values, moments.reshape(len(moments), -1))
        else:
            near = (self._polynomials[:, :, None] * moments[:, None]).sum(0)
        near = near.reshape(-1, n_curves, self.n_inputs, size)
        result = np.zeros((*near.shape[1:3], self.n_functions), near.dtype)
        for row, of_row in enumerate(near):
            result[:, :, row : row + size] += of_row
        return result


def _powers(position, degree):
    """From the constant one on, ndarray of shape (degree + 1, n_samples)."""
    powers = np.empty((degree + 1, len(position)), position.dtype)
    powers[0], powers[1:2] = 1, position
    for row in range(2, degree + 1):
        np.multiply(powers[row - 1], position, out=powers[row])
    return powers


def _silu(x, with_slopes):
    share = np.exp(-x)  # infinity where it overflows, one over which is right
    share += 1
    np.reciprocal(share, out=share)
    values = x * share
    if not with_slopes:
        return values, None
    # s + x s (1 - s) = s + v - s v
    slopes = share + values
    share *= values
    slopes -= share
    return values, slopes


def _identity(x, with_slopes):
    return x, np.ones_like(x) if with_slopes else None


BASES = {
    "silu": _silu,
    "identity": _identity,
}  # see `skkan.basis._base_functions.BASE_ACTIVATIONS`
