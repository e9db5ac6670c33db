"""Starting points with curves at random."""

import numpy as np
import pytest
import torch
from fit_strategies import strategy_of
from numpy.testing import assert_allclose, assert_array_equal

from skkan import KANRegressor
from skkan.numerics._threads import single_thread
from skkan.solvers import DivergenceError
from skkan.strategies._random_starts import random_starts
from skkan.training import _continuation


@pytest.fixture
def strategy(rng):
    X = rng.uniform(-1, 1, (200, 3))
    X[rng.random(200) < 0.1, 0] = np.nan
    X[:, 2] = rng.integers(0, 4, 200)
    y = np.column_stack([X[:, 1] ** 2 + X[:, 2], np.ones(200)])
    model = KANRegressor((3,), categorical_features=[2], random_state=0)
    return strategy_of(model, X, y)


@single_thread
def test_random_starts_fill_their_grids(strategy):
    """Nodes of deviation one within grids with a margin; each start is another one."""
    problem, plan = strategy.problem, strategy.plan
    network, generator = strategy.networks[0], torch.Generator().manual_seed(0)
    starts = random_starts(network, 200, problem.data, plan, generator)
    assert len(starts) > 5
    assert not torch.equal(starts[0].theta, starts[1].theta)
    for start in starts:
        nodes = start.layers[0](start.inputs(problem.data.X)).detach()
        assert_allclose(nodes.std(0, correction=0), 1.0, rtol=1e-9)
        grid = start.layers[1].basis.grid
        margin = plan.hidden_margin * (nodes.amax(0) - nodes.amin(0))
        assert_allclose(grid[:, 0], nodes.amin(0) - margin, rtol=1e-9)
        assert_allclose(grid[:, -1], nodes.amax(0) + margin, rtol=1e-9)


@single_thread
def test_constant_outputs_are_known_to_random_starts(strategy):
    start = strategy.networks[-1]
    output = start(strategy.problem.data.X).detach()
    assert_allclose(output[:, 0].std(correction=0), 1.0, rtol=1e-9)
    assert_array_equal(output[:, 1], 0)


def test_random_starts_are_few_where_steps_cost_or_are_scarce(strategy):
    arguments = strategy.problem.data, strategy.plan, torch.Generator()
    assert random_starts(strategy.networks[0], 10**9, *arguments) == []
    X, y = np.random.default_rng(0).uniform(size=(2, 50))
    model = KANRegressor((1,), max_iter=8)
    assert len(strategy_of(model, X[:, None], y).networks) == 2


def wave(X):
    return np.sin(3 * np.hypot(*X.T))


@pytest.mark.parametrize("seed", range(2))
def test_even_curves_are_found(seed):
    """From curves that are nearly straight, training ends at R2 = .8."""
    X, T = np.random.default_rng(seed).uniform(-1, 1, (2, 300, 2))
    model = KANRegressor((1,), random_state=seed).fit(X, wave(X))
    assert model.score(T, wave(T)) > 0.999


def test_no_random_start_is_tried_where_a_law_is_learnt(rng, monkeypatch):
    X = rng.uniform(-1, 1, (200, 2))
    monkeypatch.setattr(_continuation, "_most_promising", None)
    model = KANRegressor((1,), random_state=0)
    model.fit(X, np.exp(np.sin(np.pi * X[:, 0]) + X[:, 1] ** 2))
    assert model.noise_std_ < 1e-2


def test_random_starts_need_not_be_of_use(rng, monkeypatch):
    """Neither what they gain in noise nor their divergence changes a fit."""
    X = rng.uniform(-1, 1, (100, 2))
    y = X.sum(1) + rng.normal(size=100)
    model = KANRegressor((1,), random_state=0)
    usual = model.fit(X, y).predict(X)

    def diverges(starts, data, plan):
        raise DivergenceError

    monkeypatch.setattr(_continuation, "_most_promising", diverges)
    assert_array_equal(model.fit(X, y).predict(X), usual)
