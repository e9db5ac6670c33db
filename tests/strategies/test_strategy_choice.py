"""Which strategy a fit takes: what the data may choose, what parameters rule out."""

import numpy as np
import pytest
from fit_strategies import strategy_of
from numpy.testing import assert_array_equal

from skkan import KANClassifier, KANRegressor, SparsityPenalty
from skkan.numerics._threads import single_thread
from skkan.strategies._chosen_structure import StructureComparison, StructureSearch
from skkan.strategies._fixed_structure import FixedStructure
from skkan.strategies._warm_start import WarmStart


@pytest.fixture
def rows(rng):
    X = rng.uniform(-1, 1, (160, 4))
    return X, X[:, 0] * X[:, 1]


def widths(strategy):
    return strategy.networks[0].widths


@single_thread
def test_open_parameters_leave_the_structure_to_a_search(rows):
    X, y = rows
    assert isinstance(strategy_of(KANRegressor(), X, y), StructureSearch)
    assert isinstance(strategy_of(KANClassifier(), X, y > 0), StructureSearch)
    given = {"grid_size": 7, "additive_skip": True, "early_stopping": True}
    assert isinstance(strategy_of(KANRegressor(**given), X, y), StructureSearch)


@pytest.mark.parametrize("settings", [{"solver": "lm"}, {"alpha": 0.1}], ids=str)
@single_thread
def test_a_given_solver_or_alpha_leaves_two_structures_to_compare(settings, rows):
    X, y = rows
    strategy = strategy_of(KANRegressor(**settings), X, y)
    assert isinstance(strategy, StructureComparison)
    assert widths(strategy) == [4, 5, 1]
    few = strategy_of(KANRegressor(**settings), X[:40], y[:40])
    assert isinstance(few, FixedStructure)
    assert widths(few) == [4, 1]


@pytest.mark.parametrize(
    "settings",
    [
        {"penalty": SparsityPenalty(), "solver": "lbfgs"},
        {"prune_threshold": 0.1},
        {"grid_schedule": (10,)},
        {"alpha": np.full((25, 3), 0.1)},
    ],
    ids=["penalty", "pruning", "schedule", "alpha of each edge"],
)
@single_thread
def test_parameters_that_belong_to_one_structure_fix_it(settings, rows):
    strategy = strategy_of(KANRegressor(**settings), *rows)
    assert isinstance(strategy, FixedStructure)
    assert widths(strategy) == [4, 5, 1]


@pytest.mark.parametrize(
    "settings", [{}, {"alpha": 0.1}, {"hidden_layer_sizes": (3,)}], ids=str
)
@single_thread
def test_without_interactions_no_structure_has_hidden_nodes(settings, rows):
    """The start is that of an additive model, to the bit."""
    settings = {"grid_size": 5, "grid_eps": 0.2, "random_state": 0, **settings}
    model = KANRegressor(interaction_cst="no_interactions", **settings)
    same = KANRegressor(**(settings | {"hidden_layer_sizes": ()}))
    networks = [strategy_of(each, *rows).networks[0] for each in (model, same)]
    for network in networks:
        assert network.widths == [4, 1]
    assert_array_equal(networks[0].theta, networks[1].theta)
    grids = [network.layers[0].basis.grid for network in networks]
    assert_array_equal(*grids)


@single_thread
def test_each_group_of_features_has_a_node(rows):
    """Also where fewer hidden nodes would be tried; given sizes are kept."""
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    model = KANRegressor(interaction_cst=pairs, alpha=0.1)
    strategy = strategy_of(model, *rows)
    assert widths(strategy) == [4, 6, 1]
    used = strategy.networks[0].layers[0].mask.bool()
    found = {tuple(node.nonzero().flatten().tolist()) for node in used}
    assert found == set(pairs)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("settings", [{}, {"prune_threshold": 0.1}, {"alpha": 0.1}])
def test_a_previous_fit_is_continued_whatever_is_open(settings, rows):
    X, y = rows[0][:40], rows[1][:40]  # too few for a search of hidden nodes
    model = KANRegressor(max_iter=5, random_state=0, **settings).fit(X, y)
    previous = model.fitted_model_
    strategy = strategy_of(model, X, y, previous=previous)
    assert isinstance(strategy, WarmStart)
    assert_array_equal(strategy.networks[0].theta, model.network_.theta)
