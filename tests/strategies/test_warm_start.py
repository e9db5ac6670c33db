"""Fits that continue others."""

import numpy as np
import pytest
from fit_strategies import strategy_of
from numpy.testing import assert_allclose, assert_array_equal

from skkan import KANRegressor
from skkan.inference._laplace_posterior import prior_of_penalty
from skkan.numerics._threads import single_thread
from skkan.selection._solver_choice import FIRST_ORDER_ALPHA

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SHORT = {"max_iter": 15, "tol": 0.0, "n_iter_no_change": 1000, "random_state": 0}


@pytest.fixture
def rows(rng):
    X = rng.uniform(-1, 1, (120, 2))
    return X, np.sin(3 * X[:, 0]) + X[:, 1] + 0.1 * rng.normal(size=120)


@pytest.fixture
def table(rng):
    X = rng.normal(size=(80, 3))
    return X, (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(int)


@pytest.fixture
def fitted(rows):
    """A second-order fit, which has learnt its penalty and noise."""
    return KANRegressor((), random_state=0).fit(*rows)


def begun(model, X, y):
    """The strategy of a fit that continues that of a model."""
    return strategy_of(model, X, y, previous=model.fitted_model_)


@single_thread
def test_it_begins_with_what_was_learnt(fitted, rows):
    """The weights, and the prior of the same alpha and noise; to rounding."""
    strategy = begun(fitted, *rows)
    posterior, n_rows = fitted.fitted_model_.posterior, len(rows[0])
    (network,) = strategy.networks
    assert_array_equal(network.theta, fitted.network_.theta)
    assert_allclose(strategy._prior.alpha(n_rows), posterior.alpha, rtol=1e-12)
    assert strategy._prior.noise == posterior.shared_noise


@single_thread
def test_what_was_learnt_in_a_narrow_range_is_not_believed_in_a_wider(fitted, rows):
    """The prior is the default one on the wider grids, on which the curves stay."""
    X, y = rows
    strategy = begun(fitted, 3 * X, y)
    problem, (network,) = strategy.problem, strategy.networks
    expected = prior_of_penalty(network, problem.data, strategy.plan, FIRST_ORDER_ALPHA)
    assert_array_equal(strategy._prior.precision, expected.precision)
    before = fitted.network_
    assert network.grid_size > before.grid_size
    inside = problem.data.X / 3
    assert_allclose(
        network(inside).detach(), before(inside).detach(), rtol=0, atol=1e-12
    )


def test_warm_start_on_a_finer_grid_continues_the_schedule(rng):
    """Extension between two fits is the extension inside of one."""
    X = rng.uniform(-1, 1, size=(200, 2))
    y = np.exp(np.sin(np.pi * X[:, 0]) + X[:, 1] ** 2)
    settings = {**SHORT, "solver": "lbfgs", "alpha": 0.0, "n_grid_updates": 0}
    schedule = KANRegressor((1,), grid_schedule=(10,), **settings).fit(X, y)
    warm = KANRegressor((1,), warm_start=True, **settings).fit(X, y)
    warm.set_params(grid_size=10).fit(X, y)
    assert warm.loss_curve_ == schedule.loss_curve_[15:]


def test_warm_start_of_an_additive_model_needs_no_skip(table):
    """The data may have chosen one although a skip was set."""
    X = table[0][:40]
    model = KANRegressor(warm_start=True, additive_skip=True, random_state=0)
    model.fit(X, X[:, 0])
    assert model.hidden_layer_sizes_ == ()
    assert_allclose(model.fit(X, X[:, 0]).predict(X), X[:, 0], atol=0.01)


def test_warm_start_goes_on_where_the_fit_stopped(table):
    X, y = table
    model = KANRegressor(warm_start=True, n_grid_updates=0, **SHORT).fit(X, y)
    first = model.loss_
    model.fit(X, y)
    assert max(model.loss_curve_) <= first


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("hidden_layer_sizes", [(), "auto"])
def test_warm_start_learns_a_column_that_begins_to_vary(hidden_layer_sizes, seed):
    """Although it had been of no use."""
    X = np.random.default_rng(seed).normal(size=(400, 2))
    y, still = X[:, 0] + X[:, 1], X * [0, 1]
    model = KANRegressor(hidden_layer_sizes, warm_start=True, random_state=0)
    assert model.fit(still, y).fit(X, y).score(X, y) > 0.9


def test_constant_target_does_not_spoil_what_follows(rng):
    """The unit of a constant is its size, in which other targets are of order one."""
    X = rng.normal(size=(80, 3))
    y = X[:, 0] + X[:, 1] ** 2 + 5
    warm = KANRegressor((), warm_start=True, random_state=0, max_iter=200, alpha=1e-4)
    assert warm.fit(X, np.full(80, 5.0)).fit(X, y).score(X, y) > 0.99
