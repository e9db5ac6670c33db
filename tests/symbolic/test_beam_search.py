"""The search for the functions of all edges."""

import itertools

import numpy as np
import pytest

from skkan.formulas._primitives import LINEAR
from skkan.symbolic import (
    LIBRARY,
    Candidate,
    Term,
)
from skkan.symbolic._beam_search import EdgeChoices, FormulaSearch

BY_NAME = {primitive.name: primitive for primitive in LIBRARY}


@pytest.mark.parametrize(("n_hidden", "n_sides"), [(1, 2), (3, 8), (4, 0)])
def test_sides_of_hidden_nodes_are_tried_where_they_are_few(n_hidden, n_sides):
    """Up to three, every combination of a straight side before or behind each.

    Elsewhere a search begins with straight edges only where they are good.
    """
    widths = (1, n_hidden, 1)
    nodes = [((0, 0), (1, node)) for node in range(n_hidden)]
    nodes += [((1, node), (2, 0)) for node in range(n_hidden)]
    edges = []
    for source, target in nodes:
        good, poor = Term(source, target, BY_NAME["exp"]), Term(source, target, LINEAR)
        candidates = [Candidate(good, 1.0, 0.0), Candidate(poor, 0.2, 1.0)]
        edges.append(EdgeChoices(source, target, candidates, 1.0, 1.0, False))
    search = FormulaSearch(widths, edges, np.zeros(1), None, None, max_refits=1)
    starts = {choice for choice in search._starts() if any(choice)}
    expected = {
        (*sides, *(1 - side for side in sides))
        for sides in itertools.product((0, 1), repeat=n_hidden)
    }
    assert starts == (expected if n_sides else set())
    assert len(starts) == n_sides
