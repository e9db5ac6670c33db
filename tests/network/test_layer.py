"""Edges and nodes of one layer against their definitions, written out."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skkan import BSplineBasis, KANLayer

N_INPUTS, N_OUTPUTS = 3, 2


def make_layer(rng, *, mask=None, base_activation="silu", **options):
    """Layer with uneven grids and random coefficients."""
    grid = torch.from_numpy(rng.uniform(0.2, 1, (N_INPUTS, 6)).cumsum(1) - 2)
    basis = BSplineBasis(grid, base_activation=base_activation, **options)
    shape = (N_OUTPUTS, N_INPUTS, basis.n_functions)
    return KANLayer(basis, torch.from_numpy(rng.standard_normal(shape)), mask)


def make_samples(rng, n_samples=50):
    """Samples of which some lie outside of the grids."""
    return torch.from_numpy(rng.uniform(-2.5, 3, (n_samples, N_INPUTS)))


def some_mask():
    return torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64)


def test_edges_are_their_formula(rng):
    """phi_oi(x_i) = sum_f weight_oif B_f(x_i), in loops."""
    layer, x = make_layer(rng, mask=some_mask()), make_samples(rng)
    features, weight = layer.basis(x).numpy(), layer.weight.detach().numpy()
    expected = np.zeros((len(x), N_OUTPUTS, N_INPUTS))
    for n, o, i in np.ndindex(expected.shape):
        edge = sum(w * b for w, b in zip(weight[o, i], features[n, i], strict=True))
        expected[n, o, i] = some_mask()[o, i] * edge
    assert_allclose(layer.activations(x).detach(), expected, rtol=0, atol=1e-13)


def test_activations_sum_to_the_output(rng):
    """A node is the sum of its edges."""
    layer, x = make_layer(rng, mask=some_mask()), make_samples(rng)
    total = layer.activations(x).sum(2).detach()
    assert_allclose(layer(x).detach(), total, rtol=0, atol=1e-13)


def test_mask_removes_an_edge_and_its_gradient(rng):
    """A removed edge neither contributes nor learns, exactly."""
    layer, x = make_layer(rng, mask=some_mask()), make_samples(rng)
    without = layer.with_weight(layer.weight.detach() * some_mask().unsqueeze(-1))
    assert_array_equal(layer(x).detach(), without(x).detach())
    layer(x).square().sum().backward()
    gone = some_mask() == 0
    assert_array_equal(layer.weight.grad[gone], np.zeros((2, 9)))
    assert (layer.weight.grad[~gone].abs().sum(1) > 0).all()


def test_permuted_inputs_permute_the_edges(rng):
    """No input is special."""
    layer, x = make_layer(rng, mask=some_mask()), make_samples(rng)
    order = torch.tensor([2, 0, 1])
    permuted = KANLayer(
        layer.basis.with_grid(layer.basis.grid[order]),
        layer.weight.detach()[:, order],
        layer.mask[:, order],
    )
    edges = layer.activations(x).detach()
    assert_array_equal(permuted.activations(x[:, order]).detach(), edges[..., order])
    assert_allclose(permuted(x[:, order]).detach(), layer(x).detach(), atol=1e-13)


def test_coefficients_and_base_weights_are_parts_of_the_weight(rng):
    """The base weight is the last number of an edge, the spline is what is before."""
    layer = make_layer(rng)
    joined = torch.cat([layer.spline_coef, layer.base_weight.unsqueeze(-1)], dim=-1)
    assert_array_equal(joined.detach(), layer.weight.detach())
    x = make_samples(rng)
    inside = x.clamp(layer.basis.grid[:, 0], layer.basis.grid[:, -1])
    base = torch.nn.functional.silu(inside) @ layer.base_weight.detach().T
    spline = KANLayer(
        BSplineBasis(layer.basis.grid), layer.spline_coef.detach().clone()
    )
    expected = base + spline(x).detach()
    assert_allclose(layer(x).detach(), expected, rtol=0, atol=1e-13)


def test_combine_takes_any_weight(rng):
    """The objective uses it with weights that are not the layer's own."""
    layer, x = make_layer(rng, mask=some_mask()), make_samples(rng)
    other = torch.from_numpy(rng.standard_normal(layer.weight.shape))
    combined = layer.combine(layer.basis(x), other)
    expected = layer.with_weight(other)(x).detach()
    assert_allclose(combined, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("weighted", [False, True])
def test_edge_std_is_that_of_the_activations(weighted, rng):
    """The edges' values, which it never holds, repeated by their weights."""
    layer, x = make_layer(rng, mask=some_mask()), make_samples(rng)
    count = rng.integers(1, 5, len(x)) if weighted else np.ones(len(x), dtype=int)
    share = torch.from_numpy(count / count.sum())
    std = layer.edge_std(layer.basis(x), layer.weight.detach(), share)
    edges = np.repeat(layer.activations(x).detach().numpy(), count, axis=0)
    # Removed and constant edges have a floor of 1e-12 instead of zero.
    assert_allclose(std, edges.std(axis=0), rtol=1e-12, atol=1.1e-12)


def test_edge_std_has_a_gradient_where_an_edge_is_constant(rng):
    """The slope of a root at zero is infinite; a sparse network would be NaN."""
    layer, x = make_layer(rng), make_samples(rng)
    weight = torch.zeros_like(layer.weight, requires_grad=True)
    share = x.new_full((len(x),), 1 / len(x))
    layer.edge_std(layer.basis(x), weight, share).sum().backward()
    assert_array_equal(weight.grad, np.zeros(weight.shape))


def test_with_basis_keeps_the_curves(rng):
    """On a nested grid exactly, and the mask with them."""
    layer, x = make_layer(rng, mask=some_mask()), make_samples(rng)
    moved = layer.with_basis(layer.basis.refined(15))
    assert moved.basis.grid_size == 15
    edges = layer.activations(x).detach()
    assert_allclose(moved.activations(x).detach(), edges, rtol=0, atol=1e-12)
    assert_array_equal(moved.mask, layer.mask)


def test_changing_a_layer_makes_a_new_one(rng):
    """The layer that was there is still there, bit for bit."""
    layer = make_layer(rng, mask=some_mask())
    weight, knots = layer.weight.detach().clone(), layer.basis.knots.clone()
    with torch.no_grad():
        layer.with_basis(layer.basis.refined(15)).weight.zero_()
        layer.with_weight(weight + 1).weight.zero_()
    assert_array_equal(layer.weight.detach(), weight)
    assert_array_equal(layer.basis.knots, knots)


def test_start_is_near_linear_and_of_one_sign(rng):
    """Splines at zero, base weights (1 + 0.1 normal) / sqrt(n_inputs)."""
    basis = make_layer(rng).basis
    layer = KANLayer.at_random(basis, 4, torch.Generator().manual_seed(5))
    assert_array_equal(layer.spline_coef.detach(), np.zeros((4, 3, 8)))
    draw = torch.randn(
        4, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64
    )
    expected = (1 + 0.1 * draw) / np.sqrt(3)
    assert_allclose(layer.base_weight.detach(), expected, rtol=1e-15)
    assert_array_equal(layer.mask, np.ones((4, 3)))


def test_start_leaves_the_global_generator_alone(rng):
    """All randomness comes from the generator that is passed."""
    before = torch.get_rng_state()
    KANLayer.at_random(make_layer(rng).basis, 4, torch.Generator().manual_seed(5))
    assert_array_equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("base_activation", [None, "silu"])
def test_arrays_round_trip(base_activation, extrapolation, rng):
    """The arrays are the fitted state: they give the same bits and share no memory."""
    options = {"base_activation": base_activation, "extrapolation": extrapolation}
    layer = make_layer(rng, mask=some_mask(), spline_order=2, **options)
    x = make_samples(rng)
    output = layer(x).detach().clone()
    arrays = layer.to_arrays()
    rebuilt = KANLayer.from_arrays(arrays)
    assert_array_equal(rebuilt.basis.knots, layer.basis.knots)
    assert_array_equal(rebuilt.mask, layer.mask)
    assert_array_equal(rebuilt(x).detach(), output)
    for name in ("grid", "weight", "mask"):
        arrays[name][:] = 0
    assert_array_equal(rebuilt(x).detach(), output)
    assert_array_equal(layer(x).detach(), output)


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("base_activation", [None, "silu"])
@pytest.mark.parametrize("removed", [False, True])
def test_scaled_outputs_are_exact(removed, base_activation, extrapolation, rng):
    """(node - shift) / scale everywhere: splines sum to one, beyond the grid, too."""
    options = {"base_activation": base_activation, "extrapolation": extrapolation}
    layer = make_layer(rng, mask=some_mask() if removed else None, **options)
    x = make_samples(rng)
    scale, shift = torch.tensor([[0.2, 7.0], [1.5, -3.0]], dtype=torch.float64)
    before = layer(x).detach()
    scaled = layer.with_scaled_outputs(scale, shift)
    # Tangents reach values of a hundred.
    assert_allclose(
        scaled(x).detach(), (before - shift) / scale, rtol=1e-12, atol=1e-12
    )
    assert_array_equal(layer(x).detach(), before)
    assert scaled.basis is layer.basis
    assert_array_equal(scaled.mask, layer.mask)


def test_outputs_scaled_by_one_are_the_same_bits():
    """Nodes that fit their grids are not touched by those that do not."""
    layer = make_layer(np.random.default_rng(0), mask=some_mask())
    scale, shift = torch.tensor([[1.0, 3.0], [0.0, 2.0]], dtype=torch.float64)
    scaled = layer.with_scaled_outputs(scale, shift)
    assert_array_equal(scaled.weight.detach()[0], layer.weight.detach()[0])


def test_basis_in_other_units_keeps_the_curves(rng):
    """An input x of the new layer is the input scale x + shift of the old one."""
    layer, x = make_layer(rng, base_activation="identity"), make_samples(rng)
    scale = torch.from_numpy(rng.uniform(0.3, 3, N_INPUTS))
    shift = torch.from_numpy(rng.uniform(-1, 1, N_INPUTS))
    basis = layer.basis.with_grid(((layer.basis.grid.T - shift) / scale).T)
    moved = layer.with_basis(basis, scale=scale, shift=shift)
    new = (x - shift) / scale
    assert_allclose(moved(new).detach(), layer(x).detach(), rtol=0, atol=1e-11)
