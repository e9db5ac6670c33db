"""Fitting the constants of a formula to data, and what a formula costs.

A `Refit` holds rows and a `FitLoss`. The cost of a formula is its description length in
nats: what the data cost once the formula is known, plus what the formula itself costs.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from skkan.symbolic._fit_losses import FitLoss
from skkan.symbolic._formula import Formula
from skkan.symbolic._least_squares import minimised

TIGHT = 1e-12  # nats that a step of a last refit is worth, of the order of rounding
LOOSE = 1e-2  # of one that only has to be compared; exact fits converge faster anyway
# By how much the residuals may change, to first order, for a round value to be tried:
# in shares of their length, and of the deviation of the target.
TRIED, TRIED_AT_LEAST = 0.3, 1e-2


@dataclass(frozen=True, eq=False)
class Refit:
    """Rows and a loss to which the constants of formulas are fitted.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_inputs)
    loss : FitLoss
    n_names : int
        Number of functions among which those of an edge are chosen.
    """

    X: np.ndarray
    loss: FitLoss
    n_names: int

    def __call__(self, formula, *, max_nfev=40, tol=LOOSE, goal=math.inf):
        """The formula with fitted constants, or None if it is undefined on the rows.

        A fit that will not come to a cost of `goal` nats may end early.
        """
        formula = _into_domains(formula, self.X)
        if formula is None or len(formula.constants) == 0:
            return formula
        problem = _Problem(self, formula, tol, goal - self.complexity(formula))
        with np.errstate(all="ignore"):
            constants = minimised(problem, formula.constants, max_nfev=max_nfev)
        return None if constants is None else formula.with_constants(constants)

    def cost(self, formula):
        """Description length of the data and of the formula, in nats.

        That of the data is their negative log likelihood. A formula costs
        log(number of names) and its complexity for every edge, log(n) / 2 for every
        fitted constant (the rule of Schwarz), and for a round one its digits.

        References
        ----------
        G. Schwarz, Estimating the Dimension of a Model, 1978. J. Rissanen, Modeling by
        Shortest Data Description, 1978.
        """
        output = formula(self.X)
        if not np.isfinite(output).all():
            return math.inf
        return self.loss.nats(output) + self.complexity(formula)

    def complexity(self, formula):
        """Description length of the formula, in nats."""
        per_constant = 0.5 * math.log(max(self.loss.n_observations, 1.0))
        total = per_constant * len(formula.constants)
        total += sum(round_nats(formula.intercepts[output]) for output in formula.held)
        for term in formula.terms:
            total += math.log(2) * term.primitive.complexity + math.log(self.n_names)
            total += sum(round_nats(getattr(term, name)) for name in term.held)
            total += per_constant * n_coefficients(term.primitive)
        return total

    def rounded(self, formula):
        """The formula with those constants at round values that cost less there."""
        best = self.cost(formula)
        index = 0
        while index < len(formula.constants):
            for value in self._round_values(formula, index):
                held = self(formula.with_held(index, value), max_nfev=100)
                cost = math.inf if held is None else self.cost(held)
                if cost < best:
                    # The next constant has moved up; of a lost term, others have.
                    lost = len(held.terms) < len(formula.terms)
                    index = 0 if lost else index
                    formula, best = held, cost
                    break
            else:
                index += 1
        return formula

    def _round_values(self, formula, index):
        """Round values at which the constant may be, by the curvature of the loss.

        Those of required terms do not become zero; outputs to which only splines lead
        keep their intercept, as there is nothing to simplify.
        """
        term, name = formula.owner(index)
        if term is None:
            last = len(formula.widths) - 1
            entering = [t for t in formula.terms if t.target == (last, name)]
            if entering and all(n_coefficients(t.primitive) for t in entering):
                return []
        with np.errstate(all="ignore"):
            nodes = formula.nodes(self.X)
            if nodes is None:
                return []
            jacobian, _ = self.loss.expansion(nodes[-1], formula.jacobian(nodes))
        if not np.isfinite(jacobian).all():
            return []
        value = formula.constants[index]
        # Where constants can be traded, a unit is simplest.
        unit = math.copysign(1.0, value)
        near = dict.fromkeys([0.0, unit, float(round(value)), round(2 * value) / 2])
        lengths = np.linalg.norm(jacobian, axis=0)
        others = np.delete(jacobian / np.where(lengths > 0, lengths, 1.0), index, 1)
        column = jacobian[:, index]
        if others.shape[1]:
            column = column - others @ np.linalg.lstsq(others, column, rcond=1e-9)[0]
        slack = max(
            TRIED * math.sqrt(2 * self.loss.value(nodes[-1])),
            TRIED_AT_LEAST * math.sqrt(self.loss.n_observations),
        )
        if term is not None and term.required and name != "b":
            near.pop(0.0)
        return [v for v in near if np.linalg.norm(column) * abs(value - v) < slack]


@dataclass(frozen=True, eq=False)
class _Problem:
    """The constants of a formula as `minimised` sees them."""

    refit: Refit
    formula: Formula
    tol: float  # nats that a step has to be worth
    goal: float  # nats of the data at which the formula would be of use
    _last: list = field(default_factory=list)  # the formula and nodes of one value

    def worth(self, value):
        return self.refit.loss.worth(value, self.tol, self.goal)

    def value(self, constants):
        at = self.formula.with_constants(constants)
        nodes = at.nodes(self.refit.X)
        self._last[:] = constants, at, nodes
        if nodes is None or not np.isfinite(nodes[-1]).all():
            return math.inf
        return self.refit.loss.value(nodes[-1])

    def expansion(self, constants):
        if self._last[0] is not constants:
            self.value(constants)
        _, at, nodes = self._last
        slopes, residuals = self.refit.loss.expansion(nodes[-1], at.jacobian(nodes))
        # At the edge of a domain (a root at zero) a value exists, but no finite slope.
        # Such a row tells no direction; the values judge the steps.
        return np.where(np.isfinite(slopes), slopes, 0.0), residuals


def n_coefficients(primitive):
    """Number of coefficients of a spline; 0 of other functions."""
    return getattr(primitive.function, "n_coefficients", 0)


def round_nats(value):
    """Code length of an integer or half, in nats: sign and digits."""
    double = 0 if float(value).is_integer() else 1
    size = abs(value) * (1 + double)
    return math.log(2) * (1 + 2 * math.log2(1 + size) + double)


def _into_domains(formula, X):
    """The formula with arguments shifted into the domains; None where that fails."""
    nodes = [X, *(np.zeros((len(X), width)) for width in formula.widths[1:])]
    terms = []
    for term in formula.terms:
        z = term.argument(nodes[term.source[0]][:, term.source[1]])
        if not term.primitive.admits(z):
            term = _shifted(term, z)
            if term is None:
                return None
            z = term.argument(nodes[term.source[0]][:, term.source[1]])
        terms.append(term)
        with np.errstate(all="ignore"):
            values = term.c * term.primitive.function(z)
        if not np.isfinite(values).all():
            return None
        nodes[term.target[0]][:, term.target[1]] += values
    return replace(formula, terms=tuple(terms))


def _shifted(term, z):
    """The term with its argument inside of the domain with a margin, or None."""
    low, high = term.primitive.domain
    if "b" not in term.free or (np.isfinite(low) and np.isfinite(high)):
        return None
    margin = 1e-3 * (np.ptp(z) or 1.0)  # of the range, so that slopes stay moderate
    shift = low - z.min() + margin if np.isfinite(low) else high - z.max() - margin
    return replace(term, b=term.b + shift)
