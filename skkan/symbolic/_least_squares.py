"""Levenberg-Marquardt for the small, dense problems of formulas.

A search fits hundreds of them, so that what surrounds the arithmetic counts. Losses
other than squared errors bring the root of their own curvature, with which a step is
that of Fisher scoring.
"""

import math

import numpy as np
from scipy.linalg.lapack import dgels

DAMPING = 1e-3  # to begin with, in shares of the curvature along each constant
LEAST, MOST = 1e-12, 1e12  # of it: below nothing is damped, above nothing moves
GOOD, POOR = 0.75, 0.25  # shares of the promised decrease that lower and raise it
SAFE = 1e-10  # of the largest column of a Jacobian: what is smaller has no direction


def minimised(problem, start, *, max_nfev):
    """Constants at a local minimum, as far as `max_nfev` values lead.

    Parameters
    ----------
    problem : object
        ``problem.value(constants)`` is the loss, infinite where it is undefined;
        ``problem.expansion(constants)`` a Jacobian J of shape (n_rows, n_constants)
        and a vector s with gradient J^T s and curvature J^T J, as of s^T s / 2;
        ``problem.worth(value)`` the decrease of it that makes a step worth it.
    start : ndarray of shape (n_constants,)
    max_nfev : int
        Largest number of values.

    Returns
    -------
    ndarray of shape (n_constants,) or None
        None if the loss is undefined at the start.
    """
    constants, value = start, problem.value(start)
    if not math.isfinite(value):
        return None
    damping, n_values, lengths = DAMPING, 1, 0.0
    while n_values < max_nfev:
        jacobian, residuals = problem.expansion(constants)
        # Lengths only grow, so that a constant that stops to matter does not run away.
        lengths = np.maximum(
            lengths, np.sqrt(np.einsum("nc,nc->c", jacobian, jacobian))
        )
        scale = np.where(lengths > SAFE * lengths.max(), lengths, 1.0)
        n_constants = len(scale)
        stacked = np.column_stack([jacobian / scale, residuals])
        triangle = np.linalg.qr(stacked, mode="r")
        root, rotated = triangle[:, :-1], triangle[:, -1]
        growth = 4.0
        while n_values < max_nfev:
            padded = np.vstack([root, math.sqrt(damping) * np.eye(n_constants)])
            goal = np.concatenate([-rotated, np.zeros(n_constants)])
            step = dgels(padded, goal)[1][:n_constants]
            along = root @ step
            promised = -(along @ rotated) - 0.5 * (along @ along)
            if not promised > problem.worth(value):
                return constants
            moved = constants + step / scale
            moved_value = problem.value(moved)
            n_values += 1
            ratio = (value - moved_value) / promised
            if moved_value < value:
                constants, value = moved, moved_value
                if ratio > GOOD:
                    damping = max(damping / 10, LEAST)
                elif ratio < POOR:
                    damping *= 4
                break
            damping *= growth
            growth *= 2  # far from the minimum of an exponential, it takes much
            if damping > MOST:
                return constants
    return constants
