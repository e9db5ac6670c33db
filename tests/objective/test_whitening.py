"""Whitened weights against the curvature of the objective."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skkan.basis._categories_and_missing import mixed_basis_from_samples
from skkan.data._dataset import Dataset
from skkan.losses._classification import BinaryLogLoss
from skkan.losses._regression import SquaredError
from skkan.network._network import KANNetwork
from skkan.objective import _whitening
from skkan.objective._objective import Objective
from skkan.penalties._eigen_directions import EdgeKinds
from skkan.penalties._quadratic import QuadraticPenalty
from skkan.penalties._sparsity import SparsityPenalty

N_ROWS = 60


def make_objective(rng, *, hidden=(), loss=None, alpha=0.1, mixed=False, skip=False):
    """Objective of a network for few rows, and a point."""
    x = rng.uniform(-1, 1, (N_ROWS, 2))
    n_categories = torch.zeros(2, dtype=torch.int64)
    if mixed:
        x[:7, 0] = np.nan
        x[:, 1] = rng.integers(0, 3, N_ROWS)
        n_categories[1] = 3
    x = torch.from_numpy(x)
    weight = torch.from_numpy(rng.uniform(0.5, 2, N_ROWS))
    target = (torch.from_numpy(rng.standard_normal((N_ROWS, 1))) > 0).double()
    generator = torch.Generator().manual_seed(0)
    grids = {"grid_size": 6, "spline_order": 3, "grid_eps": 0.5}
    inputs = mixed_basis_from_samples(
        x,
        x,
        n_categories,
        has_gaps=mixed,
        base_activation="silu",
        extrapolation="constant",
        sample_weight=weight,
        **grids,
    )
    network = KANNetwork.from_samples(
        [2, *hidden, 1],
        torch.nan_to_num(x),
        generator=generator,
        inputs=inputs,
        additive_skip=skip,
        **grids,
    )
    data = Dataset(x, target, weight, torch.zeros(1, dtype=torch.float64))
    penalties = (QuadraticPenalty(alpha),) if alpha else ()
    objective = Objective(network, loss or SquaredError(), penalties, data)
    return objective, objective.start


def edge_blocks(objective):
    """Positions of the weights of each edge."""
    kinds = EdgeKinds.of(objective.network.all_layers).kinds
    return [members for kind in kinds for members in kind.members]


def matrix_of(whitening, n_weights):
    unit = torch.eye(n_weights, dtype=torch.float64)
    return torch.stack([whitening.weights(row) for row in unit], dim=1)


CASES = {
    "splines": {},
    "no penalty": {"alpha": 0.0},
    "categories and gaps": {"mixed": True},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_curvature_of_an_edge_in_whitened_weights_is_one(case, rng):
    """R^T H R = 1, with one row more spread over the directions."""
    objective, theta = make_objective(rng, **case)
    curvature = objective.gauss_newton(theta).curvature
    of_loss = objective.gauss_newton_of_loss(theta).curvature
    root = matrix_of(objective.whitening(theta), len(theta))
    for own in edge_blocks(objective):
        spread = of_loss[own, own].mean() / N_ROWS
        block = curvature[own][:, own] + spread * torch.eye(len(own))
        within = root[own][:, own]
        assert_allclose(within.T @ block @ within, np.eye(len(own)), atol=1e-8)
        root[own.unsqueeze(1), own] = 0
    assert not root.any()


@pytest.mark.parametrize("is_full", [True, False])
def test_curvature_along_directions_is_one(is_full, rng, monkeypatch):
    """Also where the matrices of all edges would be too large."""
    if not is_full:
        monkeypatch.setattr(_whitening, "MAX_MATRIX_NUMBERS", 0)
    objective, theta = make_objective(rng, hidden=(3,), skip=True, alpha=0.3)
    root = matrix_of(objective.whitening(theta), len(theta))
    kinds = EdgeKinds.of(objective.network.all_layers)
    for own in edge_blocks(objective):
        within = kinds.kinds[0].vectors.T @ root[own][:, own]
        if not is_full:
            assert_allclose(within, torch.diag(within.diagonal()), atol=1e-12)
    last = edge_blocks(objective)[6]  # after 2 * 3 edges to the hidden nodes
    curvature = objective.gauss_newton(theta).curvature[last][:, last]
    of_loss = objective.gauss_newton_of_loss(theta).curvature[last, last]
    curvature += of_loss.mean() / N_ROWS * torch.eye(len(last))
    within = root[last][:, last]
    diagonal = (within.T @ curvature @ within).diagonal()
    assert_allclose(diagonal, 1, rtol=1e-8)


@pytest.mark.parametrize("is_full", [True, False])
@pytest.mark.parametrize("mixed", [False, True])
def test_gradient_is_the_transpose_of_the_weights(is_full, mixed, rng, monkeypatch):
    """Or a solver would see a function with the gradient of another."""
    if not is_full:
        monkeypatch.setattr(_whitening, "MAX_MATRIX_NUMBERS", 0)
    objective, theta = make_objective(rng, hidden=(2,), mixed=mixed)
    whitening = objective.whitening(theta)
    step, gradient = torch.randn(2, len(theta), dtype=torch.float64)
    expected = float(whitening.weights(step) @ gradient)
    assert_allclose(float(step @ whitening.gradient(gradient)), expected, rtol=1e-10)


def test_promised_decrease_is_what_steps_of_single_edges_bring(rng):
    """Newton steps of each edge by itself, up to the row that is spread."""
    objective, theta = make_objective(rng, alpha=1.0)
    model, left = objective.gauss_newton(theta), 0.0
    for own in edge_blocks(objective):
        slope = model.gradient[own]
        left += 0.5 * slope @ torch.linalg.solve(model.curvature[own][:, own], slope)
    promised = objective.promised_decrease(theta)
    assert_allclose(promised, float(left) / model.value, rtol=0.05)


def test_separated_classes_are_whitened_by_their_present_curvature(rng):
    """That of a log loss falls as the logits grow."""
    objective, theta = make_objective(rng, loss=BinaryLogLoss(), alpha=0.0)
    lengths = []
    for logits in (0.0, 5.0):
        point = torch.full_like(theta, logits)
        root = matrix_of(objective.whitening(point), len(theta))
        lengths.append(float(root.norm()))
    assert lengths[1] > 5 * lengths[0]


def test_kinked_penalties_promise_nothing(rng):
    """The gradient of a sparsity term is not zero at its minimum."""
    objective, theta = make_objective(rng)
    kinked = objective.with_penalties((SparsityPenalty(),))
    assert kinked.promised_decrease(theta) == 0.0
