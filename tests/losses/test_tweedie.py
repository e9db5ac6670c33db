"""The Tweedie deviance: its peer, its limits, and the dispersion of rare amounts."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn._loss.loss import HalfTweedieLoss
from sklearn.metrics import mean_tweedie_deviance

from skkan.losses._regression import GammaDeviance, PoissonDeviance
from skkan.losses._tweedie import LARGEST_LOG_SCALE, TweedieDeviance

POWERS = [1.05, 1.3, 1.5, 1.9]


def amounts(rng, n_rows, power, rate, mean=3.0):
    """Sums of a Poisson number of gamma variables, and their dispersion."""
    dispersion = mean ** (2 - power) / (rate * (2 - power))
    count = rng.poisson(rate, n_rows)
    shape = np.maximum(count, 1) * (2 - power) / (power - 1)
    size = dispersion * (power - 1) * mean ** (power - 1)
    return np.where(count > 0, rng.gamma(shape, size), 0.0), dispersion


@pytest.mark.parametrize("power", POWERS)
def test_value_and_derivatives_are_the_peers(power, rng):
    """Zeros and large amounts among the targets."""
    target = rng.gamma(0.7, 2, 50) * (rng.uniform(size=50) < 0.6)
    target[0] = 1e6
    raw = rng.normal(scale=2, size=50)
    ours, peer = TweedieDeviance(power), HalfTweedieLoss(power=power)
    rows = torch.from_numpy(raw)[:, None], torch.from_numpy(target)[:, None]
    each = [
        mean_tweedie_deviance([y], [np.exp(z)], power=power) / 2
        for y, z in zip(target, raw, strict=True)
    ]
    # Powers cancel in the peer's terms, the more so the nearer its power is to 1 or 2.
    assert_allclose(ours.elements(*rows)[:, 0], each, rtol=1e-12, atol=1e-12)
    gradient, hessian = peer.gradient_hessian(y_true=target, raw_prediction=raw)
    assert_allclose(ours.gradient(*rows)[:, 0], gradient, rtol=1e-12, atol=1e-13)
    assert_allclose(ours.curvature(*rows)[:, 0], hessian, rtol=1e-12)


@pytest.mark.parametrize(
    ("power", "limit"), [(1 + 1e-7, PoissonDeviance()), (2 - 1e-7, GammaDeviance())]
)
def test_limits_are_the_poisson_and_the_gamma_deviance(power, limit, rng):
    target = torch.from_numpy(rng.gamma(2, 2, (50, 1)))
    raw = torch.from_numpy(rng.normal(scale=2, size=(50, 1)))
    loss = TweedieDeviance(power)
    for name in ("elements", "gradient", "curvature"):
        ours, theirs = (getattr(each, name)(raw, target) for each in (loss, limit))
        # The distance of the power from its limit, times the squares of logarithms.
        assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("power", POWERS[:3])
@pytest.mark.parametrize("unit", [1e-200, 1.0, 1e200])
def test_scaled_targets_have_unit_deviance(power, unit, rng):
    target, _ = amounts(rng, 300, power, rate=2.0)
    target, weight = target[:, None], rng.uniform(1, 2, 300)
    scaling = TweedieDeviance(power).target_scaling(unit * target, weight)
    scaled = scaling.transform(unit * target)[:, 0]
    mean = np.full(300, np.average(scaled, weights=weight))
    deviance = mean_tweedie_deviance(scaled, mean, sample_weight=weight, power=power)
    assert_allclose(deviance, 1.0, rtol=1e-9)


def test_scale_stays_near_the_mean():
    """At a power near 2 no scale makes the deviance 1; of equal values none does."""
    loss, weight = TweedieDeviance(1.999), np.ones(2)
    scaling = loss.target_scaling(np.array([[0.9, 3.0], [1.1, 3.0]]), weight)
    assert_allclose(scaling.scale, [np.exp(-LARGEST_LOG_SCALE), 3.0], rtol=1e-12)
    assert_allclose(scaling.centre, [0.0, 0.0], rtol=0)


@pytest.mark.parametrize("power", [1.2, 1.5, 1.8])
@pytest.mark.parametrize("rate", [0.02, 0.05])
def test_dispersion_of_rare_amounts_follows_from_the_share_of_zeros(power, rate, rng):
    """Their deviance is a tenth of it or so, by which a fit would see hardly noise."""
    target, dispersion = amounts(rng, 40_000, power, rate)
    scale, weight = np.array([2.0]), rng.integers(1, 3, 40_000)
    loss = TweedieDeviance(power).for_target(target[:, None], weight, scale)
    in_units = np.array(loss.min_noise) * scale ** (2 - power)
    # The sampling error of 800 positive amounts and the mean of their weights.
    assert_allclose(in_units, dispersion, rtol=0.15)
    mean = np.full_like(target, target.mean())
    assert mean_tweedie_deviance(target, mean, power=power) < 0.4 * dispersion


@pytest.mark.parametrize("power", [1.2, 1.5, 1.8])
@pytest.mark.parametrize("rate", [1.0, 3.0, 10.0])
def test_frequent_amounts_are_told_by_their_deviance(power, rate, rng):
    """The share of zeros then is no bound, whether the mean varies or not."""
    target, dispersion = amounts(rng, 40_000, power, rate)
    target = np.column_stack([target, target * rng.uniform(0.5, 2, 40_000)])
    one = np.ones(2)
    loss = TweedieDeviance(power).for_target(target, np.ones(40_000), one)
    assert max(loss.min_noise) < 0.5 * dispersion


def test_targets_without_zeros_have_no_least_dispersion(rng):
    target = np.column_stack([rng.gamma(2, 2, 30), np.arange(30) == 3])
    loss = TweedieDeviance().for_target(target, np.ones(30), np.ones(2))
    assert loss.min_noise[0] == 0
    assert loss.min_noise[1] > 0
