"""The split of training rows for early stopping."""

import math

import numpy as np
from sklearn.model_selection import train_test_split


def split_rows(rows, validation_fraction, strata, seed):
    """Training and validation rows, in the order that they had.

    Parameters
    ----------
    rows : tuple of ndarrays (X, target, sample_weight)
    validation_fraction : float
        Share of the rows to validate on, rounded up to at least 2.
    strata : ndarray of shape (n_samples,) or None
        Labels by which to stratify where every label can stand on both sides.
    seed : int

    Returns
    -------
    fitted, held_out : tuples like `rows`
    """
    n_rows = len(rows[0])
    n_val = max(2, math.ceil(validation_fraction * n_rows))
    if n_rows - n_val < 2:
        raise ValueError(
            "early_stopping needs at least 2 distinct rows to fit and 2 to validate "
            f"on, got {n_rows} in all, of which validation_fraction="
            f"{validation_fraction} takes {n_val}: give more rows, pass X_val and "
            "y_val, or set early_stopping=False."
        )
    if strata is not None:
        counts = np.unique(strata, return_counts=True)[1]
        if counts.min() < 2 or min(n_val, n_rows - n_val) < len(counts):
            strata = None
    sides = train_test_split(
        np.arange(n_rows), test_size=n_val, random_state=seed, stratify=strata
    )
    return tuple(tuple(part[np.sort(side)] for part in rows) for side in sides)
