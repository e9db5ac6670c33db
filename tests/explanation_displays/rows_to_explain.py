"""Rows, models and helpers that the tests of importances and Shapley values share."""

from functools import cache

import numpy as np
import pandas as pd
from models_to_draw import one_line

from skkan import KANRegressor
from skkan.inspection import Explanation

QUICK = {"solver": "lbfgs", "tol": 0.1, "max_iter": 20, "random_state": 0}
LONG = "mean of the logarithm of a quantity over all the rows of $a_i [mg]"
rng = np.random.default_rng(0)
X = pd.DataFrame(
    {
        "income": rng.lognormal(0, 1, 120),
        "colour": pd.Categorical(rng.choice(["red", "green"], 120)),
        LONG: rng.normal(size=120),
    }
)
Y = np.log(X["income"]) + (X["colour"] == "red") * X[LONG]
X.loc[::7, "income"] = np.nan


@cache
def mixed_model():
    return KANRegressor((2,), **QUICK).fit(X, Y)


def row_labels(display):
    return [one_line(label) for label in display.ax_.get_yticklabels()]


def by_hand(values, data, error=None, base=0.0):
    """An explanation of one output."""
    values = np.atleast_2d(values)
    names = [f"x{i}" for i in range(values.shape[1])]
    error = np.zeros_like(values) if error is None else np.atleast_2d(error)
    return Explanation(
        values=values,
        base_values=base,
        error=error,
        data=np.atleast_2d(data),
        feature_names=names,
        output_names=["y"],
    )
