"""The Laplace posterior against dense algebra."""

import math
from unittest.mock import Mock, patch

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.autograd.functional import jacobian

from skkan import KANLayer, KANNetwork
from skkan.data._dataset import Dataset
from skkan.inference._covariance_root import EdgePrior
from skkan.inference._laplace_posterior import laplace_posterior, whitened_jacobian
from skkan.inference._last_layer_posterior import (
    last_layer_jacobian,
    output_root,
    variance_without,
)
from skkan.inference._log_marginal_likelihood import LinearisedModel
from skkan.inference._prior import Prior
from skkan.losses._classification import BinaryLogLoss
from skkan.losses._regression import SquaredError
from skkan.network._edge_removal import without_edges
from skkan.network._jacobian import outer_weight_positions
from skkan.objective import _empirical_loss
from skkan.objective._objective import make_objective
from skkan.penalties._eigen_directions import EdgeKinds, penalty_spectrum
from skkan.penalties._quadratic import QuadraticPenalty
from skkan.solvers import LevenbergMarquardt
from skkan.training._plan import FitPlan

WIDTHS = [[2, 1], [2, 3, 1], [2, 3, 2]]
every_network = pytest.mark.parametrize("widths", WIDTHS, ids=str)


def make_problem(rng, widths):
    """Random network with a skip, and weighted rows."""
    X = torch.from_numpy(rng.uniform(-1, 1, (60, widths[0])))
    network = KANNetwork.from_samples(widths, X, grid_size=3, additive_skip=True)
    network = network.with_weights(
        [torch.from_numpy(rng.standard_normal(w.shape)) for w in network.weights]
    )
    data = Dataset(
        X,
        torch.from_numpy(rng.standard_normal((60, widths[-1]))),
        torch.from_numpy(rng.uniform(1, 2, 60)),
        torch.from_numpy(rng.standard_normal(widths[-1])),
    )
    return network, data


def make_plan(*penalties):
    return FitPlan(
        loss=SquaredError(),
        penalties=penalties,
        solver=LevenbergMarquardt(),
        grid_sizes=(3,),
        n_grid_updates=0,
        grid_eps=1.0,
        max_iter=10,
        tol=0.0,
    )


def dense_jacobian(network, x):
    """(n_samples, n_outputs, n_parameters), by autograd."""
    parts = jacobian(lambda *w: network.propagate(x, w)[0], tuple(network.weights))
    return torch.cat([part.flatten(2) for part in parts], dim=2).numpy()


def dense_precision(network, data, alpha):
    """sum_n w_n J_n^T J_n + n P(alpha)."""
    J = dense_jacobian(network, data.X)
    loss = np.einsum("n,nop,noq->pq", data.sample_weight.numpy(), J, J)
    n_edges = sum(layer.mask.numel() for layer in network.all_layers)
    spectrum = penalty_spectrum(network.layers[0].basis.penalty_kinds[0])
    vectors = np.kron(np.eye(n_edges), spectrum.vectors.numpy())
    strengths = (np.asarray(alpha) @ spectrum.parts.numpy()).ravel()
    return loss + data.n_observations * (vectors * strengths) @ vectors.T


@every_network
def test_deviations_multiply_to_the_covariance_of_the_outputs(widths, rng):
    """J_o H^-1 J_p^T for every two outputs."""
    network, _ = make_problem(rng, widths)
    x = torch.from_numpy(rng.uniform(-1, 1, (7, widths[0])))
    J = dense_jacobian(network, x)
    root = rng.standard_normal((J.shape[2], J.shape[2]))
    H = root @ root.T + len(root) * np.eye(len(root))
    kinds = EdgeKinds.of(network.all_layers)
    prior = EdgePrior(kinds, torch.full((len(root),), 2.0, dtype=torch.float64))
    columns = whitened_jacobian(network, prior.posterior_root(torch.from_numpy(H)), x)
    found = torch.einsum("opn,qpm->nomq", columns, columns)
    covariance = np.linalg.inv(H + 2 * np.eye(len(root)))
    expected = np.einsum("nop,pr,mqr->nomq", J, covariance, J)
    assert_allclose(found, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("n_rows", [60, 10])
@pytest.mark.parametrize("learnt", [False, True])
@every_network
def test_root_is_that_of_the_penalised_normal_matrix(widths, learnt, n_rows, rng):
    """R (J^T W J + n P) R^T = 1 at unit noise, from a prior or the plan's penalty.

    With few rows the factor has no more rows than there are observed outputs.
    """
    network, data = make_problem(rng, widths)
    data = data.rows(slice(n_rows))
    n_edges = sum(layer.mask.numel() for layer in network.all_layers)
    alpha = rng.uniform(0.1, 1, (n_edges, 3))
    prior, plan = None, make_plan(QuadraticPenalty(alpha))
    if learnt:
        prior = Prior(torch.from_numpy(alpha) * data.n_observations / 0.4, 0.4)
        plan = make_plan()
    posterior = laplace_posterior(network, data, plan, prior)
    assert_allclose(posterior.alpha, alpha, rtol=1e-12)
    expected = dense_precision(network, data, alpha)
    root = posterior.root(network).matrix().numpy()
    assert_allclose(root @ expected @ root.T, np.eye(len(root)), rtol=0, atol=1e-9)
    n_values = n_rows * widths[-1]
    few = 2 * n_values <= len(root)
    assert few == (n_rows == 10)
    assert len(posterior.factor) == (n_values if few else len(root))
    if learnt:
        assert posterior.shared_noise == 0.4


@every_network
def test_evidence_is_that_of_the_weights_alone(widths, rng):
    """Laplace's approximation at the weights; the aids to training play no part."""
    network, data = make_problem(rng, widths)
    n_edges = sum(layer.mask.numel() for layer in network.all_layers)
    alpha, noise = rng.uniform(0.1, 1, (n_edges, 3)), 0.4
    prior = Prior(torch.from_numpy(alpha) * data.n_observations / noise, noise)
    posterior = laplace_posterior(network, data, make_plan(), prior)
    loss = dense_precision(network, data, 0 * alpha)
    P = (dense_precision(network, data, alpha) - loss) / noise
    w = torch.cat([weight.flatten() for weight in network.weights]).numpy()
    residual = (data.target - data.baseline - network(data.X).detach()).numpy()
    n_targets = data.n_observations * widths[-1]
    squares = (data.sample_weight.numpy() @ residual**2).sum()
    expected = -0.5 * (
        squares / noise
        + n_targets * np.log(2 * np.pi * noise)
        + w @ P @ w
        - np.linalg.slogdet(P)[1]
        + np.linalg.slogdet(loss / noise + P)[1]
    )
    assert_allclose(posterior.log_evidence, expected, rtol=1e-8)
    n_effective = np.trace(np.linalg.solve(loss / noise + P, loss / noise))
    assert_allclose(posterior.n_effective, n_effective, rtol=1e-6)


@every_network
def test_objective_of_the_training_is_used_where_it_fits(widths, rng):
    """Its normal matrix is not computed again, unless the grids are others."""
    network, data = make_problem(rng, widths)
    plan = make_plan(QuadraticPenalty(0.5))
    objective = make_objective(network, data, plan)
    objective.gauss_newton(objective.start)
    used = Mock(wraps=_empirical_loss.normal_equations)
    with patch.object(_empirical_loss, "normal_equations", used):
        found = laplace_posterior(network, data, plan, None, objective)
        assert not used.called
        moved = network.refined(4)
        other = laplace_posterior(moved, data, plan, None, objective)
        assert used.called
    expected = laplace_posterior(network, data, plan, None)
    assert_array_equal(found.factor, expected.factor)
    assert_array_equal(found.noise, expected.noise)
    expected = laplace_posterior(moved, data, plan, None)
    assert_array_equal(other.factor, expected.factor)


@every_network
def test_noise_is_that_of_the_residuals_of_each_output(widths, rng):
    """Per observation that its share of the weights leaves over."""
    network, data = make_problem(rng, widths)
    plan = make_plan(QuadraticPenalty(0.5))
    posterior = laplace_posterior(network, data, plan, None)
    residual = data.target - data.baseline - network(data.X).detach()
    squares = (data.sample_weight @ residual.square()).numpy()
    ratio = posterior.noise / squares
    assert_allclose(ratio, ratio[0], rtol=1e-12)
    if len(widths) == 2:  # linear: no gauge constraints, and exact degrees of freedom
        J = dense_jacobian(network, data.X)
        loss = np.einsum("n,nop,noq->pq", data.sample_weight.numpy(), J, J)
        root = posterior.root(network).matrix().numpy()
        n_effective = np.trace(root @ loss @ root.T)
        assert_allclose(posterior.n_effective, n_effective, rtol=1e-8)
        left = data.n_observations - n_effective
        assert_allclose(posterior.noise, squares / left, rtol=1e-8)


def test_edges_without_a_prior_leave_no_evidence(rng):
    """It would depend on the volume that weights could have had."""
    network, data = make_problem(rng, [2, 1])
    proper, improper, none = (
        laplace_posterior(network, data, make_plan(*penalties), None)
        for penalties in (
            (QuadraticPenalty(0.5),),
            (QuadraticPenalty(np.array([[1.0, 1.0, 0.0]] * 3 + [[0.0, 1.0, 0.0]])),),
            (),
        )
    )
    assert math.isfinite(proper.log_evidence)
    assert improper.log_evidence == none.log_evidence == -math.inf


def with_masks(network, rng):
    """The same network with some edges removed, whose weights are not zero."""
    layers = []
    for layer in network.all_layers:
        mask = layer.mask.clone()
        mask[rng.integers(len(mask)), -1] = 0.0
        layers.append(KANLayer(layer.basis, layer.weight.detach(), mask))
    return KANNetwork(layers[:-1], layers[-1])


@every_network
def test_removed_edges_do_not_vary(widths, rng):
    """Covariances are those of the remaining weights, by dense algebra."""
    network, data = make_problem(rng, widths)
    network = with_masks(network, rng)
    n_edges = sum(layer.mask.numel() for layer in network.all_layers)
    alpha = rng.uniform(0.1, 1, (n_edges, 3))
    posterior = laplace_posterior(
        network, data, make_plan(QuadraticPenalty(alpha)), None
    )
    free = network.weight_mask.numpy() > 0
    assert not free.all()
    H = dense_precision(network, data, alpha)[np.ix_(free, free)]
    x = torch.from_numpy(rng.uniform(-1, 1, (7, widths[0])))
    J = dense_jacobian(network, x)[:, :, free]
    expected = np.einsum("nop,pr,mqr->nomq", J, np.linalg.inv(H), J)
    columns = whitened_jacobian(network, posterior.root(network), x)
    found = torch.einsum("opn,qpm->nomq", columns, columns)
    assert_allclose(found, expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("has_noise", [False, True])
@pytest.mark.parametrize("widths", [[3, 1], [3, 3, 2]], ids=str)
def test_removed_edges_count_for_nothing(widths, has_noise, rng):
    """Masked or taken out: evidence, effective weights and updates are the same."""
    network, data = make_problem(rng, widths)
    masks = [layer.mask.clone() for layer in network.all_layers]
    masks[0][:, 1] = masks[-1][:, 1] = 0.0  # an input
    if len(widths) > 2:
        masks[0][2] = masks[1][:, 2] = 0.0  # a node
        masks[0][0, 0] = 0.0  # an edge that stays masked
    layers = [
        KANLayer(layer.basis, layer.weight.detach(), mask)
        for layer, mask in zip(network.all_layers, masks, strict=True)
    ]
    masked = KANNetwork(layers[:-1], layers[-1])
    smaller, edges = without_edges(
        masked, [mask > 0 for mask in masks], data.X, torch.full((60,), 1 / 60).double()
    )
    precision = torch.from_numpy(rng.uniform(1, 9, (sum(m.numel() for m in masks), 3)))
    prior = Prior(precision, 0.5 if has_noise else 1.0)

    def outcome(network, prior):
        objective = make_objective(network, data, make_plan())
        model = LinearisedModel(
            network,
            objective.start,
            objective.gauss_newton_of_loss(objective.start),
            data.n_observations,
            SquaredError() if has_noise else BinaryLogLoss(),
        )
        return model, model.posterior(prior)

    whole, of_whole = outcome(masked, prior)
    part, of_part = outcome(smaller, prior.of_edges(edges))
    for name in ("log_evidence", "decrement", "n_effective", "deviance"):
        assert_allclose(
            getattr(of_whole, name), getattr(of_part, name), rtol=1e-7, err_msg=name
        )
    left = whole.freedom(of_whole, prior.noise), part.freedom(of_part, prior.noise)
    assert_allclose(*left, rtol=1e-3)
    exists = torch.cat([layer.mask.flatten() for layer in smaller.all_layers]) > 0
    improved = whole.improved(prior, of_whole).of_edges(edges).precision[exists]
    expected = part.improved(prior.of_edges(edges), of_part).precision[exists]
    assert_allclose(improved, expected, rtol=1e-2)


@pytest.mark.parametrize("has_noise", [True, False])
def test_gain_of_a_removal_is_the_difference_of_two_evidences(has_noise, rng):
    """Of a linear model: with the edge, and fitted without it.

    Without a noise, what is expected of the precisions belongs to the evidence.
    """
    network, data = make_problem(rng, [3, 2])
    layers = network.all_layers
    n_edges = sum(layer.mask.numel() for layer in layers)
    prior = Prior(
        torch.from_numpy(rng.uniform(1, 9, (n_edges, 3))), 0.5 if has_noise else 1.0
    )

    def outcome(network):
        objective = make_objective(network, data, make_plan())
        model = LinearisedModel(
            network,
            objective.start,
            objective.gauss_newton_of_loss(objective.start),
            data.n_observations,
            SquaredError() if has_noise else BinaryLogLoss(),
        )
        return model, model.posterior(prior)

    vectors = penalty_spectrum(layers[0].basis.penalty_kinds[0]).vectors

    def mean(posterior):
        return (posterior.weights.view(n_edges, -1) @ vectors.T).flatten()

    sizes = [weight.numel() for weight in network.weights]
    parts = mean(outcome(network)[1]).split(sizes)  # one optimum: the model is linear
    network = network.with_weights(
        [part.view_as(old) for part, old in zip(parts, network.weights, strict=True)]
    )
    layers = network.all_layers
    model, posterior = outcome(network)
    gains = model.removal_gains(prior, posterior)
    for edge in range(6):
        mask = torch.ones(6, dtype=torch.float64)
        mask[edge] = 0.0
        first = KANLayer(layers[0].basis, layers[0].weight.detach(), mask.view(2, 3))
        _, of_rest = outcome(KANNetwork([first], network.skip))
        expected = of_rest.log_evidence - posterior.log_evidence
        assert_allclose(gains[edge], expected, rtol=1e-6, atol=1e-6)
        weights = model.weights_without(posterior, torch.tensor([edge]))
        of_edge = weights.view(n_edges, -1)
        assert_array_equal(of_edge[edge], 0.0)
        exists = torch.arange(n_edges).unsqueeze(1) != edge
        expected = (mean(of_rest).view(n_edges, -1) * exists).flatten()
        assert_allclose(weights, expected, rtol=1e-6, atol=1e-8)
    leaving = torch.arange(6).view(2, 3).T  # both edges of a column together
    gains = model.removal_gains_of_groups(prior, posterior, leaving)
    for column in range(3):
        mask = torch.ones(2, 3, dtype=torch.float64)
        mask[:, column] = 0.0
        first = KANLayer(layers[0].basis, layers[0].weight.detach(), mask)
        _, of_rest = outcome(KANNetwork([first], network.skip))
        expected = of_rest.log_evidence - posterior.log_evidence
        assert_allclose(gains[column], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("widths", [[2, 1], [2, 3, 2]])
@pytest.mark.parametrize("n_rows", [60, 7])
def test_root_of_the_outputs_is_of_a_part_of_the_whole_precision(widths, n_rows, rng):
    """That of the weights of one output, with all others known."""
    network, data = make_problem(rng, widths)
    data = data.rows(slice(n_rows))
    plan = make_plan(QuadraticPenalty(0.1))
    root = output_root(network, data, plan)
    alpha = QuadraticPenalty(0.1).per_edge(
        sum(layer.mask.numel() for layer in network.all_layers)
    )
    own = outer_weight_positions(network)[-1]
    expected = dense_precision(network, data, alpha)[own][:, own]
    matrix = root.matrix().numpy()
    assert_allclose(matrix @ expected @ matrix.T, np.eye(len(own)), rtol=0, atol=1e-9)
    assert len(root.factor) == (7 if n_rows == 7 else len(own))
    x = torch.from_numpy(rng.uniform(-2, 2, (7, 2)))
    roots = last_layer_jacobian(network, root, x).numpy()
    assert len(roots) == widths[-1]
    columns = dense_jacobian(network, x)[:, -1, own]
    variance = np.einsum("np,pn->n", columns, np.linalg.solve(expected, columns.T))
    assert_allclose(np.square(roots).sum(1)[-1], variance, rtol=1e-7)


@pytest.mark.parametrize("n_rows", [60, 7])
def test_variance_without_a_row_is_that_of_the_other_rows(n_rows, rng):
    """With the prior of all rows."""
    network, data = make_problem(rng, [2, 3, 1])
    data = data.rows(slice(n_rows))
    plan = make_plan(QuadraticPenalty(0.3))
    some = data.rows(torch.arange(4))
    found = variance_without(network, data, plan, some)
    inverse = output_root(network, data, plan).matrix().inverse()
    outer = torch.from_numpy(dense_jacobian(network, some.X))
    outer = outer[:, 0, outer_weight_positions(network)[0]]
    for row, variance in enumerate(found):
        features = outer[row].unsqueeze(1)
        own = data.sample_weight[row] * features @ features.T
        others = inverse @ inverse.T - own
        expected = features.T @ torch.linalg.solve(others, features)
        assert_allclose(variance, expected.item(), rtol=1e-6)
