"""The cost of a formula is its description length."""

import math

import numpy as np
import pytest
import sympy
from numpy.testing import assert_allclose

from skkan import KANRegressor
from skkan.inspection import edge_functions
from skkan.symbolic import (
    LIBRARY,
    Formula,
    Term,
    feature_symbols,
    fit_symbolic,
    to_sympy,
)
from skkan.symbolic._description_length import FormulaFit
from skkan.symbolic._formula_losses import FormulaSquaredError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


BY_NAME = {primitive.name: primitive for primitive in LIBRARY}


QUICK = {"solver": "lbfgs", "max_iter": 15, "random_state": 0}


FEW = [BY_NAME[name] for name in ("0", "x", "x^2", "exp", "log")]


def test_the_cost_of_a_formula_is_its_description_length():
    """In nats, counted by hand.

    Three functions out of seven, exp for 2, x for 1 and x^3 for 3 bits; of their
    constants a, b of exp, c of x and b, c of x^3, that of exp is held at b = -1.5
    (sign, half, and twice log2(1 + 3) bits) and c of x^3 at 2 (sign and 2 log2(1 + 2)
    bits); the intercept is held at 0 (one bit for its sign). So three are fitted.
    """
    terms = (
        Term((0, 0), (1, 0), BY_NAME["exp"], 0.7, -1.5, 1.0, held=frozenset("b")),
        Term((0, 1), (1, 0), BY_NAME["x"], 1.0, 0.0, 0.3),
        Term((0, 2), (1, 0), BY_NAME["x^3"], 1.0, 0.2, 2.0, held=frozenset("c")),
    )
    formula = Formula((3, 1), terms, np.zeros(1), held=frozenset({0}))
    X = np.random.default_rng(0).uniform(-1, 1, (20, 3))
    weight = np.full(20, 2.0)
    target = formula(X) + 0.4
    loss = FormulaSquaredError(target, weight, np.array([2.0]), 0.0)
    bits = (2 + 1 + 3) + (2 + 2 * 2) + (1 + 2 * math.log2(3)) + 1
    expected = bits * math.log(2) + 3 * math.log(7) + 3 * math.log(40) / 2
    refit = FormulaFit(X, loss, n_names=7)
    assert_allclose(refit.complexity(formula), expected, rtol=1e-12)
    # Errors of a fifth of the deviation of the target, in 40 observations.
    assert_allclose(refit.cost(formula), expected + 40 * math.log(0.2), rtol=1e-12)


def test_the_cost_of_a_spline_counts_its_coefficients(table):
    """Which are constants like others, but were fitted by the network."""
    X, y, _ = table
    network = KANRegressor((), grid_size=4, **QUICK).fit(X[:, :1], y)
    model = fit_symbolic(network, X[:, :1], y, fixed=all_splines(network))
    (term,) = model.formula_.terms
    loss = FormulaSquaredError(y[:, None], np.ones(len(y)), np.ones(1), 0.0)
    n_fitted = 4 + 3 + 1 + len(model.formula_.constants)  # splines and base function
    expected = n_fitted * math.log(80) / 2 + math.log(5)
    expected += math.log(2) * term.primitive.complexity
    found = FormulaFit(X[:, :1], loss, n_names=5).complexity(model.formula_)
    assert_allclose(found, expected, rtol=1e-12)


def test_the_cost_of_a_fit_is_that_of_its_documentation(sums):
    """exp(x0) - 2 x1 out of FEW and the spline, all of whose constants are held."""
    network, X, y = sums
    model = fit_symbolic(network, X, y, primitives=FEW)
    x0, x1, _ = feature_symbols(model)
    assert to_sympy(model) == sympy.exp(x0) - 2 * x1
    held = {"a": 1 + 2, "b": 1, "c": 1 + 2 * math.log2(3), "intercept": 1}
    bits = BY_NAME["exp"].complexity + BY_NAME["x"].complexity + sum(held.values())
    share = np.mean((model.predict(X) - y) ** 2) / np.var(y)
    expected = len(X) / 2 * math.log(share)
    expected += bits * math.log(2) + 2 * math.log(len(FEW) + 1)
    assert_allclose(model.cost_, expected, rtol=1e-9)


def all_splines(network):
    return {(e.source_name, e.target_name): "spline" for e in edge_functions(network)}
