"""Levenberg-Marquardt for the small, dense problems of formulas.

A search solves hundreds of them, so the overhead around the arithmetic counts. Losses
other than the squared error bring the root of their own curvature; a step is then one
of Fisher scoring.
"""

import math

import numpy as np
from scipy.linalg.lapack import dgels

START_DAMPING = 1e-3  # as a share of the curvature along each constant
# Limits of the damping: below nothing is damped, above nothing moves.
MIN_DAMPING, MAX_DAMPING = 1e-12, 1e12
# Ratios of true to predicted decrease that lower and raise the damping.
GOOD_RATIO, POOR_RATIO = 0.75, 0.25
# A Jacobian's column below this share of the largest gives no direction.
MIN_COLUMN_LENGTH = 1e-10


def minimised(problem, start, *, max_nfev):
    """Constants at a local minimum, or after `max_nfev` evaluations.

    Parameters
    ----------
    problem : object
        ``problem.value(constants)`` is the loss, infinite where it is undefined.
        ``problem.expansion(constants)`` returns a Jacobian J of shape
        (n_rows, n_constants) and a vector s, such that the gradient is J^T s and the
        curvature J^T J, as for s^T s / 2.
        ``problem.worth(value)`` is the least decrease for which a step is taken.
    start : ndarray of shape (n_constants,)
    max_nfev : int
        Largest number of evaluations of the loss.

    Returns
    -------
    ndarray of shape (n_constants,) or None
        None if the loss is undefined at the start.
    """
    constants, value = start, problem.value(start)
    if not math.isfinite(value):
        return None
    damping, n_values, lengths = START_DAMPING, 1, 0.0
    while n_values < max_nfev:
        jacobian, residuals = problem.expansion(constants)
        # Lengths only grow, so that a constant without influence does not run away.
        lengths = np.maximum(
            lengths, np.sqrt(np.einsum("nc,nc->c", jacobian, jacobian))
        )
        scale = np.where(lengths > MIN_COLUMN_LENGTH * lengths.max(), lengths, 1.0)
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
                if ratio > GOOD_RATIO:
                    damping = max(damping / 10, MIN_DAMPING)
                elif ratio < POOR_RATIO:
                    damping *= 4
                break
            damping *= growth
            growth *= 2  # an exponential far from its minimum needs much damping
            if damping > MAX_DAMPING:
                return constants
    return constants
