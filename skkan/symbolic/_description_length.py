"""Fits of the constants of formulas, and the description length of a formula.

A `FormulaFit` holds rows and a `FormulaLoss`. The cost of a formula is its description
length in nats: the code length of the data given the formula, plus that of the formula.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from skkan.formulas._formula import Formula
from skkan.formulas._intervals import Box
from skkan.formulas._simple_constants import (
    constant_nats,
    near_constants,
    simple_form,
)
from skkan.symbolic._formula_losses import FormulaLoss
from skkan.symbolic._least_squares import minimised

# Nats that a step of a final fit must save, of the order of rounding.
POLISH_TOL = 1e-12
UNSAFE_NATS = 1e9  # beyond what any rows can save
# Nats that a step must save in a fit that is only compared with others.
COMPARISON_TOL = 1e-2
# Of simple values: nats that one may cost, the rounding errors of a constant as a share
# of it, and the expected number of others as simple within its standard error.
MAX_SIMPLE_NATS, ROUNDING_ERROR, MAX_BY_CHANCE = 2.0, 1e-10, 0.02
# A round value is tried if it changes the residuals, to first order, by at most this
# share of their length, or this share of the target's deviation.
ROUNDING_CHANGE, MIN_ROUNDING_CHANGE = 0.3, 1e-2


@dataclass(eq=False)
class RefitBudget:
    """Counts the fits of formulas, and ends them.

    Attributes
    ----------
    limit : int
        Largest number of fits.
    line : tqdm or None
        Progress line that counts them.
    """

    limit: int
    line: object = None
    used: int = 0

    def take(self):
        """Whether another fit may be made; it is counted then."""
        if self.used >= self.limit:
            return False
        self.used += 1
        if self.line is not None:
            self.line.update()
        return True

    def tell(self, cost):
        """Show the least cost so far."""
        if self.line is not None:
            self.line.set_postfix({"nats": f"{cost:.1f}"}, refresh=False)


@dataclass(frozen=True, eq=False)
class FormulaFit:
    """Fits constants of formulas to rows, under a loss.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_inputs)
    loss : FormulaLoss
    n_names : int
        Number of functions from which the function of an edge is chosen.
    box : Box, default=None
        Formulas that are not safe on it cost UNSAFE_NATS more.
    budget : RefitBudget, default=None
        Counts the fits.
    """

    X: np.ndarray
    loss: FormulaLoss
    n_names: int
    box: Box | None = None
    budget: RefitBudget | None = None

    def __call__(self, formula, *, max_nfev=40, tol=COMPARISON_TOL, goal=math.inf):
        """Formula with fitted constants, or None if it is undefined on the rows.

        A fit that will not reach a cost of `goal` nats may end early. The value is None
        as well if the budget is spent.
        """
        if self.budget is not None and not self.budget.take():
            return None
        formula = _into_domains(formula, self.X)
        if formula is None or len(formula.constants) == 0:
            return formula
        problem = _ConstantsProblem(self, formula, tol, goal - self.complexity(formula))
        with np.errstate(all="ignore"):
            constants = minimised(problem, formula.constants, max_nfev=max_nfev)
        return None if constants is None else formula.with_constants(constants)

    def of_rows(self, rows):
        """The same fit to some of the rows, given by their index."""
        return replace(self, X=self.X[rows], loss=self.loss.of_rows(rows))

    def cost(self, formula):
        """Description length of the data and of the formula, in nats.

        The data cost their negative log likelihood. The formula costs
        log(number of names) and the complexity for every edge, log(n) / 2 for every
        fitted constant (the rule of Schwarz), and the digits of every round constant.
        A formula that is not safe on the box costs more than any that is.

        References
        ----------
        G. Schwarz, Estimating the Dimension of a Model, 1978. J. Rissanen, Modeling by
        Shortest Data Description, 1978.
        """
        output = formula(self.X)
        if not np.isfinite(output).all():
            return math.inf
        nats = self.loss.nats(output) + self.complexity(formula)
        is_safe = self.box is None or self.box.holds(formula)
        return nats if is_safe else nats + UNSAFE_NATS

    def complexity(self, formula):
        """Description length of the formula, in nats."""
        per_constant = 0.5 * math.log(max(self.loss.n_observations, 1.0))
        total = per_constant * len(formula.constants)
        total += sum(held_nats(formula.intercepts[output]) for output in formula.held)
        for term in formula.terms:
            total += math.log(2) * term.primitive.complexity + math.log(self.n_names)
            total += sum(held_nats(getattr(term, name)) for name in term.held)
            total += per_constant * n_coefficients(term.primitive)
        return total

    def rounded(self, formula):
        """Formula with constants at round values, where these cost less."""
        best = self.cost(formula)
        index = 0
        while index < len(formula.constants):
            for value in self._round_values(formula, index):
                held = self(formula.with_held(index, value), max_nfev=100)
                cost = math.inf if held is None else self.cost(held)
                if cost < best:
                    # The index now points to the next constant, unless a term is gone.
                    lost = len(held.terms) < len(formula.terms)
                    index = 0 if lost else index
                    formula, best = held, cost
                    break
            else:
                index += 1
        return formula

    def simplified(self, formula):
        """Formula with constants at simple values that they do not differ from.

        A constant takes the simplest value within two standard errors, unless values
        that are as simple lie so dense that one is there by chance.
        """
        index = 0
        while index < len(formula.constants):
            value, error = (
                formula.constants[index],
                self._standard_error(formula, index),
            )
            for simple in near_constants(value):
                by_chance = error * math.exp(constant_nats(simple))
                is_near = abs(value - simple) <= 2 * error + ROUNDING_ERROR * abs(value)
                if simple == 0 or not is_near or by_chance > MAX_BY_CHANCE * abs(value):
                    continue
                held = self(formula.with_held(index, simple), max_nfev=100)
                if held is None or len(held.terms) < len(formula.terms):
                    continue
                if self._nats(held) <= self._nats(formula) + MAX_SIMPLE_NATS:
                    formula = held
                    break
            else:
                index += 1
        return formula

    def _nats(self, formula):
        output = formula(self.X)
        return self.loss.nats(output) if np.isfinite(output).all() else math.inf

    def _standard_error(self, formula, index):
        """Standard error of a constant; infinite where the rows do not determine it."""
        nodes = formula.nodes(self.X)
        column = self._column(formula, nodes, index)
        if column is None or not np.linalg.norm(column) > 0:
            return math.inf
        return self.loss.noise(nodes[-1]) / np.linalg.norm(column)

    def _column(self, formula, nodes, index):
        """Derivative by a constant, less what other constants express, or None."""
        if nodes is None:
            return None
        with np.errstate(all="ignore"):
            jacobian, _ = self.loss.expansion(nodes[-1], formula.jacobian(nodes))
        if not np.isfinite(jacobian).all():
            return None
        lengths = np.linalg.norm(jacobian, axis=0)
        others = np.delete(jacobian / np.where(lengths > 0, lengths, 1.0), index, 1)
        column = jacobian[:, index]
        if others.shape[1]:
            column = column - others @ np.linalg.lstsq(others, column, rcond=1e-9)[0]
        return column

    def _round_values(self, formula, index):
        """Round values that a constant may take, by the curvature of the loss.

        Constants of required terms do not become zero. An output into which only
        splines lead keeps its intercept, since nothing becomes simpler.
        """
        term, name = formula.owner(index)
        if term is None:
            last = len(formula.widths) - 1
            entering = [t for t in formula.terms if t.target == (last, name)]
            if entering and all(n_coefficients(t.primitive) for t in entering):
                return []
        with np.errstate(all="ignore"):
            nodes = formula.nodes(self.X)
        column = self._column(formula, nodes, index)
        if column is None:
            return []
        value = formula.constants[index]
        # Where constants can be traded, a unit is simplest.
        unit = math.copysign(1.0, value)
        near = dict.fromkeys([0.0, unit, float(round(value)), round(2 * value) / 2])
        slack = max(
            ROUNDING_CHANGE * math.sqrt(2 * self.loss.value(nodes[-1])),
            MIN_ROUNDING_CHANGE * math.sqrt(self.loss.n_observations),
        )
        if term is not None and term.required and name != "b":
            near.pop(0.0)
        return [v for v in near if np.linalg.norm(column) * abs(value - v) < slack]


@dataclass(frozen=True, eq=False)
class _ConstantsProblem:
    """Problem of `minimised` for the constants of a formula."""

    refit: FormulaFit
    formula: Formula
    tol: float  # nats that a step must save
    goal: float  # code length of the data at which the formula would be useful
    _last: list = field(default_factory=list)  # formula and nodes of the last value

    def worth(self, value):
        return self.refit.loss.worth(value, self.tol, self.goal)

    def value(self, constants):
        at = self.formula.with_constants(constants)
        nodes = at.nodes(self.refit.X)
        self._last[:] = at, nodes
        if nodes is None or not np.isfinite(nodes[-1]).all():
            return math.inf
        return self.refit.loss.value(nodes[-1])

    def expansion(self, constants):
        at, nodes = self._last  # the constants are those of the last value
        slopes, residuals = self.refit.loss.expansion(nodes[-1], at.jacobian(nodes))
        # At the edge of a domain (a root at zero) the value is finite, but the slope is
        # not. Such a row gives no direction; its value still judges the step.
        return np.where(np.isfinite(slopes), slopes, 0.0), residuals


def held_nats(value):
    """Code length of a constant that is held, in nats."""
    return math.inf if simple_form(value) is None else constant_nats(value)


def n_coefficients(primitive):
    """Number of coefficients of a spline, 0 for other functions."""
    return getattr(primitive.function, "n_coefficients", 0)


def _into_domains(formula, X):
    """Formula with arguments shifted into the domains; None where that fails."""
    with np.errstate(all="ignore"):
        found = formula.propagated(X, _shifted)
    if found is None or not all(np.isfinite(level).all() for level in found[1]):
        return None
    return replace(formula, terms=tuple(found[0]))


def _shifted(term, z):
    """Term with its argument inside the domain, with a margin, or None."""
    low, high = term.primitive.domain
    if "b" not in term.free or (np.isfinite(low) and np.isfinite(high)):
        return None
    margin = 1e-3 * (np.ptp(z) or 1.0)  # of the range, so that slopes stay moderate
    shift = low - z.min() + margin if np.isfinite(low) else high - z.max() - margin
    return replace(term, b=term.b + shift)
