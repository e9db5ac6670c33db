"""The choice that a search offers: formulas of which none is beaten by a simpler one.

Errors are those of validation rows, to which the constants are not fitted. The formula
itself has constants that are fitted to all rows.
"""

from dataclasses import dataclass

import numpy as np

from skkan.formulas._formula import Formula
from skkan.formulas._shortest_form import n_nodes_of
from skkan.formulas._sympy_and_latex import expressions_of
from skkan.symbolic._argument_checks import SPLINE
from skkan.symbolic._description_length import (
    POLISH_TOL,
    UNSAFE_NATS,
    n_coefficients,
)

VALIDATION_SHARE = 5  # every fifth row is one of validation
MIN_VALIDATED_ROWS = 20  # fewer rows are training and validation rows at once


@dataclass(frozen=True, eq=False)
class FrontFormula:
    """One formula of the front of a symbolic estimator.

    Attributes
    ----------
    complexity : int
        Number of nodes of its sympy expression, of all outputs together. A spline
        counts its coefficients as well.
    training_error, validation_error : float
        Root mean square error as a share of the deviation of the target; the root of
        the mean deviance relative to that of a constant for losses with a log link; the
        mean log loss of a classifier. On validation rows, a fifth of all, with
        constants that are fitted to the others.
    cost : float
        Description length of data and formula in nats, up to a constant of the data.
    formula : Formula
    edges : tuple of SymbolicEdge
        Functions of its edges.
    distance : float
        Mean loss on validation rows less that of the network, in standard errors of
        the difference. The network was fitted to these rows as well.
    is_safe : bool
        Whether it is defined on the ranges of the training rows, and on these ranges
        widened by 2% stays within three widths of the target's range from its middle.
    exits : tuple of str
        Where it leaves its domain within the widened ranges.
    features : tuple of str
        Symbols of the features.
    has_log_link : bool
        Whether predictions are exponentials of the formula.
    """

    __module__ = "skkan.symbolic"

    complexity: int
    training_error: float
    validation_error: float
    cost: float
    formula: Formula
    edges: tuple
    distance: float
    is_safe: bool
    exits: tuple
    features: tuple
    has_log_link: bool

    @property
    def choices(self):
        """Function of each edge, a dict by (source name, target name)."""
        return {
            (edge.source_name, edge.target_name): SPLINE
            if edge.is_spline
            else edge.primitive.name
            for edge in self.edges
        }

    @property
    def expressions(self):
        """Predictions (log odds of a classifier), a list of sympy.Expr."""
        return written(self.formula, self.features, self.has_log_link)


def written(formula, features, has_log_link):
    """Expressions of all outputs of a formula, a list of sympy.Expr."""
    import sympy

    expressions = expressions_of(formula, [sympy.Symbol(name) for name in features])
    return [sympy.exp(e) if has_log_link else e for e in expressions]


def n_nodes(expressions, formula):
    """Number of nodes of the trees of expressions, and of coefficients of splines."""
    n_written = sum(map(n_nodes_of, expressions))
    return n_written + sum(n_coefficients(t.primitive) for t in formula.terms)


def validation_rows(n_rows):
    """Training and validation rows, two index arrays."""
    rows = np.arange(n_rows)
    if n_rows < MIN_VALIDATED_ROWS:
        return rows, rows
    is_validation = rows % VALIDATION_SHARE == VALIDATION_SHARE // 2
    return rows[~is_validation], rows[is_validation]


@dataclass(frozen=True, eq=False)
class FrontMaker:
    """Makes the front of found formulas.

    Attributes
    ----------
    fit : FormulaFit
        Of all rows.
    features : tuple of str
    has_log_link : bool
    edges_of : callable
        Maps a `FoundFormula` to a tuple of SymbolicEdge.
    network : ndarray of shape (n_samples, n_outputs)
        Outputs of the network.
    """

    fit: object
    features: tuple
    has_log_link: bool
    edges_of: object
    network: np.ndarray

    def front(self, found):
        """Front of formulas, and the losses of each on the validation rows.

        Parameters
        ----------
        found : list of FoundFormula

        Returns
        -------
        list of (FrontFormula, ndarray of shape (n_validation_rows,))
            The simplest first. Errors and description lengths fall from each to the
            next, so that the last is that of least description length, or simpler.
        """
        safe = [f for f in found if f.cost < UNSAFE_NATS] or found
        sized = [(self._size(f.formula), f) for f in safe]
        sized.sort(key=lambda pair: (pair[0], pair[1].cost))
        front, least = [], (np.inf, np.inf, np.inf)
        for size, f in sized:
            if front and front[-1][0].complexity == size:
                continue
            training = self._mean(self.fit, f.formula)
            if not (training < least[0] and f.cost < least[2]):
                continue
            losses = self.validation_losses(f.formula)
            validation = np.average(losses, weights=self.validation.weight)
            if validation < least[1]:
                least = training, validation, f.cost
                front.append((self._entry(size, f, training, losses), losses))
        return front

    def _size(self, formula):
        expressions = written(formula, self.features, self.has_log_link)
        return n_nodes(expressions, formula)

    def _entry(self, size, found, training, losses):
        weight = self.validation.weight
        _, rows = validation_rows(len(self.fit.X))
        of_network = self._floored(self.validation, self.network[rows])
        return FrontFormula(
            complexity=size,
            training_error=self._error(training),
            validation_error=self._error(np.average(losses, weights=weight)),
            cost=found.cost,
            formula=found.formula,
            edges=self.edges_of(found),
            distance=distance(losses, of_network, weight),
            is_safe=found.cost < UNSAFE_NATS,
            exits=self._exits(found.formula),
            features=self.features,
            has_log_link=self.has_log_link,
        )

    def _exits(self, formula):
        """Where a formula leaves its domain just outside of the rows."""
        exits = []
        for term in self.fit.box.exits(formula):
            level, position = term.source
            where = "where a sum of functions"
            if level == 0:
                ends = filter(np.isfinite, term.primitive.domain)
                at = " or ".join(f"{(end - term.b) / term.a:.6g}" for end in ends)
                where = f"at {self.features[position]} = {at}, where its argument"
            exits.append(
                f"{term.primitive.name} ends {where} leaves its domain, within 2% of "
                "the range beyond the training rows"
            )
        return tuple(exits)

    @property
    def validation(self):
        """Loss of the validation rows."""
        return self.fit.loss.of_rows(validation_rows(len(self.fit.X))[1])

    def validation_losses(self, formula):
        """Losses on validation rows, with constants fitted to the others."""
        training, validation = validation_rows(len(self.fit.X))
        refit = self.fit.of_rows(training)
        refitted = refit(formula, tol=POLISH_TOL) or formula
        return self._floored(self.validation, refitted(self.fit.X[validation]))

    def _mean(self, fit, formula):
        losses = self._floored(fit.loss, formula(fit.X))
        return np.average(losses, weights=fit.loss.weight)

    def _floored(self, loss, output):
        """Losses of rows; those below the floor of an exact fit are all the same."""
        with np.errstate(all="ignore"):
            losses = loss.of_each_row(output)
        losses = np.where(np.isfinite(losses), losses, np.inf)
        return np.maximum(losses, getattr(loss, "floor", 0.0) ** 2)

    def _error(self, mean):
        return float(mean**0.5 if hasattr(self.fit.loss, "floor") else mean)


def picked_index(front, weight, complexity):
    """Position of the formula that the rule picks.

    It is the simplest within one standard error of the best, or, of at most the given
    complexity, the best.

    Parameters
    ----------
    front : list of (FrontFormula, ndarray of shape (n_validation_rows,))
    weight : ndarray of shape (n_validation_rows,)
    complexity : int or None
    """
    if complexity is not None:
        allowed = [k for k, (f, _) in enumerate(front) if f.complexity <= complexity]
        if not allowed:
            raise ValueError(
                f"complexity must be at least that of the simplest formula found, "
                f"{front[0][0].complexity}, got {complexity}: raise it, or raise "
                "max_refits."
            )
        return allowed[-1]
    best = front[-1][1]
    mean, error = mean_and_error(best, weight)
    return next(
        k
        for k, (_, losses) in enumerate(front)
        if np.average(losses, weights=weight) <= mean + error
    )


def distance(losses, others, weight):
    """Mean difference of the losses of rows, in standard errors of it."""
    mean, error = mean_and_error(losses - others, weight)
    if error > 0:
        return float(mean / error)
    return float(np.copysign(np.inf, mean)) if mean else 0.0


def mean_and_error(losses, weight):
    """Mean loss of rows, and its standard error."""
    mean = np.average(losses, weights=weight)
    square = np.average((losses - mean) ** 2, weights=weight)
    return mean, np.sqrt(square / max(weight.sum() - 1, 1.0))
