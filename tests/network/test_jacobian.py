"""The derivative of the output with respect to the weights, against autograd."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.autograd.functional import jacobian

from skkan import KANNetwork
from skkan.network._jacobian import linearise, outer_weight_positions

WIDTHS = [[3, 1], [3, 3], [3, 2, 1], [3, 4, 3, 2]]
every_network = [
    pytest.mark.parametrize("widths", WIDTHS, ids=str),
    pytest.mark.parametrize("additive_skip", [False, True], ids=["plain", "skip"]),
    pytest.mark.parametrize("removed", [False, True], ids=["full", "pruned"]),
]


def on_every_network(test):
    for mark in every_network:
        test = mark(test)
    return test


def make_network(rng, x, widths, *, additive_skip, removed=False, **options):
    """Random curves of size one, so that no sensitivity vanishes."""
    network = KANNetwork.from_samples(
        widths, x, additive_skip=additive_skip, grid_size=4, **options
    )
    network = network.with_weights(
        [
            torch.from_numpy(rng.standard_normal(w.shape)) / w.shape[1] ** 0.5
            for w in network.weights
        ]
    )
    # Some hidden nodes then lie outside of their grid, where slopes are zero.
    if removed:
        for layer in network.all_layers:
            layer.mask.copy_(
                torch.from_numpy(1.0 * (rng.random(layer.mask.shape) > 0.3))
            )
    return network


def dense_jacobian(network, weights, x):
    """(n_samples, n_outputs, n_parameters), by autograd."""
    parts = jacobian(lambda *w: network.propagate(x, w)[0], tuple(weights))
    return torch.cat([part.flatten(2) for part in parts], dim=2)


def free_weights(network):
    """One for each weight of an edge that exists, as a flat vector."""
    return torch.cat(
        [
            layer.mask.unsqueeze(-1).expand(layer.weight.shape).flatten()
            for layer in network.all_layers
        ]
    )


def assembled(network, line):
    """The two parts of the derivative in one, with removed edges at zero."""
    n_samples, n_outputs = line.output.shape
    dense = line.output.new_zeros(
        n_samples, n_outputs, sum(w.numel() for w in network.weights)
    )
    dense[..., : line.n_inner] = line.inner()
    own = outer_weight_positions(network)
    for output in range(n_outputs):
        dense[:, output, own[output]] = line.outer
    return dense * free_weights(network)


def make_samples(rng, n_samples=25):
    return torch.from_numpy(rng.uniform(-1, 1, (n_samples, 3)))


@on_every_network
def test_derivative_is_autograds(widths, additive_skip, removed, rng):
    """By hand it takes one pass for all outputs; autograd takes one for each."""
    x = make_samples(rng)
    network = make_network(rng, x, widths, additive_skip=additive_skip, removed=removed)
    weights = network.weights
    line = linearise(network, weights, x)
    expected = dense_jacobian(network, weights, x)
    assert_allclose(assembled(network, line), expected, rtol=0, atol=1e-10)
    assert_allclose(line.output, network(x).detach(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("additive_skip", [False, True], ids=["plain", "skip"])
def test_derivative_of_products_is_autograds(additive_skip, rng):
    """The slope of a factor is the other factor."""
    x = make_samples(rng)
    options = {"additive_skip": additive_skip, "n_multiplications": (2, 1)}
    network = make_network(rng, x, [3, 1, 0, 2], removed=True, **options)
    line = linearise(network, network.weights, x)
    expected = dense_jacobian(network, network.weights, x)
    assert_allclose(assembled(network, line), expected, rtol=0, atol=1e-10)
    assert_allclose(line.output, network(x).detach(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_products_with_the_derivative_need_not_hold_it(widths, rng):
    """J^T slope, and root J, written where the caller wants it."""
    x = make_samples(rng)
    network = make_network(rng, x, widths, additive_skip=True)
    line = linearise(network, network.weights, x)
    inner = line.inner()
    slope = torch.from_numpy(rng.standard_normal(line.output.shape))
    expected = torch.einsum("no,noq->q", slope, inner)
    assert_allclose(line.inner_gradient(slope), expected, rtol=0, atol=1e-12)
    root = torch.from_numpy(rng.standard_normal((len(x), 4, widths[-1])))
    room = inner.new_zeros(len(x), 4, line.n_inner + 3)
    line.inner(root, out=room[..., 1:-2])
    assert_allclose(room[..., 1:-2], root @ inner, rtol=0, atol=1e-12)
    assert_array_equal(room[..., [0, -2, -1]], 0)


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("base_activation", [None, "identity"])
def test_derivative_is_autograds_for_every_kind_of_basis(
    base_activation, extrapolation, rng
):
    """Beyond the grid, too, where slopes are zero or those of the tangent."""
    x = make_samples(rng)
    network = make_network(
        rng,
        x,
        [3, 4, 3, 2],
        additive_skip=True,
        base_activation=base_activation,
        extrapolation=extrapolation,
    )
    new = 1.5 * make_samples(rng)
    line = linearise(network, network.weights, new)
    expected = dense_jacobian(network, network.weights, new)
    assert_allclose(assembled(network, line), expected, rtol=1e-10, atol=1e-10)


def test_given_weights_are_where_the_derivative_is_taken(rng):
    """Not those of the network, which is the solver's starting point."""
    x = make_samples(rng)
    network = make_network(rng, x, [3, 2, 1], additive_skip=True)
    weights = [torch.from_numpy(rng.standard_normal(w.shape)) for w in network.weights]
    line = linearise(network, weights, x)
    moved = linearise(network.with_weights(weights), weights, x)
    assert_array_equal(line.output, moved.output)
    assert_array_equal(line.inner(), moved.inner())
    expected = dense_jacobian(network, weights, x)
    assert_allclose(assembled(network, line), expected, rtol=0, atol=1e-10)


def test_given_features_change_nothing(rng):
    """They save time, not digits."""
    x = make_samples(rng)
    network = make_network(rng, x, [3, 4, 3, 2], additive_skip=True)
    features = network.layers[0].basis(x)
    one = linearise(network, network.weights, x)
    two = linearise(network, network.weights, x, features)
    assert_array_equal(one.output, two.output)
    assert_array_equal(one.inner(), two.inner())
    assert_array_equal(one.outer, two.outer)


def test_hidden_nodes_are_what_passes_through(rng):
    """Their moments follow from them and from the basis values before them."""
    x = make_samples(rng)
    network = make_network(rng, x, [3, 4, 3, 2], additive_skip=True)
    line = linearise(network, network.weights, x)
    hidden = list(zip(line.features, line.sums, strict=True))
    passes = network.propagate(x, network.weights)[1]
    assert len(hidden) == 2
    for (features, nodes), before, after in zip(
        hidden, passes[:2], passes[1:3], strict=True
    ):
        assert_array_equal(features, before.features.flatten(1))
        assert_array_equal(nodes, after.inputs)


def test_network_without_hidden_layers_is_its_own_linearisation(rng):
    """The output is the derivative times the weights."""
    x = make_samples(rng)
    network = make_network(rng, x, [3, 2], additive_skip=True)
    line = linearise(network, network.weights, x)
    theta = torch.cat([weight.flatten() for weight in network.weights])
    product = assembled(network, line) @ theta
    assert_allclose(product, line.output, rtol=0, atol=1e-13)
    assert line.features == line.sums == line.sensitivities == []
    assert np.prod(line.inner().shape) == 0
