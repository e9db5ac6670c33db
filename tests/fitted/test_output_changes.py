"""Changes of the output against networks that are evaluated edge by edge."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from random_network import make_network

from skkan import KANNetwork
from skkan.fitted._output_changes import OutputChanges
from skkan.network._layer import KANLayer

N_ROWS = 60


@pytest.fixture(params=[[3, 1], [3, 4, 2], [3, 3, 2, 2, 1]], ids=str)
def problem(request, rng):
    """A network with removed edges and, if there are hidden nodes, a skip."""
    x = torch.from_numpy(rng.normal(size=(N_ROWS, 3)))
    network = make_network(
        rng, x, widths=request.param, additive_skip=len(request.param) > 2
    )
    layers = [
        KANLayer(
            layer.basis,
            layer.weight.detach(),
            torch.from_numpy((rng.random(layer.mask.shape) < 0.8).astype(float)),
        )
        for layer in network.all_layers
    ]
    share = rng.dirichlet(np.ones(N_ROWS))
    return network.with_layers(layers), x, share


def changes_of(problem):
    network, x, share = problem
    return OutputChanges(network, x, torch.from_numpy(share))


def slow_output(network, x, replaced=(), means=None):
    """Output where edges (layer, o, i) are replaced, and the edges of all layers."""
    nodes, values = x, []
    with torch.no_grad():
        for index, layer in enumerate(network.all_layers):
            is_skip = layer is network.skip
            edges = layer.activations(x if is_skip else nodes).numpy()
            for at, o, i in replaced:
                if at == index:
                    edges[:, o, i] = means[at][o, i]
            values.append(edges)
            total = torch.from_numpy(edges.sum(2))
            nodes = nodes + total if is_skip else total
    return nodes.numpy(), values


def slow_loss(problem, replaced):
    """Share of the variance that is lost if some edges are replaced by their means."""
    network, x, share = problem
    output, values = slow_output(network, x)
    means = [np.tensordot(share, edges, axes=1) for edges in values]
    other, _ = slow_output(network, x, replaced, means)
    variance = share @ (output - share @ output) ** 2
    return (share @ (other - output) ** 2).sum() / variance.sum()


def all_edges(network):
    return [
        (index, o, i)
        for index, layer in enumerate(network.all_layers)
        for o, i in np.ndindex(*layer.mask.shape)
    ]


def test_the_most_important_edges_carry_what_the_others_do_not(problem):
    """Of those into the outputs, in the order of their scores."""
    network = problem[0]
    scores = changes_of(problem).of_edges()
    carried = changes_of(problem).carried(scores)
    ends = network.layers[-1], network.skip
    into_outputs = [
        (at, o, i) for at, o, i in all_edges(network) if network.all_layers[at] in ends
    ]
    ranked = sorted(into_outputs, key=lambda edge: -scores[edge[0]][edge[1:]])
    for number, (at, o, i) in enumerate(ranked, start=1):
        expected = 1 - slow_loss(problem, ranked[number:])
        assert_allclose(carried[at][o, i], expected, atol=1e-12)
    assert all(
        np.isnan(of_layer).all() == (layer not in ends)
        for layer, of_layer in zip(network.all_layers, carried, strict=True)
    )


def test_edges_are_replaced_by_their_means_one_by_one(problem):
    scores = changes_of(problem).of_edges()
    for index, o, i in all_edges(problem[0]):
        expected = slow_loss(problem, [(index, o, i)])
        assert_allclose(scores[index][o, i], expected, rtol=1e-9, atol=1e-15)


def test_several_edges_are_replaced_together(problem, rng):
    """Those that are not kept, of all layers at once."""
    network = problem[0]
    for _ in range(5):
        keep = [rng.random(layer.mask.shape) < 0.7 for layer in network.all_layers]
        removed = [(at, o, i) for at, o, i in all_edges(network) if not keep[at][o, i]]
        expected = slow_loss(problem, removed)
        lost = changes_of(problem).of_all_but(keep)
        assert_allclose(lost, expected, rtol=1e-9, atol=1e-15)


def test_nodes_are_replaced_with_all_edges_that_leave_them(problem):
    network = problem[0]
    scores = changes_of(problem).of_nodes()
    for index in range(len(network.layers) - 1):
        for node in range(network.widths[index + 1]):
            leaving = [
                (at, o, i)
                for at, o, i in all_edges(network)
                if at == index + 1 and i == node
            ]
            expected = slow_loss(problem, leaving)
            assert_allclose(scores[index][node], expected, rtol=1e-9, atol=1e-15)
    for of_outputs in {len(network.layers) - 1, len(network.all_layers) - 1}:
        assert_allclose(scores[of_outputs].sum(), 1)


def test_importances_are_mean_changes_over_all_permutations(problem):
    """Each row with the value of each other row, weighted; a thirtieth is an error."""
    network, x, share = problem
    output = network(x).detach().numpy()
    expected = np.zeros(3)
    for column in range(3):
        for lender in range(N_ROWS):
            other = x.clone()
            other[:, column] = x[lender, column]
            change = (network(other).detach().numpy() - output) ** 2
            expected[column] += share[lender] * (share @ change).sum()
    expected /= expected.sum()
    assert_allclose(changes_of(problem).importances(), expected, atol=0.03)


def test_importances_of_curves_are_shares_of_their_variance(rng):
    x = torch.from_numpy(rng.normal(size=(N_ROWS, 3)))
    network = make_network(rng, x, widths=[3, 2], additive_skip=False)
    share = rng.dirichlet(np.ones(N_ROWS))
    _, (edges,) = slow_output(network, x)
    centred = edges - np.tensordot(share, edges, axes=1)
    variance = np.einsum("n,noi->i", share, centred**2)
    found = changes_of((network, x, share)).importances()
    assert_allclose(found, variance / variance.sum(), rtol=1e-10)


def test_curves_that_cancel_later_do_not_matter(rng):
    """Two nodes of the same function, with weights of a thousand and its opposite."""
    x = torch.from_numpy(rng.uniform(-1, 1, (N_ROWS, 2)))
    small = make_network(rng, x, widths=[2, 1, 1], additive_skip=False)
    first, second = small.layers
    basis = second.basis.with_grid(second.basis.grid.expand(3, -1))
    weight = second.weight.detach()
    network = KANNetwork(
        [
            KANLayer(first.basis, first.weight.detach().expand(3, -1, -1)),
            KANLayer(basis, torch.cat([weight, 1000 * weight, -1000 * weight], 1)),
        ]
    )
    share = x.new_full((N_ROWS,), 1 / N_ROWS)
    alone, with_others = (
        OutputChanges(each, x, share).importances() for each in (small, network)
    )
    assert_allclose(with_others, alone, rtol=1e-6)


def test_constants_and_unused_columns_have_no_share(rng):
    x = torch.from_numpy(rng.normal(size=(N_ROWS, 3)))
    network = make_network(rng, x)
    share = x.new_full((N_ROWS,), 1 / N_ROWS)
    flat = network.with_weights([torch.zeros_like(w) for w in network.weights])
    changes = OutputChanges(flat, x, share)
    assert_array_equal(changes.importances(), np.zeros(3))
    assert not any(score.any() for score in changes.of_edges())
    for layer in (network.layers[0], network.skip):
        layer.mask[:, 1] = 0
    assert OutputChanges(network, x, share).importances()[1] == 0


def test_weights_are_repetitions(rng):
    """Up to the draw of permutations, a row of weight two is two rows."""
    x = torch.from_numpy(rng.normal(size=(N_ROWS, 3)))
    network = make_network(rng, x)
    count = torch.from_numpy(rng.integers(1, 4, N_ROWS))
    share = count.double() / count.sum()
    repeated = x.repeat_interleave(count, 0)
    weighted = OutputChanges(network, x, share)
    plain = OutputChanges(
        network, repeated, x.new_full((len(repeated),), 1 / len(repeated))
    )
    for ours, theirs in zip(weighted.of_edges(), plain.of_edges(), strict=True):
        assert_allclose(ours, theirs, rtol=1e-9, atol=1e-15)
    assert_allclose(weighted.importances(), plain.importances(), atol=0.05)


@pytest.mark.parametrize("n_rows", [30, 300])
def test_importances_of_rows_of_unequal_weights(n_rows, rng):
    """Against the expectation over all pairs of rows, weighted."""
    x = torch.from_numpy(rng.normal(size=(n_rows, 3)))
    network = make_network(rng, x)
    share = np.exp(1.5 * rng.normal(size=n_rows))
    share /= share.sum()
    with torch.no_grad():
        output = network(x).numpy()
        expected = np.zeros(3)
        for column in range(3):
            for lender in range(n_rows):
                other = x.clone()
                other[:, column] = x[lender, column]
                change = (network(other).numpy() - output) ** 2
                expected[column] += share[lender] * (share @ change).sum()
    expected /= expected.sum()
    found = changes_of((network, x, share)).importances()
    assert_allclose(found, expected, atol=1e-9 if n_rows == 30 else 0.03)
