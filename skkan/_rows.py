"""A canonical form of the training rows, in which weights equal repetitions."""

import numpy as np

# Sorting costs little up to here; the effect of rounding that it removes is smaller
# than any difference that matters beyond.
MOST_ROWS = 100_000


def canonical_rows(X, target, sample_weight):
    """Rows without zero weights; equal rows merged, all sorted, if they are not many.

    Solvers amplify rounding, so that a row of weight 2 and the same row given twice
    would end in different models unless both were the same input to begin with.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    target : ndarray of shape (n_samples, n_outputs)
    sample_weight : ndarray of shape (n_samples,)
        Non-negative.

    Returns
    -------
    X, target, sample_weight : ndarrays
        The weights sum to what they did; above 100,000 rows the order is kept and
        nothing is merged.
    """
    used = sample_weight > 0
    if not used.all():
        X, target, sample_weight = X[used], target[used], sample_weight[used]
    if len(X) > MOST_ROWS:
        return X, target, sample_weight
    # Adding zero turns -0.0 into 0.0, which is equal but has other bytes. Any fixed
    # order serves, and that of the bytes takes one sort for all columns.
    rows = np.ascontiguousarray(np.hstack([X, target]) + 0.0)
    row_bytes = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
    order = np.argsort(row_bytes, kind="stable")
    rows = rows[order]
    first = np.flatnonzero(np.r_[True, (rows[1:] != rows[:-1]).any(axis=1)])
    merged = np.add.reduceat(sample_weight[order], first)
    rows = rows[first]
    return rows[:, : X.shape[1]], rows[:, X.shape[1] :], merged
