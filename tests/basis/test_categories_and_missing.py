import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.preprocessing import OneHotEncoder

from skkan.basis._bspline import BSplineBasis
from skkan.basis._categories_and_missing import MixedBasis
from skkan.basis._grids import grid_from_samples, grid_of_known
from skkan.data._dataset import Dataset
from skkan.inference._log_marginal_likelihood import LinearisedModel
from skkan.inference._prior import Prior
from skkan.losses._regression import SquaredError
from skkan.network._edge_removal import without_edges
from skkan.network._edits import with_learnt_missing, with_values_at_missing
from skkan.network._layer import KANLayer
from skkan.network._network import KANNetwork
from skkan.network._weighted_average import weighted_average
from skkan.objective._objective import Objective
from skkan.penalties._quadratic import QuadraticPenalty

COUNTS = torch.tensor([0, 4, 0, 2])  # numbers in columns 0 and 2
GAPS = torch.tensor([True, True, False, False])


@pytest.fixture
def x(rng):
    x = np.column_stack(
        [
            rng.normal(size=60),
            rng.integers(0, 4, size=60),
            rng.normal(size=60),
            rng.integers(0, 2, size=60),
        ]
    )
    x[::7, 0] = np.nan
    x[::5, 1] = np.nan
    return torch.from_numpy(x)


@pytest.fixture
def weight(rng):
    return torch.from_numpy(rng.uniform(0.5, 2.0, size=60))


@pytest.fixture
def basis(x, weight):
    return make_basis(x, weight)


def make_basis(x, weight, counts=COUNTS, **settings):
    numbers = x[:, counts == 0]
    grid = grid_of_known(numbers, 5, sample_weight=weight)
    splines = BSplineBasis(grid, 3, **{"base_activation": "silu", **settings})
    return MixedBasis.from_samples(splines, counts, x, weight)


def make_network(x, weight, rng, widths=(4, 3, 1), *, skip=True):
    return KANNetwork.from_samples(
        widths,
        x,
        additive_skip=skip,
        sample_weight=weight,
        generator=torch.Generator().manual_seed(0),
        inputs=make_basis(x, weight),
    )


def random_theta(network, rng):
    return torch.from_numpy(rng.normal(size=network.n_parameters))


def known_mean(values, missing, weight):
    """Weighted mean over the rows that are not missing, in plain numpy."""
    return np.average(values[~missing], axis=0, weights=weight[~missing])


def test_columns_are_splines_indicators_and_means(basis, x, weight):
    """One column of each kind, against BSplineBasis and OneHotEncoder."""
    values = basis(x).numpy()
    x, weight, missing = x.numpy(), weight.numpy(), x.isnan().numpy()
    assert basis.sizes.tolist() == [10, 5, 9, 2]
    assert values.shape[2] == 10
    plain = basis.splines(torch.from_numpy(np.nan_to_num(x[:, [0, 2]]))).numpy()
    number = plain[:, 0]
    number[missing[:, 0]] = known_mean(number, missing[:, 0], weight)
    assert_allclose(values[:, 0, :9], number, atol=1e-15)
    assert_allclose(values[:, 0, 9], missing[:, 0])
    assert_allclose(values[:, 2, :9], plain[:, 1])
    codes = np.nan_to_num(x[:, 1:2])
    category = OneHotEncoder(sparse_output=False).fit_transform(codes)
    category[missing[:, 1]] = known_mean(category, missing[:, 1], weight)
    assert_allclose(values[:, 1, :4], category, atol=1e-15)
    assert_allclose(values[:, 1, 4], missing[:, 1])
    assert_allclose(values[:, 3, :2], np.eye(2)[x[:, 3].astype(int)])
    assert not values[:, 1, 5:].any()
    assert not values[:, 3, 2:].any()


def test_unknown_categories_are_zero(basis):
    """Of code -1, and of any code beyond the known ones."""
    values = basis(torch.tensor([[0.0, -1.0, 0.0, 2.0]], dtype=torch.float64))
    assert not values[0, [1, 3]].any()


def test_missing_where_there_was_none_is_the_mean(basis, x, weight):
    values = basis(x)
    probe = x[:1].clone()
    probe[0, 2] = probe[0, 3] = torch.nan
    means = (weight / weight.sum()) @ values.flatten(1)
    assert_allclose(basis(probe)[0, 2:], means.view(4, 10)[2:], atol=1e-15)


def test_a_column_without_known_cells_counts_as_zero(x, weight):
    """It is a constant, whatever comes later."""
    x = x.clone()
    x[:, 2] = torch.nan
    basis = make_basis(x, weight)
    assert not basis.has_missing[2]
    probe = x[:2].clone()
    probe[1, 2] = 0.0
    values = basis(probe)
    assert_allclose(values[0, 2], values[1, 2])
    assert torch.isfinite(values).all()


def test_derivatives_are_those_of_the_splines_and_zero(basis, x):
    """Neither a category nor a missing cell has a slope."""
    known = torch.where(x.isnan(), 0.0, x)
    _, expected = basis.splines.values_and_derivatives(known[:, [0, 2]])
    _, slopes = basis.values_and_derivatives(x)
    present = ~x[:, 0].isnan()
    assert_allclose(slopes[present, 0, :9], expected[present, 0])
    assert not slopes[~present].any(dim=0)[0].any()
    assert not slopes[:, [1, 3]].any()
    expected = basis.splines.higher_derivatives(known[:, [0, 2]], 2)
    for part, of_splines in zip(basis.higher_derivatives(x, 2), expected, strict=True):
        assert_allclose(part[present, 0, :9], of_splines[present, 0])
        assert_allclose(part[:, 2, :9], of_splines[:, 1])
        assert not part[~present, 0].any()
        assert not part[:, [1, 3]].any()
    x = x.clone().requires_grad_()
    basis(x).sum().backward()
    assert_allclose(x.grad, slopes.sum(2))


@pytest.mark.parametrize("grid_size", [10, 7, 3])
def test_other_grids_keep_the_learnt_values(basis, grid_size, rng):
    """At categories, at missing cells and, where grids nest, along the curves."""
    layer = KANLayer(basis, torch.from_numpy(rng.normal(size=(2, 4, 10))))
    layer = layer.with_weight(layer.unpacked(layer.packed(layer.weight.detach())))
    moved = layer.with_basis(basis.resized(grid_size))
    nan = torch.nan
    probe = torch.tensor([[nan, nan, 0.0, 1.0], [0.0, 2.0, 0.0, 0.0]])
    before = layer.activations(probe.double()).detach()
    after = moved.activations(probe.double()).detach()
    assert_allclose(after[0][:, [0, 1, 3]], before[0][:, [0, 1, 3]], atol=1e-12)
    assert_allclose(after[1][:, [1, 3]], before[1][:, [1, 3]], atol=1e-12)
    if grid_size == 10:
        assert_allclose(after, before, atol=1e-12)


def test_means_on_finer_grids_are_those_of_the_curves(basis, x, weight, rng):
    """Without rows, every curve keeps its mean; with them, they are exact."""
    layer = KANLayer(basis, torch.from_numpy(rng.normal(size=(1, 4, 10))))
    finer = layer.with_basis(basis.refined(10))
    probe = torch.full((1, 4), torch.nan, dtype=torch.float64)
    before, after = (a.activations(probe).detach() for a in (layer, finer))
    assert_allclose(after[..., 2:], before[..., 2:], atol=1e-12)
    exact = finer.with_basis(finer.basis.with_means_of(x, weight))
    assert_allclose(exact.activations(probe).detach(), before, atol=1e-12)
    mean = (weight / weight.sum()) @ finer.basis(x)[:, 2]
    assert_allclose(exact.basis.means[2, : len(mean)], mean, atol=1e-15)


def test_missing_cells_can_come_later(rng, x, weight):
    """The function stays what it was until the new value is learnt."""
    network = KANNetwork.from_samples(
        [2, 2, 1], x[:, [2, 3]], generator=torch.Generator().manual_seed(0)
    )
    means = network.layers[0].basis(x[:, [2, 3]]).mean(0)
    later = x[:, [2, 3]].clone()
    later[0, 0] = torch.nan
    taking = with_values_at_missing(network, means)
    learning = with_learnt_missing(taking, later)
    assert learning.n_parameters == network.n_parameters + 2
    for each in (taking, learning):
        assert_allclose(each(x[:, [2, 3]]).detach(), network(x[:, [2, 3]]).detach())
    assert_allclose(learning(later).detach(), taking(later).detach(), atol=1e-14)
    assert with_learnt_missing(learning, later) is learning
    assert with_values_at_missing(taking, means) is taking


def test_part_of_the_inputs(basis, x):
    values = basis(x)
    for inputs in ([1, 2], [0], [3], [3, 1], [2]):
        part = basis.of_inputs(torch.tensor(inputs))
        expected = values[:, inputs, : part.n_functions]
        assert_allclose(part(x[:, inputs]), expected)
        assert part.n_functions == int(basis.sizes[inputs].max())


def test_round_trip_through_arrays(basis, x, rng):
    layer = KANLayer(basis, torch.from_numpy(rng.normal(size=(2, 4, 10))))
    again = KANLayer.from_arrays(copy.deepcopy(layer.to_arrays()))
    assert torch.equal(again(x), layer(x))


def test_weights_in_use_are_packed_and_unpacked(x, weight, rng):
    network = make_network(x, weight, rng)
    theta = random_theta(network, rng)
    assert len(theta) == 3 * 26 + 3 * 9 + 26
    network = network.with_weights(network.unpacked(theta))
    assert torch.equal(network.theta, theta)
    assert not network.layers[0].weight[:, 3, 2:].any()


def test_grids_leave_missing_cells_out(x, weight):
    grid = grid_of_known(x[:, [0, 2]], 5, grid_eps=0.3, sample_weight=weight)
    for column, row in zip((0, 2), grid, strict=True):
        known = ~x[:, column].isnan()
        expected = grid_from_samples(
            x[known, column].unsqueeze(1),
            5,
            grid_eps=0.3,
            sample_weight=weight[known],
        )
        assert_allclose(row, expected[0])


def test_grids_of_all_layers_can_follow_samples(x, weight, rng):
    """Codes are no numbers, to which a grid could be fitted."""
    network = make_network(x, weight, rng)
    moved = network.with_grids_from_samples(2 * x, grid_eps=1.0, sample_weight=weight)
    low = torch.where(x.isnan(), torch.inf, x).amin(0)[[0, 2]]
    assert_allclose(moved.layers[0].basis.grid[:, 0], 2 * low)
    assert moved.skip.basis is moved.layers[0].basis


def make_objective(network, x, weight, y, penalties=()):
    data = Dataset(x, y, weight, torch.zeros(1).double())
    return Objective(network, SquaredError(), penalties, data)


@pytest.mark.parametrize("widths", [(4, 1), (4, 3, 1)])
def test_gradient_and_curvature_are_those_of_autograd(x, weight, rng, widths):
    """Also of the penalty, whose form differs from edge to edge."""
    network = make_network(x, weight, rng, widths, skip=len(widths) > 2)
    theta = 0.3 * random_theta(network, rng)
    y = torch.from_numpy(rng.normal(size=(60, 1)))
    n_edges = sum(layer.mask.numel() for layer in network.all_layers)
    alpha = torch.from_numpy(rng.uniform(0.1, 1.0, size=(n_edges, 3)))
    objective = make_objective(network, x, weight, y, [QuadraticPenalty(alpha)])

    def loss(theta):
        output = network.propagate(x, network.unpacked(theta))[0]
        share = weight / weight.sum()
        return share @ SquaredError().value(output, y) + penalty(theta)

    def penalty(theta):
        return QuadraticPenalty(alpha).form(network.all_layers).value(theta)

    expected = torch.autograd.functional.jacobian(loss, theta)
    assert_allclose(objective.value_and_grad(theta)[1], expected, atol=1e-12)
    model = objective.gauss_newton(theta)
    assert_allclose(model.gradient, expected, atol=1e-12)

    def output(theta):
        return network.propagate(x, network.unpacked(theta))[0][:, 0]

    jacobian = torch.autograd.functional.jacobian(output, theta)
    curvature = jacobian.T @ ((weight / weight.sum()).unsqueeze(1) * jacobian)
    curvature += torch.autograd.functional.hessian(penalty, theta)
    assert_allclose(model.curvature, curvature, atol=1e-10)


def test_evidence_is_the_marginal_likelihood(x, weight, rng):
    """In closed form for an additive model: y ~ N(0, noise + Phi P^-1 Phi^T)."""
    network = make_network(x, weight, rng, (4, 1), skip=False)
    weight = torch.ones(60, dtype=torch.float64)
    y = torch.from_numpy(rng.normal(size=(60, 1)))
    objective = make_objective(network, x, weight, y)
    precision = torch.from_numpy(rng.uniform(0.5, 2.0, size=(4, 3)))
    prior = Prior(precision, 0.7)
    theta = random_theta(network, rng)
    model = objective.gauss_newton_of_loss(theta).without_gauge_constraints()
    posterior = LinearisedModel(network, theta, model, 60.0, SquaredError()).posterior(
        prior
    )
    matrix = torch.zeros(26, 26, dtype=torch.float64)
    QuadraticPenalty(precision).form(network.all_layers).add_to(matrix)
    features = network.layers[0].packed(network.layers[0].basis(x))
    covariance = features @ torch.linalg.solve(matrix, features.T)
    covariance += 0.7 * torch.eye(60)
    expected = torch.distributions.MultivariateNormal(
        torch.zeros(60, dtype=torch.float64), covariance
    ).log_prob(y[:, 0])
    # Rounding of the covariance, whose condition is that of the roughness.
    assert_allclose(posterior.log_evidence, expected, rtol=1e-7)


def test_an_average_shares_the_inputs(x, weight, rng):
    networks = []
    for _ in range(2):
        network = make_network(x, weight, rng)
        theta = random_theta(network, rng)
        networks.append(network.with_weights(network.unpacked(theta)))
    mean = sum(network(x) for network in networks) / 2
    total = weighted_average(networks, [0.5, 0.5])
    assert_allclose(total(x).detach(), mean.detach(), atol=1e-12)


@pytest.mark.parametrize("inputs", [[0, 1, 2, 3], [1, 3]])
def test_removed_edges_hand_their_mean_on_to_numbers(x, weight, rng, inputs):
    """Or to other categories, if there are none: unknown ones must not lose it."""
    x, counts = x[:, inputs], COUNTS[inputs]
    basis = make_basis(x, weight, counts)
    n_inputs = len(inputs)
    layer = KANLayer(
        basis, torch.from_numpy(rng.normal(size=(1, n_inputs, basis.n_functions)))
    )
    network = KANNetwork([layer])
    keep = torch.ones(1, n_inputs, dtype=torch.bool)
    keep[0, 1] = False
    share = weight / weight.sum()
    smaller, edges, _ = without_edges(network, [keep], x, share)
    assert edges.tolist() == [i for i in range(n_inputs) if i != 1]
    gap = (network(x) - smaller(x)).detach()
    assert_allclose(share @ gap, 0, atol=1e-12)
    if n_inputs == 4:
        unknown = torch.tensor([[0.1, -1.0, 0.2, -1.0]]).double()
        kept = layer.activations(unknown)[0, 0, [0, 2]].sum()
        lost = share @ layer.activations(x)[:, 0, 1]
        assert_allclose(smaller(unknown)[0, 0].detach(), (kept + lost).detach())
