"""The Huber loss and the smoothed pinball loss, which adapt to the noise."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional

from skkan.data._scaling import NORMAL_MEDIAN, AffineScaling
from skkan.losses._base import NoisyLoss

# Errors count linearly beyond this many standard deviations of normal noise. Where the
# noise is normal, the efficiency is 95% (Huber, Robust Statistics, 1981).
HUBER_DELTA = 1.345
# Width of the smoothing of quantiles before there are residuals, in robust standard
# deviations of the target.
SMOOTHING = 0.1
# Width afterwards: NEAR_WIDTH times the distance from the quantile within which as many
# residuals lie as NEAR_SHARE of the rows beyond the quantile. At the median of normal
# noise it is 0.1 standard deviations.
NEAR_WIDTH, NEAR_SHARE = 0.4, 0.4
# Smoothing shifts the fit of rows that are all equal by log((1 - quantile) / quantile)
# widths. That is at most this share of the distance from which the width comes; from
# one on, shift and width would keep each other up.
MAX_SHIFT = 0.5
# Spread of the residuals as a share of that of the target. It keeps the loss of an
# exact fit smooth enough to minimise.
MIN_SPREAD = 1e-3
OUTLYING = 4.0  # standard deviations at which the share of a residual in the noise ends
SIMILAR = 1.25  # ratio of spreads up to which the loss stays as it is
MAX_REWEIGHTINGS = 100  # for the best constant; they converge linearly
EXACT_WIDTH = 1e-12  # below the rounding of most targets
ROUNDING_OF_CONSTANT = 1e-12  # spread of a constant, which is scaled by its size


@dataclass(frozen=True)
class Huber(NoisyLoss):
    """Half the squared error up to `delta`, beyond which it goes on linearly.

    Parameters
    ----------
    delta : float or tuple of float, default=1.345
        In units of the scaled target; a tuple has one for each output.

    References
    ----------
    P. Huber, Robust Estimation of a Location Parameter, 1964. D. Hunter and K. Lange,
    A Tutorial on MM Algorithms, 2004 (the curvature, by which steps are those of
    reweighted least squares).
    """

    delta: float | tuple = HUBER_DELTA

    name = "huber"
    is_adaptive = True
    noise_power = 2.0

    def target_scaling(self, target, sample_weight):
        return AffineScaling.most_robust(target, sample_weight)

    def elements(self, raw, target):
        size, delta = (raw - target).abs(), raw.new_tensor(self.delta)
        beyond = delta * (size - 0.5 * delta)
        return torch.where(size <= delta, 0.5 * size.square(), beyond)

    def bounded(self, raw, target):
        delta = raw.new_tensor(self.delta)
        most = delta * (OUTLYING / HUBER_DELTA - 0.5) * delta
        return torch.minimum(self.elements(raw, target), most)

    def gradient(self, raw, target):
        delta = raw.new_tensor(self.delta)
        return torch.minimum(torch.maximum(raw - target, -delta), delta)

    def curvature(self, raw, target):
        delta = raw.new_tensor(self.delta)
        return delta / torch.maximum((raw - target).abs(), delta)

    def inverse_link(self, raw):
        return raw

    def baseline(self, target, sample_weight):
        constant = weighted_quantile(target, sample_weight, 0.5)
        for _ in range(MAX_REWEIGHTINGS):
            weight = self.curvature(constant.expand_as(target), target)
            weight = sample_weight.unsqueeze(1) * weight
            constant = (weight * target).sum(0) / weight.sum(0)
        return constant

    def adapted(self, raw, target, sample_weight):
        delta = HUBER_DELTA * _shortest_half_deviation(target - raw, sample_weight)
        if _is_similar(raw.new_tensor(self.delta), delta):
            return self
        return replace(self, delta=tuple(delta.tolist()))


@dataclass(frozen=True)
class Pinball(NoisyLoss):
    """Smoothed pinball loss, whose minimum is at a quantile.

    With the residual r = y - raw it is quantile * r + width * softplus(-r / width), the
    convolution of quantile * r + max(-r, 0) with a logistic kernel.

    Parameters
    ----------
    quantile : float or tuple of float, default=0.5
        Between 0 and 1; a tuple has one for each output.
    width, spread : float or tuple of float, default=0.1 and 1.0
        Of the smoothing and of the noise, in units of the scaled target; a tuple has
        one for each output.

    References
    ----------
    R. Koenker and G. Bassett, Regression Quantiles, 1978. M. Fernandes, E. Guerre and
    E. Horta, Smoothing Quantile Regressions, 2021. D. Hunter and K. Lange, Quantile
    Regression via an MM Algorithm, 2000. T. Jaakkola and M. Jordan, Bayesian Parameter
    Estimation via Variational Methods, 2000 (the parabola above the softplus).
    """

    quantile: float | tuple = 0.5
    width: float | tuple = SMOOTHING
    spread: float | tuple = 1.0

    name = "quantile"
    parameters = ("quantile",)
    is_adaptive = True
    noise_power = 1.0

    def __post_init__(self):
        if self.quantile is None:
            raise ValueError(
                "quantile must be a number between 0 and 1 with loss='quantile', got "
                "None: set it, for instance to 0.5 for the median."
            )

    def target_scaling(self, target, sample_weight):
        return AffineScaling.most_robust(target, sample_weight)

    def for_target(self, target, sample_weight, scale):
        # All quantiles of a constant are one, and smoothing does not move a median.
        varies = np.ptp(target, axis=0) > ROUNDING_OF_CONSTANT * scale
        quantiles = np.where(varies, self.quantile, 0.5)
        return replace(self, quantile=tuple(quantiles.tolist()))

    def elements(self, raw, target):
        residual, width = target - raw, raw.new_tensor(self.width)
        # softplus(-x), but without the threshold of torch's
        below = -functional.logsigmoid(residual / width)
        return raw.new_tensor(self.quantile) * residual + width * below

    def bounded(self, raw, target):
        quantile = raw.new_tensor(self.quantile)
        slope = torch.where(target > raw, quantile, 1 - quantile)
        most = slope * OUTLYING * raw.new_tensor(self.spread)
        return torch.minimum(self.elements(raw, target), most)

    def gradient(self, raw, target):
        below = torch.sigmoid((raw - target) / raw.new_tensor(self.width))
        return below - raw.new_tensor(self.quantile)

    def curvature(self, raw, target):
        width = raw.new_tensor(self.width)
        half = (raw - target) / (2 * width)
        # The Hessian is nearly zero for most rows; the parabola above the loss is not.
        small = half.abs() < 1e-4  # where the quotient is 1 up to rounding
        safe = torch.where(small, 1.0, half)
        return torch.where(small, 1.0, torch.tanh(safe) / safe) / (4 * width)

    def inverse_link(self, raw):
        return raw

    def baseline(self, target, sample_weight):
        return weighted_quantile(
            target, sample_weight, target.new_tensor(self.quantile)
        )

    def adapted(self, raw, target, sample_weight):
        # Smoothing shifts a quantile by more the fewer rows are near it. Where noise is
        # skewed, depends on a feature or has outliers, these rows are much closer to
        # it than a standard deviation of all rows.
        residual = target - raw
        quantile = raw.new_tensor(self.quantile)
        near = NEAR_SHARE * torch.minimum(quantile, 1 - quantile)
        distance = weighted_quantile(residual.abs(), sample_weight, near)
        width = (MAX_SHIFT / quantile.logit().abs()).clamp(max=NEAR_WIDTH) * distance
        width = width.clamp(min=SMOOTHING * MIN_SPREAD)
        if _is_similar(raw.new_tensor(self.width), width):
            return self
        spread = _shortest_half_deviation(residual, sample_weight)
        return replace(self, width=tuple(width.tolist()), spread=tuple(spread.tolist()))

    @property
    def exact(self):
        return replace(self, width=EXACT_WIDTH)


def weighted_quantile(values, sample_weight, share):
    """Quantile of each column; weights count as repetitions."""
    values, order = values.sort(dim=0)
    total = sample_weight[order].cumsum(0)
    # The factor moves it by less than any weight, against rounding of the sum.
    index = (total < share * (1 - 1e-10) * total[-1]).sum(0, keepdim=True)
    return values.gather(0, index).squeeze(0)


def _shortest_half_deviation(residual, sample_weight):
    """Robust standard deviation of the noise; up to half of it may be outliers.

    It is half the length of the shortest interval that holds half of the residuals,
    divided by that of a standard normal variable. It does not depend on where the
    residuals lie, unlike the median absolute deviation, which outliers on one side
    enlarge as they move the fit.

    References
    ----------
    P. Rousseeuw and A. Leroy, A Robust Scale Estimator Based on the Shortest Half,
    1988.
    """
    values, order = residual.sort(dim=0)
    weight = sample_weight[order]
    total = weight.cumsum(0)
    # The factor moves it by less than any weight, against rounding of the sum.
    half = 0.5 * (1 - 1e-10) * total[-1]
    sums, ends = (part.T.contiguous() for part in (total, total - weight + half))
    last = torch.searchsorted(sums, ends).T.contiguous()
    is_whole = last < len(values)
    upper = values.gather(0, last.clamp(max=len(values) - 1))
    length = torch.where(is_whole, upper - values, torch.inf).amin(0)
    return (length / (2 * NORMAL_MEDIAN)).clamp(min=MIN_SPREAD)


def _is_similar(one, other):
    return bool(((one <= SIMILAR * other) & (other <= SIMILAR * one)).all())
