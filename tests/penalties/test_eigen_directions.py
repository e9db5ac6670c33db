import pytest
import torch
from numpy.testing import assert_allclose

from skkan.basis._bspline import BSplineBasis
from skkan.basis._categories_and_missing import MixedBasis
from skkan.network._layer import KANLayer
from skkan.network._network import KANNetwork
from skkan.penalties._eigen_directions import EdgeKinds
from skkan.penalties._quadratic import QuadraticPenalty


def splines(n_inputs):
    grid = torch.linspace(-1, 1, 6, dtype=torch.float64).repeat(n_inputs, 1)
    return BSplineBasis(grid, 3, base_activation="silu")


@pytest.fixture
def network():
    """A number, a category, both with a value at "missing", and both without."""
    basis = MixedBasis(
        splines(2),
        torch.tensor([0, 4, 0, 2]),
        torch.tensor([True, True, False, False]),
        torch.zeros(4, 10, dtype=torch.float64),
    )
    inner = KANLayer(basis, torch.zeros(3, 4, 10, dtype=torch.float64))
    outer = KANLayer(splines(3), torch.zeros(1, 3, 9, dtype=torch.float64))
    skip = KANLayer(basis, torch.zeros(1, 4, 10, dtype=torch.float64))
    return KANNetwork([inner, outer], skip)


def random_theta(network, rng):
    return torch.from_numpy(rng.normal(size=network.n_parameters))


def edge_weights(network, theta):
    """The weights of each edge, by the shapes of the layers alone."""
    pieces = []
    for layer, weight in zip(network.all_layers, network.unpacked(theta), strict=True):
        sizes = layer.basis.sizes.tolist()
        for of_output in weight:
            pieces += [row[:n] for row, n in zip(of_output, sizes, strict=True)]
    return pieces


def test_directions_are_orthogonal(network, rng):
    kinds = EdgeKinds.of(network.all_layers)
    theta = random_theta(network, rng)
    along = kinds.along(theta)
    assert not torch.allclose(along, theta)
    assert_allclose(kinds.back(along), theta, atol=1e-12)
    assert_allclose(along.norm(), theta.norm())
    rows = torch.stack([theta, 2 * theta])
    assert_allclose(kinds.along(rows)[1], 2 * along)


def test_sizes_and_members_are_those_of_the_edges(network, rng):
    theta = random_theta(network, rng)
    kinds, pieces = EdgeKinds.of(network.all_layers), edge_weights(network, theta)
    assert kinds.sizes.tolist() == [len(piece) for piece in pieces]
    for kind in kinds.kinds:
        for edge, members in zip(kind.edges, kind.members, strict=True):
            assert torch.equal(theta[members], pieces[edge])
    values = torch.arange(float(len(pieces)))
    expected = torch.cat(
        [torch.full((len(p),), float(k)) for k, p in enumerate(pieces)]
    )
    assert torch.equal(kinds.of_edges(values), expected)


def test_parts_are_spread_and_collected(network, rng):
    """They are adjoint: both are sums over the weights of an edge and its parts."""
    kinds = EdgeKinds.of(network.all_layers)
    n_edges = len(kinds.sizes)
    alpha = torch.rand(n_edges, 3, dtype=torch.float64)
    values = random_theta(network, rng)
    assert_allclose(
        kinds.spread(alpha) @ values, (alpha * kinds.collected(values)).sum()
    )
    used = kinds.in_use(alpha)
    assert torch.equal(kinds.spread(used), kinds.spread(alpha))
    categories = torch.tensor([False, True, False, True])
    assert not used[:12][categories.repeat(3)][:, 1:].any()
    assert (used[:12][~categories.repeat(3)] > 0).all()


def test_categories_and_missing_are_charged_for_their_squares(network, rng):
    theta = random_theta(network, rng)
    alpha = torch.zeros(len(EdgeKinds.of(network.all_layers).sizes), 3).double()
    alpha[1] = torch.tensor([0.3, 5.0, 7.0])  # from the category of column 1
    form = QuadraticPenalty(alpha).form(network.all_layers)
    pieces = edge_weights(network, theta)
    assert_allclose(form.value(theta), 0.15 * pieces[1].square().sum())
    gradient = edge_weights(network, form.value_and_grad(theta)[1])
    assert_allclose(gradient[1], 0.3 * pieces[1])
    assert not any(piece.any() for k, piece in enumerate(gradient) if k != 1)


def test_penalty_of_passes_is_that_of_the_weights_in_use(network, rng):
    """Training with a sparsity penalty evaluates it so."""
    theta, penalty = random_theta(network, rng), QuadraticPenalty(0.3)
    x = torch.tensor([[0.1, 2.0, -0.3, 1.0], [torch.nan, 0.0, 0.4, 0.0]]).double()
    passes = network.propagate(x, network.unpacked(theta))[1]
    expected = penalty.form(network.all_layers).value(theta)
    assert_allclose(penalty.value(passes, None), expected, rtol=1e-13)


def test_leading_block_is_that_of_the_first_output(network):
    """Of edges of one kind and of several."""
    plain = KANNetwork.from_samples([2, 3, 1], torch.rand(30, 2).double())
    for layer in (network.layers[0], plain.layers[0]):
        form = QuadraticPenalty(0.5).form([layer])
        size = 3 * layer.n_weights
        matrix = torch.zeros(size, size, dtype=torch.float64)
        form.add_to(matrix)
        leading = torch.zeros(layer.n_weights, layer.n_weights, dtype=torch.float64)
        form.add_to(leading)
        part = slice(layer.n_weights)
        assert_allclose(leading, matrix[part, part])


def test_groups_are_told_apart_by_kind(network):
    kinds = EdgeKinds.of(network.all_layers)
    for groups in (
        torch.arange(len(kinds.sizes)).unsqueeze(1),
        network.leaving_edges[0],
    ):
        seen = []
        for chosen, members in kinds.groups(groups):
            for index, positions in zip(chosen, members, strict=True):
                owner = kinds.of_edges(torch.arange(len(kinds.sizes)))[positions]
                assert set(owner.tolist()) == set(groups[index].tolist())
                seen.append(int(index))
        assert sorted(seen) == list(range(len(groups)))
