"""Columns of categories: which they are, and their codes.

A category is a code 0, 1, ... in the matrices of the core, -1 where it is not known,
and NaN where the cell is missing.
"""

from dataclasses import dataclass
from numbers import Real
from reprlib import repr as shortened

import numpy as np
from sklearn.utils._missing import is_pandas_na
from sklearn.utils.validation import check_array

from skkan.data._column_checks import checked_names, column_words
from skkan.data._frames import cells, column, columns, declared_categories, is_frame
from skkan.data._merged_rows import dense

try:
    from sklearn.utils.validation import _check_categorical_features
except ImportError:  # scikit-learn before 1.9
    from sklearn.ensemble import HistGradientBoostingRegressor

    def _check_categorical_features(X, categorical_features):
        """As the function of the name, by the estimators that had it before."""
        peer = HistGradientBoostingRegressor(categorical_features=categorical_features)
        return peer._check_categorical_features(X)


UNKNOWN = -1.0
WHOLE = 2.0**53  # from here on, whole numbers share their float64 with others


def categorical_columns(X, categorical_features):
    """Which columns hold categories, ndarray of bool of shape (n_features,), or None.

    Parameters
    ----------
    X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
    categorical_features : "from_dtype", None or array-like of bool, int or str
        As in scikit-learn's HistGradientBoosting estimators.

    Raises
    ------
    ValueError
        If it is of another kind, or names columns that are not there; if X is no table.
    """
    checked_names(X)
    if categorical_features is None:
        return None
    if not is_frame(X):
        if isinstance(categorical_features, str):
            return None
        X = as_table(X)
    try:
        flags = _check_categorical_features(X, categorical_features)
        if flags is not None and flags.shape != (X.shape[1],):
            raise ValueError(f"categorical_features has shape {flags.shape}")
    except ValueError as error:
        n_features = X.shape[1]
        raise ValueError(
            f"{str(error).rstrip('.')}; X has {n_features} columns, got "
            f"categorical_features={shortened(categorical_features)}: give numbers of "
            f"columns from 0 to {n_features - 1}, {n_features} bools, or names where X "
            "has them."
        ) from error
    return None if flags is None else flags.copy()


def as_table(X, estimator=None):
    """X as what has rows and columns: the data frame that it is, or a dense ndarray.

    Cells of lists keep their types. The estimator is named in messages.

    Raises
    ------
    ValueError
        If it has not two dimensions.
    """
    if is_frame(X):
        return X
    if isinstance(X, list | tuple):
        # As strings and numbers stay apart, so do "nan" and NaN.
        X = np.array(X, dtype=object)
    return check_array(
        dense(X),
        dtype=None,
        ensure_all_finite=False,
        ensure_min_samples=0,
        estimator=estimator,
        input_name="X",
    )


@dataclass(frozen=True, eq=False)
class Categories:
    """The known categories of each column.

    Attributes
    ----------
    of_columns : list of ndarray or None
        Of strings as objects, or of float64, in the order of their codes; None for a
        column of numbers. Whole numbers of which float64 would merge some are kept as
        integers. Files of earlier versions hold strings of a fixed width.
    """

    of_columns: list

    @classmethod
    def of_rows(cls, X, is_categorical, used):
        """Those that appear in some of the rows.

        They are in the order of the data type where that has one, else sorted.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
        is_categorical : ndarray of bool of shape (n_features,)
        used : ndarray of bool of shape (n_samples,)

        Raises
        ------
        TypeError
            If a column holds both strings and numbers.
        ValueError
            If a column holds infinity.
        """
        X = as_table(X)
        known = [None] * len(is_categorical)
        for index in np.flatnonzero(is_categorical):
            known[index] = _seen_categories(
                column(X, index), column_words(X, index), used
            )
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
        X = as_table(X)
        encoded = np.empty(X.shape)
        is_number = np.array([known is None for known in self.of_columns])
        if is_number.any():
            numbers = check_array(
                columns(X, np.flatnonzero(is_number)),
                accept_sparse="csr",
                dtype=np.float64,
                ensure_all_finite="allow-nan",
                ensure_min_samples=0,
                input_name="X",
            )
            encoded[:, is_number] = dense(numbers)
        for index in np.flatnonzero(~is_number):
            encoded[:, index] = codes_of(
                column(X, index), self.of_columns[index], column_words(X, index)
            )
        return encoded

    def unknown_of(self, other):
        """Categories of the same columns that are known to another only.

        Returns
        -------
        dict
            Lists of categories by the number of the column, where there are some.
        """
        unknown = {}
        for index, known in enumerate(self.of_columns):
            if known is not None:
                theirs = other.of_columns[index]
                new = codes_of(theirs, known, f"column {index}") == UNKNOWN
                if new.any():
                    unknown[index] = theirs[new].tolist()
        return unknown


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
    kinds = ["strings" if holds_strings(a) else "numbers" for a in (categories, values)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"Categories of {name} were {kinds[0]} in fit, got {kinds[1]}: convert the "
            "column to the type that it had."
        )
    if categories.dtype == values.dtype == np.float64:
        order = np.argsort(categories)
        at = np.searchsorted(categories[order], values).clip(max=len(categories) - 1)
        found = order[at]
        codes[~missing] = np.where(categories[found] == values, found, UNKNOWN)
    else:
        code_of = {category: code for code, category in enumerate(categories.tolist())}
        codes[~missing] = [code_of.get(value, UNKNOWN) for value in values.tolist()]
    return codes


def holds_strings(categories):
    """Whether categories, at least one, are strings."""
    return isinstance(categories[0], str)


def _seen_categories(column, name, used):
    values, missing = _cells(column, name)
    values = values[used[~missing]]
    if values.dtype == np.float64:
        seen = np.unique(values)
    else:
        seen = objects_of(sorted(set(values.tolist())))
        if all(isinstance(each, int) for each in seen):
            whole = np.array(seen.tolist())
            seen = whole if whole.dtype.kind in "iu" else seen
    declared = declared_categories(column)
    if declared is None or not len(seen):
        return seen
    order = codes_of(declared, seen, name)
    return seen[order[order >= 0].astype(int)]


def _cells(column, name):
    """The known cells of a column, and which are missing.

    They are float64; or objects, which are strings, or Python's numbers where float64
    would merge some. A long string thus takes no more memory than itself.
    """
    if not isinstance(column, np.ndarray):
        column = objects_of(column)
    if column.dtype.kind in "iufb":
        missing = np.isnan(column)
        values = _numbers(column[~missing], name)
    else:
        missing = np.array([_is_missing(cell) for cell in column], dtype=bool)
        values = _of_one_type(column[~missing], name)
    return values, missing


def objects_of(values):
    """An object array of what a column or a list holds, in Python's types."""
    return np.array([*cells(values), None], dtype=object)[:-1]


def _is_missing(cell):
    if cell is None or is_pandas_na(cell):
        return True
    differs = cell != cell  # NaN and NaT do, also from themselves
    return isinstance(differs, bool | np.bool_) and bool(differs)


def _of_one_type(known, name):
    kinds = {
        "numbers" if isinstance(cell, Real | np.bool_) else "others" for cell in known
    }
    if len(kinds) > 1:
        raise TypeError(
            f"Categories must be of one type, got strings and numbers in {name}: "
            "convert all of them to strings."
        )
    if kinds == {"numbers"}:
        return _numbers(known, name)
    return objects_of([str(cell) for cell in known])


def _numbers(known, name):
    """Numbers as float64, or as objects where that would merge some of them."""
    if (known == np.inf).any() or (known == -np.inf).any():
        raise ValueError(
            f"Input X contains infinity in {name}, whose values are categories: give "
            "it a finite code, or make it missing."
        )
    try:
        values = known.astype(np.float64)
        if known.dtype.kind in "fb":
            is_exact = values == known
        else:
            is_exact = np.abs(values) < WHOLE
        if is_exact.all():
            return values
    except OverflowError:  # of Python's integers
        pass
    return objects_of(
        [cell.item() if isinstance(cell, np.generic) else cell for cell in known]
    )
