"""Penalties on the coefficients and on the activity of the edges.

A `Penalty` is a function of what passed through the network. The smooth quadratic
one is the estimators' `alpha`; the papers' sparsity terms can be added to it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from numbers import Real
from typing import NamedTuple

import torch
from sklearn.utils._param_validation import Interval

from skkan._edge_kinds import EdgeKinds, penalty_spectrum
from skkan._fields import check_fields
from skkan._layers import SMALLEST_VARIANCE

# Of the curvature part against the size part, chosen by cross-validation on noisy and
# noise-free tables. One period of a sine across the grid has a mean squared second
# derivative of (2 pi)^4 / 2 = 780, and is charged for some 1.5 times that (see
# `penalty_spectrum`), 24 times its size.
ROUGHNESS = 1e-2
ENTROPY_FLOOR = 1e-4  # inside of the logarithm, as in the papers' implementation
INPUT_FLOOR = 0.1  # added to the deviation of an input, as there


class Penalty(ABC):
    """A non-negative function of the weights and the activations of a network."""

    depends_on_rows = True

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


@dataclass(frozen=True, eq=False)
class QuadraticPenalty(Penalty):
    """1/2 sum over the edges of w^T (sum_p alpha_p S_p) w, with three parts p.

    The parts are the size of a curve, its curvature, and the change of its curvature;
    see `penalty_spectrum`.

    Parameters
    ----------
    alpha : float or array-like of shape (n_edges, 3)
        Strengths of the parts for every edge; edges in the order of the layers, of
        their outputs, of their inputs. A float stands for itself on the size, for 0.01
        of itself on the curvature and for nothing on its change, on all edges.
    """

    alpha: object

    depends_on_rows = False

    def value(self, passes, sample_share):
        theta = torch.cat([step.weight.flatten() for step in passes])
        return self.form([step.layer for step in passes]).value(theta)

    def form(self, layers):
        """The penalty as a function of the weights of some layers in one vector."""
        mask = torch.cat([layer.mask.flatten() for layer in layers]).unsqueeze(1)
        alpha = self.per_edge(len(mask)).to(mask)
        kinds = EdgeKinds.of(layers)
        if kinds.is_uniform:
            (kind,) = kinds.kinds
            return QuadraticForm(kind.vectors, alpha @ kind.parts, mask)
        forms = [
            QuadraticForm(vectors, alpha[edges] @ parts, mask[edges])
            for vectors, parts, edges, _ in kinds.kinds
        ]
        return MixedForm(forms, [kind.members for kind in kinds.kinds])

    def of_edges(self, edges):
        """The same penalty of a network that has some of the edges only.

        Parameters
        ----------
        edges : Tensor of int
            Positions of its edges; see `KANNetwork.pruned`.
        """
        alpha = torch.as_tensor(self.alpha, dtype=torch.float64)
        return self if alpha.ndim == 0 else QuadraticPenalty(alpha[edges.cpu()])

    def per_edge(self, n_edges):
        """Strengths of the parts, Tensor of shape (n_edges, 3)."""
        alpha = torch.as_tensor(self.alpha, dtype=torch.float64)
        if alpha.ndim == 0:
            alpha = alpha * torch.tensor([[1.0, ROUGHNESS, 0.0]], dtype=torch.float64)
        return alpha.expand(n_edges, 3)


class QuadraticForm(NamedTuple):
    """1/2 sum over the edges of w^T S w, diagonal along directions that all share."""

    vectors: torch.Tensor  # (n_functions, n_functions), one direction a column
    curvature: torch.Tensor  # (n_edges, n_functions), along them
    mask: torch.Tensor  # (n_edges, 1)

    def value(self, theta):
        """The form at weights of shape (n_edges * n_functions,)."""
        return 0.5 * (self.curvature * self._along(theta).square()).sum()

    def gradient(self, theta):
        """Its derivative, of the shape of the weights."""
        return ((self.curvature * self._along(theta)) @ self.vectors.T).flatten()

    def value_and_grad(self, theta):
        """Both of them."""
        along = self._along(theta)
        slope = self.curvature * along
        return 0.5 * (slope * along).sum(), (slope @ self.vectors.T).flatten()

    def blocks(self):
        """Its second derivative, (n_edges, n_functions, n_functions)."""
        return (self.vectors * self.curvature.unsqueeze(1)) @ self.vectors.T

    def add_to(self, matrix):
        """Add its second derivative to a matrix of (n_parameters, n_parameters)."""
        n_edges, n_functions = self.curvature.shape
        square = matrix.view(n_edges, n_functions, n_edges, n_functions)
        square.diagonal(dim1=0, dim2=2).add_(self.blocks().movedim(0, 2))

    def leading_block(self, n_weights):
        """Its second derivative for the first weights, those of whole edges."""
        n_edges = n_weights // self.curvature.shape[1]
        return torch.block_diag(*self.blocks()[:n_edges])

    def _along(self, theta):
        return (theta.view(len(self.mask), -1) * self.mask) @ self.vectors


class MixedForm(NamedTuple):
    """Sum of forms over edges of several kinds."""

    forms: list  # of QuadraticForm
    members: list  # their weights' positions, Tensors of (n_edges, n_functions)

    def value(self, theta):
        """As for `QuadraticForm`."""
        return sum(
            form.value(theta[members.flatten()])
            for form, members in zip(self.forms, self.members, strict=True)
        )

    def gradient(self, theta):
        """As for `QuadraticForm`."""
        gradient = torch.zeros_like(theta)
        for form, members in zip(self.forms, self.members, strict=True):
            members = members.flatten()
            gradient[members] = form.gradient(theta[members])
        return gradient

    def value_and_grad(self, theta):
        """As for `QuadraticForm`."""
        return self.value(theta), self.gradient(theta)

    def add_to(self, matrix):
        """As for `QuadraticForm`."""
        for form, members in zip(self.forms, self.members, strict=True):
            matrix[members.unsqueeze(2), members.unsqueeze(1)] += form.blocks()

    def leading_block(self, n_weights):
        """As for `QuadraticForm`."""
        matrix = self.forms[0].curvature.new_zeros(n_weights, n_weights)
        for form, members in zip(self.forms, self.members, strict=True):
            leads = members[:, -1] < n_weights
            members = members[leads]
            matrix[members.unsqueeze(2), members.unsqueeze(1)] = form.blocks()[leads]
        return matrix


def quadratic_form(grid_size, spline_order, has_base):
    """Matrix S = S_size + 0.01 S_curvature of a penalty of one strength.

    Returns
    -------
    Tensor of shape (n_functions, n_functions)
    """
    vectors, parts = penalty_spectrum(grid_size, spline_order, has_base)
    return (vectors * (parts[0] + ROUGHNESS * parts[1])) @ vectors.T


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
        layer = step.layer
        deviation = layer.edge_std(step.features, step.weight, sample_share)
        activity = deviation / (_std_of_inputs(step, sample_share) + INPUT_FLOOR)
        activity = activity * layer.mask
        coef = layer.coefficients(step.weight)
        differences = layer.masked(step.weight)[:, layer.is_number]
        differences = differences[..., : layer.basis.n_splines].diff(dim=-1)
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
    """Deviation of the known cells of each input; 1 for categories, (n_inputs,)."""
    missing = step.inputs.isnan()
    is_number = step.layer.is_number
    if is_number.all() and not missing.any():
        return _std(step.inputs, sample_share)
    known = torch.where(missing, 0.0, step.inputs)
    share = sample_share.unsqueeze(1) * ~missing
    share = share / share.sum(0).clamp(min=1e-300)
    variance = (share * (known - (share * known).sum(0)).square()).sum(0)
    return torch.where(is_number, variance.clamp(min=SMALLEST_VARIANCE).sqrt(), 1.0)


def _std(values, sample_share):
    variance = sample_share @ (values - sample_share @ values).square()
    return variance.clamp(min=SMALLEST_VARIANCE).sqrt()
