"""Losses of a raw network output against a target matrix.

A `Loss` is a function of the raw output (before the link). It knows nothing of
networks or penalties.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional

from skkan._scaling import NORMAL_MEDIAN

# Logarithms beyond which an exponential goes on as its Taylor polynomial of second
# order. No mean is so far from that of all rows; steps that try it stay finite.
LARGEST_LOG = 50.0
SMALLEST_MEAN, LARGEST_MEAN = -708.0, 709.0  # logarithms of what a prediction can be
TINY = 1e-300  # smallest target of a logarithm
# Deviations of normal noise at which errors begin to count linearly: an efficiency of
# 95% where the noise is normal after all (Huber, Robust Statistics, 1981).
HUBER_DELTA = 1.345
COVERED, COVERING = 0.9, 1.645  # of normal errors, within that many deviations
# Width of the smoothing of quantiles before there are residuals, in deviations of the
# target.
SMOOTHING = 0.1
# Afterwards that share of the distance from the quantile within which lies that share
# of the rows beyond it. At the median of normal noise, 0.1 of its deviation.
NEAR_WIDTH, NEAR_SHARE = 0.4, 0.4
LEAST_SPREAD = 1e-3  # of residuals, in the spread of the target
OUTLYING = 4.0  # deviations of the noise, from which a residual counts as this one
SIMILAR = 1.25  # ratio of spreads that are not worth another training
MOST_REWEIGHTINGS = 100
EXACT = 1e-12  # width of a smoothing that does not show


class Loss(ABC):
    """A convex loss of the raw output.

    Conventions: `raw` and `target` have shape (n_samples, n_outputs), the value shape
    (n_samples,). Outputs of one sample add up. The prediction is
    `inverse_link(raw)`. Targets of classification are indicators, 0.0 or 1.0. The value
    is a negative log-likelihood up to a constant. With `has_noise` it is half a
    deviance, to be divided by a noise that is still to be learnt: the variance of
    normal errors, or the dispersion of a quasi-likelihood, of at least `least_noise`;
    of a noise that outputs share, the least is `least_shared_noise`. Multiplying
    targets by a factor multiplies it by the factor to the `noise_power`.

    References
    ----------
    J. Nelder and D. Pregibon, An Extended Quasi-Likelihood Function, 1987.
    """

    has_noise = False
    least_noise = 0.0
    noise_power = 0.0
    is_normal = False  # whether the noise is the variance of normal errors
    has_log_link = False
    is_adaptive = False  # whether `adapted` depends on the residuals

    @abstractmethod
    def value(self, raw, target):
        """Loss of each sample."""

    @abstractmethod
    def gradient(self, raw, target):
        """Derivative of the value with respect to `raw`, of the shape of `raw`."""

    @abstractmethod
    def curvature_root(self, raw, target):
        """Root R of the Hessian of the value with respect to `raw`: R^T R = H.

        Where the value is nearly linear, H is the curvature of a parabola that touches
        it in `raw` and lies above it elsewhere.

        Parameters
        ----------
        raw, target : Tensor of shape (n_samples, n_outputs)

        Returns
        -------
        Tensor of shape (n_samples, n_outputs, n_outputs)
        """

    @abstractmethod
    def inverse_link(self, raw):
        """Prediction from the raw output."""

    @abstractmethod
    def baseline(self, target, sample_weight):
        """Raw output of the best constant model, to which the network adds.

        Parameters
        ----------
        target : Tensor of shape (n_samples, n_outputs)
        sample_weight : Tensor of shape (n_samples,)
            Positive weights, which count as repetitions.

        Returns
        -------
        Tensor of shape (n_outputs,)
        """

    def adapted(self, raw, target, sample_weight):
        """The loss for the noise that residuals show; itself where it knows of none."""
        return self

    def moderated(self, raw, deviations):
        """Raw output whose prediction is the mean one over a posterior.

        Parameters
        ----------
        raw : Tensor of shape (n_samples, n_outputs)
        deviations : Tensor of shape (n_outputs, n_parameters, n_samples)
            Of the raw output; see `skkan._posterior.deviations`.

        Returns
        -------
        Tensor of shape (n_samples, n_outputs)
            The same where the loss has a noise, so that its own mean is to be told.
        """
        return raw

    @property
    def exact(self):
        """The loss without any smoothing."""
        return self

    @property
    def least_shared_noise(self):
        """Mean of the least noise of the outputs."""
        return float(np.mean(self.least_noise))


class NoisyLoss(Loss):
    """A loss of each output on its own, with a noise that is still to be learnt."""

    has_noise = True

    @abstractmethod
    def elements(self, raw, target):
        """Loss of each output of each sample, of the shape of `raw`."""

    @abstractmethod
    def curvature(self, raw, target):
        """Diagonal of the Hessian, of the shape of `raw`; see `curvature_root`."""

    def value(self, raw, target):
        return self.elements(raw, target).sum(1)

    def curvature_root(self, raw, target):
        return torch.diag_embed(self.curvature(raw, target).sqrt())

    def bounded(self, raw, target):
        """Elements as they count for the noise, in which no outlier has all the say.

        Far outliers pull with the same force wherever they are; what they add to the
        value is nearly a constant.
        """
        return self.elements(raw, target)

    def deviances(self, raw, target):
        """Twice the bounded loss of each output of each sample."""
        return 2 * self.bounded(raw, target)

    def noise_of(self, raw, target, sample_weight, variance=0.0):
        """Noise that predictions of rows show which were not trained on.

        Parameters
        ----------
        raw, target : Tensor of shape (n_samples, n_outputs)
        sample_weight : Tensor of shape (n_samples,)
        variance : float or Tensor of shape (n_samples,), default=0.0
            Of the predictions, in units of the noise; of normal errors only.

        Returns
        -------
        Tensor of shape (n_outputs,)
        """
        return sample_weight @ self.deviances(raw, target) / sample_weight.sum()


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
        return _mean_of_log(raw)

    def baseline(self, target, sample_weight):
        return _log_mean(target, sample_weight)


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
        return _mean_of_log(raw)

    def baseline(self, target, sample_weight):
        return _log_mean(target, sample_weight)


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

    is_adaptive = True
    noise_power = 2.0

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
        constant = _quantile(target, sample_weight, 0.5)
        for _ in range(MOST_REWEIGHTINGS):
            weight = self.curvature(constant.expand_as(target), target)
            weight = sample_weight.unsqueeze(1) * weight
            constant = (weight * target).sum(0) / weight.sum(0)
        return constant

    def adapted(self, raw, target, sample_weight):
        delta = HUBER_DELTA * _spread(target - raw, sample_weight)
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

    is_adaptive = True
    noise_power = 1.0

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
        # The Hessian sees few rows; with the parabola steps and evidence know of all.
        small = half.abs() < 1e-4  # where the quotient is 1 up to rounding
        safe = torch.where(small, 1.0, half)
        return torch.where(small, 1.0, torch.tanh(safe) / safe) / (4 * width)

    def inverse_link(self, raw):
        return raw

    def baseline(self, target, sample_weight):
        return _quantile(target, sample_weight, target.new_tensor(self.quantile))

    def adapted(self, raw, target, sample_weight):
        # What the smoothing moves is as dense as the rows near the quantile, whatever
        # the others do: where noise is skewed, grows with a feature or has outliers,
        # these are much closer than a deviation of all of them.
        residual = target - raw
        near = NEAR_SHARE * self._least_share(raw)
        width = NEAR_WIDTH * _quantile(residual.abs(), sample_weight, near)
        width = width.clamp(min=SMOOTHING * LEAST_SPREAD)
        if _is_similar(raw.new_tensor(self.width), width):
            return self
        spread = _spread(residual, sample_weight)
        return replace(self, width=tuple(width.tolist()), spread=tuple(spread.tolist()))

    def _least_share(self, raw):
        """Share of the rows beyond the quantile, on the side where they are fewer."""
        quantile = raw.new_tensor(self.quantile)
        return torch.minimum(quantile, 1 - quantile)

    @property
    def exact(self):
        return replace(self, width=EXACT)


def _mean_of_log(raw):
    return raw.clamp(SMALLEST_MEAN, LARGEST_MEAN).exp()


def _log_mean(target, sample_weight):
    mean = sample_weight @ target / sample_weight.sum()
    return mean.clamp(min=TINY).log()


def _quantile(values, sample_weight, share):
    """Quantile of each column, where weights are repetitions."""
    values, order = values.sort(dim=0)
    total = sample_weight[order].cumsum(0)
    # Moved by less than any weight, against rounding of the sum.
    index = (total < share * (1 - 1e-10) * total[-1]).sum(0, keepdim=True)
    return values.gather(0, index).squeeze(0)


def _spread(residual, sample_weight):
    """Deviation of the noise, half of which may be outliers.

    It is half the length of the shortest interval with half of the residuals, in that
    of normal ones. Unlike their median absolute deviation it is the same wherever they
    are: outliers on one side, which move the fit, do not count for more by that.

    References
    ----------
    P. Rousseeuw and A. Leroy, A Robust Scale Estimator Based on the Shortest Half,
    1988.
    """
    values, order = residual.sort(dim=0)
    weight = sample_weight[order]
    total = weight.cumsum(0)
    # Moved by less than any weight, against rounding of the sum.
    half = 0.5 * (1 - 1e-10) * total[-1]
    sums, ends = (part.T.contiguous() for part in (total, total - weight + half))
    last = torch.searchsorted(sums, ends).T.contiguous()
    is_whole = last < len(values)
    upper = values.gather(0, last.clamp(max=len(values) - 1))
    length = torch.where(is_whole, upper - values, torch.inf).amin(0)
    return (length / (2 * NORMAL_MEDIAN)).clamp(min=LEAST_SPREAD)


def _is_similar(one, other):
    return bool(((one <= SIMILAR * other) & (other <= SIMILAR * one)).all())


REGRESSION_LOSSES = {
    "squared_error": SquaredError,
    "poisson": PoissonDeviance,
    "gamma": GammaDeviance,
    "huber": Huber,
    "quantile": Pinball,
}
