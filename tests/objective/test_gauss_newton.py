"""Gradient and Gauss-Newton matrix against dense algebra on autograd's derivatives."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.autograd.functional import hessian, jacobian

from skkan import KANNetwork
from skkan.data._dataset import Dataset
from skkan.losses._classification import BinaryLogLoss, MultinomialLogLoss
from skkan.losses._registry import REGRESSION_LOSSES
from skkan.losses._regression import SquaredError
from skkan.network._jacobian import outer_weight_positions
from skkan.numerics import _threads
from skkan.objective import _gauss_newton
from skkan.objective._gauss_newton import (
    GAUGE_STIFFNESS,
    normal_equations,
)

OTHERS = [make for make in REGRESSION_LOSSES.values() if make is not SquaredError]
LOSSES = [
    (SquaredError(), 1),
    (SquaredError(), 2),
    (BinaryLogLoss(), 1),
    (BinaryLogLoss(), 2),
    (MultinomialLogLoss(), 3),
    *[(make(), 1 + index % 2) for index, make in enumerate(OTHERS)],
]
every_loss = pytest.mark.parametrize(
    ("loss", "n_outputs"),
    LOSSES,
    ids=[f"{type(loss).__name__}-{n_outputs}" for loss, n_outputs in LOSSES],
)
HIDDEN = [[], [2], [3, 2]]
every_shape = pytest.mark.parametrize("hidden", HIDDEN, ids=str)
skip_or_not = pytest.mark.parametrize("additive_skip", [False, True])


def make_problem(rng, loss, n_outputs, hidden, *, additive_skip=True, removed=False):
    """Random network and rows, of a kind that the loss takes."""
    n_samples = 12
    x = torch.from_numpy(rng.uniform(-1, 1, (n_samples, 3)))
    network = KANNetwork.from_samples(
        [3, *hidden, n_outputs], x, additive_skip=additive_skip, grid_size=4
    )
    network = network.with_weights(
        [
            torch.from_numpy(rng.standard_normal(w.shape)) / w.shape[1] ** 0.5
            for w in network.weights
        ]
    )
    if removed:
        network.layers[0].mask[0, 1] = 0
        network.layers[-1].mask[-1, 0] = 0
        network.all_layers[-1].mask[0, 2 if additive_skip else 0] = 0
    if loss.has_log_link:
        target = rng.gamma(1, 1, (n_samples, n_outputs))
    elif loss.has_noise:
        target = rng.standard_normal((n_samples, n_outputs))
    elif isinstance(loss, BinaryLogLoss):
        target = 1.0 * (rng.uniform(size=(n_samples, n_outputs)) < 0.3)
    else:
        target = np.eye(n_outputs)[rng.integers(n_outputs, size=n_samples)]
    weight = torch.from_numpy(rng.uniform(1, 2, n_samples))
    baseline = torch.from_numpy(rng.standard_normal(n_outputs))
    rows = Dataset(x, torch.from_numpy(target), weight / weight.sum(), baseline)
    return network, rows


def flat(weights):
    return torch.cat([weight.flatten() for weight in weights])


def unflatten(network, theta):
    parts = theta.split([w.numel() for w in network.weights])
    return [part.view(w.shape) for part, w in zip(parts, network.weights, strict=True)]


def raw_output(network, rows, theta):
    return rows.baseline + network.propagate(rows.X, unflatten(network, theta))[0]


def dense_curvature(network, loss, rows):
    """sum_n share_n J_n^T H_n J_n, with J and H by autograd."""
    theta = flat(network.weights)
    derivative = jacobian(lambda t: raw_output(network, rows, t), theta)
    raw = raw_output(network, rows, theta)
    total = torch.zeros(len(theta), len(theta), dtype=torch.float64)
    for share, J, z, t in zip(
        rows.sample_weight, derivative, raw, rows.target, strict=True
    ):
        if loss.is_adaptive:  # its parabola; see the tests of the losses
            H = torch.diag(loss.curvature(z, t))
        else:
            H = hessian(lambda z, t=t: loss.value(z[None], t[None]).sum(), z)
        total += share * (J.T @ H @ J)
    return total


@skip_or_not
@every_shape
@every_loss
def test_gradient_is_autograds(loss, n_outputs, hidden, additive_skip, rng):
    """Of the mean loss, whose value comes along."""
    network, rows = make_problem(
        rng, loss, n_outputs, hidden, additive_skip=additive_skip
    )

    def mean_loss(theta):
        return rows.sample_weight @ loss.value(
            raw_output(network, rows, theta), rows.target
        )

    theta = flat(network.weights)
    model = normal_equations(network, loss, network.theta, rows)
    assert_allclose(model.value, mean_loss(theta), rtol=1e-12)
    assert_allclose(model.gradient, jacobian(mean_loss, theta), rtol=0, atol=1e-10)


@skip_or_not
@every_shape
@every_loss
def test_curvature_is_the_dense_gauss_newton_matrix(
    loss, n_outputs, hidden, additive_skip, rng
):
    """J^T H J, with every part from autograd; exactly symmetric."""
    network, rows = make_problem(
        rng, loss, n_outputs, hidden, additive_skip=additive_skip
    )
    model = normal_equations(network, loss, network.theta, rows)
    expected = dense_curvature(network, loss, rows)
    assert_allclose(model.curvature, expected, rtol=0, atol=1e-10)
    assert_array_equal(model.curvature, model.curvature.T)


@skip_or_not
@pytest.mark.parametrize("hidden", HIDDEN[1:], ids=str)
@every_loss
def test_removed_edges_have_zeros(loss, n_outputs, hidden, additive_skip, rng):
    """Exactly: no step moves what does not exist, and the others see nothing of it."""
    network, rows = make_problem(
        rng, loss, n_outputs, hidden, additive_skip=additive_skip, removed=True
    )
    model = normal_equations(network, loss, network.theta, rows)
    removed = torch.cat(
        [
            (layer.mask == 0).unsqueeze(-1).expand(layer.weight.shape).flatten()
            for layer in network.all_layers
        ]
    )
    n_removed = removed.sum()
    assert n_removed > 0
    assert_array_equal(model.gradient[removed], np.zeros(n_removed))
    assert_array_equal(model.curvature[removed], np.zeros((n_removed, len(removed))))
    assert_array_equal(model.curvature, model.curvature.T)
    expected = dense_curvature(network, loss, rows)
    assert_allclose(model.curvature, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kept", [False, True], ids=["computed", "kept"])
@pytest.mark.parametrize("largest", [1, 3000])
@every_loss
def test_blocks_of_rows_sum_to_the_whole(
    loss, n_outputs, largest, kept, rng, monkeypatch
):
    """However few rows fit, and whether their basis values are kept or not."""
    network, rows = make_problem(rng, loss, n_outputs, [2])
    whole = normal_equations(network, loss, network.theta, rows)
    if kept:
        rows = replace(rows, features=network.layers[0].basis(rows.X))
    monkeypatch.setattr(_gauss_newton, "MAX_BLOCK_NUMBERS", largest)
    parts = normal_equations(network, loss, network.theta, rows)
    for one, two in zip(parts, whole, strict=True):
        assert_allclose(one, two, rtol=1e-12, atol=1e-12)


@every_loss
def test_parts_side_by_side_sum_to_the_whole(loss, n_outputs, rng, monkeypatch):
    """With the same bits on any number of threads."""
    network, rows = make_problem(rng, loss, n_outputs, [3, 2])
    whole = normal_equations(network, loss, network.theta, rows)
    monkeypatch.setattr(_gauss_newton, "MIN_PARALLEL_WORK", 0)
    found = []
    for n_threads in (1, 3):
        monkeypatch.setattr(_threads, "threads_outside", lambda n=n_threads: n)
        found.append(normal_equations(network, loss, network.theta, rows))
    for one, other, expected in zip(*found, whole, strict=True):
        assert_array_equal(one, other)
        assert_allclose(one, expected, rtol=1e-12, atol=1e-12)


@every_loss
def test_weights_are_repetitions(loss, n_outputs, rng):
    """As everywhere; also in the moments of the hidden nodes."""
    network, rows = make_problem(rng, loss, n_outputs, [3, 2])
    count = torch.from_numpy(rng.integers(1, 5, len(rows.X)))
    weighted = replace(rows, sample_weight=count.double() / count.sum())
    repeated = replace(
        rows,
        X=rows.X.repeat_interleave(count, 0),
        target=rows.target.repeat_interleave(count, 0),
        sample_weight=torch.full(
            (int(count.sum()),), 1 / int(count.sum()), dtype=torch.float64
        ),
    )
    one, two = (
        normal_equations(network, loss, network.theta, part)
        for part in (weighted, repeated)
    )
    for first, second in zip(one, two, strict=True):
        assert_allclose(first, second, rtol=1e-10, atol=1e-12)


# Gauge constraints


def moments(network, rows, weights, layer):
    """Mean and variance of the nodes of a hidden layer, (2, n_nodes)."""
    nodes = network.propagate(rows.X, weights)[1][layer + 1].inputs
    mean = rows.sample_weight @ nodes
    return torch.stack([mean, rows.sample_weight @ (nodes - mean).square()])


@pytest.mark.parametrize("hidden", HIDDEN[1:], ids=str)
def test_gauge_constraints_are_the_gradients_of_mean_and_variance(hidden, rng):
    """Of every hidden node, in turn, as functions of the weights before it."""
    network, rows = make_problem(rng, SquaredError(), 2, hidden)
    weights = network.weights
    model = normal_equations(network, SquaredError(), network.theta, rows)
    expected, start = [], 0
    for layer in range(len(hidden)):

        def of_layer(weight, layer=layer):
            changed = [*weights[:layer], weight, *weights[layer + 1 :]]
            return moments(network, rows, changed, layer)

        of_both = jacobian(of_layer, weights[layer]).flatten(2)
        size = of_both.shape[2]
        padded = torch.zeros(
            2 * of_both.shape[1], model.gauge_constraints.shape[1]
        ).double()
        padded[:, start : start + size] = of_both.transpose(0, 1).flatten(0, 1)
        expected.append(padded)
        start += size
    expected = torch.cat(expected)
    assert model.gauge_constraints.shape == expected.shape
    directions, expected = (
        rows / rows.norm(dim=1, keepdim=True)
        for rows in (model.gauge_constraints, expected)
    )
    assert_allclose(directions, expected, rtol=0, atol=1e-10)


def test_gauge_constraints_keep_the_mean_squares_of_factors(rng):
    """Nothing else is not identified: a shift of one factor moves the product."""
    x = torch.from_numpy(rng.uniform(-1, 1, (12, 3)))
    network = KANNetwork.from_samples([3, 1, 1], x, n_multiplications=1, grid_size=4)
    drawn = [torch.from_numpy(rng.standard_normal(w.shape)) for w in network.weights]
    network = network.with_weights(drawn)
    weight = torch.from_numpy(rng.uniform(1, 2, 12))
    rows = Dataset(x, torch.zeros_like(x[:, :1]), weight / weight.sum(), x.new_zeros(1))
    model = normal_equations(network, SquaredError(), network.theta, rows)

    def of_factors(weight):
        sums = network.layers[0].combine(network.layers[0].basis(x), weight)
        return rows.sample_weight @ sums[:, 1:].square()

    expected = jacobian(of_factors, network.weights[0]).flatten(1)
    found = model.gauge_constraints[2:, : expected.shape[1]]
    assert len(model.gauge_constraints) == 2 + 2
    assert_array_equal(model.gauge_constraints[2:, expected.shape[1] :], 0)
    for mine, theirs in zip(found, expected, strict=True):
        assert_allclose(mine / mine.norm(), theirs / theirs.norm(), atol=1e-12)
    # One factor may grow as the other shrinks.
    step = torch.zeros_like(network.weights[0])
    step[1:] = network.weights[0][1:] * x.new_tensor([1.0, -1.0]).view(-1, 1, 1)
    step = torch.cat([step.flatten(), x.new_zeros(network.layer_sizes[1])])
    assert_allclose(model.curvature @ step, 0, atol=1e-12)


def test_gauge_constraints_outweigh_the_curvature_of_their_weights(rng):
    """By the same factor, whatever the units of the loss."""
    network, rows = make_problem(rng, SquaredError(), 1, [2])
    model = normal_equations(network, SquaredError(), network.theta, rows)
    diagonal = model.curvature.diagonal()[: network.weights[0].numel()]
    largest = diagonal.view(2, -1).amax(1).repeat_interleave(2)
    stiffness = model.gauge_constraints.square().sum(1)
    assert_allclose(stiffness, GAUGE_STIFFNESS * largest, rtol=1e-12)
    assert_allclose(
        model.constrained_curvature() - model.curvature,
        model.gauge_constraints.T @ model.gauge_constraints,
        rtol=0,
        atol=1e-12 * GAUGE_STIFFNESS,
    )


def test_network_without_hidden_nodes_has_no_gauge_constraints(rng):
    """Its steps are free, so that one of them reaches the minimum."""
    network, rows = make_problem(rng, SquaredError(), 2, [])
    model = normal_equations(network, SquaredError(), network.theta, rows)
    assert len(model.gauge_constraints) == 0
    assert_array_equal(model.constrained_curvature(), model.curvature)


@skip_or_not
def test_each_output_has_its_own_outer_weights(additive_skip, rng):
    """Changing those of one output leaves all others alone, and none is forgotten."""
    network, rows = make_problem(
        rng, SquaredError(), 3, [2], additive_skip=additive_skip
    )
    own = outer_weight_positions(network)
    n_inner = network.weights[0].numel()
    n_parameters = sum(weight.numel() for weight in network.weights)
    assert_array_equal(own.flatten().sort().values, np.arange(n_inner, n_parameters))
    theta = flat(network.weights)
    before = raw_output(network, rows, theta)
    for output in range(3):
        moved = theta.clone()
        moved[own[output]] += 1.0
        changed = (raw_output(network, rows, moved) != before).any(0)
        assert changed.tolist() == [other == output for other in range(3)]
