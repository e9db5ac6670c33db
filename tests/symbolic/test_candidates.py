"""Curves of single edges are recognised."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skkan import KANRegressor
from skkan.inspection import edge_functions
from skkan.symbolic import (
    LIBRARY,
    rank_candidates,
)


@pytest.mark.parametrize(
    ("name", "function", "constants"),
    [
        ("exp", lambda x: 2 * np.exp(0.8 * x), (0.8, math.log(2), 1)),
        ("log", lambda x: 3 * np.log(x + 4), (1, 4, 3)),
        ("sin", lambda x: 2 * np.sin(3 * x + 0.5), (3, 0.5, 2)),
        ("x^3", lambda x: 0.5 * (x - 1) ** 3, (1, -1, 0.5)),
        ("1/x^2", lambda x: 1 / (x + 3) ** 2, (1, 3, 1)),
        ("sigmoid", lambda x: np.tanh(x - 1), (2, -2, 2)),
    ],
)
def test_the_curve_of_one_edge_is_recognised(name, function, constants):
    """The law comes first; its constants are off by the error of a spline."""
    X = np.linspace(-2, 2, 500).reshape(-1, 1)
    model = KANRegressor((), grid_size=15, random_state=0).fit(X, function(X[:, 0]))
    ranked = rank_candidates(edge_functions(model)[0], LIBRARY, len(X))
    (found,) = (c for c in ranked if c.term.primitive.name == name)
    assert found.score < ranked[0].score + 0.5  # sin is cos, tanh is sigmoid
    assert 1 - found.r2 < 1e-5
    constants_found = [found.term.a, found.term.b, found.term.c]
    if name == "sigmoid" and found.term.a < 0:  # sigmoid(-z) = 1 - sigmoid(z)
        constants = -np.array(constants)
    assert_allclose(constants_found, constants, atol=0.03)
