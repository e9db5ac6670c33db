"""The sparsity terms of the KAN papers."""

import math
from dataclasses import dataclass, fields
from numbers import Real

import torch
from sklearn.utils._param_validation import Interval
from torch.autograd.function import once_differentiable

from skkan._parameter_ranges import check_fields
from skkan.network._layer import SMALLEST_VARIANCE
from skkan.numerics._floating_point import SMALLEST_DIVISOR
from skkan.penalties._base import Penalty

ENTROPY_FLOOR = 1e-4  # inside of the logarithm, as in pykan 0.2.8
INPUT_STD_FLOOR = 0.1  # added to the deviation of an input, as in pykan 0.2.8


@dataclass(frozen=True)
class SparsityPenalty(Penalty):
    """The papers' sparsity terms, which drive unneeded edges to zero.

    With A_oi = std(phi_oi) / (std(x_i) + 0.1), the activity of the edge from input i to
    output o, each layer adds

    lamb_l1 * sum(A) + lamb_entropy * (H_row + H_col)
    + lamb_coef * sum_i mean_o |c_oi| + lamb_coefdiff * sum_i mean_o |diff(c_oi)|

    where H_row = -mean_o sum_i p_oi log2(p_oi + 1e-4), p_oi = A_oi / (sum_i A_oi + 1),
    H_col is the same along the outputs, and c are the spline coefficients. Standard
    deviations are those of the (weighted) population. Of a category, c are its values,
    which have no order and no differences, and std(x_i) is 1.

    Parameters
    ----------
    lamb : float, default=0.01
        Overall weight, against the mean loss in standardised units.
    lamb_l1 : float, default=1.0
        Strength of the activity of the edges.
    lamb_entropy : float, default=2.0
        Strength of the entropy of the activity.
    lamb_coef : float, default=0.0
        Strength of the size of the spline coefficients.
    lamb_coefdiff : float, default=0.0
        Strength of the roughness of the spline coefficients.

    Raises
    ------
    ValueError
        If a weight is negative or not finite.

    References
    ----------
    Z. Liu et al., KAN: Kolmogorov-Arnold Networks, 2024, section 2.5.1; the formulas
    are those of the authors' implementation, pykan 0.2.8.

    Examples
    --------
    >>> from skkan import KANRegressor, SparsityPenalty
    >>> model = KANRegressor(penalty=SparsityPenalty(lamb=0.001))
    >>> model.penalty.lamb_entropy
    2.0
    """

    __module__ = "skkan"

    lamb: float = 0.01
    lamb_l1: float = 1.0
    lamb_entropy: float = 2.0
    lamb_coef: float = 0.0
    lamb_coefdiff: float = 0.0

    def __post_init__(self):
        penalty_weight = Interval(Real, 0, None, closed="left")
        check_fields(self, **{field.name: penalty_weight for field in fields(self)})

    def value(self, passes, sample_share):
        return self.lamb * sum(self._of_layer(step, sample_share) for step in passes)

    def _of_layer(self, step, sample_share):
        layer, basis = step.layer, step.layer.basis
        strengths = self.lamb_l1, self.lamb_entropy
        value = _OfActivity.apply(
            step.features,
            step.weight,
            _std_of_inputs(step, sample_share) + INPUT_STD_FLOOR,
            sample_share,
            layer.mask,
            strengths,
        )
        if self.lamb_coef:
            coef = basis.coefficients(layer.masked(step.weight))
            value = value + self.lamb_coef * coef.abs().mean(0).sum()
        if self.lamb_coefdiff:
            weight = layer.masked(step.weight)
            jumps = weight[:, basis.is_number, : basis.n_splines].diff(dim=-1)
            value = value + self.lamb_coefdiff * jumps.abs().mean(0).sum()
        return value


class _OfActivity(torch.autograd.Function):
    """The terms of the activity of a layer, with the gradient in closed form.

    An edge has the variance w^T C w, with its weights w and the covariance C of the
    basis functions of its input, so that the values of the edges are never held.
    """

    @staticmethod
    def forward(ctx, features, weight, input_scale, sample_share, mask, strengths):
        lamb_l1, lamb_entropy = strengths
        centred = features - torch.einsum("n,nif->if", sample_share, features)
        centred = centred.transpose(0, 1)  # inputs come first, for products of matrices
        weighted = centred * sample_share.unsqueeze(1)
        weight = (weight * mask.unsqueeze(2)).transpose(0, 1)
        products = weight @ (
            weighted.mT @ centred
        )  # (n_inputs, n_outputs, n_functions)
        variance = (products * weight).sum(2).T
        deviation = variance.clamp(min=SMALLEST_VARIANCE).sqrt()
        activity = deviation / input_scale * mask
        of_rows, slope_of_rows = _entropy(activity, 1)
        of_columns, slope_of_columns = _entropy(activity, 0)
        if any(ctx.needs_input_grad):
            slope = lamb_l1 + lamb_entropy * (slope_of_rows + slope_of_columns)
            by_variance = slope * mask / (input_scale * deviation)  # twice of it
            by_variance = torch.where(variance < SMALLEST_VARIANCE, 0.0, by_variance)
            by_variance = by_variance.T.unsqueeze(2)
            by_weight = (by_variance * products).transpose(0, 1)
            by_scale = -(slope * activity).sum(0) / input_scale
            by_features = None
            if ctx.needs_input_grad[0]:
                by_covariance = (by_variance * weight).mT @ weight
                by_features = (weighted @ by_covariance).transpose(0, 1)
            ctx.gradients = by_features, by_weight, by_scale
        return lamb_l1 * activity.sum() + lamb_entropy * (of_rows + of_columns)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        gradients = (None if part is None else grad * part for part in ctx.gradients)
        return *gradients, None, None, None


def _entropy(activity, dim):
    """Mean entropy of the activities along a dimension, and its derivative."""
    total = activity.sum(dim, keepdim=True) + 1
    share = activity / total
    logarithm = torch.log2(share + ENTROPY_FLOOR)
    by_share = logarithm + share / (share + ENTROPY_FLOOR) / math.log(2)
    slope = (by_share * share).sum(dim, keepdim=True) - by_share
    n_sums = activity.shape[1 - dim]
    return -(share * logarithm).sum() / n_sums, slope / (total * n_sums)


def _std_of_inputs(step, sample_share):
    """Standard deviation of the known cells of each input; 1 for categories."""
    missing = step.inputs.isnan()
    is_number = step.layer.basis.is_number
    if is_number.all() and not missing.any():
        return _std(step.inputs, sample_share)
    known = torch.where(missing, 0.0, step.inputs)
    weight = sample_share.unsqueeze(1) * ~missing
    weight = weight / weight.sum(0).clamp(min=SMALLEST_DIVISOR)
    variance = (weight * (known - (weight * known).sum(0)).square()).sum(0)
    return torch.where(is_number, variance.clamp(min=SMALLEST_VARIANCE).sqrt(), 1.0)


def _std(values, sample_share):
    variance = sample_share @ (values - sample_share @ values).square()
    return variance.clamp(min=SMALLEST_VARIANCE).sqrt()
