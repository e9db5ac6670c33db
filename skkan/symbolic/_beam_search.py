"""Beam search for the functions of all edges, by the cost of the whole formula.

A choice is a tuple with one index into the candidates of each edge. The search fits the
constants of a choice and compares choices by their cost. It begins at several choices
and changes one edge at a time.
"""

import itertools
import math
from dataclasses import dataclass, field, replace

import numpy as np

from skkan.formulas._formula import Formula
from skkan.formulas._primitives import LINEAR, ZERO
from skkan.symbolic._description_length import (
    POLISH_TOL,
    UNSAFE_NATS,
    FormulaFit,
    n_coefficients,
)

# Errors of an edge in standard deviations of the output. Each is
# the tolerance of one starting choice, whose edges have the simplest functions within.
TOLERANCES = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0)
ONE_SIDED_TOLERANCE = 0.1  # for starting choices with straight edges on one side
MAX_SIDED_NODES = 3  # hidden nodes; their 8 combinations of sides are all tried
SLACK = 3.0  # nats that round constants may save beyond what a fit has shown
SEARCH_SHARE = 0.6  # of the fits; the others polish constants and round them
# Nats by which the rows must be told better by the next larger formula of a front.
MIN_FRONT_NATS = 3.0
BEAM_WIDTH = 3  # choices whose neighbours are tried, with and without splines
N_FINISHED = 4  # cheapest choices that are rounded and compared at the end
N_SIMPLE = 4  # simplest choices, among the nearly as cheap, that are compared as well
NEARLY_AS_CHEAP = 12.0  # nats; round constants can save a simple formula as much
MAX_POLISH_VALUES = 200  # evaluations of the loss in a final fit


@dataclass(frozen=True, eq=False)
class EdgeChoices:
    """Candidates for one edge.

    Attributes
    ----------
    source, target : tuple of (int, int)
    candidates : list of Candidate, best first
    importance : float
    std : float
        Standard deviation of the values of the edge.
    required : bool
        Whether the edge must be part of the formula.
    """

    source: tuple
    target: tuple
    candidates: list
    importance: float
    std: float
    required: bool


@dataclass(frozen=True, eq=False)
class FoundFormula:
    """Result of a search: a formula, its cost, and the edges it was chosen for."""

    formula: Formula
    cost: float
    edges: list


@dataclass(eq=False)
class FormulaSearch:
    """Beam search over choices, run by `found`.

    Attributes
    ----------
    widths : tuple of int
    edges : list of EdgeChoices
    intercepts : ndarray of shape (n_outputs,)
    refit : FormulaFit
        Fit to some of the rows, for the comparison of choices.
    last_refit : FormulaFit
        Fit to all rows, for the few best choices.
    max_refits : int
        Number of fits that the search may make, as far as the budget of `refit` lasts.
    products : tuple of (node, factors), default=()
        Nodes that are products, as of a `Formula`.
    """

    widths: tuple
    edges: list
    intercepts: np.ndarray
    refit: FormulaFit
    last_refit: FormulaFit
    max_refits: int
    products: tuple = ()
    _tried: dict = field(default_factory=dict)  # choice: (cost, formula)
    _least_cost: float = math.inf
    _last_try: int = 0

    def found(self):
        """List of FoundFormula, the cheapest first; empty if all are undefined."""
        start = self.refit.budget.used
        self._last_try = start + max(int(SEARCH_SHARE * self.max_refits), 1)
        for choice in dict.fromkeys(self._starts()):
            self._try(choice)
        expanded = set()
        while self._may_try():
            # A choice with splines costs little from the start. Choices of functions
            # alone cost less only when all are right, so they get their own beam.
            leading = [
                *self._ranked(BEAM_WIDTH),
                *self._ranked(BEAM_WIDTH, without_splines=True),
            ]
            leading = [choice for choice in leading if choice not in expanded]
            if not leading:
                break
            expanded.add(leading[0])
            self._expand(leading[0])
        return self._finished(start + self.max_refits)

    def _may_try(self):
        return self.refit.budget.used < self._last_try

    def _starts(self):
        """Starting choices, from crude to exact, and the best function of each edge."""
        for tolerance in TOLERANCES:
            yield tuple(_simplest(edge, tolerance) for edge in self.edges)
        yield (0,) * len(self.edges)
        # Edges often need to bend only on one side of a hidden node. A network may bend
        # one side and undo it on the other, so each side is tried straight.
        hidden = sorted({edge.source for edge in self.edges if edge.source[0] > 0})
        if len(hidden) > MAX_SIDED_NODES:
            return
        for sides in itertools.product((True, False), repeat=len(hidden)):
            yield self._one_sided(dict(zip(hidden, sides, strict=True)))

    def _one_sided(self, bent_before):
        """Choice in which each hidden node has straight edges on one side."""
        choice = []
        for edge in self.edges:
            straight = bent_before.get(edge.source, False)
            straight |= not bent_before.get(edge.target, True)
            functions = [candidate.term.primitive for candidate in edge.candidates]
            if straight and LINEAR in functions:
                choice.append(functions.index(LINEAR))
            else:
                choice.append(_simplest(edge, ONE_SIDED_TOLERANCE))
        return tuple(choice)

    def _expand(self, choice):
        """Try all choices that differ in one edge, the most important edges first."""
        order = np.argsort([-edge.importance for edge in self.edges], kind="stable")
        for index in order:
            for other in range(len(self.edges[index].candidates)):
                if not self._may_try():
                    return
                self._try((*choice[:index], other, *choice[index + 1 :]))

    def _try(self, choice):
        if choice in self._tried or not self._may_try():
            return
        formula = self._formula(choice)
        if not self._has_required(formula):
            self._tried[choice] = math.inf, None
            return
        least = self.refit.loss.least_nats + self.refit.complexity(formula)
        if least > self._least_cost + SLACK:
            return  # even an exact fit would cost more
        formula = self.refit(formula, goal=self._least_cost)
        cost = math.inf if formula is None else self.refit.cost(formula)
        self._tried[choice] = cost, formula
        self._least_cost = min(cost, self._least_cost)
        self.refit.budget.tell(self._least_cost)

    def _formula(self, choice):
        terms, intercepts = [], self.intercepts.copy()
        for edge, index in zip(self.edges, choice, strict=True):
            term = edge.candidates[index].term
            if term.primitive != ZERO:
                terms.append(replace(term, required=edge.required))
                inner = edge.candidates[index].inner
                terms += [] if inner is None else [inner]
            elif edge.target[0] == len(self.widths) - 1:
                intercepts[edge.target[1]] += term.d
        return self._in_normal_form(terms, intercepts)

    def _in_normal_form(self, terms, intercepts):
        edge_stds = dict.fromkeys(((t.source, t.target) for t in terms), 0.0)
        edge_stds |= {(edge.source, edge.target): edge.std for edge in self.edges}
        return Formula.of_terms(
            self.widths, terms, intercepts, edge_stds, self.products
        )

    def _has_required(self, formula):
        present = {(term.source, term.target) for term in formula.terms}
        return all(
            (edge.source, edge.target) in present
            for edge in self.edges
            if edge.required
        )

    def _ranked(self, n_choices, *, without_splines=False):
        """Cheapest choices so far."""
        choices = [
            choice
            for choice in self._tried
            if not (without_splines and self._has_splines(choice))
        ]
        return sorted(choices, key=lambda choice: self._tried[choice][0])[:n_choices]

    def _promising(self):
        """Cheapest choices, and the simplest among those nearly as cheap."""
        near = [
            choice
            for choice in self._ranked(len(self._tried))
            if self._tried[choice][0] - self._least_cost <= NEARLY_AS_CHEAP
        ]  # none if all costs are infinite
        simple = sorted(
            near, key=lambda choice: self.refit.complexity(self._tried[choice][1])
        )
        return dict.fromkeys([*near[:N_FINISHED], *simple[:N_SIMPLE]])

    def _has_splines(self, choice):
        return any(
            n_coefficients(edge.candidates[index].term.primitive)
            for edge, index in zip(self.edges, choice, strict=True)
        )

    def _front(self):
        """Choices that are cheaper than all simpler ones, with the errors of the rows.

        The simplest ones come first.
        """
        by_size = sorted(
            (self.refit.complexity(formula), cost, choice)
            for choice, (cost, formula) in self._tried.items()
            if cost < UNSAFE_NATS
        )
        front, least = [], math.inf
        for size, cost, choice in by_size:
            if cost - size < least - MIN_FRONT_NATS:
                least = cost - size
                front.append(choice)
        return front

    def _finished(self, last):
        """Promising choices and the front, after final fits and rounding of constants.

        A final fit and rounding end where the number of fits reaches `last`.
        """
        finished = []
        for choice in dict.fromkeys([*self._promising(), *self._front()]):
            cost, formula = self._tried[choice]
            if not math.isfinite(cost):
                continue
            if self.refit.budget.used < last:
                formula = self._polished(formula)
            finished.append(self._outcome(formula))
        finished.sort(key=lambda outcome: outcome.cost)
        return finished

    def _polished(self, formula):
        for _ in range(2):  # a fit may move constants out of normal form
            formula = self._in_normal_form(formula.terms, formula.intercepts)
            found = self.last_refit(formula, max_nfev=MAX_POLISH_VALUES)
            formula = found or formula
        formula = self.last_refit.rounded(formula)
        formula = self.last_refit.simplified(formula)
        exact = self.last_refit(formula, max_nfev=MAX_POLISH_VALUES, tol=POLISH_TOL)
        return exact or formula

    def _outcome(self, formula):
        return FoundFormula(formula, self.last_refit.cost(formula), self.edges)


def _simplest(edge, tolerance):
    """Index of the simplest candidate whose error is below a tolerance."""
    good = [
        index
        for index, candidate in enumerate(edge.candidates)
        if candidate.error * min(edge.importance, 1.0) ** 0.5 <= tolerance
    ]
    if not good:
        return 0
    return min(good, key=lambda i: _size(edge.candidates[i].term.primitive))


def _size(primitive):
    n_constants = len(primitive.constants) + n_coefficients(primitive)
    return primitive.complexity + 4 * n_constants  # a constant has about 4 bits
