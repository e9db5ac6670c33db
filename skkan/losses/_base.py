"""Losses of a raw network output against a target matrix.

A `Loss` is a function of the raw output, before the link. It knows nothing of networks
or penalties.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch

from skkan.data._scaling import AffineScaling

SMALLEST_MEAN, LARGEST_MEAN = -708.0, 709.0  # logarithms of what a prediction can be
TINY = 1e-300  # smallest target of a logarithm


class Loss(ABC):
    """A convex loss of the raw output.

    Conventions: `raw` and `target` have shape (n_samples, n_outputs), the value has
    shape (n_samples,). The losses of the outputs of a sample add up. The prediction is
    `inverse_link(raw)`. Targets of classification are indicators, 0.0 or 1.0. The value
    is a negative log-likelihood up to a constant. With `has_noise` it is half a
    deviance, and the negative log-likelihood is its quotient by the noise: the variance
    of normal errors, or the dispersion of a quasi-likelihood. Training learns the
    noise, which is at least `min_noise`, or `min_shared_noise` where the outputs have
    one in common. If targets are multiplied by c, the noise is multiplied by
    c**noise_power.

    References
    ----------
    J. Nelder and D. Pregibon, An Extended Quasi-Likelihood Function, 1987.
    """

    name = None  # value of the estimator's parameter `loss`
    parameters = ()  # names of further parameters of the estimator, which set fields
    positive_only = False  # whether `checked_target` refuses negative numbers
    has_noise = False
    min_noise = 0.0
    noise_power = 0.0
    is_normal = False  # whether the noise is the variance of normal errors
    has_log_link = False
    # Size of a curve of the raw output, a priori. Log odds of 10 are as good as
    # certain, and so is a factor of e^10 between means.
    size_of_curves = 10.0
    variance_power = None  # of the mean, to which the variance is proportional
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

    def checked_target(self, y):
        """y, after a check that the loss is defined for all of its values.

        Parameters
        ----------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Target of training or validation rows in the user's units.

        Raises
        ------
        ValueError
            If it is not.
        """
        return y

    def target_scaling(self, target, sample_weight):
        """Scaling after which the loss has unit size; by default that of a deviation.

        Parameters
        ----------
        target : ndarray of shape (n_samples, n_outputs)
            Target of the training rows in the user's units.
        sample_weight : ndarray of shape (n_samples,)

        Returns
        -------
        AffineScaling
            With a log link its centre is zero.

        Raises
        ------
        ValueError
            If such a target does not determine the scale.
        """
        return AffineScaling.standard(target, sample_weight)

    def for_target(self, target, sample_weight, scale):
        """The loss with the fields that depend on the target; by default itself.

        Parameters
        ----------
        target : ndarray of shape (n_samples, n_outputs)
            Target of the training rows in the user's units.
        sample_weight : ndarray of shape (n_samples,)
        scale : ndarray of shape (n_outputs,)
            That of `target_scaling`.

        Returns
        -------
        Loss
        """
        return self

    def adapted(self, raw, target, sample_weight):
        """The loss for the noise that residuals show; by default itself."""
        return self

    def moderated(self, raw, jacobian):
        """Raw output whose prediction is the mean prediction over a posterior.

        Parameters
        ----------
        raw : Tensor of shape (n_samples, n_outputs)
        jacobian : Tensor of shape (n_outputs, n_parameters, n_samples)
            Whitened Jacobian of the raw output; see
            `skkan.inference._laplace_posterior.whitened_jacobian`.

        Returns
        -------
        Tensor of shape (n_samples, n_outputs)
            Losses with a noise return `raw` itself.
        """
        return raw

    @property
    def exact(self):
        """The loss without any smoothing."""
        return self

    @property
    def min_shared_noise(self):
        """Mean of `min_noise` over the outputs."""
        return float(np.mean(self.min_noise))


class NoisyLoss(Loss):
    """A loss that treats outputs separately, with a noise that training learns."""

    has_noise = True
    # The scaled target has a deviation of 1. On five tables, with 1 to 10 hidden nodes,
    # curves had deviations of at most 3 under this value, and of 5.4 under 1.
    size_of_curves = 0.7

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
        """Elements with a limit for outliers, from which the noise is estimated.

        The gradient of a far outlier does not depend on its distance. Neither does its
        share in the noise.
        """
        return self.elements(raw, target)

    def deviances(self, raw, target):
        """Twice the bounded loss of each output of each sample."""
        return 2 * self.bounded(raw, target)

    def noise_of(self, raw, target, sample_weight, variance=0.0):
        """Noise estimated from predictions of validation rows.

        Parameters
        ----------
        raw, target : Tensor of shape (n_samples, n_outputs)
        sample_weight : Tensor of shape (n_samples,)
        variance : float or Tensor of shape (n_samples,), default=0.0
            Variance of the predictions in units of the noise; for normal errors only.

        Returns
        -------
        Tensor of shape (n_outputs,)
        """
        return sample_weight @ self.deviances(raw, target) / sample_weight.sum()


class LogLinkLoss(NoisyLoss):
    """Half a deviance under the log link, of targets that are not negative."""

    has_log_link = True
    size_of_curves = Loss.size_of_curves
    positive_only = True
    takes_zero = True  # whether a target may be 0, as long as one is not

    @property
    def noise_power(self):
        return 2.0 - self.variance_power

    def checked_target(self, y):
        smallest = y.min(initial=np.inf)
        if self.takes_zero and smallest < 0:
            raise ValueError(
                f"loss={self.name!r} requires non-negative y and sum(y) > 0, got "
                f"values down to {smallest:.4g}: drop those rows, or set "
                "loss='squared_error'."
            )
        if not self.takes_zero and smallest <= 0:
            raise ValueError(
                f"loss={self.name!r} requires strictly positive y, got values down to "
                f"{smallest:.4g}: drop those rows, or set loss='poisson', which takes "
                "zeros."
            )
        return y

    def target_scaling(self, target, sample_weight):
        """Scaling by the mean, which must not be zero."""
        if not (target > 0).any(axis=0).all():
            raise ValueError(
                f"loss={self.name!r} requires non-negative y and sum(y) > 0, got only "
                "zeros: there is nothing to learn a mean from. Add rows, or leave this "
                "fit out."
            )
        mean = AffineScaling.standard(target, sample_weight).centre
        return AffineScaling(np.zeros_like(mean), mean)

    def inverse_link(self, raw):
        return raw.clamp(SMALLEST_MEAN, LARGEST_MEAN).exp()

    def baseline(self, target, sample_weight):
        mean = sample_weight @ target / sample_weight.sum()
        return mean.clamp(min=TINY).log()
