"""Forward and backward pass of a whole layer: splines, base functions and their sum.

A tile is some inputs at some rows, so few that all numbers of it stay in the cache.
Its samples stand input by input, and its basis values in a dense block of one row for
each function, which meets the weight in one matrix product. Where outputs are few and
grids fine, coefficients are looked up instead. Small layers keep their one tile for the
backward pass; large ones compute each tile again, which is cheaper than to fetch it.
"""

import math
from typing import NamedTuple

import torch

from skkan._basis import BASE_ACTIVATIONS, FARTHEST, BSplineBasis
from skkan._pieces import Cells, cardinal_polynomials

BLOCK_BYTES = 2**21  # of a tile, about what the cache of one core holds
BLOCK_ROWS = 256  # of a tile of many inputs, enough for an efficient product
# Of basis values, above which the backward pass computes them again.
KEPT_BYTES = 3 * 2**21
LOOKUP_BYTES = 2**17  # of one row of a tile whose coefficients are looked up
# Functions an input and output from which on coefficients are looked up: a dense block
# costs all functions of an input, look-ups cost every output.
LOOKUP_FUNCTIONS = 12
MOST_LOOKUPS = 3  # outputs
MOST_PLACES = 8  # shapes of tiles whose places are remembered
# Positions in a block are computed in floating point; float32 is exact up to here.
MOST_NUMBERS = 2**24


def supports(basis, x, weight):
    """Whether `layer_output` takes these; others go through the values of the basis."""
    return (
        isinstance(basis, BSplineBasis)
        and x.ndim == 2
        and x.shape[1] == basis.n_inputs
        and x.numel() > 0
        and x.dtype == weight.dtype == basis.knots.dtype
        and x.dtype in (torch.float32, torch.float64)
        and x.device.type == weight.device.type == "cpu"
        and basis.n_functions * basis.n_inputs < MOST_NUMBERS
    )


def layer_output(x, weight, mask, basis):
    """Node values of a layer, differentiable once.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_inputs)
    weight : Tensor of shape (n_outputs, n_inputs, n_functions)
    mask : Tensor of shape (n_outputs, n_inputs)
        By which the edges are multiplied.
    basis : BSplineBasis

    Returns
    -------
    Tensor of shape (n_samples, n_outputs)
    """
    return _LayerOutput.apply(x, weight, mask, basis)


class _LayerOutput(torch.autograd.Function):
    """A layer as one step of a graph."""

    @staticmethod
    def forward(ctx, x, weight, mask, basis):
        masked = weight * mask.unsqueeze(2)
        is_fine = basis.n_functions >= LOOKUP_FUNCTIONS * len(weight)
        kind = _Lookup if is_fine and len(weight) <= MOST_LOOKUPS else _Dense
        ctx.way = kind(_stencil_of(basis), x, *ctx.needs_input_grad[:2])
        ctx.save_for_backward(x, weight, mask)
        return ctx.way.output(x, masked.flatten(1))

    @staticmethod
    def backward(ctx, grad):
        with torch.no_grad():
            gradients = _LayerOutput._gradients(ctx, grad)
        if not torch.is_grad_enabled():
            return *gradients, None, None
        # A graph of the gradients was asked for, which must not look constant.
        sources = grad, *ctx.saved_tensors[:2]
        once = [None if g is None else _Once.apply(g, *sources) for g in gradients]
        return *once, None, None

    @staticmethod
    def _gradients(ctx, grad):
        x, weight, mask = ctx.saved_tensors
        weight = weight * mask.unsqueeze(2)
        of_x, columns = ctx.way.gradients(x, weight.flatten(1), grad.contiguous())
        of_weight = None
        if columns is not None:
            of_weight = torch.empty_like(weight)
            columns = columns.T.unflatten(1, weight.shape[1:])
            torch.mul(columns, mask.unsqueeze(2), out=of_weight)
        return of_x, of_weight


class _Once(torch.autograd.Function):
    """A gradient that has none itself."""

    @staticmethod
    def forward(ctx, gradient, *sources):
        return gradient.clone()

    @staticmethod
    def backward(ctx, grad):
        raise RuntimeError(
            "Layers are differentiable once, got a request for second derivatives: "
            "differences of first derivatives approximate them."
        )


class Tile(NamedTuple):
    """The splines that are not zero at some samples, and the base function there."""

    index: torch.Tensor  # (n_inputs * n_rows,), where the first one of a sample stands
    values: torch.Tensor  # (k + 1, n_inputs * n_rows)
    slopes: torch.Tensor | None  # of the same shape, with respect to the position
    base: torch.Tensor | None  # (n_inputs, n_rows)
    base_slopes: torch.Tensor | None
    density: torch.Tensor  # (n_inputs, 1), derivative of the position


class Stencil:
    """Where samples lie on the grids of a basis, and the k + 1 splines of each place.

    The position of a sample is its distance from the first knot; in widths of an
    interval where all are equal, else in `Cells`.

    Parameters
    ----------
    basis : BSplineBasis
    """

    def __init__(self, basis):
        grid, k = basis.grid.contiguous(), basis.spline_order
        self.knots = basis.knots  # the very tensor that this was made from
        self.spline_order, self.n_functions = k, basis.n_functions
        self._grid, self._last = grid, basis.grid_size - 1
        self._low, self._high = grid[:, :1].contiguous(), grid[:, -1:].contiguous()
        self._base = BASE_ACTIVATIONS.get(basis.base_activation)
        self._is_linear = basis.extrapolation == "linear"
        self._is_uniform = basis.is_uniform
        self._cells, n_steps = None, basis.grid_size
        if not basis.is_uniform:
            self._cells = Cells.of(grid)
            n_steps = n_steps if self._cells is None else self._cells.count
            # Around each piece its 2 k knots, whose ends are the two in the middle.
            near = basis.knots[:, 1:-1].unfold(1, 2 * k, 1) if k else grid[..., None]
            self._near = near[:, : basis.grid_size].movedim(2, 0).flatten(1)
        self._density = n_steps / (self._high - self._low)
        self._top = ((self._high - self._low) * self._density).max().item()
        self._first = torch.arange(len(grid)).unsqueeze(1)
        self._known_places = {}
        if basis.is_uniform:
            values = cardinal_polynomials(k)
            slopes = torch.zeros_like(values)
            slopes[:, :-1] = values[:, 1:] * torch.arange(1, k + 1)
            self._polynomials = torch.cat([values, slopes]).to(grid)

    def tile(self, x, inputs, steps, *, with_slopes):
        """What is not zero at some samples.

        Parameters
        ----------
        x : Tensor of shape (n_inputs, n_rows)
        inputs : slice
            Which inputs of the layer these are.
        steps : tuple of int
            From the place of a row, of an input and of a function to the next.
        with_slopes : bool

        Returns
        -------
        Tile
        """
        density = _of(self._density, inputs)
        position = (x - _of(self._low, inputs)).mul_(density)
        least, largest = torch.aminmax(position)
        known, beyond = position, None
        if not (least.item() >= 0 and largest.item() <= self._top):
            inside = torch.minimum(x, _of(self._high, inputs))
            inside = torch.maximum(inside, _of(self._low, inputs))
            position = position.clamp_(0, self._top)
            x, beyond = inside, x - inside
            # What is no number has no values, but some place.
            known = torch.where(position.isnan(), 0.0, position)
        with_slopes = with_slopes or (self._is_linear and beyond is not None)
        if self._is_uniform:
            interval = torch.floor(known).clamp_(max=self._last)
            values, slopes = self._cardinal(position, interval, with_slopes)
        else:
            piece = self._pieces(x, known, inputs)
            interval = piece - _of(self._first, inputs) * (self._last + 1)
            values, slopes = self._general(x, piece, with_slopes)
            density = None
        index = torch.add(self._places(x, steps), interval, alpha=steps[2])
        base = base_slopes = None
        if self._base is not None:
            base, base_slopes = self._base(x, with_slopes)
        index = index.long().view(-1)
        tile = Tile(index, values, slopes, base, base_slopes, density)
        if beyond is not None:
            self._continue(tile, beyond)
        return tile

    def _continue(self, tile, beyond):
        """Continue a tile beyond the grid, in place."""
        if self._is_linear:
            beyond = beyond.clamp(-FARTHEST, FARTHEST)
            if tile.base is not None:
                tile.base.addcmul_(tile.base_slopes, beyond)
            if tile.density is not None:
                beyond = beyond * tile.density
            tile.values.addcmul_(tile.slopes, beyond.flatten())
        elif tile.slopes is not None:
            within = beyond == 0
            tile.slopes.mul_(within.flatten())
            if tile.base is not None:
                tile.base_slopes.mul_(within)

    def _places(self, x, steps):
        """Places of the first function of all samples, of shape (n_inputs, n_rows)."""
        key = (*x.shape, *steps)
        places = self._known_places.get(key)
        if places is None:
            rows = torch.arange(x.shape[1], dtype=x.dtype) * steps[0]
            places = rows + torch.arange(len(x), dtype=x.dtype).unsqueeze(1) * steps[1]
            if len(self._known_places) >= MOST_PLACES:
                self._known_places = {}
            self._known_places[key] = places
        return places

    def _cardinal(self, position, interval, with_slopes):
        """The closed form of equidistant knots: polynomials of one interval."""
        k = self.spline_order
        powers = position.new_empty(k + 1, position.numel())
        constant, linear, *higher = powers.unbind()
        constant.fill_(1.0)
        torch.sub(position, interval, out=linear.view(position.shape))
        before = linear.sub_(0.5)
        for power in higher:
            before = torch.mul(before, linear, out=power)
        if not with_slopes:
            return self._polynomials[: k + 1] @ powers, None
        return (self._polynomials @ powers).split(k + 1)

    def _general(self, x, piece, with_slopes):
        """Any knots: the recurrence of the splines that live on one interval."""
        x, piece, k = x.flatten(), piece.flatten(), self.spline_order
        knots = [row.index_select(0, piece) for row in self._near[: 2 * k]]
        values = x.new_ones(k + 1, len(x))
        slopes = x.new_zeros(k + 1, len(x)) if with_slopes else None
        for degree in range(1, k + 1):
            carried = None
            for row, value in enumerate(values.unbind()[:degree]):
                before, after = knots[k - degree + row], knots[k + row]
                # B / (t_after - t_before), which the splines on both sides share
                ratio = (after - before).reciprocal_().mul_(value)
                torch.mul(after - x, ratio, out=value)
                if carried is not None:
                    value.add_(carried)
                carried = (x - before).mul_(ratio)
                if degree == k and with_slopes:
                    slopes[row].sub_(ratio, alpha=k)
                    slopes[row + 1].add_(ratio, alpha=k)
            values[degree] = carried
        return values, slopes

    def _pieces(self, x, position, inputs):
        """Intervals, counted through all inputs, of shape (n_inputs, n_rows)."""
        first = _of(self._first, inputs)
        if self._cells is None:
            grid = _of(self._grid, inputs)
            interval = torch.searchsorted(grid, x.contiguous(), right=True).sub_(1)
            return interval.clamp_(0, self._last).add_(first * (self._last + 1))
        cell = position.long().clamp_(0, self._cells.count - 1)
        cell = cell.add_(first * self._cells.count).flatten()
        piece = self._cells.piece.index_select(0, cell)
        piece += x.flatten() >= self._cells.end.index_select(0, piece)
        return piece.view(x.shape)


def _of(numbers, inputs):
    """Those of some inputs."""
    count = inputs.stop - inputs.start
    return numbers if count == len(numbers) else numbers[inputs]


def _stencil_of(basis):
    """The stencil of a basis, which keeps it."""
    if basis.stencil is None or basis.stencil.knots is not basis.knots:
        basis.stencil = Stencil(basis)
    return basis.stencil


def _cut(count, most):
    """Parts of a range, as equal as can be."""
    size = math.ceil(count / math.ceil(count / max(most, 1)))
    return [slice(at, min(at + size, count)) for at in range(0, count, size)]


class _Dense:
    """Basis values in a dense block, and matrix products.

    Parameters
    ----------
    stencil : Stencil
    x : Tensor of shape (n_samples, n_inputs)
    of_x, of_weight : bool
        Which gradients will be asked for.
    """

    def __init__(self, stencil, x, of_x, of_weight):
        self._stencil, self._of_x, self._of_weight = stencil, of_x, of_weight
        n_rows, n_inputs = x.shape
        width, size = stencil.n_functions, x.element_size()
        self._kept = None
        self._is_one = n_rows * n_inputs * width * size <= KEPT_BYTES
        if self._is_one:
            self._inputs, self._rows = [slice(0, n_inputs)], [slice(0, n_rows)]
        else:
            most = BLOCK_BYTES // (width * size)
            self._inputs = _cut(n_inputs, most // min(n_rows, BLOCK_ROWS))
            self._rows = _cut(n_rows, most // self._inputs[0].stop)

    def output(self, x, weight):
        if self._is_one:
            rows, inputs = self._rows[0], self._inputs[0]
            tile = self._tile(x, rows, inputs, self._of_x)
            block = self._block(tile, len(x), None)
            self._kept = tile, block
            return (weight @ block).T.contiguous()
        out, buffer = x.new_empty(len(x), len(weight)), self._buffer(x)
        for rows in self._rows:
            nodes = None
            for inputs in self._inputs:
                tile = self._tile(x, rows, inputs, False)
                block = self._block(tile, rows.stop - rows.start, buffer)
                part = weight[:, self._columns(inputs)]
                nodes = part @ block if nodes is None else nodes.addmm_(part, block)
            out[rows] = nodes.T
        return out

    def gradients(self, x, weight, grad):
        if self._is_one:
            return self._kept_gradients(weight, grad)
        of_x = torch.empty_like(x) if self._of_x else None
        of_weight = torch.zeros_like(weight.T) if self._of_weight else None
        buffer = self._buffer(x)
        for rows in self._rows:
            slope = grad[rows]
            for inputs in self._inputs:
                columns = self._columns(inputs)
                tile = self._tile(x, rows, inputs, self._of_x)
                if self._of_weight:
                    block = self._block(tile, len(slope), buffer)
                    of_weight[columns].addmm_(block, slope)
                if self._of_x:
                    part = weight[:, columns].T
                    room = _shaped(buffer, (len(part), len(slope)))
                    by_function = torch.mm(part, slope.T, out=room)
                    of_x[rows, inputs] = self._input_slopes(tile, by_function).T
        return of_x, of_weight

    def _kept_gradients(self, weight, grad):
        (tile, block), of_x = self._kept, None
        of_weight = block @ grad if self._of_weight else None
        if self._of_x:
            slopes = self._input_slopes(tile, weight.T @ grad.T)
            of_x = slopes.T.contiguous()
        return of_x, of_weight

    def _buffer(self, x):
        n_rows, n_inputs = self._rows[0].stop, self._inputs[0].stop
        return x.new_empty(n_rows * n_inputs * self._stencil.n_functions)

    def _columns(self, inputs):
        width = self._stencil.n_functions
        return slice(inputs.start * width, inputs.stop * width)

    def _tile(self, x, rows, inputs, with_slopes):
        n_rows, width = rows.stop - rows.start, self._stencil.n_functions
        steps = (1, n_rows * width, n_rows)
        if not self._is_one:
            x = x[rows, inputs]
        x = x.T.contiguous()
        return self._stencil.tile(x, inputs, steps, with_slopes=with_slopes)

    def _local(self, block):
        """From the first spline of a sample to its others, one view for each."""
        width, step = self._stencil.spline_order, block.shape[1]
        flat = block.view(-1)
        return flat.unfold(0, flat.numel() - width * step, step).unbind()

    def _block(self, tile, n_rows, buffer):
        """Values of all functions, of shape (n_inputs * n_functions, n_rows)."""
        width = self._stencil.n_functions
        shape = (tile.index.numel() // n_rows * width, n_rows)
        if buffer is None:
            block = tile.values.new_zeros(shape)
        else:
            block = _shaped(buffer, shape).zero_()
        pairs = zip(self._local(block), tile.values.unbind(), strict=True)
        for near, values in pairs:
            near.scatter_add_(0, tile.index, values)
        if tile.base is not None:
            block[width - 1 :: width] = tile.base
        return block

    def _input_slopes(self, tile, by_function):
        """Of the samples of a tile, (n_inputs, n_rows)."""
        width, n_rows = self._stencil.n_functions, by_function.shape[1]
        total = None
        pairs = zip(self._local(by_function), tile.slopes.unbind(), strict=True)
        for near, slopes in pairs:
            near = near.index_select(0, tile.index)
            total = near.mul_(slopes) if total is None else total.addcmul_(near, slopes)
        total = total.view(-1, n_rows)
        if tile.density is not None:
            total.mul_(tile.density)
        if tile.base is not None:
            total.addcmul_(by_function[width - 1 :: width], tile.base_slopes)
        return total


def _shaped(buffer, shape):
    return buffer[: math.prod(shape)].view(shape)


class _Lookup:
    """Coefficients of the functions that are not zero, looked up for every sample.

    Parameters
    ----------
    stencil, x, of_x, of_weight
        As for `_Dense`.
    """

    def __init__(self, stencil, x, of_x, of_weight):
        self._stencil, self._of_x, self._of_weight = stencil, of_x, of_weight
        n_rows, n_inputs = x.shape
        self._rows = _cut(n_rows, LOOKUP_BYTES // (n_inputs * x.element_size()))
        self._inputs = slice(0, n_inputs)
        self._keeps = len(self._rows) == 1 and (of_x or of_weight)
        self._kept = None

    def output(self, x, weight):
        nodes, with_slopes = (
            x.new_empty(len(weight), len(x)),
            self._keeps and self._of_x,
        )
        for rows in self._rows:
            tile = self._tile(x, rows, with_slopes)
            values, slopes = self._curves(tile, weight, with_slopes)
            torch.sum(values, 1, out=nodes[:, rows])
            if self._keeps:
                self._kept = tile, slopes
        return nodes.T.contiguous()

    def gradients(self, x, weight, grad):
        of_x = torch.empty_like(x) if self._of_x else None
        of_weight = torch.zeros_like(weight) if self._of_weight else None
        for rows in self._rows:
            slope = grad[rows].T.contiguous()
            if self._keeps:
                tile, slopes = self._kept
            else:
                tile = self._tile(x, rows, self._of_x)
                if self._of_x:
                    _, slopes = self._curves(tile, weight, True)
            if self._of_x:
                total = slopes[0].mul(slope[0])
                for of_curve, of_node in zip(slopes[1:], slope[1:], strict=True):
                    total.addcmul_(of_curve, of_node)
                of_x[rows] = total.T
            if self._of_weight:
                self._add_moments(tile, slope, of_weight)
        return of_x, None if of_weight is None else of_weight.T

    def _tile(self, x, rows, with_slopes):
        steps = (0, self._stencil.n_functions, 1)
        x = x[rows].T.contiguous()
        return self._stencil.tile(x, self._inputs, steps, with_slopes=with_slopes)

    def _local(self, weight):
        size = weight.numel() - self._stencil.spline_order
        return weight.unfold(0, size, 1).unbind()

    def _curves(self, tile, weight, with_slopes):
        """Values and slopes of all curves, of shape (n_outputs, n_inputs, n_rows)."""
        n_inputs, width = self._inputs.stop, self._stencil.n_functions
        shape = (len(weight), n_inputs, tile.index.numel() // n_inputs)
        values = tile.values.new_zeros(len(weight), tile.index.numel())
        slopes = torch.zeros_like(values) if with_slopes else None
        local_values = tile.values.unbind()
        local_slopes = tile.slopes.unbind() if with_slopes else None
        for output, of_output in enumerate(weight.unbind()):
            for row, near in enumerate(self._local(of_output)):
                near = near.index_select(0, tile.index)
                values[output].addcmul_(near, local_values[row])
                if with_slopes:
                    slopes[output].addcmul_(near, local_slopes[row])
        values, slopes = values.view(shape), slopes.view(shape) if with_slopes else None
        if with_slopes and tile.density is not None:
            slopes.mul_(tile.density)
        if tile.base is not None:
            of_base = weight[:, width - 1 :: width].unsqueeze(2)
            values.addcmul_(of_base, tile.base)
            if with_slopes:
                slopes.addcmul_(of_base, tile.base_slopes)
        return values, slopes

    def _add_moments(self, tile, slope, of_weight):
        """Add to the gradient of the weight."""
        width = self._stencil.n_functions
        values = tile.values.unflatten(1, (-1, slope.shape[1]))
        for of_node, of_output in zip(slope, of_weight, strict=True):
            parts = (values * of_node).flatten(1).unbind()
            for near, part in zip(self._local(of_output), parts, strict=True):
                near.scatter_add_(0, tile.index, part)
        if tile.base is not None:
            of_weight[:, width - 1 :: width].addmm_(slope, tile.base.T)
