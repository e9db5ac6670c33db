"""Checks of columns and weights, each with a remedy in its message."""

from collections import Counter
from contextlib import contextmanager
from numbers import Integral

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import _check_sample_weight, check_array

from skkan.data._frames import (
    column_names,
    column_types,
    columns,
    is_frame,
    is_of_time,
)

REMEDIES = {
    "fill value must be 0": "Fill it with zeros, or pass X.sparse.to_dense().",
    "Input y contains": "Drop those rows, or impute their target.",
    "missing values encoded as NaN": (
        "Formulas have no value at missing: impute these cells, or leave the rows out."
    ),
    "sample_weight.shape ==": "Give one weight for each row of X.",
}
# Of single columns: what to do in a fit, and with rows that come after it.
INFINITE = "Make these cells missing (NaN), clip them, or leave their rows out."
TEXT = (
    "Name columns of text in categorical_features, or give them a categorical data type"
    ", such as X[column].astype('category')."
)
NUMBERS = "It held numbers in fit: convert its cells to numbers, or make them missing."
COLUMN_REMEDIES = {
    "Input X contains infinity": (INFINITE, INFINITE),
    "could not convert string to float": (None, NUMBERS),  # None is left to callers
    "Complex data not supported": (
        "Give real and imaginary parts as two columns.",
        NUMBERS,
    ),
    "float() argument must be": ("Convert it to numbers.", NUMBERS),
}


@contextmanager
def adding_remedies():
    """Add a remedy to those messages of scikit-learn and numpy that lack one."""
    try:
        yield
    except ValueError as error:
        for beginning, remedy in REMEDIES.items():
            if beginning in str(error) and remedy not in str(error):
                raise ValueError(f"{error} {remedy}") from error
        raise


@contextmanager
def naming_column(X, is_categorical=None, *, in_fit, of_text=TEXT):
    """Add the column and a remedy to those messages about X that lack them.

    Parameters
    ----------
    X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
    is_categorical : ndarray of bool of shape (n_features,), default=None
        Columns that need not hold numbers.
    in_fit : bool
        Whether the columns may still become others.
    of_text : str
        What to do with text in a fit.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        for beginning, remedy in COLUMN_REMEDIES.items():
            if beginning in str(error) and " in column " not in str(error):
                where = _column_with(beginning, X, is_categorical)
                if where:
                    what = str(error).splitlines()[0].rstrip(".:")
                    todo = remedy[0 if in_fit else 1] or of_text
                    raise type(error)(f"{what} in {where}. {todo}") from error
        raise


def _column_with(beginning, X, is_categorical):
    """Words for the first column that alone has the same message, or None."""
    if not hasattr(X, "shape"):
        X = np.array(X, dtype=object)
    if len(X.shape) != 2:
        return None
    if issparse(X):
        X = X.tocsc()
    elif isinstance(X, np.ndarray) and X.dtype.kind == "U":
        X = X.astype(object)
    for index in range(X.shape[1]):
        if is_categorical is not None and is_categorical[index]:
            continue
        column = columns(X, [index])
        try:
            check_array(
                column,
                accept_sparse=True,
                dtype=np.float64,
                ensure_all_finite="allow-nan",
                ensure_min_samples=0,
                input_name="X",
            )
        except (TypeError, ValueError) as error:
            if beginning in str(error):
                return column_words(X, index)
    return None


def column_words(X, index):
    """Words for a column of a data frame, or of an array."""
    names = column_names(X)
    return f"column {index if names is None else repr(names[index])}"


def checked_names(X):
    """Raise if columns of a data frame have the same name."""
    counts = Counter(column_names(X))
    several = [name for name, count in counts.items() if count > 1]
    if several:
        raise ValueError(
            f"Columns of X must have different names, got {several} more than once: "
            "rename them, or pass X.to_numpy()."
        )


def checked_no_dates(X, is_categorical=None):
    """Raise if a column, those of categories aside, is of dates or durations."""
    if is_frame(X):
        dtypes = column_types(X)
        where = [f" in {column_words(X, index)}" for index in range(len(dtypes))]
    else:
        dtypes, where, is_categorical = [getattr(X, "dtype", None)], [""], None
    flags = [False] * len(dtypes) if is_categorical is None else is_categorical
    for dtype, place, is_category in zip(dtypes, where, flags, strict=False):
        if not is_category and is_of_time(dtype):
            raise TypeError(
                f"X must hold numbers, got dtype {dtype}{place}: convert it, such as "
                "to days since some date or to the hour of the day."
            )


@contextmanager
def naming_arguments(names):
    """Say of which arguments a message speaks, where scikit-learn says X and y."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"In {names}: {error}") from error


def checked_weights(sample_weight, X, min_samples):
    """Non-negative float64 weights, at least `min_samples` of them positive."""
    with adding_remedies():
        weight = _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
    if not weight.any():
        raise ValueError(
            "Sample weights must contain at least one non-zero number, got only zeros."
        )
    with np.errstate(over="ignore"):
        total = weight.sum()
    if not np.isfinite(total):
        raise ValueError(
            "The sum of sample_weight exceeds the largest floating-point number: "
            "divide all weights by a constant."
        )
    n_samples = np.count_nonzero(weight)
    if n_samples < min_samples and total < min_samples:
        raise ValueError(
            f"sample_weight leaves n_samples={n_samples}, but at least {min_samples} "
            "are required: give more rows a positive weight."
        )
    return weight


def feature_position(feature, names, parameter):
    """Number of a feature that is given by its name or number."""
    if isinstance(feature, str) and feature in names:
        return names.index(feature)
    is_number = isinstance(feature, Integral) and not isinstance(feature, bool)
    if is_number and 0 <= feature < len(names):
        return int(feature)
    raise ValueError(
        f"{parameter} must hold names or numbers of features, got {feature!r}: the "
        f"names are {names}."
    )


def checked_same_columns(y, y_val):
    """Raise unless two encoded targets have the same number of columns."""
    if y.shape[1] != y_val.shape[1]:
        raise ValueError(
            f"y_val must have the columns of y, expected {y.shape[1]}, got "
            f"{y_val.shape[1]}."
        )


def checked_pair(X_val, y_val):
    """Raise unless a validation set is whole or absent."""
    if (X_val is None) != (y_val is None):
        missing = "X_val" if X_val is None else "y_val"
        raise ValueError(
            f"X_val and y_val go together, but {missing} is missing: pass both or none."
        )
