"""Splines against scipy, grids against the reference implementation, transfers."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import BSpline

from skkan import BSplineBasis, extend_grid, grid_from_samples
from skkan.basis._base_functions import base_derivatives
from skkan.basis._spline_pieces import cardinal_polynomials, spline_polynomials

GOLDEN = Path(__file__).parents[1] / "golden"
GRIDS = json.loads((GOLDEN / "grids.json").read_text())
BASIS = json.loads((GOLDEN / "basis.json").read_text())
DEGREES = range(6)
GRID_EPS = (0.0, 0.02, 0.5, 1.0)


def uniform_grid(n_inputs=3, grid_size=5):
    start = torch.arange(n_inputs, dtype=torch.float64).unsqueeze(1) - 1.0
    steps = torch.arange(grid_size + 1, dtype=torch.float64)
    return start + (1.0 + start.abs()) * steps / grid_size


def uneven_grid(rng, n_inputs=3, grid_size=5):
    width = rng.uniform(0.1, 1.0, (n_inputs, grid_size + 1))
    return torch.from_numpy(width.cumsum(1) - 1.5)


def samples_inside(grid, rng, n_samples=200):
    """Random points of each grid, and all of its knots."""
    low, high = grid[:, 0].numpy(), grid[:, -1].numpy()
    random = torch.from_numpy(rng.uniform(low, high, (n_samples, len(low))))
    return torch.cat([random, grid.T])


def scipy_splines(basis, x, nu=0):
    """Values (or derivatives) of the splines, (n_samples, n_inputs, n_splines)."""
    columns = [
        BSpline(knots, np.eye(basis.n_splines), basis.spline_order)(column, nu)
        for knots, column in zip(basis.knots.numpy(), x.T.numpy(), strict=True)
    ]
    return np.stack(columns, axis=1)


def silu(x):
    return x / (1 + np.exp(-x))


def column(values):
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 1)


@pytest.fixture(params=["uniform", "uneven"])
def grid(request, rng):
    return uniform_grid() if request.param == "uniform" else uneven_grid(rng)


# Values and derivatives


@pytest.mark.parametrize("spline_order", DEGREES)
def test_values_and_derivatives_equal_scipy(grid, spline_order, rng):
    """Inside of the grid these are B-splines, knots and both ends included."""
    basis = BSplineBasis(grid, spline_order)
    x = samples_inside(grid, rng)
    values, derivatives = basis.values_and_derivatives(x)
    assert_allclose(values, scipy_splines(basis, x), rtol=0, atol=1e-12)
    # Slopes are of the order of 1 / 0.1, the smallest interval.
    assert_allclose(derivatives, scipy_splines(basis, x, nu=1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("spline_order", DEGREES)
def test_higher_derivatives_equal_scipy(grid, spline_order, order, rng):
    """Within intervals; those of order k jump at the knots."""
    basis = BSplineBasis(grid, spline_order)
    x = samples_inside(grid, rng)[:200]
    pair = basis.higher_derivatives(x, order)
    by_torch = basis._by_torch(x, order, order + 1)
    for nu, values, others in zip((order, order + 1), pair, by_torch, strict=True):
        expected = scipy_splines(basis, x, nu=nu)
        scale = np.abs(expected).max() + 1e-300
        assert_allclose(values / scale, expected / scale, rtol=0, atol=1e-12)
        assert_allclose(others / scale, expected / scale, rtol=0, atol=1e-12)


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("base_activation", ["silu", "identity", None])
def test_continuations_have_no_higher_derivatives(
    grid, base_activation, extrapolation, rng
):
    """Neither constants nor tangents are bent; within, the base function may be."""
    kind = {"base_activation": base_activation, "extrapolation": extrapolation}
    basis = BSplineBasis(grid, **kind)
    inside, width = samples_inside(grid, rng), grid[:, -1] - grid[:, 0]
    beyond = torch.cat([inside - width - 0.1, inside + width + 0.1])
    for part in basis.higher_derivatives(beyond, 2):
        assert_array_equal(part, torch.zeros_like(part))
    for part in basis._by_torch(beyond, 2, 3):
        assert_array_equal(part, torch.zeros_like(part))
    if base_activation is not None:
        columns = [part[..., -1] for part in basis.higher_derivatives(inside, 2)]
        expected = base_derivatives(base_activation, inside, 3)[2:]
        assert_allclose(columns, torch.stack(expected), rtol=0, atol=1e-14)


@pytest.mark.parametrize("spline_order", DEGREES)
def test_values_do_not_depend_on_asking_for_derivatives(grid, spline_order, rng):
    """Both come from one kernel, so that prediction and training agree bitwise."""
    for extrapolation in ("constant", "linear"):
        basis = BSplineBasis(grid, spline_order, extrapolation=extrapolation)
        x = 2 * samples_inside(grid, rng)
        with_them, _ = basis.values_and_derivatives(x)
        without, _ = basis.values_and_derivatives(x, with_derivatives=False)
        assert_array_equal(with_them, without)
        assert_array_equal(with_them, basis(x))


@pytest.mark.parametrize("spline_order", [2, 3, 5, 8])
def test_equidistant_knots_have_the_cardinal_polynomials(spline_order, rng):
    """Grids are recognised as equidistant up to rounding; both ways agree on them."""
    grid = grid_from_samples(torch.from_numpy(rng.normal(size=(50, 2))), 7)
    basis = BSplineBasis(grid, spline_order)
    assert basis.is_uniform
    by_recurrence = spline_polynomials(basis.knots, spline_order)
    cardinal = cardinal_polynomials(spline_order).T[:, :, None]
    cardinal = np.broadcast_to(cardinal, by_recurrence.shape)
    assert_allclose(by_recurrence, cardinal, rtol=0, atol=1e-13)


def test_uneven_grids_are_not_taken_for_equidistant(rng):
    """Nor are degrees whose functions or slopes jump at the knots."""
    assert not BSplineBasis(uneven_grid(rng)).is_uniform
    nudged = uniform_grid().clone()
    nudged[0, 2] += 1e-12
    assert not BSplineBasis(nudged).is_uniform
    assert not BSplineBasis(uniform_grid(), 1).is_uniform


@pytest.mark.parametrize("spline_order", [1, 3])
def test_samples_that_are_no_numbers_have_no_values(grid, spline_order):
    """A search that diverges must be able to tell."""
    x = grid[:, :1].T * np.nan
    assert BSplineBasis(grid, spline_order)(x).isnan().any()


@pytest.mark.parametrize("case", BASIS["cases"], ids=lambda c: f"k{c['spline_order']}")
def test_values_equal_the_reference_implementation(case):
    """The papers' grids extend by uniform steps, also where the inner knots do not."""
    grid = torch.tensor([case["grid"]], dtype=torch.float64)
    basis = BSplineBasis(grid, case["spline_order"])
    assert_allclose(basis(column(case["x"]))[:, 0], case["values"], rtol=0, atol=1e-14)


@pytest.mark.parametrize("spline_order", DEGREES)
def test_splines_are_a_local_partition_of_unity(grid, spline_order, rng):
    """k + 1 neighbouring, non-negative splines share each point, and sum to one."""
    basis = BSplineBasis(grid, spline_order)
    x = samples_inside(grid, rng, n_samples=500)[:500]
    values = basis(x).numpy()
    assert values.min() >= 0
    assert_allclose(values.sum(2), 1, rtol=0, atol=1e-14)
    # Next to a knot one of the k + 1 is zero within rounding.
    distance = (x.unsqueeze(2) - grid).abs().amin(2).numpy()
    values = values[distance > 1e-2]
    assert len(values) > 1000
    assert_array_equal((values > 0).sum(1), spline_order + 1)
    first = (values > 0).argmax(1)
    last = values.shape[1] - 1 - (values > 0)[:, ::-1].argmax(1)
    assert_array_equal(last - first, spline_order)


@pytest.mark.parametrize("spline_order", DEGREES)
def test_right_end_belongs_to_the_last_interval(grid, spline_order):
    """The largest sample of a column lies there and must not lose its splines."""
    basis = BSplineBasis(grid, spline_order)
    end = basis(grid[:, -1:].T)[0].numpy()
    assert_allclose(end.sum(1), 1, rtol=0, atol=1e-14)
    before = np.nextafter(grid[:, -1:].T.numpy(), -np.inf)
    assert_allclose(end, basis(torch.from_numpy(before))[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("base_activation", [None, "silu", "identity"])
def test_gradient_is_that_of_the_values(extrapolation, base_activation, rng):
    """The backward pass is hand-written; finite differences know nothing of it."""
    basis = BSplineBasis(
        uneven_grid(rng),
        base_activation=base_activation,
        extrapolation=extrapolation,
    )
    # Twice the range, so that a good part lies outside on both sides.
    x = torch.from_numpy(rng.uniform(-3, 4, (20, 3))).requires_grad_()
    assert torch.autograd.gradcheck(basis, x)


@pytest.mark.parametrize("spline_order", DEGREES)
def test_base_function_is_the_last_column(grid, spline_order, rng):
    """Silu and its slope as numpy and autograd have them; the splines stay."""
    plain = BSplineBasis(grid, spline_order)
    basis = BSplineBasis(grid, spline_order, base_activation="silu")
    x = samples_inside(grid, rng).requires_grad_()
    values, derivatives = basis.values_and_derivatives(x.detach())
    (slope,) = torch.autograd.grad(torch.nn.functional.silu(x).sum(), x)
    assert_allclose(values[..., -1], silu(x.detach().numpy()), rtol=1e-14, atol=1e-15)
    assert_allclose(derivatives[..., -1], slope, rtol=0, atol=1e-15)
    assert_array_equal(values[..., :-1], plain(x.detach()))


def test_identity_base_function(grid, rng):
    """The other registered function is x itself."""
    x = samples_inside(grid, rng)
    basis = BSplineBasis(grid, base_activation="identity")
    values, slopes = basis.values_and_derivatives(x)
    assert_array_equal(values[..., -1], x)
    assert_array_equal(slopes[..., -1], np.ones(x.shape))


@pytest.mark.parametrize("spline_order", DEGREES)
@pytest.mark.parametrize("base_activation", [None, "silu"])
def test_constant_continuation_keeps_the_boundary_value(
    grid, spline_order, base_activation
):
    """An outlier in new data is treated like the largest sample, on the whole edge."""
    basis = BSplineBasis(grid, spline_order, base_activation=base_activation)
    for end, shift in ((grid[:, :1].T, -1.0), (grid[:, -1:].T, 1e6)):
        values, slopes = basis.values_and_derivatives(end + shift)
        assert_array_equal(values, basis(end))
        assert_array_equal(slopes, np.zeros(slopes.shape))


@pytest.mark.parametrize("spline_order", DEGREES)
@pytest.mark.parametrize("base_activation", [None, "silu"])
def test_linear_continuation_is_the_tangent(grid, spline_order, base_activation):
    """A trend goes on as it left the grid, base function included."""
    basis = BSplineBasis(
        grid,
        spline_order,
        base_activation=base_activation,
        extrapolation="linear",
    )
    for end, shift in ((grid[:, :1].T, -0.7), (grid[:, -1:].T, 1.3)):
        at_end, tangent = basis.values_and_derivatives(end)
        values, slopes = basis.values_and_derivatives(end + shift)
        # Shift and slope multiply to at most 1e2, of which rounding takes 1e-14.
        assert_allclose(values, at_end + shift * tangent, rtol=0, atol=1e-12)
        assert_array_equal(slopes, tangent)


def test_dtype_follows_the_input(rng):
    """float32 data are not silently computed in float64, nor the reverse."""
    grid = uneven_grid(rng)
    x = samples_inside(grid, rng)
    single = BSplineBasis(grid.float(), base_activation="silu")(x.float())
    assert single.dtype == torch.float32
    double = BSplineBasis(grid, base_activation="silu")(x)
    # Single precision: 6e-8 times a handful of operations.
    assert_allclose(single, double, rtol=0, atol=5e-6)


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("base_activation", ["silu", None])
@pytest.mark.parametrize("spline_order", DEGREES)
def test_other_devices_have_the_same_values(
    grid, spline_order, base_activation, extrapolation, rng
):
    """The operations of torch, which they take, agree with the evaluator of the CPU."""
    settings = {"base_activation": base_activation, "extrapolation": extrapolation}
    basis = BSplineBasis(grid, spline_order, **settings)
    x = torch.cat([2 * samples_inside(grid, rng), grid.T])
    expected = basis.values_and_derivatives(x)
    values, slopes = basis._by_torch(x, 0, 1)
    assert_allclose(values, expected[0], rtol=0, atol=1e-12)
    assert_allclose(slopes, expected[1], rtol=1e-11, atol=1e-11)
    assert_array_equal(basis._by_torch(x, 0)[0], values)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_numbers_have_values(grid, dtype, rng):
    """To the precision that they have."""
    grid = grid.to(dtype)
    basis = BSplineBasis(grid, 2)
    x = samples_inside(grid.double(), rng).to(dtype)
    values = basis(x)
    assert values.dtype == dtype
    expected = BSplineBasis(grid.double(), 2)(x.double())
    tolerance = 16 * torch.finfo(dtype).eps  # positions in intervals of a tenth
    assert_allclose(values.double(), expected, rtol=0, atol=tolerance)


def test_counts_and_grid_are_those_of_the_formula(rng):
    """G intervals of degree k: G + k splines on G + 2k + 1 knots."""
    grid = uneven_grid(rng, n_inputs=2, grid_size=7)
    basis = BSplineBasis(grid, 2, base_activation="silu")
    assert (basis.n_inputs, basis.grid_size) == (2, 7)
    assert (basis.n_splines, basis.n_functions) == (9, 10)
    assert basis.knots.shape == (2, 12)
    assert_array_equal(basis.grid, grid)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grid": [0.0, 1.0]}, r"shape \(n_inputs, grid_size \+ 1\).*got shape \(2,\)"),
        ({"grid": [[0.0]]}, r"got shape \(1, 1\)"),
        ({"grid": [[0.0, 0.0, 1.0]]}, "finite and strictly increasing"),
        ({"grid": [[1.0, 0.0]]}, "finite and strictly increasing"),
        ({"grid": [[0.0, np.inf]]}, "finite and strictly increasing"),
        ({"grid": [[0.0, np.nan]]}, "finite and strictly increasing"),
        ({"spline_order": -1}, "spline_order must be at least 0, got -1"),
        ({"extrapolation": "cubic"}, "extrapolation must be one of .* got 'cubic'"),
        ({"base_activation": "relu"}, "base_activation must be one of .* got 'relu'"),
    ],
)
def test_unusable_arguments_are_named(arguments, message):
    """What would end in NaN later is refused at once, with the remedy."""
    arguments = {"grid": [[0.0, 0.5, 1.0]], **arguments}
    with pytest.raises(ValueError, match=message):
        BSplineBasis(**arguments)


def test_grid_too_wide_to_extend_is_refused():
    """The knots beyond the ends would be infinite and every value NaN."""
    with pytest.raises(ValueError, match="extended by 3 steps exceeds"):
        BSplineBasis(torch.tensor([[-8e307, 8e307]], dtype=torch.float64))


# Grids


def golden_samples(name):
    if name == "normal":
        return column(np.random.default_rng(0).standard_normal(1000))
    end = {"linspace_10": 10.0, "linspace_half": 0.5}[name]
    return torch.linspace(-end, end, 1001, dtype=torch.float64).unsqueeze(1)


@pytest.mark.parametrize(
    "case", GRIDS["grids"], ids=lambda c: f"{c['samples']}-{c['grid_eps']}"
)
def test_grid_from_samples_equals_the_reference_implementation(case):
    """The papers' rule, knot by knot, before and after the extension."""
    samples = golden_samples(case["samples"])
    grid = grid_from_samples(samples, 5, grid_eps=case["grid_eps"])
    assert_allclose(extend_grid(grid, 3)[0], case["knots"], rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("grid_eps", GRID_EPS)
@pytest.mark.parametrize(
    ("end", "printed"),
    [(10.0, np.arange(-22, 23, 4)), (0.5, np.arange(-11, 12, 2) / 10)],
)
def test_even_samples_give_the_printed_grid(end, printed, grid_eps):
    """Of evenly spread samples the quantiles are even, too: grid_eps has no effect."""
    samples = torch.linspace(-end, end, 1001, dtype=torch.float64).unsqueeze(1)
    grid = extend_grid(grid_from_samples(samples, 5, grid_eps=grid_eps), 3)
    assert_allclose(grid[0], printed, rtol=1e-14)


@pytest.mark.parametrize("case", GRIDS["printed"], ids=lambda c: str(c["grid_eps"]))
def test_normal_samples_give_the_printed_grid(case):
    """The reference's notebook draws them after its network has taken 7 numbers."""
    generator = torch.Generator().manual_seed(1)
    torch.rand(7, generator=generator)
    samples = torch.normal(0, 1, (1000, 1), generator=generator, dtype=torch.float32)
    grid = extend_grid(grid_from_samples(samples, 5, grid_eps=case["grid_eps"]), 3)
    # Printed with four decimals.
    assert_allclose(grid[0], case["knots"], rtol=0, atol=5.1e-5)


@pytest.mark.parametrize("grid_eps", GRID_EPS)
def test_grids_are_even_in_logarithms_beyond_some_distance(grid_eps, rng):
    """And what they were where no sample lies beyond it."""
    samples, settings = rng.standard_t(1, size=(200, 3)), {"grid_eps": grid_eps}
    samples[:, 1] = samples[:, 1].clip(-2.0, None)
    samples[:, 2] = samples[:, 2].clip(-2.0, 2.0)

    def logarithmic(x):
        with np.errstate(divide="ignore"):
            far = np.sign(x) * 2.0 * (1 + np.log(abs(x) / 2.0))
        return np.where(abs(x) > 2.0, far, x)

    x, mapped = torch.from_numpy(samples), torch.from_numpy(logarithmic(samples))
    grid = grid_from_samples(x, 7, even_within=2.0, **settings).numpy()
    expected = grid_from_samples(mapped, 7, **settings)
    assert_allclose(logarithmic(grid), expected, rtol=1e-12, atol=1e-12)
    plain = grid_from_samples(x[:, 2:], 7, **settings)
    assert_allclose(grid[2:], plain, rtol=1e-14, atol=1e-14)
    assert_allclose(grid[:, [0, -1]], np.c_[x.amin(0), x.amax(0)], rtol=1e-12)


@pytest.mark.parametrize("grid_size", [1, 5, 100, 1000])
@pytest.mark.parametrize("grid_eps", GRID_EPS)
@pytest.mark.parametrize(
    "name",
    [
        "constant",
        "constant at zero",
        "large constant",
        "one row",
        "binary",
        "tied",
        "tied at both ends",
        "two values apart by rounding",
        "tiny range",
        "subnormal",
        "subnormal normal",
        "huge range",
        "large offset",
        "large offset and ties",
    ],
)
def test_any_column_gives_a_usable_grid(name, grid_eps, grid_size, rng):
    """Tables contain all of these, and a repeated knot would divide by zero."""
    samples = column(
        {
            "constant": [5.0] * 50,
            "constant at zero": [0.0] * 50,
            "large constant": [1e12] * 9,
            "one row": [3.0],
            "binary": [0.0, 1.0] * 20,
            "tied": [0.0] * 90 + [1.0, 2.0, 3.0] * 3,
            "tied at both ends": [0.0] * 45 + [0.3, 0.4] + [1.0] * 45,
            "two values apart by rounding": [0.3, np.nextafter(0.3, 1)] * 9,
            "tiny range": 1e-12 * rng.standard_normal(50),
            "subnormal": [0.0, 5e-324],
            "subnormal normal": 1e-310 * rng.standard_normal(50),
            "huge range": 1e300 * rng.standard_normal(50),
            "large offset": 1e12 + rng.uniform(size=50),
            "large offset and ties": 1e12 + np.repeat([0.0, 0.06, 60], [900, 50, 50]),
        }[name]
    )
    grid = grid_from_samples(samples, grid_size, grid_eps=grid_eps)
    assert grid.shape == (1, grid_size + 1)
    assert grid[0, 0] <= samples.min()
    assert samples.max() <= grid[0, -1]
    basis = BSplineBasis(grid, 3)
    assert torch.isfinite(basis.knots).all()
    assert (basis.knots.diff() > 0).all()
    values, slopes = basis.values_and_derivatives(samples)
    assert torch.isfinite(slopes).all()
    assert_allclose(values.sum(2), 1, rtol=0, atol=1e-12)


def test_columns_do_not_disturb_each_other(rng):
    """A bad column changes only its own row of knots."""
    columns = [
        rng.standard_normal(60),
        np.full(60, 2.0),
        np.repeat([0.0, 1.0], 30),
        1e12 + rng.uniform(size=60),
    ]
    together = grid_from_samples(
        torch.from_numpy(np.stack(columns, 1)), 7, grid_eps=0.3
    )
    for row, samples in zip(together, columns, strict=True):
        alone = grid_from_samples(column(samples), 7, grid_eps=0.3)[0]
        assert_array_equal(row, alone)


def test_infinite_range_is_an_error():
    """No floating-point grid covers it."""
    with pytest.raises(ValueError, match="exceeds the largest floating-point number"):
        grid_from_samples(column([-1.7e308, 1.7e308]), 5)


@pytest.mark.parametrize("grid_eps", GRID_EPS)
def test_weights_equal_repetition(grid_eps, rng):
    """A weight of 3 is three rows, bit for bit."""
    x = torch.from_numpy(rng.standard_normal((40, 3)).round(1))
    weight = torch.from_numpy(rng.integers(1, 5, 40))
    weighted = grid_from_samples(x, 6, grid_eps=grid_eps, sample_weight=weight.double())
    repeated = grid_from_samples(x.repeat_interleave(weight, 0), 6, grid_eps=grid_eps)
    assert_array_equal(weighted, repeated)


def test_adaptive_intervals_hold_equal_counts(rng):
    """The meaning of grid_eps=0, for samples without ties."""
    x = rng.standard_normal(1000)
    grid = grid_from_samples(column(x), 8, grid_eps=0.0)[0].numpy()
    counts, _ = np.histogram(x, grid)
    # The last interval also holds the largest sample, which closes it.
    assert_array_equal(counts, np.full(8, 125))


def test_grid_eps_mixes_the_two_grids(rng):
    """The rule is linear in grid_eps."""
    x = column(rng.lognormal(size=200))
    adaptive, uniform = (grid_from_samples(x, 5, grid_eps=eps) for eps in (0.0, 1.0))
    mixed = grid_from_samples(x, 5, grid_eps=0.3)
    assert_allclose(mixed, 0.3 * uniform + 0.7 * adaptive, rtol=1e-14)
    even = np.linspace(float(x.min()), float(x.max()), 6)
    assert_allclose(uniform[0], even, rtol=1e-14)


def test_margin_widens_both_ends(rng):
    """It is a fraction of the range, so that units do not matter."""
    x = column(rng.standard_normal(100))
    grid = grid_from_samples(x, 5, grid_eps=0.4, margin=0.1)[0]
    low, high = float(x.min()), float(x.max())
    assert_allclose(grid[0], low - 0.1 * (high - low), rtol=1e-14)
    assert_allclose(grid[-1], high + 0.1 * (high - low), rtol=1e-14)
    without = grid_from_samples(x, 5, grid_eps=0.0)[0]
    with_margin = grid_from_samples(x, 5, grid_eps=0.0, margin=0.1)[0]
    assert_array_equal(with_margin[1:-1], without[1:-1])


def test_extended_grid_steps_by_the_mean_width():
    """Also where the grid itself is uneven: t_-j = t_0 - j (t_G - t_0) / G."""
    grid = torch.tensor([[0.0, 1.0, 4.0]])
    assert_array_equal(extend_grid(grid, 2), [[-4.0, -2.0, 0.0, 1.0, 4.0, 6.0, 8.0]])
    assert_array_equal(extend_grid(grid, 0), grid)


# Refining and moving


def curve(basis, coef, x):
    """One curve per input, (n_samples, n_inputs)."""
    return torch.einsum("nif,if->ni", basis(x), coef)


def moved_curve(basis, new, coef, x):
    transfer = basis.transfer_matrix(new)
    return curve(new, torch.einsum("igf,if->ig", transfer, coef), x)


@pytest.mark.parametrize("grid_size", [5, 10, 15, 100])
def test_refined_grid_contains_the_knots(grid, grid_size):
    """A multiple of the grid size nests, and in between it interpolates evenly."""
    refined = BSplineBasis(grid).refined(grid_size)
    every = grid_size // 5
    assert_array_equal(refined.grid[:, ::every], grid)
    parts = refined.grid.diff(dim=1).unflatten(1, (5, every))
    expected = grid.diff(dim=1).unsqueeze(2) / every
    assert_allclose(parts, expected.expand_as(parts), rtol=1e-12)


def test_refined_grid_interpolates_the_knots(grid):
    """For other sizes the knots lie on the line through the present ones."""
    refined = BSplineBasis(grid).refined(7)
    for new, old in zip(refined.grid.numpy(), grid.numpy(), strict=True):
        expected = np.interp(np.linspace(0, 5, 8), np.arange(6), old)
        assert_allclose(new, expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("grid_size", [1, 2, 3, 7])
def test_resized_grid_interpolates_the_knots(grid, grid_size):
    """Also where it is coarser."""
    resized = BSplineBasis(grid).resized(grid_size)
    old = np.linspace(0, 1, grid.shape[1])
    for new, knots in zip(resized.grid.numpy(), grid.numpy(), strict=True):
        expected = np.interp(np.linspace(0, 1, grid_size + 1), old, knots)
        assert_allclose(new, expected, rtol=0, atol=1e-14)


def test_refined_keeps_the_kind_of_basis(grid):
    """Degree, base function and continuation are not properties of the grid."""
    basis = BSplineBasis(grid, 2, base_activation="silu", extrapolation="linear")
    refined = basis.refined(10)
    assert refined.spline_order == 2
    assert refined.base_activation == "silu"
    assert refined.extrapolation == "linear"


def test_grid_must_not_shrink(grid):
    """A coarser grid would lose the curves without a word."""
    with pytest.raises(ValueError, match="must not shrink, got 3 after 5"):
        BSplineBasis(grid).refined(3)


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("base_activation", [None, "silu"])
@pytest.mark.parametrize("spline_order", DEGREES)
def test_nested_transfer_is_exact(
    grid, spline_order, base_activation, extrapolation, rng
):
    """The coarse splines are splines on the fine grid, continuation included."""
    basis = BSplineBasis(
        grid,
        spline_order,
        base_activation=base_activation,
        extrapolation=extrapolation,
    )
    coef = torch.from_numpy(rng.standard_normal((3, basis.n_functions)))
    x = samples_inside(grid, rng)
    if spline_order == 0:
        # Knots are jumps, on which the side is a matter of rounding.
        x = x[: -grid.shape[1]]
    x = torch.cat([x, grid[:, :1].T - 0.3, grid[:, -1:].T + 0.3])
    before = curve(basis, coef, x)
    for grid_size in (10, 15, 50):
        after = moved_curve(basis, basis.refined(grid_size), coef, x)
        assert_allclose(after, before, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("spline_order", DEGREES)
def test_nested_transfer_is_exact_on_very_uneven_grids(spline_order, sigma, rng):
    """Quantiles of a skewed column: interval widths differ by a factor of up to 1e5."""
    samples = column(rng.lognormal(sigma=sigma, size=1000))
    grid = grid_from_samples(samples, 10, grid_eps=0.0)
    basis = BSplineBasis(grid, spline_order)
    coef = torch.from_numpy(rng.standard_normal((1, basis.n_functions)))
    x = torch.cat([samples, samples_inside(grid, rng)[:200]])
    before = curve(basis, coef, x)
    for grid_size in (20, 100):
        after = moved_curve(basis, basis.refined(grid_size), coef, x)
        assert_allclose(after, before, rtol=0, atol=1e-12)


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("base_activation", [None, "silu"])
@pytest.mark.parametrize("spline_order", DEGREES)
def test_other_transfer_is_the_least_squares_projection(
    spline_order, base_activation, extrapolation, rng
):
    """Against scipy's splines and numpy's least squares, written out by input.

    The new grid is moved and wider than the old one: outside of that, the old curve
    with its continuation, less the new base function, is what is projected.
    """
    grid = uneven_grid(rng)
    basis = BSplineBasis(
        grid,
        spline_order,
        base_activation=base_activation,
        extrapolation=extrapolation,
    )
    new = basis.with_grid(1.4 * uneven_grid(rng, grid_size=7) + 0.1)
    transfer = basis.transfer_matrix(new).numpy()
    n_points = 2 * (spline_order + 1)
    for i in range(basis.n_inputs):
        knots = new.grid[i].numpy()
        fraction = (np.arange(n_points) + 0.5) / n_points
        x = (knots[:-1, None] + np.diff(knots)[:, None] * fraction).ravel()
        inside = np.clip(x, grid[i, 0].numpy(), grid[i, -1].numpy())
        assert (x != inside).sum() > 5
        outside = (x - inside)[:, None] * (extrapolation == "linear")
        splines = BSpline(basis.knots[i].numpy(), np.eye(basis.n_splines), spline_order)
        target = splines(inside) + outside * splines(inside, 1)
        if base_activation:
            base = torch.from_numpy(inside).requires_grad_()
            value = torch.nn.functional.silu(base)
            (slope,) = torch.autograd.grad(value.sum(), base)
            value = value.detach().numpy() + outside[:, 0] * slope.numpy()
            target = np.column_stack([target, value - silu(x)])
        design = BSpline(new.knots[i].numpy(), np.eye(new.n_splines), spline_order)(x)
        expected, *_ = np.linalg.lstsq(design, target, rcond=None)
        # The design has a condition number of up to 1e4 at degree 5.
        assert_allclose(transfer[i, : new.n_splines], expected, rtol=0, atol=1e-10)
        if base_activation:
            keep = np.eye(basis.n_functions)[-1]
            assert_array_equal(transfer[i, -1], keep)


@pytest.mark.parametrize(
    ("spline_order", "base_activation", "extrapolation"),
    [
        (0, None, "constant"),
        (1, None, "constant"),
        (1, "identity", "constant"),
        (1, "identity", "linear"),
        (2, None, "linear"),
        (2, "identity", "linear"),
    ],
)
def test_transfer_to_a_wider_grid_keeps_the_continuation(
    spline_order, base_activation, extrapolation, rng
):
    """Where the continued curve is a spline of the wider grid it is kept exactly.

    A constant joins a line, and a tangent a parabola, as smoothly as splines of that
    degree join at their knots.
    """
    old = torch.arange(-2, 3, dtype=torch.float64).unsqueeze(0)
    basis = BSplineBasis(
        old,
        spline_order,
        base_activation=base_activation,
        extrapolation=extrapolation,
    )
    new = basis.with_grid(torch.arange(-5, 7, dtype=torch.float64).unsqueeze(0))
    coef = torch.from_numpy(rng.standard_normal((1, basis.n_functions)))
    x = column(rng.uniform(-5, 6, 300))
    before = curve(basis, coef, x)
    assert_allclose(moved_curve(basis, new, coef, x), before, rtol=0, atol=1e-12)


@pytest.mark.parametrize("spline_order", DEGREES)
def test_transfer_within_the_grid_keeps_polynomials(spline_order, rng):
    """Polynomials of the degree are splines on every grid."""
    basis = BSplineBasis(uniform_grid(n_inputs=1), spline_order)
    x = samples_inside(basis.grid, rng)
    polynomial = np.polynomial.Polynomial(rng.standard_normal(spline_order + 1))
    coef, *_ = np.linalg.lstsq(
        scipy_splines(basis, x)[:, 0], polynomial(x[:, 0].numpy()), rcond=None
    )
    low, high = basis.grid[0, 0], basis.grid[0, -1]
    inner = low + (high - low) * torch.tensor([[0.1, 0.2, 0.5, 0.55, 0.9]]).double()
    x = samples_inside(inner, rng)
    after = moved_curve(basis, basis.with_grid(inner), torch.from_numpy(coef)[None], x)
    assert_allclose(after, polynomial(x.numpy()), rtol=0, atol=1e-11)


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("base_activation", [None, "identity"])
@pytest.mark.parametrize("spline_order", range(1, 6))
def test_transfer_to_other_units_is_exact(
    spline_order, base_activation, extrapolation, rng
):
    """On the same grid in those units, refined or not, everywhere."""
    options = {"base_activation": base_activation, "extrapolation": extrapolation}
    basis = BSplineBasis(uneven_grid(rng), spline_order, **options)
    scale = torch.from_numpy(rng.uniform(0.3, 3, 3))
    shift = torch.from_numpy(rng.uniform(-2, 2, 3))
    coef = torch.from_numpy(rng.standard_normal((3, basis.n_functions)))
    x = torch.from_numpy(rng.uniform(-3, 4, (200, 3)))
    # At the ends the units decide by rounding which side of the grid a sample is on.
    for same in (basis, basis.refined(10)):
        new = basis.with_grid((same.grid - shift.unsqueeze(1)) / scale.unsqueeze(1))
        transfer = basis.transfer_matrix(new, scale=scale, shift=shift)
        moved = torch.einsum("igf,if->ig", transfer, coef)
        values = curve(new, moved, (x - shift) / scale)
        # Tangents of high degree are steep: digits are lost next to their values.
        expected = curve(basis, coef, x)
        atol = 1e-10 * float(expected.abs().max())
        assert_allclose(values, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("spline_order", range(1, 6))
def test_transfer_to_other_units_projects_the_base_function(spline_order, rng):
    """silu of scaled inputs is no spline, but nearly one: the weight is kept."""
    basis = BSplineBasis(
        uneven_grid(rng), spline_order, base_activation="silu"
    ).refined(40)
    scale, shift = torch.tensor(0.7).double(), torch.tensor(0.2).double()
    new = basis.with_grid((basis.grid - shift) / scale)
    transfer = basis.transfer_matrix(new, scale=scale, shift=shift)
    coef = torch.from_numpy(rng.standard_normal((3, basis.n_functions)))
    moved = torch.einsum("igf,if->ig", transfer, coef)
    assert_array_equal(moved[:, -1], coef[:, -1])
    x = samples_inside(basis.grid, rng)[:200]
    found = curve(new, moved, (x - shift) / scale)
    # The error of splines on 40 intervals of 0.1 or less.
    error = {1: 1e-2, 2: 1e-4, 3: 1e-5, 4: 1e-6, 5: 1e-7}[spline_order]
    assert_allclose(found, curve(basis, coef, x), rtol=0, atol=error)


@pytest.mark.parametrize("base_activation", ["silu", None])
@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("spline_order", [0, 1, 3, 5])
def test_wider_grids_keep_curves(spline_order, extrapolation, base_activation):
    """Exactly within the present range, whether an input is extended or refined."""
    generator = torch.Generator().manual_seed(0)
    steps = torch.rand(3, 6, generator=generator, dtype=torch.float64)
    old = BSplineBasis(
        (0.05 + steps).cumsum(1),
        spline_order,
        base_activation=base_activation,
        extrapolation=extrapolation,
    )
    ends = torch.tensor([[-9.0, 1.0, 1.0], [1.0, 20.0, torch.nan]]).to(steps)
    new = old.with_range_of(ends, 5)
    low, high = new.grid[:, 0], new.grid[:, -1]
    assert (low[0] <= -9, high[1] >= 20) == (True, True)
    assert torch.equal(new.grid[2, [0, -1]], old.grid[2, [0, -1]])
    weight = torch.randn(3, old.n_functions, generator=generator).to(steps)
    transferred = torch.einsum("igf,if->ig", old.transfer_matrix(new), weight)
    share = torch.rand(200, 3, generator=generator).to(steps)
    x = torch.lerp(old.grid[:, 0], old.grid[:, -1], share)
    assert_allclose(
        torch.einsum("nif,if->ni", new(x), transferred),
        torch.einsum("nif,if->ni", old(x), weight),
        atol=1e-10,
    )


def test_wider_grids_are_nowhere_coarser_than_new_ones():
    """They grow with the logarithm of the range, and ignore what is next to it."""
    old = BSplineBasis(torch.linspace(-1, 1, 6).to(torch.float64).unsqueeze(0))
    assert old.with_range_of(1.09 * old.grid.T, 5) is old
    for factor in (3.0, 100.0):
        new = old.with_range_of(torch.tensor([[factor], [-factor]]).to(old.grid), 5)
        width = new.grid[0, -1] - new.grid[0, 0]
        assert new.grid.diff().max() <= width / 5
        assert new.grid_size <= 5 * (2 + math.log(factor))
