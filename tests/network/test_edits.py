"""Hidden nodes and grids that fit each other."""

from operator import attrgetter

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from random_network import make_network, make_samples, output, polynomial_network

from skkan import KANNetwork, grid_from_samples
from skkan.network._edits import with_range_of, with_standardised_nodes

STANDARD = {"grid_eps": 0.5, "margin": 0.1}


def standardised(network, x, weight=None, **options):
    weight = x.new_ones(len(x)) if weight is None else weight
    return with_standardised_nodes(
        network, x, **{**STANDARD, **options}, sample_weight=weight
    )


@pytest.mark.parametrize("additive_skip", [False, True])
def test_standard_nodes_keep_a_function_that_they_can_represent(additive_skip, rng):
    """Cubic polynomials between nodes that fill a small part of their grid."""
    x = make_samples(rng)
    network = polynomial_network(rng, x)
    if not additive_skip:
        network = KANNetwork(list(network.layers))
    changed, scales = standardised(network, x)
    assert [len(scale) for scale in scales] == [4]
    assert (scales[0] != 1).all()
    # The hidden grid spans 18, the samples' a part of it: cubes cancel three digits.
    assert_allclose(output(changed, x), output(network, x), rtol=0, atol=1e-10)


def test_standard_nodes_have_mean_zero_and_deviation_one(rng):
    """Weighted; a new grid fits them, and the margin is around it."""
    x = make_samples(rng)
    weight = torch.from_numpy(rng.uniform(1, 2, len(x)))
    changed, _ = standardised(polynomial_network(rng, x), x, weight)
    nodes = changed.layers[0](x).detach()
    mean = np.average(nodes.numpy(), axis=0, weights=weight.numpy())
    variance = np.average((nodes.numpy() - mean) ** 2, axis=0, weights=weight.numpy())
    assert_allclose(mean, 0, atol=1e-12)
    assert_allclose(variance, 1, rtol=1e-12)
    expected = grid_from_samples(nodes, 5, **STANDARD, sample_weight=weight)
    assert_allclose(changed.layers[1].basis.grid, expected, rtol=1e-10, atol=1e-10)


def test_scales_are_what_nodes_were_divided_by(rng):
    """The curves before them take it up exactly."""
    x = make_samples(rng)
    network = polynomial_network(rng, x)
    changed, (scale,) = standardised(network, x)
    nodes, before = (net.layers[0](x).detach() for net in (changed, network))
    assert_allclose(scale, before.numpy().std(0), rtol=1e-10)
    expected = (before - before.mean(0)) / scale
    # Means of some units cancel.
    assert_allclose(nodes, expected, rtol=0, atol=1e-11)


def test_nodes_that_fit_their_grids_are_left_alone(rng):
    """The very same network, so that a solver keeps what it knows of it."""
    x = make_samples(rng)
    network = make_network(rng, x, widths=[3, 4, 3, 2])
    network = network.with_grids_from_samples(x, **STANDARD)
    same, scales = standardised(network, x)
    assert same is network
    assert scales is None


def test_network_without_hidden_nodes_is_left_alone(rng):
    """Its inputs are the user's."""
    x = make_samples(rng)
    network = make_network(rng, x, widths=[3, 2])
    assert standardised(network, 3 * x) == (network, None)


def test_nodes_that_hardly_vary_are_left_alone(rng):
    """Their rounding would be blown up to a deviation of one."""
    x = make_samples(rng)
    network = make_network(rng, x).with_grids_from_samples(x, **STANDARD)
    weights = network.weights
    weights[0] = 1e-3 * weights[0]
    network = network.with_weights(weights)
    assert standardised(network, x) == (network, None)


@pytest.mark.parametrize("factor", [0.4, 1.3])
def test_only_nodes_that_do_not_fit_are_changed(factor, rng):
    """Here the second one, which has shrunk or outgrown its grid."""
    x = make_samples(rng)
    network = make_network(rng, x).with_grids_from_samples(x, **STANDARD)
    weights = [weight.clone() for weight in network.weights]
    weights[0][1] *= factor
    network = network.with_weights(weights)
    changed, (scale,) = standardised(network, x)
    others = [0, 2, 3]
    assert_array_equal(scale[others], np.ones(3))
    assert scale[1] != 1
    for attribute in ("basis.grid", "weight"):
        before, after = (
            attrgetter(attribute)(net.layers[1]).detach() for net in (network, changed)
        )
        pick = (others,) if attribute == "basis.grid" else (slice(None), others)
        assert_allclose(after[pick], before[pick], rtol=1e-8, atol=1e-8)
    assert_array_equal(
        changed.layers[0].weight.detach()[others], weights[0][others].detach()
    )
    assert changed.skip.basis is changed.layers[0].basis


@pytest.mark.parametrize("additive_skip", [False, True])
def test_wider_ranges_keep_the_function_where_it_was(additive_skip, rng):
    """The nodes of rows within the first range stay within theirs."""
    x = make_samples(rng)
    network = make_network(rng, x, additive_skip=additive_skip)
    wider = with_range_of(network, 3 * x, 5)
    assert all(layer.basis.grid_size > 5 for layer in wider.all_layers)
    assert_allclose(output(wider, x), output(network, x), atol=1e-10)
    assert with_range_of(wider, 3 * x, 5) is wider
