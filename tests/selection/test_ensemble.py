"""An ensemble is one network: its outputs and its penalty are sums over members."""

import pytest
import torch
from numpy.testing import assert_allclose

from skkan import KANNetwork
from skkan.penalties._quadratic import QuadraticPenalty
from skkan.selection._ensemble import EnsembleMember, ensemble_network


@pytest.fixture
def make_member(rng):
    x = torch.from_numpy(rng.uniform(-1, 1, (60, 2)))

    def make(widths, weight, **options):
        generator = torch.Generator().manual_seed(len(widths) + sum(widths))
        network = KANNetwork.from_samples(widths, x, generator=generator, **options)
        alpha = torch.rand(network.n_edges, 3, generator=generator).double()
        return EnsembleMember(network, weight, alpha)

    return make


def penalty_of(network, alpha):
    return QuadraticPenalty(alpha).form(network.all_layers).value(network.theta)


def test_output_is_the_weighted_sum(make_member, rng):
    """Of members with hidden nodes and without, on grids that refine each other."""
    members = [
        make_member((2, 3, 1), 0.2, grid_size=4, additive_skip=True),
        make_member((2, 2, 1), 0.3, grid_size=4),
        make_member((2, 1), 0.5, grid_size=8),
    ]
    network, _ = ensemble_network(members)
    x = torch.from_numpy(rng.uniform(-1.2, 1.2, (50, 2)))
    expected = sum(member.weight * member.network(x) for member in members)
    assert_allclose(network(x).detach(), expected.detach(), atol=1e-12)
    assert network.widths == [2, 5, 1]


def test_penalty_is_the_sum_over_members(make_member):
    """Curves that are multiplied by w keep their penalty if alpha is divided by w^2."""
    members = [
        make_member((2, 3, 1), 0.2, grid_size=4),
        make_member((2, 4, 1), 0.3, grid_size=4),
        make_member((2, 1), 0.5, grid_size=4),
    ]
    network, penalty = ensemble_network(members)
    expected = sum(penalty_of(member.network, member.alpha) for member in members)
    assert_allclose(penalty_of(network, penalty.alpha), expected, rtol=1e-12)


def test_variances_of_curves_that_are_added_up_add_up(make_member):
    """A variance is one over alpha; weights enter as squares."""
    members = [
        make_member((2, 3, 1), 0.2, grid_size=4, additive_skip=True),
        make_member((2, 1), 0.8, grid_size=4),
    ]
    _, penalty = ensemble_network(members)
    variance = 0.2**2 / members[0].alpha[-2:] + 0.8**2 / members[1].alpha
    assert_allclose(penalty.alpha[-2:], 1 / variance, rtol=1e-12)
