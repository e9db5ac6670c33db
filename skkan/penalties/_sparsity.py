"""The sparsity terms of the KAN papers."""

from dataclasses import dataclass, fields
from numbers import Real

import torch
from sklearn.utils._param_validation import Interval

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
        deviation = layer.edge_std(step.features, step.weight, sample_share)
        activity = deviation / (_std_of_inputs(step, sample_share) + INPUT_STD_FLOOR)
        activity = activity * layer.mask
        weight = layer.masked(step.weight)
        coef = basis.coefficients(weight)
        differences = weight[:, basis.is_number, : basis.n_splines].diff(dim=-1)
        return (
            self.lamb_l1 * activity.sum()
            + self.lamb_entropy * (_entropy(activity, 1) + _entropy(activity, 0))
            + self.lamb_coef * coef.abs().mean(0).sum()
            + self.lamb_coefdiff * differences.abs().mean(0).sum()
        )


def _entropy(activity, dim):
    share = activity / (activity.sum(dim, keepdim=True) + 1)
    return -(share * torch.log2(share + ENTROPY_FLOOR)).sum(dim).mean()


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
