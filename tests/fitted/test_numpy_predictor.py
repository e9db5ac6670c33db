"""Predictions by tables against the network itself."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skkan import KANNetwork
from skkan.basis._categories_and_missing import mixed_basis_from_samples
from skkan.basis._grids import grid_from_samples
from skkan.basis._spline_pieces import LookupTable
from skkan.fitted._numpy_predictor import MAX_CURVES, Predictor
from skkan.network._edits import with_values_at_missing
from skkan.network._layer import KANLayer

FEW_OR_MANY = [[3, 1], [3, 4, 2], [3, MAX_CURVES + 2, 2, 1], [3, 2, MAX_CURVES + 1]]


def random_weights(network, rng):
    """The same network with weights of no pattern, one edge removed."""
    network.layers[0].mask[0, 1] = 0.0
    return network.with_weights(
        [torch.from_numpy(rng.normal(size=w.shape)) for w in network.weights]
    )


def taking_missing(network):
    shape = network.weights[0].shape[1:]
    return with_values_at_missing(network, torch.ones(shape, dtype=torch.float64))


def assert_equal_outputs(network, x):
    expected = network(x).detach()
    result = Predictor(taking_missing(network))(x.numpy())
    scale = float(expected.abs().max())
    assert_allclose(result, expected, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("base_activation", ["silu", "identity"])
@pytest.mark.parametrize("additive_skip", [False, True])
@pytest.mark.parametrize("grid_eps", [0.2, 1.0])
@pytest.mark.parametrize("widths", FEW_OR_MANY)
def test_predictor_equals_network(
    widths, grid_eps, additive_skip, base_activation, extrapolation, rng
):
    """Inside of the grids, at their knots and beyond."""
    x = torch.from_numpy(rng.normal(size=(200, 3)))
    network = KANNetwork.from_samples(
        widths,
        x,
        grid_eps=grid_eps,
        extrapolation=extrapolation,
        base_activation=base_activation,
        additive_skip=additive_skip and len(widths) > 2,
        generator=torch.Generator().manual_seed(0),
    )
    network = random_weights(network, rng)
    x = torch.cat([x, 3 * x, network.layers[0].basis.grid.T])
    assert_equal_outputs(network, x)


@pytest.mark.parametrize("spline_order", [0, 1, 2, 4])
@pytest.mark.parametrize("n_outputs", [1, MAX_CURVES + 1])
def test_predictor_of_other_degrees(spline_order, n_outputs, rng):
    """Step functions and slopes jump at knots, where the right piece counts."""
    x = torch.from_numpy(rng.normal(size=(100, 3)))
    network = KANNetwork.from_samples(
        [3, n_outputs], x, spline_order=spline_order, grid_eps=0.5
    )
    network = random_weights(network, rng)
    assert_equal_outputs(network, torch.cat([x, network.layers[0].basis.grid.T]))


def test_predictor_on_uneven_knots(rng):
    """Knots so uneven that they are found by bisection."""
    x = torch.from_numpy(rng.lognormal(sigma=4, size=(300, 2)))
    grid = grid_from_samples(x, 10, grid_eps=1e-4)
    assert LookupTable.of_grid(grid.numpy()) is None
    basis = KANNetwork.from_samples([2, 1], x).layers[0].basis.with_grid(grid)
    layer = KANLayer(basis, torch.from_numpy(rng.normal(size=(1, 2, 14))))
    assert_equal_outputs(KANNetwork([layer]), torch.cat([x, grid.T, grid.T + 1e-9]))


def test_predictor_of_used_columns(rng):
    x = torch.from_numpy(rng.normal(size=(100, 4)))
    used = torch.tensor([True, False, True, True])
    network = KANNetwork.from_samples([3, 4, 1], x[:, used])
    network = KANNetwork(random_weights(network, rng).layers, None, used)
    assert_equal_outputs(network, x)


@pytest.mark.parametrize("n_categories", [[0, 3, 0, 5], [2, 3, 4, 2], [0, 0, 0, 0]])
@pytest.mark.parametrize("widths", [[1], [MAX_CURVES + 2, 2]])
def test_predictor_of_categories_and_missing_cells(widths, n_categories, rng):
    """Codes known and unknown, and missing cells, learnt ones and others."""
    n_categories = torch.tensor(n_categories)
    x = torch.from_numpy(rng.normal(size=(200, 4)))
    codes = torch.from_numpy(rng.integers(0, 10, size=x.shape)) % n_categories.clamp(1)
    x = torch.where(n_categories > 0, codes.to(x), x)
    x[::7, :2] = torch.nan  # but not in the others
    inputs = mixed_basis_from_samples(
        x,
        x,
        n_categories,
        5,
        3,
        has_gaps=True,
        base_activation="silu",
        extrapolation="constant",
        sample_weight=torch.ones(200, dtype=torch.float64),
    )
    network = KANNetwork.from_samples([4, *widths], x, inputs=inputs)
    network = random_weights(network, rng)
    unknown = torch.where(n_categories > 0, -1.0, x[:5])
    beyond = torch.where(n_categories > 0, 99.0, x[:5])
    assert_equal_outputs(
        network, torch.cat([x, unknown, beyond, torch.full_like(x[:1], torch.nan)])
    )


def test_missing_cells_of_a_network_that_knows_none(rng):
    x = torch.from_numpy(rng.normal(size=(50, 3)))
    network = taking_missing(random_weights(KANNetwork.from_samples([3, 2, 1], x), rng))
    x[::3, 1] = torch.nan
    assert_equal_outputs(network, x)


def test_rows_do_not_depend_on_their_block(rng):
    x = torch.from_numpy(rng.normal(size=(257, 3)))
    network = KANNetwork.from_samples([3, MAX_CURVES + 1, 1], x, grid_eps=0.2)
    predict, x = Predictor(taking_missing(random_weights(network, rng))), x.numpy()
    rows = np.concatenate([predict(x[start : start + 3]) for start in range(0, 257, 3)])
    assert_allclose(rows, predict(x), rtol=0, atol=0)
