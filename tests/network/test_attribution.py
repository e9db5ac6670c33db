"""Attribution scores against the formula of the paper."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from random_network import make_network, make_samples

from skkan import KANNetwork
from skkan.network._edge_removal import without_edges


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
    pruned, _ = without_edges(network, keep, x, share)
    alone = KANNetwork(pruned.layers, pruned.skip)
    score = pruned.attribution(x, share)
    assert score[1] == 0
    assert_array_equal(score[[0, 2]], alone.attribution(x[:, [0, 2]], share))
