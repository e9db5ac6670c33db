"""Networks: composition, changes that keep the function, attribution."""

from operator import attrgetter

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skkan import BSplineBasis, KANLayer, KANNetwork, grid_from_samples
from skkan.network._edge_removal import without_edges
from skkan.network._edits import with_standardised_nodes
from skkan.network._weighted_average import weighted_average

WIDTHS = [3, 4, 2]


def make_samples(rng, n_samples=60):
    return torch.from_numpy(rng.uniform(-1, 1, (n_samples, WIDTHS[0])))


def make_network(rng, x, *, additive_skip=True, widths=WIDTHS, **options):
    """Network with random splines, whose grids fit the samples."""
    network = KANNetwork.from_samples(widths, x, additive_skip=additive_skip, **options)
    weights = [
        torch.from_numpy(rng.standard_normal(weight.shape)) / weight.shape[1]
        for weight in network.weights
    ]
    network = network.with_weights(weights)
    return network.with_grids_from_samples(x, grid_eps=0.3)


def with_masks(network, rng):
    """The same network with a third of its edges removed."""
    layers = [
        KANLayer(
            layer.basis,
            layer.weight.detach(),
            torch.from_numpy((rng.uniform(size=layer.mask.shape) > 0.33).astype(float)),
        )
        for layer in network.all_layers
    ]
    return KANNetwork(layers[:-1], layers[-1])


def output(network, x):
    return network(x).detach()


def test_network_is_the_composition_of_its_layers(rng):
    """f(x) = L2(L1(x)) + skip(x)."""
    x = make_samples(rng)
    network = make_network(rng, x)
    first, second = network.layers
    expected = second(first(x)) + network.skip(x)
    assert_array_equal(output(network, x), expected.detach())


@pytest.mark.parametrize("additive_skip", [False, True])
def test_activations_sum_to_the_output(additive_skip, rng):
    """The last layer's edges and the skip's are all there is at an output."""
    x = make_samples(rng)
    network = make_network(rng, x, additive_skip=additive_skip)
    activations = network.activations(x)
    last = activations[1:]
    assert len(last) == 1 + additive_skip
    total = sum(edges.sum(2) for edges in last).detach()
    assert_allclose(output(network, x), total, rtol=0, atol=1e-13)
    hidden = activations[0].sum(2).detach()
    assert_allclose(network.layers[0](x).detach(), hidden, rtol=0, atol=1e-13)


@pytest.mark.parametrize("additive_skip", [False, True])
def test_weighted_sum_of_networks_is_that_of_the_outputs(additive_skip, rng):
    x = make_samples(rng)
    first, *others = (
        make_network(rng, x, additive_skip=additive_skip) for _ in range(3)
    )
    others = [  # inputs have their grids in common
        KANNetwork(
            [KANLayer(first.layers[0].basis, other.weights[0]), other.layers[1]],
            other.skip and KANLayer(first.layers[0].basis, other.weights[2]),
        )
        for other in others
    ]
    direct = KANNetwork([KANLayer.at_random(first.layers[0].basis, 2, None)])
    shares = [0.5, -0.2, 0.3, 0.4]
    networks = [first, *others, direct]
    total = weighted_average(networks, shares)
    expected = sum(
        share * output(network, x)
        for network, share in zip(networks, shares, strict=True)
    )
    assert_allclose(output(total, x), expected, rtol=0, atol=1e-12)
    assert total.widths == [3, 12, 2]
    alone = weighted_average([direct], [0.5])
    assert_allclose(output(alone, x), 0.5 * output(direct, x), rtol=0, atol=1e-12)
    assert alone.skip is None


@pytest.mark.parametrize("additive_skip", [False, True])
def test_nothing_depends_on_a_node_without_the_edges_that_leave_it(additive_skip, rng):
    x = make_samples(rng)
    network = make_network(rng, x, additive_skip=additive_skip)
    inputs, hidden = network.leaving_edges
    assert len(inputs) == 3
    assert len(hidden) == 4
    sizes = [layer.mask.numel() for layer in network.all_layers]

    def without(edges):
        keep = torch.ones(sum(sizes))
        keep[edges] = 0.0
        shapes = [layer.mask.shape for layer in network.all_layers]
        parts = zip(keep.split(sizes), shapes, network.weights, strict=True)
        return network.with_weights(
            [weight * part.view(shape).unsqueeze(2) for part, shape, weight in parts]
        )

    for column, edges in enumerate(inputs):
        moved = x.clone()
        moved[:, column] = rng.uniform(-1, 1)
        assert_array_equal(output(without(edges), moved), output(without(edges), x))
        assert not torch.equal(output(network, moved), output(network, x))
    for node, edges in enumerate(hidden):
        reduced = without(edges)
        edge_values = reduced.activations(x)[1].detach()
        assert_array_equal(edge_values[:, :, node], 0.0)
        assert (edge_values[:, :, [n for n in range(4) if n != node]] != 0).all()


def test_propagate_reports_what_went_into_each_layer(rng):
    """Penalties and attribution read it, and the first features may be given."""
    x = make_samples(rng)
    network = make_network(rng, x)
    out, passes = network.propagate(x)
    assert [step.layer for step in passes] == network.all_layers
    for step, inputs in zip(passes, [x, network.layers[0](x), x], strict=True):
        assert_allclose(step.inputs.detach(), inputs.detach(), rtol=0, atol=1e-13)
        features = step.layer.basis(step.inputs)
        assert_array_equal(step.features.detach(), features.detach())
        assert step.weight is step.layer.weight
    again, _ = network.propagate(x, features=passes[0].features)
    assert_array_equal(again.detach(), out.detach())


def test_own_weights_and_given_weights_agree(rng):
    """`propagate` with weights is `with_weights` without the modules."""
    x = make_samples(rng)
    network = make_network(rng, x)
    weights = [torch.from_numpy(rng.standard_normal(w.shape)) for w in network.weights]
    expected = output(network.with_weights(weights), x)
    result = network.propagate(x, weights)[0].detach()
    assert_allclose(result, expected, rtol=0, atol=1e-13)


def test_permuted_inputs_permute_the_network(rng):
    """The order of the columns of a table means nothing."""
    x = make_samples(rng)
    network = make_network(rng, x)
    order = torch.tensor([2, 0, 1])
    first, second = network.layers
    basis = first.basis.with_grid(first.basis.grid[order])
    permuted = KANNetwork(
        [KANLayer(basis, first.weight.detach()[:, order]), second],
        KANLayer(basis, network.skip.weight.detach()[:, order]),
    )
    # The sums run in another order.
    assert_allclose(output(permuted, x[:, order]), output(network, x), atol=1e-12)


def test_start_has_grids_that_fit_what_passes_through(rng):
    """Layer by layer: the hidden grids are those of the hidden samples."""
    x = make_samples(rng)
    weight = torch.from_numpy(rng.uniform(0.5, 2, len(x)))
    options = {"grid_eps": 0.2, "margin": 0.1, "sample_weight": weight}
    network = KANNetwork.from_samples(WIDTHS, x, grid_size=4, **options)
    hidden = network.layers[0](x).detach()
    for layer, inputs in zip(network.layers, [x, hidden], strict=True):
        expected = grid_from_samples(inputs, 4, **options)
        assert_allclose(layer.basis.grid, expected, rtol=1e-14)
    assert network.widths == WIDTHS
    assert network.grid_size == 4


def test_skip_shares_the_first_basis(rng):
    """One evaluation serves both, whatever is done to the network."""
    x = make_samples(rng)
    network = make_network(rng, x)
    for changed in (
        network,
        network.refined(10),
        network.with_weights(network.weights),
        network.with_grids_from_samples(x, grid_eps=0.5),
        network.with_grids_from_samples(x, grid_eps=0.5, hidden_only=True),
        KANNetwork.from_arrays(network.to_arrays()),
    ):
        assert changed.skip.basis is changed.layers[0].basis


def test_same_generator_same_network(rng):
    """The base weights are the only randomness."""
    x = make_samples(rng)
    one, two = (
        KANNetwork.from_samples(WIDTHS, x, generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert_array_equal(output(one, x), output(two, x))


# Changes that keep the function


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("grid_size", [10, 20, 50])
def test_refined_keeps_the_function_on_nested_grids(grid_size, extrapolation, rng):
    """Also outside of the grids, and with removed edges."""
    x = make_samples(rng)
    network = with_masks(make_network(rng, x, extrapolation=extrapolation), rng)
    refined = network.refined(grid_size)
    assert refined.grid_size == grid_size
    new = 1.5 * make_samples(rng)
    assert_allclose(output(refined, new), output(network, new), rtol=0, atol=1e-12)
    for after, before in zip(refined.all_layers, network.all_layers, strict=True):
        assert_array_equal(after.mask, before.mask)


def polynomial_network(rng, x):
    """Network whose edges are cubic polynomials within their grids."""
    network = make_network(rng, x, base_activation="identity", margin=0.2)
    weights = []
    for layer in network.all_layers:
        weight = np.zeros(layer.weight.shape)
        for i, knots in enumerate(layer.basis.grid.numpy()):
            points = np.linspace(knots[0], knots[-1], 100)
            one = BSplineBasis(torch.from_numpy(knots[None]))
            design = one(torch.from_numpy(points[:, None]))[:, 0].numpy()
            for o in range(len(weight)):
                curve = np.polynomial.Polynomial(rng.uniform(-0.3, 0.3, 4))
                weight[o, i, :-1] = np.linalg.lstsq(design, curve(points))[0]
                weight[o, i, -1] = rng.uniform(-0.3, 0.3)
        weights.append(torch.from_numpy(weight))
    network = network.with_weights(weights)
    # Wide enough for whatever these weights send through the second layer.
    hidden = network.layers[1]
    wide = hidden.basis.with_grid(torch.linspace(-9, 9, 6).double().expand(4, 6))
    coef = torch.einsum(
        "if,o->oif", _greville_cubic(wide), torch.tensor([0.3, -0.2]).double()
    )
    base = hidden.weight.detach()[..., -1:]
    hidden = KANLayer(wide, torch.cat([coef, base], dim=-1))
    return KANNetwork([network.layers[0], hidden], network.skip)


def _greville_cubic(basis):
    """Coefficients of x^3: the products of three neighbouring knots (blossom)."""
    knots = basis.knots
    n = basis.n_splines
    return knots[:, 1 : n + 1] * knots[:, 2 : n + 2] * knots[:, 3 : n + 3]


@pytest.mark.parametrize("hidden_only", [False, True])
@pytest.mark.parametrize("grid_eps", [0.0, 0.5, 1.0])
def test_new_grids_keep_a_function_that_they_can_represent(grid_eps, hidden_only, rng):
    """Cubic polynomials are cubic splines on any grid that lies within the old one."""
    x = make_samples(rng)
    network = polynomial_network(rng, x)
    updated = network.with_grids_from_samples(
        x, grid_eps=grid_eps, hidden_only=hidden_only
    )
    # The hidden grid spans 18, the samples' a part of it: cubes cancel three digits.
    assert_allclose(output(updated, x), output(network, x), rtol=0, atol=1e-10)
    hidden = network.layers[0](x).detach()
    expected = grid_from_samples(hidden, 5, grid_eps=grid_eps)
    assert_allclose(updated.layers[1].basis.grid, expected, rtol=0, atol=1e-10)
    first = network.layers[0].basis.grid
    if not hidden_only:
        first = grid_from_samples(x, 5, grid_eps=grid_eps)
    assert_array_equal(updated.layers[0].basis.grid, first)


def test_new_grids_take_weights_as_repetitions(rng):
    """As everywhere."""
    x = make_samples(rng)
    network = make_network(rng, x)
    count = torch.from_numpy(rng.integers(1, 4, len(x)))
    options = {"grid_eps": 0.1, "margin": 0.05}
    weighted = network.with_grids_from_samples(
        x, sample_weight=count.double(), **options
    )
    repeated = network.with_grids_from_samples(x.repeat_interleave(count, 0), **options)
    # Matrix products of other sizes round differently.
    assert_allclose(output(weighted, x), output(repeated, x), rtol=0, atol=1e-12)


def test_changing_a_network_makes_a_new_one(rng):
    """The old one gives the same bits as before."""
    x = make_samples(rng)
    network = make_network(rng, x)
    before = output(network, x)
    for changed in (
        network.refined(10),
        network.with_grids_from_samples(x, grid_eps=0.5),
        KANNetwork.from_arrays(network.to_arrays()),
    ):
        with torch.no_grad():
            for layer in changed.all_layers:
                layer.weight.zero_()
    assert_array_equal(output(network, x), before)


@pytest.mark.parametrize("additive_skip", [False, True])
def test_arrays_round_trip(additive_skip, rng):
    """The arrays are the only copy of a fitted model."""
    x = make_samples(rng)
    network = make_network(rng, x, additive_skip=additive_skip)
    rebuilt = KANNetwork.from_arrays(network.to_arrays())
    assert_array_equal(output(rebuilt, x), output(network, x))
    flat, flat_rebuilt = (
        [
            part[name]
            for part in [*arrays["layers"], arrays["skip"]]
            if part is not None
            for name in sorted(part)
        ]
        for arrays in (network.to_arrays(), rebuilt.to_arrays())
    )
    for one, two in zip(flat, flat_rebuilt, strict=True):
        assert_array_equal(one, two)


# Nodes and grids that fit each other


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


# Attribution


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
    pruned, edges = without_edges(network, keep, x, share)
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


def test_a_removed_edge_leaves_its_mean(rng):
    """f - phi + mean(phi), with the weights of the samples."""
    x = make_samples(rng)
    share = torch.from_numpy(rng.dirichlet(np.ones(60)))
    network = make_network(rng, x, additive_skip=False, widths=[3, 2])
    keep = [torch.tensor([[True, False, True], [True, True, True]])]
    pruned, _ = without_edges(network, keep, x, share)
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
        pruned, _ = without_edges(network, keep, x, share)
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
    pruned, edges = without_edges(network, keep, x, share)
    assert pruned.widths == [1, 1, 2]
    assert pruned.n_edges == 0
    assert len(edges) == 3 + 2 * additive_skip
    assert_array_equal(output(pruned, x), 0.0)
    assert_array_equal(pruned.attribution(x, share), 0.0)


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
