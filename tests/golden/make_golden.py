"""Fits the stored cases, and writes their states and what is read off them.

    cd tests && python -m golden.make_golden [--format-only] [CASE ...]

States are renewed only for a stated change of their format, or where a case is new.
They need not be what a fit of today gives: a test compares what is read off a stored
state, and never fits. A better solver is thus no reason to run this script.

Where only the format changes, expected values stay: `--format-only` loads each stored
estimator, which `__setstate__` must still be able to read, and saves its state anew
beside the expected values that were stored. To make that possible, let `__setstate__`
read the old form until the files are rewritten.

Names of cases restrict the script to these. A new case is an entry of `CASES`.
"""

import argparse
import sys
import warnings
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from golden.codec import STATES, case_paths, load, save
from golden.readings import ALWAYS, READINGS
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_iris,
    load_linnerud,
    load_wine,
)
from sklearn.exceptions import ConvergenceWarning

from skkan import KANClassifier, KANRegressor, SparsityPenalty
from skkan.inspection import prune
from skkan.solvers import LBFGS, Adam, LevenbergMarquardt

N_ROWS = 24  # to predict


class Table(NamedTuple):
    """Rows to fit and rows to predict."""

    X: object
    y: np.ndarray
    rows: object


class Case(NamedTuple):
    """One stored estimator and what is read off it beside `ALWAYS`."""

    table: object  # function that gives a Table
    estimator: object  # not fitted
    readings: tuple = ("onnx",)
    fit: object = None  # fit(estimator, table) gives the fitted estimator


# Tables. The last four rows to predict are of the fit, the others are new; some lie
# beyond the range of the fit.


def _law(function, n_rows=100, n_features=3, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n_rows, n_features))
    y = function(X) + noise * rng.normal(size=n_rows)
    return _with_rows(X, y, rng)


def _with_rows(X, y, rng):
    low, high = np.nanmin(X, axis=0), np.nanmax(X, axis=0)
    new = rng.uniform(-0.2, 1.2, (N_ROWS - 4, X.shape[1]))
    return Table(X, y, np.vstack([low + (high - low) * new, X[:4]]))


def _sum(X):
    return np.sin(3 * X[:, 0]) + X[:, 1] ** 2


def _product(X):
    return np.sin(3 * X[:, 0]) * X[:, 1]


@cache
def additive():
    return _law(_sum)


@cache
def product():
    return _law(_product)


@cache
def smooth():
    """Two features without noise."""
    return _law(_product, n_features=2, noise=0.0, n_rows=150)


@cache
def elementary():
    """A law whose terms are in the library of primitives."""
    return _law(lambda X: np.exp(X[:, 0]) + 3 * X[:, 1], n_features=2, noise=0.01)


@cache
def two_targets():
    X, y, rows = product()
    return Table(X, np.column_stack([y, 10 * _sum(X) + 5]), rows)


@cache
def column():
    X, y, rows = additive()
    return Table(X, y[:, None], rows)


@cache
def constant_feature():
    X, y, rows = additive()
    X, rows = X.copy(), rows.copy()
    X[:, 2] = rows[:-1, 2] = 3.0
    return Table(X, y, rows)


@cache
def noisy_product():
    """A sum of a product, which needs hidden nodes, and of a curve, which does not."""
    return _law(
        lambda X: _product(X) + 2 * np.abs(X[:, 1]), n_rows=200, noise=0.2, n_features=2
    )


@cache
def outliers():
    X, y, rows = additive()
    rng = np.random.default_rng(1)
    return Table(X, y + 20 * (rng.uniform(size=len(y)) < 0.1), rows)


def _drawn(draw, seed=2):
    """Targets of which `additive` is the logarithm of the mean."""
    X, _, rows = additive()
    mean = np.exp(1 + _sum(X))
    return Table(X, draw(np.random.default_rng(seed), mean), rows)


@cache
def counts():
    return _drawn(lambda rng, mean: rng.poisson(mean).astype(float))


@cache
def positive():
    return _drawn(lambda rng, mean: rng.gamma(4.0, mean / 4.0))


@cache
def two_counts():
    X, y, rows = counts()
    return Table(X, np.column_stack([y, y[::-1] + 1]), rows)


@cache
def missing():
    X, y, rows = additive()
    X, rows = X.copy(), rows.copy()
    rng = np.random.default_rng(3)
    X[rng.uniform(size=len(X)) < 0.2, 0] = np.nan
    rows[:5, 0] = rows[3:8, 1] = np.nan  # the second column had none
    return Table(X, y, rows)


@cache
def categories():
    """A data frame; the fit does not know one of the categories to predict."""
    X, y, rows = additive()
    rng = np.random.default_rng(4)
    kinds = ["red", "green", "blue", "violet"]
    codes = rng.integers(0, 3, len(X))
    return Table(
        _frame(X, codes, kinds),
        y + np.array([0.0, 1.0, -1.0])[codes],
        _frame(rows, np.arange(N_ROWS) % 4, kinds),
    )


def _frame(X, codes, kinds):
    colour = pd.Categorical.from_codes(codes, kinds)
    return pd.DataFrame({"size": X[:, 0], "colour": colour, "depth": X[:, 1]})


@cache
def categories_and_missing():
    X, y, rows = categories()
    X, rows = X.copy(), rows.copy()
    X.loc[:15, "size"] = rows.loc[:3, "size"] = np.nan
    X.loc[10:25, "colour"] = rows.loc[2:6, "colour"] = np.nan
    return Table(X, y, rows)


@cache
def codes():
    """Categories as whole numbers; the last row has one that is not known."""
    X, y, rows = additive()
    rng = np.random.default_rng(5)
    X, rows = X.copy(), rows.copy()
    X[:, 2], rows[:, 2] = rng.integers(0, 4, len(X)), np.arange(N_ROWS) % 4
    rows[-1, 2] = 17
    return Table(X, y + X[:, 2], rows)


def _bundled(loader, columns, step=1, **settings):
    found = loader(**settings)
    X, y = found.data[::step, columns], found.target[::step]
    return _with_rows(X, y, np.random.default_rng(0))


@cache
def diabetes():
    return _bundled(load_diabetes, [2, 3, 8], step=4, scaled=False)


@cache
def linnerud():
    return _bundled(load_linnerud, [0, 1])


@cache
def cancer():
    return _bundled(load_breast_cancer, [1, 7, 20], step=4)


@cache
def iris():
    return _bundled(load_iris, [0, 2], step=2)


@cache
def wine_names():
    X, y, rows = _bundled(load_wine, [0, 6, 9])
    return Table(X, np.array(["barolo", "grignolino", "barbera"])[y], rows)


@cache
def iris_names():
    X, y, rows = iris()
    return Table(X, load_iris().target_names.astype(object)[y], rows)


@cache
def truth():
    X, y, rows = cancer()
    return Table(X, y == 1, rows)


@cache
def labels():
    X, _, rows = additive()
    rng = np.random.default_rng(6)
    raw = np.column_stack([_sum(X) - 0.3, X[:, 2], X[:, 1] - X[:, 0]])
    return Table(X, (raw + 0.3 * rng.logistic(size=raw.shape) > 0).astype(int), rows)


@cache
def labels_with_missing():
    return missing()._replace(y=labels().y)


@cache
def interaction():
    """Two classes that no additive model tells apart."""
    X, _, rows = _law(_product, n_rows=200, n_features=2)
    return Table(X, (X[:, 0] * X[:, 1] > 0).astype(int), rows)


@cache
def noisy_classes():
    X, _, rows = additive()
    rng = np.random.default_rng(7)
    return Table(X, (_sum(X) + rng.logistic(size=len(X)) > 0.3).astype(int), rows)


@cache
def few_rows():
    """Too few for a search to try hidden nodes."""
    return _law(_sum, n_rows=50, n_features=2)


# Ways to fit.


def _weighted(estimator, table):
    weight = np.random.default_rng(8).uniform(0.2, 2, len(table.y))
    return estimator.fit(table.X, table.y, sample_weight=weight)


def _validated(estimator, table):
    X, y = table.X, table.y
    return estimator.fit(X[25:], y[25:], X_val=X[:25], y_val=y[:25])


def _refitted(estimator, table):
    """A warm start on larger grids."""
    estimator.fit(table.X, table.y)
    return estimator.set_params(grid_size=7).fit(table.X, table.y)


def _streamed(estimator, table):
    names = {}
    if isinstance(estimator, KANClassifier):
        names["classes"] = np.unique(table.y)
    for rows in (slice(0, 60), slice(60, None), slice(0, 40)):
        estimator.partial_fit(table.X[rows], table.y[rows], **names)
    return estimator


def _pruned_afterwards(estimator, table):
    fitted = estimator.fit(table.X, table.y)
    return prune(fitted, table.X, table.y, threshold=0.2)


def _at_own_alpha(estimator, table):
    """Strengths of each edge from a fit before, to be taken as they are."""
    learnt = KANRegressor((), solver="lm", grid_size=4, random_state=0)
    alpha = learnt.fit(table.X, table.y).alpha_
    return estimator.set_params(alpha=alpha).fit(table.X, table.y)


def _regressor(hidden_layer_sizes=(), **settings):
    return KANRegressor(hidden_layer_sizes, **{"random_state": 0, **settings})


def _classifier(hidden_layer_sizes=(), **settings):
    return KANClassifier(hidden_layer_sizes, **{"random_state": 0, **settings})


SHORT = {"max_iter": 15}
LM = {"solver": "lm", "grid_size": 4}
BFGS = {"solver": "lbfgs", **SHORT}
ADAM = {"solver": "adam", **SHORT}
DRAWN = ("onnx", "displays")
WRITTEN = ("onnx", "expressions")

CASES = {
    # Solvers.
    "lm-additive": Case(
        diabetes, _regressor(**LM), ("onnx", "onnx_in_float32", "expressions")
    ),
    "lm-hidden": Case(product, _regressor((3,), **LM), DRAWN),
    "lm-two-hidden-layers": Case(product, _regressor((3, 2), **LM, **SHORT)),
    "lm-object": Case(
        additive, _regressor(solver=LevenbergMarquardt(damping=1.0), grid_size=3)
    ),
    "lm-constant-feature": Case(constant_feature, _regressor(**LM), WRITTEN),
    "lm-elementary": Case(elementary, _regressor(**LM), ("onnx", "formula")),
    "lbfgs-hidden": Case(product, _regressor((3,), **BFGS), WRITTEN),
    "lbfgs-two-hidden-layers": Case(product, _regressor((3, 2), **BFGS)),
    "lbfgs-object": Case(product, _regressor(solver=LBFGS(history_size=5), **SHORT)),
    "adam-hidden": Case(product, _regressor((3,), **ADAM), ("onnx_in_float32",)),
    "adam-object": Case(
        product, _regressor((2,), solver=Adam(0.02, batch_size=32), **SHORT)
    ),
    # Losses.
    "poisson-lm": Case(counts, _regressor(loss="poisson", **LM), WRITTEN),
    "poisson-adam-two-targets": Case(
        two_counts, _regressor((2,), loss="poisson", **ADAM)
    ),
    "gamma-lm": Case(positive, _regressor(loss="gamma", **LM)),
    "gamma-lbfgs": Case(positive, _regressor((2,), loss="gamma", **BFGS)),
    "tweedie-lm": Case(counts, _regressor(loss="tweedie", power=1.3, **LM)),
    "huber-lm": Case(outliers, _regressor(loss="huber", **LM)),
    "huber-lbfgs": Case(outliers, _regressor((2,), loss="huber", **BFGS)),
    "quantile-lm": Case(additive, _regressor(loss="quantile", quantile=0.8, **LM)),
    "quantile-adam": Case(
        additive, _regressor((2,), loss="quantile", quantile=0.3, **ADAM)
    ),
    # Targets.
    "column-lm": Case(column, _regressor(**LM)),
    "two-targets-lm": Case(two_targets, _regressor((2,), **LM, **SHORT), DRAWN),
    "three-targets-lbfgs": Case(linnerud, _regressor((2,), **BFGS), WRITTEN),
    "two-classes-lm": Case(cancer, _classifier(**LM), ("onnx", "onnx_in_float32")),
    "two-classes-lbfgs": Case(truth, _classifier((2,), **BFGS), WRITTEN),
    "two-classes-formula": Case(noisy_classes, _classifier(**BFGS), ("formula",)),
    "classes-lm": Case(iris, _classifier(**LM), DRAWN),
    "class-names-lm": Case(iris_names, _classifier((2,), **LM, **SHORT)),
    "class-names-adam": Case(wine_names, _classifier((3,), **ADAM)),
    "labels-lm": Case(labels, _classifier(**LM)),
    "labels-lbfgs-missing": Case(labels_with_missing, _classifier((2,), **BFGS)),
    # Features.
    "missing-lm": Case(missing, _regressor(**LM), DRAWN),
    "missing-adam": Case(missing, _regressor((2,), **ADAM)),
    "categories-lm": Case(categories, _regressor(**LM), ("displays",)),
    "categories-and-missing-lm": Case(
        categories_and_missing, _regressor((2,), **LM, **SHORT), ()
    ),
    "categories-and-missing-classes": Case(
        lambda: categories_and_missing()._replace(y=categories().y > 0),
        _classifier((2,), **BFGS),
        (),
    ),
    "codes-lm": Case(codes, _regressor(categorical_features=[2], **LM)),
    "codes-hidden-skip": Case(
        codes, _regressor((2,), categorical_features=[2], additive_skip=True, **BFGS)
    ),
    # Weights, and fits in several steps.
    "sample-weight-lm": Case(additive, _regressor(**LM), fit=_weighted),
    "class-weight-balanced": Case(
        iris, _classifier(class_weight="balanced", **LM), fit=_weighted
    ),
    "class-weight-dict": Case(
        cancer, _classifier((2,), class_weight={0: 3.0, 1: 1.0}, **BFGS)
    ),
    "grid-schedule-lbfgs": Case(
        product, _regressor((2,), grid_size=3, grid_schedule=(6,), **BFGS), DRAWN
    ),
    "grid-schedule-lm": Case(
        additive, _regressor(grid_size=2, grid_schedule=(5,), solver="lm")
    ),
    "warm-start": Case(
        product, _regressor((2,), grid_size=3, warm_start=True, **BFGS), fit=_refitted
    ),
    "partial-fit": Case(product, _regressor((2,), solver="adam"), fit=_streamed),
    "partial-fit-classes": Case(iris_names, _classifier((2,)), fit=_streamed),
    "prune-threshold": Case(
        product, _regressor((4,), prune_threshold=0.05, **BFGS), DRAWN
    ),
    "prune-auto-lm": Case(additive, _regressor(prune_threshold="auto", **LM)),
    "prune-afterwards": Case(
        product, _regressor((3,), **LM, **SHORT), fit=_pruned_afterwards
    ),
    "early-stopping-lbfgs": Case(
        product,
        _regressor((2,), early_stopping=True, solver="lbfgs", max_iter=40),
        DRAWN,
        fit=_validated,
    ),
    "early-stopping-lm": Case(
        noisy_classes, _classifier(early_stopping=True, **LM, **SHORT)
    ),
    # Curves and penalties.
    "skip-linear": Case(
        product,
        _regressor((2,), additive_skip=True, extrapolation="linear", **LM, **SHORT),
        ("onnx", "expressions"),
    ),
    "products-lm": Case(
        product,
        _regressor((1,), n_multiplications=1, additive_skip=True, **LM, **SHORT),
        (*DRAWN, "expressions"),
    ),
    "products-classes": Case(
        iris, _classifier((0, 1), n_multiplications=(1, 1), **LM, **SHORT)
    ),
    "identity-order-1": Case(
        product, _regressor((2,), base_activation="identity", spline_order=1, **BFGS)
    ),
    "linear-order-1-lm": Case(
        additive, _regressor(extrapolation="linear", spline_order=1, **LM)
    ),
    "order-2-adaptive-grid": Case(
        product, _regressor((2,), spline_order=2, grid_eps=0.3, **LM, **SHORT)
    ),
    "order-0": Case(additive, _regressor(spline_order=0, **BFGS), ()),
    "quantile-grid": Case(diabetes, _regressor(grid_eps=0.0, **BFGS)),
    "alpha-array": Case(additive, _regressor(**LM), fit=_at_own_alpha),
    "alpha-float-lm": Case(additive, _regressor(alpha=0.1, **LM)),
    "alpha-zero": Case(product, _regressor((2,), alpha=0, **BFGS)),
    "sparsity-lbfgs": Case(
        product, _regressor((3,), penalty=SparsityPenalty(lamb=0.02), **BFGS)
    ),
    "sparsity-adam": Case(
        labels,
        _classifier(
            (2,), penalty=SparsityPenalty(lamb_coef=0.1, lamb_coefdiff=0.1), **ADAM
        ),
    ),
    # Structures that data choose.
    "auto-additive": Case(additive, _regressor("auto")),
    "auto-ensemble": Case(
        noisy_product, _regressor("auto", grid_size=2, spline_order=1), DRAWN
    ),
    "auto-early-stopping": Case(
        noisy_product, _regressor("auto", early_stopping=True, spline_order=1)
    ),
    "auto-ensemble-huber": Case(noisy_product, _regressor("auto", loss="huber")),
    "auto-second-order": Case(smooth, _regressor("auto")),
    "auto-additive-by-validation": Case(  # more weights than evidence is learnt for
        few_rows, _regressor("auto", grid_size=510, loss="huber")
    ),
    "auto-classes-ensemble": Case(interaction, _classifier("auto", spline_order=2)),
    "auto-classes-additive": Case(noisy_classes, _classifier("auto", grid_size=8)),
}


def fitted_case(case):
    """The document of a case, without expected values."""
    table = case.table()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if case.fit is None:
            estimator = case.estimator.fit(table.X, table.y)
        else:
            estimator = case.fit(case.estimator, table)
    document = {
        "estimator": estimator,
        "rows": table.rows,
        "scaled_rows": _scaled_rows(estimator),
    }
    if "formula" in case.readings:
        document["training"] = table.X, table.y
    return document


def _scaled_rows(estimator):
    """Rows for the network: numbers on and beyond its grids, codes of categories."""
    rng = np.random.default_rng(0)
    rows = rng.normal(scale=1.5, size=(8, estimator.n_features_in_))
    for column, known in enumerate(estimator.categories_ or []):
        if known is not None:
            rows[:, column] = np.arange(len(rows)) % (len(known) + 1) - 1
    return rows


def make(name):
    """Fit a case and write its file."""
    case = CASES[name]
    path = STATES / f"{name}.npz"
    save(path, fitted_case(case))
    document = load(path)  # so that values are those of the stored state
    expected = {
        reading: READINGS[reading](document["estimator"], document)
        for reading in (*ALWAYS, *case.readings)
    }
    save(path, {**document, "expected": expected})


def main(arguments):
    """Write the files that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--format-only", action="store_true")
    parser.add_argument("cases", nargs="*", metavar="CASE")
    options = parser.parse_args(arguments)
    if options.format_only:
        for path in case_paths():
            if not options.cases or path.stem in options.cases:
                save(path, load(path))
        return
    STATES.mkdir(exist_ok=True)
    for name in options.cases or CASES:
        make(name)


if __name__ == "__main__":
    main(sys.argv[1:])
