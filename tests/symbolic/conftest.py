"""Fitted networks and rows for the tests of symbolic estimators."""

import numpy as np
import pytest

from skkan import KANRegressor


@pytest.fixture(scope="module")
def table():
    """Rows inside and outside of the range in which a model is fitted."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2)) * [3, 0.1] + [5, -1]
    y = np.sin(X[:, 0]) + 40 * (X[:, 1] + 1) ** 2 + 7
    wide = rng.normal(size=(200, 2)) * [15, 0.6] + [5, -1]
    return X, y, wide


@pytest.fixture(scope="module")
def product():
    """A network that has learnt x0 x1, and its rows."""
    X = np.random.default_rng(1).uniform(0.2, 2, (300, 2))
    y = X[:, 0] * X[:, 1]
    return KANRegressor((1,), random_state=0).fit(X, y), X, y


@pytest.fixture(scope="module")
def sums():
    """An additive network of three inputs, the last irrelevant, and its noisy rows."""
    rng = np.random.default_rng(2)
    X = rng.uniform(-1, 1, (400, 3))
    y = np.exp(X[:, 0]) - 2 * X[:, 1] + 0.01 * rng.normal(size=400)
    return KANRegressor((), random_state=0).fit(X, y), X, y
