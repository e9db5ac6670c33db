"""The Tweedie deviance under a log link, for targets many of which may be zero."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from skkan.data._scaling import AffineScaling
from skkan.losses._base import TINY, LogLinkLoss
from skkan.losses._regression import LARGEST_LOG

# Largest logarithm of the scale in units of the mean. Near a power of 2 hardly any
# scale changes the deviance, and a far one would bring the mean near LARGEST_LOG.
LARGEST_LOG_SCALE = 10.0


@dataclass(frozen=True)
class TweedieDeviance(LogLinkLoss):
    """Half the Tweedie deviance under the log link.

    With a = 2 - power and b = power - 1 it is
    y / b * mu^-b + mu^a / a - y^a / (a b).

    Parameters
    ----------
    power : float, default=1.5
        Between 1, where it is the Poisson deviance, and 2, where it is that of gamma.
    min_noise : float or tuple of float, default=0.0
        Smallest dispersion, the ratio of the variance to the power of the mean; a tuple
        has one for each output.

    References
    ----------
    B. Jorgensen, The Theory of Dispersion Models, 1997. P. Dunn and G. Smyth, Series
    Evaluation of Tweedie Exponential Dispersion Model Densities, 2005.
    """

    power: float = 1.5
    min_noise: float | tuple = 0.0

    name = "tweedie"
    parameters = ("power",)

    @property
    def variance_power(self):
        return self.power

    @property
    def _exponents(self):
        return 2 - self.power, self.power - 1

    def target_scaling(self, target, sample_weight):
        """Scaling to a deviance of 1 a row around the mean, as far as one does it."""
        a, b = self._exponents
        mean = super().target_scaling(target, sample_weight).scale
        share = (sample_weight / sample_weight.sum())[:, None]
        moment = (share * (target / mean) ** a).sum(axis=0)
        # Equal values have no deviance but rounding.
        deviance = np.where(1 - moment > 1e-12, 2 * (1 - moment) / (a * b), 1.0)
        log_scale = np.log(deviance) / a
        log_scale = np.clip(log_scale, -LARGEST_LOG_SCALE, LARGEST_LOG_SCALE)
        return AffineScaling(np.zeros_like(mean), mean * np.exp(log_scale))

    def for_target(self, target, sample_weight, scale):
        # A target is zero with the probability exp(-mean^a / (a dispersion)), from
        # which the dispersion follows. Where nearly all are zero, the deviance is far
        # below it; where few are, the deviance tells it, and their share is no bound.
        a, _ = self._exponents
        mean = AffineScaling.standard(target, sample_weight).centre / scale
        zeros = sample_weight @ (target == 0) / sample_weight.sum()
        rate = -np.log(np.where(zeros > 0, zeros, 1.0))
        noise = np.where(
            zeros > 0, zeros * mean**a / (a * np.where(rate > 0, rate, 1)), 0
        )
        return replace(self, min_noise=tuple(noise.tolist()))

    def elements(self, raw, target):
        a, b = self._exponents
        inside = raw.clamp(-LARGEST_LOG, LARGEST_LOG)
        above = (raw - LARGEST_LOG).clamp(min=0)
        below = (-LARGEST_LOG - raw).clamp(min=0)
        is_zero = target <= TINY
        # Not as the difference of powers, in which large targets would cancel.
        ratio = torch.where(is_zero, 1.0, target).log() - inside
        bracket = (torch.expm1(ratio) - torch.expm1(a * ratio) / a) / b
        value = (a * inside).exp() * torch.where(is_zero, 1 / a, bracket)
        more = math.exp(a * LARGEST_LOG) * (above + 0.5 * a * above.square())
        more = more + math.exp(-a * LARGEST_LOG) * torch.expm1(-a * below) / a
        of_target = math.exp(b * LARGEST_LOG) * (below + 0.5 * b * below.square())
        of_target = of_target + math.exp(-b * LARGEST_LOG) * torch.expm1(-b * above) / b
        return value + more + target * of_target

    def gradient(self, raw, target):
        a, b = self._exponents
        least, most = raw.clamp(max=LARGEST_LOG), raw.clamp(min=-LARGEST_LOG)
        push = (a * least).exp() * (1 + a * (raw - least))
        return push - target * (-b * most).exp() * (1 + b * (most - raw))

    def curvature(self, raw, target):
        a, b = self._exponents
        push = a * (a * raw.clamp(max=LARGEST_LOG)).exp()
        return push + b * target * (-b * raw.clamp(min=-LARGEST_LOG)).exp()
