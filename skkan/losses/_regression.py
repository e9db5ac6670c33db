"""The squared error, and the Poisson and gamma deviances under a log link."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from skkan.losses._base import NoisyLoss

# Logarithms beyond which an exponential goes on as its Taylor polynomial of second
# order. No mean is so far from that of all rows; steps that try it stay finite.
LARGEST_LOG = 50.0
SMALLEST_MEAN, LARGEST_MEAN = -708.0, 709.0  # logarithms of what a prediction can be
TINY = 1e-300  # smallest target of a logarithm
COVERED, COVERING = 0.9, 1.645  # of normal errors, within that many deviations


class SquaredError(NoisyLoss):
    """Half the squared error of a standardised target.

    The factor 1/2 makes it the negative log-likelihood at unit noise.
    """

    is_normal = True
    noise_power = 2.0

    def noise_of(self, raw, target, sample_weight, variance=0.0):
        """Variance of normal errors nine tenths of which are as small as these are.

        Errors on tables have heavy tails: intervals from their variance would be too
        wide, and a single outlier could have all the say.
        """
        weight = sample_weight.cpu().numpy()
        own = 1 + torch.as_tensor(variance).reshape(-1, 1).to(raw)
        squares = ((raw - target).square() / own).cpu().numpy()
        limits = np.quantile(
            squares, COVERED, axis=0, weights=weight, method="inverted_cdf"
        )
        return torch.from_numpy(limits).to(raw) / COVERING**2

    def elements(self, raw, target):
        return 0.5 * (raw - target).square()

    def curvature(self, raw, target):
        return torch.ones_like(raw)

    def gradient(self, raw, target):
        return raw - target

    def curvature_root(self, raw, target):
        identity = torch.eye(raw.shape[1], dtype=raw.dtype, device=raw.device)
        return identity.expand(len(raw), -1, -1)

    def inverse_link(self, raw):
        return raw

    def baseline(self, target, sample_weight):
        # The target arrives standardised; what is left of its mean is rounding.
        return target.new_zeros(target.shape[1])


@dataclass(frozen=True)
class PoissonDeviance(NoisyLoss):
    """Half the Poisson deviance under the log link, y log(y / mu) - y + mu.

    Parameters
    ----------
    least_noise : float or tuple of float, default=0.0
        Smallest dispersion, the ratio of the variance to the mean; a tuple has one for
        each output. Where counts are few, the deviance would have it too small.
    """

    least_noise: float | tuple = 0.0

    noise_power = 1.0
    has_log_link = True

    def elements(self, raw, target):
        inside = raw.clamp(max=LARGEST_LOG)
        beyond = (raw - LARGEST_LOG).clamp(min=0)
        counted = target > TINY
        # Not as mu - y log(mu), in which large counts would cancel.
        ratio = inside - torch.where(counted, target, 1.0).log()
        value = torch.where(
            counted, target * (torch.expm1(ratio) - ratio), inside.exp()
        )
        more = math.exp(LARGEST_LOG) * (beyond + 0.5 * beyond.square())
        return value + more - target * beyond

    def gradient(self, raw, target):
        inside = raw.clamp(max=LARGEST_LOG)
        return inside.exp() * (1 + raw - inside) - target

    def curvature(self, raw, target):
        return raw.clamp(max=LARGEST_LOG).exp()

    def inverse_link(self, raw):
        return mean_of_log(raw)

    def baseline(self, target, sample_weight):
        return log_mean(target, sample_weight)


class GammaDeviance(NoisyLoss):
    """Half the gamma deviance under the log link, y / mu - log(y / mu) - 1.

    The dispersion is the variance in squared means.
    """

    has_log_link = True

    def elements(self, raw, target):
        inside = raw.clamp(min=-LARGEST_LOG)
        beyond = (-LARGEST_LOG - raw).clamp(min=0)
        ratio = target.clamp(min=TINY).log() - inside
        more = ratio.exp() * (beyond + 0.5 * beyond.square()) - beyond
        return torch.expm1(ratio) - ratio + more

    def gradient(self, raw, target):
        inside = raw.clamp(min=-LARGEST_LOG)
        return 1 - target * (-inside).exp() * (1 + inside - raw)

    def curvature(self, raw, target):
        return target * (-raw.clamp(min=-LARGEST_LOG)).exp()

    def inverse_link(self, raw):
        return mean_of_log(raw)

    def baseline(self, target, sample_weight):
        return log_mean(target, sample_weight)


def mean_of_log(raw):
    return raw.clamp(SMALLEST_MEAN, LARGEST_MEAN).exp()


def log_mean(target, sample_weight):
    mean = sample_weight @ target / sample_weight.sum()
    return mean.clamp(min=TINY).log()
