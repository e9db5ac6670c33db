"""Forward and backward pass of a whole layer: splines, base functions and their sum.

A tile is some inputs at some rows, so few that all its numbers stay in the cache. Its
samples stand input by input. Its basis values stand in a dense block of one row for
each function, which is multiplied by the weight in one matrix product. Where outputs
are few and grids fine, coefficients are looked up instead. The backward pass needs the
tiles again. They are kept if they are not too large, and else computed a second time.
All arrays stand column by column in memory, so that operations run along the rows.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from skkan.basis._autograd import (
    applied,
    is_recorded,
    through_functions,
    values_and_slopes,
)
from skkan.basis._spline_evaluator import FAST_DTYPES
from skkan.numerics._matrix_products import IGNORE_FLOAT_WARNINGS, product, sum_with

TILE_BYTES = 2**20  # of a tile, about what the cache of one core holds
TILE_ROWS = 256  # of a tile of many inputs, enough for an efficient product
# Of the blocks of a layer, up to which tiles are kept for the backward pass; the rest
# of the tiles takes about as much.
KEPT_BYTES = 2**26
LOOKUP_BYTES = 2**17  # of one row of a tile whose coefficients are looked up
# Functions an input and output from which on coefficients are looked up: a dense block
# costs all functions of an input, look-ups cost every output.
LOOKUP_FUNCTIONS = 9
MAX_LOOKUP_OUTPUTS = 3  # outputs


def has_evaluation(basis, weight):
    """Whether `layer_evaluation` takes a layer."""
    return (
        basis.is_piecewise
        and weight.is_cpu
        and weight.dtype == basis.knots.dtype
        and weight.dtype in FAST_DTYPES
    )


def supports(basis, x, weight):
    """Whether `layer_output` takes these; others go through the values of the basis."""
    return (
        has_evaluation(basis, weight)
        and not is_recorded()
        and isinstance(x, torch.Tensor)
        and x.is_cpu
        and x.dtype == weight.dtype
        and x.ndim == 2
        and x.shape[1] == basis.n_inputs
        and x.numel() > 0
    )


def layer_output(x, weight, mask, basis):
    """Node values of a layer, differentiable any number of times.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_inputs)
    weight : Tensor of shape (n_outputs, n_inputs, n_functions)
    mask : Tensor of shape (n_outputs, n_inputs)
        By which the edges are multiplied.
    basis : BSplineBasis

    Returns
    -------
    Tensor of shape (n_samples, n_outputs), or None where `applied` is
    """
    return applied(_LayerOutput, x, weight, mask, basis)


class _LayerOutput(torch.autograd.Function):
    """A layer as one step of a graph."""

    @staticmethod
    def forward(ctx, x, weight, mask, basis):
        ctx.save_for_backward(x, weight, mask, basis.knots)
        ctx.basis = basis
        ctx.x, weight = x.detach().numpy(), weight.detach().numpy()
        ctx.mask = mask.numpy()[:, :, None]
        ctx.masked = (weight * ctx.mask).reshape(len(weight), -1)
        needed = ctx.needs_input_grad[:2]
        ctx.evaluation = layer_evaluation(basis, len(ctx.x), len(weight), *needed)
        return _by_rows(ctx.evaluation.output(ctx.x, ctx.masked))

    @staticmethod
    def backward(ctx, grad):
        # Refused where one of them has changed since.
        x, weight, mask, _ = ctx.saved_tensors
        if torch.is_grad_enabled():  # a graph is made
            return *_LayerOutput._by_torch(ctx, grad, x, weight, mask), None, None
        try:
            slope = grad.detach().numpy()
        except RuntimeError:  # of a batch of gradients, which looks like one
            return *_LayerOutput._by_torch(ctx, grad, x, weight, mask), None, None
        of_x, columns = ctx.evaluation.gradients(ctx.x, ctx.masked, slope)
        if of_x is not None:
            of_x = _by_rows(of_x)
        if columns is None:
            return of_x, None, None, None
        of_weight = columns.T.reshape(weight.shape)
        return of_x, torch.from_numpy(of_weight * ctx.mask), None, None

    @staticmethod
    def _by_torch(ctx, grad, x, weight, mask):
        """Gradients of x and of the weight by operations that torch knows."""
        values, slopes = values_and_slopes(x, ctx.basis)
        of_x, of_weight, mask = None, None, mask.unsqueeze(2)
        if ctx.needs_input_grad[0]:
            by_function = grad @ (weight * mask).flatten(1)
            of_x = through_functions(by_function.view(slopes.shape), slopes)
        if ctx.needs_input_grad[1]:
            of_weight = (grad.T @ values.flatten(1)).view(weight.shape) * mask
        return of_x, of_weight


def _by_rows(values):
    """Tensor whose rows are contiguous, as others expect."""
    return torch.from_numpy(np.ascontiguousarray(values))


def layer_evaluation(basis, n_rows, n_outputs, of_x, of_weight):
    """Evaluation of a layer, of the kind that is the fastest for its size.

    Parameters
    ----------
    basis : BSplineBasis
    n_rows, n_outputs : int
    of_x, of_weight : bool
        Which gradients will be requested.

    Returns
    -------
    DenseEvaluation or LookupEvaluation
    """
    evaluator = basis.evaluator
    is_fine = evaluator.n_functions >= LOOKUP_FUNCTIONS * n_outputs
    is_lookup = is_fine and n_outputs <= MAX_LOOKUP_OUTPUTS
    kind = LookupEvaluation if is_lookup else DenseEvaluation
    return kind(evaluator, n_rows, of_x, of_weight)


class Tile(NamedTuple):
    """The splines that are not zero at some samples."""

    shape: tuple  # (n_inputs, n_rows)
    index: np.ndarray  # (n_inputs * n_rows,), where the first one of a sample stands
    values: np.ndarray  # (k + 1, n_inputs * n_rows)
    slopes: np.ndarray | None  # of the same shape, with respect to the position
    inverse_width: np.ndarray  # these three as of `SamplePositions`
    base: np.ndarray | None
    base_slopes: np.ndarray | None


def _slices(count, max_size):
    """Slices of a range, as equal as can be."""
    size = math.ceil(count / math.ceil(count / max(max_size, 1)))
    return [slice(at, min(at + size, count)) for at in range(0, count, size)]


class DenseEvaluation:
    """Basis values in a dense block, and matrix products.

    Parameters
    ----------
    evaluator : SplineEvaluator
    n_rows : int
    of_x, of_weight : bool
        Which gradients will be requested.
    """

    def __init__(self, evaluator, n_rows, of_x, of_weight):
        self._evaluator, self._of_x, self._of_weight = evaluator, of_x, of_weight
        n_inputs = evaluator.n_inputs
        size = evaluator.n_functions * evaluator.dtype.itemsize
        most = TILE_BYTES // size
        keeps = (of_x or of_weight) and n_rows * n_inputs * size <= KEPT_BYTES
        self._kept = [] if keeps else None
        self._inputs, self._rows = [slice(0, n_inputs)], [slice(0, n_rows)]
        if n_rows * n_inputs > most:
            self._inputs = _slices(n_inputs, most // min(n_rows, TILE_ROWS))
            self._rows = _slices(n_rows, most // self._inputs[0].stop)

    @IGNORE_FLOAT_WARNINGS
    def output(self, x, weight):
        """Node values.

        Parameters
        ----------
        x : ndarray of shape (n_rows, n_inputs)
        weight : ndarray of shape (n_outputs, n_inputs * n_functions)

        Returns
        -------
        ndarray of shape (n_rows, n_outputs)
        """
        nodes = np.empty((len(weight), len(x)), x.dtype)
        keeps = self._kept is not None
        room = None if keeps else self._room(x)
        if keeps:
            self._kept.clear()
        for rows in self._rows:
            total = None
            for inputs in self._inputs:
                tile = self._tile(x[rows, inputs].T, inputs, keeps and self._of_x)
                block = self._block(tile, room)
                total = sum_with(total, weight[:, self._columns(inputs)], block)
                if keeps:
                    self._kept.append((tile, block))
            nodes[:, rows] = total
        return nodes.T

    @IGNORE_FLOAT_WARNINGS
    def gradients(self, x, weight, grad):
        """Gradients of the samples, and of the transposed weight.

        Parameters
        ----------
        x, weight
            As for `output`.
        grad : ndarray of shape (n_rows, n_outputs)

        Returns
        -------
        of_x : ndarray of shape (n_rows, n_inputs), or None
        of_weight : ndarray of shape (n_inputs * n_functions, n_outputs), or None
        """
        of_x = np.empty(x.shape[::-1], x.dtype) if self._of_x else None
        kept, room = iter(self._kept or ()), None
        if len(self._rows) * len(self._inputs) > 1:
            room = self._room(x)
        sums = [None] * len(self._inputs)
        for rows in self._rows:
            slope = grad[rows]
            for each, inputs in enumerate(self._inputs):
                tile, block = next(kept, (None, None))
                if tile is None:
                    tile = self._tile(x[rows, inputs].T, inputs, self._of_x)
                    block = self._block(tile, room) if self._of_weight else None
                if self._of_weight:
                    sums[each] = sum_with(sums[each], block, slope)
                if self._of_x:
                    part = weight[:, self._columns(inputs)]
                    of_x[inputs, rows] = self._input_slopes(tile, part, slope, room)
        if self._of_x:
            of_x = of_x.T
        if not self._of_weight:
            return of_x, None
        return of_x, sums[0] if len(sums) == 1 else np.concatenate(sums)

    def _room(self, x):
        """Memory of the blocks of all tiles in turn, which costs time to be given."""
        n_rows, n_inputs = self._rows[0].stop, self._inputs[0].stop
        return np.empty(n_rows * n_inputs * self._evaluator.n_functions, x.dtype)

    def _columns(self, inputs):
        width = self._evaluator.n_functions
        return slice(inputs.start * width, inputs.stop * width)

    def _tile(self, x, inputs, with_slopes):
        x, evaluator = np.ascontiguousarray(x), self._evaluator
        found = evaluator.locate(x, inputs, with_slopes=with_slopes)
        values, slopes = evaluator.splines(found, with_slopes=with_slopes)
        index = np.multiply(found.piece, x.shape[1], out=found.piece)
        index += evaluator.first_places(x.shape, inputs)
        return Tile(x.shape, index, values, slopes, found.inverse_width, *found[-2:])

    def _block(self, tile, room):
        """Values of all functions, of shape (n_inputs * n_functions, n_rows)."""
        (n_inputs, n_rows), width = tile.shape, self._evaluator.n_functions
        shape = n_inputs * width, n_rows
        if room is None:
            block = np.zeros(shape, tile.values.dtype)
        else:
            block = _shaped(room, shape)
            block.fill(0)
        flat = block.reshape(-1)
        for row, values in enumerate(tile.values):
            flat[row * n_rows :][tile.index] = values
        if tile.base is not None:
            block[width - 1 :: width] = tile.base
        return block

    def _input_slopes(self, tile, weight, slope, room):
        """Slopes by the inputs of a tile, ndarray of shape (n_inputs, n_rows)."""
        width = self._evaluator.n_functions
        if room is not None:  # what stood there is not needed any more
            room = _shaped(room, (weight.shape[1], len(slope)))
        by_function = product(weight.T, slope.T, out=room)
        near, flat = np.empty_like(tile.slopes), by_function.reshape(-1)
        for row, of_row in enumerate(near):
            # No index needs to be clipped, but this is the fastest mode.
            flat[row * len(slope) :].take(tile.index, out=of_row, mode="clip")
        total = np.einsum("kn,kn->n", near, tile.slopes).reshape(tile.shape)
        total *= tile.inverse_width
        if tile.base is not None:
            total += by_function[width - 1 :: width] * tile.base_slopes
        return total


def _shaped(room, shape):
    return room[: math.prod(shape)].reshape(shape)


class LookupEvaluation:
    """Coefficients of the polynomials that curves are, looked up for every sample.

    Parameters
    ----------
    evaluator, n_rows, of_x, of_weight
        As for `DenseEvaluation`.
    """

    def __init__(self, evaluator, n_rows, of_x, of_weight):
        self._evaluator, self._of_x, self._of_weight = evaluator, of_x, of_weight
        row_bytes = evaluator.n_inputs * evaluator.dtype.itemsize
        self._rows = _slices(n_rows, LOOKUP_BYTES // row_bytes)
        self._keeps = len(self._rows) == 1 and (of_x or of_weight)
        self._kept = None

    @IGNORE_FLOAT_WARNINGS
    def output(self, x, weight):
        """Node values; see `DenseEvaluation.output`."""
        pieces, of_base = self._parts(weight)
        nodes = np.empty((len(weight), len(x)), x.dtype)
        for rows in self._rows:
            with_slopes = self._of_x and self._keeps
            found, values, slopes = self._curves(x[rows].T, pieces, with_slopes)
            if self._keeps:
                self._kept = found, slopes
            total = values.reshape(len(weight), *x[rows].T.shape).sum(1)
            if of_base is not None:
                total += np.einsum("oi,in->on", of_base, found.base)
            nodes[:, rows] = total
        return nodes.T

    @IGNORE_FLOAT_WARNINGS
    def gradients(self, x, weight, grad):
        """Gradients; see `DenseEvaluation.gradients`."""
        grad = np.ascontiguousarray(grad.T)
        of_x = np.empty(x.shape[::-1], x.dtype) if self._of_x else None
        pieces, of_base = self._parts(weight, with_pieces=not self._keeps)
        moments, base = 0.0, 0.0
        for rows in self._rows:
            slope = grad[:, rows]
            if self._keeps:
                found, slopes = self._kept
            else:
                found, _, slopes = self._curves(x[rows].T, pieces, self._of_x)
            if self._of_x:
                of_x[:, rows] = self._input_slopes(found, slopes, of_base, slope)
            if self._of_weight:
                moments = moments + self._evaluator.moments(found, slope)
                if of_base is not None:
                    base = base + np.einsum("on,in->oi", slope, found.base)
        if self._of_x:
            of_x = of_x.T
        return of_x, self._of_columns(moments, base) if self._of_weight else None

    def _of_columns(self, moments, base):
        """Gradient of the transposed weight."""
        of_weight = self._evaluator.pieces_transposed(moments)
        if self._evaluator.has_base:
            of_weight[..., -1] = base
        return of_weight.reshape(len(of_weight), -1).T

    def _parts(self, weight, *, with_pieces=True):
        """Polynomials of all curves, and the weights of the base functions."""
        weight = weight.reshape(len(weight), self._evaluator.n_inputs, -1)
        of_base = weight[..., -1] if self._evaluator.has_base else None
        return self._evaluator.pieces(weight) if with_pieces else None, of_base

    def _curves(self, x, pieces, with_slopes):
        x = np.ascontiguousarray(x)
        found = self._evaluator.locate(x, with_slopes=with_slopes)
        return found, *self._evaluator.curves(found, pieces, with_slopes=with_slopes)

    def _input_slopes(self, found, slopes, of_base, slope):
        """Slopes by the inputs, ndarray of shape (n_inputs, n_rows)."""
        slopes = slopes.reshape(len(slope), -1, slope.shape[1])
        total = np.einsum("oin,on->in", slopes, slope)
        total *= found.inverse_width
        if of_base is not None:
            total += np.einsum("oi,on->in", of_base, slope) * found.base_slopes
        return total
