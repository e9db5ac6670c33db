"""Losses to which the constants of formulas are fitted, with gradient and curvature.

They know neither formulas nor networks, only outputs and what these should be.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import expit

from skkan.losses._base import LogLinkLoss

EXPONENT = 30.0  # largest |log odds| that count: separable classes have no best ones
HOPELESS = 0.05  # of what is missing to be of use: a step that promises less ends a fit
LEAST_CURVATURE = 1e-6  # of a log loss, so that steps are finite where all is certain


class FitLoss(ABC):
    """What is to be least, a sum over rows of outputs of a formula.

    The outputs are (n_samples, n_outputs) in what the link inverts (the units of the
    target, log odds, logarithms of the mean), the weights of
    the rows (n_samples,) count as repetitions.
    """

    @abstractmethod
    def value(self, output):
        """The loss."""

    @abstractmethod
    def expansion(self, output, jacobian):
        """Gradient and curvature of the loss, as those of half a sum of squares.

        `jacobian` is that of the outputs, (n_samples, n_outputs, n_free).

        Returns
        -------
        J : ndarray of shape (n_samples * n_outputs, n_free)
        s : ndarray of shape (n_samples * n_outputs,)
            The gradient is J^T s, the curvature J^T J.
        """

    @abstractmethod
    def nats(self, output):
        """Code length of the data, up to a constant."""

    @property
    @abstractmethod
    def least_nats(self):
        """What `nats` is at a perfect fit."""

    @abstractmethod
    def worth(self, value, nats, goal):
        """Decrease of the loss from a value that makes a step worth it.

        It saves that many nats, to first order. Where the loss is in nats, it also is
        one that leads to the goal, at which the formula would be of use, in a number
        of steps.
        """

    @property
    def n_observations(self):
        """Number of rows, repetitions included."""
        return float(self.weight.sum())

    def of_rows(self, rows):
        """The same loss of some of the rows, given by their index."""
        return replace(self, target=self.target[rows], weight=self.weight[rows])


class NoisyFitLoss(FitLoss):
    """Deviances around the outputs, with a noise that is unknown, one for each output.

    Attributes
    ----------
    floor : float
        Root of the mean scaled deviance that counts as exact.
    """

    @abstractmethod
    def _deviances(self, output):
        """Deviances in those of the target around a constant, of the outputs' shape."""

    def value(self, output):
        return 0.5 * float(self.weight @ self._deviances(output).sum(1))

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
class SquaredError(NoisyFitLoss):
    """Normal noise of unknown deviation, one for each output.

    Attributes
    ----------
    target : ndarray of shape (n_samples, n_outputs)
    weight : ndarray of shape (n_samples,)
    scale : ndarray of shape (n_outputs,)
        Standard deviation of the target.
    floor : float
        Share of it that counts as exact.
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
class LogMean(NoisyFitLoss):
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
        """The loss of a target, whose mean says the rest."""
        mean = weight @ target / weight.sum()
        one, centre = np.ones_like(mean), np.log(mean)
        unscaled = cls(target / mean, weight, loss, centre, one, floor)
        around = unscaled._deviances(np.broadcast_to(centre, target.shape))
        scale = weight @ around / weight.sum()
        # Equal values have none but rounding.
        return replace(unscaled, scale=np.where(scale > 1e-12, scale, 1.0))

    def _of_rows(self, function, output):
        """A function of raw output and target, where the raw output is bounded."""
        raw = np.clip(output - self.centre, -EXPONENT, EXPONENT)
        return function(torch.from_numpy(raw), torch.from_numpy(self.target)).numpy()

    def _deviances(self, output):
        half = self._of_rows(self.loss.elements, output)
        return 2 * np.maximum(half, 0.0) / self.scale

    def expansion(self, output, jacobian):
        inside = np.abs(output - self.centre) < EXPONENT  # beyond, the loss is flat
        gradient = self._of_rows(self.loss.gradient, output)
        curvature = self._of_rows(self.loss.curvature, output)
        curvature = np.maximum(curvature, LEAST_CURVATURE)
        root = np.sqrt(self.weight[:, None] * curvature / self.scale)
        residuals = self.weight[:, None] * gradient * inside / (self.scale * root)
        slopes = root[..., None] * jacobian
        return slopes.reshape(-1, jacobian.shape[-1]), residuals.ravel()


@dataclass(frozen=True, eq=False)
class Deviance(FitLoss):
    """Log loss of labels, or of classes that exclude each other.

    Attributes
    ----------
    target : ndarray of shape (n_samples, n_outputs)
        Indicators of the labels, or of the classes if they exclude each other.
    weight : ndarray of shape (n_samples,)
    exclusive : bool
    """

    target: np.ndarray
    weight: np.ndarray
    exclusive: bool

    def value(self, output):
        output = np.clip(output, -EXPONENT, EXPONENT)
        if self.exclusive:
            losses = _logsumexp(output)[:, 0] - (self.target * output).sum(1)
        else:
            losses = (np.logaddexp(0, output) - self.target * output).sum(1)
        return float(self.weight @ losses)

    def expansion(self, output, jacobian):
        inside = np.abs(output) < EXPONENT  # beyond, the loss is flat
        output = np.clip(output, -EXPONENT, EXPONENT)
        if not self.exclusive:
            share = expit(output)
            root = np.sqrt(np.maximum(share * (1 - share), LEAST_CURVATURE))
            slopes = root[..., None] * jacobian
        else:
            # The curvature diag(p) - p p^T is A^T A with A = diag(sqrt(p)) (1 - 1 p^T).
            share = np.exp(output - _logsumexp(output))
            root = np.sqrt(np.maximum(share, LEAST_CURVATURE))
            mean = np.einsum("no,nop->np", share, jacobian)
            slopes = root[..., None] * (jacobian - mean[:, None])
        weight = np.sqrt(self.weight)[:, None]
        residuals = weight * (share - self.target) * inside / root
        slopes = (weight[..., None] * slopes).reshape(-1, jacobian.shape[-1])
        return slopes, residuals.ravel()

    def nats(self, output):
        return self.value(output)

    @property
    def least_nats(self):
        return 0.0

    def worth(self, value, nats, goal):
        return max(nats, HOPELESS * (value - goal))


def _logsumexp(output):
    """log(sum(exp(output))) of each row, (n_samples, 1); the output is bounded."""
    return np.log(np.exp(output).sum(axis=1, keepdims=True))
