"""Curves of edges as plain numbers, for formulas in which splines stay splines.

A `SplineCurve` is a piecewise polynomial plus a base function, continued beyond its
knots. A `CategoryCurve` has one value for each code of a category. They do not need the
network that they come from, nor its evaluator, which takes a basis of torch.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

import numpy as np
from scipy.interpolate import PPoly

from skkan.basis._base_functions import base_derivatives
from skkan.formulas._primitives import Primitive
from skkan.numerics._matrix_products import IGNORE_FLOAT_WARNINGS


class NamedCurve(ABC):
    """A curve that formulas show as a function with its name."""

    name: str

    @abstractmethod
    def __call__(self, x):
        """Values, ndarray of the shape of `x`."""

    @abstractmethod
    def derivative(self, x, order=1):
        """Derivative of an order of at least 1, ndarray of the shape of `x`."""

    def expression(self, x):
        """The named function at a sympy expression; lambdify evaluates it."""
        return self.function()(x)

    def function(self):
        """The named function of sympy, whose derivatives are named functions, too."""
        from sympy.utilities.lambdify import implemented_function

        named = implemented_function(self.name, self)
        slope = cache(self._slope_function)  # sympy takes each new one for another
        named.fdiff = lambda call, argindex=1: slope()(call.args[0])
        return named

    def _slope_function(self):
        """The function of sympy that is the derivative."""
        return CurveDerivative(self, 1).function()


@dataclass(frozen=True, eq=False)
class CurveDerivative(NamedCurve):
    """A derivative of a curve, which formulas show as a function of its own.

    Attributes
    ----------
    curve : SplineCurve
    order : int
    name : str
        "dphi_0" for the first derivative of "phi_0", then "d2phi_0" and so on.
    """

    __module__ = "skkan.symbolic"

    curve: NamedCurve
    order: int

    @property
    def name(self):
        return f"d{self.order if self.order > 1 else ''}{self.curve.name}"

    def __call__(self, x):
        """Values, ndarray of the shape of `x`."""
        return self.curve.derivative(x, self.order)

    def derivative(self, x, order=1):
        return self.curve.derivative(x, self.order + order)

    def _slope_function(self):
        return CurveDerivative(self.curve, self.order + 1).function()


@dataclass(frozen=True, eq=False)
class SplineCurve(NamedCurve):
    """A curve p(x) + base_weight base((x - centre) / scale) on its knots.

    Attributes
    ----------
    name : str
        Name of the function that stands for the curve in formulas.
    knots : ndarray of shape (n_intervals + 1,)
    coefficients : ndarray of shape (degree + 1, n_intervals)
        Coefficients of p for powers of the distance from the left knot of an interval,
        highest power first.
    base_weight, centre, scale : float
    base_activation : {"silu", "identity"}
    linear : bool
        Whether tangents continue the curve beyond its knots; otherwise it is constant.
    """

    __module__ = "skkan.symbolic"

    name: str
    knots: np.ndarray
    coefficients: np.ndarray
    base_weight: float
    base_activation: str
    centre: float
    scale: float
    linear: bool

    @classmethod
    def of_edge(cls, edge, name):
        """The curve of an `EdgeFunction`."""
        centre, scale = edge.base_scaling
        linear = edge.extrapolation == "linear"
        if not np.isfinite(scale):  # an input that did not vary: a constant
            knots = np.array([centre, centre + 1.0])
            value = np.full((1, 1), float(edge(centre)))
            return cls(name, knots, value, 0.0, "identity", centre, 1.0, False)
        knots, spline = edge.knots, edge.spline
        pieces = PPoly.from_spline(spline).c if spline.k else spline.c[None]
        coefficients = pieces[:, spline.k : spline.k + len(knots) - 1]
        return cls(
            name,
            knots,
            coefficients,
            edge.base_weight,
            edge.base_activation,
            centre,
            scale,
            linear,
        )

    @property
    def n_coefficients(self):
        """Number of B-splines and base functions."""
        degree = len(self.coefficients) - 1
        return len(self.knots) - 1 + degree + (self.base_weight != 0)

    def __call__(self, x):
        """Values, ndarray of the shape of `x`."""
        x = np.asarray(x, dtype=np.float64)
        inside = np.clip(x, self.knots[0], self.knots[-1])
        values = self._within(inside, 0)
        if self.linear:
            values = values + self._within(inside, 1) * (x - inside)
        return values

    def derivative(self, x, order=1):
        """Derivative of an order of at least 1, ndarray of the shape of `x`."""
        x = np.asarray(x, dtype=np.float64)
        inside = np.clip(x, self.knots[0], self.knots[-1])
        values = self._within(inside, order)
        return values if self.linear and order == 1 else values * (x == inside)

    @IGNORE_FLOAT_WARNINGS
    def _within(self, x, order):
        """Derivative of any order, 0 for the values, within the knots."""
        z = (x - self.centre) / self.scale
        base = base_derivatives(self.base_activation, z, max(order, 1))[order]
        spline = PPoly(self.coefficients, self.knots)(x, nu=order)
        return spline + self.base_weight / self.scale**order * base

    def piecewise(self, x):
        """The curve as a sympy Piecewise at a sympy expression."""
        import sympy

        starts = [exact_number(knot) for knot in self.knots]
        last = starts.pop()
        pieces = [
            self._piece(interval, x, start) for interval, start in enumerate(starts)
        ]
        below, above = self._ends(x)
        conditions = [*(x < start for start in starts), x <= last, True]
        return sympy.Piecewise(*zip([below, *pieces, above], conditions, strict=True))

    def _piece(self, interval, x, start):
        import sympy

        distance, polynomial = x - start, sympy.Integer(0)
        for coefficient in self.coefficients[:, interval]:
            polynomial = polynomial * distance + exact_number(coefficient)
        z = (x - exact_number(self.centre)) / exact_number(self.scale)
        base = z / (1 + sympy.exp(-z)) if self.base_activation == "silu" else z
        return polynomial + exact_number(self.base_weight) * base

    def _ends(self, x):
        ends = []
        for knot in self.knots[[0, -1]]:
            end = exact_number(self(knot))
            if self.linear:
                slope = exact_number(self.derivative(knot))
                end = end + slope * (x - exact_number(knot))
            ends.append(end)
        return ends


@dataclass(frozen=True, eq=False)
class CategoryCurve(NamedCurve):
    """A value for each category, as a function of its code 0, 1, ...

    Attributes
    ----------
    name : str
        Name of the function that stands for the curve in formulas.
    categories : ndarray of shape (n_categories,)
        In the order of their codes.
    values : ndarray of shape (n_categories,)
        Any other code has the value zero.
    """

    __module__ = "skkan.symbolic"

    name: str
    categories: np.ndarray
    values: np.ndarray

    @classmethod
    def of_edge(cls, edge, name):
        """The values of an `EdgeFunction` of a category."""
        return cls(name, edge.categories, edge.category_values)

    def __call__(self, x):
        """Values at codes, ndarray of the shape of `x`; NaN where that is NaN."""
        x = np.asarray(x, dtype=np.float64)
        known = np.isin(x, np.arange(len(self.values)))
        index = np.where(known, x, 0).astype(int)
        return np.where(np.isnan(x), np.nan, np.where(known, self.values[index], 0.0))

    def derivative(self, x, order=1):
        """Zero, ndarray of the shape of `x`."""
        return np.zeros_like(np.asarray(x, dtype=np.float64))

    def _slope_function(self):
        import sympy

        return sympy.Lambda(sympy.Symbol("code"), 0)

    def piecewise(self, x):
        """The values as a sympy Piecewise of equalities with the codes."""
        import sympy

        pieces = [
            (exact_number(value), sympy.Eq(x, code))
            for code, value in enumerate(self.values)
        ]
        return sympy.Piecewise(*pieces, (sympy.Float(0), True))


def curve_of_edge(edge, name):
    """Curve of an `EdgeFunction`, a SplineCurve or a CategoryCurve."""
    kind = SplineCurve if edge.categories is None else CategoryCurve
    return kind.of_edge(edge, name)


def exact_number(value):
    """A float as a number of sympy that prints with all of its digits.

    A sympy.Float of a float prints 15 digits, which are too few beside a pole.
    """
    import sympy

    value = float(value)
    number = sympy.Float(Decimal(repr(value)), 17)  # 0.1 is not 0.10000000000000001
    return number if float(number) == value else sympy.Float(value, 17)


def spline_primitive(curve, *, of_input):
    """Primitive of a curve, with which an edge of a formula keeps its spline.

    A formula may scale and shift hidden nodes, so a and b are free behind them.
    """
    return Primitive(
        curve.name,
        curve,
        curve.expression,
        curve.derivative,
        constants="c" if of_input else "abc",
        scan="",
    )
