"""Bounds of formulas on boxes, by interval arithmetic.

Every node gets an interval that holds all of its values. The intervals are too wide
where a feature occurs several times, so that boxes are halved where a bound does not
hold yet.
"""

from dataclasses import dataclass

import numpy as np

from skkan.formulas._formula import Term
from skkan.formulas._spline_curves import NamedCurve

RIM = 0.02  # of the range of each feature, by which the box of the rows is widened
REACH = 3.0  # widths of the target's range that a formula may be away from its middle
MAX_HALVINGS, MAX_BOXES = 12, 2048
TOUCH = 1e-9  # of an argument's range, by which it may leave a domain by rounding


@dataclass(frozen=True, eq=False)
class Box:
    """The ranges in which a formula has to be bounded.

    Attributes
    ----------
    low, high : ndarray of shape (n_features,)
        Ranges of the features in the training rows.
    least, most : ndarray of shape (n_outputs,)
        Bounds that the outputs of a formula must not leave.
    """

    low: np.ndarray
    high: np.ndarray
    least: np.ndarray
    most: np.ndarray

    @classmethod
    def of_rows(cls, X, target, least_width=0.0):
        """The box of some rows.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
        target : ndarray of shape (n_samples, n_outputs)
            In the units of the outputs.
        least_width : float, default=0.0
            Of the range of the target.
        """
        low, high = target.min(axis=0), target.max(axis=0)
        middle, width = (low + high) / 2, high - low
        # A target that does not vary leaves room for rounding errors.
        reach = REACH * np.maximum(
            np.maximum(width, least_width), 1e-9 * np.abs(middle) + 1e-12
        )
        return cls(X.min(axis=0), X.max(axis=0), middle - reach, middle + reach)

    def holds(self, formula):
        """Whether a formula is safe.

        It is defined on the box of the rows. There and on the widened box, as far as
        it is defined on that, it is finite and stays within its bounds. A formula of
        splines alone is the network itself, which is defined everywhere.
        """
        if all(isinstance(t.primitive.function, NamedCurve) for t in formula.terms):
            return True
        return self._holds(formula, 0.0) and self._holds(formula, RIM)

    def _holds(self, formula, rim):
        width = self.high - self.low
        low, high = (self.low - rim * width)[None], (self.high + rim * width)[None]
        used = sorted({t.source[1] for t in formula.terms if t.source[0] == 0})
        for _ in range(MAX_HALVINGS):
            least, most, leaving, outside = bounds(formula, low, high)
            if rim == 0.0 and any(outside[step].any() for step in outside):
                return False
            bad = ~((least >= self.least) & (most <= self.most)).all(axis=1)
            if rim == 0.0:
                bad |= np.any([*leaving.values(), np.zeros(len(bad), bool)], axis=0)
            if not bad.any():
                return True
            if 2 * bad.sum() > MAX_BOXES or not used:
                return False
            low, high = _halved(low[bad], high[bad], used, width)
        return False

    def exits(self, formula):
        """Terms that leave their domain on the widened box, a list of Term."""
        width = self.high - self.low
        low, high = self.low - RIM * width, self.high + RIM * width
        _, _, leaving, _ = bounds(formula, low[None], high[None])
        return [term for term, where in leaving.items() if where.any()]


def _halved(low, high, used, width):
    """Boxes, each cut in two along the longest of the sides that are used."""
    share = (high - low)[:, used] / np.where(width > 0, width, 1.0)[used]
    longest = np.array(used)[share.argmax(axis=1)]
    rows = np.arange(len(low))
    middle = (low[rows, longest] + high[rows, longest]) / 2
    upper, lower = low.copy(), high.copy()
    upper[rows, longest], lower[rows, longest] = middle, middle
    return np.vstack([low, upper]), np.vstack([lower, high])


def bounds(formula, low, high):
    """Bounds of the outputs of a formula on boxes.

    Parameters
    ----------
    formula : Formula
    low, high : ndarray of shape (n_boxes, n_features)

    Returns
    -------
    least, most : ndarray of shape (n_boxes, n_outputs)
        Infinite where no bound is known. Parts of a box in which a function is not
        defined do not count.
    leaving, outside : dict of Term to ndarray of shape (n_boxes,)
        Whether the argument of a term may leave its domain, and whether it lies
        outside as a whole.
    """
    n_boxes = len(low)
    lows = [low, *(np.zeros((n_boxes, width)) for width in formula.widths[1:])]
    highs = [high, *(np.zeros((n_boxes, width)) for width in formula.widths[1:])]
    lows[-1] += formula.intercepts
    highs[-1] += formula.intercepts
    leaving, outside = {}, {}
    with np.errstate(all="ignore"):
        for step in formula.steps:
            if isinstance(step, Term):
                (level, position), target = step.source, step.target
                ends = lows[level][:, position], highs[level][:, position]
                first, last = _scaled(step.a, *ends)
                first, last = first + step.b, last + step.b
                start, end = step.primitive.domain
                touch = TOUCH * np.maximum(last - first, np.abs(last))
                inside = np.clip(first, start, end), np.clip(last, start, end)
                if np.isfinite([start, end]).any():
                    leaving[step] = ~((first >= start - touch) & (last <= end + touch))
                    outside[step] = (last < start) | (first > end)
                values = _scaled(step.c, *step.primitive.bounds(*inside))
                lows[target[0]][:, target[1]] += values[0]
                highs[target[0]][:, target[1]] += values[1]
            else:
                (level, position), factors = step
                product = np.ones(n_boxes), np.ones(n_boxes)
                for _, column in factors:
                    factor = lows[level][:, column], highs[level][:, column]
                    corners = np.array([p * f for p in product for f in factor])
                    product = corners.min(axis=0), corners.max(axis=0)
                lows[level][:, position], highs[level][:, position] = product
    return lows[-1], highs[-1], leaving, outside


def _scaled(factor, low, high):
    """Ends of an interval times a number."""
    if factor == 0:
        return 0 * low, 0 * high
    return (
        (factor * low, factor * high) if factor > 0 else (factor * high, factor * low)
    )
