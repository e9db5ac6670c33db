"""Precisions of edges, and their form as penalties."""

import torch
from linear_problems import dense_prior, make_problem, random_prior
from numpy.testing import assert_allclose, assert_array_equal

from skkan.inference._prior import Prior


def test_alpha_and_prior_are_two_forms_of_one_thing(rng):
    """alpha is the precision in units of the mean loss at unit noise."""
    problem = make_problem(rng, [2, 2, 1], additive_skip=True)
    alpha = rng.uniform(0.1, 1, (problem.n_edges, 3))
    alpha[::2, 2] = 0
    prior = Prior.of_alpha(problem.network, alpha, 0.3, 50.0)
    assert prior.noise == 0.3
    assert_allclose(prior.precision, alpha * 50 / 0.3, rtol=1e-14)
    assert_allclose(prior.alpha(50.0), alpha, rtol=1e-14)


def test_precisions_have_limits(rng):
    """Beyond them an edge is dead, or has no prior to speak of."""
    network = make_problem(rng, [2, 1]).network
    alpha = [[0.0, 0.0, 1e-300], [1e300, 1e-300, 0.0]]
    prior = Prior.of_alpha(network, alpha, 1.0, 1.0)
    assert_array_equal(prior.precision, [[1e-10, 0, 1e-10], [1e14, 1e-10, 0]])


def test_scaled_nodes_keep_the_prior_of_the_function(rng):
    """theta^T P theta is the same after weights are divided by the nodes' scales."""
    problem = make_problem(rng, [2, 3, 2, 1], additive_skip=True)
    network, prior = problem.network, random_prior(rng, problem.n_edges)
    scales = [torch.from_numpy(rng.uniform(0.2, 5, n)) for n in (3, 2)]
    scaled = prior.with_scaled_nodes(network, scales)
    weights = network.weights
    moved = [
        weights[0] / scales[0].view(-1, 1, 1),
        weights[1] / scales[1].view(-1, 1, 1),
    ]
    moved = [*moved, *weights[2:]]
    before, after = (
        torch.cat([weight.flatten() for weight in part]).numpy()
        for part in (weights, moved)
    )
    assert_allclose(
        after @ dense_prior(problem, scaled) @ after,
        before @ dense_prior(problem, prior) @ before,
        rtol=1e-12,
    )
    n_behind = weights[2].shape[0] * weights[2].shape[1] + weights[3][..., 0].numel()
    assert_array_equal(scaled.precision[-n_behind:], prior.precision[-n_behind:])
    assert scaled.noise == prior.noise


def test_change_of_curvature_is_begun_where_it_is_not_in_use():
    """As a share of the precision on curvature; what is learnt already is kept."""
    precision = torch.tensor(
        [[1.0, 2.0, 0.0], [1.0, 2.0, 5.0], [1.0, 0.0, 0.0]]
    ).double()
    changed = Prior(precision, 0.5).with_change_of_curvature(0.1)
    expected = [[1.0, 2.0, 0.2], [1.0, 2.0, 5.0], [1.0, 0.0, 0.0]]
    assert_allclose(changed.precision, expected, rtol=1e-15)
    assert changed.noise == 0.5


def test_way_between_priors_is_geometric(rng):
    """Precisions are scales; half of the way from 1 to 100 is 10."""
    one, two = random_prior(rng, 4), random_prior(rng, 4)
    half = one.towards(two, 0.5)
    expected = (one.precision * two.precision).sqrt()
    assert_allclose(half.precision, expected, rtol=1e-13)
    assert_allclose(half.noise, (one.noise * two.noise) ** 0.5, rtol=1e-13)
    assert_allclose(one.towards(two, 1.0).precision, two.precision, rtol=1e-13)
