"""Losses of classes, and mean probabilities over the posterior of raw outputs.

Classes have no noise. The uncertainty of a raw output enters its probability, which is
the mean over the posterior.
"""

from abc import abstractmethod

import numpy as np
import torch
from torch.nn import functional

from skkan.losses._base import Loss
from skkan.losses._moderated_probabilities import logit_of_mean

PRIOR_COUNT = 0.5  # added to each class (Jeffreys), so that an absent one stays finite
# Difference of the two largest logits below which it counts as this one, as a quotient
# by it would be 0 / 0 at a tie.
MIN_LEAD = 0.1
N_NODES = 7  # of the Gauss-Hermite rule for means of one output over a posterior


class ClassLoss(Loss):
    """A negative log-likelihood of classes, without a noise."""

    @abstractmethod
    def quadrature_points(self, jacobian):
        """Quadrature rule for means over the posterior of the raw output.

        Parameters
        ----------
        jacobian : Tensor of shape (n_outputs, n_parameters, n_samples)
            See `moderated`.

        Returns
        -------
        points : Tensor of shape (n_samples, n_points, n_outputs)
            Differences from the raw output at the mode.
        share : Tensor of shape (n_points,)
            Their weights, which sum to one.
        """

    @abstractmethod
    def mean_hessian(self, raw, share):
        """Weighted mean over points of the Hessian with respect to the raw output.

        Parameters
        ----------
        raw : Tensor of shape (n_samples, n_points, n_outputs)
        share : Tensor of shape (n_points,)
            They sum to one.

        Returns
        -------
        Tensor of shape (n_samples, n_outputs, n_outputs)
        """


class BinaryLogLoss(ClassLoss):
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

    def moderated(self, raw, jacobian):
        return logit_of_mean(raw, jacobian.square().sum(1).T)

    def quadrature_points(self, jacobian):
        # The losses of outputs add up, so that each output has a rule of its own.
        nodes, share = np.polynomial.hermite_e.hermegauss(N_NODES)
        std = jacobian.square().sum(1).sqrt().T
        points = std.unsqueeze(1) * std.new_tensor(nodes).unsqueeze(1)
        return points, std.new_tensor(share / share.sum())

    def mean_hessian(self, raw, share):
        variance = torch.sigmoid(raw) * torch.sigmoid(-raw)
        return torch.diag_embed(torch.einsum("p,npa->na", share, variance))


class MultinomialLogLoss(ClassLoss):
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

    def moderated(self, raw, jacobian):
        # All logits shrink by one factor, that of the two largest ones, so that the
        # order of the classes stays.
        (most, next_most), (first, second) = (part.T for part in raw.topk(2, dim=1))
        row = torch.arange(len(raw), device=raw.device)
        apart = jacobian[first, :, row] - jacobian[second, :, row]
        lead = (most - next_most).clamp(min=MIN_LEAD)
        share = logit_of_mean(lead, apart.square().sum(1)) / lead
        return raw * share.unsqueeze(1)

    def quadrature_points(self, jacobian):
        # On the principal axes of the logits without their mean, at distances that
        # give their covariance.
        apart = jacobian - jacobian.mean(0)
        covariance = torch.einsum("apn,bpn->nab", apart, apart)
        squares, axes = torch.linalg.eigh(covariance)
        n_axes = len(jacobian) - 1  # along the first one all outputs are the same
        length = (n_axes * squares[:, 1:].clamp(min=0.0)).sqrt()
        points = length.unsqueeze(2) * axes[:, :, 1:].mT
        share = points.new_full((2 * n_axes,), 0.5 / n_axes)
        return torch.cat([points, -points], dim=1), share

    def mean_hessian(self, raw, share):
        # diag(p) - p p^T. Its diagonal is minus the sum of the rest of the row: near 1,
        # p - p^2 would cancel.
        probability = torch.softmax(raw, dim=2)
        products = (share.unsqueeze(1) * probability).mT @ probability
        products.diagonal(dim1=1, dim2=2).zero_()
        return torch.diag_embed(products.sum(2)) - products


def _class_share(target, sample_weight, n_classes):
    count = sample_weight @ target + PRIOR_COUNT
    return count / (sample_weight.sum() + PRIOR_COUNT * n_classes)
