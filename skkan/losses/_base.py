"""Losses of a raw network output against a target matrix.

A `Loss` is a function of the raw output, before the link. It knows nothing of networks
or penalties.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch


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
            Of the raw output; see `skkan.inference._laplace_posterior.deviations`.

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
