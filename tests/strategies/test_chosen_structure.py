"""What the data choose is trained as the parameters would train it alone."""

import numpy as np
import pandas as pd
import pytest
from fit_strategies import strategy_of
from numpy.testing import assert_array_equal

from skkan import KANRegressor
from skkan.numerics._threads import single_thread
from skkan.selection._settings import SEARCH
from skkan.solvers import LBFGS, Adam
from skkan.strategies import _chosen_structure
from skkan.training._monitor_and_early_stopping import Monitor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ADDITIVE = {"hidden_layer_sizes": (), "grid_size": 20, "grid_eps": 0.2}
HIDDEN = {"hidden_layer_sizes": (5,)}
every_setting = pytest.mark.parametrize(
    "settings",
    [
        {"solver": "lm"},
        {"solver": "lbfgs"},
        {"solver": LBFGS(history_size=5), "alpha": 0.001},
        {"solver": Adam(batch_size=20)},
        {"alpha": 0.01},
        {"alpha": 0.01, "loss": "huber"},
    ],
    ids=str,
)


@pytest.fixture
def rows(rng):
    return rng.uniform(-1, 1, (160, 2))


@every_setting
def test_what_is_chosen_is_what_would_be_fitted_if_it_were_given(settings, rows, rng):
    """The additive model for a sum, hidden nodes for a product; to the bit."""
    X = rows
    noise = 0.5 * rng.normal(size=len(X))
    settings = {"max_iter": 25, "random_state": 0, **settings}
    for y, structure in [
        (X[:, 0] - X[:, 1] + noise, ADDITIVE),
        (3 * np.sin(3 * X[:, 0]) * X[:, 1] + noise, HIDDEN),
    ]:
        model = KANRegressor(**settings).fit(X, y)
        same = KANRegressor(**structure, **settings).fit(X, y)
        assert model.hidden_layer_sizes_ == structure["hidden_layer_sizes"]
        assert_array_equal(model.predict(X), same.predict(X))
        results = pd.DataFrame(model.search_results_)
        assert results["param_hidden_layer_sizes"].tolist() == [(), (5,)]
        assert results["weight"].tolist() == [
            structure is ADDITIVE,
            structure is HIDDEN,
        ]
        assert results["n_iter"].sum() == model.n_iter_ - same.n_iter_
        (learnt,) = {*results["param_alpha"].isna()}
        assert learnt == hasattr(model, "noise_std_")


@pytest.mark.parametrize("early_stopping", [False, True])
@single_thread
def test_early_stopping_searches_for_one_network(early_stopping, rows, monkeypatch):
    """It can be monitored, an ensemble cannot."""
    searched = []

    def search(space, make, n_members, *others):
        searched.append((space, n_members))
        raise KeyboardInterrupt

    monkeypatch.setattr(_chosen_structure, "search_structure", search)
    model = KANRegressor(early_stopping=early_stopping, spline_order=2)
    strategy = strategy_of(model, rows, rows.prod(1))
    with pytest.raises(KeyboardInterrupt):
        strategy.fit(Monitor(0.0, 1))
    ((space, n_members),) = searched
    assert n_members == (1 if early_stopping else SEARCH.n_members)
    assert strategy.plan.grid_eps == space.grid_eps


@single_thread
def test_a_comparison_tells_of_the_longest_training(rows):
    """Observers are told of all stages before it is known which one is taken."""
    model = KANRegressor(solver="lm")
    strategy = strategy_of(model, rows, rows.prod(1))
    of_additive = KANRegressor((), solver="lm", grid_size=20, grid_eps=0.2)
    of_hidden = KANRegressor((5,), solver="lm")
    n_stages = [
        strategy_of(each, rows, rows.prod(1)).n_stages
        for each in (of_additive, of_hidden)
    ]
    assert n_stages[0] < n_stages[1] == strategy.n_stages
