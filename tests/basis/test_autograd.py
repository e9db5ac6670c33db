"""Layers in what torch makes of functions: transforms, forward mode, batches, graphs.

The peers are loops over the plain backward pass, which
tests/network/test_layer_evaluation.py checks.
"""

from copy import deepcopy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import BSpline
from torch.autograd import forward_ad, functional
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

from skkan import BSplineBasis, KANLayer, KANNetwork
from skkan.basis._categories_and_missing import MixedBasis

# torch itself scripts a few functions when forward mode is first used.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
SUM = 1e-12  # other orders of sums of numbers of about 1


def plain_layer(rng, extrapolation="constant"):
    grid = torch.linspace(-1, 1, 5, dtype=torch.float64).expand(3, -1)
    basis = BSplineBasis(grid, base_activation="silu", extrapolation=extrapolation)
    weight = rng.standard_normal((2, 3, basis.n_functions))
    mask = torch.tensor([[1, 0, 1], [1, 1, 1]], dtype=torch.float64)
    return KANLayer(basis, torch.from_numpy(weight), mask)


def uneven_layer(rng):
    layer = plain_layer(rng, "linear")
    grid = layer.basis.grid.clone()
    grid[:, 1:-1] += torch.from_numpy(rng.uniform(-0.2, 0.2, (3, 3)))
    return KANLayer(layer.basis.with_grid(grid), layer.weight.detach())


def single_layer(rng):
    """One curve on a fine grid, whose coefficients are looked up."""
    grid = torch.linspace(-1, 1, 31, dtype=torch.float64).expand(3, -1)
    basis = BSplineBasis(grid)
    return KANLayer(basis, torch.from_numpy(rng.standard_normal((1, 3, 33))))


def first_layer(rng):
    """Of a category and of missing cells, which go by the values of the basis."""
    splines = plain_layer(rng).basis.of_inputs([0, 1])
    x = torch.from_numpy(rng.uniform(-1, 1, (9, 3)))
    x[:, 1], x[0, 0] = torch.arange(9) % 3, torch.nan
    weight = torch.ones(9, dtype=torch.float64)
    basis = MixedBasis.from_samples(splines, torch.tensor([0, 3, 0]), x, weight)
    weight = rng.standard_normal((2, 3, basis.n_functions))
    return KANLayer(basis, torch.from_numpy(weight))


def network(rng):
    """With hidden nodes, a skip, and a column that is not used."""
    first = plain_layer(rng)
    grid = torch.linspace(-3, 3, 8, dtype=torch.float64).expand(2, -1)
    basis = BSplineBasis(grid, 2, extrapolation="linear")
    last = KANLayer(basis, torch.from_numpy(rng.standard_normal((1, 2, 9))))
    skip = KANLayer(first.basis, first.weight.detach()[:1])
    return KANNetwork([first, last], skip, torch.tensor([True, False, True, True]))


MODULES = {
    make.__name__: make
    for make in (plain_layer, uneven_layer, single_layer, first_layer, network)
}


@pytest.fixture(params=MODULES.values(), ids=MODULES)
def case(request, rng):
    """A module, and samples within the grids, beyond them, and missing."""
    module = request.param(rng)
    n_columns = 4 if isinstance(module, KANNetwork) else 3
    x = torch.from_numpy(rng.uniform(-1.2, 1.2, (6, n_columns)))
    if request.param is first_layer:
        # Codes are cut off to whole numbers, which differences do not reach.
        x[:, 1], x[1, 0] = torch.arange(6) % 5 - 1.5, torch.nan
    return module, x


def gradients(module, x, slope):
    """Of the samples and of all parameters, by the plain backward pass."""
    x = x.detach().requires_grad_()
    leaves = x, *module.parameters()
    return torch.autograd.grad(module(x), leaves, slope, materialize_grads=True)


def first_basis(module):
    return getattr(module, "layers", [module])[0].basis


def parameters(module):
    return {name: value.detach() for name, value in module.named_parameters()}


def assert_same(found, expected):
    assert_allclose(found.detach(), expected.detach(), rtol=0, atol=SUM)


def test_transforms_leave_nothing_behind(case):
    """What a basis remembers of its knots is made outside of them."""
    module, x = case
    twin = deepcopy(module)
    hessian(lambda x: module(x).sum())(x)
    jacrev(module)(x)
    assert_array_equal(module(x).detach(), twin(x).detach())
    x = x[:, :3]
    assert_array_equal(first_basis(module)(x), first_basis(twin)(x))


def test_jacobians(case):
    """All ways of torch, one of them old; in batches of rows and of directions."""
    module, x = case
    expected = functional.jacobian(module, x)
    found = [
        jacrev(module)(x),
        jacfwd(module)(x),
        functional.jacobian(module, x, vectorize=True),
        functional.jacobian(module, x, vectorize=True, strategy="forward-mode"),
    ]
    for one in found:
        assert_same(one, expected)
    own = [expected[each, :, each] for each in range(len(x))]
    by_row = vmap(jacrev(lambda row: module(row[None])[0]))(x)
    assert_same(by_row, torch.stack(own))


def test_directional_derivatives(case, rng):
    module, x = case
    direction = torch.from_numpy(rng.standard_normal(x.shape))
    expected = torch.einsum("noij,ij->no", functional.jacobian(module, x), direction)
    with forward_ad.dual_level():
        dual = module(forward_ad.make_dual(x, direction))
        output, slope = forward_ad.unpack_dual(dual)
    assert_same(output, module(x))
    found = [
        slope,
        jvp(module, (x,), (direction,))[1],
        functional.jvp(module, x, direction)[1],  # by two backward passes
    ]
    for one in found:
        assert_same(one, expected)


def test_gradients(case, rng):
    module, x = case
    slope = torch.from_numpy(rng.standard_normal(module(x).shape))
    expected = gradients(module, x, slope)
    assert_same(vjp(module, x)[1](slope)[0], expected[0])

    def total(weights):
        return (functional_call(module, weights, x) * slope).sum()

    found = grad(total)(parameters(module)).values()
    for one, other in zip(found, expected[1:], strict=True):
        assert_same(one, other)


def test_gradients_of_every_sample(case):
    """As torch's tutorial has them: with buffers beside the parameters."""
    module, x = case
    buffers = {name: value.detach() for name, value in module.named_buffers()}

    def total(weights, buffers, row):
        return functional_call(module, (weights, buffers), row[None]).sum()

    by_sample = vmap(grad(total), (None, None, 0))
    found = by_sample(parameters(module), buffers, x).values()
    for each, row in enumerate(x):
        slope = torch.ones_like(module(row[None]))
        expected = gradients(module, row[None], slope)[1:]
        for one, other in zip(found, expected, strict=True):
            assert_same(one[each], other)


def test_an_ensemble_on_the_same_grids(case):
    """Weights are mapped over, with samples of their own or the same for all."""
    module, x = case
    weights = parameters(module)
    several = {k: torch.stack([v, -v, 2 * v]) for k, v in weights.items()}
    samples = torch.stack([x, x.flip(0), 0.5 * x])

    def output(weights, x):
        return functional_call(module, weights, (x,))

    shared, own = vmap(output, (0, None))(several, x), vmap(output)(several, samples)
    for each in range(3):
        member = {name: value[each] for name, value in several.items()}
        for found, rows in ((shared, x), (own, samples[each])):
            expected = output(member, rows).detach()
            assert_same(found[each], expected)


def test_maps_in_maps_and_over_any_dimension(case):
    module, x = case
    expected = module(x).detach()
    nested = vmap(vmap(lambda row: module(row[None])[0]))(x.view(2, 3, -1))
    assert_same(nested.view(expected.shape), expected)
    of_columns = vmap(lambda row: module(row[None])[0], in_dims=1)(x.T)
    assert_same(of_columns, expected)
    # Nothing of the module is mapped over.
    times = vmap(lambda factor: factor * module(x))(torch.arange(3.0))
    assert_same(times[2], 2 * expected)


@pytest.mark.parametrize("create_graph", [False, True])
def test_batches_of_gradients(create_graph, case, rng):
    """By both of torch's ways to map over a backward pass."""
    module, x = case
    x.requires_grad_()
    output = module(x)
    slopes = torch.from_numpy(rng.standard_normal((4, *output.shape)))
    leaves = x, *module.parameters()

    def backward(slope, **how):
        return torch.autograd.grad(
            output, leaves, slope, retain_graph=True, create_graph=create_graph, **how
        )

    expected = [torch.stack(g) for g in zip(*map(backward, slopes), strict=True)]
    for found in (backward(slopes, is_grads_batched=True), vmap(backward)(slopes)):
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)


def test_torch_finds_no_fault(case):
    """Against differences: backward, forward, and both in batches."""
    module, x = case
    assert torch.autograd.gradcheck(
        module,
        x[~x.isnan().any(1)].requires_grad_(),
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
    )


@pytest.mark.parametrize("make", [first_layer, network])
def test_exported_graphs_have_the_same_values(make, rng):
    """By torch's exporter, for any number of rows, missing cells and codes included."""
    module = make(rng)
    x = torch.from_numpy(rng.uniform(-1.2, 1.2, (6, 3 + (make is network))))
    if make is first_layer:
        x[:, 1], x[1, 0], x[2, 1] = torch.arange(6) % 5 - 1, torch.nan, torch.nan
    rows = ({0: torch.export.Dim("n_rows")},)
    exported = torch.export.export(module, (x,), dynamic_shapes=rows).module()
    for samples in (x, torch.cat([x, x.flip(0)])):
        assert_same(exported(samples), module(samples))


@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")
def test_tracing_is_refused(rng):
    """It would write down the values of the splines as constants."""
    layer = plain_layer(rng)
    with pytest.raises(RuntimeError, match=r"constants: use torch\.export\.export, or"):
        torch.jit.trace(layer, torch.zeros(2, 3, dtype=torch.float64))


def test_other_errors_of_a_layer_are_its_own(rng, monkeypatch):
    """They do not lead to another way to evaluate it."""

    def broken(*args):
        raise RuntimeError("broken")

    layer = plain_layer(rng)
    monkeypatch.setattr("skkan.network._layer_evaluation.layer_evaluation", broken)
    with pytest.raises(RuntimeError, match="broken"):
        layer(torch.zeros(2, 3, dtype=torch.float64))


# Second derivatives


TWICE = {
    "reverse over reverse": lambda f, x: jacrev(jacrev(f))(x),
    "reverse over forward": lambda f, x: jacrev(jacfwd(f))(x),
    "forward over reverse": lambda f, x: hessian(f)(x),
    "forward over forward": lambda f, x: jacfwd(jacfwd(f))(x),
    "graph": functional.hessian,
    "graph in batches": lambda f, x: functional.hessian(f, x, vectorize=True),
}


@pytest.fixture
def known(case):
    """A module, and some of the samples in which no cell is missing."""
    module, x = case
    return module, x[~x.isnan().any(1)][:3]


@pytest.mark.parametrize("twice", TWICE.values(), ids=TWICE)
def test_second_derivatives_are_differences_of_slopes(twice, known):
    module, x = known

    def total(x):
        return module(x).square().sum()

    step = 1e-6
    differences = [
        grad(total)(x + step * unit) - grad(total)(x - step * unit)
        for unit in torch.eye(x.numel()).to(x).view(-1, *x.shape)
    ]
    by_difference = torch.stack(differences).detach() / (2 * step)
    found = twice(total, x).detach().view(by_difference.shape)
    scale = by_difference.abs().max()
    # Rounding of slopes over the step, and curvatures that change within it.
    assert_allclose(found / scale, by_difference / scale, rtol=0, atol=1e-7)


def test_torch_finds_no_fault_in_second_derivatives(known):
    """Against differences: by the samples and by all weights, in batches, too."""
    module, x = known
    names, weights = zip(*module.named_parameters(), strict=True)

    def output(x, *weights):
        return functional_call(module, dict(zip(names, weights, strict=True)), x)

    weights = [weight.detach().clone().requires_grad_() for weight in weights]
    inputs = x.requires_grad_(), *weights
    assert torch.autograd.gradgradcheck(
        output, inputs, check_batched_grad=True, fast_mode=True
    )


def residual(module, weights, x):
    """Of an equation that holds values, slopes and second derivatives."""
    x = x.detach().requires_grad_()
    output = functional_call(module, weights, x)
    (slope,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    bends = [
        torch.autograd.grad(of_column.sum(), x, create_graph=True)[0][:, column]
        for column, of_column in enumerate(slope.T)
    ]
    return output.sin().sum(1) + slope.prod(1) + torch.stack(bends).sum(0)


def test_residuals_have_gradients_of_weights(known):
    """Behind hidden layers these are third derivatives; against differences."""
    module, x = known
    names, weights = zip(*module.named_parameters(), strict=True)
    weights = [weight.detach().clone().requires_grad_() for weight in weights]
    assert torch.autograd.gradcheck(
        lambda *weights: residual(module, dict(zip(names, weights, strict=True)), x),
        weights,
        fast_mode=True,
    )


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("base_activation", ["silu", "identity", None])
@pytest.mark.parametrize("spline_order", range(6))
def test_every_basis_is_twice_differentiable(
    spline_order, base_activation, extrapolation, rng
):
    """Against differences, within the grid and beyond."""
    grid = torch.tensor([[-1.0, -0.4, 0.1, 1.0]], dtype=torch.float64)
    kind = {"base_activation": base_activation, "extrapolation": extrapolation}
    basis = BSplineBasis(grid, spline_order, **kind)
    layer = KANLayer(
        basis, torch.from_numpy(rng.normal(size=(1, 1, basis.n_functions)))
    )
    x = torch.tensor([[-1.3], [-0.8], [0.0], [0.6], [1.2]], dtype=torch.float64)
    for function in (basis, layer):
        assert torch.autograd.gradgradcheck(
            function, x.requires_grad_(), fast_mode=True
        )


def test_residuals_of_a_composition_are_scipys(rng):
    """u = f(g(x) + h(y)) has u_xx = f'' g'^2 + f' g'', and so on."""
    grids = [torch.linspace(-1, 1, 7).expand(2, -1), torch.linspace(-9, 9, 12)[None]]
    bases = [BSplineBasis(grid.double(), 4) for grid in grids]
    weights = [
        torch.from_numpy(rng.normal(size=(1, basis.n_inputs, basis.n_functions)))
        for basis in bases
    ]
    module = KANNetwork([KANLayer(*both) for both in zip(bases, weights, strict=True)])
    x = rng.uniform(-1, 1, (50, 2))
    found = residual(module, dict(module.named_parameters()), torch.from_numpy(x))
    of_g = torch.autograd.grad(found.sum(), module.layers[0].weight)[0][0, 0]

    def derivatives(layer, each, z, coef=None):
        knots = bases[layer].knots[each].numpy()
        coef = weights[layer][0, each].numpy() if coef is None else coef
        return [BSpline(knots, coef, 4)(z, nu) for nu in range(4)]

    g, h = (derivatives(0, each, x[:, each]) for each in (0, 1))
    f = derivatives(1, 0, g[0] + h[0])
    assert np.abs(g[0] + h[0]).max() < 9
    expected = np.sin(f[0]) + f[1] ** 2 * g[1] * h[1]
    expected += f[2] * (g[1] ** 2 + h[1] ** 2) + f[1] * (g[2] + h[2])
    assert_allclose(found.detach(), expected, rtol=0, atol=1e-12)
    # By the coefficients of g, whose derivatives are the splines themselves.
    b = [part.T for part in derivatives(0, 0, x[:, 0], np.eye(bases[0].n_functions))]
    by_node = np.cos(f[0]) * f[1] + 2 * f[1] * f[2] * g[1] * h[1]
    by_node += f[3] * (g[1] ** 2 + h[1] ** 2) + f[2] * (g[2] + h[2])
    by_slope = f[1] ** 2 * h[1] + 2 * f[2] * g[1]
    expected = b[0] @ by_node + b[1] @ by_slope + b[2] @ f[1]
    assert_allclose(of_g, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("twice", TWICE.values(), ids=TWICE)
@pytest.mark.parametrize("make", [plain_layer, single_layer, first_layer])
def test_second_derivatives_of_weights_are_exact(make, twice, rng):
    """A layer is linear in them: 2 B^T B for each output."""
    layer = make(rng)
    x = torch.from_numpy(rng.uniform(-1.2, 1.2, (6, 3)))
    B = layer.basis(x).unsqueeze(1) * layer.mask.unsqueeze(2)  # sample, output, ...
    per_output = 2 * torch.einsum("noif,nojg->oifjg", B, B)
    expected = torch.zeros(*layer.weight.shape, *layer.weight.shape).to(B)
    for each, block in enumerate(per_output):
        expected[each, :, :, each] = block

    def loss(weight):
        return functional_call(layer, {"weight": weight}, x).square().sum()

    found = twice(loss, layer.weight.detach())
    assert_same(found, expected)


@pytest.mark.parametrize("make", [plain_layer, single_layer, first_layer])
def test_slopes_have_gradients_of_weights(make, rng):
    """As a penalty on slopes needs; by a graph as by transforms."""
    layer = make(rng)
    x = torch.from_numpy(rng.uniform(-1.2, 1.2, (6, 3))).requires_grad_()
    slopes = layer.basis.values_and_derivatives(x.detach())[1]
    of_samples = torch.einsum("nif,oif->ni", slopes, layer.masked(layer.weight))
    expected = torch.autograd.grad(of_samples.square().sum(), layer.weight)[0]
    (found,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
    (found,) = torch.autograd.grad(found.square().sum(), layer.weight)
    assert_same(found, expected)

    def penalty(weight):
        of_x = grad(lambda x: functional_call(layer, {"weight": weight}, x).sum())
        return of_x(x.detach()).square().sum()

    found = grad(penalty)(layer.weight.detach())
    assert_same(found, expected)


# Bad input

SHAPE = r"x must have shape \(n_samples, {}\), got "
BAD = {
    "few": (lambda x: x[:, :2], ValueError, SHAPE + r"\(6, 2\): pass one column"),
    "one": (lambda x: x[:, :1], ValueError, SHAPE + r"\(6, 1\): pass one column"),
    "many": (lambda x: torch.cat([x, x], 1), ValueError, SHAPE),
    "a row": (lambda x: x[0], ValueError, SHAPE + r"\({},\): .* along the first dim"),
    "a number": (lambda x: x[0, 0], ValueError, SHAPE + r"\(\): "),
    "blocks": (lambda x: x[None], ValueError, SHAPE + r"\(1, 6, {}\): .* along"),
    "array": (lambda x: x.numpy(), TypeError, r"Tensor, got ndarray: .*as_tensor"),
}


@pytest.mark.parametrize(("spoil", "error", "message"), BAD.values(), ids=BAD)
def test_shapes_are_told(spoil, error, message, case):
    """By layers, networks and bases; none is stretched or cut to what it should be."""
    module, x = case
    bad, message = spoil(x), message.replace("{}", str(x.shape[1]))
    with pytest.raises(error, match=message):
        module(bad)
    if isinstance(module, KANLayer):
        with pytest.raises(error, match=message):
            module.basis(bad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
@pytest.mark.parametrize("n_samples", [0, 6])
def test_dtypes_are_told(n_samples, dtype, case):
    module, x = case
    message = (
        rf"of the layer, torch\.float64, got {dtype}: pass x\.to\(torch\.float64\)"
    )
    with pytest.raises(TypeError, match=message):
        module(x[:n_samples].nan_to_num().to(dtype))


def test_dtypes_may_differ_where_torch_converts(rng):
    """Under autocast, behind modules of other numbers."""
    layer = plain_layer(rng).float()
    x = torch.from_numpy(rng.uniform(-1.2, 1.2, (6, 3))).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
    bits = 2.0**-7  # of a bfloat16, next to sums of ten numbers of about 1
    expected = layer(x.float())
    assert_allclose(found.float().detach(), expected.detach(), rtol=0, atol=10 * bits)


# Knots


@pytest.mark.parametrize(
    "transform",
    [
        lambda f, knots: vmap(f)(torch.stack([knots, 2 * knots])),
        lambda f, knots: grad(lambda knots: f(knots).sum())(knots),
        lambda f, knots: jvp(f, (knots,), (knots,)),
    ],
    ids=["vmap", "grad", "jvp"],
)
@pytest.mark.parametrize("make", [plain_layer, single_layer])
def test_knots_are_not_transformed(make, transform, rng):
    """They would be taken for constant; what was learnt of them is forgotten again."""
    layer = make(rng)
    x = torch.from_numpy(rng.uniform(-1, 1, (6, 3)))
    before, values = layer(x).detach(), layer.basis(x)
    with pytest.raises(ValueError, match=r"Knots must be the same .* leave the buff"):
        transform(
            lambda knots: functional_call(layer, {"basis.knots": knots}, x),
            layer.basis.knots,
        )
    assert_array_equal(layer(x).detach(), before)
    assert_array_equal(layer.basis(x), values)
