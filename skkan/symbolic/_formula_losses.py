"""Losses for the constants of formulas, with gradient and curvature.

They know neither formulas nor networks, only outputs and targets.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import expit

from skkan.losses._base import LogLinkLoss

# Bound of |log odds|: for separable classes the loss has no minimum.
MAX_LOG_ODDS = 30.0
# A step must promise this share of the distance to a useful loss.
MIN_PROGRESS = 0.05
MIN_CURVATURE = 1e-6  # of a log loss: steps stay finite where all is certain


class FormulaLoss(ABC):
    """Loss of a formula's outputs, a sum over rows.

    The outputs have shape (n_samples, n_outputs). Their units are those before the
    inverse link: units of the target, log odds, or logarithms of the mean. The weights
    of the rows, of shape (n_samples,), count as repetitions.
    """

    @abstractmethod
    def value(self, output):
        """The loss."""

    @abstractmethod
    def of_each_row(self, output):
        """Loss of each row without its weight, ndarray of shape (n_samples,).

        A mean of zero is that of a perfect fit.
        """

    @abstractmethod
    def noise(self, output):
        """Standard deviation of the residuals of `expansion`, from their size."""

    @abstractmethod
    def expansion(self, output, jacobian):
        """Gradient and curvature of the loss, in the form of half a sum of squares.

        Parameters
        ----------
        output : ndarray of shape (n_samples, n_outputs)
        jacobian : ndarray of shape (n_samples, n_outputs, n_free)
            Of the outputs.

        Returns
        -------
        J : ndarray of shape (n_samples * n_outputs, n_free)
        s : ndarray of shape (n_samples * n_outputs,)
            The gradient is J^T s, the curvature J^T J.
        """

    @abstractmethod
    def nats(self, output):
        """Code length of the data in nats, up to a constant."""

    @property
    @abstractmethod
    def least_nats(self):
        """Value of `nats` at a perfect fit."""

    @abstractmethod
    def worth(self, value, nats, goal):
        """Least decrease of the loss, from a value, for which a step is taken.

        To first order it saves `nats`. Where the loss is in nats, it is at least the
        share MIN_PROGRESS of the distance to the goal, at which the formula would be
        useful.
        """

    @property
    def n_observations(self):
        """Number of rows, repetitions included."""
        return float(self.weight.sum())

    def of_rows(self, rows):
        """Loss of some of the rows, given by their index."""
        return replace(self, target=self.target[rows], weight=self.weight[rows])


class NoisyFormulaLoss(FormulaLoss):
    """Deviance with one unknown noise for each output.

    Attributes
    ----------
    floor : float
        Root of the mean scaled deviance below which a fit counts as exact.
    """

    @abstractmethod
    def _deviances(self, output):
        """Deviances of shape (n_samples, n_outputs), with mean 1 around a constant."""

    def value(self, output):
        return 0.5 * float(self.weight @ self._deviances(output).sum(1))

    def of_each_row(self, output):
        return self._deviances(output).mean(1)

    def noise(self, output):
        return math.sqrt(2 * self.value(output) / self.n_observations + self.floor**2)

    def nats(self, output):
        with np.errstate(over="ignore"):
            deviances = self.weight @ self._deviances(output)
            noise = deviances / self.n_observations + self.floor**2
        return 0.5 * self.n_observations * float(np.log(noise).sum())

    @property
    def least_nats(self):
        return self.n_observations * self.target.shape[1] * math.log(self.floor)

    def worth(self, value, nats, goal):
        return nats * (2 * value / self.n_observations + self.floor**2)


@dataclass(frozen=True, eq=False)
class FormulaSquaredError(NoisyFormulaLoss):
    """Squared error: normal noise with one unknown deviation for each output.

    Attributes
    ----------
    target : ndarray of shape (n_samples, n_outputs)
    weight : ndarray of shape (n_samples,)
    scale : ndarray of shape (n_outputs,)
        Standard deviation of the target.
    floor : float
        Share of `scale` below which an error counts as exact.
    """

    target: np.ndarray
    weight: np.ndarray
    scale: np.ndarray
    floor: float

    def _deviances(self, output):
        return np.square((output - self.target) / self.scale)

    def expansion(self, output, jacobian):
        root = np.sqrt(self.weight)[:, None] / self.scale
        residuals = root * (output - self.target)
        slopes = root[..., None] * jacobian
        return slopes.reshape(-1, jacobian.shape[-1]), residuals.ravel()


@dataclass(frozen=True, eq=False)
class FormulaLogMeanDeviance(NoisyFormulaLoss):
    """Deviance of outputs that are logarithms of the mean.

    Attributes
    ----------
    target : ndarray of shape (n_samples, n_outputs)
        In units of its mean.
    weight : ndarray of shape (n_samples,)
    loss : LogLinkLoss
    centre : ndarray of shape (n_outputs,)
        Logarithm of the mean of the target.
    scale : ndarray of shape (n_outputs,)
        Mean deviance around that mean.
    floor : float
    """

    target: np.ndarray
    weight: np.ndarray
    loss: LogLinkLoss
    centre: np.ndarray
    scale: np.ndarray
    floor: float

    @classmethod
    def of_target(cls, target, weight, loss, floor):
        """Loss of a target, centred and scaled by its mean."""
        mean = weight @ target / weight.sum()
        one, centre = np.ones_like(mean), np.log(mean)
        unscaled = cls(target / mean, weight, loss, centre, one, floor)
        around = unscaled._deviances(np.broadcast_to(centre, target.shape))
        scale = weight @ around / weight.sum()
        # Equal values have no deviance but rounding errors.
        return replace(unscaled, scale=np.where(scale > 1e-12, scale, 1.0))

    def _of_rows(self, function, output):
        """Values of a function of raw output and target, for bounded raw output."""
        raw = np.clip(output - self.centre, -MAX_LOG_ODDS, MAX_LOG_ODDS)
        return function(torch.from_numpy(raw), torch.from_numpy(self.target)).numpy()

    def _deviances(self, output):
        half = self._of_rows(self.loss.elements, output)
        return 2 * np.maximum(half, 0.0) / self.scale

    def expansion(self, output, jacobian):
        inside = np.abs(output - self.centre) < MAX_LOG_ODDS  # beyond, the loss is flat
        gradient = self._of_rows(self.loss.gradient, output)
        curvature = self._of_rows(self.loss.curvature, output)
        curvature = np.maximum(curvature, MIN_CURVATURE)
        root = np.sqrt(self.weight[:, None] * curvature / self.scale)
        residuals = self.weight[:, None] * gradient * inside / (self.scale * root)
        slopes = root[..., None] * jacobian
        return slopes.reshape(-1, jacobian.shape[-1]), residuals.ravel()


@dataclass(frozen=True, eq=False)
class FormulaLogLoss(FormulaLoss):
    """Log loss of labels, or of exclusive classes.

    Attributes
    ----------
    target : ndarray of shape (n_samples, n_outputs)
        Indicators of the labels or of the classes.
    weight : ndarray of shape (n_samples,)
    exclusive : bool
        Whether a row has exactly one class.
    """

    target: np.ndarray
    weight: np.ndarray
    exclusive: bool

    def value(self, output):
        return float(self.weight @ self.of_each_row(output))

    def of_each_row(self, output):
        output = np.clip(output, -MAX_LOG_ODDS, MAX_LOG_ODDS)
        if self.exclusive:
            return _logsumexp(output)[:, 0] - (self.target * output).sum(1)
        return (np.logaddexp(0, output) - self.target * output).sum(1)

    def expansion(self, output, jacobian):
        inside = np.abs(output) < MAX_LOG_ODDS  # beyond, the loss is flat
        output = np.clip(output, -MAX_LOG_ODDS, MAX_LOG_ODDS)
        if not self.exclusive:
            probability = expit(output)
            root = np.sqrt(np.maximum(probability * (1 - probability), MIN_CURVATURE))
            slopes = root[..., None] * jacobian
        else:
            # The curvature diag(p) - p p^T is A^T A with A = diag(sqrt(p)) (1 - 1 p^T).
            probability = np.exp(output - _logsumexp(output))
            root = np.sqrt(np.maximum(probability, MIN_CURVATURE))
            mean = np.einsum("no,nop->np", probability, jacobian)
            slopes = root[..., None] * (jacobian - mean[:, None])
        weight = np.sqrt(self.weight)[:, None]
        residuals = weight * (probability - self.target) * inside / root
        slopes = (weight[..., None] * slopes).reshape(-1, jacobian.shape[-1])
        return slopes, residuals.ravel()

    def noise(self, output):
        return 1.0

    def nats(self, output):
        return self.value(output)

    @property
    def least_nats(self):
        return 0.0

    def worth(self, value, nats, goal):
        return max(nats, MIN_PROGRESS * (value - goal))


def _logsumexp(output):
    """log(sum(exp(output))) of each row, (n_samples, 1), for bounded outputs."""
    return np.log(np.exp(output).sum(axis=1, keepdims=True))
