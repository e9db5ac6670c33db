"""Updates of the prior climb the evidence."""

import numpy as np
import pytest
import torch
from linear_problems import (
    dense_linear_model,
    dense_posterior,
    make_problem,
    random_prior,
)
from numpy.testing import assert_allclose, assert_array_equal

from skkan.inference._evidence_maximization import (
    improved_prior,
    prior_with_noise_of_residuals,
)
from skkan.inference._prior import Prior
from skkan.losses._classification import BinaryLogLoss
from skkan.losses._regression import SquaredError


@pytest.mark.parametrize("share", [1.0, 0.1])
@pytest.mark.parametrize(
    "loss", [SquaredError(), BinaryLogLoss()], ids=["noise", "none"]
)
@pytest.mark.parametrize("seed", range(15))
def test_improved_prior_never_has_less_evidence(seed, loss, share):
    """From any prior that bounds the outputs, along several updates."""
    rng = np.random.default_rng(seed)
    problem = make_problem(rng, [[2, 1], [2, 2, 1]][seed % 2], loss=loss)
    linearised = problem.linearised
    prior = random_prior(rng, problem.n_edges)
    prior = prior.with_bounded_outputs(problem.network, linearised.sizes)
    if not loss.has_noise:
        prior = Prior(prior.precision, 1.0)
    evidence = []
    for _ in range(8):
        posterior = linearised.posterior(prior)
        evidence.append(posterior.log_evidence)
        prior = improved_prior(linearised, prior, posterior, share)
        if not loss.has_noise:
            assert prior.noise == 1.0
    assert (np.diff(evidence) >= 0).all()
    assert evidence[-1] > evidence[0]


def test_ceiling_holds_and_costs_no_evidence(rng):
    """From below it. Only the parts that it names are held."""
    problem = make_problem(rng, [2, 2, 1])
    prior = random_prior(rng, problem.n_edges)
    ceiling = prior.precision * 2
    ceiling[:, 2] = 0
    free = prior
    for _ in range(20):
        posterior = problem.linearised.posterior(prior)
        prior = improved_prior(problem.linearised, prior, posterior, ceiling=ceiling)
        free = improved_prior(
            problem.linearised, free, problem.linearised.posterior(free)
        )
        after = problem.linearised.posterior(prior)
        assert after.log_evidence >= posterior.log_evidence
    assert (prior.precision[:, :2] <= ceiling[:, :2] * (1 + 1e-12)).all()
    assert (free.precision[:, :2] > 10 * ceiling[:, :2]).any()
    assert (prior.precision[:, 2] > ceiling[:, 0]).any()


@pytest.mark.parametrize("unused", [1, 2])
def test_unused_parts_stay_unused(unused, rng):
    """A precision of zero is a choice, not a value to be learnt."""
    problem = make_problem(rng, [2, 1])
    prior = random_prior(rng, problem.n_edges, unused=unused)
    posterior = problem.linearised.posterior(prior)
    improved = improved_prior(problem.linearised, prior, posterior)
    assert_array_equal(improved.precision == 0, prior.precision == 0)
    assert (improved.precision != prior.precision).any()
    assert_array_equal(
        prior.towards(improved, 0.5).precision == 0, prior.precision == 0
    )


def test_learnt_prior_is_a_maximum_of_the_evidence(rng):
    """No other prior nearby has more, once the updates have come to rest."""
    problem = make_problem(rng, [2, 1])
    linearised = problem.linearised
    prior = random_prior(rng, problem.n_edges, unused=2)
    for _ in range(150):
        prior = improved_prior(linearised, prior, linearised.posterior(prior))
    best = linearised.posterior(prior).log_evidence
    for _ in range(50):
        factor = torch.from_numpy(np.exp(rng.uniform(-0.3, 0.3, (problem.n_edges, 3))))
        noise = prior.noise * float(np.exp(rng.uniform(-0.3, 0.3)))
        other = Prior(prior.precision * factor, noise)
        # Precisions that grow without bound approach their limit slowly.
        assert linearised.posterior(other).log_evidence < best + 1e-3


@pytest.mark.parametrize("widths", [[2, 1], [2, 2, 1]], ids=str)
def test_prior_of_alpha_takes_the_noise_of_the_residuals(widths, rng):
    """Their squares per observation that the weights leave over."""
    problem = make_problem(rng, widths)
    alpha = rng.uniform(0.1, 1, (problem.n_edges, 3))
    prior = prior_with_noise_of_residuals(problem.linearised, alpha)
    assert_allclose(prior.alpha(problem.n_rows), alpha, rtol=1e-12)
    J, y = dense_linear_model(problem)
    mean, covariance = dense_posterior(problem, prior)
    left = len(y) - np.trace(covariance @ J.T @ J) / prior.noise
    assert_allclose(prior.noise, ((y - J @ mean) ** 2).sum() / left, rtol=1e-8)
