"""Roots of the posterior covariance of weights, and the factors that make them.

With the weighted Jacobian A of the rows and the precision P of the prior, the
covariance at unit noise is (A^T A + P)^-1. A root of it is a matrix R with R^T R equal
to it. A factor is what files hold of a root; it has no more rows than A where these
are few. Factors are along the directions in which P is diagonal: there no smooth curve
is charged for the rounding of a rough one.
"""

from dataclasses import dataclass

import torch

from skkan.numerics._cholesky import scaled_factor
from skkan.penalties._eigen_directions import EdgeKinds

# Weights for each row of A, from which on its singular vectors take less work and
# memory than the Cholesky factor of A^T A + P.
MIN_WEIGHTS_PER_ROW = 2


def has_few_rows(data, n_rows, n_weights):
    """Whether a factor should be made of the rows of A, which then are few."""
    return not data.in_chunks and MIN_WEIGHTS_PER_ROW * n_rows <= n_weights


@dataclass(frozen=True, eq=False)
class EdgePrior:
    """Gaussian prior of the weights of edges at unit noise.

    Attributes
    ----------
    kinds : EdgeKinds
        Of the edges.
    precision : Tensor of shape (n_weights,)
        Along the directions of the edges.
    """

    kinds: EdgeKinds
    precision: torch.Tensor

    @classmethod
    def of_alpha(cls, kinds, alpha, n_observations):
        """Prior that is equivalent to penalties of weight `alpha`, (n_edges, 3)."""
        return cls(kinds, n_observations * kinds.spread(alpha))

    def posterior_root(self, products):
        """Root of the posterior covariance, where there are many rows.

        Parameters
        ----------
        products : Tensor of shape (n_weights, n_weights)
            A^T A.

        Returns
        -------
        CovarianceRoot
            None if rounding forbids it.
        """
        precision = self.kinds.along(self.kinds.along(products).T)
        precision.diagonal().add_(self.precision)
        factored = scaled_factor(precision)
        if factored is None:
            return None
        factor, scale = factored
        return CovarianceRoot(factor / scale.unsqueeze(1), self)

    def posterior_root_of_rows(self, rows):
        """Root of the posterior covariance, where there are few rows.

        Its factor, with the singular values s and the right singular vectors V of A
        whitened by the prior, is G = diag(1 - (1 + s^2)^-1/2)^1/2 V^T.

        Parameters
        ----------
        rows : Tensor of shape (n_rows, n_weights)
            A.

        Returns
        -------
        CovarianceRoot
            None if rounding forbids it.
        """
        rows = self.kinds.along(rows) * self.precision.rsqrt()
        if not rows.isfinite().all():
            return None
        _, values, vectors = torch.linalg.svd(rows, full_matrices=False)
        shares = 1 - (1 + values.square()).rsqrt()
        return CovarianceRoot(shares.sqrt().unsqueeze(1) * vectors, self)


@dataclass(frozen=True, eq=False)
class CovarianceRoot:
    """A matrix R, such that R^T R is the posterior covariance at unit noise.

    Attributes
    ----------
    factor : Tensor of shape (n_rows, n_weights)
        Lower Cholesky factor L of the precision, with R = L^-1; or G, of fewer rows,
        with R = (1 - G^T G) P^-1/2. Both are along the directions.
    prior : EdgePrior
    """

    factor: torch.Tensor
    prior: EdgePrior

    @property
    def n_weights(self):
        return self.factor.shape[1]

    def times(self, columns):
        """Product with columns, Tensor of shape (..., n_weights, n_columns)."""
        columns = self.prior.kinds.along(columns.mT).mT
        if len(self.factor) == self.n_weights:
            return torch.linalg.solve_triangular(self.factor, columns, upper=False)
        columns = self.prior.precision.rsqrt().unsqueeze(1) * columns
        return columns - self.factor.T @ (self.factor @ columns)

    def matrix(self):
        """R for the weights themselves, Tensor of shape (n_weights, n_weights)."""
        return self.times(torch.eye(self.n_weights).to(self.factor))

    def of_edges(self):
        """Roots of the covariance of the weights of each edge alone.

        Yields
        ------
        Tensor of shape (n_functions, n_functions)
        """
        start = 0
        for size in self.prior.kinds.sizes.tolist():
            own = slice(start, start + size)
            columns = self.factor.new_zeros(self.n_weights, size)
            columns[own].fill_diagonal_(1.0)
            yield torch.linalg.qr(self.times(columns), mode="r").R
            start = own.stop
