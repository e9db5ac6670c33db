"""Columns of categories: which they are, and their codes.

A category is a code 0, 1, ... in the matrices of the core, -1 where it is not known,
and NaN where the cell is missing.
"""

from dataclasses import dataclass
from numbers import Real

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils._missing import is_pandas_na, is_scalar_nan
from sklearn.utils.validation import _check_categorical_features, check_array

UNKNOWN = -1.0


def categorical_columns(X, categorical_features):
    """Which columns hold categories, ndarray of bool of shape (n_features,), or None.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features)
    categorical_features : "from_dtype", None or array-like of bool, int or str
        As in scikit-learn's HistGradientBoosting estimators.

    Raises
    ------
    ValueError
        If it is of another kind, or names columns that are not there.
    """
    if categorical_features is None or X is None:
        return None
    if isinstance(categorical_features, str) and not hasattr(X, "columns"):
        return None
    if not hasattr(X, "shape"):
        X = np.asarray(X, dtype=object)
    if len(X.shape) != 2:
        return None  # to be refused by the validation
    return _check_categorical_features(X, categorical_features)


@dataclass(frozen=True, eq=False)
class Categories:
    """The known categories of each column.

    Attributes
    ----------
    of_columns : list of ndarray or None
        Of strings or of float64, in the order of their codes; None for a column of
        numbers.
    """

    of_columns: list

    @classmethod
    def of_rows(cls, X, is_categorical, used):
        """Those that appear in some of the rows.

        They are in the order of the data type where that has one, else sorted.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
        is_categorical : ndarray of bool of shape (n_features,)
        used : ndarray of bool of shape (n_samples,)

        Raises
        ------
        TypeError
            If a column holds both strings and numbers.
        ValueError
            If a column holds infinity.
        """
        X, names = _with_columns(X)
        known = [None] * len(is_categorical)
        for index in np.flatnonzero(is_categorical):
            known[index] = _seen_categories(_column(X, index), names[index], used)
        return cls(known)

    @property
    def counts(self):
        """Number of categories of each column, 0 for numbers, (n_features,)."""
        return np.array(
            [0 if known is None else len(known) for known in self.of_columns]
        )

    def encoded(self, X):
        """X as float64, with codes for categories.

        Raises
        ------
        TypeError
            If a column holds both strings and numbers.
        ValueError
            If a column holds strings where it had numbers, or the other way round, or
            if what is no category is no number.
        """
        X, names = _with_columns(X)
        encoded = np.empty(X.shape)
        is_number = np.array([known is None for known in self.of_columns])
        if is_number.any():
            encoded[:, is_number] = check_array(
                _safe_indexing(X, np.flatnonzero(is_number), axis=1),
                dtype=np.float64,
                ensure_all_finite="allow-nan",
                input_name="X",
            )
        for index in np.flatnonzero(~is_number):
            encoded[:, index] = codes_of(
                _column(X, index), self.of_columns[index], names[index]
            )
        return encoded


def codes_of(column, categories, name):
    """Codes of the cells of a column, float64 ndarray of shape (n_samples,).

    Parameters
    ----------
    column : array-like of shape (n_samples,)
    categories : ndarray of shape (n_categories,)
    name : str
        Of the column, for messages.
    """
    values, missing = _cells(column, name)
    codes = np.full(len(missing), np.nan)
    codes[~missing] = UNKNOWN
    if not (len(values) and len(categories)):
        return codes
    kinds = [
        "strings" if a.dtype.kind == "U" else "numbers" for a in (categories, values)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"Categories of {name} were {kinds[0]} in fit, got {kinds[1]}: convert the "
            "column to the type that it had."
        )
    order = np.argsort(categories)
    at = np.searchsorted(categories[order], values).clip(max=len(categories) - 1)
    found = order[at]
    codes[~missing] = np.where(categories[found] == values, found, UNKNOWN)
    return codes


def _with_columns(X):
    """X as something that has columns, and words for each of them."""
    if not hasattr(X, "columns"):
        X = check_array(X, dtype=None, ensure_all_finite=False, input_name="X")
        return X, [f"column {index}" for index in range(X.shape[1])]
    return X, [f"column {name!r}" for name in X.columns]


def _column(X, index):
    return _safe_indexing(X, int(index), axis=1)


def _seen_categories(column, name, used):
    values, missing = _cells(column, name)
    seen = np.unique(values[used[~missing]])
    declared = getattr(getattr(column, "dtype", None), "categories", None)
    if not hasattr(declared, "to_list") or not len(seen):
        return seen
    order = codes_of(declared, seen, name)
    return seen[order[order >= 0].astype(int)]


def _cells(column, name):
    """The known cells of a column, as strings or float64, and which are missing."""
    if hasattr(column, "to_list"):
        column = np.array([*column.to_list(), None], dtype=object)[:-1]
    column = np.asarray(column)
    if column.dtype.kind in "iufb":
        values = column.astype(np.float64)
        missing = np.isnan(values)
        values = values[~missing]
    else:
        missing = np.array([_is_missing(cell) for cell in column], dtype=bool)
        values = _of_one_type(column[~missing], name)
    if values.dtype.kind == "f" and np.isinf(values).any():
        raise ValueError(
            f"Input X contains infinity in {name}, whose values are categories: give "
            "it a finite code, or make it missing."
        )
    return values, missing


def _is_missing(cell):
    return cell is None or is_scalar_nan(cell) or is_pandas_na(cell)


def _of_one_type(cells, name):
    kinds = {
        "numbers" if isinstance(cell, Real | np.bool_) else "others" for cell in cells
    }
    if len(kinds) > 1:
        raise TypeError(
            f"Categories must be of one type, got strings and numbers in {name}: "
            "convert all of them to strings."
        )
    if kinds == {"numbers"}:
        return cells.astype(np.float64)
    return np.array([str(cell) for cell in cells], dtype=str)
