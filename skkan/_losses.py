"""Losses of a raw network output against a target matrix.

A `Loss` is a function of the raw output (before the link). It knows nothing of
networks or penalties.
"""

from abc import ABC, abstractmethod

import torch
from torch.nn import functional

PRIOR_COUNT = 0.5  # added to each class (Jeffreys), so that an absent one stays finite


class Loss(ABC):
    """A convex loss of the raw output.

    Conventions: `raw` and `target` have shape (n_samples, n_outputs), the value shape
    (n_samples,). Outputs of one sample add up. The prediction is
    `inverse_link(raw)`. Targets of classification are indicators, 0.0 or 1.0. The value
    is a negative log-likelihood up to a constant: with `has_noise`, that of normal
    errors whose variance, in units of the target, is still to be learnt.
    """

    has_noise = False

    @abstractmethod
    def value(self, raw, target):
        """Loss of each sample."""

    @abstractmethod
    def gradient(self, raw, target):
        """Derivative of the value with respect to `raw`, of the shape of `raw`."""

    @abstractmethod
    def curvature_root(self, raw, target):
        """Root R of the Hessian of the value with respect to `raw`: R^T R = H.

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


class SquaredError(Loss):
    """Half the squared error of a standardised target.

    The factor 1/2 makes it the negative log-likelihood at unit noise.
    """

    has_noise = True

    def value(self, raw, target):
        return 0.5 * (raw - target).square().sum(1)

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


class BinaryLogLoss(Loss):
    """Negative log-likelihood of independent yes-no labels under the logit link."""

    def value(self, raw, target):
        return (functional.softplus(raw) - target * raw).sum(1)

    def gradient(self, raw, target):
        return torch.sigmoid(raw) - target

    def curvature_root(self, raw, target):
        probability = torch.sigmoid(raw)
        return torch.diag_embed((probability * torch.sigmoid(-raw)).sqrt())

    def inverse_link(self, raw):
        return torch.sigmoid(raw)

    def baseline(self, target, sample_weight):
        return torch.logit(_class_share(target, sample_weight, 2))


class MultinomialLogLoss(Loss):
    """Negative log-likelihood of one class of several under the softmax link."""

    def value(self, raw, target):
        return torch.logsumexp(raw, dim=1) - (target * raw).sum(1)

    def gradient(self, raw, target):
        return torch.softmax(raw, dim=1) - target

    def curvature_root(self, raw, target):
        # diag(p) - p p^T = R^T R with R = diag(sqrt(p)) (1 - 1 p^T)
        probability = torch.softmax(raw, dim=1)
        identity = torch.eye(raw.shape[1], dtype=raw.dtype, device=raw.device)
        centring = identity - probability.unsqueeze(1)
        return probability.sqrt().unsqueeze(2) * centring

    def inverse_link(self, raw):
        return torch.softmax(raw, dim=1)

    def baseline(self, target, sample_weight):
        return torch.log(_class_share(target, sample_weight, target.shape[1]))


def _class_share(target, sample_weight, n_classes):
    count = sample_weight @ target + PRIOR_COUNT
    return count / (sample_weight.sum() + PRIOR_COUNT * n_classes)


REGRESSION_LOSSES = {"squared_error": SquaredError}
