"""Penalties on the coefficients and on the activity of the edges.

A `Penalty` is a function of what passed through the network. The smooth quadratic
one is the estimators' `alpha`; the papers' sparsity terms can be added to it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import lru_cache
from numbers import Real

import torch
from sklearn.utils._param_validation import Interval

from skkan._fields import check_fields
from skkan._layers import SMALLEST_VARIANCE

# Of the roughness part against the size part, chosen by cross-validation on noisy and
# noise-free tables. One period of a sine across the grid has a mean squared second
# derivative of (2 pi)^4 / 2 = 780, so that it is charged 16 times its size.
ROUGHNESS = 1e-2
ENTROPY_FLOOR = 1e-4  # inside of the logarithm, as in the papers' implementation
INPUT_FLOOR = 0.1  # added to the deviation of an input, as there


class Penalty(ABC):
    """A non-negative function of the weights and the activations of a network."""

    @abstractmethod
    def value(self, passes, sample_share):
        """Penalty as a scalar Tensor.

        Parameters
        ----------
        passes : list of LayerPass
            What `KANNetwork.propagate` reported.
        sample_share : Tensor of shape (n_samples,)
            Sample weights that sum to one.
        """


@dataclass(frozen=True)
class QuadraticPenalty(Penalty):
    """(alpha / 2) sum over the edges of w^T S w, with S from `quadratic_form`."""

    alpha: float

    def value(self, passes, sample_share):
        total = 0.0
        for step in passes:
            basis = step.layer.basis
            form = quadratic_form(
                basis.grid_size, basis.spline_order, basis.base_activation is not None
            ).to(step.weight)
            weight = step.weight * step.layer.mask.unsqueeze(-1)
            total = total + ((weight @ form) * weight).sum()
        return 0.5 * self.alpha * total


@lru_cache
def quadratic_form(grid_size, spline_order, has_base):
    """Matrix S of the penalty of one edge, (n_functions, n_functions).

    S = S_size + 0.01 S_rough. S_size is the mean of the squared coefficients plus the
    squared base weight. S_rough is the mean of the squared second differences of the
    coefficients in units of the interval, which approximates the mean of the squared
    second derivative over a grid of length 1; base weights are not rough. As both are
    means, alpha means the same at every grid size.

    References
    ----------
    P. Eilers and B. Marx, Flexible Smoothing with B-splines and Penalties, 1996.
    """
    n_splines = grid_size + spline_order
    form = torch.zeros(n_splines + has_base, n_splines + has_base, dtype=torch.float64)
    order = min(2, n_splines - 1)
    differences = torch.eye(n_splines, dtype=torch.float64).diff(n=order, dim=0)
    rough = grid_size ** (2 * order) * differences.T @ differences / len(differences)
    size = torch.eye(n_splines, dtype=torch.float64) / n_splines
    form[:n_splines, :n_splines] = size + ROUGHNESS * rough
    if has_base:
        form[-1, -1] = 1.0
    return form


@dataclass(frozen=True)
class SparsityPenalty(Penalty):
    """The papers' sparsity terms, which drive unneeded edges to zero.

    With A_oi = std(phi_oi) / (std(x_i) + 0.1), the activity of the edge from input i to
    output o, each layer adds

    lamb_l1 * sum(A) + lamb_entropy * (H_row + H_col)
    + lamb_coef * sum_i mean_o |c_oi| + lamb_coefdiff * sum_i mean_o |diff(c_oi)|

    where H_row = -mean_o sum_i p_oi log2(p_oi + 1e-4), p_oi = A_oi / (sum_i A_oi + 1),
    H_col is the same along the outputs, and c are the spline coefficients. Standard
    deviations are those of the (weighted) population.

    Parameters
    ----------
    lamb : float, default=0.01
        Overall strength, against the mean loss in standardised units.
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
        If a strength is negative or not finite.

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

    lamb: float = 0.01
    lamb_l1: float = 1.0
    lamb_entropy: float = 2.0
    lamb_coef: float = 0.0
    lamb_coefdiff: float = 0.0

    def __post_init__(self):
        strength = Interval(Real, 0, None, closed="left")
        check_fields(self, **{field.name: strength for field in fields(self)})

    def value(self, passes, sample_share):
        return self.lamb * sum(self._of_layer(step, sample_share) for step in passes)

    def _of_layer(self, step, sample_share):
        layer, mask = step.layer, step.layer.mask
        deviation = layer.edge_std(step.features, step.weight, sample_share)
        activity = mask * deviation / (_std(step.inputs, sample_share) + INPUT_FLOOR)
        coef = step.weight[..., : layer.basis.n_splines] * mask.unsqueeze(-1)
        return (
            self.lamb_l1 * activity.sum()
            + self.lamb_entropy * (_entropy(activity, 1) + _entropy(activity, 0))
            + self.lamb_coef * coef.abs().mean(0).sum()
            + self.lamb_coefdiff * coef.diff(dim=-1).abs().mean(0).sum()
        )


def _entropy(activity, dim):
    share = activity / (activity.sum(dim, keepdim=True) + 1)
    return -(share * torch.log2(share + ENTROPY_FLOOR)).sum(dim).mean()


def _std(values, sample_share):
    variance = sample_share @ (values - sample_share @ values).square()
    return variance.clamp(min=SMALLEST_VARIANCE).sqrt()
