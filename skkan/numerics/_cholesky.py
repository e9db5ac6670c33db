"""Cholesky factors of matrices that are nearly singular."""

import torch

# Added to the unit diagonal of a scaled matrix, the first that suffices. Rounding moves
# eigenvalues by about 1e-16 times the size of the matrix, 1e-13 for 1,000 weights.
DIAGONAL_RIDGES = (1e-13, 1e-11, 1e-9)


def scaled_factor(matrix):
    """Cholesky factor of a matrix scaled to a unit diagonal, and the scale.

    Parameters
    ----------
    matrix : Tensor of shape (n, n)
        Symmetric; zeros on the diagonal, of removed edges, become ones.

    Returns
    -------
    factor : Tensor of shape (n, n)
        L with L L^T = scale * matrix * scale, up to a ridge.
    scale : Tensor of shape (n,)
        None instead of both if no ridge makes the matrix positive definite.
    """
    scale = matrix.diagonal().rsqrt()
    scale = torch.where(torch.isfinite(scale), scale, 1.0)  # of removed edges
    scaled = (scale.unsqueeze(1) * matrix).mul_(scale)
    for ridge in DIAGONAL_RIDGES:
        scaled.diagonal().fill_(1 + ridge)
        factor, info = torch.linalg.cholesky_ex(scaled)
        if info == 0:
            return factor, scale
    return None
