"""A layer in one step against its basis values, recurrences by autograd, and scipy."""

import copy
import pickle
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import BSpline
from torch.func import functional_call

import skkan.network._layer_evaluation
from skkan import BSplineBasis, KANLayer, KANNetwork
from skkan.basis._categories_and_missing import MixedBasis
from skkan.network._layer_evaluation import layer_output, supports

# (n_inputs, n_outputs, grid_size): by dense blocks, and by look-ups
SHAPES = [(3, 2, 4), (5, 1, 40), (2, 3, 45), (1, 1, 1)]


def make_layer(
    rng,
    shape,
    *,
    is_uniform,
    spline_order=3,
    dtype=torch.float64,
    **options,
):
    """Layer with some edges removed."""
    n_inputs, n_outputs, grid_size = shape
    grid = torch.linspace(-1, 1, grid_size + 1, dtype=dtype).expand(n_inputs, -1)
    grid = grid.clone()
    if not is_uniform:
        noise = torch.from_numpy(rng.uniform(-1, 1, (n_inputs, grid_size - 1)))
        grid[:, 1:-1] += 0.3 * noise.to(dtype) / grid_size
    grid = grid * torch.arange(1, n_inputs + 1).unsqueeze(1)
    options = {"base_activation": "silu"} | options
    basis = BSplineBasis(grid, spline_order, **options)
    weight = rng.standard_normal((n_outputs, n_inputs, basis.n_functions))
    mask = rng.uniform(size=(n_outputs, n_inputs)) > 0.2
    return KANLayer(
        basis, torch.from_numpy(weight).to(dtype), torch.from_numpy(mask).to(dtype)
    )


def make_samples(rng, layer, n_samples=60, reach=1.3):
    """Samples, of which some lie beyond the grids."""
    last = layer.basis.grid[:, -1]
    x = rng.uniform(-reach, reach, (n_samples, len(last)))
    return torch.from_numpy(x).to(last) * last


def by_basis_values(layer, x):
    return layer.combine(layer.basis(x), layer.weight)


def by_recurrence(layer, x):
    """The definition in operations that autograd can differentiate any number of times.

    Within the grids only, with the silu as base function.
    """
    knots, k = layer.basis.knots, layer.basis.spline_order
    x_ = x.unsqueeze(2)
    values = ((x_ >= knots[:, :-1]) & (x_ < knots[:, 1:])).to(x)
    for degree in range(1, k + 1):
        left = (x_ - knots[:, : -degree - 1]) / (
            knots[:, degree:-1] - knots[:, : -degree - 1]
        )
        right = (knots[:, degree + 1 :] - x_) / (
            knots[:, degree + 1 :] - knots[:, 1:-degree]
        )
        values = left * values[..., :-1] + right * values[..., 1:]
    values = torch.cat([values, torch.nn.functional.silu(x_)], dim=2)
    return layer.combine(values, layer.weight)


def assert_same(layer, x, expected, tolerance=1e-12):
    """Output and both gradients, relative to the largest number of each."""
    x = x.detach().requires_grad_()
    pairs = []
    for function in (layer, expected):
        output = function(x) if function is layer else function(layer, x)
        slope = torch.linspace(-1, 1, output.numel()).to(output).view(output.shape)
        gradients = torch.autograd.grad(output, (x, layer.weight), slope)
        pairs.append((output.detach(), *gradients))
    for mine, theirs in zip(*pairs, strict=True):
        scale = float(theirs.abs().max()) + 1e-300
        assert_allclose(mine / scale, theirs / scale, rtol=0, atol=tolerance)


@pytest.fixture(params=["kept", "tiles"])
def regime(request, monkeypatch):
    """One tile that is kept, or tiles of a few rows and inputs."""
    if request.param == "tiles":
        monkeypatch.setattr(skkan.network._layer_evaluation, "KEPT_BYTES", 0)
        monkeypatch.setattr(skkan.network._layer_evaluation, "TILE_BYTES", 3000)
        monkeypatch.setattr(skkan.network._layer_evaluation, "TILE_ROWS", 16)
        monkeypatch.setattr(skkan.network._layer_evaluation, "LOOKUP_BYTES", 500)
    return request.param


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("base_activation", [None, "silu"])
@pytest.mark.parametrize("spline_order", [0, 1, 3, 4])
@pytest.mark.parametrize("is_uniform", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.usefixtures("regime")
def test_layer_equals_its_basis_values(
    shape, is_uniform, spline_order, base_activation, extrapolation, rng
):
    """Output and gradients, within the grids, beyond them, and with edges removed."""
    layer = make_layer(
        rng,
        shape,
        is_uniform=is_uniform,
        spline_order=spline_order,
        base_activation=base_activation,
        extrapolation=extrapolation,
    )
    for reach in (0.99, 1.3):
        x = make_samples(rng, layer, reach=reach)
        assert supports(layer.basis, x, layer.weight)
        assert_same(layer, x, by_basis_values)


@pytest.mark.parametrize("is_uniform", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.usefixtures("regime")
def test_layer_equals_the_recurrence_by_autograd(shape, is_uniform, rng):
    """A form that shares nothing with it but the knots."""
    layer = make_layer(rng, shape, is_uniform=is_uniform)
    assert_same(layer, make_samples(rng, layer, reach=0.99), by_recurrence)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)]
)
@pytest.mark.parametrize("is_uniform", [True, False])
@pytest.mark.parametrize("n_outputs", [1, 4])
@pytest.mark.parametrize("grid_size", [5, 20, 100])
def test_layer_is_as_exact_as_its_numbers(
    grid_size, n_outputs, is_uniform, dtype, tolerance, rng
):
    """Against scipy in float64, from the numbers that the layer holds."""
    shape = 2, n_outputs, grid_size
    layer = make_layer(rng, shape, is_uniform=is_uniform, dtype=dtype)
    x = make_samples(rng, layer, reach=0.999)
    coef = layer.masked(layer.weight).detach().double().numpy()
    knots, X = layer.basis.knots.double().numpy(), x.double().numpy()
    expected = X / (1 + np.exp(-X)) @ coef[..., -1].T
    for each, of_input in enumerate(knots):
        expected += BSpline(of_input, coef[:, each, :-1].T, 3)(X[:, each])
    assert_allclose(layer(x).detach(), expected, rtol=0, atol=3 * tolerance)


@pytest.mark.parametrize("is_uniform", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 1, 30)])
@pytest.mark.usefixtures("regime")
def test_gradients_are_those_of_differences(shape, is_uniform, rng):
    """By torch's own check."""
    layer = make_layer(rng, shape, is_uniform=is_uniform, extrapolation="linear")
    x = make_samples(rng, layer, n_samples=9).requires_grad_()
    weight = layer.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, weight: layer_output(x, weight, layer.mask, layer.basis), (x, weight)
    )


@pytest.mark.parametrize("n_samples", [1, 15, 16, 17, 33])
@pytest.mark.parametrize("n_inputs", [1, 7, 8, 31])
@pytest.mark.usefixtures("regime")
def test_tiles_need_not_be_full(n_inputs, n_samples, rng):
    """Whatever rows and inputs remain for the last one."""
    for n_outputs, grid_size in ((3, 3), (1, 20)):
        layer = make_layer(rng, (n_inputs, n_outputs, grid_size), is_uniform=False)
        assert_same(layer, make_samples(rng, layer, n_samples), by_basis_values)


def test_too_uneven_knots_are_found_by_bisection(rng):
    """Where there would be too many cells."""
    layer = make_layer(rng, (2, 3, 6), is_uniform=True)
    grid = torch.tensor([[0, 1e-6, 1, 2], [0, 1, 2, 2 + 1e-6]], dtype=torch.float64)
    for n_outputs in (1, 5):
        basis = layer.basis.with_grid(grid)
        weight = rng.standard_normal((n_outputs, 2, basis.n_functions))
        other = KANLayer(basis, torch.from_numpy(weight))
        x = torch.from_numpy(rng.uniform(-0.1, 2.1, (40, 2)))
        # Slopes of a millionth of a unit's width are rounded to a millionth of theirs.
        assert_same(other, x, by_basis_values, tolerance=1e-9)


@pytest.mark.usefixtures("regime")
def test_arrays_need_not_be_contiguous(rng):
    """Columns of wider arrays, transposed ones, and gradients without extent."""
    for shape in SHAPES:
        layer = make_layer(rng, shape, is_uniform=True)
        x = make_samples(rng, layer)
        wide = torch.cat([x, x], dim=1)[:, : shape[0]]
        transposed = x.T.contiguous().T
        for other in (wide, transposed):
            assert_array_equal(layer(other).detach(), layer(x).detach())
        leaf = transposed.detach().requires_grad_()
        layer(leaf).sum().backward()
        expected = torch.autograd.grad(by_basis_values(layer, leaf).sum(), leaf)[0]
        assert_allclose(leaf.grad, expected, rtol=0, atol=1e-11)
        assert layer(x).is_contiguous()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.usefixtures("regime")
def test_the_way_back_can_be_gone_twice(shape, rng):
    """What is kept for it is not changed."""
    layer = make_layer(rng, shape, is_uniform=True)
    x = make_samples(rng, layer).requires_grad_()
    total = layer(x).square().sum()
    first = torch.autograd.grad(total, (x, layer.weight), retain_graph=True)
    second = torch.autograd.grad(total, (x, layer.weight))
    for one, other in zip(first, second, strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize("shape", SHAPES)
def test_overflow_is_silent(shape, rng):
    """As torch's is: a fit that diverges says so itself."""
    layer = make_layer(rng, shape, is_uniform=True, extrapolation="linear")
    x = make_samples(rng, layer)
    x[0], x[1], x[2] = torch.finfo(x.dtype).max, torch.inf, -torch.inf
    assert layer(x).isfinite().all()
    with torch.no_grad():
        layer.weight.fill_(torch.finfo(x.dtype).max)
    output = layer(x.requires_grad_())
    assert not output.isfinite().all()
    output.sum().backward()


@pytest.mark.parametrize("name", ["x", "weight", "mask"])
def test_what_has_changed_since_is_refused(name, rng):
    """As by torch's own operations."""
    layer = make_layer(rng, (3, 2, 4), is_uniform=True)
    x = make_samples(rng, layer)
    total = layer(x).sum()
    with torch.no_grad():
        {"x": x, "weight": layer.weight, "mask": layer.mask}[name].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("of_x", [True, False])
@pytest.mark.parametrize("of_weight", [True, False])
@pytest.mark.usefixtures("regime")
def test_only_the_gradients_that_are_needed(of_weight, of_x, shape, rng):
    """They do not depend on each other."""
    layer = make_layer(rng, shape, is_uniform=False)
    x = make_samples(rng, layer)
    both = torch.autograd.grad(
        layer(x.requires_grad_()).square().sum(), (x, layer.weight)
    )
    x = x.detach().requires_grad_(of_x)
    layer.weight.requires_grad_(of_weight)
    output = layer(x)
    assert output.requires_grad == (of_x or of_weight)
    if output.requires_grad:
        output.square().sum().backward()
    for leaf, needed, expected in zip(
        (x, layer.weight), (of_x, of_weight), both, strict=True
    ):
        assert (leaf.grad is not None) == needed
        if needed:
            assert_array_equal(leaf.grad, expected)


@pytest.mark.parametrize("is_uniform", [True, False])
@pytest.mark.parametrize("shape", [(2, 2, 4), (2, 1, 30)])
def test_higher_derivatives_are_those_of_the_recurrence(shape, is_uniform, rng):
    """Also in sums with values and slopes; the recurrence is differentiable as it is.

    The penalty has third derivatives by the samples.
    """
    layer = make_layer(rng, shape, is_uniform=is_uniform)
    x = make_samples(rng, layer, reach=0.99).requires_grad_()
    pairs = []
    for function in (layer, partial(by_recurrence, layer)):
        output = function(x)
        (slope,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
        total = output.sum() + (slope * bend).square().sum()
        pairs.append((slope, bend, *torch.autograd.grad(total, (x, layer.weight))))
    for mine, theirs in zip(*pairs, strict=True):
        scale = theirs.detach().abs().max()
        found, expected = mine.detach() / scale, theirs.detach() / scale
        assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("is_uniform", [True, False])
def test_no_number_has_no_value(is_uniform, shape, rng):
    """NaN comes out where it went in, and nowhere else; infinity is beyond the grid."""
    layer = make_layer(rng, shape, is_uniform=is_uniform)
    layer.mask.fill_(1.0)
    x = make_samples(rng, layer)
    expected = layer(x).detach().clone()
    x[3, 0], x[4, 0] = torch.nan, torch.inf
    output = layer(x).detach()
    assert output[3].isnan().all()
    assert output[4].isfinite().all()
    others = torch.arange(len(x)) > 4
    assert_allclose(output[others], expected[others], rtol=0, atol=1e-13)


def test_what_is_not_covered_takes_the_values_of_the_basis(rng):
    """No rows, and inputs of other kinds."""
    layer = make_layer(rng, (3, 2, 4), is_uniform=True)
    nothing = torch.zeros(0, 3, dtype=torch.float64, requires_grad=True)
    layer(nothing).sum().backward()
    assert nothing.grad.shape == (0, 3)
    assert_array_equal(layer.weight.grad, np.zeros(layer.weight.shape))
    x = make_samples(rng, layer)
    around = MixedBasis.around(layer.basis, layer.basis(x).mean(0))
    other = KANLayer(around, layer.weight.detach(), layer.mask)
    x[0, 0] = torch.nan
    assert not supports(around, x, other.weight)
    assert other(x).isfinite().all()
    assert_allclose(other(x)[1:].detach(), layer(x[1:]).detach(), atol=1e-13)


def test_layers_may_change_their_numbers(rng):
    """What is remembered of the knots follows them to another dtype."""
    for is_uniform in (True, False):
        layer = make_layer(rng, (3, 2, 4), is_uniform=is_uniform)
        x = make_samples(rng, layer)
        double = layer(x).detach()
        single = layer.float()(x.float()).detach()
        assert single.dtype == torch.float32
        assert_allclose(single, double, rtol=0, atol=1e-5)


@pytest.fixture
def two_layers(request, rng):
    """Layers that differ in their knots, equidistant ones or not."""
    grids = {
        True: np.linspace(-2, 2, 6)[None],
        False: np.sort(rng.uniform(-2, 2, (1, 6)), axis=1),
    }
    weight = torch.from_numpy(rng.normal(size=(2, 1, 9)))
    return [
        KANLayer(BSplineBasis(torch.from_numpy(grids[each] * size), 3), weight)
        for each, size in zip(request.param, (1.0, 0.5), strict=True)
    ]


of_all_kinds = pytest.mark.parametrize(
    "two_layers", [*product([False, True], repeat=2)], indirect=True
)


@pytest.mark.usefixtures("regime")
@of_all_kinds
def test_a_layer_that_loads_knots_forgets_those_before(two_layers, rng):
    """After an evaluation."""
    x = torch.from_numpy(rng.uniform(-1, 1, (20, 1)))
    outputs = [layer(x) for layer in two_layers]
    assert not torch.equal(*outputs)
    source, target = two_layers
    target.load_state_dict(source.state_dict())
    assert_array_equal(target(x).detach(), outputs[0].detach())
    assert_array_equal(target.basis(x), source.basis(x))


@pytest.mark.usefixtures("regime")
@of_all_kinds
def test_a_layer_whose_knots_change_in_place_follows_them(two_layers, rng):
    """As averages of weights change them; copies and pickles know no older ones."""
    x = torch.from_numpy(rng.uniform(-1, 1, (20, 1)))
    source, target = two_layers
    expected, before = source(x).detach(), target(x)
    for name, tensor in source.state_dict().items():
        target.state_dict()[name].copy_(tensor)
    for layer in (target, copy.deepcopy(target), pickle.loads(pickle.dumps(target))):
        assert_array_equal(layer(x).detach(), expected)
        assert_array_equal(layer.basis(x), source.basis(x))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        before.sum().backward()


@pytest.mark.usefixtures("regime")
@of_all_kinds
def test_a_layer_that_is_called_with_knots_follows_them(two_layers, rng):
    """For that call, by whichever way it is evaluated."""
    x = torch.from_numpy(rng.uniform(-1, 1, (20, 1)))
    source, target = two_layers
    for part, of_source in ((target, source), (target.basis, source.basis)):
        own = part(x).detach()
        found = functional_call(part, of_source.state_dict(), x)
        assert_array_equal(found.detach(), of_source(x).detach())
        assert not torch.equal(found, own)
        assert_array_equal(part(x).detach(), own)


def test_threads_do_not_change_the_result(rng):
    """Beyond the order of sums."""
    layer = make_layer(rng, (6, 4, 5), is_uniform=True)
    x = make_samples(rng, layer, 2000)
    before, outputs = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            outputs.append(layer(x).detach())
    finally:
        torch.set_num_threads(before)
    assert_allclose(*outputs, rtol=0, atol=1e-13)


def test_network_is_made_of_the_same_steps(rng):
    """Its gradients go through all layers and the skip."""
    x = torch.from_numpy(rng.normal(size=(80, 3)))
    network = KANNetwork.from_samples(
        [3, 4, 2], x, additive_skip=True, generator=torch.Generator().manual_seed(0)
    )
    for layer in network.all_layers:
        with torch.no_grad():
            layer.weight += 0.3 * torch.from_numpy(rng.normal(size=layer.weight.shape))
    leaves = [layer.weight for layer in network.all_layers]
    mine = torch.autograd.grad(network(x).square().sum(), leaves)
    theirs = torch.autograd.grad(network.propagate(x)[0].square().sum(), leaves)
    for one, other in zip(mine, theirs, strict=True):
        assert_allclose(one, other, rtol=1e-10, atol=1e-10)
