"""Losses to which the constants of formulas are fitted, with gradient and curvature.

They know neither formulas nor networks, only outputs and what these should be.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

EXPONENT = 30.0  # largest |log odds| that count: separable classes have no best ones
HOPELESS = 0.05  # of what is missing to be of use: a step that promises less ends a fit
LEAST_CURVATURE = 1e-6  # of a log loss, so that steps are finite where all is certain


class FitLoss(ABC):
    """What is to be least, a sum over rows of outputs of a formula.

    The outputs are (n_samples, n_outputs) in the units of the target, the weights of
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


@dataclass(frozen=True, eq=False)
class SquaredError(FitLoss):
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

    def _residuals(self, output):
        return (output - self.target) / self.scale

    def value(self, output):
        return 0.5 * float(self.weight @ np.square(self._residuals(output)).sum(1))

    def expansion(self, output, jacobian):
        root = np.sqrt(self.weight)[:, None] / self.scale
        residuals = root * (output - self.target)
        slopes = root[..., None] * jacobian
        return slopes.reshape(-1, jacobian.shape[-1]), residuals.ravel()

    def nats(self, output):
        with np.errstate(over="ignore"):
            squares = self.weight @ np.square(self._residuals(output))
            variance = squares / self.n_observations + self.floor**2
        return 0.5 * self.n_observations * float(np.log(variance).sum())

    @property
    def least_nats(self):
        return self.n_observations * self.target.shape[1] * math.log(self.floor)

    def worth(self, value, nats, goal):
        return nats * (2 * value / self.n_observations + self.floor**2)


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
