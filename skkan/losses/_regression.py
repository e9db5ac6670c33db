"""The squared error, and the Poisson and gamma deviances under a log link."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import rel_entr

from skkan.data._scaling import AffineScaling
from skkan.losses._base import TINY, LogLinkLoss, NoisyLoss

# Logarithms beyond which an exponential goes on as its Taylor polynomial of second
# order. No mean is so far from that of all rows; steps that try it stay finite.
LARGEST_LOG = 50.0
# Relative error of a rate times its weight that counts as rounding.
WHOLE_TOLERANCE = 1e-9
# Share of normal errors that lie within that many standard deviations.
COVERED, COVERING = 0.9, 1.645


class SquaredError(NoisyLoss):
    """Half the squared error of a standardised target.

    The factor 1/2 makes it the negative log-likelihood at unit noise.
    """

    name = "squared_error"
    is_normal = True
    noise_power = 2.0

    def noise_of(self, raw, target, sample_weight, variance=0.0):
        """Variance of normal errors that have the same 90% quantile of their size.

        Errors on tables have heavy tails. Intervals from their variance would be too
        wide, and a single outlier could determine them.
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
        # The target is standardised: its mean is zero but for rounding.
        return target.new_zeros(target.shape[1])


@dataclass(frozen=True)
class PoissonDeviance(LogLinkLoss):
    """Half the Poisson deviance under the log link, y log(y / mu) - y + mu.

    Parameters
    ----------
    min_noise : float or tuple of float, default=0.0
        Smallest dispersion, the ratio of the variance to the mean; a tuple has one for
        each output. Where counts are small, the deviance underestimates it.
    """

    min_noise: float | tuple = 0.0

    name = "poisson"
    variance_power = 1.0

    def target_scaling(self, target, sample_weight):
        """Scaling to a deviance of 1 a row around the mean.

        A constant model then has the same loss as under the squared error.
        """
        super().target_scaling(target, sample_weight)  # which checks the sums
        size = target.max(axis=0)
        unit = AffineScaling.standard(target / size, sample_weight)
        share = (sample_weight / sample_weight.sum())[:, None]
        deviance = 2 * (share * (rel_entr(target / size, unit.centre))).sum(axis=0)
        # Equal values have none but rounding.
        rounding = 1e-12 * unit.centre
        deviance = np.where(deviance > rounding, deviance, unit.centre)
        return AffineScaling(np.zeros_like(size), size * deviance)

    def for_target(self, target, sample_weight, scale):
        # Counts, or with weights rates, vary as Poisson's law says, or more.
        is_count = _is_whole(target) | _is_whole(sample_weight[:, None] * target)
        unit = np.where(is_count, scale, np.inf)
        return replace(self, min_noise=tuple((1 / unit).tolist()))

    def elements(self, raw, target):
        inside = raw.clamp(max=LARGEST_LOG)
        beyond = (raw - LARGEST_LOG).clamp(min=0)
        counted = target > TINY
        # In mu - y log(mu) large counts would cancel.
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


class GammaDeviance(LogLinkLoss):
    """Half the gamma deviance under the log link, y / mu - log(y / mu) - 1.

    The dispersion is the variance in squared means.
    """

    name = "gamma"
    variance_power = 2.0
    takes_zero = False

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


def _is_whole(values):
    """Whether each column holds whole numbers only, up to rounding."""
    whole = np.rint(values)
    return (np.abs(values - whole) <= WHOLE_TOLERANCE * whole).all(axis=0)
