"""Hidden nodes must not cancel each other."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, make_friedman1

from skkan import KANClassifier, KANRegressor
from skkan.inspection import edge_functions


def largest_deviation(model):
    """Largest deviation of a curve from a hidden node to an output."""
    edges = edge_functions(model)
    last = max(edge.target[0] for edge in edges)
    return max(edge.std for edge in edges if edge.source[0] == last - 1)


@pytest.mark.parametrize("hidden_layer_sizes", [(2,), (5,)])
def test_output_curves_are_of_the_size_of_the_target(hidden_layer_sizes):
    """Without a bound they have deviations of up to 130 times that of the target."""
    X, y = make_friedman1(300, noise=1.0, random_state=0)
    model = KANRegressor(hidden_layer_sizes, random_state=0).fit(X, y)
    assert largest_deviation(model) < 5 * y.std()
    rng = np.random.default_rng(0)
    width, inside = np.ptp(y), []
    for column in range(X.shape[1]):
        permuted = X.copy()
        permuted[:, column] = rng.permutation(permuted[:, column])
        predicted = model.predict(permuted)
        inside.append((predicted > y.min() - width) & (predicted < y.max() + width))
    assert np.mean(inside) >= 0.999


def test_log_odds_of_separable_classes_do_not_cancel():
    """Without a bound the deviations of its curves are twice as large."""
    X, y = load_breast_cancer(return_X_y=True)
    X, y = X[:200, :10], y[:200]
    model = KANClassifier((2,), random_state=0).fit(X, y)
    assert largest_deviation(model) < 30


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
@pytest.mark.parametrize("width", [100.0, 1000.0])
def test_curves_of_features_stay_near_the_target_in_a_gap(loss, width):
    """Without a bound the steep ends of both parts lead to 20 to 50 ranges beyond."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=40) + width * (np.arange(40) % 2)
    rank = (x.argsort().argsort() + 0.5) / 20 - 1
    y = np.exp(rank) + 0.5 * rank**2
    model = KANRegressor((), loss=loss, random_state=0).fit(x.reshape(-1, 1), y)
    within = model.predict(np.linspace(x.min(), x.max(), 500).reshape(-1, 1))
    beyond = max(y.min() - within.min(), within.max() - y.max())
    assert beyond < 4 * np.ptp(y)
