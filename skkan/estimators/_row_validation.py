"""Checks of the rows that an estimator is given, before any work is done.

They may be arrays, sparse matrices, data frames or tables in chunks. What is found out
about columns and categories is set on the estimator; nothing is scaled or coded here.
"""

from reprlib import repr as shortened

import numpy as np
from sklearn.utils.validation import (
    _check_y,
    _get_feature_names,
    _num_samples,
    check_array,
    check_consistent_length,
    check_X_y,
    validate_data,
)

from skkan.data._categories import Categories, as_table, categorical_columns
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
from skkan.data._frames import is_frame, native
from skkan.data._merged_rows import dense
from skkan.estimators._parameter_checks import checked_continuation
from skkan.selection._solver_choice import check_compatible


def validated_features(estimator, X):
    """X for a prediction: float64, dense with codes for categories, or sparse rows."""
    with adding_remedies():
        return _validated(estimator, X, reset=False)


def validated_rows(
    estimator, X, y, sample_weight, *, reset=True, min_samples=2, same_columns=False
):
    """Rows for a fit; those without weight are dropped.

    Parameters
    ----------
    estimator : KANRegressor or KANClassifier
        Gets the attributes about columns and categories.
    X, y, sample_weight
        As for `fit`.
    reset : bool, default=True
        Whether the columns may be others than before.
    min_samples : int, default=2
        Smallest number of rows, where weights count as repetitions.
    same_columns : bool, default=False
        Whether to compare categories with those of the previous fit, too.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features) or Chunks
        float64, with codes for categories.
    y : ndarray
    sample_weight : ndarray of shape (n_samples,)
    """
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is "
            "None."
        )
    X, y, sample_weight = table_of(X), in_memory(y), in_memory(sample_weight)
    table = X if isinstance(X, DaskTable) else None
    if table is not None:
        check_compatible(
            estimator.solver,
            estimator.penalty,
            device=estimator.device,
            in_chunks=True,
        )
        X = table.head
    with adding_remedies():
        if same_columns:
            _check_same_columns(estimator, X, None if table else sample_weight)
        elif reset:
            _find_categories(estimator, X, None if table else sample_weight)
        if table is not None:
            X, y = _validated_chunks(estimator, table, y, reset=reset)
            like = np.broadcast_to(0.0, (len(X), 1))  # has as many rows
        else:
            X, y = _validated(
                estimator,
                X,
                y,
                reset=reset,
                multi_output=True,
                ensure_min_samples=min_samples,
            )
            X = like = dense(X)
    y = estimator._checked_target(y)
    weight = checked_weights(sample_weight, like, min_samples)
    if not weight.all():
        used = weight > 0
        X, y, weight = X[used], y[used], weight[used]
    return X, y, weight


def _validated(estimator, X, *y, reset, **checks):
    """X as float64, perhaps with y; `checks` are those of scikit-learn."""
    checks = {
        "accept_sparse": "csr",
        "dtype": np.float64,
        "ensure_all_finite": "allow-nan",
        **checks,
    }
    frame = native(X)
    checked_names(frame)
    checked_no_dates(frame, estimator.is_categorical_)
    with naming_column(frame, estimator.is_categorical_, in_fit=reset):
        if estimator.categories_ is None:
            return validate_data(estimator, X, *y, reset=reset, **checks)
        table = as_table(frame, estimator)
        # scikit-learn knows wrapped frames as such, and arrays without names.
        like = X if is_frame(frame) else table
        validate_data(estimator, like, reset=reset, skip_check_array=True)
        X = Categories(estimator.categories_).encoded(table)
    if y:
        return check_X_y(X, *y, estimator=estimator, **checks)
    return check_array(X, estimator=estimator, input_name="X", **checks)


def _validated_chunks(estimator, table, y, *, reset):
    """Rows that stay in chunks, Chunks, and y."""
    head = table.head
    checked_no_categories(estimator.is_categorical_, head)
    checked_names(head)
    checked_no_dates(head)
    validate_data(estimator, head, reset=reset, skip_check_array=True)
    y = _check_y(y, multi_output=True, estimator=estimator)
    check_consistent_length(table, y)
    return table.checked(), y


def _find_categories(estimator, X, sample_weight):
    """Set the attributes about categories."""
    X = native(X)
    with naming_column(X, in_fit=True):
        is_categorical = categorical_columns(X, estimator.categorical_features)
        estimator.is_categorical_ = is_categorical
        estimator.categories_ = None
        if is_categorical is not None:
            known = _categories_of(X, sample_weight, is_categorical)
            estimator.categories_ = known.of_columns


def _categories_of(X, sample_weight, is_categorical):
    used = np.ones(_num_samples(X), dtype=bool)
    if sample_weight is not None:
        used = checked_weights(sample_weight, X, min_samples=1) > 0
    return Categories.of_rows(X, is_categorical, used)


def _check_same_columns(estimator, X, sample_weight):
    """Raise unless X has the columns and categories of the previous fit."""
    names, requested = _get_feature_names(X), {}
    X = native(X)
    with naming_column(X, in_fit=False):
        is_categorical = categorical_columns(X, estimator.categorical_features)
    if names is not None and hasattr(estimator, "feature_names_in_"):
        fitted = estimator.feature_names_in_.tolist()
        requested["feature_names_in_"] = (names.tolist(), fitted)
    elif len(getattr(X, "shape", ())) == 2:
        requested["n_features"] = (X.shape[1], estimator.n_features_in_)
    requested["is_categorical_"] = tuple(
        None if flags is None else flags.tolist()
        for flags in (is_categorical, estimator.is_categorical_)
    )
    checked_continuation(requested)
    if is_categorical is None:
        return
    new = _categories_of(X, sample_weight, is_categorical)
    unknown = Categories(estimator.categories_).unknown_of(new)
    if unknown:
        place, categories = next(iter(unknown.items()))
        raise ValueError(
            "The earlier fit, which is to be continued, has no values for the "
            f"categories {shortened(categories)} of {column_words(X, place)}: "
            "leave these rows out, make the cells missing, or start afresh by fit "
            "with warm_start=False."
        )
