"""Output of a network whose weights do not change any more, by numpy and scipy alone.

All curves are tabulated as polynomials of each interval once. A prediction looks up
where the inputs lie, and multiplies the powers of their positions by what stands there.
A single row takes some dozen calls of numpy; of many rows, blocks that fit the cache
can be predicted by several threads at once.
"""

import numpy as np
import torch
from scipy.sparse import csr_array

from skkan.basis._spline_pieces import FARTHEST, LookupTable

# Of an input, above which values of its functions that all share are cheaper.
MOST_CURVES = 6


class Predictor:
    """Function from rows to the output of a network.

    Parameters
    ----------
    network : KANNetwork
        On the CPU, and such that it takes missing cells; see
        `KANNetwork.with_values_at_missing`.

    Attributes
    ----------
    n_values : int
        Numbers that are held for each row.

    Examples
    --------
    >>> import torch
    >>> from skkan import KANNetwork
    >>> from skkan.fitted._numpy_predictor import Predictor
    >>> x = torch.linspace(-1, 1, 50, dtype=torch.float64).reshape(25, 2)
    >>> network = KANNetwork.from_samples(
    ...     [2, 3, 1], x, generator=torch.Generator().manual_seed(0)
    ... )
    >>> means = torch.zeros(2, network.layers[0].basis.n_functions, dtype=x.dtype)
    >>> network = network.with_values_at_missing(means)
    >>> output = torch.from_numpy(Predictor(network)(x.numpy()))
    >>> torch.allclose(output, network(x), rtol=0, atol=1e-12)
    True
    """

    @torch.no_grad()
    def __init__(self, network):
        self._used = None if network.used is None else network.used.numpy()
        weights = [layer.masked(layer.weight) for layer in network.all_layers]
        self._n_nodes = len(weights[0])
        if network.skip is not None:  # as further nodes of the first layer
            weights[0] = torch.cat([weights[0], weights.pop()])
        first, *others = network.layers
        self._first = _Inputs(first.basis, weights[0])
        n_inputs = max(layer.basis.n_inputs for layer in network.layers)
        self.n_values = n_inputs * (network.layers[0].basis.spline_order + 2)
        self._others = [
            _Curves(layer.basis, weight)
            for layer, weight in zip(others, weights[1:], strict=True)
        ]

    def __call__(self, x):
        """Raw output.

        Parameters
        ----------
        x : ndarray of shape (n_samples, n_features)
            Scaled rows, with codes for categories and NaN where cells are missing.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
        """
        if self._used is not None:
            x = x[:, self._used]
        with np.errstate(over="ignore"):  # in the silu of what is far below zero
            nodes = self._first(x)
            direct = nodes[:, self._n_nodes :]
            nodes = nodes[:, : self._n_nodes]
            for layer in self._others:
                nodes = layer(nodes)
        return nodes + direct if direct.shape[1] else nodes


class _Inputs:
    """First layer, whose inputs may be categories or missing.

    Parameters
    ----------
    basis : InputBasis
    weight : Tensor of shape (n_outputs, n_inputs, n_functions)
    """

    def __init__(self, basis, weight):
        is_number, self._n_outputs = basis.is_number, len(weight)
        self._numbers = is_number.nonzero().flatten().numpy()
        self._categories = (~is_number).nonzero().flatten().numpy()
        nowhere = torch.full((1, basis.n_inputs), torch.nan, dtype=weight.dtype)
        at_missing = torch.einsum("if,oif->io", basis(nowhere)[0], weight)
        self._curves = None
        if len(self._numbers):
            splines = basis.splines
            weight_of_splines = weight[:, is_number, : splines.n_functions]
            self._curves = _Curves(splines, weight_of_splines)
            zeros = nowhere.new_zeros(1, splines.n_inputs)
            at_zero = torch.einsum("if,oif->io", splines(zeros)[0], weight_of_splines)
            self._from_zero = (at_missing[is_number] - at_zero).numpy()
        unknown = weight.new_zeros(1, len(weight))
        self._tables = []  # of categories: those known, unknown ones, missing
        for each in self._categories:
            known = weight[:, each, : int(basis.n_categories[each])].T
            self._tables.append(torch.cat([known, unknown, at_missing[[each]]]).numpy())

    def __call__(self, x):
        missing = np.isnan(x)
        has_gaps = missing.any()
        if has_gaps:
            x = np.where(missing, 0.0, x)
        if self._curves is None:
            nodes = np.zeros((len(x), self._n_outputs))
        elif not len(self._categories):
            nodes = self._curves(x)
        else:
            nodes = self._curves(x[:, self._numbers])
        if has_gaps and len(self._numbers):
            nodes += csr_array(missing[:, self._numbers], dtype=float) @ self._from_zero
        for each, table in zip(self._categories, self._tables, strict=True):
            code, n_known = x[:, each].astype(np.intp), len(table) - 2
            code[(code < 0) | (code >= n_known)] = n_known
            code[missing[:, each]] = n_known + 1
            nodes += table[code]
        return nodes


class _Curves:
    """A layer whose inputs are numbers.

    Parameters
    ----------
    basis : BSplineBasis
    weight : Tensor of shape (n_outputs, n_inputs, n_functions)
        Zero where edges are removed.
    """

    def __init__(self, basis, weight):
        grid = basis.grid
        self._grid = grid.numpy()
        self._low, self._high = grid[:, 0].numpy(), grid[:, -1].numpy()
        self._per_unit = 1 / (self._high - self._low)
        self._middle = ((grid[:, 1:] + grid[:, :-1]) / 2).flatten().numpy()
        self._cells = cells = LookupTable.of(grid.contiguous())
        if cells is not None:
            self._cells = LookupTable(
                cells.count, *(part.numpy() for part in cells[1:])
            )
            self._cells = self._cells._replace(per_unit=self._cells.per_unit.ravel())
            self._first_cell = np.arange(len(grid)) * cells.count
        self._spline_order = basis.spline_order
        self._is_linear = basis.extrapolation == "linear"
        # Positions are measured in ranges of a grid here, instead of intervals.
        ratio = (grid[:, -1:] - grid[:, :1]) / grid.diff(dim=1)
        degrees = torch.arange(basis.spline_order + 1).view(-1, 1, 1)
        pieces = basis.pieces(weight) * ratio.flatten().pow(degrees)
        self._base = BASES.get(basis.base_activation)
        base_weight = None if self._base is None else weight[..., -1]
        if len(weight) <= MOST_CURVES:
            self._combine = _FewOutputs(pieces, base_weight)
        else:
            self._combine = _ManyOutputs(pieces, base_weight)

    def __call__(self, x):
        inside = np.clip(x, self._low, self._high)
        piece = self._locate(inside)
        position = inside - self._middle.take(piece)
        position *= self._per_unit
        powers = [position]
        for _ in range(1, self._spline_order):
            powers.append(powers[-1] * position)
        base = None if self._base is None else self._base(inside)
        if self._is_linear:
            beyond = np.clip(x - inside, -FARTHEST, FARTHEST)
            if beyond.any():
                powers, base = self._continued(inside, beyond, powers, base)
        return self._combine(piece, powers[: self._spline_order], base)

    def _continued(self, inside, beyond, powers, base):
        """Powers and base function with their tangents at the ends of the grid."""
        step = beyond * self._per_unit
        slopes = [step, *(m * power * step for m, power in enumerate(powers, start=2))]
        powers = [power + slope for power, slope in zip(powers, slopes, strict=False)]
        if base is not None:
            base = base + self._base.slope(inside) * beyond
        return powers, base

    def _locate(self, inside):
        """Piece of each sample, see `Location`; (n_samples, n_inputs)."""
        n_inputs, grid_size = len(self._low), self._grid.shape[1] - 1
        if self._cells is None:
            piece = np.empty(inside.shape, dtype=np.intp)
            for each, knots in enumerate(self._grid):
                piece[:, each] = knots.searchsorted(inside[:, each], side="right") - 1
            piece = piece.clip(0, grid_size - 1)
            return piece + np.arange(n_inputs) * grid_size
        count, per_unit, first_piece, end = self._cells
        cell = ((inside - self._low) * per_unit).astype(np.intp)
        np.minimum(cell, count - 1, out=cell)
        cell += self._first_cell
        piece = first_piece.take(cell)
        piece += inside >= end.take(piece)
        return piece


class _FewOutputs:
    """Node values curve by curve.

    Parameters
    ----------
    pieces : Tensor of shape (k + 1, n_outputs, n_pieces)
        Coefficients of the powers of the position.
    base_weight : Tensor of shape (n_outputs, n_inputs), or None
    """

    def __init__(self, pieces, base_weight):
        self._pieces = [[*of_output] for of_output in pieces.transpose(0, 1).numpy()]
        self._base_weight = None if base_weight is None else base_weight.numpy()

    def __call__(self, piece, powers, base):
        nodes = np.empty((len(piece), len(self._pieces)))
        for output, (constant, *coefficients) in enumerate(self._pieces):
            total = constant.take(piece)
            for of_power, power in zip(coefficients, powers, strict=True):
                near = of_power.take(piece)
                near *= power
                total += near
            if base is not None:
                total += base * self._base_weight[output]
            total.sum(axis=1, out=nodes[:, output])
        return nodes


class _ManyOutputs:
    """Node values by one product with a sparse matrix, for all curves at once.

    Parameters
    ----------
    pieces, base_weight
        As above.
    """

    def __init__(self, pieces, base_weight):
        table = pieces.permute(2, 0, 1).flatten(0, 1)
        self._first_base = len(table)
        if base_weight is not None:
            table = torch.cat([table, base_weight.T])
        self._table = table.contiguous().numpy()

    def __call__(self, piece, powers, base):
        n_samples, n_inputs = piece.shape
        n_powers, has_base = len(powers) + 1, base is not None
        shape = (n_samples, n_inputs, n_powers + has_base)
        values, column = np.empty(shape), np.empty(shape, dtype=np.int32)
        values[..., 0] = 1.0
        for degree, power in enumerate(powers, start=1):
            values[..., degree] = power
        degree = np.arange(n_powers)
        column[..., :n_powers] = (piece * n_powers)[..., None] + np.arange(n_powers)
        if has_base:
            values[..., -1] = base
            column[..., -1] = self._first_base + np.arange(n_inputs)
        n_values = n_inputs * shape[2]
        start = np.arange(0, n_samples * n_values + 1, n_values, dtype=np.int32)
        matrix = csr_array(
            (values.ravel(), column.ravel(), start),
            shape=(n_samples, len(self._table)),
        )
        return matrix @ self._table


class _SiLU:
    """x / (1 + exp(-x)); see `skkan.basis._base_functions.BASE_ACTIVATIONS`."""

    def __call__(self, x):
        return x / (1 + np.exp(-x))

    def slope(self, x):
        share = 1 / (1 + np.exp(-x))
        return share + x * share * (1 - share)


class _Identity:
    def __call__(self, x):
        return x

    def slope(self, x):
        return np.ones_like(x)


BASES = {"silu": _SiLU(), "identity": _Identity()}
