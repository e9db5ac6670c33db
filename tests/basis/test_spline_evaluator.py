"""Places and splines against the basis; sums against what they are the transpose of."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import skkan.basis._spline_evaluator
import skkan.numerics._matrix_products
from skkan import BSplineBasis
from skkan.basis._spline_evaluator import SplineEvaluator
from skkan.numerics._matrix_products import product, sum_with


def make_basis(rng, *, is_uniform, spline_order=3, **options):
    grid = np.tile(np.linspace(-1, 1, 7), (3, 1))
    if not is_uniform:
        grid[:, 1:-1] += 0.3 * rng.uniform(-1, 1, (3, 5)) / 6
    grid *= [[1.0], [2.0], [3.0]]
    return BSplineBasis(torch.from_numpy(grid), spline_order, **options)


@pytest.fixture(params=[1.0, 3.0], ids=["within", "beyond"])
def x(request, rng):
    """Samples of three inputs, (n_rows, n_inputs)."""
    return request.param * 0.99 * rng.uniform(-1, 1, (40, 3)) * [1, 2, 3]


def in_blocks(local, place, basis):
    """Local values (k + 1, n_samples) as an array (n_rows, n_inputs, n_splines)."""
    n_inputs, n_samples = basis.n_inputs, len(place.piece)
    dense = np.zeros((n_samples, basis.n_splines))
    for sample, piece in enumerate(place.piece):
        first = piece % basis.grid_size
        dense[sample, first : first + len(local)] = local[:, sample]
    return dense.reshape(n_inputs, -1, basis.n_splines).swapaxes(0, 1)


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("spline_order", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("is_uniform", [True, False])
def test_splines_are_those_of_the_basis(
    is_uniform, spline_order, extrapolation, x, rng
):
    """Values and derivatives, and those of the base function."""
    options = {"base_activation": "silu", "extrapolation": extrapolation}
    basis = make_basis(rng, is_uniform=is_uniform, spline_order=spline_order, **options)
    expected, slopes = basis.values_and_derivatives(torch.from_numpy(x))
    stencil = SplineEvaluator(basis)
    place = stencil.locate(np.ascontiguousarray(x.T), with_slopes=True)
    values, derivatives = stencil.splines(place, with_slopes=True)
    values = in_blocks(values, place, basis)
    assert_allclose(values, expected[..., :-1], rtol=0, atol=1e-12)
    inverse_width = np.broadcast_to(place.inverse_width, place.base.shape).reshape(-1)
    derivatives = in_blocks(derivatives * inverse_width, place, basis)
    assert_allclose(derivatives, slopes[..., :-1], rtol=0, atol=1e-11)
    assert_allclose(place.base.T, expected[..., -1], rtol=0, atol=1e-13)
    assert_allclose(place.base_slopes.T, slopes[..., -1], rtol=0, atol=1e-13)
    only_values, _ = stencil.splines(place, with_slopes=False)
    assert_array_equal(in_blocks(only_values, place, basis), values)


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("spline_order", [0, 1, 3])
@pytest.mark.parametrize("is_uniform", [True, False])
def test_curves_by_pieces_and_their_transpose(
    is_uniform, spline_order, extrapolation, x, rng
):
    """<moments of s, pieces of w> = <s, curves of w>, for all weights w."""
    basis = make_basis(
        rng,
        is_uniform=is_uniform,
        spline_order=spline_order,
        extrapolation=extrapolation,
    )
    weight = rng.normal(size=(2, 3, basis.n_functions))
    features = basis(torch.from_numpy(x)).numpy()
    stencil = SplineEvaluator(basis)
    place = stencil.locate(np.ascontiguousarray(x.T), with_slopes=False)
    values, _ = stencil.curves(place, stencil.pieces(weight), with_slopes=False)
    expected = np.einsum("nif,oif->oin", features, weight)
    assert_allclose(values.reshape(expected.shape), expected, rtol=0, atol=1e-11)
    slope = rng.normal(size=(2, len(x)))
    result = stencil.pieces_transposed(stencil.moments(place, slope))
    expected = np.einsum("on,nif->oif", slope, features)
    assert_allclose(result, expected, rtol=0, atol=1e-11)


@np.errstate(over="ignore")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_largest_numbers_are_beyond(dtype, rng):
    """They and infinity stand at the ends of the grid."""
    basis = make_basis(rng, is_uniform=True, base_activation="silu").to(dtype)
    largest = torch.finfo(dtype).max
    x = torch.tensor([[-torch.inf, -largest, largest, torch.inf]], dtype=dtype)
    place = SplineEvaluator(basis).locate(x.repeat(3, 1).numpy(), with_slopes=True)
    assert_array_equal(place.piece.reshape(3, 4) % 6, [[0, 0, 5, 5]] * 3)
    assert np.isfinite(place.base).all()


def test_places_are_remembered_for_some_shapes_only(rng):
    """A long life with batches of many sizes does not fill the memory."""
    stencil = SplineEvaluator(make_basis(rng, is_uniform=True))
    for n_rows in range(1, 50):
        first = stencil.first_places((3, n_rows))
        assert len(first) == 3 * n_rows
    remembered = skkan.basis._spline_evaluator.MAX_REMEMBERED_SHAPES
    assert len(stencil._first_places) <= remembered


@pytest.mark.parametrize("small", [0, 2**18])
def test_products_are_the_same_by_numpy_and_torch(small, rng, monkeypatch):
    """Of arrays in any order, into an array of one's own, and added to others."""
    monkeypatch.setattr(skkan.numerics._matrix_products, "MAX_NUMPY_PRODUCT", small)
    left, right = rng.normal(size=(7, 4)).T, rng.normal(size=(7, 5))
    expected = np.einsum("kn,nm->km", left, right)
    assert_allclose(product(left, right), expected, rtol=0, atol=1e-13)
    room = np.empty((4, 5))
    assert product(left, right, out=room) is room or small == 0
    assert_allclose(room, expected, rtol=0, atol=1e-13)
    total = sum_with(sum_with(None, left, right), left, right)
    assert_allclose(total, 2 * expected, rtol=0, atol=1e-13)
