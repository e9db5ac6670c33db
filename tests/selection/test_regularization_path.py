"""The regularisation path: its steps, and trainings that diverge."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skkan import KANNetwork
from skkan.data._dataset import Dataset
from skkan.losses._regression import SquaredError
from skkan.selection import _regularization_path, _settings
from skkan.selection._regularization_path import RegularizationPath
from skkan.selection._validation_rows import validation_split
from skkan.solvers import LBFGS, DivergenceError
from skkan.training._plan import FitPlan


@pytest.fixture
def problem(rng):
    """Rows of a product, and two networks to start from."""
    X = torch.from_numpy(rng.uniform(-1, 1, (120, 2)))
    data = Dataset(
        X,
        torch.sin(3 * X[:, :1]) * X[:, 1:],
        torch.ones(120, dtype=torch.float64),
        torch.zeros(1, dtype=torch.float64),
    )
    generator = torch.Generator().manual_seed(0)
    networks = [
        KANNetwork.from_samples((2, 2, 1), X, generator=generator) for _ in range(2)
    ]
    plan = FitPlan(SquaredError(), (), LBFGS(), (5,), 0, 0.2, max_iter=10, tol=1e-4)
    return data, networks, plan, generator


@pytest.fixture
def best_point(problem, monkeypatch):
    """Function that trains two networks, of which some diverge at some steps."""
    data, networks, plan, generator = problem
    rows = validation_split(data, plan.loss, generator)
    train = _regularization_path.train

    def best_point(members, diverges, **settings):
        starts = [networks[member] for member in members]
        best_point.path = path = RegularizationPath(
            *rows, plan, generator, lambda step: None
        )

        def train_or_diverge(networks, *others):
            if diverges(*networks):
                raise DivergenceError("on purpose")
            return train(networks, *others)

        monkeypatch.setattr(_regularization_path, "train", train_or_diverge)
        return path.best_point(starts, lambda raw: False, **settings)[0], rows[1]

    best_point.networks, best_point.data = networks, data
    return best_point


def test_networks_that_always_diverge_take_no_part(best_point):
    _, lost = best_point.networks
    point, rows = best_point([0, 1], lambda start: start is lost)
    alone, _ = best_point([0], lambda start: False)
    assert point.alpha == alone.alpha
    assert_allclose(rows.raw(point.networks), rows.raw(alone.networks), rtol=1e-12)
    assert best_point([1], lambda start: start is lost)[0] is None


def test_a_network_recovers_from_a_divergence(best_point):
    """Its path is then one that begins a step later."""
    n_calls, path = count(), _settings.PATH
    point, rows = best_point([0], lambda start: next(n_calls) == 0)
    later, _ = best_point(
        [0], lambda start: False, first_alpha=path.first_alpha / path.alpha_step
    )
    assert point.alpha == later.alpha
    assert_array_equal(rows.raw(point.networks), rows.raw(later.networks))


def test_weights_of_the_networks_that_are_left_add_up_to_one(best_point, monkeypatch):
    """Networks without weight, and those that diverge on all rows, take no part."""
    point, _ = best_point([0, 1, 0], lambda start: False)
    assert point.weights == [1 / 3] * 3
    point = point.weighted([0.5, 0.0, 1.5])
    assert point.weights == [0.25, 0.75]
    assert point.trial.n_networks == 2
    n_calls, train = count(), _regularization_path.train

    def train_or_diverge(*settings):
        if next(n_calls) % 2 == 0:
            raise DivergenceError("on purpose")
        return train(*settings)

    monkeypatch.setattr(_regularization_path, "train", train_or_diverge)
    side_by_side = "parallel_map"
    monkeypatch.setattr(_regularization_path, side_by_side, lambda f, x: [*map(f, x)])
    left = best_point.path.on_all_rows(point, best_point.data)
    assert left.weights == [1.0]
    assert left.trial.n_networks == best_point.path.n_left_out == 1


@pytest.fixture
def trainings(problem, monkeypatch):
    """A path, and the plans by which it has trained."""
    data, _, plan, generator = problem
    train = _regularization_path.train
    rows = validation_split(data, plan.loss, generator)
    path, seen = RegularizationPath(*rows, plan, generator, lambda step: None), []

    def recorded(networks, rows, plan, *others):
        seen.append(plan)
        return train(networks, rows, plan, *others)

    monkeypatch.setattr(_regularization_path, "train", recorded)
    return path, seen


@pytest.mark.parametrize(("times", "n_steps"), [(2, 1), (40, 3), (500, 5)])
def test_alpha_falls_with_the_rows_as_fast_as_along_the_path(
    problem, trainings, times, n_steps
):
    """By half a decade a step; at last it is in proportion to one over the rows."""
    (data, networks, _, _), (path, seen) = problem, trainings
    point, _ = path.best_point(networks[:1], lambda raw: False)
    seen.clear()
    weight = data.sample_weight * times * path.fitted.n_rows / data.n_rows
    last = path.on_all_rows(point, replace(data, sample_weight=weight))
    alpha = [plan.penalties[0].alpha for plan in seen]
    expected = point.alpha * times ** (-np.arange(1, n_steps + 1) / n_steps)
    assert_allclose(alpha, expected, rtol=1e-12)
    assert last.alpha == alpha[-1]
