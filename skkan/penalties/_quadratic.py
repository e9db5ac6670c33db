"""The quadratic penalty on the coefficients of the edges, the estimators' `alpha`."""

from dataclasses import dataclass

import numpy as np
import torch

from skkan.basis._base import PenaltyKind
from skkan.numerics._matrix_products import IGNORE_FLOAT_WARNINGS
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

    The parts are a ridge penalty, a second-difference and a third-difference penalty,
    in short size, curvature and change of curvature; see `penalty_spectrum`.

    Parameters
    ----------
    alpha : float or array-like of shape (n_edges, 3)
        Strengths of the parts for every edge; edges in the order of the layers, of
        their outputs, of their inputs. A float is the weight of size on all edges;
        that of curvature is 0.01 of it, and that of the change of curvature is zero.
    """

    alpha: object

    depends_on_rows = False

    def value(self, passes, sample_share):
        theta = torch.cat([step.layer.packed(step.weight).flatten() for step in passes])
        return self.form([step.layer for step in passes]).value(theta)

    def form(self, layers):
        """The penalty as a function of the weights of some layers in one vector."""
        mask = torch.cat([layer.mask.flatten() for layer in layers]).unsqueeze(1)
        alpha = self.per_edge(len(mask)).to(mask)
        kinds = EdgeKinds.of(layers).kinds
        return QuadraticForm(
            kinds,
            [alpha[kind.edges] @ kind.parts for kind in kinds],
            [mask[kind.edges] for kind in kinds],
        )

    def of_edges(self, edges):
        """Penalty of a network that has some of the edges only.

        Parameters
        ----------
        edges : Tensor of int
            Positions of its edges; see `without_edges`.
        """
        alpha = self._tensor()
        return self if alpha.ndim == 0 else QuadraticPenalty(alpha[edges.cpu()])

    def per_edge(self, n_edges):
        """Strengths of the parts, Tensor of shape (n_edges, 3)."""
        alpha = self._tensor()
        if alpha.ndim == 0:
            alpha = alpha * torch.tensor([[1.0, ROUGHNESS, 0.0]], dtype=torch.float64)
        return alpha.expand(n_edges, 3)

    def _tensor(self):
        alpha = self.alpha
        if not isinstance(alpha, torch.Tensor):
            alpha = np.array(alpha)  # a copy: torch takes no read-only arrays
        return torch.as_tensor(alpha, dtype=torch.float64)


class QuadraticForm:
    """1/2 sum over the edges of w^T S w, diagonal along the directions of each kind.

    Parameters
    ----------
    kinds : list of EdgeKind
    curvatures : list of Tensor of shape (n_edges, n_functions)
        Of each kind along its directions.
    masks : list of Tensor of shape (n_edges, 1)
        Of each kind.
    """

    def __init__(self, kinds, curvatures, masks):
        self.curvatures, self._kinds, self._masks = curvatures, kinds, masks
        # Arrays are all numpy's, whose calls are the shortest, or all torch's.
        self._uses_numpy = curvatures[0].is_cpu
        self._parts = [
            (
                None if len(kinds) == 1 else self._array(kind.members),
                self._array(kind.vectors),
                self._array(curvature),
                None if mask.all() else self._array(mask),
            )
            for kind, curvature, mask in zip(kinds, curvatures, masks, strict=True)
        ]

    def _array(self, tensor):
        return tensor.numpy() if self._uses_numpy else tensor

    def value(self, theta):
        """The form at weights in one vector, a Tensor with a graph."""
        value = 0.0
        for kind, curvature, mask in zip(
            self._kinds, self.curvatures, self._masks, strict=True
        ):
            along = (theta[kind.members] * mask) @ kind.vectors
            value = value + 0.5 * (curvature * along.square()).sum()
        return value

    @IGNORE_FLOAT_WARNINGS
    def value_and_grad(self, theta):
        """Value, float, and derivative."""
        value, gradient = 0.0, torch.zeros_like(theta)
        weights, result = self._array(theta), self._array(gradient)
        for members, vectors, curvature, mask in self._parts:
            # Without members the weights stand edge by edge.
            if members is None:
                own = weights.reshape(curvature.shape)
            else:
                own = weights[members]
            if mask is not None:
                own = own * mask
            along = own @ vectors
            slope = curvature * along
            value += 0.5 * float((slope * along).sum())
            if members is None:
                result[:] = (slope @ vectors.T).reshape(-1)
            else:
                result[members] = slope @ vectors.T
        return value, gradient

    def add_to(self, matrix):
        """Add the second derivative to a square matrix.

        It may be the matrix of the first weights alone, those of whole edges.
        """
        for (vectors, _, _, members), curvature in zip(
            self._kinds, self.curvatures, strict=True
        ):
            blocks = (vectors * curvature.unsqueeze(1)) @ vectors.T
            if len(self._kinds) == 1:  # the blocks along the diagonal
                edges = (-1, len(vectors))
                diagonal = matrix.unflatten(1, edges).unflatten(0, edges)
                diagonal = diagonal.diagonal(dim1=0, dim2=2)
                diagonal += blocks[: diagonal.shape[2]].permute(1, 2, 0)
                return
            within = members[:, -1] < len(matrix)
            members = members[within]
            matrix[members.unsqueeze(2), members.unsqueeze(1)] += blocks[within]


def quadratic_form(grid_size, spline_order, has_base):
    """Matrix S = S_size + 0.01 S_curvature of a penalty of one weight.

    Returns
    -------
    Tensor of shape (n_functions, n_functions)
    """
    kind = PenaltyKind(0, grid_size, spline_order, has_base, has_missing=False)
    vectors, parts = penalty_spectrum(kind)
    return (vectors * (parts[0] + ROUGHNESS * parts[1])) @ vectors.T
