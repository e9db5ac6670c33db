"""A canonical form of the training rows, in which weights equal repetitions."""

import numpy as np

from skkan.numerics import _row_blocks


def dense(X):
    """X as an ndarray, whether it was one or a sparse matrix."""
    return X.toarray() if hasattr(X, "toarray") else X


def without_zero_weights(rows):
    """Those rows (X, target, sample weight, ...) that have a weight."""
    used = rows[2] > 0
    if used.all():
        return rows
    return tuple(None if part is None else part[used] for part in rows)


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
    X, target, sample_weight = without_zero_weights((X, target, sample_weight))
    if len(X) > _row_blocks.SINGLE_BLOCK_ROWS:
        # Columns of data frames may be read-only, which torch does not take.
        return X, *(
            np.require(part, requirements="W") for part in (target, sample_weight)
        )
    # Adding zero turns -0.0 into 0.0, which is equal but has other bytes. Any fixed
    # order serves, and that of the bytes takes one sort for all columns. The weights
    # take part, so that those of equal rows add up in a fixed order, too.
    rows = np.column_stack([X, target, sample_weight])
    rows = np.ascontiguousarray(rows + 0.0)
    rows[np.isnan(rows)] = np.nan  # which has many forms
    row_bytes = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
    order = np.argsort(row_bytes, kind="stable")
    rows, sample_weight = rows[order, :-1], sample_weight[order]
    bits = np.ascontiguousarray(rows).view(np.int64)  # as missing cells equal others
    first = np.flatnonzero(np.r_[True, (bits[1:] != bits[:-1]).any(axis=1)])
    merged = np.add.reduceat(sample_weight, first)
    rows = rows[first]
    return rows[:, : X.shape[1]], rows[:, X.shape[1] :], merged
