"""Penalties: closed forms, slow references, gradients."""

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import BSpline
from sklearn.base import clone
from torch.autograd.functional import hessian, jacobian

from skkan import KANNetwork, KANRegressor, SparsityPenalty
from skkan.basis._base import PenaltyKind
from skkan.penalties._eigen_directions import penalty_spectrum
from skkan.penalties._quadratic import ROUGHNESS, QuadraticPenalty, quadratic_form

SHAPES = [(1, 0), (1, 1), (1, 3), (2, 0), (5, 2), (5, 3), (20, 3), (7, 5)]
STRENGTHS = {
    "lamb": 0.3,
    "lamb_l1": 0.7,
    "lamb_entropy": 2.0,
    "lamb_coef": 0.4,
    "lamb_coefdiff": 0.9,
}


def make_passes(rng, *, n_samples=40, base_activation="silu", scale=1.0):
    """Random [3, 4, 2] network with a skip and removed edges, and its passes."""
    x = torch.from_numpy(rng.uniform(-1, 1, (n_samples, 3)))
    network = KANNetwork.from_samples(
        [3, 4, 2], x, additive_skip=True, base_activation=base_activation
    )
    network = network.with_weights(
        [
            scale * torch.from_numpy(rng.standard_normal(w.shape))
            for w in network.weights
        ]
    )
    network.layers[0].mask[1, 2] = 0
    network.skip.mask[0, 0] = 0
    return network, x, network.propagate(x, network.weights)[1]


def uniform_share(x):
    return x.new_full((len(x),), 1 / len(x))


# The quadratic penalty


@pytest.mark.parametrize("has_base", [False, True])
@pytest.mark.parametrize(("grid_size", "spline_order"), SHAPES)
def test_quadratic_form_is_symmetric_positive_definite(
    grid_size, spline_order, has_base
):
    """The penalised problem then has one minimum in each layer."""
    form = quadratic_form(grid_size, spline_order, has_base).numpy()
    # A product of three matrices, whose sums run in either order.
    assert_allclose(form, form.T, rtol=0, atol=1e-15 * np.abs(form).max())
    # The size part alone has eigenvalues 1 / n_splines, and 1 for the base weight.
    smallest = np.linalg.eigvalsh(form).min()
    assert_allclose(smallest, 1 / (grid_size + spline_order), rtol=1e-6)


@pytest.mark.parametrize(("grid_size", "spline_order"), SHAPES)
def test_constant_has_no_roughness(grid_size, spline_order):
    """All coefficients 2 are the curve 2, whose mean square is 4."""
    form = quadratic_form(grid_size, spline_order, False).numpy()
    constant = np.full(len(form), 2.0)
    assert_allclose(constant @ form @ constant, 4, rtol=1e-12)


def test_line_has_no_roughness():
    """Equidistant coefficients are a straight line: only its size counts."""
    form = quadratic_form(10, 3, False).numpy()
    line = np.linspace(-1, 1, 13)
    # Second differences are 1e-16, over the squared interval 1e-2.
    assert_allclose(line @ form @ line, np.mean(line**2), rtol=1e-12)


def test_parabola_has_its_second_derivative():
    """Of x^2 on [0, 1] it is 2 everywhere, at every grid size and degree."""
    for grid_size, spline_order in [(2, 2), (5, 3), (40, 3), (6, 5)]:
        n_splines = grid_size + spline_order
        coef = (np.arange(n_splines) / grid_size) ** 2
        form = quadratic_form(grid_size, spline_order, False).numpy()
        rough = (coef @ form @ coef - np.mean(coef**2)) / ROUGHNESS
        assert_allclose(rough, 4, rtol=1e-9)


def sine_coefficients(grid_size, spline_order):
    """Spline through sin(2 pi x) on a uniform grid of [0, 1]."""
    steps = np.arange(-spline_order, grid_size + spline_order + 1) / grid_size
    points = np.linspace(0, 1, 2000)
    splines = BSpline(steps, np.eye(grid_size + spline_order), spline_order)(points)
    return np.linalg.lstsq(splines, np.sin(2 * np.pi * points), rcond=None)[0]


def difference_form(n_splines, grid_size, order):
    """Mean of the squared differences in units of the interval, as a matrix."""
    steps = np.diff(np.eye(n_splines), n=order, axis=0) * grid_size**order
    return steps.T @ steps / max(len(steps), 1)


def spectrum(grid_size, spline_order, has_base):
    return penalty_spectrum(PenaltyKind(0, grid_size, spline_order, has_base, False))


def parts_of(coef, grid_size, spline_order):
    """Size, curvature and change of curvature of one curve."""
    vectors, parts = spectrum(grid_size, spline_order, False)
    return (parts.numpy() @ (vectors.numpy().T @ coef) ** 2).tolist()


@pytest.mark.parametrize("has_base", [False, True])
@pytest.mark.parametrize(("grid_size", "spline_order"), SHAPES)
def test_directions_are_orthonormal(grid_size, spline_order, has_base):
    """So that all parts are diagonal in them and size is the mean square."""
    vectors, parts = spectrum(grid_size, spline_order, has_base)
    n_splines = grid_size + spline_order
    identity = np.eye(n_splines + has_base)
    # The smallest of eigenvalues that span many orders of magnitude cost digits.
    assert_allclose(vectors.T @ vectors, identity, rtol=0, atol=1e-10)
    assert_allclose(parts[0, :n_splines], 1 / n_splines, rtol=1e-15)
    assert (parts >= 0).all()


@pytest.mark.parametrize(("grid_size", "spline_order"), SHAPES)
def test_change_of_curvature_is_the_third_differences(grid_size, spline_order):
    """All of their matrix, divided by (2 pi)^2."""
    vectors, parts = (p.numpy() for p in spectrum(grid_size, spline_order, False))
    expected = difference_form(grid_size + spline_order, grid_size, 3)
    form = (vectors * parts[2]) @ vectors.T * (2 * np.pi) ** 2
    # Rounding is relative to the roughest direction.
    scale = max(np.abs(expected).max(), 1e-300)
    assert_allclose(form, expected, rtol=0, atol=1e-13 * scale)


@pytest.mark.parametrize(("grid_size", "spline_order"), SHAPES)
def test_curvature_is_the_diagonal_of_the_second_differences(grid_size, spline_order):
    """Along each direction; the trace then is that of the whole matrix."""
    vectors, parts = (p.numpy() for p in spectrum(grid_size, spline_order, False))
    form = difference_form(grid_size + spline_order, grid_size, 2)
    scale = max(np.abs(form).max(), 1e-300)
    expected = [vector @ form @ vector for vector in vectors.T]
    assert_allclose(parts[1], expected, rtol=0, atol=1e-13 * scale)
    assert_allclose(parts[1].sum(), np.trace(form), rtol=1e-12)


@pytest.mark.parametrize(
    ("grid_size", "spline_order"),
    [(5, 2), (5, 3), (5, 4), (20, 3), (100, 2), (100, 3), (100, 4), (1000, 3)],
)
def test_straight_lines_and_parabolas_are_free(grid_size, spline_order):
    """Lines of both parts, parabolas of the second, next to 780 for a sine."""
    position = np.linspace(-1, 1, grid_size + spline_order)
    _, curvature, change = parts_of(1 - 2 * position, grid_size, spline_order)
    # Rounding, 1e-16, in directions of which the roughest weighs grid_size^6.
    assert curvature <= 1e-8
    assert change <= 1e-8
    _, curvature, change = parts_of(position**2, grid_size, spline_order)
    # The squared second derivative of x^2, in units of a grid of length one.
    expected = (8 * (grid_size / (len(position) - 1)) ** 2) ** 2
    # Differences of the rounding of one, 1e-16, times grid_size^2.
    assert_allclose(curvature, expected, rtol=1e-5)
    assert change <= 1e-8


@pytest.mark.parametrize(("grid_size", "rtol"), [(50, 0.04), (400, 0.005)])
@pytest.mark.parametrize("spline_order", [2, 3, 4])
def test_change_of_curvature_of_a_sine_is_the_integral(spline_order, grid_size, rtol):
    """(2 pi)^4 / 2, as for the second derivative, up to terms of 1 / grid_size."""
    coef = sine_coefficients(grid_size, spline_order)
    change = parts_of(coef, grid_size, spline_order)[2]
    assert_allclose(change, (2 * np.pi) ** 4 / 2, rtol=rtol)


@pytest.mark.parametrize("grid_size", [20, 50, 400])
@pytest.mark.parametrize("spline_order", [2, 3, 4])
def test_curvature_of_a_sine_is_more_than_the_integral(spline_order, grid_size):
    """The terms off the diagonal, which are left out, would cancel a third of it."""
    coef = sine_coefficients(grid_size, spline_order)
    curvature = parts_of(coef, grid_size, spline_order)[1]
    whole = coef @ difference_form(len(coef), grid_size, 2) @ coef
    # The ends of the grid weigh up to 3 / grid_size too little.
    assert_allclose(whole, (2 * np.pi) ** 4 / 2, rtol=0.2)
    assert_allclose(curvature, 1.55 * (2 * np.pi) ** 4 / 2, rtol=0.04)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_parts_mean_the_same_at_every_grid_size(part):
    """Otherwise alpha would have to change along a grid schedule."""
    found = [
        parts_of(sine_coefficients(grid_size, 3), grid_size, 3)[part]
        for grid_size in (20, 40, 80, 160)
    ]
    # The ends of the grid weigh up to 3 / grid_size differently.
    assert_allclose(found, found[-1], rtol=0.07)


def test_base_weight_counts_with_its_size_only():
    """It is not rough, and independent of the spline."""
    form = quadratic_form(5, 3, True).numpy()
    assert_array_equal(form[-1], np.eye(9)[-1])
    assert_array_equal(form[:-1, :-1], quadratic_form(5, 3, False))


@pytest.mark.parametrize("base_activation", [None, "silu"])
def test_quadratic_penalty_sums_over_the_edges(base_activation, rng):
    """(alpha / 2) w^T S w of each edge that exists, whatever the samples."""
    _, x, passes = make_passes(rng, base_activation=base_activation)
    form = quadratic_form(5, 3, base_activation is not None).numpy()
    expected = 0.0
    for step in passes:
        weight, mask = step.weight.numpy(), step.layer.mask.numpy()
        for o, i in np.ndindex(mask.shape):
            expected += 0.5 * 0.3 * mask[o, i] * weight[o, i] @ form @ weight[o, i]
    value = QuadraticPenalty(0.3).value(passes, uniform_share(x))
    assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize("base_activation", [None, "silu"])
def test_strengths_of_each_edge_sum_over_the_edges(base_activation, rng):
    """alpha_ep w^T S_p w, edges in the order of layers, outputs, inputs."""
    network, x, passes = make_passes(rng, base_activation=base_activation)
    n_edges = sum(layer.mask.numel() for layer in network.all_layers)
    alpha = rng.uniform(0, 1, (n_edges, 3))
    vectors, parts = spectrum(5, 3, base_activation is not None)
    expected, edge = 0.0, 0
    for step in passes:
        for o, i in np.ndindex(step.layer.mask.shape):
            along = vectors.T @ step.weight[o, i]
            for part in range(3):
                size = float((parts[part] * along.square()).sum())
                mask = float(step.layer.mask[o, i])
                expected += 0.5 * mask * alpha[edge, part] * size
            edge += 1
    assert edge == n_edges
    value = QuadraticPenalty(alpha).value(passes, uniform_share(x))
    assert_allclose(value, expected, rtol=1e-12)


def test_one_strength_stands_for_those_of_all_edges(rng):
    """alpha on the size, 0.01 alpha on the curvature, bit for bit."""
    network, x, passes = make_passes(rng)
    n_edges = sum(layer.mask.numel() for layer in network.all_layers)
    row = [0.3, 0.3 * ROUGHNESS, 0.0]
    one, each = QuadraticPenalty(0.3), QuadraticPenalty(np.tile(row, (n_edges, 1)))
    assert_array_equal(one.per_edge(n_edges), each.alpha)
    share = uniform_share(x)
    assert_array_equal(one.value(passes, share), each.value(passes, share))


@pytest.mark.parametrize("per_edge", [False, True])
def test_derivatives_of_the_quadratic_penalty_are_autograds(per_edge, rng):
    """As a function of the weights alone; removed edges have no gradient."""
    network, _, _ = make_passes(rng)
    mask = torch.cat([layer.mask.flatten() for layer in network.all_layers])
    alpha = rng.uniform(0, 1, (len(mask), 3)) if per_edge else 0.3
    form = QuadraticPenalty(alpha).form(network.all_layers)
    theta = torch.cat([weight.flatten() for weight in network.weights])
    gradient, curvature = (f(form.value, theta) for f in (jacobian, hessian))
    # Third differences on five intervals have eigenvalues up to 1e5.
    assert_allclose(form.value_and_grad(theta)[1], gradient, rtol=1e-10, atol=1e-10)
    assert_array_equal(form.value_and_grad(theta)[1].view(len(mask), -1)[mask == 0], 0)
    matrix = torch.zeros_like(curvature)
    form.add_to(matrix)
    exists = mask.repeat_interleave(len(theta) // len(mask)).unsqueeze(1)
    assert_allclose(curvature, exists * matrix, rtol=1e-10, atol=1e-10)
    # Edges have nothing to do with each other.
    edge = torch.arange(len(mask)).repeat_interleave(len(theta) // len(mask))
    assert_array_equal(matrix[edge != edge.unsqueeze(1)], 0)


# The sparsity penalty


def slow_sparsity(passes, share, lamb, lamb_l1, lamb_entropy, lamb_coef, lamb_coefdiff):
    """The reference implementation's formulas, one edge at a time."""

    def std(values):
        mean = sum(s * v for s, v in zip(share, values, strict=True))
        return math.sqrt(
            sum(s * (v - mean) ** 2 for s, v in zip(share, values, strict=True))
        )

    total = 0.0
    for step in passes:
        mask = step.layer.mask.numpy()
        n_out, n_in = mask.shape
        edges = step.layer.with_weight(step.weight).activations(step.inputs)
        edges = edges.detach().numpy()
        coef = step.weight.detach().numpy()[..., : step.layer.basis.n_splines]
        activity = np.zeros((n_out, n_in))
        for o, i in np.ndindex(n_out, n_in):
            activity[o, i] = std(edges[:, o, i]) / (
                std(step.inputs[:, i].numpy()) + 0.1
            )
        entropy = 0.0
        for o in range(n_out):
            share_o = activity[o] / (activity[o].sum() + 1)
            entropy -= sum(p * math.log2(p + 1e-4) for p in share_o) / n_out
        for i in range(n_in):
            share_i = activity[:, i] / (activity[:, i].sum() + 1)
            entropy -= sum(p * math.log2(p + 1e-4) for p in share_i) / n_in
        size = jumps = 0.0
        for o, i in np.ndindex(n_out, n_in):
            size += mask[o, i] * np.abs(coef[o, i]).sum() / n_out
            jumps += mask[o, i] * np.abs(np.diff(coef[o, i])).sum() / n_out
        total += lamb_l1 * activity.sum() + lamb_entropy * entropy
        total += lamb_coef * size + lamb_coefdiff * jumps
    return lamb * total


@pytest.mark.parametrize("only", [None, *list(STRENGTHS)[1:]])
def test_sparsity_penalty_equals_the_slow_formula(only, rng):
    """Each term alone and all together, with weighted samples and removed edges.

    In the formula as in the papers, mean_o |c_oi| means: sum over the coefficients of
    an edge, mean over the outputs, sum over the inputs.
    """
    strengths = {
        name: value if only in (None, name) or name == "lamb" else 0.0
        for name, value in STRENGTHS.items()
    }
    _, x, passes = make_passes(rng)
    share = rng.uniform(1, 2, len(x))
    share = torch.from_numpy(share / share.sum())
    value = SparsityPenalty(**strengths).value(passes, share)
    assert_allclose(
        value, slow_sparsity(passes, share.numpy(), **strengths), rtol=1e-10
    )


@pytest.mark.parametrize("only", [None, *list(STRENGTHS)[1:]])
def test_gradient_of_sparsity_is_autograds(only, rng):
    """Through the weights of all layers and the nodes that they lead to."""
    strengths = {
        name: value if only in (None, name) or name == "lamb" else 0.0
        for name, value in STRENGTHS.items()
    }
    network, x, _ = make_passes(rng)
    share = torch.from_numpy(rng.dirichlet(np.ones(len(x))))

    def activity_of(step):
        std = step.layer.edge_std(step.features, step.weight, share)
        known = step.inputs
        variance = share @ (known - share @ known).square()
        return std / (variance.sqrt() + 0.1) * step.layer.mask

    def plain(passes):
        total = 0.0
        for step in passes:
            activity = activity_of(step)
            entropy = 0.0
            for dim in (0, 1):
                part = activity / (activity.sum(dim, keepdim=True) + 1)
                entropy = entropy - (part * (part + 1e-4).log2()).sum(dim).mean()
            weight = step.layer.masked(step.weight)[..., : step.layer.basis.n_splines]
            total = total + (
                strengths["lamb_l1"] * activity.sum()
                + strengths["lamb_entropy"] * entropy
                + strengths["lamb_coef"] * weight.abs().mean(0).sum()
                + strengths["lamb_coefdiff"] * weight.diff(dim=-1).abs().mean(0).sum()
            )
        return strengths["lamb"] * total

    def of_theta(function):
        theta = network.theta.detach().requires_grad_()
        _, passes = network.propagate(x, network.unpacked(theta))
        value = function(passes)
        return value.detach(), *torch.autograd.grad(value, theta)

    penalty = SparsityPenalty(**strengths)
    value, gradient = of_theta(lambda passes: penalty.value(passes, share))
    expected, by_autograd = of_theta(plain)
    assert_allclose(value, expected, rtol=1e-12)
    assert_allclose(gradient, by_autograd, rtol=1e-10, atol=1e-14)


def test_sparsity_penalty_takes_weights_as_repetitions(rng):
    """As everywhere."""
    network, x, passes = make_passes(rng)
    count = torch.from_numpy(rng.integers(1, 5, len(x)))
    repeated = x.repeat_interleave(count, 0)
    passes_repeated = network.propagate(repeated, network.weights)[1]
    penalty = SparsityPenalty(**STRENGTHS)
    weighted = penalty.value(passes, count.double() / count.sum())
    expected = penalty.value(passes_repeated, uniform_share(repeated))
    assert_allclose(weighted, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "penalty", [QuadraticPenalty(0.3), SparsityPenalty(**STRENGTHS)]
)
def test_gradient_is_that_of_the_value(penalty, rng):
    """Away from the kinks of |c|, where no random coefficient lies."""
    network, x, _ = make_passes(rng, n_samples=12)
    share = uniform_share(x)

    def value(*weights):
        return penalty.value(network.propagate(x, list(weights))[1], share)

    weights = [weight.clone().requires_grad_() for weight in network.weights]
    # The fast mode compares random projections of the 234 x 1 Jacobian.
    assert torch.autograd.gradcheck(value, weights, fast_mode=True)


def test_gradient_at_zero_is_finite(rng):
    """Training starts with splines at zero, and pruned edges end there."""
    network, x, _ = make_passes(rng, scale=0.0)
    weights = [weight.clone().requires_grad_() for weight in network.weights]
    penalty = SparsityPenalty(**STRENGTHS)
    value = penalty.value(network.propagate(x, weights)[1], uniform_share(x))
    # 1e-12 is the deviation of a constant edge; there are 26 of them.
    assert_allclose(value.item(), 0, atol=1e-8)
    for gradient in torch.autograd.grad(value, weights):
        assert_array_equal(gradient, np.zeros(gradient.shape))


@pytest.mark.parametrize("name", list(STRENGTHS))
@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan, "strong", None])
def test_unusable_strength_is_named(name, value):
    """As scikit-learn words it for its estimators."""
    with pytest.raises(
        ValueError, match=f"The '{name}' parameter of SparsityPenalty must be"
    ):
        SparsityPenalty(**{name: value})


def test_penalty_is_a_value():
    """Frozen, hashable and comparable, so that it goes through clone and searches."""
    penalty = SparsityPenalty(lamb=0.5)
    assert penalty == SparsityPenalty(lamb=0.5)
    assert penalty != SparsityPenalty(lamb=0.4)
    assert hash(penalty) == hash(SparsityPenalty(lamb=0.5))
    assert clone(KANRegressor(penalty=penalty)).penalty == penalty
    with pytest.raises(FrozenInstanceError, match="lamb"):
        penalty.lamb = 1.0
