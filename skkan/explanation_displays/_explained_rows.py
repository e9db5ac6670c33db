"""What displays of Shapley values draw: the explanation of some rows of a table."""

import numpy as np
from sklearn.utils import _safe_indexing

from skkan.data._dask_tables import in_memory
from skkan.explanations._shapley import explain

N_VALUE_DIGITS = 3  # of the largest contribution; the others have as many decimals


def explain_rows(estimator, X, background, choose_rows, names, **settings):
    """Explanation of some rows of X.

    Parameters
    ----------
    estimator : KANRegressor or KANClassifier
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
    background : {array-like, sparse matrix} or None
        None takes X.
    choose_rows : callable
        Positions of the rows for the number of rows of X; None for all of them.
    names : NamesAndUnits
    **settings
        Passed on to `explain`.

    Returns
    -------
    Explanation
    """
    X = in_memory(X)
    positions = choose_rows(X.shape[0] if hasattr(X, "shape") else len(X))
    rows = X if positions is None else _safe_indexing(X, positions)
    found = explain(
        estimator, rows, X if background is None else background, **settings
    )
    return names.in_explanation(found)


def of_output(values, explanation, output):
    """Values of one output, ndarray of shape (n_samples, n_features)."""
    return values if len(explanation.output_names) == 1 else values[..., output]


def is_missing(cell):
    """Whether a cell of the user's table holds no value."""
    return cell is None or (not isinstance(cell, str) and cell != cell)


def is_number(cell):
    """Whether a cell of the user's table is a number, not a category."""
    return isinstance(cell, float | np.floating)
