"""Penalties on the coefficients and on the activity of the edges.

A `Penalty` is a function of what passed through the network. The smooth quadratic
one is the estimators' `alpha`; the papers' sparsity terms can be added to it.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import lru_cache
from numbers import Real
from typing import NamedTuple

import torch
from sklearn.utils._param_validation import Interval

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
        """The penalty as a function of the weights of some layers in one vector.

        Their bases must be of one kind.
        """
        mask = torch.cat([layer.mask.flatten() for layer in layers]).unsqueeze(1)
        spectrum = penalty_spectrum(*basis_kind(layers[0].basis))
        alpha = self.per_edge(len(mask)).to(mask)
        return QuadraticForm(
            spectrum.vectors.to(mask), alpha @ spectrum.parts.to(mask), mask
        )

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

    def blocks(self):
        """Its second derivative, (n_edges, n_functions, n_functions)."""
        return (self.vectors * self.curvature.unsqueeze(1)) @ self.vectors.T

    def _along(self, theta):
        return (theta.view(len(self.mask), -1) * self.mask) @ self.vectors


def basis_kind(basis):
    """Arguments of `penalty_spectrum` for the edges of a basis."""
    return basis.grid_size, basis.spline_order, basis.base_activation is not None


def quadratic_form(grid_size, spline_order, has_base):
    """Matrix S = S_size + 0.01 S_curvature of a penalty of one strength.

    Returns
    -------
    Tensor of shape (n_functions, n_functions)
    """
    vectors, parts = penalty_spectrum(grid_size, spline_order, has_base)
    return (vectors * (parts[0] + ROUGHNESS * parts[1])) @ vectors.T


class PenaltySpectrum(NamedTuple):
    """Orthogonal directions along which all parts of the penalty are diagonal."""

    vectors: torch.Tensor  # (n_functions, n_functions), one direction a column
    parts: torch.Tensor  # (3, n_functions), size, curvature, change of curvature


@lru_cache
def penalty_spectrum(grid_size, spline_order, has_base):
    """Eigenvalues and -vectors of the parts of the penalty of one edge.

    - Size is the mean of the squared coefficients plus the squared base weight.
    - Change of curvature is the mean of the squared third differences of the
      coefficients in units of the interval, divided by (2 pi)^2. One period of a sine
      across the grid has (2 pi)^4 / 2. Parabolas are free.
    - Curvature is the mean of the squared second differences in units of the interval,
      which approximates the mean of the squared second derivative over a grid of length
      1. Only its diagonal along the directions is kept, so that the parts commute; one
      period of a sine then has 1.5 times (2 pi)^4 / 2. Straight lines are free.

    The directions are polynomials up to the parabola, then the eigenvectors of the
    third differences, then the base weight, which has size alone. As the parts are
    means, a strength means the same at every grid size. They span twelve orders of
    magnitude on a grid of 100 intervals; along the directions no smooth curve is
    charged for the rounding of a rough one.

    Returns
    -------
    PenaltySpectrum

    References
    ----------
    P. Eilers and B. Marx, Flexible Smoothing with B-splines and Penalties, 1996.
    """
    n_splines = grid_size + spline_order
    curvature, change = (_differences(n_splines, grid_size, order) for order in (2, 3))
    n_free = min(3, n_splines)
    position = torch.linspace(-1, 1, n_splines, dtype=torch.float64)
    polynomials = position.unsqueeze(1) ** torch.arange(n_free)
    vectors = torch.linalg.qr(polynomials, mode="complete").Q
    rest = vectors[:, n_free:]
    values, within = torch.linalg.eigh(rest.T @ change @ rest)
    vectors = torch.cat([vectors[:, :n_free], rest @ within], dim=1)
    values = torch.cat([values.new_zeros(n_free), values])
    along = torch.einsum("fa,fg,ga->a", vectors, curvature, vectors)
    along[:2] = 0.0
    parts = torch.zeros(3, n_splines + has_base, dtype=torch.float64)
    parts[0, :n_splines] = 1 / n_splines
    parts[1, :n_splines] = along.clamp(min=0.0)
    parts[2, :n_splines] = values.clamp(min=0.0) / (2 * math.pi) ** 2
    if has_base:
        parts[0, -1] = 1.0
        vectors = torch.block_diag(vectors, vectors.new_ones(1, 1))
    return PenaltySpectrum(vectors, parts)


def _differences(n_splines, grid_size, order):
    """Mean of the squared differences of some order, as a matrix."""
    differences = torch.eye(n_splines, dtype=torch.float64)
    if order >= n_splines:  # there are none
        return 0 * differences
    differences = differences.diff(n=order, dim=0)
    return grid_size ** (2 * order) * differences.T @ differences / len(differences)


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
        layer = step.layer
        deviation = layer.edge_std(step.features, step.weight, sample_share)
        activity = deviation / (_std(step.inputs, sample_share) + INPUT_FLOOR)
        activity = activity * layer.mask
        coef = layer.masked(step.weight)[..., : layer.basis.n_splines]
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
