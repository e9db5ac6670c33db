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
    `inverse_link(raw)`. Targets of classification are indicators, 0.0 or 1.0.
    """

    @abstractmethod
    def value(self, raw, target):
        """Loss of each sample."""

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

    def value(self, raw, target):
        return 0.5 * (raw - target).square().sum(1)

    def inverse_link(self, raw):
        return raw

    def baseline(self, target, sample_weight):
        # The target arrives standardised; what is left of its mean is rounding.
        return target.new_zeros(target.shape[1])


class BinaryLogLoss(Loss):
    """Negative log-likelihood of independent yes-no labels under the logit link."""

    def value(self, raw, target):
        return (functional.softplus(raw) - target * raw).sum(1)

    def inverse_link(self, raw):
        return torch.sigmoid(raw)

    def baseline(self, target, sample_weight):
        return torch.logit(_class_share(target, sample_weight, 2))


class MultinomialLogLoss(Loss):
    """Negative log-likelihood of one class of several under the softmax link."""

    def value(self, raw, target):
        return torch.logsumexp(raw, dim=1) - (target * raw).sum(1)

    def inverse_link(self, raw):
        return torch.softmax(raw, dim=1)

    def baseline(self, target, sample_weight):
        return torch.log(_class_share(target, sample_weight, target.shape[1]))


def _class_share(target, sample_weight, n_classes):
    count = sample_weight @ target + PRIOR_COUNT
    return count / (sample_weight.sum() + PRIOR_COUNT * n_classes)


REGRESSION_LOSSES = {"squared_error": SquaredError}
