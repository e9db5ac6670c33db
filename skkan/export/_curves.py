"""The curves of a layer whose inputs are numbers, as nodes of a graph.

Samples run along the last axis, so that every operation works on long rows. The inputs
of a layer have shape (n_inputs, n_samples), its nodes (n_outputs, n_samples).
"""

from functools import cached_property

import numpy as np

from skkan.basis._spline_pieces import FARTHEST, spline_polynomials
from skkan.export._bisection import in_rows_of_stride, search, stride_of
from skkan.fitted._numpy_predictor import MAX_CURVES


class Curves:
    """The curves of a layer at some samples.

    Parameters
    ----------
    graph : Graph
    basis : BSplineBasis
    x : str
        Inputs of shape (n_inputs, n_samples), in the units of the grid.
    searched : (str, ndarray), default=None
        Inputs in other units, and the inner knots in these units. The intervals of the
        samples are searched among them; None searches `x`.
    """

    def __init__(self, graph, basis, x, searched=None):
        self._graph, self._basis, self._x = graph, basis, x
        grid = basis.grid.numpy()
        self._inside = graph.node("Max", x, grid[:, :1])
        self._inside = graph.node("Min", self._inside, grid[:, -1:])
        searched = (self._inside, grid[:, 1:-1]) if searched is None else searched
        self._stride = stride_of(searched[1])
        self._piece, self._first = search(graph, *searched)
        self._base = BASE_NODES[basis.base_activation](graph, self._inside)
        if basis.extrapolation == "linear":
            most, beyond = np.array(FARTHEST), graph.node("Sub", x, self._inside)
            self._beyond = graph.node("Clip", beyond, -most, most)

    def sums(self, weight):
        """Values of nodes, computed in the faster of two ways.

        Parameters
        ----------
        weight : Tensor of shape (n_outputs, n_inputs, n_functions)

        Returns
        -------
        str
            Of shape (n_outputs, n_samples).
        """
        graph = self._graph
        if len(weight) > MAX_CURVES or "columns" in vars(self):  # which are made once
            return graph.node("MatMul", self.matrix(weight), self.columns)
        constant, *others = self._gathered(self._pieces(weight))
        splines = self._products(others, self._powers, constant)
        total = graph.node("ReduceSum", splines, np.array([1]), keepdims=0)
        base = graph.node("MatMul", weight[..., -1].numpy(), self._base_values)
        return graph.node("Add", total, base)

    def slopes(self, weight):
        """Derivative of each curve, of shape (n_outputs, n_inputs, n_samples).

        Parameters
        ----------
        weight : Tensor of shape (n_outputs, n_inputs, n_functions)
        """
        graph, (_, *others) = self._graph, self._gathered(self._pieces(weight))
        base = graph.node("Mul", weight[..., -1:].numpy(), self._base.slope)
        slopes = self._products(others, self._slopes, base)
        if self._basis.extrapolation == "linear":
            return slopes
        within = graph.number(graph.node("Equal", self._x, self._inside))
        return graph.node("Mul", slopes, within)

    @cached_property
    def columns(self):
        """Values of all functions, name of shape (n_functions * n_inputs, n_samples).

        The rows of one function for all inputs stand together; the base functions come
        last.
        """
        graph, basis = self._graph, self._basis
        # The splines of an interval are looked up like curves.
        polynomials = spline_polynomials(basis.knots, basis.spline_order).numpy()
        constant, *others = self._gathered(polynomials)
        local = self._products(others, self._powers, constant)
        spline = np.arange(basis.spline_order + 1)[:, None, None]
        at = graph.node("Add", self._piece, (spline - self._first).astype(np.int32))
        n_samples = graph.node("Shape", self._piece, start=1)
        counts = np.array([basis.n_splines, basis.n_inputs])
        shape = graph.node("Concat", counts, n_samples, axis=0)
        block = graph.node("Expand", np.array(0.0), shape)
        block = graph.node("ScatterElements", block, at, local, axis=0)
        splines = flattened(graph, block, basis.n_splines * basis.n_inputs)
        return graph.node("Concat", splines, self._base_values, axis=0)

    @staticmethod
    def matrix(weight):
        """Matrix that multiplies `columns` in sums.

        Parameters
        ----------
        weight : Tensor of shape (n_outputs, n_inputs, n_functions)

        Returns
        -------
        ndarray of shape (n_outputs, n_functions * n_inputs)
        """
        return weight.transpose(1, 2).flatten(1).numpy()

    def _pieces(self, weight):
        """Polynomials of curves; see `SplineEvaluator.pieces`."""
        return self._basis.evaluator.pieces(weight.numpy())

    def _gathered(self, tables):
        """Entries of tables for the interval of each sample.

        Parameters
        ----------
        tables : ndarray of shape (n_tables, n_curves, n_inputs * grid_size)

        Returns
        -------
        list of str
            Of shape (n_curves, n_inputs, n_samples), one for each table.
        """
        n_tables, n_curves, _ = tables.shape
        shape = (n_tables * n_curves, self._basis.n_inputs, self._basis.grid_size)
        table = in_rows_of_stride(tables.reshape(shape), self._stride)
        # One look-up of many numbers is faster than many of one.
        block = self._graph.node("Gather", table.T, self._piece)
        block = self._graph.node("Transpose", block, perm=[2, 0, 1])
        sizes = np.full(n_tables, n_curves)
        return self._graph.node_of_several(n_tables, "Split", block, sizes, axis=0)

    def _products(self, coefficients, powers, total):
        """Sum of products of coefficients with powers."""
        for of_power, power in zip(coefficients, powers, strict=True):
            product = self._graph.node("Mul", of_power, power)
            total = self._graph.node("Add", total, product)
        return total

    @cached_property
    def _inner_powers(self):
        """Powers 1 to k of the positions, in widths of the interval."""
        graph, powers = self._graph, []
        if self._basis.spline_order:
            start, inverse_width = self._starts_and_inverse_widths
            position = graph.node("Sub", self._inside, start)
            powers = [graph.node("Mul", position, inverse_width)]
        while len(powers) < self._basis.spline_order:
            powers.append(graph.node("Mul", powers[-1], powers[0]))
        return powers

    @cached_property
    def _starts_and_inverse_widths(self):
        """Names of both for each sample, of shape (1, n_inputs, n_samples)."""
        grid = self._basis.grid.numpy()
        tables = np.stack([grid[:, :-1], 1 / np.diff(grid)])
        return self._gathered(tables.reshape(2, 1, -1))

    @cached_property
    def _slopes(self):
        """Derivatives of the powers within the grid."""
        inverse_width = self._starts_and_inverse_widths[1]
        slopes = [inverse_width] if self._inner_powers else []
        for degree, power in enumerate(self._inner_powers[:-1], start=2):
            factor = self._graph.node("Mul", inverse_width, np.array(float(degree)))
            slopes.append(self._graph.node("Mul", power, factor))
        return slopes

    @cached_property
    def _powers(self):
        """Powers, continued by their tangents beyond the grid."""
        if self._basis.extrapolation == "constant":
            return self._inner_powers
        pairs = zip(self._inner_powers, self._slopes, strict=True)
        return [self._continued(power, slope) for power, slope in pairs]

    @cached_property
    def _base_values(self):
        if self._basis.extrapolation == "constant":
            return self._base.value
        return self._continued(self._base.value, self._base.slope)

    def _continued(self, value, slope):
        step = self._graph.node("Mul", slope, self._beyond)
        return self._graph.node("Add", value, step)


class _SiLUNodes:
    """x / (1 + exp(-x)); see `skkan.basis._base_functions.BASE_ACTIVATIONS`."""

    def __init__(self, graph, x):
        # onnxruntime 1.20 would fuse a Sigmoid and the product into an operation that
        # it has in float32 only.
        self._graph, below = graph, graph.node("Exp", graph.node("Neg", x))
        below = graph.node("Add", below, np.array(1.0))
        self._share = graph.node("Div", np.array(1.0), below)
        self.value = graph.node("Mul", x, self._share)

    @cached_property
    def slope(self):
        # s + x s (1 - s) = s + v (1 - s)
        graph = self._graph
        rest = graph.node("Sub", np.array(1.0), self._share)
        return graph.node("Add", self._share, graph.node("Mul", self.value, rest))


class _IdentityNodes:
    def __init__(self, graph, x):
        self.value, self.slope = x, graph.constant(np.array(1.0))


BASE_NODES = {"silu": _SiLUNodes, "identity": _IdentityNodes}


def flattened(graph, block, n_rows):
    """A block of shape (..., n_samples), reshaped to (n_rows, n_samples)."""
    return graph.node("Reshape", block, np.array([n_rows, -1]))
