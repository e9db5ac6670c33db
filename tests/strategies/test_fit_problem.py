"""Grids of hidden nodes reach the corners of the inputs."""

import numpy as np
import pytest

from skkan import KANRegressor

LAWS = {
    "ratio": lambda X: X[:, 0] / (2 + X[:, 1]),
    "product": lambda X: X[:, 0] * X[:, 1],
}


@pytest.mark.parametrize("law", LAWS)
def test_corners_of_exact_laws(law):
    """Fresh rows in the corners are predicted as the others, with honest deviations.

    Where grids ended soon beyond the nodes, curves became constant there: errors of two
    nodes that cancel each other were up to half a deviation of y.
    """
    rng = np.random.default_rng(1150)
    X, fresh = rng.uniform(-1, 1, (150, 3)), rng.uniform(-1, 1, (2000, 3))
    y, truth = LAWS[law](X), LAWS[law](fresh)
    model = KANRegressor((2,), grid_size=10, random_state=1).fit(X, y)
    mean, std = model.predict(fresh, return_std=True)
    error = np.abs(mean - truth)
    assert np.sqrt(np.mean(error**2)) < 1e-3 * y.std()
    assert error.max() < 0.01 * y.std()
    assert (error / std).max() < 10
