"""First-order training against second-order training of the same objective."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning

from skkan import KANClassifier, KANRegressor

NEAR = 1.01  # of second order's objective
MAX_STEPS = 40  # on any grid; ten of them see that nothing is left


def law(rng, n_rows=200):
    X = rng.uniform(-1, 1, (n_rows, 2))
    return X, np.exp(np.sin(np.pi * X[:, 0]) + X[:, 1] ** 2)


def objectives(model, X, y):
    """Where L-BFGS and Levenberg-Marquardt end, and the steps of the former."""
    exact = model.set_params(solver="lm").fit(X, y).loss_curve_[-1]
    model.set_params(solver="lbfgs").fit(X, y)
    return model.loss_curve_[-1], exact, model.n_iter_


def units(rng):
    """Columns of many scales, with heavy tails."""
    X = rng.standard_t(1.5, size=(200, 3)) * [1e-6, 1.0, 1e6]
    return X, np.tanh(X[:, 1]) + np.sign(X[:, 2]) * np.abs(X[:, 2] / 1e6) ** 0.3


def gaps(rng):
    X = pd.DataFrame(rng.uniform(-1, 1, (200, 2)), columns=["a", "b"])
    y = np.exp(np.sin(np.pi * X["a"]) + X["b"] ** 2)
    X["c"] = pd.Categorical(rng.choice(list("pqrs"), 200))
    X.loc[rng.random(200) < 0.2, ["a", "c"]] = None
    return X, y


def copies(rng):
    """Columns that hardly differ."""
    X = rng.normal(size=(200, 1)) + 0.05 * rng.normal(size=(200, 3))
    return X, np.sin(3 * X[:, 0]) - X[:, 2] + 0.1 * rng.normal(size=200)


def counts(rng):
    X, mean = law(rng)
    return X, rng.poisson(20 * mean)


def outliers(rng):
    X, y = law(rng)
    return X, np.where(rng.random(200) < 0.1, 50.0, y)


def classes(rng):
    X, y = law(rng)
    return X, (y + rng.normal(size=200) > 1.5).astype(int)


CONVEX = {
    "law": (law, KANRegressor, {}),
    "even grids": (law, KANRegressor, {"grid_eps": 1.0, "spline_order": 1}),
    "units": (units, KANRegressor, {"grid_eps": 0.0, "extrapolation": "linear"}),
    "gaps": (gaps, KANRegressor, {}),
    "copies": (copies, KANRegressor, {}),
    "counts": (counts, KANRegressor, {"loss": "poisson"}),
    "outliers": (outliers, KANRegressor, {"loss": "huber"}),
    "classes": (classes, KANClassifier, {}),
}


@pytest.mark.parametrize(
    ("grid_size", "alpha"), [(5, 10.0), (5, 1e-6), (60, 1e-6), (60, 3e-3)]
)
@pytest.mark.parametrize("case", CONVEX.values(), ids=CONVEX)
def test_lbfgs_ends_at_the_minimum_of_a_convex_problem(case, grid_size, alpha, rng):
    """Whatever the penalty, the grid, the loss and the columns."""
    make, kind, options = case
    model = kind((), grid_size=grid_size, alpha=alpha, **options)
    value, exact, _ = objectives(model, *make(rng))
    assert value < NEAR * exact


def test_steps_do_not_grow_with_the_grid(rng):
    """Without whitening, 300 intervals end far from the minimum after 100 steps."""
    X, y = law(rng, 300)
    for grid_size in (10, 50, 300):
        model = KANRegressor((), grid_size=grid_size, alpha=0.003)
        value, exact, n_iter = objectives(model, X, y)
        assert value < NEAR * exact
        assert n_iter < MAX_STEPS


def error_on_fresh_rows(model, rng):
    X, y = law(rng, 1000)
    return float(np.sqrt(np.mean((model.predict(X) - y) ** 2)))


def test_finer_grids_are_no_worse_with_hidden_nodes(rng):
    """On the default penalty of first order, whose bias they share."""
    X, y = law(rng, 300)
    errors = [
        error_on_fresh_rows(
            KANRegressor((1,), grid_size=grid_size, solver="lbfgs").fit(X, y), rng
        )
        for grid_size in (10, 100)
    ]
    assert errors[1] < 3 * errors[0]


def test_grids_too_fine_for_second_order_learn_from_coarser_ones(rng, monkeypatch):
    """The default penalty of first order, 0.003, would leave an error of 0.05."""
    limits = ((100, 1e10), (100, 1e10))
    monkeypatch.setattr("skkan.selection._solver_choice.LM_LIMITS", limits)
    X, y = law(rng, 300)
    model = KANRegressor((1,), grid_size=80, random_state=0).fit(X, y)
    assert model.grid_size_ == 80
    assert error_on_fresh_rows(model, rng) < 2e-3


def test_search_that_ends_far_from_a_minimum_warns(rng):
    """Here a tolerance takes the second iteration for the last."""
    X, y = law(rng)
    model = KANRegressor(
        (3,), solver="lbfgs", tol=0.9, n_iter_no_change=1, n_grid_updates=0
    )
    with pytest.warns(ConvergenceWarning, match="without progress, although the grad"):
        model.fit(X, y)


def test_search_that_ends_at_a_minimum_does_not_warn(rng):
    """Nor where all of the target is explained and rounding is left."""
    X, _ = law(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KANRegressor((), solver="lbfgs", alpha=0.0).fit(X, X.sum(1))
        KANRegressor((), solver="lbfgs").fit(X, np.ones(len(X)))
