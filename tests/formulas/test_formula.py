"""Formulas: derivatives and normal forms."""

import numpy as np
from numpy.testing import assert_allclose

from skkan.symbolic import (
    LIBRARY,
    Formula,
    Term,
)

BY_NAME = {primitive.name: primitive for primitive in LIBRARY}


def random_formula(rng):
    """A formula of four levels; one edge skips two of them."""
    edges = {
        "sin": ((0, 0), (1, 0)),
        "tanh": ((0, 1), (1, 0)),
        "x^2": ((0, 0), (1, 1)),
        "gaussian": ((1, 0), (2, 0)),
        "exp": ((1, 1), (2, 0)),
        "sigmoid": ((2, 0), (3, 0)),
        "log": ((0, 1), (3, 1)),
    }
    terms = [
        Term(*nodes, BY_NAME[name], *rng.uniform(0.2, 0.6, 3))
        for name, nodes in sorted(edges.items(), key=lambda item: item[1])
    ]
    return Formula((2, 2, 1, 2), tuple(terms), rng.normal(size=2))


def numerical_jacobian(function, point):
    columns = []
    for index in range(len(point)):
        step = np.zeros(len(point))
        step[index] = 1e-6
        columns.append((function(point + step) - function(point - step)) / 2e-6)
    return np.stack(columns, axis=-1)


def test_jacobian_equals_differences(rng):
    """Through all levels, the edge that skips them, and both outputs."""
    formula, X = random_formula(rng), rng.uniform(0.1, 1, (20, 2))
    expected = numerical_jacobian(
        lambda values: formula.with_constants(values)(X), formula.constants
    )
    jacobian = formula.jacobian(formula.nodes(X))
    assert_allclose(jacobian, expected, atol=1e-8)
    assert (np.abs(expected).max(axis=(0, 1)) > 0).all()


def test_normal_form_of_a_formula_is_the_same_function(rng):
    """Constants move from hidden nodes to the functions behind them."""
    formula, X = random_formula(rng), rng.uniform(0.1, 1, (20, 2))
    terms = [
        Term(t.source, t.target, t.primitive, t.a, t.b, t.c, d=rng.normal() / 9)
        for t in formula.terms
    ]
    edge_stds = {(t.source, t.target): rng.uniform() for t in terms}
    normal = Formula.of_terms(formula.widths, terms, formula.intercepts, edge_stds)
    nodes = [
        X,
        np.zeros((20, 2)),
        np.zeros((20, 1)),
        formula.intercepts + [[0, 0]] * 20,
    ]
    for t in terms:
        x = nodes[t.source[0]][:, t.source[1]]
        value = t.c * t.primitive.function(t.a * x + t.b) + t.d
        nodes[t.target[0]][:, t.target[1]] += value
    assert_allclose(normal(X), nodes[-1], rtol=1e-9)
    assert all(t.d == 0 for t in normal.terms)
    assert len(normal.constants) < len(Formula(*vars(formula).values()).constants)


def test_terms_that_lead_nowhere_are_left_out():
    """Behind a node without input there is a constant, which is the intercept's."""
    linear = BY_NAME["x"]
    terms = [
        Term((0, 0), (1, 0), linear),
        Term((1, 0), (2, 0), linear, c=2.0),
        Term((1, 1), (2, 0), linear),
        Term((0, 0), (1, 2), linear),
    ]
    edge_stds = {(term.source, term.target): 1.0 for term in terms}
    formula = Formula.of_terms((1, 3, 1), terms, [0.5], edge_stds)
    assert [term.target for term in formula.terms] == [(1, 0), (2, 0)]
    assert_allclose(formula(np.array([[3.0]])), [[6.5]])
