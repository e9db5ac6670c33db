"""Networks that are evaluated together, against the obvious form and one by one."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.interpolate import BSpline

from skkan import KANNetwork
from skkan.basis._categories_and_missing import mixed_basis_from_samples
from skkan.data._dataset import Dataset
from skkan.losses._classification import MultinomialLogLoss
from skkan.losses._regression import SquaredError
from skkan.objective._objective import Objective
from skkan.objective._tabulated_networks import (
    CELLS_PER_INTERVAL,
    OUTER_CELLS,
    TabulatedNetworks,
)
from skkan.penalties._quadratic import QuadraticPenalty
from skkan.solvers import LBFGS, DivergenceError
from skkan.training._first_order import together

BASELINE = torch.tensor([0.2, -0.3], dtype=torch.float64)


def networks_of(X, rng, *, n_outputs=2, extrapolation="constant"):
    """Three networks: plain, with a skip, and with removed edges beside one."""
    found = []
    for number in range(3):
        network = KANNetwork.from_samples(
            [3, 4, n_outputs],
            X,
            grid_eps=0.2,
            additive_skip=number > 0,
            extrapolation=extrapolation,
            generator=torch.Generator().manual_seed(number),
            inputs=found[0].layers[0].basis if found else None,
        )
        weights = [
            torch.from_numpy(rng.standard_normal(weight.shape)) / 3
            for weight in network.weights
        ]
        found.append(network.with_weights(weights))
    for layer in found[-1].all_layers[::2]:
        layer.mask[:, 0] = 0.0
    return found


def objectives_of(networks, X, rng, loss=None, alpha=0.1):
    target = torch.from_numpy(np.eye(2)[rng.integers(2, size=len(X))])
    n_outputs = networks[0].widths[-1]
    weight = torch.from_numpy(rng.uniform(1, 2, len(X)))
    data = Dataset(X, target[:, :n_outputs], weight, BASELINE[:n_outputs])
    penalties = [QuadraticPenalty(alpha)]
    return [
        Objective(network, loss or SquaredError(), penalties, data)
        for network in networks
    ]


def points_of(objectives):
    return [(objective, objective.start) for objective in objectives]


def tabulated(curve, grid, x):
    """A curve as scipy's quadratic spline on equal cells, beyond its ends constant."""
    n_cells = CELLS_PER_INTERVAL * (len(grid) - 1) + 2 * OUTER_CELLS
    width = (grid[-1] - grid[0]) / (n_cells - 2 * OUTER_CELLS)
    start = grid[0] - OUTER_CELLS * width
    middle = start + (np.arange(-1, n_cells + 1) + 0.5) * width
    left, right = middle - width / 2, middle + width / 2
    coefs = 2 * curve(middle) - 0.5 * (curve(left) + curve(right))
    knots = start + np.arange(-2, n_cells + 3) * width
    end = np.nextafter(start + n_cells * width, -np.inf)
    return BSpline(knots, coefs, 2)(np.clip(x, start, end))


def obvious_output(network, X):
    """Output whose hidden curves are tabulated one by one."""
    last = network.layers[-1]
    nodes = network.layers[0](X).detach()
    output = np.zeros((len(X), network.widths[-1]))
    for node, grid in enumerate(last.basis.grid.numpy()):
        for number in range(output.shape[1]):

            def curve(x, node=node, number=number):
                x = torch.from_numpy(x).unsqueeze(1).expand(-1, len(last.basis.grid))
                return last.activations(x)[:, number, node].detach().numpy()

            output[:, number] += tabulated(curve, grid, nodes[:, node].numpy())
    if network.skip is not None:
        output += network.skip(X).detach().numpy()
    return torch.from_numpy(output)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_values_are_those_of_tabulated_curves(n_outputs, rng):
    """Beyond the grids, too; with a skip and without edges."""
    X = torch.from_numpy(rng.uniform(-1, 1, (40, 3)))
    networks = networks_of(X, rng, n_outputs=n_outputs)
    rows = 1.3 * X
    objectives = objectives_of(networks, rows, rng)
    evaluation = TabulatedNetworks(objectives[0], 3)
    found = evaluation.values_and_gradients(points_of(objectives))
    for objective, network, (value, _) in zip(objectives, networks, found, strict=True):
        raw = obvious_output(network, rows) + BASELINE[:n_outputs]
        expected = objective.loss_of(raw) + objective.penalty(objective.start)
        assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize("loss", [SquaredError(), MultinomialLogLoss()])
def test_gradients_are_those_of_the_values(loss, rng):
    """Central differences; removed edges have none."""
    X = torch.from_numpy(rng.uniform(-1, 1, (30, 3)))
    objectives = objectives_of(networks_of(X, rng), X, rng, loss)
    evaluation = TabulatedNetworks(objectives[0], 3)
    steps = [
        torch.from_numpy(rng.standard_normal(len(each.start))) for each in objectives
    ]
    found = evaluation.values_and_gradients(points_of(objectives))

    def values(size):
        pairs = zip(objectives, steps, strict=True)
        points = [(each, each.start + size * step) for each, step in pairs]
        return np.array([v for v, _ in evaluation.values_and_gradients(points)])

    slopes = [float(g @ step) for (_, g), step in zip(found, steps, strict=True)]
    assert_allclose((values(1e-5) - values(-1e-5)) / 2e-5, slopes, rtol=1e-7)
    removed = objectives[-1].network.weight_mask == 0
    assert not found[-1][1][removed].any()


@pytest.mark.parametrize("kind", ["numbers", "categories and missing cells"])
def test_tables_follow_the_curves(kind, rng):
    """Values are those of the splines to 1e-4, gradients to a percent."""
    X = torch.from_numpy(rng.uniform(-1, 1, (200, 3)))
    inputs = None
    if kind != "numbers":
        X[:, 0] = torch.from_numpy(rng.integers(3, size=200).astype(float))
        X[::7, 1] = torch.nan
        inputs = mixed_basis_from_samples(
            X,
            X,
            torch.tensor([3, 0, 0]),
            10,
            3,
            has_gaps=True,
            base_activation="silu",
            extrapolation="constant",
            sample_weight=torch.ones(200, dtype=torch.float64),
        )
    networks = [
        KANNetwork.from_samples([3, 4, 1], X, grid_eps=0.2, grid_size=10, inputs=inputs)
    ]
    (objective,) = objectives_of(networks, X, rng)
    theta = objective.start + 0.1 * torch.from_numpy(
        rng.standard_normal(len(objective.start))
    )
    ((value, gradient),) = TabulatedNetworks(objective, 1).values_and_gradients(
        [(objective, theta)]
    )
    expected, slope = objective.value_and_grad(theta)
    assert_allclose(value, expected, rtol=1e-4)
    assert_allclose(gradient, slope, atol=0.01 * float(slope.norm()))


def trained(objectives, max_iter=20):
    return together(
        [
            LBFGS().steps(
                objective,
                objective.start,
                max_iter=max_iter + number,
                monitor=lambda theta, value: False,
            )
            for number, objective in enumerate(objectives)
        ]
    )


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
def test_networks_do_not_know_of_each_other(extrapolation, rng):
    """Their searches end at different iterations where they would end alone."""
    X = torch.from_numpy(rng.uniform(-1, 1, (60, 3)))
    objectives = objectives_of(
        networks_of(X, rng, n_outputs=1, extrapolation=extrapolation), X, rng
    )
    for number, result in enumerate(trained(objectives)):
        (alone,) = together(
            [
                LBFGS().steps(
                    objectives[number],
                    objectives[number].start,
                    max_iter=20 + number,
                    monitor=lambda theta, value: False,
                )
            ]
        )
        assert result.n_iter == alone.n_iter == 20 + number
        assert_allclose(result.value, alone.value, rtol=1e-9)
        assert_allclose(result.theta, alone.theta, atol=1e-7)


def test_one_that_diverges_leaves_the_others_alone(rng):
    """Its error takes the place of its result."""
    X = torch.from_numpy(rng.uniform(-1, 1, (60, 3)))
    networks = networks_of(X, rng, n_outputs=1)
    *others, broken = objectives_of(networks, X, rng)
    expected = trained(others)
    broken.network.layers[0].weight.data[0, 1, 0] = np.inf
    *results, error = trained([*others, broken])
    assert isinstance(error, DivergenceError)
    for result, alone in zip(results, expected, strict=True):
        assert_allclose(result.theta, alone.theta, atol=1e-7)
