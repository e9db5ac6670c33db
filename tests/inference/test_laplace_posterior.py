"""The Laplace posterior against dense algebra."""

import math
from unittest.mock import Mock, patch

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from posterior_problems import (
    dense_jacobian,
    dense_precision,
    every_network,
    make_plan,
    make_problem,
)

from skkan import KANLayer, KANNetwork
from skkan.inference._covariance_root import EdgePrior
from skkan.inference._laplace_posterior import laplace_posterior, whitened_jacobian
from skkan.inference._prior import Prior
from skkan.objective import _empirical_loss
from skkan.objective._objective import make_objective
from skkan.penalties._eigen_directions import EdgeKinds
from skkan.penalties._quadratic import QuadraticPenalty


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
