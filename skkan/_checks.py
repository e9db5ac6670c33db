"""Checks of what users hand to the estimators, each with a remedy in its message."""

import warnings
from collections import Counter
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from numbers import Integral, Real

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import (
    _check_sample_weight,
    assert_all_finite,
    check_array,
)

from skkan._threads import single_thread
from skkan.solvers import DivergenceError

REMEDIES = {
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
def remedies():
    """Add a remedy to those messages of scikit-learn and numpy that lack one."""
    try:
        yield
    except ValueError as error:
        for beginning, remedy in REMEDIES.items():
            if beginning in str(error) and remedy not in str(error):
                raise ValueError(f"{error} {remedy}") from error
        raise


@contextmanager
def column_told(X, is_categorical=None, *, in_fit, of_text=TEXT):
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
        column = _safe_indexing(X, [index], axis=1)
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
    return (
        f"column {X.columns[index]!r}" if hasattr(X, "columns") else f"column {index}"
    )


def checked_names(X):
    """Raise if columns of a data frame have the same name."""
    counts = Counter(getattr(X, "columns", ()))
    several = [name for name, count in counts.items() if count > 1]
    if several:
        raise ValueError(
            f"Columns of X must have different names, got {several} more than once: "
            "rename them, or pass X.to_numpy()."
        )


def checked_no_dates(X, is_categorical=None):
    """Raise if a column, those of categories aside, is of dates or durations."""
    if hasattr(X, "columns"):
        dtypes = [*X.dtypes]
        where = [f" in {column_words(X, index)}" for index in range(len(dtypes))]
    else:
        dtypes, where, is_categorical = [getattr(X, "dtype", None)], [""], None
    flags = [False] * len(dtypes) if is_categorical is None else is_categorical
    for dtype, place, is_category in zip(dtypes, where, flags, strict=False):
        if not is_category and _is_of_time(dtype):
            raise TypeError(
                f"X must hold numbers, got dtype {dtype}{place}: convert it, such as "
                "to days since some date or to the hour of the day."
            )


def _is_of_time(dtype):
    if hasattr(dtype, "is_temporal"):  # of polars
        return dtype.is_temporal()
    return getattr(dtype, "kind", None) in ("m", "M")


@contextmanager
def told_of(names):
    """Say of which arguments a message speaks, where scikit-learn says X and y."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"In {names}: {error}") from error


@contextmanager
def fit_context(estimator):
    """What every fit runs in: undone if it fails, one thread, gradients to be had."""
    with earlier_fit_kept(estimator), single_thread, torch.inference_mode(False):
        yield


@contextmanager
def earlier_fit_kept(estimator):
    """Undo what a failed fit did to the estimator."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        # scikit-learn still needs what its callbacks left on the estimator.
        for name in [name for name in vars(estimator) if "callback" not in name]:
            del vars(estimator)[name]
        vars(estimator).update(before)
        raise


@contextmanager
def divergence_explained(estimator):
    """Turn a solver's DivergenceError into a ValueError that says what to do."""
    try:
        yield
    except DivergenceError as error:
        raise ValueError(
            f"{type(estimator).__name__} diverged: {error}. Scale or clip extreme "
            "values of X and y, raise alpha, or lower the solver's learning rate."
        ) from error


def checked_continuation(asked):
    """Raise unless what is asked for is what the earlier fit has.

    `asked` maps names to pairs of values: asked for, and fitted.
    """
    for name, (value, fitted) in asked.items():
        if value != fitted:
            raise ValueError(
                f"The earlier fit, which is to be continued, has {name}={fitted!r}, "
                f"got {value!r}: keep it, or start afresh by fit with warm_start=False."
            )


def checked_weights(sample_weight, X, fewest):
    """Non-negative float64 weights, at least `fewest` of them positive."""
    with remedies():
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
    if n_samples < fewest and total < fewest:
        raise ValueError(
            f"sample_weight leaves n_samples={n_samples}, but at least {fewest} are "
            "required: give more rows a positive weight."
        )
    return weight


def checked_pruning(threshold, plan):
    """Raise unless it is no bool, and the training leaves what pruning goes by."""
    if isinstance(threshold, bool | np.bool_):
        raise ValueError(
            "prune_threshold must be a number of at least 0, 'auto' or None, got "
            f"{threshold}: 1.0 would remove nearly all edges, 'auto' goes by the "
            "evidence, None removes none."
        )
    if threshold == "auto" and not plan.learns_alpha:
        raise ValueError(
            "prune_threshold='auto' goes by the evidence, which needs solver='lm' and "
            f"alpha='auto', got {type(plan.solver).__name__}"
            f"{' and a fixed alpha' if plan.solver.second_order else ''}: set these, "
            "or a float such as prune_threshold=0.01."
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


def checked_layer_sizes(hidden_layer_sizes):
    """Tuple of positive ints, of which a single one counts as one layer, or "auto"."""
    if isinstance(hidden_layer_sizes, str):
        return hidden_layer_sizes
    sizes = np.atleast_1d(np.asarray(hidden_layer_sizes, dtype=object)).tolist()
    if not all(_is_count(size) for size in sizes):
        raise ValueError(
            "hidden_layer_sizes must hold integers of at least 1, got "
            f"{hidden_layer_sizes!r}: for an additive model without hidden layers "
            "pass ()."
        )
    return tuple(int(size) for size in sizes)


def checked_grid_sizes(grid_size, grid_schedule):
    """All grid sizes in the order in which they are visited."""
    schedule = () if grid_schedule is None else tuple(np.atleast_1d(grid_schedule))
    if not all(_is_count(size) for size in schedule):
        raise ValueError(
            f"grid_schedule must hold integers of at least 1, got {grid_schedule!r}: "
            "give the grid sizes to visit after grid_size, such as (10, 20)."
        )
    sizes = (int(grid_size), *(int(size) for size in schedule))
    if any(after <= before for before, after in pairwise(sizes)):
        raise ValueError(
            "grid_schedule must increase strictly from grid_size, got grid_size="
            f"{grid_size} and grid_schedule={grid_schedule!r}: a coarser grid cannot "
            "represent the fitted curves. Sort it and leave grid_size out."
        )
    return sizes


def _is_count(value):
    return isinstance(value, Integral) and not isinstance(value, bool) and value > 0


def checked_device(device):
    """torch.device that exists on this machine."""
    try:
        device = torch.device(device)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device must name a device of this machine such as 'cpu', got {device!r} "
            f"({str(error).splitlines()[0]})."
        ) from error
    return device


def checked_regression_target(y):
    """float64 target of shape (n_samples,) or (n_samples, n_outputs)."""
    y = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
    kinds = (Real, Decimal, np.bool_)
    numbers = y.dtype.kind == "O" and all(isinstance(v, kinds) for v in y.flat)
    if not (numbers or y.dtype.kind in "fiub"):
        raise ValueError(
            f"y must be numeric for regression, got dtype {y.dtype}: convert it to "
            "numbers, or use KANClassifier for class labels."
        )
    with remedies():
        y = y.astype(np.float64)
        assert_all_finite(y, input_name="y")
    return y


def checked_range(y, loss):
    """y, if the loss is defined for all of its values."""
    least = y.min(initial=np.inf)
    if loss == "poisson" and least < 0:
        raise ValueError(
            "loss='poisson' requires non-negative y and sum(y) > 0, got values down to "
            f"{least:.4g}: drop those rows, or set loss='squared_error'."
        )
    if loss == "gamma" and least <= 0:
        raise ValueError(
            f"loss='gamma' requires strictly positive y, got values down to {least:.4g}"
            ": drop those rows, or set loss='poisson', which takes zeros."
        )
    return y


def checked_sums(target):
    """A target whose columns have something to count, as loss='poisson' needs."""
    if not (target > 0).any(axis=0).all():
        raise ValueError(
            "loss='poisson' requires non-negative y and sum(y) > 0, got only zeros: "
            "there is nothing to learn a mean from. Add rows, or leave this fit out."
        )
    return target


def checked_labels(y):
    """Class labels of shape (n_samples,), or an indicator matrix of labels."""
    y = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. Please change "
            "the shape of y to (n_samples,), for example using ravel().",
            DataConversionWarning,
            stacklevel=5,
        )
        y = y.ravel()
    if y.ndim == 2 and not np.isin(y, (0, 1)).all():
        raise ValueError(
            "A y of several columns must be an indicator matrix of 0 and 1, one column "
            "a label: for several targets of more classes fit one model each."
        )
    return y


def checked_posterior(estimator):
    """Raise a ValueError if the last fit has left no posterior."""
    loss = estimator._fitted_loss
    if loss != "squared_error":
        raise ValueError(
            "return_std is the deviation of normal errors, which is not defined for a "
            f"fit with loss={loss!r}: set loss='squared_error', or fit quantiles with "
            "loss='quantile'."
        )
    known = ("_posterior_factor", "_output_factor")
    if not any(hasattr(estimator, name) for name in known):
        raise ValueError(
            f"return_std needs a {type(estimator).__name__} whose last fit has left a "
            f"posterior, got solver={estimator.solver!r}, alpha={estimator.alpha!r}, "
            f"penalty={estimator.penalty!r}: fit with solver='lm', or with "
            "hidden_layer_sizes, solver and alpha 'auto'."
        )
