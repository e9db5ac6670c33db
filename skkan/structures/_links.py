"""Outer functions F of a structure y = F(u), and the u that belongs to each y.

Errors of u count by the slope of F, so that a fit of u by least squares is one of y to
first order, with noise as well.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.special import logit

from skkan.formulas._primitives import LIBRARY, Primitive
from skkan.numerics._matrix_products import IGNORE_FLOAT_WARNINGS

# Share of the rows that must lie in the range of F; noise may carry some beyond it.
MIN_SHARE_INSIDE = 0.95

BY_NAME = {primitive.name: primitive for primitive in LIBRARY}


@dataclass(frozen=True)
class Link:
    """An outer function and its inverse.

    Attributes
    ----------
    name : str
        Name of F among the primitives.
    low, high : float
        Open range of F, in which y must lie.
    inverse : callable
        Maps y to u, both ndarrays.
    """

    name: str
    low: float
    high: float
    inverse: Callable = field(repr=False)

    @property
    def is_scale_free(self):
        """Whether a factor of F(u) is a factor of u, or a constant that is added."""
        return self.name in ("sqrt", "exp", "1/x", "x^2", "1/sqrt")

    @property
    def primitive(self) -> Primitive:
        return BY_NAME[self.name]

    @IGNORE_FLOAT_WARNINGS
    def behind(self, y, weight):
        """The u of each y, and the weight of each row in a fit of u.

        Returns
        -------
        (u, weight), ndarrays of shape (n_samples,), or None if y leaves the range of F
        """
        inside = (self.low < y) & (y < self.high)
        if weight @ inside < MIN_SHARE_INSIDE * weight.sum():
            return None
        u = self.inverse(np.where(inside, y, y[inside][0]))
        slope = np.abs(self.primitive.slope(u))
        if not (np.isfinite(u).all() and np.isfinite(slope).all()):
            return None
        return u, weight * inside * slope**2


def _same(y):
    return y


def _reciprocal(y):
    return 1 / y


def _reciprocal_square(y):
    return y**-2.0


IDENTITY = Link("x", -np.inf, np.inf, _same)
# Simple ones first: of several that explain the rows, the first is preferred.
LINKS = (
    IDENTITY,
    Link("sqrt", 0.0, np.inf, np.square),
    Link("exp", 0.0, np.inf, np.log),
    Link("1/x", 0.0, np.inf, _reciprocal),
    Link("x^2", 0.0, np.inf, np.sqrt),
    Link("1/sqrt", 0.0, np.inf, _reciprocal_square),
    Link("log", -np.inf, np.inf, np.exp),
    Link("tanh", -1.0, 1.0, np.arctanh),
    Link("sigmoid", 0.0, 1.0, logit),
    Link("sin", -1.0, 1.0, np.arcsin),
    Link("cos", -1.0, 1.0, np.arccos),
    Link("arcsin", -np.pi / 2, np.pi / 2, np.sin),
    Link("arccos", 0.0, np.pi, np.cos),
    Link("arctan", -np.pi / 2, np.pi / 2, np.tan),
)
