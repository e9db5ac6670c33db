"""What the fit of a given structure begins with."""

import pytest
from fit_strategies import strategy_of
from numpy.testing import assert_allclose, assert_array_equal

from skkan import KANRegressor
from skkan.numerics._threads import single_thread
from skkan.selection._settings import FINER_GRIDS
from skkan.strategies import _fixed_structure
from skkan.training._monitor_and_early_stopping import Monitor
from skkan.training._settings import SECOND_ORDER


@pytest.fixture
def rows(rng):
    X = rng.uniform(-1, 1, (100, 2))
    return X, X[:, 0] - X[:, 1] ** 2


@pytest.mark.parametrize(
    ("settings", "n_networks"),
    [
        ({}, len(SECOND_ORDER.starting_penalties)),
        ({"alpha": 0.1}, 1),
        ({"solver": "lbfgs"}, 1),
    ],
    ids=str,
)
@single_thread
def test_an_additive_model_has_a_start_for_each_penalty_to_begin_with(
    settings, n_networks, rows
):
    """Where the penalty is known its problem is convex: one will do."""
    networks = strategy_of(KANRegressor((), **settings), *rows).networks
    assert len(networks) == n_networks
    thetas = {tuple(network.theta.tolist()) for network in networks}
    assert len(thetas) == n_networks


@pytest.mark.parametrize(
    ("settings", "n_stages"),
    [
        ({"grid_size": 5}, 1),
        ({"grid_schedule": (10, 40)}, 3),
        ({}, 3),
        ({"alpha": 0.1}, 1),
        ({"early_stopping": True}, 1),
    ],
    ids=str,
)
@single_thread
def test_observers_are_told_of_all_grids_that_may_come(settings, n_stages, rows):
    """A grid whose size is open may double until it has 20 intervals."""
    assert FINER_GRIDS.max_grid_size == 20
    strategy = strategy_of(KANRegressor((2,), **settings), *rows)
    if "grid_schedule" in settings:
        assert not strategy._chooses_grid_size
    assert strategy.n_stages == n_stages


@single_thread
def test_curves_of_coarser_grids_are_handed_on_as_they_are(rows, monkeypatch):
    """With their penalty, for first-order training on grids that do not move."""
    X, y = rows
    model = KANRegressor((8,), grid_size=100, random_state=0)
    strategy = strategy_of(model, X, y)
    few_steps, learnt = _fixed_structure.trained_from_starts, []

    def trained(starts, data, plan, max_iter):
        learnt.append(few_steps(starts, data, plan, 2))
        return learnt[-1]

    monkeypatch.setattr(_fixed_structure, "coarser_for_lm", lambda *_: 5)
    monkeypatch.setattr(_fixed_structure, "trained_from_starts", trained)
    (fine,), plan = strategy._learnt_on_coarser_grids(Monitor(0.0, 1))
    coarse, prior = learnt[0].network, learnt[0].prior
    assert (coarse.grid_size, fine.grid_size) == (5, 100)
    inside = strategy.problem.data.X
    assert_allclose(fine(inside).detach(), coarse(inside).detach(), rtol=0, atol=1e-12)
    data = strategy.problem.data
    assert_array_equal(plan.penalties[0].alpha, prior.alpha(data.n_observations))
    assert plan.n_grid_updates == 0
    assert plan.grid_sizes == (100,)
