"""Fitting the constants of a formula to data, and what a formula costs.

A `Fit` holds rows and a loss. The cost of a formula is its description length in nats:
what the data cost once the formula is known, plus what the formula itself costs.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares
from scipy.special import log_softmax, softmax

from skkan.symbolic._candidates import INFEASIBLE

TIGHT = 1e-15  # tolerances of a last refit, of the order of rounding
LOOSE = 1e-5  # of one that only has to be compared; exact fits converge faster anyway
EXPONENT = 30.0  # largest |log odds| that count: separable classes have no best ones
TINY = 1e-12  # a loss, so that its root has a slope where a label is certain
# By how much the residuals may change, to first order, for a round value to be tried:
# in shares of their length, and of the deviation of the target.
TRIED, TRIED_AT_LEAST = 0.3, 1e-2


class FitLoss(ABC):
    """Residuals whose sum of squares is to be least, of outputs of a formula.

    The outputs are (n_samples, n_outputs) in the units of the target.
    """

    @abstractmethod
    def residuals(self, output):
        """ndarray of shape (n_residuals,)."""

    @abstractmethod
    def chained(self, output, jacobian):
        """Derivatives of the residuals, ndarray of shape (n_residuals, n_free).

        `jacobian` is that of the outputs, (n_samples, n_outputs, n_free).
        """

    @abstractmethod
    def nats(self, output):
        """Code length of the data, up to a constant."""

    @property
    @abstractmethod
    def least_nats(self):
        """What `nats` is at a perfect fit."""

    def of_rows(self, rows):
        """The same loss of some of the rows, given by their index."""
        return replace(self, target=self.target[rows])


@dataclass(frozen=True, eq=False)
class SquaredError(FitLoss):
    """Normal noise of unknown deviation, one for each output.

    Attributes
    ----------
    target : ndarray of shape (n_samples, n_outputs)
    scale : ndarray of shape (n_outputs,)
        Standard deviation of the target.
    floor : float
        Share of it that counts as exact.
    """

    target: np.ndarray
    scale: np.ndarray
    floor: float

    def residuals(self, output):
        return ((output - self.target) / self.scale).ravel()

    def chained(self, output, jacobian):
        scaled = jacobian / self.scale[:, None]
        return scaled.reshape(-1, jacobian.shape[-1])

    def nats(self, output):
        with np.errstate(over="ignore"):
            scaled = (output - self.target) / self.scale
            variance = np.square(scaled).mean(axis=0) + self.floor**2
        return 0.5 * len(output) * float(np.log(variance).sum())

    @property
    def least_nats(self):
        return self.target.size * float(np.log(self.floor))


@dataclass(frozen=True, eq=False)
class Deviance(FitLoss):
    """Log loss as a sum of squares of the residuals sqrt(2 loss).

    Attributes
    ----------
    target : ndarray of shape (n_samples, n_outputs)
        Indicators of the labels, or of the classes if they exclude each other.
    exclusive : bool
    """

    target: np.ndarray
    exclusive: bool

    def _losses(self, output):
        """Losses, and their derivatives with respect to the outputs."""
        output = np.clip(output, -EXPONENT, EXPONENT)
        if self.exclusive:
            losses = -(self.target * log_softmax(output, axis=1)).sum(1, keepdims=True)
            return losses, softmax(output, axis=1) - self.target
        losses = np.logaddexp(0, output) - self.target * output
        return losses, 0.5 * (1 + np.tanh(output / 2)) - self.target

    def residuals(self, output):
        return np.sqrt(2 * self._losses(output)[0] + TINY).ravel()

    def chained(self, output, jacobian):
        losses, slopes = self._losses(output)
        root = np.sqrt(2 * losses + TINY)
        if self.exclusive:
            return np.einsum("no,nop->np", slopes / root, jacobian)
        by_output = (slopes / root)[..., None] * jacobian
        return by_output.reshape(-1, jacobian.shape[-1])

    def nats(self, output):
        return float(self._losses(output)[0].sum())

    @property
    def least_nats(self):
        return 0.0


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

    def __call__(self, formula, *, max_nfev=40, tol=LOOSE):
        """The formula with fitted constants, or None if it is undefined on the rows."""
        formula = _into_domains(formula, self.X)
        if formula is None or len(formula.constants) == 0:
            return formula
        last = {}

        def moved(values):
            key = values.tobytes()
            if key not in last:
                last.clear()
                at = formula.with_constants(values)
                last[key] = at, at.nodes(self.X)
            return last[key]

        def residuals(values):
            _, nodes = moved(values)
            if nodes is None or not np.isfinite(nodes[-1]).all():
                return np.full(self._n_residuals, INFEASIBLE)
            return self.loss.residuals(nodes[-1])

        def jacobian(values):
            at, nodes = moved(values)
            slopes = self.loss.chained(nodes[-1], at.jacobian(nodes))
            # At the edge of a domain (a root at zero) a value exists, but no finite
            # slope. Such a row tells no direction; the residuals judge the steps.
            return np.where(np.isfinite(slopes), slopes, 0.0)

        with np.errstate(all="ignore"):
            if not (residuals(formula.constants) < INFEASIBLE).all():
                return None
            found = least_squares(
                residuals,
                formula.constants,
                jacobian,
                method="trf",
                x_scale="jac",
                max_nfev=max_nfev,
                ftol=tol,
                xtol=min(tol, 1e-8),
                gtol=min(tol, 1e-10),
            )
        return formula.with_constants(found.x)

    @property
    def _n_residuals(self):
        target = self.loss.target
        exclusive = getattr(self.loss, "exclusive", False)
        return len(target) if exclusive else target.size

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
        per_constant = 0.5 * math.log(len(self.X))
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
                held = self(formula.with_held(index, value), max_nfev=100, tol=TIGHT)
                cost = math.inf if held is None else self.cost(held)
                if cost < best:
                    formula, best = held, cost
                    break
            else:
                index += 1  # otherwise the next constant has moved up
        return formula

    def _round_values(self, formula, index):
        """Round values at which the constant may be, by the curvature of the loss."""
        with np.errstate(all="ignore"):
            nodes = formula.nodes(self.X)
            if nodes is None:
                return []
            jacobian = self.loss.chained(nodes[-1], formula.jacobian(nodes))
        if not np.isfinite(jacobian).all():
            return []
        value = formula.constants[index]
        unit = math.copysign(
            1.0, value
        )  # where constants can be traded, it is simplest
        near = dict.fromkeys([0.0, unit, float(round(value)), round(2 * value) / 2])
        lengths = np.linalg.norm(jacobian, axis=0)
        others = np.delete(jacobian / np.where(lengths > 0, lengths, 1.0), index, 1)
        column = jacobian[:, index]
        if others.shape[1]:
            column = column - others @ np.linalg.lstsq(others, column, rcond=1e-9)[0]
        residual = self.loss.residuals(nodes[-1])
        slack = max(
            TRIED * np.linalg.norm(residual), TRIED_AT_LEAST * np.sqrt(len(residual))
        )
        return [v for v in near if np.linalg.norm(column) * abs(value - v) < slack]


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
