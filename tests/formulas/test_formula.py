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


def product_formula():
    """c + 2 exp(0.3 (0.7 x1 + 0.4 (x0 + 0.3)^2 (exp(x0 / 2) + sin(2 x1) + 0.3)))."""
    edges = [
        Term((0, 0), (1, 0), BY_NAME["x^2"], b=0.3, c=2.0),
        Term((0, 0), (1, 1), BY_NAME["exp"], a=0.5, b=0.2),
        Term((0, 1), (1, 1), BY_NAME["sin"], a=2.0, d=0.3),
        Term((0, 1), (2, 0), BY_NAME["x"], c=0.7),
        Term((1, 2), (2, 0), BY_NAME["x"], c=0.2),
        Term((2, 0), (3, 0), BY_NAME["exp"], a=0.3),
    ]
    stds = {(term.source, term.target): 1.0 for term in edges}
    products = (((1, 2), ((1, 0), (1, 1))),)
    return Formula.of_terms((2, 3, 1, 1), edges, np.array([0.1]), stds, products)


def test_products_in_normal_form_keep_their_values(rng):
    """Factors have a constant, and units of their own."""
    X = rng.uniform(0.5, 1.5, (20, 2))
    factor = np.exp(0.5 * X[:, 0] + 0.2) + np.sin(2 * X[:, 1]) + 0.3
    inner = 0.7 * X[:, 1] + 0.4 * (X[:, 0] + 0.3) ** 2 * factor
    assert_allclose(product_formula()(X)[:, 0], 0.1 + np.exp(0.3 * inner), rtol=1e-14)


def test_jacobian_of_products(rng):
    formula, X = product_formula(), rng.uniform(0.5, 1.5, (20, 2))
    start, step = formula.constants, 1e-6
    shifts = step * np.eye(len(start))
    numeric = [
        (formula.with_constants(start + s)(X) - formula.with_constants(start - s)(X))
        / (2 * step)
        for s in shifts
    ]
    found = formula.jacobian(formula.nodes(X))
    assert_allclose(np.moveaxis(found, -1, 0), numeric, atol=1e-8)


def test_a_product_without_a_factor_is_left_out():
    """The other factor goes with it."""
    formula = product_formula()
    kept = [term for term in formula.terms if term.target != (1, 0)]
    stds = {(term.source, term.target): 1.0 for term in kept}
    rest = (formula.intercepts, stds, formula.products)
    lacking = Formula.of_terms(formula.widths, kept, *rest)
    assert lacking.products == ()
    assert [term.primitive.name for term in lacking.terms] == ["x", "exp"]
