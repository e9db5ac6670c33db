"""The split of training rows for early stopping."""

import math

import numpy as np
from sklearn.model_selection import train_test_split

from skkan.data._merged_rows import without_zero_weights
from skkan.data._observations import row_of_observations, share_of_rows


def split_rows(rows, validation_fraction, strata, seed):
    """Training and validation rows, in the order that they had.

    Parameters
    ----------
    rows : tuple of ndarrays (X, target, sample_weight, counts)
        The last is None, or says how many observations each row stands for. They are
        split, then, and not the rows.
    validation_fraction : float
        Share of the rows to validate on, rounded up to at least 2.
    strata : ndarray of shape (n_samples,) or None
        Labels by which to stratify where every label can stand on both sides.
    seed : int

    Returns
    -------
    fitted, held_out : tuples (X, target, sample_weight, counts)
    """
    n_rows = len(rows[0])
    row_of = row_of_observations(n_rows, rows[3])
    n = len(row_of)
    n_val = max(2, math.ceil(validation_fraction * n))
    if n - n_val < 2:
        raise ValueError(
            "early_stopping needs at least 2 distinct rows to fit and 2 to validate "
            f"on, got {n} in all, of which validation_fraction="
            f"{validation_fraction} takes {n_val}: give more rows, pass X_val and "
            "y_val, or set early_stopping=False."
        )
    if strata is not None:
        strata = strata[row_of]
        counts = np.unique(strata, return_counts=True)[1]
        if counts.min() < 2 or min(n_val, n - n_val) < len(counts):
            strata = None
    sides = train_test_split(
        np.arange(n), test_size=n_val, random_state=seed, stratify=strata
    )
    return tuple(_side(rows, share_of_rows(row_of, side, n_rows)) for side in sides)


def _side(rows, share):
    """Rows of which a share is on a side; their weights are divided in proportion."""
    X, target, weight, counts = rows
    counts = None if counts is None else counts * share
    return without_zero_weights((X, target, weight * share, counts))
