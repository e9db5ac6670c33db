"""The evidence of linear models against the normal distribution's dense formulas."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal
from torch.autograd.functional import jacobian

from skkan import KANNetwork
from skkan.data._dataset import Dataset
from skkan.inference._log_marginal_likelihood import LinearisedModel
from skkan.inference._prior import Prior
from skkan.inference._settings import HYPERPRIOR
from skkan.losses._classification import BinaryLogLoss
from skkan.losses._regression import SquaredError
from skkan.objective._gauss_newton import normal_equations
from skkan.penalties._eigen_directions import penalty_spectrum

# Widths of networks that are linear in their weights, and of others, of which the
# linearisation is put to the test.
WIDTHS = [[2, 1], [2, 2], [2, 2, 1], [2, 2, 2]]
every_network = pytest.mark.parametrize("widths", WIDTHS, ids=str)


def make_problem(rng, widths, *, loss=None, additive_skip=False):
    """A network with random weights, counted rows, and the model around its weights.

    Gauge constraints, which are no part of the textbook's model, are left out.
    """
    loss = loss or SquaredError()
    x = torch.from_numpy(rng.uniform(-1, 1, (30, widths[0])))
    network = KANNetwork.from_samples(
        widths, x, grid_size=3, additive_skip=additive_skip
    )
    weights = [torch.from_numpy(rng.standard_normal(w.shape)) for w in network.weights]
    network = network.with_weights(weights)
    target = torch.from_numpy(rng.standard_normal((30, widths[-1])))
    if not loss.has_noise:
        target = (target > 0).double()
    count = torch.from_numpy(rng.integers(1, 4, 30))
    n_rows = int(count.sum())
    baseline = torch.from_numpy(rng.standard_normal(widths[-1]))
    rows = Dataset(x, target, count.double() / n_rows, baseline)
    model = normal_equations(network, loss, network.theta, rows)
    model = model.without_gauge_constraints()
    theta = torch.cat([weight.flatten() for weight in weights])
    return SimpleNamespace(
        network=network,
        theta=theta,
        model=model,
        n_rows=n_rows,
        n_edges=sum(layer.mask.numel() for layer in network.all_layers),
        linearised=LinearisedModel(network, theta, model, n_rows, loss),
        rows=rows,
        count=count,
    )


def random_prior(rng, n_edges, *, unused=None):
    """Precisions and noise around one, over some orders of magnitude."""
    precision = np.exp(rng.uniform(-3, 3, (n_edges, 3)))
    if unused is not None:
        precision[:, unused] = 0
    return Prior(torch.from_numpy(precision), float(np.exp(rng.uniform(-3, 1))))


def directions(problem):
    """Directions of the penalties of all weights, one a column."""
    spectrum = penalty_spectrum(problem.network.layers[0].basis.penalty_kinds[0])
    return np.kron(np.eye(problem.n_edges), spectrum.vectors.numpy()), spectrum.parts


def dense_prior(problem, prior):
    """Precision matrix of the weights."""
    vectors, parts = directions(problem)
    return (vectors * (prior.precision @ parts).flatten().numpy()) @ vectors.T


def dense_linear_model(problem):
    """Jacobian and target of all repeated rows, J w = y in the linearisation."""
    network, rows = problem.network, problem.rows
    x = rows.X.repeat_interleave(problem.count, 0)
    target = rows.target.repeat_interleave(problem.count, 0) - rows.baseline
    parts = jacobian(lambda *w: network.propagate(x, w)[0], tuple(network.weights))
    J = torch.cat([part.flatten(2) for part in parts], dim=2).flatten(0, 1)
    y = (target - network(x).detach()).flatten() + J @ problem.theta
    return J.numpy(), y.numpy()


def dense_posterior(problem, prior):
    """Mean and covariance of the weights by the textbook's formulas."""
    J, y = dense_linear_model(problem)
    covariance = np.linalg.inv(J.T @ J / prior.noise + dense_prior(problem, prior))
    return covariance @ (J.T @ y) / prior.noise, covariance


# The posterior


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
    found = problem.linearised._curvature_of(
        torch.from_numpy(own), posterior.covariance
    )
    assert_allclose(found, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())


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


# Learning the prior


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
    prior = prior.with_bounded_outputs(problem.network, linearised._size_of_curves)
    if not loss.has_noise:
        prior = Prior(prior.precision, 1.0)
    evidence = []
    for _ in range(8):
        posterior = linearised.posterior(prior)
        evidence.append(posterior.log_evidence)
        prior = linearised.improved(prior, posterior, share)
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
        prior = problem.linearised.improved(prior, posterior, ceiling=ceiling)
        free = problem.linearised.improved(free, problem.linearised.posterior(free))
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
    improved = problem.linearised.improved(prior, posterior)
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
        prior = linearised.improved(prior, linearised.posterior(prior))
    best = linearised.posterior(prior).log_evidence
    for _ in range(50):
        factor = torch.from_numpy(np.exp(rng.uniform(-0.3, 0.3, (problem.n_edges, 3))))
        noise = prior.noise * float(np.exp(rng.uniform(-0.3, 0.3)))
        other = Prior(prior.precision * factor, noise)
        # Precisions that grow without bound approach their limit slowly.
        assert linearised.posterior(other).log_evidence < best + 1e-3


# Priors


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


@pytest.mark.parametrize("widths", [[2, 1], [2, 2, 1]], ids=str)
def test_prior_of_alpha_takes_the_noise_of_the_residuals(widths, rng):
    """Their squares per observation that the weights leave over."""
    problem = make_problem(rng, widths)
    alpha = rng.uniform(0.1, 1, (problem.n_edges, 3))
    prior = problem.linearised.prior_of_alpha(alpha)
    assert_allclose(prior.alpha(problem.n_rows), alpha, rtol=1e-12)
    J, y = dense_linear_model(problem)
    mean, covariance = dense_posterior(problem, prior)
    left = len(y) - np.trace(covariance @ J.T @ J) / prior.noise
    assert_allclose(prior.noise, ((y - J @ mean) ** 2).sum() / left, rtol=1e-8)


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
