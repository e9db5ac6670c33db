"""The evidence of linear models against the normal distribution's dense formulas."""

from itertools import pairwise

import numpy as np
import pytest
from linear_problems import (
    dense_linear_model,
    dense_posterior,
    dense_prior,
    directions,
    every_network,
    make_problem,
    random_prior,
)
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal

from skkan.inference._log_marginal_likelihood import LinearisedModel
from skkan.inference._prior import Prior
from skkan.inference._settings import HYPERPRIOR
from skkan.losses._classification import BinaryLogLoss
from skkan.losses._regression import SquaredError
from skkan.objective._gauss_newton import normal_equations


@pytest.mark.parametrize("unused", [None, 1, 2])
@every_network
def test_posterior_is_that_of_bayesian_linear_regression(widths, unused, rng):
    """Mean and variances, in the directions of the penalties."""
    problem = make_problem(rng, widths)
    prior = random_prior(rng, problem.n_edges, unused=unused)
    outcome = problem.linearised.posterior(prior)
    mean, covariance = dense_posterior(problem, prior)
    vectors, _ = directions(problem)
    assert_allclose(vectors @ outcome.weights.numpy(), mean, rtol=1e-8, atol=1e-9)
    expected = np.diag(vectors.T @ covariance @ vectors)
    assert_allclose(outcome.variances, expected, rtol=1e-8)


@pytest.mark.parametrize("unused", [None, 1, 2])
@every_network
def test_evidence_is_the_density_of_the_targets(widths, unused, rng):
    """Weights integrated out: normal with covariance noise + J P^-1 J^T."""
    problem = make_problem(rng, widths)
    prior = random_prior(rng, problem.n_edges, unused=unused)
    J, y = dense_linear_model(problem)
    covariance = J @ np.linalg.inv(dense_prior(problem, prior)) @ J.T
    covariance += prior.noise * np.eye(len(y))
    expected = multivariate_normal.logpdf(y, cov=covariance)
    outcome = problem.linearised.posterior(prior)
    assert_allclose(outcome.log_evidence, expected, rtol=1e-8)


@every_network
def test_effective_weights_are_the_trace_of_the_dense_formula(widths, rng):
    """tr(H^-1 J^T J / noise): the degrees of freedom of the fit."""
    problem = make_problem(rng, widths)
    prior = random_prior(rng, problem.n_edges)
    J, _ = dense_linear_model(problem)
    _, covariance = dense_posterior(problem, prior)
    expected = np.trace(covariance @ J.T @ J) / prior.noise
    outcome = problem.linearised.posterior(prior)
    assert_allclose(outcome.n_effective, expected, rtol=1e-8)


@every_network
def test_deviance_and_decrement_are_those_of_the_mean(widths, rng):
    """Residuals at the mean, and the log posterior that lies between it and theta."""
    problem = make_problem(rng, widths)
    prior = random_prior(rng, problem.n_edges)
    J, y = dense_linear_model(problem)
    P = dense_prior(problem, prior)
    mean, _ = dense_posterior(problem, prior)

    def minus_log_posterior(w):
        return 0.5 * ((y - J @ w) ** 2).sum() / prior.noise + 0.5 * w @ P @ w

    outcome = problem.linearised.posterior(prior)
    assert_allclose(outcome.deviance, ((y - J @ mean) ** 2).sum(), rtol=1e-8)
    fall = minus_log_posterior(problem.theta.numpy()) - minus_log_posterior(mean)
    assert_allclose(outcome.decrement, fall, rtol=1e-8)
    assert_allclose(outcome.evidence_at_point, outcome.log_evidence - fall, rtol=1e-7)


@pytest.mark.parametrize("widths", [[2, 1], [2, 2, 1]], ids=str)
def test_evidence_of_classes_is_laplaces(widths, rng):
    """Of the quadratic model, with the density of precisions of like size."""
    problem = make_problem(rng, widths, loss=BinaryLogLoss())
    prior = Prior(random_prior(rng, problem.n_edges).precision, 1.0)
    P = dense_prior(problem, prior)
    theta = problem.theta.numpy()
    gradient = problem.n_rows * problem.model.gradient.numpy()
    curvature = problem.n_rows * problem.model.curvature.numpy()
    H = curvature + P
    step = -np.linalg.solve(H, gradient + P @ theta)
    mean = theta + step
    loss = problem.n_rows * problem.model.value
    expected = -(loss + gradient @ step + 0.5 * step @ curvature @ step)
    expected -= 0.5 * mean @ P @ mean
    size = np.log(prior.precision[:, 0].numpy())
    node = np.concatenate(
        [np.repeat(np.arange(b) + 10 * b, a) for a, b in pairwise(widths)]
    )
    for one in np.unique(node):
        alike = size[node == one]
        expected -= ((alike - alike.mean()) ** 2).sum() / (
            2 * HYPERPRIOR.log_ridge_std**2
        )
    expected -= HYPERPRIOR.roughness_rate * float(prior.precision[:, 1:].sum())
    expected += 0.5 * (np.linalg.slogdet(P)[1] - np.linalg.slogdet(H)[1])
    outcome = problem.linearised.posterior(prior)
    assert_allclose(outcome.log_evidence, expected, rtol=1e-8)


def test_gauge_constraints_hold_the_directions_that_they_name(rng):
    """As observations of nothing new: the posterior does not move along them."""
    problem = make_problem(rng, [2, 2, 1])
    model = normal_equations(
        problem.network, SquaredError(), problem.theta, problem.rows
    )
    linearised = LinearisedModel(
        problem.network, problem.theta, model, problem.n_rows, SquaredError()
    )
    prior = random_prior(rng, problem.n_edges)
    vectors, _ = directions(problem)
    (J, y), theta = dense_linear_model(problem), problem.theta.numpy()
    gauge = model.gauge_constraints.numpy() * problem.n_rows**0.5
    all_J, all_y = np.vstack([J, gauge]), np.r_[y, gauge @ theta]
    H = all_J.T @ all_J / prior.noise + dense_prior(problem, prior)
    mean = np.linalg.solve(H, all_J.T @ all_y) / prior.noise
    outcome = linearised.posterior(prior)
    # The ridge, 1e-13, times the condition number, which the constraints raise.
    assert_allclose(vectors @ outcome.weights.numpy(), mean, rtol=1e-6, atol=1e-6)
    expected = len(y) - np.trace(np.linalg.solve(H, J.T @ J)) / prior.noise
    assert_allclose(linearised.freedom(outcome, prior.noise), expected, rtol=1e-6)
