"""Scores against the formula of the paper, statistics against slow ones."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from random_network import make_network, make_samples

from skkan import KANNetwork
from skkan.fitted._output_changes import OutputChanges
from skkan.network._attribution_and_statistics import (
    N_BINS,
    LayerStatistics,
    edge_scores,
    network_statistics,
)
from skkan.network._edge_removal import without_edges
from skkan.network._layer import KANLayer


def slow_attribution(network, x, count):
    """The formula of the reference implementation, one edge at a time.

    node scores of output k start at 1 for k and 0 for others;
    edge_oi = std(edge_oi) node_o / (std(node_o) + 1e-4); node_i = sum_o edge_oi;
    averaged over k.
    """
    repeated = x.repeat_interleave(torch.from_numpy(count), 0)
    edges = [part.detach().numpy().std(0) for part in network.activations(repeated)]
    nodes = [network.layers[0](repeated), network(repeated)]
    nodes = [part.detach().numpy().std(0) for part in nodes]
    first, second, *skip = edges
    n_outputs, n_hidden = second.shape
    n_inputs = first.shape[1]
    total = np.zeros(n_inputs)
    for k in range(n_outputs):
        score = np.eye(n_outputs)[k]
        hidden = np.zeros(n_hidden)
        for o in range(n_outputs):
            for h in range(n_hidden):
                hidden[h] += second[o, h] * score[o] / (nodes[1][o] + 1e-4)
        for h in range(n_hidden):
            for i in range(n_inputs):
                total[i] += first[h, i] * hidden[h] / (nodes[0][h] + 1e-4)
        for part in skip:
            for o in range(n_outputs):
                for i in range(n_inputs):
                    total[i] += part[o, i] * score[o] / (nodes[1][o] + 1e-4)
    total /= n_outputs
    return total / total.sum()


@pytest.mark.parametrize("additive_skip", [False, True])
def test_attribution_equals_the_formula_of_the_paper(additive_skip, rng):
    """Weighted, with a skip and with an edge removed; the shares sum to one."""
    x = make_samples(rng)
    network = make_network(rng, x, additive_skip=additive_skip)
    network.layers[0].mask[1, 2] = 0
    count = rng.integers(1, 4, len(x))
    share = torch.from_numpy(count / count.sum())
    importances = network.attribution(x, share)
    expected = slow_attribution(network, x, count)
    # Removed edges have a deviation of 1e-12 instead of zero before they are masked.
    assert_allclose(importances, expected, rtol=1e-10)
    assert_allclose(importances.sum(), 1, rtol=1e-14)


def test_attribution_of_an_additive_model_is_that_of_its_edges(rng):
    """Without hidden layers the shares are the deviations of the curves."""
    x = make_samples(rng)
    network = make_network(rng, x, widths=[3, 1], additive_skip=False)
    share = x.new_full((len(x),), 1 / len(x))
    std = network.activations(x)[0][:, 0].detach().numpy().std(0)
    assert_allclose(network.attribution(x, share), std / std.sum(), rtol=1e-12)


def test_unused_input_has_no_importance(rng):
    """Exactly zero where every edge of an input is removed."""
    x = make_samples(rng)
    network = make_network(rng, x)
    for layer in (network.layers[0], network.skip):
        layer.mask[:, 1] = 0
    share = x.new_full((len(x),), 1 / len(x))
    assert network.attribution(x, share)[1] == 0


@pytest.mark.parametrize("additive_skip", [False, True])
def test_constant_network_has_no_importances(additive_skip, rng):
    """Zeros rather than shares of rounding errors."""
    x = make_samples(rng)
    network = make_network(rng, x, additive_skip=additive_skip)
    constants = []
    for weight in network.weights:
        weight = torch.ones_like(weight)
        weight[..., -1] = 0
        constants.append(weight)
    network = network.with_weights(constants)
    share = x.new_full((len(x),), 1 / len(x))
    assert_array_equal(network.attribution(x, share), np.zeros(3))


def test_attribution_of_unused_inputs_is_zero(rng):
    """The others share it as they do without the unused columns."""
    x, share = make_samples(rng), torch.full((60,), 1 / 60, dtype=torch.float64)
    network = make_network(rng, x)
    keep = [layer.mask > 0 for layer in network.all_layers]
    keep[0][:, 1] = keep[-1][:, 1] = False
    pruned, *_ = without_edges(network, keep, x, share)
    alone = KANNetwork(pruned.layers, pruned.skip)
    score = pruned.attribution(x, share)
    assert score[1] == 0
    assert_array_equal(score[[0, 2]], alone.attribution(x[:, [0, 2]], share))


@pytest.fixture(params=[[3, 1], [3, 4, 2], [3, 2, 2, 1]], ids=str)
def problem(request, rng):
    """A random network with a skip and removed edges, rows and their shares."""
    x = torch.from_numpy(rng.normal(size=(80, 3)))
    x[:, 2] = 0.5  # a column that does not vary
    network = KANNetwork.from_samples(
        request.param, x, grid_size=4, additive_skip=len(request.param) > 2
    )
    layers = [
        KANLayer(
            layer.basis,
            torch.from_numpy(rng.normal(size=layer.weight.shape)),
            torch.from_numpy((rng.random(layer.mask.shape) < 0.8).astype(float)),
        )
        for layer in network.all_layers
    ]
    share = rng.dirichlet(np.ones(80))
    return network.with_layers(layers), x, share


def described(problem):
    network, x, share = problem
    share = torch.from_numpy(share)
    changes = OutputChanges(network, x, share)
    return network_statistics(network, x, share, changes)


def edge_values(network, x):
    return [values.detach().numpy() for values in network.activations(x)]


def inputs_of(network, x):
    """What enters each of `all_layers`."""
    hidden = edge_values(network, x)[: len(network.layers) - 1]
    through_skip = [x.numpy()] if network.skip is not None else []
    return [x.numpy(), *(values.sum(2) for values in hidden), *through_skip]


def test_deviations_are_those_of_the_edges(problem):
    """Weighted population deviations, over rows of which each has its share.

    They come from the covariance of the basis, which is precise to 1e-12 at best for
    an edge that is constant.
    """
    network, x, share = problem
    for layer, values in zip(described(problem), edge_values(network, x), strict=True):
        mean = np.einsum("n,noi->oi", share, values)
        std = np.sqrt(np.einsum("n,noi->oi", share, (values - mean) ** 2))
        assert_allclose(layer.std, std, rtol=1e-9, atol=1e-7)


def test_mean_features_give_the_means_of_the_edges(problem):
    network, x, share = problem
    for layer, module, values in zip(
        described(problem), network.all_layers, edge_values(network, x), strict=True
    ):
        weight = module.masked(module.weight).detach().numpy()
        means = np.einsum("oif,if->oi", weight, layer.mean_features)
        assert_allclose(means, np.einsum("n,noi->oi", share, values), atol=1e-12)


def test_density_is_a_weighted_histogram(problem):
    network, x, share = problem
    for layer, inputs in zip(described(problem), inputs_of(network, x), strict=True):
        assert_allclose(layer.low, inputs.min(0), rtol=1e-12)
        assert_allclose(layer.high, inputs.max(0), rtol=1e-12)
        for density, column in zip(layer.density, inputs.T, strict=True):
            if np.ptp(column) == 0:
                assert_allclose(density, np.eye(N_BINS)[0], atol=1e-15)
                continue
            counts, _ = np.histogram(column, bins=N_BINS, weights=share)
            assert_allclose(density, counts, atol=1e-15)


def test_scores_hand_down_those_of_the_nodes(problem):
    """The recursion of the KAN 2.0 paper, section 4.1, written out in loops."""
    network, x, share = problem

    def std(values):
        mean = share @ values
        return np.sqrt(share @ (values - mean) ** 2)

    values = edge_values(network, x)
    n_layers = len(network.layers)
    output = network(x).detach().numpy()
    node = np.full(output.shape[1], 1 / output.shape[1])
    node_std = np.array([std(column) for column in output.T])
    expected = [None] * len(values)
    if network.skip is not None:
        expected[-1] = score_of(values[-1], node, node_std, std)
    for index in reversed(range(n_layers)):
        expected[index] = score_of(values[index], node, node_std, std)
        node = expected[index].sum(0)
        node_std = np.array([std(column) for column in inputs_of(network, x)[index].T])
    scores = edge_scores(network, *network.propagate(x), torch.from_numpy(share))
    for score, slow in zip(scores, expected, strict=True):
        assert_allclose(score, slow, rtol=1e-9, atol=1e-7)


def score_of(values, node, node_std, std):
    n_outputs, n_inputs = values.shape[1:]
    return np.array(
        [
            [
                std(values[:, o, i]) * node[o] / (node_std[o] + 1e-4)
                for i in range(n_inputs)
            ]
            for o in range(n_outputs)
        ]
    )


def test_removed_edges_do_not_matter(problem):
    for layer, module in zip(described(problem), problem[0].all_layers, strict=True):
        removed = module.mask.numpy() == 0
        assert not layer.std[removed].any()
        assert not layer.score[removed].any()


def test_arrays_rebuild_it(problem):
    """So that a fitted estimator holds nothing but arrays."""
    for layer in described(problem):
        arrays = layer.to_arrays()
        assert all(isinstance(value, np.ndarray) for value in arrays.values())
        rebuilt = LayerStatistics(**arrays)
        for name, value in vars(layer).items():
            assert_array_equal(getattr(rebuilt, name), value)
