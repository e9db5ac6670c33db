"""Networks without some of their edges."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from random_network import make_network, make_samples, output

from skkan import KANNetwork
from skkan.network._edge_removal import without_edges


@pytest.mark.parametrize("additive_skip", [False, True])
def test_pruning_zero_edges_keeps_the_function(additive_skip, rng):
    """Idle nodes go with them, and what they added stays."""
    x, share = make_samples(rng), torch.full((60,), 1 / 60, dtype=torch.float64)
    network = make_network(rng, x, additive_skip=additive_skip, widths=[3, 4, 3, 2])
    keep = [layer.mask > 0 for layer in network.all_layers]
    keep[0][0, 1] = keep[2][1, 0] = False  # these stay as masks
    keep[0][1] = False  # no edge enters this node
    keep[1][:, 2] = False  # none leaves this one
    keep[0][:, 0] = False
    if additive_skip:
        keep[-1][:, 0] = False
    network = network.with_weights(
        [w * k.unsqueeze(-1) for w, k in zip(network.weights, keep, strict=True)]
    )
    pruned, edges, _ = without_edges(network, keep, x, share)
    assert pruned.widths == [2, 2, 3, 2]
    assert_array_equal(pruned.used_features, [1, 2])
    assert_allclose(output(pruned, x), output(network, x), rtol=0, atol=1e-12)
    again = KANNetwork.from_arrays(pruned.to_arrays())
    assert_array_equal(output(again, x), output(pruned, x))
    x[:, 0] = 1e9
    assert_array_equal(output(again, x), output(pruned, x))

    def base_weights(network):
        return torch.cat([weight[..., -1].flatten() for weight in network.weights])

    # The mean goes into the splines, so that base weights tell which edge is which.
    exists = torch.cat([layer.mask.flatten() for layer in pruned.all_layers])
    assert_array_equal(base_weights(pruned), base_weights(network)[edges] * exists)


def test_nodes_keep_the_members_that_they_come_from(rng):
    """In what pruning leaves of an ensemble, and in its stored arrays."""
    x, share = make_samples(rng), torch.full((60,), 1 / 60, dtype=torch.float64)
    plain = make_network(rng, x, additive_skip=True, widths=[3, 4, 2])
    members = torch.tensor([0, 0, 1, 1])
    network = KANNetwork(plain.layers, plain.skip, None, members)
    keep = [layer.mask > 0 for layer in network.all_layers]
    keep[0][1] = False
    pruned, *_ = without_edges(network, keep, x, share)
    assert KANNetwork.from_arrays(pruned.to_arrays()).members.tolist() == [0, 1, 1]


def test_a_removed_edge_leaves_its_mean(rng):
    """f - phi + mean(phi), with the weights of the samples."""
    x = make_samples(rng)
    share = torch.from_numpy(rng.dirichlet(np.ones(60)))
    network = make_network(rng, x, additive_skip=False, widths=[3, 2])
    keep = [torch.tensor([[True, False, True], [True, True, True]])]
    pruned, *_ = without_edges(network, keep, x, share)
    edge = network.activations(x)[0][:, 0, 1].detach()
    expected = output(network, x)
    expected[:, 0] += share @ edge - edge
    assert_allclose(output(pruned, x), expected, rtol=0, atol=1e-12)
    assert pruned.n_edges == 5


def test_means_pass_between_the_last_layer_and_the_skip(rng):
    """Both enter the outputs; one may have lost all its edges."""
    x, share = make_samples(rng), torch.full((60,), 1 / 60, dtype=torch.float64)
    network = make_network(rng, x)
    everything = [layer.mask > 0 for layer in network.all_layers]
    for index, gone in ((1, 1), (-1, -1)):
        keep = [flags.clone() for flags in everything]
        keep[gone][0] = False
        pruned, *_ = without_edges(network, keep, x, share)
        lost = network.activations(x)[index][:, 0].sum(1).detach()
        expected = output(network, x)
        expected[:, 0] += share @ lost - lost
        assert_allclose(output(pruned, x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("additive_skip", [False, True])
def test_without_a_path_the_output_is_zero(additive_skip, rng):
    """One input and one node remain, so that no dimension is empty."""
    x, share = make_samples(rng), torch.full((60,), 1 / 60, dtype=torch.float64)
    network = make_network(rng, x, additive_skip=additive_skip)
    keep = [layer.mask > 0 for layer in network.all_layers]
    keep[0][:] = keep[-1][:] = False
    pruned, edges, _ = without_edges(network, keep, x, share)
    assert pruned.widths == [1, 1, 2]
    assert pruned.n_edges == 0
    assert len(edges) == 3 + 2 * additive_skip
    assert_array_equal(output(pruned, x), 0.0)
    assert_array_equal(pruned.attribution(x, share), 0.0)
