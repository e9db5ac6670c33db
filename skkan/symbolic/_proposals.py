"""Candidates of all edges before a search, and the functions of all edges after it."""

from dataclasses import dataclass

import numpy as np

from skkan.formulas._formula import Term
from skkan.formulas._primitives import ONE, ZERO, Primitive
from skkan.formulas._spline_curves import SplineCurve, spline_primitive
from skkan.symbolic._argument_checks import SPLINE
from skkan.symbolic._beam_search import EdgeChoices
from skkan.symbolic._candidates import (
    SPLINE_ERROR,
    Candidate,
    composed_candidates,
    rank_candidates,
)

N_COMPOSED = 3  # functions of functions that are tried for a curve
SIMPLE = 2.0  # bits; functions up to this complexity are always candidates

# Of an edge, below which the search begins without it: a thousandth of a deviation of
# the output.
MIN_IMPORTANCE = 1e-6


@dataclass(frozen=True, eq=False)
class SymbolicEdge:
    """Function of one edge of a symbolic model, and the candidates for it.

    Attributes
    ----------
    source_name, target_name : str
        Nodes that the edge connects.
    primitive : Primitive
        The function f of c f(a x + b); "0" if the edge is left out.
    a, b, c : float
        Constants of the function. The units of a hidden node are such that the
        strongest edge into it has |c| = 1.
    candidates : tuple of Candidate
        Candidates for the curve of the network, best first.
    """

    __module__ = "skkan.symbolic"

    source_name: str
    target_name: str
    primitive: Primitive
    a: float
    b: float
    c: float
    candidates: tuple

    @property
    def is_spline(self):
        """Whether the edge kept the spline of the network."""
        return isinstance(self.primitive.function, SplineCurve)


@dataclass(frozen=True, eq=False)
class Proposer:
    """Lists the candidates of every edge.

    Attributes
    ----------
    primitives : tuple of Primitive
    fixed : dict
        Maps edge numbers to their required function, a Primitive or "spline".
    n_candidates : int
        Number of candidates for a free edge; simple functions come on top.
    n_rows : float
        Sum of the sample weights.
    """

    primitives: tuple
    fixed: dict
    n_candidates: int
    n_rows: float

    def choices(self, curves):
        """List of EdgeChoices, one for each curve."""
        left_out = self._left_out(curves)
        return [
            EdgeChoices(
                curve.source,
                curve.target,
                self._candidates(number, curve, dead=number in left_out),
                curve.importance,
                curve.std,
                required=self._is_required(number),
            )
            for number, curve in enumerate(curves)
        ]

    def _is_required(self, number):
        return self.fixed.get(number, ZERO) != ZERO

    def _left_out(self, curves):
        """Numbers of the free edges that do not matter for the outputs.

        A required edge does not matter if all edges before it or all edges behind it
        are left out. Such edges are kept, and the search chooses among them.
        """
        left_out = {
            number
            for number, curve in enumerate(curves)
            if number not in self.fixed
            and (curve.removed or curve.importance < MIN_IMPORTANCE)
        }
        todo = [number for number in self.fixed if self._is_required(number)]
        while todo:
            edge = curves[todo.pop()]
            before = [k for k, c in enumerate(curves) if c.target == edge.source]
            behind = [k for k, c in enumerate(curves) if c.source == edge.target]
            for neighbours in (before, behind):
                if neighbours and left_out.issuperset(neighbours):
                    left_out.difference_update(neighbours)
                    todo += neighbours
        return left_out

    def _candidates(self, number, curve, *, dead):
        edge = curve.source, curve.target
        fixed = self.fixed.get(number)
        if dead or fixed == ZERO:
            return [Candidate(Term(*edge, ZERO, d=curve.mean), 0.0, np.inf)]
        spline = spline_primitive(
            SplineCurve.of_edge(curve, f"phi_{number}"), of_input=curve.source[0] == 0
        )
        spline = Candidate(Term(*edge, spline), 1.0, np.inf)
        if fixed == SPLINE:
            return [spline]
        if fixed is not None:
            return [self._fixed_candidate(curve, fixed)]
        return [*self.ranked(curve), spline]

    def ranked(self, curve):
        """Best candidates for a curve, and the simple ones."""
        ranked = rank_candidates(curve, self.primitives, self.n_rows)
        simple = [c for c in ranked if c.term.primitive.complexity <= SIMPLE]
        return list(dict.fromkeys([*ranked[: self.n_candidates], *simple]))

    def with_composed(self, curve, candidates, node):
        """Candidates, and functions of functions that describe the curve better."""
        best = candidates[0]
        if best.error <= SPLINE_ERROR:
            return candidates
        composed = composed_candidates(curve, self.primitives, self.n_rows, node)
        better = [c for c in composed if c.score < best.score]
        return [*better[:N_COMPOSED], *candidates]

    def _fixed_candidate(self, curve, primitive):
        for candidate in rank_candidates(curve, [primitive], self.n_rows):
            if candidate.term.primitive == primitive:
                return candidate
        if curve.std == 0:  # all constants are equally good for a flat curve
            return Candidate(Term(curve.source, curve.target, primitive), 0.0, np.inf)
        raise ValueError(
            f"fixed asks for {primitive.name!r} on the edge from {curve.source_name} to"
            f" {curve.target_name}, but no constants a, b were found at which it is "
            "defined: choose another function, or a wider domain."
        )


def symbolic_edges(edges, formula, inputs, outputs):
    """Function of each edge in a formula.

    Parameters
    ----------
    edges : list of EdgeChoices
    formula : Formula
    inputs, outputs : list of str
        Names of the nodes of the first and of the last level.

    Returns
    -------
    tuple of SymbolicEdge
    """
    last = len(formula.widths) - 1
    terms = {
        (term.source, term.target): term
        for term in formula.terms
        if term.primitive != ONE
    }
    candidates = {(edge.source, edge.target): tuple(edge.candidates) for edge in edges}
    ends = candidates | dict.fromkeys(set(terms) - set(candidates), ())

    def name(node):
        level, position = node
        if level in (0, last):
            return (outputs if level else inputs)[position]
        return f"h{level}_{position}"

    symbolic = []
    for (source, target), ranked in ends.items():
        term = terms.get((source, target), Term(source, target, ZERO, c=0.0))
        symbolic.append(
            SymbolicEdge(
                name(source),
                name(target),
                term.primitive,
                *(term.a, term.b, term.c),
                ranked,
            )
        )
    return tuple(symbolic)
