"""Choosing one function for every edge, by what the whole formula costs.

A choice is a tuple with one index into the candidates of each edge. Choices are
refitted and compared by their cost; the search begins at several of them and changes
one edge at a time.
"""

import itertools
import math
from dataclasses import dataclass, field, replace

import numpy as np

from skkan.symbolic._formula import Formula
from skkan.symbolic._primitives import LINEAR, ZERO
from skkan.symbolic._refit import TIGHT, Refit, n_coefficients

# Errors in deviations of an edge, weighted by its importance, with which a first choice
# puts up for a simpler function: from crude to as good as can be.
TOLERANCES = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0)
ONE_SIDED = 0.1  # the same, where other edges are made straight by force
MOST_SIDES = 3  # hidden nodes, all of whose combinations of sides are tried
SLACK = 3.0  # nats by which round constants may bring one formula before another
BEAM = 3  # choices whose neighbours are tried
N_FINISHED = 4  # cheapest choices that are rounded and compared at the end
N_SIMPLE = 4  # and as many of the simplest of those that are nearly as cheap
NEARLY = 12.0  # nats, what round constants save a formula that has few of them
POLISH = 200  # evaluations of a last refit


@dataclass(frozen=True, eq=False)
class EdgeChoices:
    """What one edge can be.

    Attributes
    ----------
    source, target : tuple of (int, int)
    candidates : list of Candidate, best first
    importance : float
    std : float
        Standard deviation of the values of the edge.
    required : bool
        Whether it must be part of the formula.
    """

    source: tuple
    target: tuple
    candidates: list
    importance: float
    std: float
    required: bool


@dataclass(frozen=True, eq=False)
class Outcome:
    """The formula that was chosen, and how it was found."""

    formula: Formula
    cost: float
    choice: tuple
    n_refits: int


@dataclass(eq=False)
class Search:
    """A beam search over choices; `best` runs it.

    Attributes
    ----------
    widths : tuple of int
    edges : list of EdgeChoices
    intercepts : ndarray of shape (n_outputs,)
    refit : Refit
        Of some rows, by which choices are compared.
    last_refit : Refit
        Of all rows, for the few best.
    max_refits : int
        Largest number of choices that are refitted.
    """

    widths: tuple
    edges: list
    intercepts: np.ndarray
    refit: Refit
    last_refit: Refit
    max_refits: int
    _tried: dict = field(default_factory=dict)  # choice: (cost, formula)
    _least_cost: float = math.inf

    def best(self):
        """The cheapest formula found, an Outcome; None if all are undefined."""
        for choice in dict.fromkeys(self._starts()):
            self._try(choice)
        expanded = set()
        while len(self._tried) < self.max_refits:
            # Splines are as good as the network from the start, while functions are
            # better only once all are right: they get a beam of their own.
            leading = [*self._ranked(BEAM), *self._ranked(BEAM, without_splines=True)]
            leading = [choice for choice in leading if choice not in expanded]
            if not leading:
                break
            expanded.add(leading[0])
            self._expand(leading[0])
        return self._finished()

    def _starts(self):
        """Choices from crude to exact, and the best function of each edge."""
        for tolerance in TOLERANCES:
            yield tuple(_simplest(edge, tolerance) for edge in self.edges)
        yield (0,) * len(self.edges)
        # Hidden nodes often bend only before or behind them. What a network adds to one
        # side and takes back on the other is undone by making either side straight.
        hidden = sorted({edge.source for edge in self.edges if edge.source[0] > 0})
        if len(hidden) > MOST_SIDES:
            return
        for sides in itertools.product((True, False), repeat=len(hidden)):
            yield self._one_sided(dict(zip(hidden, sides, strict=True)))

    def _one_sided(self, bent_before):
        """A choice whose nodes have straight edges on one side."""
        choice = []
        for edge in self.edges:
            straight = bent_before.get(edge.source, False)
            straight |= not bent_before.get(edge.target, True)
            functions = [candidate.term.primitive for candidate in edge.candidates]
            if straight and LINEAR in functions:
                choice.append(functions.index(LINEAR))
            else:
                choice.append(_simplest(edge, ONE_SIDED))
        return tuple(choice)

    def _expand(self, choice):
        """Try all that differ in one edge, the most important edges first."""
        order = np.argsort([-edge.importance for edge in self.edges], kind="stable")
        for index in order:
            for other in range(len(self.edges[index].candidates)):
                if len(self._tried) >= self.max_refits:
                    return
                self._try((*choice[:index], other, *choice[index + 1 :]))

    def _try(self, choice):
        if choice in self._tried:
            return
        formula = self._formula(choice)
        if not self._has_required(formula):
            self._tried[choice] = math.inf, None
            return
        least = self.refit.loss.least_nats + self.refit.complexity(formula)
        if least > self._least_cost + SLACK:
            return  # it could not be better if it were exact
        formula = self.refit(formula, goal=self._least_cost)
        cost = math.inf if formula is None else self.refit.cost(formula)
        self._tried[choice] = cost, formula
        self._least_cost = min(cost, self._least_cost)

    def _formula(self, choice):
        terms, intercepts = [], self.intercepts.copy()
        strengths = {}
        for edge, index in zip(self.edges, choice, strict=True):
            term = edge.candidates[index].term
            strengths[edge.source, edge.target] = edge.std
            if term.primitive != ZERO:
                terms.append(replace(term, required=edge.required))
            elif edge.target[0] == len(self.widths) - 1:
                intercepts[edge.target[1]] += term.d
        return Formula.of_terms(self.widths, terms, intercepts, strengths)

    def _has_required(self, formula):
        present = {(term.source, term.target) for term in formula.terms}
        return all(
            (edge.source, edge.target) in present
            for edge in self.edges
            if edge.required
        )

    def _ranked(self, n_choices, *, without_splines=False):
        """The cheapest of the choices tried."""
        choices = [
            choice
            for choice in self._tried
            if not (without_splines and self._has_splines(choice))
        ]
        return sorted(choices, key=lambda choice: self._tried[choice][0])[:n_choices]

    def _promising(self):
        """The cheapest choices, and the simplest of those nearly as cheap."""
        ranked = self._ranked(len(self._tried))
        costs = {choice: self._tried[choice][0] for choice in ranked}
        near = [
            choice
            for choice in ranked
            if math.isfinite(costs[choice])
            and costs[choice] <= costs[ranked[0]] + NEARLY
        ]
        simple = sorted(
            near, key=lambda choice: self.refit.complexity(self._tried[choice][1])
        )
        return dict.fromkeys([*near[:N_FINISHED], *simple[:N_SIMPLE]])

    def _has_splines(self, choice):
        return any(
            n_coefficients(edge.candidates[index].term.primitive)
            for edge, index in zip(self.edges, choice, strict=True)
        )

    def _finished(self):
        """The best choices with round constants and tight refits, compared."""
        outcomes = []
        strengths = {(edge.source, edge.target): edge.std for edge in self.edges}
        for choice in self._promising():
            formula = self._tried[choice][1]
            for _ in range(2):  # constants may leave their normal form in a refit
                formula = Formula.of_terms(
                    self.widths, formula.terms, formula.intercepts, strengths
                )
                formula = self.last_refit(formula, max_nfev=POLISH) or formula
            formula = self.last_refit.rounded(formula)
            cost = self.last_refit.cost(formula)
            outcomes.append(Outcome(formula, cost, choice, len(self._tried)))
        if not outcomes:
            return None
        best = min(outcomes, key=lambda outcome: outcome.cost)
        polished = self.last_refit(best.formula, max_nfev=POLISH, tol=TIGHT)
        if polished is None:
            return best
        return replace(best, formula=polished, cost=self.last_refit.cost(polished))


def _simplest(edge, tolerance):
    """Index of the simplest candidate whose error is below a tolerance."""
    good = [
        index
        for index, candidate in enumerate(edge.candidates)
        if candidate.error * min(edge.importance, 1.0) <= tolerance
    ]
    if not good:
        return 0
    return min(good, key=lambda i: _size(edge.candidates[i].term.primitive))


def _size(primitive):
    n_constants = len(primitive.constants) + n_coefficients(primitive)
    return primitive.complexity + 4 * n_constants  # bits of a constant, roughly
