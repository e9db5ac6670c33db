"""Structures chosen by the data under a solver or an alpha that the user has set."""

import pytest
from numpy.testing import assert_array_equal

from skkan import KANClassifier, KANRegressor
from skkan.selection import _structure_comparison
from skkan.solvers import DivergenceError
from skkan.training._state import FitState

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def rows(rng):
    return rng.uniform(-1, 1, (160, 2))


@pytest.mark.parametrize("grid_size", ["auto", 4])
def test_classes_are_compared_like_numbers(grid_size, rows):
    X = rows
    y = X[:, 0] * X[:, 1] > 0
    model = KANClassifier(alpha=0.001, grid_size=grid_size, random_state=0).fit(X, y)
    assert model.hidden_layer_sizes_ == (5,)
    results = model.search_results_
    assert results["reason"][1].endswith("> 1")
    sizes = [20, 5] if grid_size == "auto" else [4, 4]
    assert results["param_grid_size"].tolist() == sizes


def test_few_rows_are_fitted_by_the_additive_model(rows):
    """As they are without a solver or an alpha."""
    X = rows[:40]
    model = KANRegressor(alpha=0.01).fit(X, X[:, 0] * X[:, 1])
    assert model.hidden_layer_sizes_ == ()


@pytest.mark.parametrize(("lost", "found"), [([1], (5,)), ([2], ()), ([1, 2], ())])
def test_what_diverges_is_not_chosen(lost, found, rows, monkeypatch):
    """Neither an additive model, of one layer, nor hidden nodes, of two."""
    X = rows
    train = _structure_comparison.train_adapting

    def train_or_diverge(networks, *settings):
        if len(networks[0].layers) in lost:
            raise DivergenceError("on purpose")
        return train(networks, *settings)

    monkeypatch.setattr(_structure_comparison, "train_adapting", train_or_diverge)
    model = KANRegressor(alpha=0.01, max_iter=5).fit(X, X[:, 0] * X[:, 1])
    assert model.hidden_layer_sizes_ == found
    reasons = model.search_results_["reason"]
    assert sorted(reasons) == [
        "chosen: 100% of the prediction; no other could be trained",
        "diverged",
    ]


def test_an_interrupt_keeps_the_earlier_fit(rows, monkeypatch):
    X = rows
    y = X[:, 0] * X[:, 1]
    model = KANRegressor((), alpha=0.01).fit(X, y)
    before = model.predict(X)

    monkeypatch.setattr(
        _structure_comparison,
        "train_adapting",
        lambda networks, *settings: FitState(networks[0], interrupted=True),
    )
    with pytest.raises(KeyboardInterrupt):
        model.set_params(hidden_layer_sizes="auto").fit(X, y)
    assert_array_equal(model.predict(X), before)
