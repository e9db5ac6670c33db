"""Pieces of splines against scipy and bisection."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import BSpline, PPoly

from skkan import BSplineBasis
from skkan.basis._spline_pieces import Intervals, LookupTable, spline_polynomials


def uneven_grid(rng, n_inputs=3, grid_size=7, spread=1.0):
    width = np.exp(spread * rng.normal(size=(n_inputs, grid_size + 1)))
    return torch.from_numpy(width.cumsum(1) - 2.0)


@pytest.mark.parametrize("spline_order", [0, 1, 2, 3, 5])
def test_polynomials_equal_those_of_scipy(spline_order, rng):
    """Taylor coefficients at the middles of the intervals, in units of their width."""
    basis = BSplineBasis(uneven_grid(rng), spline_order)
    polynomials = spline_polynomials(basis.knots, spline_order)
    for of_input, knots in enumerate(basis.knots.numpy()):
        for interval in range(basis.grid_size):
            left = interval + spline_order
            width = knots[left + 1] - knots[left]
            middle = (knots[left] + knots[left + 1]) / 2
            for row in range(spline_order + 1):
                weight = np.eye(basis.n_splines)[interval + row]
                spline = PPoly.from_spline(BSpline(knots, weight, spline_order))
                factorial = 1.0
                for power in range(spline_order + 1):
                    factorial *= max(power, 1)
                    expected = spline.derivative(power)(middle) if power else None
                    if power == 0:
                        expected = spline(middle)
                    expected = expected * width**power / factorial
                    result = polynomials[power, row, of_input, interval]
                    assert_allclose(result, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("spread", [0.3, 1.0, 6.0])
def test_cells_find_the_interval_that_bisection_finds(spread, rng):
    """At the knots, next to them, and between; also where there are too many cells."""
    grid = uneven_grid(rng, grid_size=9, spread=spread)
    intervals = Intervals(grid, is_uniform=False)
    assert (LookupTable.of(grid) is None) == (spread == 6.0)
    low, high = grid[:, :1], grid[:, -1:]
    knots = grid.numpy()
    near = [np.nextafter(knots, np.inf), np.nextafter(knots, -np.inf), knots]
    between = low + (high - low) * torch.from_numpy(rng.uniform(size=(3, 500)))
    x = torch.cat([*map(torch.from_numpy, near), between], dim=1).clamp(low, high)
    piece, position, density = intervals.locate(x)
    for of_input, (row, samples) in enumerate(zip(knots, x.numpy(), strict=True)):
        expected = np.searchsorted(row, samples, side="right") - 1
        expected = expected.clip(0, grid.shape[1] - 2)
        assert_array_equal(piece[of_input] - of_input * 9, expected)
        left = row[expected]
        assert_allclose(density[of_input], 1 / (row[expected + 1] - left))
        assert_allclose(
            position[of_input],
            (samples - left) / (row[expected + 1] - left) - 0.5,
            rtol=0,
            atol=1e-9,
        )


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("grid_eps", [0.0, 1.0])
def test_curves_by_pieces_equal_those_by_basis_functions(extrapolation, grid_eps, rng):
    """Values and derivatives, beyond the grid, too."""
    grid = uneven_grid(rng)
    if grid_eps:
        step = torch.linspace(0, 1, grid.shape[1], dtype=torch.float64)
        grid = torch.lerp(grid[:, :1], grid[:, -1:], step)
    basis = BSplineBasis(grid, extrapolation=extrapolation)
    x = torch.from_numpy(rng.normal(size=(60, 3), scale=8))
    weight = torch.from_numpy(rng.normal(size=(2, 3, basis.n_splines)))
    values, slopes = basis.values_and_derivatives(x)
    place, pieces = basis.locate(x), basis.pieces(weight)
    for result, features in (
        (place.values(pieces), values),
        (place.derivatives(pieces), slopes),
    ):
        expected = torch.einsum("nif,oif->oin", features, weight)
        assert_allclose(result, expected, rtol=1e-11, atol=1e-11)
