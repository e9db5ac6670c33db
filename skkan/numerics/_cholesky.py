"""Cholesky factors of matrices that are nearly singular."""

import torch

# Added to the unit diagonal of the scaled posterior precision. It stands for
# directions that neither rows nor prior determine to working accuracy.
RIDGES = (1e-13, 1e-11, 1e-9)  # the first that suffices


def scaled_factor(matrix):
    """Cholesky factor of a matrix scaled to a unit diagonal, and the scale.

    Returns
    -------
    factor : Tensor of shape (n, n)
        L with L L^T = scale * matrix * scale, up to a ridge.
    scale : Tensor of shape (n,)
        None instead of both if no ridge makes the matrix positive definite.
    """
    scale = matrix.diagonal().rsqrt()
    scale = torch.where(torch.isfinite(scale), scale, 1.0)  # of removed edges
    scaled = scale.unsqueeze(1) * matrix * scale
    for ridge in RIDGES:
        scaled.diagonal().fill_(1 + ridge)
        factor, info = torch.linalg.cholesky_ex(scaled)
        if info == 0:
            return factor, scale
    return None
