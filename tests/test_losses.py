"""Losses: values in closed form, gradients, best constant models."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.special import expit, softmax
from torch.autograd.functional import hessian, jacobian

from skkan._losses import (
    PRIOR_COUNT,
    BinaryLogLoss,
    MultinomialLogLoss,
    SquaredError,
)

LOSSES = [SquaredError(), BinaryLogLoss(), MultinomialLogLoss()]


def problem(loss, rng, n_samples=30, n_outputs=3):
    """Raw outputs and a target of the kind that the loss takes."""
    raw = torch.from_numpy(2 * rng.standard_normal((n_samples, n_outputs)))
    if isinstance(loss, SquaredError):
        return raw, torch.from_numpy(rng.standard_normal((n_samples, n_outputs)))
    if isinstance(loss, BinaryLogLoss):
        return raw, torch.from_numpy(1.0 * (rng.uniform(size=raw.shape) < 0.3))
    return raw, torch.from_numpy(np.eye(n_outputs)[rng.integers(n_outputs, size=30)])


def by_name(loss):
    return type(loss).__name__


@pytest.mark.parametrize("loss", LOSSES, ids=by_name)
def test_value_is_the_negative_log_likelihood(loss, rng):
    """Of a normal with unit noise (up to a constant), of coins, of one die."""
    raw, target = problem(loss, rng)
    z, t = raw.numpy(), target.numpy()
    expected = {
        "SquaredError": lambda: 0.5 * ((z - t) ** 2).sum(1),
        "BinaryLogLoss": lambda: -np.log(np.where(t == 1, expit(z), expit(-z))).sum(1),
        "MultinomialLogLoss": lambda: -np.log((softmax(z, axis=1) * t).sum(1)),
    }[by_name(loss)]()
    assert_allclose(loss.value(raw, target), expected, rtol=1e-12)


@pytest.mark.parametrize("loss", LOSSES, ids=by_name)
def test_gradient_is_prediction_minus_target(loss, rng):
    """All three pair a loss with its canonical link."""
    raw, target = problem(loss, rng)
    raw.requires_grad_()
    (gradient,) = torch.autograd.grad(loss.value(raw, target).sum(), raw)
    expected = (loss.inverse_link(raw) - target).detach()
    assert_allclose(gradient, expected, rtol=0, atol=1e-14)
    assert torch.autograd.gradcheck(lambda z: loss.value(z, target), raw)


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("loss", LOSSES, ids=by_name)
def test_given_derivatives_are_autograds(loss, n_outputs, rng):
    """First and second ones, R^T R = H, by which second-order solvers step."""
    raw, target = problem(loss, rng, n_outputs=n_outputs)

    def total(raw):
        return loss.value(raw, target).sum()

    gradient = jacobian(total, raw)
    assert_allclose(loss.gradient(raw, target), gradient, rtol=0, atol=1e-14)
    # Samples have nothing to do with each other: only the blocks of each are not zero.
    expected = torch.einsum("nonp->nop", hessian(total, raw))
    root = loss.curvature_root(raw, target)
    assert_allclose(root.mT @ root, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("size", [1e2, 1e3, 1e150])
@pytest.mark.parametrize("loss", LOSSES[1:], ids=by_name)
def test_given_derivatives_survive_large_outputs(loss, size):
    """Where a class is certain, there is no curvature, but no NaN either."""
    raw = torch.tensor([[size, -size], [-size, size]], dtype=torch.float64)
    right = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert_allclose(loss.gradient(raw, right), np.zeros((2, 2)), atol=1e-40)
    wrong = loss.gradient(raw, right.flip(0))
    assert_allclose(wrong, [[1, -1], [-1, 1]], rtol=1e-15)
    root = loss.curvature_root(raw, right)
    assert_allclose(root.mT @ root, np.zeros((2, 2, 2)), atol=1e-40)


def test_links_are_scipys(rng):
    """Predictions are probabilities of the usual links."""
    raw = torch.from_numpy(5 * rng.standard_normal((20, 3)))
    assert_allclose(BinaryLogLoss().inverse_link(raw), expit(raw.numpy()), rtol=1e-13)
    expected = softmax(raw.numpy(), axis=1)
    assert_allclose(MultinomialLogLoss().inverse_link(raw), expected, rtol=1e-13)
    assert SquaredError().inverse_link(raw) is raw


@pytest.mark.parametrize("size", [1e3, 1e150, 1e300])
@pytest.mark.parametrize("loss", LOSSES[1:], ids=by_name)
def test_log_losses_survive_large_outputs(loss, size):
    """Separable classes drive the raw output up; exp() of it must not overflow."""
    raw = torch.tensor([[size, -size], [-size, size]], dtype=torch.float64)
    right = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert_allclose(loss.value(raw, right), [0, 0], atol=1e-300)
    wrong = loss.value(raw, right.flip(0))
    assert_allclose(wrong, [2 * size, 2 * size], rtol=1e-15)


def test_two_classes_are_one_yes_no_label(rng):
    """softmax(0, z) = (1 - sigmoid(z), sigmoid(z)): the same model in other words."""
    z, label = problem(BinaryLogLoss(), rng, n_outputs=1)
    pair = torch.cat([torch.zeros_like(z), z], dim=1)
    indicator = torch.cat([1 - label, label], dim=1)
    weight = torch.from_numpy(rng.uniform(1, 2, len(z)))
    binary, multinomial = BinaryLogLoss(), MultinomialLogLoss()
    assert_allclose(
        binary.value(z, label), multinomial.value(pair, indicator), rtol=1e-13
    )
    prediction = multinomial.inverse_link(pair)
    assert_allclose(binary.inverse_link(z)[:, 0], prediction[:, 1], rtol=1e-13)
    logs = multinomial.baseline(indicator, weight)
    assert_allclose(binary.baseline(label, weight), [logs[1] - logs[0]], rtol=1e-13)


@pytest.mark.parametrize("loss", LOSSES[1:], ids=by_name)
def test_baseline_is_the_best_constant_model(loss, rng):
    """Of the data with Jeffreys' prior, half a sample of each class, added."""
    _, target = problem(loss, rng)
    weight = torch.from_numpy(rng.uniform(1, 2, len(target)))
    n_outputs = target.shape[1]
    if isinstance(loss, BinaryLogLoss):
        prior = torch.tensor([[0.0] * n_outputs, [1.0] * n_outputs]).double()
    else:
        prior = torch.eye(n_outputs, dtype=torch.float64)
    rows = torch.cat([target, prior])
    counts = torch.cat([weight, weight.new_full((len(prior),), PRIOR_COUNT)])

    def total(constant):
        constant = torch.from_numpy(constant).requires_grad_()
        value = counts @ loss.value(constant.expand_as(rows), rows)
        (gradient,) = torch.autograd.grad(value, constant)
        return value.item(), gradient.numpy()

    best = minimize(total, np.zeros(n_outputs), jac=True, options={"gtol": 1e-10}).x
    baseline = loss.baseline(target, weight)
    # A common shift of all outputs means nothing under the softmax.
    shift = 0.0 if isinstance(loss, BinaryLogLoss) else best.mean() - baseline.mean()
    assert_allclose(baseline + float(shift), best, rtol=0, atol=1e-8)
    _, gradient = total(baseline.numpy())
    assert_allclose(gradient, 0, atol=1e-12)


def test_baseline_of_a_standardised_target_is_zero(rng):
    """Its mean is zero already, up to rounding that would break equal results."""
    target = torch.from_numpy(rng.standard_normal((10, 2)))
    baseline = SquaredError().baseline(target, torch.ones(10).double())
    assert_allclose(baseline, [0.0, 0.0], rtol=0, atol=0)


@pytest.mark.parametrize("loss", LOSSES[1:], ids=by_name)
def test_baseline_of_an_absent_class_is_finite(loss):
    """A batch of a stream, or a fold, may lack a class."""
    target = torch.tensor([[1.0, 0.0]] * 5, dtype=torch.float64)
    baseline = loss.baseline(target, torch.ones(5).double())
    assert_allclose(baseline[0] - baseline[1], np.log(5.5 / 0.5) * _pairs(loss))


def _pairs(loss):
    # Each column of yes-no labels has a logit of its own, softmax shares one.
    return 2 if isinstance(loss, BinaryLogLoss) else 1


@pytest.mark.parametrize("loss", LOSSES[1:], ids=by_name)
def test_baseline_takes_weights_as_repetitions(loss, rng):
    """As everywhere."""
    _, target = problem(loss, rng)
    count = torch.from_numpy(rng.integers(1, 5, len(target)))
    repeated = target.repeat_interleave(count, 0)
    ones = torch.ones(len(repeated)).double()
    expected = loss.baseline(repeated, ones)
    assert_allclose(loss.baseline(target, count.double()), expected, rtol=1e-13)
