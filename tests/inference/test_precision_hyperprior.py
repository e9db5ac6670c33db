"""What is expected of precisions, against optimisers and closed forms."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from skkan import KANNetwork
from skkan.inference._precision_hyperprior import Hyperprior
from skkan.inference._settings import HYPERPRIOR
from skkan.penalties._eigen_directions import EdgeKinds


def random_precisions(rng, n_edges):
    return torch.from_numpy(np.exp(rng.uniform(-3, 3, (n_edges, 3))))


def test_proposal_balances_evidence_and_expectation(rng):
    """Of each group together, as their mean is theirs to move."""
    groups = torch.tensor([0, 0, 0, 1, 1, -1])
    hyperprior = Hyperprior(groups)
    precision, explained, used = (random_precisions(rng, 6) for _ in range(3))
    proposal = hyperprior.proposal(precision, explained, used)
    size = precision[:, 0].log().numpy()
    gain, loss = explained[:, 0].numpy(), used[:, 0].numpy()

    def minus_objective(logs, members):
        # d/dr of the evidence is (explained - used e^(r - r_0)) e^(r_0) / 2.
        start = size[members]
        rise = gain[members] * np.exp(start) * logs
        fall = loss[members] * np.exp(logs)
        around = (logs - logs.mean()) / HYPERPRIOR.log_ridge_std
        return -0.5 * (rise - fall).sum() + 0.5 * around @ around

    for members in ([0, 1, 2], [3, 4]):
        best = minimize(minus_objective, size[members], args=(members,), tol=1e-12)
        # The proposal ends where its steps are below 1e-3.
        assert_allclose(proposal[members, 0].log(), best.x, atol=3e-3)
    assert_allclose(
        proposal[:, 1:],
        (precision * explained / (used + 2 * HYPERPRIOR.roughness_rate))[:, 1:],
        rtol=1e-12,
    )


def test_what_tells_nothing_of_itself_is_like_the_others():
    """An edge without any data, beside two that are certain of themselves."""
    hyperprior = Hyperprior(torch.zeros(3, dtype=torch.long))
    precision = torch.ones(3, 3, dtype=torch.float64)
    explained = torch.tensor([[1e9], [4e9], [0.0]], dtype=torch.float64).expand(3, 3)
    used = torch.tensor([[1e9], [1e9], [0.0]], dtype=torch.float64).expand(3, 3)
    size = hyperprior.proposal(precision, explained, used)[:, 0]
    # The mean of logarithms includes its own.
    assert_allclose(size, [1.0, 4.0, 2.0], rtol=0.01)


def test_densities_depend_on_ratios_of_sizes_within_a_node(rng):
    """The same factor for all edges of a node changes nothing."""
    network = KANNetwork.from_samples(
        [3, 2, 1], torch.from_numpy(rng.normal(size=(20, 3))), grid_size=3
    )
    kinds = EdgeKinds.of(network.all_layers)
    hyperprior = Hyperprior.of(network, kinds)
    precision = random_precisions(rng, 8)
    precision[:, 1:] = 0
    factor = torch.tensor([5.0] * 3 + [0.1] * 3 + [7.0] * 2).double()
    assert_allclose(
        hyperprior.log_densities(precision),
        hyperprior.log_densities(precision * factor.unsqueeze(1)),
        rtol=1e-9,
    )


@pytest.mark.parametrize("removed", [[], [1]], ids=str)
def test_removed_edges_are_no_measure(removed, rng):
    groups = torch.tensor([0, 0, 0])
    groups[removed] = -1
    precision = random_precisions(rng, 3)
    density = Hyperprior(groups).log_densities(precision)
    left = [edge for edge in range(3) if edge not in removed]
    size = precision[left, 0].log()
    expected = -0.5 * ((size - size.mean()) / HYPERPRIOR.log_ridge_std) ** 2
    expected = expected - HYPERPRIOR.roughness_rate * precision[left, 1:].sum(1)
    assert_allclose(density[left], expected, rtol=1e-12)
    assert not density[removed].any()


def test_gain_of_a_removal_is_the_difference_of_two_densities(rng):
    """Those that stay, of the same node, move to their own mean."""
    groups = torch.tensor([0, 0, 0, 1, 1])
    precision = random_precisions(rng, 5)
    whole = Hyperprior(groups).log_densities(precision).sum()
    removed = torch.tensor([[0, 1], [2, 4], [3, 4]])
    gains = Hyperprior(groups).removal_gains(precision, removed)
    for edges, gain in zip(removed, gains, strict=True):
        left = groups.clone()
        left[edges] = -1
        expected = Hyperprior(left).log_densities(precision).sum() - whole
        assert_allclose(gain, expected, rtol=1e-12)
