"""Pieces of splines against scipy and bisection."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import BSpline, PPoly

from skkan import BSplineBasis
from skkan.basis._spline_pieces import LookupTable, spline_polynomials


def uneven_grid(rng, n_inputs=3, grid_size=7, spread=1.0):
    width = np.exp(spread * rng.normal(size=(n_inputs, grid_size + 1)))
    return torch.from_numpy(width.cumsum(1) - 2.0)


@pytest.mark.parametrize("spline_order", [0, 1, 2, 3, 5])
def test_polynomials_equal_those_of_scipy(spline_order, rng):
    """Taylor coefficients where the intervals begin, in units of their width."""
    basis = BSplineBasis(uneven_grid(rng), spline_order)
    polynomials = spline_polynomials(basis.knots, spline_order).unflatten(2, (3, -1))
    for of_input, knots in enumerate(basis.knots.numpy()):
        for interval in range(basis.grid_size):
            left = interval + spline_order
            width = knots[left + 1] - knots[left]
            for row in range(spline_order + 1):
                weight = np.eye(basis.n_splines)[interval + row]
                spline = PPoly.from_spline(BSpline(knots, weight, spline_order))
                factorial = 1.0
                for power in range(spline_order + 1):
                    factorial *= max(power, 1)
                    expected = spline.derivative(power)(knots[left]) if power else None
                    if power == 0:
                        expected = spline(knots[left])
                    expected = expected * width**power / factorial
                    result = polynomials[power, row, of_input, interval]
                    assert_allclose(result, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rows_first", [False, True])
@pytest.mark.parametrize("spread", [0.3, 1.0, 6.0])
def test_the_interval_is_found_that_bisection_finds(spread, rows_first, rng):
    """At the knots, next to them, and between; also where a table would be too long."""
    grid = uneven_grid(rng, grid_size=9, spread=spread)
    evaluator, knots = BSplineBasis(grid).evaluator, grid.numpy()
    assert (LookupTable.of_grid(knots) is None) == (spread == 6.0)
    low, high = knots[:, :1], knots[:, -1:]
    near = [np.nextafter(knots, np.inf), np.nextafter(knots, -np.inf), knots]
    between = low + (high - low) * rng.uniform(size=(3, 500))
    x = np.clip(np.concatenate([*near, between], axis=1), low, high)
    samples = np.ascontiguousarray(x.T) if rows_first else x
    found = evaluator.locate(samples, with_slopes=False, rows_first=rows_first)
    piece, position, inverse_width = (
        part.reshape(samples.shape).T if rows_first else part.reshape(x.shape)
        for part in (found.piece, found.position, found.inverse_width)
    )
    for of_input, (row, samples) in enumerate(zip(knots, x, strict=True)):
        expected = np.searchsorted(row, samples, side="right") - 1
        expected = expected.clip(0, grid.shape[1] - 2)
        assert_array_equal(piece[of_input] - of_input * 9, expected)
        left = row[expected]
        width = row[expected + 1] - left
        assert_allclose(inverse_width[of_input], 1 / width)
        scaled = (samples - left) / width
        assert_allclose(position[of_input], scaled, rtol=0, atol=1e-9)
