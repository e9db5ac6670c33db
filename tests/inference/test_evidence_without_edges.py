"""Removal of edges: what the evidence gains, and what is left."""

import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from posterior_problems import make_plan, make_problem

from skkan import KANLayer, KANNetwork
from skkan.inference._evidence_maximization import improved_prior
from skkan.inference._evidence_without_edges import removal_gains, weights_without
from skkan.inference._log_marginal_likelihood import LinearisedModel
from skkan.inference._prior import Prior
from skkan.losses._classification import BinaryLogLoss
from skkan.losses._regression import SquaredError
from skkan.network._edge_removal import without_edges
from skkan.objective._objective import make_objective
from skkan.penalties._eigen_directions import penalty_spectrum


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
    smaller, edges, _ = without_edges(
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
    improved = improved_prior(whole, prior, of_whole).of_edges(edges).precision[exists]
    expected = improved_prior(part, prior.of_edges(edges), of_part).precision[exists]
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
    gains = removal_gains(model, prior, posterior)
    for edge in range(6):
        mask = torch.ones(6, dtype=torch.float64)
        mask[edge] = 0.0
        first = KANLayer(layers[0].basis, layers[0].weight.detach(), mask.view(2, 3))
        _, of_rest = outcome(KANNetwork([first], network.skip))
        expected = of_rest.log_evidence - posterior.log_evidence
        assert_allclose(gains[edge], expected, rtol=1e-6, atol=1e-6)
        weights = weights_without(model, posterior, torch.tensor([edge]))
        of_edge = weights.view(n_edges, -1)
        assert_array_equal(of_edge[edge], 0.0)
        exists = torch.arange(n_edges).unsqueeze(1) != edge
        expected = (mean(of_rest).view(n_edges, -1) * exists).flatten()
        assert_allclose(weights, expected, rtol=1e-6, atol=1e-8)
    leaving = torch.arange(6).view(2, 3).T  # both edges of a column together
    gains = removal_gains(model, prior, posterior, leaving)
    for column in range(3):
        mask = torch.ones(2, 3, dtype=torch.float64)
        mask[:, column] = 0.0
        first = KANLayer(layers[0].basis, layers[0].weight.detach(), mask)
        _, of_rest = outcome(KANNetwork([first], network.skip))
        expected = of_rest.log_evidence - posterior.log_evidence
        assert_allclose(gains[column], expected, rtol=1e-6, atol=1e-6)
