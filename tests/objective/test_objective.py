"""The function that solvers minimise, against its formula and finite differences."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.autograd.functional import hessian

from skkan import KANNetwork, SparsityPenalty
from skkan.data._dataset import Dataset
from skkan.losses._classification import BinaryLogLoss, MultinomialLogLoss
from skkan.losses._registry import REGRESSION_LOSSES
from skkan.numerics import _row_blocks, _threads
from skkan.objective import _empirical_loss, _gauss_newton
from skkan.objective._objective import Objective
from skkan.penalties._quadratic import QuadraticPenalty, quadratic_form

LOSSES = [make() for make in REGRESSION_LOSSES.values()]
LOSSES += [BinaryLogLoss(), MultinomialLogLoss()]
PENALTIES = [QuadraticPenalty(0.1), SparsityPenalty(0.05, 1.0, 2.0, 0.3, 0.2)]
BASELINE = torch.tensor([0.2, -0.3], dtype=torch.float64)
N_SAMPLES = 24


def make_data(rng, n_samples=N_SAMPLES):
    """Inputs, indicator targets (fit for every loss) and weights."""
    X = torch.from_numpy(rng.uniform(-1, 1, (n_samples, 3)))
    target = torch.from_numpy(np.eye(2)[rng.integers(2, size=n_samples)])
    return X, target, torch.from_numpy(rng.uniform(1, 2, n_samples))


def make_network(rng, X):
    # Grids that differ from run to run would now and then end next to a sample.
    generator = torch.Generator().manual_seed(0)
    network = KANNetwork.from_samples(
        [3, 4, 2], X, additive_skip=True, generator=generator
    )
    return network.with_weights(
        [torch.from_numpy(rng.standard_normal(w.shape)) / 3 for w in network.weights]
    )


def make_objective(network, data, *, loss=LOSSES[0], penalties=PENALTIES):
    return Objective(network, loss, penalties, Dataset(*data, BASELINE))


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_value_is_weighted_mean_loss_plus_penalties(loss, rng):
    """sum(w l) / sum(w) + (alpha / 2) c^T S c, from the network's own output."""
    data = X, target, weight = make_data(rng)
    network = make_network(rng, X)
    objective = make_objective(network, data, loss=loss, penalties=PENALTIES[:1])
    raw = network(X).detach() + BASELINE
    mean_loss = np.average(loss.value(raw, target), weights=weight)
    form = quadratic_form(5, 3, True)
    penalty = sum(
        0.05 * torch.einsum("oif,fg,oig->", w, form, w) for w in network.weights
    )
    theta = objective.start
    assert_allclose(objective.value(theta), mean_loss + penalty, rtol=1e-13)
    assert_allclose(objective.penalty(theta), penalty, rtol=1e-13)
    assert_allclose(objective.raw(theta), raw, rtol=0, atol=1e-14)
    assert_allclose(objective.loss_of(raw), mean_loss, rtol=1e-13)


@pytest.mark.parametrize("penalties", [[], PENALTIES], ids=["plain", "penalised"])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_gradient_is_that_of_the_value(loss, penalties, rng):
    """Finite differences, which know nothing of autograd or the basis' backward."""
    data = make_data(rng)
    network = make_network(rng, data[0])
    objective = make_objective(network, data, loss=loss, penalties=penalties)
    value, gradient = objective.value_and_grad(objective.start)
    assert value == objective.value(objective.start)
    for _ in range(20):
        step = torch.from_numpy(rng.standard_normal(objective.network.n_parameters))
        step *= 1e-4 / step.norm()
        up, down = (objective.value(objective.start + s * step) for s in (1, -1))
        # Rounding is 1e-15 / 1e-4, the third derivative times the squared step 1e-8.
        assert_allclose((up - down) / 2e-4, gradient @ step / 1e-4, rtol=0, atol=1e-7)


def test_without_penalties_only_the_loss_counts(rng):
    """alpha=0 turns the penalty off, exactly."""
    data = make_data(rng)
    objective = make_objective(make_network(rng, data[0]), data, penalties=[])
    theta = objective.start
    assert objective.penalty(theta) == 0
    assert objective.value(theta) == objective.loss_of(objective.raw(theta))


def test_batches_average_to_the_whole(rng):
    """So that the gradient of a batch is an unbiased estimate.

    The quadratic penalty does not depend on the samples; the sparsity terms of a batch
    are those of its own activations, which do not average.
    """
    data = make_data(rng)
    network = make_network(rng, data[0])
    objective = make_objective(network, data, penalties=PENALTIES[:1])
    theta = objective.start
    batches = torch.randperm(N_SAMPLES, generator=torch.Generator().manual_seed(0))
    parts = [objective.value_and_grad(theta, rows) for rows in batches.split(6)]
    value, gradient = objective.value_and_grad(theta)
    assert_allclose(np.mean([part[0] for part in parts]), value, rtol=1e-13)
    mean = torch.stack([part[1] for part in parts]).mean(0)
    assert_allclose(mean, gradient, rtol=0, atol=1e-14)


def test_one_batch_of_all_rows_is_the_whole(rng):
    """With all penalties, in any order of the rows."""
    data = make_data(rng)
    objective = make_objective(make_network(rng, data[0]), data)
    rows = torch.randperm(N_SAMPLES, generator=torch.Generator().manual_seed(0))
    value, gradient = objective.value_and_grad(objective.start)
    value_of_batch, gradient_of_batch = objective.value_and_grad(objective.start, rows)
    assert_allclose(value_of_batch, value, rtol=1e-13)
    assert_allclose(gradient_of_batch, gradient, rtol=0, atol=1e-13)


@pytest.mark.parametrize("penalties", [PENALTIES[:1], PENALTIES])
def test_value_of_a_batch_needs_no_gradient(rng, penalties):
    data = make_data(rng)
    objective = make_objective(make_network(rng, data[0]), data, penalties=penalties)
    rows = torch.arange(0, N_SAMPLES, 3)
    value, _ = objective.value_and_grad(objective.start, rows)
    assert_allclose(objective.value(objective.start, rows), value, rtol=1e-13)


def test_weights_are_repetitions(rng):
    """A weight of 3 is three rows, in the loss and in the penalties."""
    X, target, _ = make_data(rng)
    count = torch.from_numpy(rng.integers(1, 5, N_SAMPLES))
    network = make_network(rng, X)
    weighted = make_objective(network, (X, target, count.double()))
    rows = [part.repeat_interleave(count, 0) for part in (X, target)]
    repeated = make_objective(network, (*rows, torch.ones(len(rows[0])).double()))
    value, gradient = weighted.value_and_grad(weighted.start)
    expected, expected_gradient = repeated.value_and_grad(repeated.start)
    assert_allclose(value, expected, rtol=1e-13)
    assert_allclose(gradient, expected_gradient, rtol=0, atol=1e-13)


def test_scale_of_the_weights_does_not_matter(rng):
    """The loss is a mean, so that alpha means the same for any weights."""
    X, target, weight = make_data(rng)
    network = make_network(rng, X)
    one, two = (
        make_objective(network, (X, target, scale * weight)) for scale in (1.0, 1000.0)
    )
    assert_allclose(one.value(one.start), two.value(two.start), rtol=1e-13)


@pytest.mark.parametrize("rows", [None, torch.tensor([3, 1, 7, 20])])
def test_cache_does_not_change_values(rows, rng, monkeypatch):
    """The first layer's basis values are kept while they are few; bit for bit."""
    data = make_data(rng)
    network = make_network(rng, data[0])
    cached = make_objective(network, data)
    monkeypatch.setattr(_empirical_loss, "MAX_KEPT_FEATURES", 0)
    fresh = make_objective(network, data)
    assert cached._mean_loss.data.features is not None
    assert fresh._mean_loss.data.features is None
    theta = cached.start
    for one, two in zip(
        cached.value_and_grad(theta, rows),
        fresh.value_and_grad(theta, rows),
        strict=True,
    ):
        assert_array_equal(one, two)
    assert_array_equal(cached.raw(theta), fresh.raw(theta))


def test_on_data_is_the_same_function_of_other_rows(rng):
    """The validation loss is computed so: same network, penalties and baseline."""
    data, other = make_data(rng), make_data(rng, n_samples=11)
    network = make_network(rng, data[0])
    objective = make_objective(network, data).on_data(Dataset(*other, BASELINE))
    expected = make_objective(network, other)
    assert objective.n_rows == 11
    assert objective.value(objective.start) == expected.value(expected.start)
    assert_array_equal(objective.raw(objective.start), expected.raw(expected.start))


def test_vector_and_network_are_two_forms_of_one_thing(rng):
    """start -> network_at -> start, without shared memory."""
    data = make_data(rng)
    network = make_network(rng, data[0])
    objective = make_objective(network, data)
    theta = torch.from_numpy(rng.standard_normal(objective.network.n_parameters))
    kept = theta.clone()
    at_theta = objective.network_at(theta)
    assert_array_equal(make_objective(at_theta, data).start, theta)
    expected = objective.raw(theta) - BASELINE
    assert_allclose(at_theta(data[0]).detach(), expected, rtol=0, atol=1e-13)
    with torch.no_grad():
        for layer in at_theta.all_layers:
            layer.weight.zero_()
    assert_array_equal(theta, kept)
    flat = [weight.flatten() for weight in network.weights]
    assert_array_equal(objective.start, torch.cat(flat))
    assert objective.network.grid_size == 5
    assert objective.n_rows == N_SAMPLES


# The quadratic model


@pytest.mark.parametrize("penalties", [[], PENALTIES[:1]], ids=["plain", "penalised"])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_quadratic_model_has_value_and_gradient_of_the_objective(loss, penalties, rng):
    """By hand and by autograd, penalties included."""
    data = make_data(rng)
    network = make_network(rng, data[0])
    objective = make_objective(network, data, loss=loss, penalties=penalties)
    value, gradient = objective.value_and_grad(objective.start)
    model = objective.gauss_newton(objective.start)
    assert_allclose(model.value, value, rtol=1e-12)
    assert_allclose(model.gradient, gradient, rtol=0, atol=1e-11)


@pytest.mark.parametrize("per_edge", [False, True])
def test_penalty_adds_its_hessian_to_the_quadratic_model(per_edge, rng):
    """The curvature of the loss itself is that without penalties."""
    data = make_data(rng)
    network = make_network(rng, data[0])
    n_edges = sum(layer.mask.numel() for layer in network.all_layers)
    alpha = rng.uniform(0, 1, (n_edges, 3)) if per_edge else 0.3
    plain = make_objective(network, data, penalties=[])
    objective = plain.with_penalties([QuadraticPenalty(alpha)])
    theta = objective.start
    form = QuadraticPenalty(alpha).form(network.all_layers)
    expected = plain.gauss_newton(theta).curvature + hessian(form.value, theta)
    # Third differences on five intervals have eigenvalues up to 1e5.
    found = objective.gauss_newton(theta).curvature
    assert_allclose(found, expected, rtol=1e-10, atol=1e-9)


def test_quadratic_model_of_the_loss_is_kept_for_its_point_only(rng):
    """Priors change more often than weights; a stale one would be worse than none."""
    data = make_data(rng)
    network = make_network(rng, data[0])
    objective = make_objective(network, data, penalties=PENALTIES[:1])
    theta = objective.start
    first = objective.gauss_newton_of_loss(theta)
    before = first.curvature.clone()
    assert objective.with_penalties([]).gauss_newton_of_loss(theta) is first
    objective.gauss_newton(theta)
    assert_array_equal(first.curvature, before)
    theta += 0.1  # the same tensor with other numbers
    moved = objective.gauss_newton_of_loss(theta)
    fresh = make_objective(network, data, penalties=[]).gauss_newton_of_loss(theta)
    assert_array_equal(moved.curvature, fresh.curvature)
    assert moved.value != first.value


@pytest.mark.parametrize("hidden_only", [False, True])
def test_other_network_on_the_same_rows(hidden_only, rng):
    """Its weights and grids, none of the kept models and basis values of the other."""
    data = make_data(rng)
    network = make_network(rng, data[0])
    objective = make_objective(network, data, penalties=PENALTIES[:1])
    objective.gauss_newton(objective.start)
    other = network.with_grids_from_samples(
        data[0], grid_eps=0.5, hidden_only=hidden_only
    )
    changed = objective.with_network(other)
    expected = make_objective(other, data, penalties=PENALTIES[:1])
    assert_array_equal(changed.start, expected.start)
    for one, two in zip(
        changed.gauss_newton(changed.start),
        expected.gauss_newton(expected.start),
        strict=True,
    ):
        assert_array_equal(one, two)
    assert objective.network is network
    assert changed.network is other


def test_evaluations_of_networks_in_turn_do_not_mix(rng):
    """What an evaluation keeps for the next one is its network's alone."""
    data = make_data(rng)
    network = make_network(rng, data[0])
    other = network.with_grids_from_samples(data[0], grid_eps=0.5, hidden_only=True)
    objective = make_objective(network, data, penalties=PENALTIES[:1])
    changed = objective.with_network(other)
    batch = torch.arange(0, len(data[0]), 3)
    for _ in range(2):
        for mine, fresh in (objective, network), (changed, other):
            theta = mine.start + 0.1
            expected = make_objective(fresh, data, penalties=PENALTIES[:1])
            for rows in None, batch:
                found = mine.value_and_grad(theta, rows)
                for one, two in zip(
                    found, expected.value_and_grad(theta, rows), strict=True
                ):
                    assert_array_equal(one, two)
            assert mine.value(theta) == expected.value(theta)


def test_blocks_side_by_side_have_the_same_outputs(rng, monkeypatch):
    data = make_data(rng)
    objective = make_objective(make_network(rng, data[0]), data)
    expected = objective.raw(objective.start)
    monkeypatch.setattr(_gauss_newton, "MAX_BLOCK_NUMBERS", 200)  # a few rows each
    monkeypatch.setattr(_empirical_loss, "MIN_PARALLEL_ROWS", 0)
    monkeypatch.setattr(_threads, "threads_outside", lambda: 3)
    assert_allclose(objective.raw(objective.start), expected, rtol=1e-13, atol=1e-13)


def test_pieces_of_many_rows_have_the_sums_of_the_whole(rng, monkeypatch):
    """Loss, gradient, curvature and output; a batch is what it was."""
    data = make_data(rng)
    network = make_network(rng, data[0])
    theta, batch = network.theta, torch.arange(0, len(data[0]), 3)
    found = []
    for most_rows in (_row_blocks.SINGLE_BLOCK_ROWS, 10):
        monkeypatch.setattr(_row_blocks, "SINGLE_BLOCK_ROWS", most_rows)
        monkeypatch.setattr(_row_blocks, "SUM_BLOCK_ROWS", 7)
        objective = make_objective(network, data, penalties=PENALTIES[:1])
        model = objective.gauss_newton(theta)
        value, gradient = objective.value_and_grad(theta)
        of_batch = objective.value_and_grad(theta, batch)[1]
        found.append((*model[1:4], gradient, of_batch, objective.raw(theta)))
        numbers = np.array([model.value, value, objective.value(theta)])
        found[-1] += (numbers,)
    for whole, sum_of_pieces in zip(*found, strict=True):
        assert_allclose(sum_of_pieces, whole, rtol=1e-9, atol=1e-12)
