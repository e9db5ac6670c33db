"""Values and slopes of splines and base functions, by numpy.

One evaluator serves training, predictions and everything that reads a fitted network.
All splines are polynomials on each interval of their grid, see `_spline_pieces`. The
evaluator finds the interval of each sample and its position there, then evaluates
either the k + 1 splines that are not zero, or whole curves whose coefficients have been
combined to one polynomial for each interval before.

Arrays hold one number for each sample in their last dimension, so that every operation
runs along contiguous memory. Arrays of few rows are shorter than a call is long, and
the calls of numpy are the shortest.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.special import perm

from skkan.basis._base_functions import BASE_ACTIVATIONS, base_derivatives
from skkan.basis._spline_pieces import (
    FARTHEST,
    LookupTable,
    bisected_pieces,
    cardinal_polynomials,
    spline_polynomials,
)
from skkan.numerics._matrix_products import (
    IGNORE_FLOAT_WARNINGS,
    MAX_NUMPY_PRODUCT,
    product,
)

FAST_DTYPES = torch.float32, torch.float64  # with which numpy calculates fast
MAX_REMEMBERED_SHAPES = 8  # of blocks of samples


class SamplePositions(NamedTuple):
    """Where samples lie on the grids, and the base function there.

    Samples are those of an array x of shape (n_inputs, n_rows), or (n_rows, n_inputs)
    where rows come first.
    """

    piece: np.ndarray  # (n_samples,), input * grid_size + interval
    position: np.ndarray  # (n_samples,), in the interval, in widths of it
    inverse_width: np.ndarray  # of the interval, broadcasts to the shape of x
    beyond: np.ndarray | None  # (n_samples,), distance from the grid, in widths
    base: np.ndarray | None  # of the shape of x
    base_slopes: np.ndarray | None


class SplineEvaluator:
    """Evaluation of the functions of a basis on the CPU.

    Numbers may overflow on the way. Callers switch the warnings of numpy off.

    Parameters
    ----------
    basis : BSplineBasis
    """

    def __init__(self, basis):
        grid, k = basis.grid.contiguous().numpy(), basis.spline_order
        self.dtype, self.spline_order = grid.dtype, k
        self.n_inputs, self.grid_size = basis.n_inputs, basis.grid_size
        self.n_functions = basis.n_functions
        self.is_uniform = basis.is_uniform
        self._base_activation = basis.base_activation
        self._base = BASE_ACTIVATIONS.get(basis.base_activation)
        self.has_base = self._base is not None
        self._is_linear = basis.extrapolation == "linear"
        self._grid, self._table, self._first_places = grid, None, {}
        self._n_steps = self.grid_size
        if self.is_uniform:
            # Powers run along the columns: first those of the values, then of slopes.
            self._values = cardinal_polynomials(k).astype(grid.dtype)
            slopes = np.zeros_like(self._values)
            slopes[:, :-1] = self._values[:, 1:] * np.arange(1, k + 1)
            self._both = np.concatenate([self._values, slopes])
        else:
            self._table = LookupTable.of_grid(grid)
            self._n_steps = 1 if self._table is None else self._table.n_cells
            self._starts = grid[:, :-1].ravel()
            self._inverse_widths = (1 / np.diff(grid)).ravel()
            self._polynomials = spline_polynomials(basis.knots, k).numpy()
        low, high = grid[:, :1], grid[:, -1:]
        first = np.arange(self.n_inputs)[:, None] * self._n_steps
        self._ranges = low, high, self._n_steps / (high - low), first
        self._ranges_of_columns = [of_all.ravel() for of_all in self._ranges]

    @IGNORE_FLOAT_WARNINGS
    def features(self, x, with_slopes):
        """Values and derivatives of all functions, in one column for each.

        Parameters
        ----------
        x : ndarray of shape (n_rows, n_inputs)
        with_slopes : bool
            Whether to spend time on the derivatives.

        Returns
        -------
        values : ndarray of shape (n_rows, n_inputs, n_functions)
        derivatives : ndarray of the same shape, or None
        """
        shape = *x.shape, self.n_functions
        values = np.zeros(shape, x.dtype)
        slopes = np.zeros(shape, x.dtype) if with_slopes else None
        for rows in self._blocks_of_rows(x):
            self._fill(x[rows], values[rows], slopes[rows] if with_slopes else None)
        return values, slopes

    @IGNORE_FLOAT_WARNINGS
    def higher_derivatives(self, x, order):
        """Derivatives of two successive orders of all functions.

        Parameters
        ----------
        x : ndarray of shape (n_rows, n_inputs)
        order : int
            The lower of the two, at least 2.

        Returns
        -------
        ndarray of shape (2, n_rows, n_inputs, n_functions)
        """
        pair = np.zeros((2, *x.shape, self.n_functions), x.dtype)
        for rows in self._blocks_of_rows(x):
            self._fill_higher(x[rows], order, pair[:, rows])
        return pair

    def _blocks_of_rows(self, x):
        """Slices of rows so few that they stay in the cache.

        They do not depend on the orders of derivatives, nor do rounding errors.
        """
        n_rows = MAX_NUMPY_PRODUCT // (2 * (self.spline_order + 1) ** 2 * self.n_inputs)
        n_rows = max(n_rows, 1)
        return [slice(start, start + n_rows) for start in range(0, len(x), n_rows)]

    def _fill(self, x, values, slopes):
        """Write the values, and the slopes where there are some, over zeros."""
        with_slopes = slopes is not None
        found = self.locate(x, rows_first=True, with_slopes=with_slopes)
        local, local_slopes = self.splines(found, with_slopes=with_slopes)
        if not self._is_linear:
            np.maximum(local, 0, out=local)  # of rounding
        parts = [(values, local, found.base)]
        if with_slopes:
            local_slopes = local_slopes.reshape(-1, *x.shape) * found.inverse_width
            local_slopes = local_slopes.reshape(local.shape)
            parts.append((slopes, local_slopes, found.base_slopes))
        self._write(found, parts)

    def _fill_higher(self, x, order, pair):
        """Write derivatives of two successive orders of at least 2 over zeros."""
        low, high, *_ = self._ranges_of_columns
        inside = np.clip(x, low, high)
        is_inside, orders = inside == x, (order, order + 1)
        found = self.locate(inside, rows_first=True, with_slopes=False)
        base, parts = [None] * (order + 2), []
        if self.has_base:
            base = base_derivatives(self._base_activation, inside, order + 1)
        for block, each in zip(pair, orders, strict=True):
            scale = found.inverse_width**each * is_inside
            local = self._derivatives(found, each).reshape(-1, *x.shape) * scale
            of_base = None if base[each] is None else base[each] * is_inside
            parts.append((block, local.reshape(len(local), -1), of_base))
        self._write(found, parts)

    def _derivatives(self, found, order):
        """Derivatives of the k + 1 splines that are not zero, within the grid.

        Returns
        -------
        ndarray of shape (k + 1, n_samples)
            With respect to the position.
        """
        n_powers = self.spline_order + 1 - order
        if n_powers <= 0:
            return np.zeros((self.spline_order + 1, len(found.piece)))
        factors = perm(np.arange(order, self.spline_order + 1), order).astype(
            self.dtype
        )
        if self.is_uniform:
            polynomials = self._values[:, order:] * factors
            return product(polynomials, _powers(found.position, n_powers - 1))
        polynomials = self._polynomials[order:] * factors[:, None, None]
        return self.curves(found, polynomials, with_slopes=False)[0]

    def _write(self, found, parts):
        """Write local functions into columns of all functions, block by block.

        Parameters
        ----------
        found : SamplePositions
        parts : list of (block, of_splines, of_base)
            Zeros of shape (n_rows, n_inputs, n_functions), splines of shape
            (k + 1, n_samples), and base functions of shape (n_rows, n_inputs) or None.
        """
        n_rows, n_inputs, width = parts[0][0].shape
        index = np.arange(n_rows * n_inputs).reshape(n_rows, n_inputs) * width
        index = (index - np.arange(n_inputs) * self.grid_size).reshape(-1)
        index += found.piece
        for block, of_splines, of_base in parts:
            flat = block.reshape(-1)
            for row, of_row in enumerate(of_splines):
                flat[row:][index] = of_row
            if of_base is not None:
                block[..., -1] = of_base

    def locate(self, x, inputs=None, *, with_slopes, rows_first=False):
        """Find the interval of each sample and its position there.

        Parameters
        ----------
        x : ndarray of shape (n_inputs, n_rows)
            Or (n_rows, n_inputs) where rows come first.
        inputs : slice, default=None
            Which inputs of the layer these are; None is all.
        with_slopes : bool
            Whether to compute the derivatives of the base function.
        rows_first : bool, default=False

        Returns
        -------
        SamplePositions
        """
        ranges = self._ranges_of_columns if rows_first else self._ranges
        if inputs is not None and len(x) < self.n_inputs:
            ranges = [of_all[inputs] for of_all in ranges]
        low, high, per_unit, first = ranges
        inside, beyond, last = x, None, self._n_steps - 1
        position = x - low
        position *= per_unit
        # What is no number is not within, either.
        least = np.minimum.reduce(position, axis=None)
        largest = np.maximum.reduce(position, axis=None)
        all_within = least >= 0 and largest < self._n_steps
        if not all_within:
            inside = np.clip(x, low, high)
            np.clip(position, 0, self._n_steps, out=position)
            if self._is_linear or with_slopes:
                beyond = np.clip(x - inside, -FARTHEST, FARTHEST)
        if self.is_uniform:
            steps = np.floor(position)
            if not all_within:
                np.minimum(steps, last, out=steps)
            position -= steps
            position, inverse_width = position.reshape(-1), per_unit
        else:
            steps = position
        step = steps.astype(np.int64)
        if not all_within:  # nor is NaN, which has no values, but some piece
            np.clip(step, 0, last, out=step)
        step += first
        if self.is_uniform:
            piece = step.reshape(-1)
        else:
            piece = self._pieces(inside, step, inputs, rows_first)
            inverse_width = self._inverse_widths.take(piece)
            position = inside.reshape(-1) - self._starts.take(piece)
            position *= inverse_width
            inverse_width = inverse_width.reshape(x.shape)
        base = base_slopes = None
        if self.has_base:
            base, base_slopes = self._extended_base(inside, beyond, with_slopes)
        if beyond is not None:
            beyond *= inverse_width
            beyond = beyond.reshape(-1)
        return SamplePositions(
            piece, position, inverse_width, beyond, base, base_slopes
        )

    def _pieces(self, x, cell, inputs, rows_first):
        """Pieces of samples within uneven grids, by the cells that they are in."""
        table = self._table
        if table is not None:
            piece = table.first_piece.take(cell)
            piece += x >= table.end.take(piece)
            return piece.reshape(-1)
        first = 0 if inputs is None else inputs.start
        grid = self._grid if inputs is None else self._grid[inputs]
        pieces = bisected_pieces(grid, x.T if rows_first else x)
        pieces += first * self.grid_size
        return (pieces.T if rows_first else pieces).reshape(-1)

    def _extended_base(self, x, beyond, with_slopes):
        """The base function and its continuation, at the nearest points of the grid."""
        is_tangent = self._is_linear and beyond is not None
        base, slopes = self._base(x, with_slopes or is_tangent)
        if is_tangent:
            base = base + slopes * beyond
        elif with_slopes and beyond is not None:
            slopes *= beyond == 0
        return base, slopes

    def first_places(self, shape, inputs=None):
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
        known = self._first_places.get((shape, start))
        if known is None:
            n_inputs, n_rows = shape
            # The grids before an input have fewer pieces than functions.
            rows = np.arange(n_inputs) * (self.n_functions - self.grid_size)
            rows -= start * self.grid_size
            known = (rows[:, None] * n_rows + np.arange(n_rows)).reshape(-1)
            if len(self._first_places) >= MAX_REMEMBERED_SHAPES:
                self._first_places = {}
            self._first_places[shape, start] = known
        return known

    def splines(self, found, *, with_slopes):
        """The k + 1 splines that are not zero at each sample.

        Returns
        -------
        values : ndarray of shape (k + 1, n_samples)
        slopes : ndarray of the same shape, or None
            With respect to the position.
        """
        if not self.is_uniform:
            return self.curves(found, self._polynomials, with_slopes=with_slopes)
        powers = _powers(found.position, self.spline_order)
        if not (with_slopes or self._has_tangents(found)):
            return product(self._values, powers), None
        both, n_splines = product(self._both, powers), self.spline_order + 1
        return self._extended(found, both[:n_splines], both[n_splines:])

    def curves(self, found, polynomials, *, with_slopes):
        """Curves that are a polynomial on each piece.

        Parameters
        ----------
        found : SamplePositions
        polynomials : ndarray of shape (k + 1, n_curves, n_pieces)
            Coefficient of each power of the position; see `pieces`.
        with_slopes : bool

        Returns
        -------
        values : ndarray of shape (n_curves, n_samples)
        slopes : ndarray of the same shape, or None
            With respect to the position.
        """
        with_slopes = with_slopes or self._has_tangents(found)
        *lower, highest = polynomials
        # No piece needs to be clipped, but this is the fastest mode.
        values = highest.take(found.piece, axis=1, mode="clip")
        slopes = None
        for coefficients in reversed(lower):  # Horner's scheme, and its derivative
            if with_slopes and slopes is None:
                slopes = values.copy()
            elif with_slopes:
                slopes *= found.position
                slopes += values
            values *= found.position
            values += coefficients.take(found.piece, axis=1, mode="clip")
        if with_slopes and slopes is None:
            slopes = np.zeros_like(values)
        return self._extended(found, values, slopes)

    def powers(self, found):
        """Powers 0 to k of the positions, continued beyond the grid, like `_powers`."""
        powers = _powers(found.position, self.spline_order)
        if self._has_tangents(found):
            degrees = np.arange(1, len(powers))[:, None]
            powers[1:] += degrees * powers[:-1] * found.beyond
        return powers

    def _has_tangents(self, found):
        """Whether slopes are needed for the values."""
        return self._is_linear and found.beyond is not None

    def _extended(self, found, values, slopes):
        """Continue functions and their slopes beyond the grid, in found."""
        if self._has_tangents(found):
            values += slopes * found.beyond
        elif found.beyond is not None and slopes is not None:
            slopes *= found.beyond == 0
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

    def moments(self, found, slope):
        """The transpose of the values of curves as a function of their `pieces`.

        Parameters
        ----------
        found : SamplePositions
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
                if degree > 0 and self._has_tangents(found):
                    tangents = degree * found.beyond * weighted
                    weighted *= found.position
                    terms = weighted + tangents
                elif degree > 0:
                    weighted *= found.position
                of_power[curve] = np.bincount(found.piece, terms, n_pieces)
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
    """Powers 0 to `degree`, ndarray of shape (degree + 1, n_samples)."""
    powers = np.empty((degree + 1, len(position)), position.dtype)
    powers[0], powers[1:2] = 1, position
    for row in range(2, degree + 1):
        np.multiply(powers[row - 1], position, out=powers[row])
    return powers
