"""Predictions of a network whose weights do not change any more, by numpy and scipy.

All curves are combined to polynomials on each interval once. A prediction finds the
intervals of the inputs and evaluates their polynomials. A single row takes some dozen
calls of numpy. Many rows are predicted in blocks that fit the cache, by several threads
at once.
"""

import numpy as np
import torch
from scipy.sparse import csr_array

from skkan.network._products import nodes_of
from skkan.numerics._matrix_products import IGNORE_FLOAT_WARNINGS

# Outputs, above which one sparse product is cheaper than the curves one by one.
MAX_CURVES = 6


class Predictor:
    """Function from rows to the output of a network.

    Parameters
    ----------
    network : KANNetwork
        On the CPU, and such that it takes missing cells; see
        `with_values_at_missing`.

    Attributes
    ----------
    n_values : int
        Numbers that are held for each row.

    Examples
    --------
    >>> import torch
    >>> from skkan import KANNetwork
    >>> from skkan.fitted._numpy_predictor import Predictor
    >>> from skkan.network._edits import with_values_at_missing
    >>> x = torch.linspace(-1, 1, 50, dtype=torch.float64).reshape(25, 2)
    >>> network = KANNetwork.from_samples(
    ...     [2, 3, 1], x, generator=torch.Generator().manual_seed(0)
    ... )
    >>> means = torch.zeros(2, network.layers[0].basis.n_functions, dtype=x.dtype)
    >>> network = with_values_at_missing(network, means)
    >>> output = torch.from_numpy(Predictor(network)(x.numpy()))
    >>> torch.allclose(output, network(x), rtol=0, atol=1e-12)
    True
    """

    @torch.no_grad()
    def __init__(self, network):
        self._used = None if network.used is None else network.used.numpy()
        weights = [layer.masked(layer.weight) for layer in network.all_layers]
        self._n_sums = len(weights[0])
        if network.skip is not None:  # as further nodes of the first layer
            weights[0] = torch.cat([weights[0], weights.pop()])
        first, *others = network.layers
        self._n_products = network.n_multiplications
        self._first = _Inputs(first.basis, weights[0])
        self._others = [
            LayerCurves(layer.basis, weight)
            for layer, weight in zip(others, weights[1:], strict=True)
        ]
        self.n_values = max(layer.n_values for layer in [self._first, *self._others])

    @IGNORE_FLOAT_WARNINGS
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
        return self.from_sums(self._first(x))

    @IGNORE_FLOAT_WARNINGS
    def summands(self, x):
        """Curves that enter the first hidden layer and, by the skip, the outputs.

        Parameters
        ----------
        x : ndarray of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_features, n_samples, n_sums)
            Zero for features that the network does not use. The sum over the features
            is what `from_sums` takes.
        """
        used = slice(None) if self._used is None else self._used
        values = self._first.summands(x[:, used])
        if self._used is None:
            return values
        summands = np.zeros((len(self._used), *values.shape[1:]))
        summands[used] = values
        return summands

    @IGNORE_FLOAT_WARNINGS
    def from_sums(self, nodes):
        """Raw output from the sums of `summands`, an array of (n_samples, n_sums)."""
        direct = nodes[:, self._n_sums :]
        nodes = nodes[:, : self._n_sums]
        for layer, n_products in zip(self._others, self._n_products, strict=True):
            nodes = layer(nodes_of(nodes, n_products))
        return nodes + direct if direct.shape[1] else nodes


class _Inputs:
    """First layer, whose inputs may be categories or missing.

    Parameters
    ----------
    basis : MixedBasis
    weight : Tensor of shape (n_outputs, n_inputs, n_functions)
    """

    def __init__(self, basis, weight):
        is_number, self._n_outputs = basis.is_number, len(weight)
        self._numbers = is_number.nonzero().flatten().numpy()
        self._categories = (~is_number).nonzero().flatten().numpy()
        nowhere = torch.full((1, basis.n_inputs), torch.nan, dtype=weight.dtype)
        at_missing = torch.einsum("if,oif->io", basis(nowhere)[0], weight)
        self._curves, self.n_values = None, basis.n_inputs
        if len(self._numbers):
            splines = basis.splines
            weight_of_splines = weight[:, is_number, : splines.n_functions]
            self._curves = LayerCurves(splines, weight_of_splines)
            self.n_values += self._curves.n_values
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
        for _, values in self._of_categories(x, missing):
            nodes += values
        return nodes

    def summands(self, x):
        """Curves of each input, ndarray of shape (n_inputs, n_samples, n_outputs)."""
        values = np.zeros((x.shape[1], len(x), self._n_outputs))
        missing = np.isnan(x)
        x = np.where(missing, 0.0, x)
        if self._curves is not None:
            curves = self._curves.summands(x[:, self._numbers])
            values[self._numbers] = curves.transpose(2, 1, 0)
            rows, inputs = missing[:, self._numbers].nonzero()
            values[self._numbers[inputs], rows] += self._from_zero[inputs]
        for each, of_column in self._of_categories(x, missing):
            values[each] = of_column
        return values

    def _of_categories(self, x, missing):
        """Positions of the categorical inputs, and the values of their curves."""
        for each, table in zip(self._categories, self._tables, strict=True):
            code, n_known = x[:, each].astype(np.intp), len(table) - 2
            code[(code < 0) | (code >= n_known)] = n_known
            code[missing[:, each]] = n_known + 1
            yield each, table[code]


class LayerCurves:
    """A layer whose inputs are numbers.

    The result of a row is the same bit by bit whatever rows stand beside it. Matrix
    products of the BLAS would not grant that.

    Parameters
    ----------
    basis : BSplineBasis
    weight : Tensor of shape (n_outputs, n_inputs, n_functions)
        Zero where edges are removed.
    """

    def __init__(self, basis, weight):
        self._evaluator, weight = basis.evaluator, weight.numpy()
        self._pieces = self._evaluator.pieces(weight)
        self._base_weight = weight[..., -1] if self._evaluator.has_base else None
        self._is_narrow = len(weight) <= MAX_CURVES
        n_powers = len(self._pieces)
        n_values = max(n_powers, 2 * len(weight)) if self._is_narrow else n_powers + 1
        self.n_values = basis.n_inputs * n_values
        if not self._is_narrow:
            table = self._pieces.transpose(2, 0, 1).reshape(-1, len(weight))
            self._first_base = len(table)
            if self._base_weight is not None:
                table = np.concatenate([table, self._base_weight.T])
            self._table = np.ascontiguousarray(table)

    def __call__(self, x):
        if self._is_narrow:
            return self.summands(x).sum(axis=2).T
        return self._wide(x, self._located(x))

    def _located(self, x):
        return self._evaluator.locate(x, with_slopes=False, rows_first=True)

    def summands(self, x):
        """Values of all curves, ndarray of shape (n_outputs, n_samples, n_inputs)."""
        found = self._located(x)
        values, _ = self._evaluator.curves(found, self._pieces, with_slopes=False)
        values = values.reshape(-1, *x.shape)
        if self._base_weight is not None:
            values += found.base * self._base_weight[:, None]
        return values

    def _wide(self, x, found):
        """Node values by one product with a sparse matrix, for all curves at once."""
        powers = self._evaluator.powers(found)
        n_powers, has_base = len(powers), found.base is not None
        shape = (*x.shape, n_powers + has_base)
        values, column = np.empty(shape), np.empty(shape, dtype=np.int32)
        for degree, power in enumerate(powers):
            values[..., degree] = power.reshape(x.shape)
        piece = found.piece.reshape(x.shape)
        column[..., :n_powers] = (piece * n_powers)[..., None] + np.arange(n_powers)
        if has_base:
            values[..., -1] = found.base
            column[..., -1] = self._first_base + np.arange(x.shape[1])
        start = np.arange(0, values.size + 1, values[0].size, dtype=np.int32)
        matrix = csr_array(
            (values.ravel(), column.ravel(), start), shape=(len(x), len(self._table))
        )
        return matrix @ self._table
