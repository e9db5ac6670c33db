"""The first layer of a network in the user's units, as nodes of a graph.

The graph takes features as the estimator does: numbers in the user's units, categories
by their values, NaN where a cell is missing.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from skkan.export._bisection import (
    in_rows_of_stride,
    search,
    stride_of,
    thresholds_in_units,
)
from skkan.export._curves import Curves


@dataclass(frozen=True, eq=False)
class FeatureUnits:
    """Scaling and categories of a network's inputs.

    Attributes
    ----------
    features : ndarray of int of shape (n_inputs,)
        Column of each input.
    centre, scale : ndarrays of shape (n_inputs,)
        Of numbers. The scale is infinite for an input that does not vary.
    categories : list of (ndarray or None) of length n_inputs
        Known categories in the order of their codes; None for numbers.
    """

    features: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    categories: list


class FirstLayerNodes:
    """Curves of a first layer at the rows of a graph's input.

    It has those methods of `Curves` that all layers need: `sums`, `columns`, `matrix`.

    Parameters
    ----------
    graph : Graph
    basis : MixedBasis
    units : FeatureUnits
    X : str
        Rows of shape (n_samples, n_features).
    """

    def __init__(self, graph, basis, units, X):
        self._graph, self._basis = graph, basis
        columns = graph.node("Transpose", X, perm=[1, 0])
        x = graph.node("Gather", columns, units.features)
        missing = graph.node("IsNaN", x)
        self._missing = graph.number(missing)
        self._numbers = basis.is_number.numpy()
        self._parts = []  # nodes of functions, and the choice of their weights
        # Value that replaces a missing cell in the other functions of an input.
        stand_in = basis.means.new_full((1, basis.n_inputs), -1.0)
        if self._numbers.any():
            parts = [_rows(graph, each, self._numbers) for each in (x, missing)]
            numbers = np.flatnonzero(self._numbers)
            centre, scale = units.centre[numbers, None], units.scale[numbers, None]
            scaled = _ScaledInputs(graph, *parts, centre, scale)
            searched = scaled.raw, scaled.thresholds(basis.grid[:, 1:-1].numpy())
            curves = Curves(graph, basis.splines, scaled.x, searched)
            self._parts.append((curves, self._of_numbers))
            stand_in[0, basis.is_number] = torch.from_numpy(scaled.stand_in[:, 0])
        if not self._numbers.all():
            known = [each for each in units.categories if each is not None]
            cells = _rows(graph, x, ~self._numbers)
            categories = _CategoryInputs(graph, known, cells)
            self._parts.append((categories, self._of_categories))
        at_missing = basis(torch.full_like(stand_in, torch.nan)) - basis(stand_in)
        self._at_missing = at_missing[0]

    def sums(self, weight):
        """Values of nodes; see `Curves.sums`."""
        graph = self._graph
        total = graph.node("MatMul", self._of_missing(weight), self._missing)
        for part, own in self._parts:
            total = graph.node("Add", total, part.sums(own(weight)))
        return total

    @cached_property
    def columns(self):
        """Values of all functions; see `Curves.columns`."""
        parts = [part.columns for part, _ in self._parts]
        return self._graph.node("Concat", self._missing, *parts, axis=0)

    def matrix(self, weight):
        """Matrix that multiplies `columns`; see `Curves.matrix`."""
        parts = [part.matrix(own(weight)) for part, own in self._parts]
        return np.concatenate([self._of_missing(weight), *parts], axis=1)

    def _of_missing(self, weight):
        return torch.einsum("if,oif->oi", self._at_missing, weight).numpy()

    def _of_numbers(self, weight):
        return weight[:, self._basis.is_number, : self._basis.splines.n_functions]

    def _of_categories(self, weight):
        return weight[:, ~self._basis.is_number].numpy()


class _ScaledInputs:
    """Numbers, scaled to the units of the network.

    Parameters
    ----------
    graph : Graph
    x, missing : str
        Cells of shape (n_inputs, n_samples), and whether they are missing.
    centre, scale : ndarrays of shape (n_inputs, 1)

    Attributes
    ----------
    raw : str
        Finite numbers in the user's units.
    x : str
        Scaled numbers.
    stand_in : ndarray of shape (n_inputs, 1)
        Scaled number that replaces missing cells.
    """

    def __init__(self, graph, x, missing, centre, scale):
        varies = np.isfinite(scale)
        # The scaled value of an input that does not vary is always zero.
        self._centre = np.where(varies, centre, 0)
        self._scale = np.where(varies, scale, 1)
        self._dtype = graph.dtype
        # The centre is the sum of two numbers of the graph's type. The subtraction of
        # the first from numbers near it has no rounding error.
        high = self._centre.astype(graph.dtype)
        low = (self._centre - high).astype(graph.dtype)
        replaced = missing
        if not varies.all():
            replaced = graph.node("Or", missing, ~varies)
        most = np.array(np.finfo(graph.dtype).max)
        x = graph.node("Where", replaced, high, x)
        self.raw = graph.node("Clip", x, -most, most)
        x = graph.node("Sub", self.raw, high)
        if low.any():
            x = graph.node("Sub", x, low)
        self.x = graph.node("Div", x, self._scale)
        self.stand_in = (high.astype(np.float64) - self._centre) / self._scale

    def thresholds(self, knots):
        """Knots in the user's units."""
        return thresholds_in_units(knots, self._centre, self._scale, self._dtype)


class _CategoryInputs:
    """Cells that hold one of several values.

    Parameters
    ----------
    graph : Graph
    known : list of ndarray of float64
        Categories of each column, in the order of their codes.
    cells : str
        Of shape (n_columns, n_samples).
    """

    def __init__(self, graph, known, cells):
        self._graph = graph
        self._orders = [np.argsort(values) for values in known]
        width = max(1, *(len(values) for values in known))
        values = np.full((len(known), width), np.inf)
        for row, each, order in zip(values, known, self._orders, strict=True):
            row[: len(each)] = each[order]
        thresholds = values[:, 1:]
        self._stride = stride_of(thresholds)
        place, _ = search(graph, cells, thresholds)
        # Places without a category hold NaN, which no cell equals.
        values = np.where(np.isinf(values), np.nan, values)
        value = graph.node("Gather", in_rows_of_stride(values, self._stride), place)
        self._unknown = np.array(len(known) * self._stride, np.int32)
        is_known = graph.node("Equal", cells, value)
        self._place = graph.node("Where", is_known, place, self._unknown)

    def sums(self, weight):
        """Sums of the values that categories have; zero for unknown ones.

        Parameters
        ----------
        weight : ndarray of shape (n_outputs, n_columns, n_functions)
            Weights of the codes 0, 1, ... of each column; others are not used.
        """
        return self._summed(self.matrix(weight))

    @cached_property
    def columns(self):
        """Indicators of all categories, in their sorted order."""
        return self._summed(np.eye(self._unknown))

    def matrix(self, weight):
        """Matrix that multiplies `columns`."""
        table = np.zeros((len(weight), len(self._orders), self._stride))
        for column, order in enumerate(self._orders):
            table[:, column, : len(order)] = weight[:, column, order]
        return table.reshape(len(weight), -1)

    def _summed(self, table):
        graph, table = self._graph, np.pad(table, ((0, 0), (0, 1)))
        values = graph.node("Gather", table, self._place, axis=1)
        return graph.node("ReduceSum", values, np.array([1]), keepdims=0)


def _rows(graph, block, chosen):
    """Rows of a block that a mask selects."""
    if chosen.all():
        return block
    return graph.node("Gather", block, np.flatnonzero(chosen))
