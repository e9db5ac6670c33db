"""Checks of targets, each with a remedy in its message."""

import warnings
from decimal import Decimal
from numbers import Real

import numpy as np
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.validation import assert_all_finite

from skkan.data._column_checks import adding_remedies
from skkan.losses._registry import REGRESSION_LOSSES


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
    with adding_remedies():
        y = y.astype(np.float64)
        assert_all_finite(y, input_name="y")
    return y


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
    if not REGRESSION_LOSSES[loss].is_normal:
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
