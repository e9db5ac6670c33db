"""How many observations the merged rows of a table are."""

import math

import numpy as np

from skkan.numerics import _row_blocks

# A column with fewer values is not continuous, in however few rows.
MIN_CONTINUOUS_VALUES = 10
# Share of the rows that have a value of their own in a continuous column. A bootstrap
# of such a column has a share near 1, and classes that share each value have 1/2.
MIN_OWN_VALUES = 0.5
# Rows repeat by chance if independent columns would not make that many times more
# different rows than there are. Correlated columns make fewer. Not ablated.
MAX_POSSIBLE_ROWS = 4.0


def observation_counts(X, sample_weight):
    """Observations that each merged row stands for; None where it is one each.

    Where some column nearly identifies the row, or where the columns have many more
    combinations of values than there are rows, equal rows are copies of one
    observation, as in a bootstrap. Otherwise they are observations that agree by
    chance, and the weight is their number.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Of rows that differ in X or in the target; see `canonical_rows`.
    sample_weight : ndarray of shape (n_samples,)

    Returns
    -------
    ndarray of shape (n_samples,) or None
    """
    if len(X) > _row_blocks.SINGLE_BLOCK_ROWS or (sample_weight == 1).all():
        return None
    n_rows, log_possible = len(X), 0.0
    max_possible = math.log(MAX_POSSIBLE_ROWS * n_rows)
    for column in X.T:
        values, index = np.unique(column, return_inverse=True)
        is_continuous = len(values) >= MIN_CONTINUOUS_VALUES
        if is_continuous and len(values) > MIN_OWN_VALUES * n_rows:
            return None
        share = np.bincount(index, sample_weight) / sample_weight.sum()
        # The probability that two observations agree in this column.
        log_possible -= math.log(np.square(share).sum())
        if log_possible > max_possible:
            return None
    return np.maximum(sample_weight, 1.0)


def effective_weights(sample_weight, counts):
    """Weights that sum to the effective number of observations.

    That number is the exponential of the entropy of the weights of single
    observations. It is the number of observations where their weights are equal, and
    depends on ratios of weights only.

    Parameters
    ----------
    sample_weight : ndarray of shape (n_samples,)
        Of the merged rows, those of classes included.
    counts : ndarray of shape (n_samples,) or None
        See `observation_counts`.

    References
    ----------
    M. Hill, Diversity and Evenness, 1973 (the number of order 1).
    """
    counts = np.ones(len(sample_weight)) if counts is None else counts
    of_one = sample_weight / counts
    if (of_one == of_one[0]).all():
        return counts
    share = sample_weight / sample_weight.sum()
    entropy = -share @ np.log(share / counts)
    return share * math.exp(entropy)


def row_of_observations(n_rows, counts):
    """Position of the row of each observation, ndarray of int.

    Of very many observations a part stands for all.
    """
    if counts is None:
        return np.arange(n_rows)
    scale = min(1.0, _row_blocks.SINGLE_BLOCK_ROWS / counts.sum())
    numbers = np.maximum(np.rint(scale * counts), 1).astype(int)
    return np.repeat(np.arange(n_rows), numbers)


def share_of_rows(row_of_observation, side, n_rows):
    """Share of the observations of each row that are on a side, (n_rows,).

    Parameters
    ----------
    row_of_observation : ndarray of int
        See `row_of_observations`.
    side : ndarray of int
        Positions of observations.
    n_rows : int
    """
    chosen = np.bincount(row_of_observation[side], minlength=n_rows)
    return chosen / np.bincount(row_of_observation, minlength=n_rows)
