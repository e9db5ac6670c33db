"""Validation rows of a structure search: losses, weights and paired comparisons."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from skkan.data._dataset import Dataset
from skkan.data._observations import row_of_observations, share_of_rows
from skkan.losses._base import Loss
from skkan.numerics._floating_point import SMALLEST_DIVISOR
from skkan.selection import _settings


@dataclass(frozen=True, eq=False)
class ValidationRows:
    """Rows that a search does not fit, and the loss by which it compares outputs.

    Raw outputs are Tensors of shape (n_samples, n_outputs).
    """

    data: Dataset
    loss: Loss

    @torch.no_grad()
    def raw(self, networks):
        """Mean raw output of networks."""
        outputs = sum(network(self.data.X) for network in networks)
        return self.data.baseline + outputs / len(networks)

    def total_loss(self, raw):
        loss = self.loss.value(raw, self.data.target)
        return float(self.data.sample_weight @ loss)

    def error(self, raw):
        """Mean deviance of each output, Tensor of shape (n_outputs,)."""
        weight = self.data.sample_weight / self.data.sample_weight.sum()
        return weight @ self.loss.deviances(raw, self.data.target)

    def relative_error(self, raw):
        """Largest `error` of an output, as a fraction of a constant's."""
        constant = self.error(self.data.baseline.expand(raw.shape))
        return (self.error(raw) / constant.clamp(min=SMALLEST_DIVISOR)).amax()

    def paired_t(self, raw, reference):
        """Paired t statistic of the losses: positive where `raw` predicts better."""
        target = self.data.target
        difference = self.loss.value(reference, target) - self.loss.value(raw, target)
        if self.loss.has_noise:
            difference = _limited(difference, self.data.sample_weight)
        return _t_statistic(difference, self.data.sample_weight)

    def best_weight(self, raw, other):
        """Weight of `other` in the weighted mean with the lowest loss."""
        n_weights = _settings.SEARCH.n_weights
        weights = [step / n_weights for step in range(n_weights + 1)]
        losses = [self.total_loss(torch.lerp(raw, other, weight)) for weight in weights]
        return weights[int(np.argmin(losses))]


def validation_split(data, loss, generator):
    """Rows to fit, and rows to validate on.

    Returns
    -------
    fitted : Dataset
    validation : ValidationRows
    """
    counts = None if data.counts is None else data.counts.cpu().numpy()
    row_of = row_of_observations(data.n_rows, counts)
    order = torch.randperm(len(row_of), generator=generator).numpy()
    n_val = math.ceil(_settings.SEARCH.validation_fraction * len(order))
    share = share_of_rows(row_of, order[:n_val], data.n_rows)
    return _part(data, 1 - share), ValidationRows(_part(data, share), loss)


def _part(data, share):
    """Rows of which a share is used, with their weights in proportion."""
    weight = data.sample_weight * torch.from_numpy(share).to(data.sample_weight)
    used = torch.from_numpy(share > 0)
    return replace(data, sample_weight=weight).rows(used)


def _limited(difference, weight):
    """Differences of at most some multiple of their median.

    A single outlier must not decide. Rows of the wrong class must: they are few, and
    only they show that a model is overconfident.
    """
    median = np.quantile(
        difference.abs().cpu(), 0.5, weights=weight.cpu(), method="inverted_cdf"
    )
    limit = _settings.SEARCH.max_difference * median
    return difference.clamp(-limit, limit)


def _t_statistic(difference, weight):
    """Mean of the differences in its standard errors; weights count as repetitions."""
    total = weight.sum()
    mean = weight @ difference / total
    variance = weight @ (difference - mean).square() / total
    return float(mean / (variance / total).sqrt().clamp(min=SMALLEST_DIVISOR))
