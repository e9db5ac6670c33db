"""The model of a single edge that the search for its prior sees."""

import numpy as np
import pytest
import torch
from linear_problems import dense_linear_model, directions, make_problem, random_prior
from numpy.testing import assert_allclose

from skkan.inference._prior_search import curvature_along


@pytest.mark.parametrize("strongest", [1.0, 1e12])
def test_curvature_along_an_edge_is_the_schur_complement(strongest, rng):
    """Of the other weights; a prior that makes the edge a constant does not hide it."""
    problem = make_problem(rng, [2, 2])
    prior = random_prior(rng, problem.n_edges)
    prior.precision[1] *= strongest
    posterior = problem.linearised.posterior(prior)
    vectors, parts = directions(problem)
    J = dense_linear_model(problem)[0] @ vectors
    own = np.arange(len(vectors)) // parts.shape[1] == 1
    curvature = J.T @ J
    rest = curvature + prior.noise * np.diag(posterior.prior_precision)
    across = curvature[np.ix_(~own, own)]
    expected = np.linalg.solve(rest[np.ix_(~own, ~own)], across)
    expected = curvature[np.ix_(own, own)] - across.T @ expected
    found = curvature_along(
        problem.linearised, torch.from_numpy(own), posterior.covariance
    )
    assert_allclose(found, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())
