"""The quadratic penalty on the coefficients of the edges, the estimators' `alpha`."""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from skkan.penalties._base import Penalty
from skkan.penalties._eigen_directions import EdgeKinds, penalty_spectrum

# Of the curvature part against the size part, chosen by cross-validation on noisy and
# noise-free tables. One period of a sine across the grid has a mean squared second
# derivative of (2 pi)^4 / 2 = 780, and is charged for some 1.5 times that (see
# `penalty_spectrum`), 24 times its size.
ROUGHNESS = 1e-2


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
