"""Rows, models and helpers that the tests of displays share."""

import copy
from functools import cache
from itertools import pairwise

import numpy as np
import pandas as pd

from skkan import KANRegressor

NAMES = ["age", "height", "income", "site"]
LONG = [
    f"mean of the logarithm of quantity {i} over all the rows of $a_{i} [mg]"
    for i in range(4)
]
rng = np.random.default_rng(0)
X = pd.DataFrame(rng.uniform(-1, 1, (150, 4)), columns=NAMES)
X["site"] = 3.0
Y = np.sin(3 * X["age"]) + 2 * X["height"] + 0.1 * rng.normal(size=150)


@cache
def additive_model():
    """With a posterior; the curve of age bends, that of height is straight."""
    return KANRegressor((), random_state=0).fit(X, Y)


@cache
def deep_model():
    """Three layers, a skip and two targets, without a posterior."""
    model = KANRegressor(
        (3, 2), additive_skip=True, solver="lbfgs", max_iter=20, random_state=0
    )
    return model.fit(X, np.column_stack([Y, X["age"] * X["income"]]))


def without_edges(estimator, *removed):
    """A copy whose edges (layer, output, input) are removed."""
    pruned = copy.deepcopy(estimator)
    arrays = pruned.fitted_model_.network_arrays["layers"]
    for layer, output, source in removed:
        arrays[layer]["mask"][output, source] = 0
        pruned.fitted_model_.layer_statistics[layer].score[output, source] = 0
    return pruned


def one_line(text):
    return text.get_text().replace("\n", " ")


def apart(intervals):
    ordered = sorted(intervals)
    return all(a[1] <= b[0] for a, b in pairwise(ordered))
