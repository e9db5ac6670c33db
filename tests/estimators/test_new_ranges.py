"""Rows of a later fit or batch that reach beyond the rows before."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from skkan import KANRegressor
from skkan.solvers import Adam

# Small budgets end fits early, which is what the warning is for.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SEED = {"random_state": 0}


def law(X):
    return np.sin(3 * X[:, 0]) + 0.3 * X[:, 1]


def tables(rng):
    """Rows, rows of a range three times as wide, and rows of it to test on."""
    return (half * rng.uniform(-1, 1, size=(300, 2)) for half in (1, 3, 3))


@pytest.mark.parametrize("grid_eps", [0.0, 1.0])
@pytest.mark.parametrize("hidden_layer_sizes", [(), (3,)])
@pytest.mark.parametrize(
    ("solver", "alpha"), [("lm", "auto"), ("lbfgs", 1e-6), (Adam(0.05), 1e-6)]
)
def test_warm_start_follows_a_wider_range(
    solver, alpha, hidden_layer_sizes, grid_eps, rng
):
    """As well as a fit from scratch, which has coarser grids in the first range."""
    near, far, fresh = tables(rng)
    settings = {"solver": solver, "alpha": alpha, "grid_eps": grid_eps, **SEED}
    settings |= {"max_iter": 100, "grid_size": 8}
    warm = KANRegressor(hidden_layer_sizes, warm_start=True, **settings)
    warm.fit(near, law(near)).fit(far, law(far))
    assert warm.score(fresh, law(fresh)) > 0.98


def test_streams_follow_a_wider_range(rng):
    near, far, fresh = tables(rng)
    model = KANRegressor((3,), alpha=1e-6, solver=Adam(0.05, batch_size=30), **SEED)
    for X in (near, far):
        for _ in range(20):
            model.partial_fit(X, law(X))
    assert model.score(fresh, law(fresh)) > 0.95


def test_rows_of_the_same_range_keep_the_grids(rng):
    near, *_ = tables(rng)
    model = KANRegressor((3,), warm_start=True, max_iter=20, **SEED)
    knots = [model.fit(near, law(near)).network_.layers[0].basis.grid for _ in range(2)]
    assert (knots[0] == knots[1]).all()


def test_a_finer_grid_is_asked_for_as_before(rng):
    """Its intervals are those of a range that has not been extended."""
    near, far, _ = tables(rng)
    model = KANRegressor((), grid_size=5, warm_start=True, **SEED).fit(near, law(near))
    extended = model.fit(far, law(far)).grid_size_
    assert 5 < extended <= 15
    assert model.set_params(grid_size=10).fit(far, law(far)).grid_size_ == 2 * extended
    with pytest.raises(ValueError, match="got 5 after an earlier fit that ended at 10"):
        model.set_params(grid_size=5).fit(far, law(far))


def test_outliers_do_not_stretch_grids(rng):
    """Neither a few of many rows, nor a batch of one."""
    near, *_ = tables(rng)
    y = law(near)
    model = KANRegressor((), solver="adam", **SEED).partial_fit(near, y)
    before = model.network_.layers[0].basis.grid
    near[7, 0] = 1e6
    model.partial_fit(near, y)
    assert (model.network_.layers[0].basis.grid == before).all()
    model.partial_fit(near[[7]], y[[7]])
    after = model.network_.layers[0].basis.grid
    width = before[:, -1] - before[:, 0]
    assert (after[:, -1] < before[:, -1] + 1.5 * width).all()


def test_ranges_that_grow_in_turns_do_not_grow_grids_without_end(rng):
    near, *_ = tables(rng)
    X = np.hstack([near, near])
    model = KANRegressor((), **SEED)
    for column in range(4):
        for _ in range(3):
            model.partial_fit(X, X[:, 0])
            X[:, column] *= 3
    assert model.grid_size_ == 20
    assert model.score(X[:, :] / 3, X[:, 0] / 3) > 0.99


def test_ranges_beyond_all_grids_are_told(rng):
    near, *_ = tables(rng)
    model = KANRegressor((), warm_start=True, **SEED).fit(near, near[:, 1])
    far = near * [1e6, 1.0]
    with pytest.warns(ConvergenceWarning, match=r"in columns \[0\]: there are rows"):
        model.fit(far, near[:, 1])
    assert model.score(far, near[:, 1]) > 0.99


@pytest.mark.parametrize("hidden_layer_sizes", [(), (2,)])
def test_tables_of_categories_alone_have_no_range(hidden_layer_sizes, rng):
    X = np.stack(np.divmod(np.arange(42), 6), axis=1)
    codes = rng.normal(size=7)
    y = codes[X[:, 0]] + 0.1 * X[:, 1]
    settings = {"categorical_features": [0, 1], "max_iter": 100, **SEED}
    model = KANRegressor(hidden_layer_sizes, warm_start=True, **settings)
    assert model.fit(X, y).fit(X, y).score(X, y) > 0.99
    stream = KANRegressor(hidden_layer_sizes, alpha=0.0, **settings)
    for _ in range(5):
        stream.partial_fit(X, y)
    assert stream.score(X, y) > 0.95
