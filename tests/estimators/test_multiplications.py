"""Estimators whose hidden nodes multiply two sums."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skkan import KANRegressor
from skkan.inspection import gradient, prune


def law(X):
    return X[:, 0] * np.exp(-X[:, 1])


@pytest.fixture
def rows(rng):
    X = rng.uniform([0.2, 0.0], [1.0, 2.0], (150, 2))
    return X, law(X)


def test_one_product_is_an_exact_law(rows, rng):
    """x0 exp(-x1) is a product of two curves, which learnt penalties find."""
    X, y = rows
    model = KANRegressor((0,), n_multiplications=1, grid_size=5, random_state=0)
    model.fit(X, y)
    assert model.hidden_layer_sizes_ == (0,)
    assert model.n_multiplications_ == (1,)
    fresh = rng.uniform([0.25, 0.05], [0.95, 1.95], (200, 2))
    assert_allclose(model.predict(fresh), law(fresh), rtol=0, atol=1e-4)
    slope = gradient(model, fresh)
    expected = np.exp(-fresh[:, 1:]) * np.stack([np.ones(200), -fresh[:, 0]], axis=1)
    assert_allclose(slope, expected, rtol=0, atol=0.01)


def test_evidence_turns_a_product_into_a_sum(rng):
    """The mean replaces a factor that is not needed."""
    X = rng.uniform(-1, 1, (60, 2))
    y = np.sin(X[:, 0] + X[:, 1] ** 2) + 0.05 * rng.normal(size=60)
    options = {"grid_size": 3, "max_iter": 200, "random_state": 0}
    model = KANRegressor((0,), n_multiplications=1, **options).fit(X, y)
    model = prune(model, X, y, threshold="auto")
    assert (model.hidden_layer_sizes_, model.n_multiplications_) == ((1,), (0,))
    assert model.network_.n_edges == 3


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_factors_take_the_features_of_one_group(rng):
    """A product of groups would let their features act together."""
    X = rng.uniform(-1, 1, (60, 4))
    model = KANRegressor(
        (0, 1),
        n_multiplications=(2, 1),
        interaction_cst=[(0, 1), (2, 3)],
        max_iter=2,
        solver="lbfgs",
    ).fit(X, X[:, 0])
    first, second, _ = (layer.mask.tolist() for layer in model.network_.layers)
    assert first == [[1, 1, 0, 0]] * 2 + [[0, 0, 1, 1]] * 2
    assert second == [[1, 0], [0, 1], [0, 1]]
