"""Fitted models of all structures, with missing cells, categories and classes."""

import numpy as np
import pandas as pd

from skkan import KANClassifier, KANRegressor

rng = np.random.default_rng(0)
N_ROWS = 90
TABLE = pd.DataFrame(rng.uniform(-1, 1, (N_ROWS, 3)), columns=["a", "b", "c"])
TABLE["kind"] = pd.Categorical(rng.choice(["left", "right", "up"], N_ROWS))
TABLE.loc[::7, "b"] = np.nan
LAW = (
    TABLE["a"] * TABLE["b"].fillna(0.5)
    + np.sin(2 * TABLE["c"])
    + (TABLE["kind"] == "up") * TABLE["a"]
).to_numpy()
SHORT = {"solver": "lbfgs", "max_iter": 40, "tol": 0.1, "random_state": 0}


def _columns(*targets):
    return np.stack(targets, axis=1)


def _labels(n_classes):
    ends = np.quantile(LAW, np.arange(1, n_classes) / n_classes)
    return np.array(["one", "two", "three"])[np.searchsorted(ends, LAW)]


MODELS = {
    "additive": lambda: KANRegressor((), random_state=0).fit(TABLE, LAW),
    "hidden": lambda: KANRegressor((3,), max_iter=20, tol=0.1).fit(TABLE, LAW),
    "deep with skip": lambda: KANRegressor((3, 2), additive_skip=True, **SHORT).fit(
        TABLE, LAW
    ),
    "two targets": lambda: KANRegressor((1,), n_multiplications=1, **SHORT).fit(
        TABLE, _columns(LAW, 100 * LAW**2)
    ),
    "log link": lambda: KANRegressor((2,), loss="poisson", **SHORT).fit(
        TABLE, np.exp(LAW)
    ),
    "two classes": lambda: KANClassifier((2,), **SHORT).fit(TABLE, _labels(2)),
    "three classes": lambda: KANClassifier((2,), **SHORT).fit(TABLE, _labels(3)),
    "pruned": lambda: KANRegressor((3,), prune_threshold=0.02, **SHORT).fit(TABLE, LAW),
    "numbers": lambda: KANRegressor((2,), grid_eps=0.0, spline_order=2, **SHORT).fit(
        TABLE[["a", "c"]].to_numpy(), LAW
    ),
}


def raw_output(model, X):
    """Raw output by public methods, ndarray of shape (n_samples, n_outputs)."""
    if isinstance(model, KANClassifier):
        output = model.decision_function(X)
    elif model.loss == "poisson":
        output = np.log(model.predict(X))
    else:
        output = model.predict(X)
    return output.reshape(len(X), -1)


def rows_of(model):
    """The rows that the model knows, as a frame or an array."""
    return TABLE if model.n_features_in_ == 4 else TABLE[["a", "c"]].to_numpy()


def with_columns(X, columns, other, row):
    """X with the values that a row of another table has in some columns."""
    if isinstance(X, pd.DataFrame):
        X = X.copy()
        for column in columns:
            X.isetitem(column, other.iloc[[row] * len(X), column].array)
        return X
    X = X.copy()
    X[:, columns] = other[row, columns]
    return X
