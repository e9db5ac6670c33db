"""Checks of the rows that a fit is given, before any work is done.

They may be arrays, sparse matrices, data frames or tables in chunks. What is found out
about columns and categories is set on the estimator; nothing is scaled or coded here.
"""

from abc import ABCMeta, abstractmethod
from reprlib import repr as shortened

import numpy as np
from sklearn.utils.validation import (
    _check_y,
    _get_feature_names,
    _num_samples,
    check_consistent_length,
    validate_data,
)

from skkan.data._categories import Categories, categorical_columns
from skkan.data._column_checks import (
    adding_remedies,
    checked_names,
    checked_no_dates,
    checked_weights,
    column_words,
    naming_column,
)
from skkan.data._dask_tables import (
    DaskTable,
    checked_no_categories,
    in_memory,
    table_of,
)
from skkan.data._merged_rows import dense
from skkan.estimators._fitted import FittedKAN
from skkan.estimators._parameter_checks import checked_continuation, checked_for_chunks


class CheckingKAN(FittedKAN, metaclass=ABCMeta):
    """The part of an estimator that checks rows to fit; not to be instantiated."""

    @abstractmethod
    def _check_target(self, y):
        """y as an array of the right kind; raises if it is of another."""

    def _check_rows(self, X, y, sample_weight, *, reset=True, fewest=2, goes_on=False):
        """X as float64, y as an array, weights; rows without weight are dropped."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        X, y, sample_weight = table_of(X), in_memory(y), in_memory(sample_weight)
        if isinstance(X, DaskTable):
            X, y = self._check_chunks(X, y, reset=reset, goes_on=goes_on)
            n_rows = np.broadcast_to(0.0, (len(X), 1))  # to check weights against
            return self._of_positive_weight(X, y, sample_weight, n_rows, fewest)
        with adding_remedies():
            if goes_on:
                self._check_same_columns(X, sample_weight)
            elif reset:
                self._find_categories(X, sample_weight)
            X, y = self._validated_as(
                X, y, reset=reset, multi_output=True, ensure_min_samples=fewest
            )
        X = dense(X)
        return self._of_positive_weight(X, y, sample_weight, X, fewest)

    def _check_chunks(self, table, y, *, reset, goes_on):
        """The same for rows that stay in chunks: X as Chunks, and y."""
        checked_for_chunks(self)
        head = table.head
        with adding_remedies():
            if goes_on:
                self._check_same_columns(head, None)
            elif reset:
                self._find_categories(head, None)
            checked_no_categories(self.is_categorical_, head)
            checked_names(head)
            checked_no_dates(head)
            validate_data(self, head, reset=reset, skip_check_array=True)
            y = _check_y(y, multi_output=True, estimator=self)
            check_consistent_length(table, y)
            return table.checked(), y

    def _of_positive_weight(self, X, y, sample_weight, like, fewest):
        """Rows that have a weight, which is that of as many rows as `like` has."""
        y = self._check_target(y)
        weight = checked_weights(sample_weight, like, fewest)
        if not weight.all():
            used = weight > 0
            X, y, weight = X[used], y[used], weight[used]
        return X, y, weight

    def _find_categories(self, X, sample_weight):
        """Set the attributes about categories."""
        with naming_column(X, in_fit=True):
            self.is_categorical_ = categorical_columns(X, self.categorical_features)
            self.categories_ = None
            if self.is_categorical_ is not None:
                known = self._categories_of(X, sample_weight, self.is_categorical_)
                self.categories_ = known.of_columns

    def _categories_of(self, X, sample_weight, is_categorical):
        used = np.ones(_num_samples(X), dtype=bool)
        if sample_weight is not None:
            used = checked_weights(sample_weight, X, fewest=1) > 0
        return Categories.of_rows(X, is_categorical, used)

    def _check_same_columns(self, X, sample_weight):
        """Raise unless X has the columns and categories of the earlier fit."""
        with naming_column(X, in_fit=False):
            is_categorical = categorical_columns(X, self.categorical_features)
        names, asked = _get_feature_names(X), {}
        if names is not None and hasattr(self, "feature_names_in_"):
            fitted = self.feature_names_in_.tolist()
            asked["feature_names_in_"] = (names.tolist(), fitted)
        elif len(getattr(X, "shape", ())) == 2:
            asked["n_features"] = (X.shape[1], self.n_features_in_)
        asked["is_categorical_"] = tuple(
            None if flags is None else flags.tolist()
            for flags in (is_categorical, self.is_categorical_)
        )
        checked_continuation(asked)
        if is_categorical is None:
            return
        new = self._categories_of(X, sample_weight, is_categorical)
        unknown = Categories(self.categories_).unknown_of(new)
        if unknown:
            place, categories = next(iter(unknown.items()))
            raise ValueError(
                "The earlier fit, which is to be continued, has no values for the "
                f"categories {shortened(categories)} of {column_words(X, place)}: "
                "leave these rows out, make the cells missing, or start afresh by fit "
                "with warm_start=False."
            )
