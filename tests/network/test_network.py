"""Networks: composition, and changes that keep the function."""

import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from random_network import (
    WIDTHS,
    make_network,
    make_samples,
    output,
    polynomial_network,
)

from skkan import KANLayer, KANNetwork, grid_from_samples


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


def test_network_is_the_composition_of_its_layers(rng):
    """f(x) = L2(L1(x)) + skip(x)."""
    x = make_samples(rng)
    network = make_network(rng, x)
    first, second = network.layers
    expected = second(first(x)) + network.skip(x)
    assert_array_equal(output(network, x), expected.detach())


@pytest.mark.parametrize("widths", [[2, 5, 1], 2, [], torch.tensor([2, 1]), ["a"]])
def test_widths_are_told_where_they_belong(widths):
    """Other packages of such networks begin with them."""
    message = (
        r"sequence of one or more KANLayer, got .*KANNetwork\.from_samples\(widths"
    )
    with pytest.raises(TypeError, match=message):
        KANNetwork(widths)


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
