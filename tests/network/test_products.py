"""Nodes that are products of two sums."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from random_network import make_network, make_samples, output

from skkan import KANNetwork
from skkan.basis._bspline import BSplineBasis
from skkan.fitted._output_changes import OutputChanges
from skkan.network._attribution_and_statistics import edge_scores
from skkan.network._edge_removal import without_edges
from skkan.network._edits import with_standardised_nodes
from skkan.network._layer import KANLayer
from skkan.network._weighted_average import weighted_average


def deep_network(rng, x, **options):
    """One sum and two products, then one product alone."""
    options = {"n_multiplications": (2, 1), "margin": 0.5, **options}
    network = make_network(rng, x, widths=[3, 1, 0, 2], **options)
    for index in (1, 2):  # whose curves have nearly no grid to move to
        layers = [*network.all_layers]
        shape = layers[index].weight.shape
        drawn = torch.from_numpy(rng.standard_normal(shape))
        layers[index] = layers[index].with_weight(drawn)
        network = network.with_layers(layers)
        network = network.with_grids_from_samples(x, grid_eps=0.3, margin=0.5)
    return network


def even_share(x):
    return torch.full((len(x),), 1 / len(x), dtype=x.dtype)


def test_nodes_are_sums_then_products_of_pairs(rng):
    """By hand, from the values of all edges."""
    x = make_samples(rng)
    network = deep_network(rng, x)
    assert network.widths == [3, 3, 1, 2]
    assert network.n_multiplications == [2, 1]
    first, second, last, skip = (a.sum(2).detach() for a in network.activations(x))
    _, passes = network.propagate(x)
    nodes = torch.stack(
        [first[:, 0], first[:, 1] * first[:, 2], first[:, 3] * first[:, 4]]
    )
    assert_allclose(passes[1].inputs.detach(), nodes.T, rtol=1e-12)
    assert_allclose(
        passes[2].inputs.detach(), second[:, :1] * second[:, 1:], rtol=1e-12
    )
    assert_allclose(output(network, x), last + skip, rtol=0, atol=1e-13)


def test_product_of_two_curves_is_exact(rng):
    """One product between [2] and [1] is (f(x0) + c) (g(x1) + d)."""
    x = make_samples(rng)[:, :2]
    network = KANNetwork.from_samples([2, 0, 1], x, n_multiplications=1)
    layer = network.layers[0]
    mask = torch.eye(2, dtype=torch.float64)
    weight = torch.from_numpy(rng.standard_normal(layer.weight.shape))
    curves = [
        KANLayer(layer.basis, weight[[i]], mask[[i]])(x).detach() for i in range(2)
    ]
    product = curves[0] * curves[1]
    # An edge whose base function is the identity passes the product on.
    grid = torch.linspace(product.min(), product.max(), 4, dtype=product.dtype)[None]
    through = BSplineBasis(grid, 3, base_activation="identity")
    end = torch.zeros(1, 1, through.n_functions, dtype=torch.float64)
    end[..., -1] = 1.0
    network = KANNetwork([layer.like(weight=weight, mask=mask), KANLayer(through, end)])
    assert_allclose(output(network, x), product, rtol=0, atol=1e-14)


def test_factors_begin_around_one(rng):
    """Each with half of the inputs, at half of the weight of a sum."""
    x = make_samples(rng)[:, [0, 1, 2, 0]]
    generator = torch.Generator().manual_seed(0)
    network = KANNetwork.from_samples(
        [4, 2, 1], x, n_multiplications=1, generator=generator
    )
    layer = network.layers[0]
    plain = KANLayer.at_random(layer.basis, 4, generator.manual_seed(0))
    ratio = layer.base_weight / plain.base_weight
    first, second = ratio[2:].detach()
    assert_allclose(ratio[:2].detach(), 1.0)
    assert_allclose(sorted(first), [0.05, 0.05, 0.5, 0.5])
    assert_allclose(first + second, 0.55)
    levels = layer.sums_at(x) - KANLayer(layer.basis, layer.weight * 0)(x)
    base = torch.nn.functional.silu(x) @ layer.base_weight.T
    expected = x.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(len(x), 4)
    assert_allclose((levels - base).detach(), expected, rtol=0, atol=1e-12)


def test_arrays_keep_products(rng):
    """Files without their number hold none."""
    x = make_samples(rng)
    network = deep_network(rng, x)
    arrays = network.to_arrays()
    assert_array_equal(output(KANNetwork.from_arrays(arrays), x), output(network, x))
    plain = make_network(rng, x).to_arrays()
    for layer in plain["layers"]:
        del layer["n_multiplications"]
    assert KANNetwork.from_arrays(plain).n_multiplications == [0]


def test_standardised_products_keep_the_function(rng):
    """Factors are scaled to mean squares of one, without a shift."""
    x = make_samples(rng, 200)
    network = deep_network(rng, x)
    first = network.layers[0].with_weight(30.0 * network.layers[0].weight.detach())
    wide = network.layers[1]
    wide = wide.with_basis(wide.basis.with_grid(900 * wide.basis.grid), scale=900.0)
    spread = network.with_layers([first, wide, *network.all_layers[2:]])
    options = {"grid_eps": 1.0, "margin": 0.06, "sample_weight": even_share(x)}
    moved, scales = with_standardised_nodes(spread, x, **options)
    sums, before = moved.layers[0].sums_at(x), spread.layers[0].sums_at(x)
    assert_allclose(sums[:, 1:].square().mean(0).detach(), 1.0, rtol=1e-9)
    factors = (before[:, 1:] / scales[0][1:]).detach()
    assert_allclose(sums[:, 1:].detach(), factors, rtol=1e-9)


def test_average_of_networks_with_products(rng):
    """Sums of all come first, then the products of all."""
    x = make_samples(rng)
    networks = [
        make_network(rng, x, widths=[3, n, 2], n_multiplications=m)
        for n, m in [(2, 1), (0, 2), (3, 0)]
    ]
    first = networks[0].layers[0].basis
    networks = [
        n.with_layers(
            [a.like(first) if a.basis is n.layers[0].basis else a for a in n.all_layers]
        )
        for n in networks
    ]
    share = [0.5, 0.2, 0.3]
    mean = weighted_average(networks, share)
    expected = sum(s * output(n, x) for s, n in zip(share, networks, strict=True))
    assert_allclose(output(mean, x), expected, rtol=0, atol=1e-13)
    assert mean.widths == [3, 8, 2]
    assert mean.members.tolist() == [0, 0, 2, 2, 2, 0, 1, 1]


def test_product_that_loses_a_factor_is_a_sum(rng):
    """The mean of the lost factor multiplies the other one; all else stays."""
    x = make_samples(rng)
    network = deep_network(rng, x)
    keep = [layer.mask > 0 for layer in network.all_layers]
    keep[0][4] = False  # the second factor of the second product
    pruned, edges, multipliers = without_edges(network, keep, x, even_share(x))
    assert pruned.n_multiplications == [1, 1]
    first = network.layers[0].sums_at(x).detach()
    mean = first[:, 4].mean()
    nodes = [first[:, 0], first[:, 1] * first[:, 2], first[:, 3] * mean]
    sums_first = [nodes[0], nodes[2], nodes[1]]
    found = pruned.layers[0](x).detach()
    assert_allclose(found.T, torch.stack(sums_first), rtol=0, atol=1e-12)
    rest = network.layers[2](network.layers[1](torch.stack(nodes, 1)))
    rest = (rest + network.skip(x)).detach()
    assert_allclose(output(pruned, x), rest, rtol=0, atol=1e-12)
    assert_allclose(multipliers[3:6], mean, rtol=1e-12)
    assert_array_equal(multipliers[6:], 1)
    assert_array_equal(edges[:15], [0, 1, 2, *range(9, 12), *range(3, 9), 15, 17, 16])


def test_product_without_factors_hands_on_its_mean(rng):
    """It is constant, so that curves behind it are."""
    x = make_samples(rng)
    network = deep_network(rng, x)
    share = even_share(x)
    keep = [layer.mask > 0 for layer in network.all_layers]
    keep[0][1:3] = False
    pruned, *_ = without_edges(network, keep, x, share)
    assert pruned.widths == [3, 2, 1, 2]
    before, after = (
        n.layers[1].sums_at(n.layers[0](x)).detach() for n in (network, pruned)
    )
    assert_allclose(after.mean(0), before.mean(0), rtol=0, atol=1e-12)


def test_factors_have_the_score_of_their_product(rng):
    """By hand, for one product behind another."""
    x = make_samples(rng)
    network = deep_network(rng, x, additive_skip=False)
    result, passes = network.propagate(x)
    scores = edge_scores(network, result, passes, even_share(x))

    def std(values):
        return values.detach().std(0, correction=0)

    of_edges = [std(a) for a in network.activations(x)]
    node = 0.5 / (std(result) + 1e-4)
    expected = of_edges[2] * node[:, None]
    assert_allclose(scores[2], expected, rtol=1e-9)
    for level in (1, 0):
        node = expected.sum(0)
        place = [[0, 1, 1, 2, 2], [0, 0]][level]
        node = node[place] / (std(passes[level].sums()) + 1e-4)
        expected = of_edges[level] * node[:, None]
        assert_allclose(scores[level], expected, rtol=1e-9)


@pytest.mark.parametrize("additive_skip", [False, True])
def test_changes_of_the_output_by_brute_force(additive_skip, rng):
    """One edge at a time, and several together, are replaced by their means."""
    x = make_samples(rng)
    network = deep_network(rng, x, additive_skip=additive_skip)
    share = even_share(x)
    changes = OutputChanges(network, x, share)
    whole = output(network, x)
    variance = whole.var(0, correction=0).sum()

    def without(removed):
        """Output with the means of some edges of each layer in their place."""
        of_layers = [*network.all_layers]
        skip = of_layers.pop() if additive_skip else None
        removed, nodes, inputs = [*removed], x, x
        direct = 0.0
        if skip is not None:
            direct = mean_where(skip.activations(inputs), removed.pop()).sum(2)
        original = x
        for layer, gone in zip(of_layers, removed, strict=True):
            values, true = layer.activations(nodes), layer.activations(original)
            mean = true.mean(0, keepdim=True).expand_as(true)
            values = torch.where(gone, mean, values)
            nodes, original = layer.nodes_of(values.sum(2)), layer(original)
        return ((nodes + direct - whole).square().mean(0).sum() / variance).detach()

    def mean_where(values, gone):
        return torch.where(gone, values.mean(0, keepdim=True), values)

    none = [layer.mask == 0 for layer in network.all_layers]
    for level, scores in enumerate(changes.of_edges()):
        for place in np.ndindex(scores.shape):
            removed = [flags.clone() for flags in none]
            removed[level][place] = True
            assert_allclose(scores[place], without(removed), rtol=1e-8, atol=1e-12)
    removed = [torch.from_numpy(rng.random(f.shape) < 0.3) for f in none]
    found = changes.of_all_but([~flags.numpy() for flags in removed])
    assert_allclose(found, without(removed), rtol=1e-8)
    for level, of_nodes in enumerate(changes.of_nodes()[:2]):
        n_nodes = network.widths[level + 1]
        for node in range(n_nodes):
            removed = [flags.clone() for flags in none]
            removed[level + 1][:, node] = True
            assert_allclose(of_nodes[node], without(removed), rtol=1e-8)
        first = (
            network.layers[level].mask.shape[0] - 2 * network.n_multiplications[level]
        )
        for factor, score in enumerate(of_nodes[n_nodes:], start=first):
            removed = [flags.clone() for flags in none]
            removed[level][factor] = True
            assert_allclose(score, without(removed), rtol=1e-8)
