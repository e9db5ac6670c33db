"""Derivatives of the raw output, against differences and against those of torch."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from golden.codec import case_paths, load
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError

from skkan import KANRegressor
from skkan.explanations import _input_gradient
from skkan.explanations._input_gradient import derivatives, gradient
from skkan.inspection import edge_functions

stored = cache(load)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
every_case = pytest.mark.parametrize("path", case_paths(), ids=lambda path: path.stem)
STEP = 1e-6  # in scaled units; differences are then precise to about 1e-9


def differences(model, X):
    """Central differences of the raw output, (n_samples, n_features, n_outputs)."""
    found = np.full((*X.shape, model.n_outputs), np.nan)
    scale = model.preprocessing.input_scaling.scale
    for column in np.flatnonzero(model.n_categories == 0):
        step = np.zeros(X.shape[1])
        step[column] = STEP * (scale[column] if np.isfinite(scale[column]) else 1.0)
        change = model.raw_output(X + step) - model.raw_output(X - step)
        found[:, column] = change / (2 * step[column]) * model.output_scaling.scale
    return found


@every_case
def test_gradients_agree_with_differences_of_predictions(path, rng):
    """For every solver, loss, kind of target and outcome of the search."""
    case = stored(path)
    model = case["estimator"].fitted_model_
    scaled = case["scaled_rows"] + rng.uniform(0, 1e-3, case["scaled_rows"].shape)
    scaled[:, model.n_categories > 0] = case["scaled_rows"][:, model.n_categories > 0]
    X = model.preprocessing.input_scaling.inverse_transform(scaled)
    X[:, np.isinf(model.preprocessing.input_scaling.scale)] = 1.0
    expected = differences(model, X)
    found = derivatives(model, X)
    size = np.nanmax(np.abs(expected))
    assert_allclose(
        found.reshape(expected.shape), expected, rtol=1e-6, atol=1e-6 * size
    )


@every_case
def test_gradients_have_a_dimension_for_several_outputs(path):
    """Behind that of the columns; derivatives by categories are not defined."""
    case = stored(path)
    estimator, rows = case["estimator"], case["rows"]
    n_outputs, n_features = estimator.n_outputs_, estimator.n_features_in_
    found = gradient(estimator, rows)
    outputs = () if n_outputs == 1 else (n_outputs,)
    assert found.shape == (len(rows), n_features, *outputs)
    is_nan = np.isnan(found).reshape(len(rows), n_features, n_outputs)
    is_category = estimator.fitted_model_.n_categories > 0
    assert_array_equal(is_nan, np.broadcast_to(is_category[:, None], is_nan.shape))


@pytest.mark.parametrize(
    "name", ["lm-hidden", "codes-hidden-skip", "auto-ensemble", "class-names-adam"]
)
def test_gradients_are_those_of_torch(name):
    """Autograd of `network_`, which works in scaled units."""
    case = next(stored(path) for path in case_paths() if path.stem == name)
    model, scaled = case["estimator"].fitted_model_, case["scaled_rows"]
    scaling = model.preprocessing.input_scaling
    x = torch.tensor(scaled, requires_grad=True)
    output = case["estimator"].network_(x)
    of_outputs = [
        torch.autograd.grad(each.sum(), x, retain_graph=True)[0] for each in output.T
    ]
    expected = torch.stack(of_outputs, dim=2).numpy() * model.output_scaling.scale
    expected /= scaling.scale[:, None]
    expected[:, model.n_categories > 0] = np.nan
    found = derivatives(model, scaling.inverse_transform(scaled))
    found = found.reshape(expected.shape)
    assert_allclose(found, expected, atol=1e-12 * np.nanmax(np.abs(expected)))


def test_missing_cells_and_columns_that_do_not_count_have_none(rng):
    """They cannot move the output; a category has no derivative at all."""
    X = pd.DataFrame(
        rng.uniform(-1, 1, (80, 4)), columns=["a", "gaps", "same", "noise"]
    )
    X["kind"] = pd.Categorical.from_codes(rng.integers(0, 3, 80), ["x", "y", "z"])
    y = np.sin(2 * X["a"]) + X["gaps"] + X["kind"].cat.codes
    X.loc[:9, "gaps"], X["same"] = np.nan, 7.0
    model = KANRegressor((), prune_threshold=0.01, random_state=0).fit(X, y)
    assert model.feature_importances_[3] == 0  # left out
    found = gradient(model, X)
    assert (found[:10, 1] == 0).all()
    assert (found[10:, 1] != 0).all()
    assert (found[:, [2, 3]] == 0).all()
    assert np.isnan(found[:, 4]).all()
    known_in_fit = KANRegressor((), random_state=0).fit(X[["a"]], y)
    assert_array_equal(gradient(known_in_fit, pd.DataFrame({"a": [np.nan]})), [[0.0]])


@pytest.mark.parametrize("spline_order", [0, 1, 3])
@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
def test_sides_at_knots_and_at_the_ends_of_grids(spline_order, extrapolation, rng):
    """As the docstring states them, against differences to one side."""
    X = rng.uniform(-1, 1, (60, 1))
    settings = {"spline_order": spline_order, "extrapolation": extrapolation}
    model = KANRegressor((), grid_size=4, **settings).fit(X, np.exp(2 * X[:, 0]))
    knots = edge_functions(model)[0].knots
    step = 1e-7

    def slope(x, side):
        return (model.predict([[x + side * step]]) - model.predict([[x]])) / side / step

    # Half a step on, since a knot in scaled units may be just beyond one in the user's.
    inside = [slope(knot + step / 2, 1) for knot in knots[:-1]]
    inside.append(slope(knots[-1] - step / 2, -1))
    near = knots + 1e-14 * np.r_[np.ones(len(knots) - 1), -1]
    found = gradient(model, near[:, None])
    assert_allclose(found, inside, rtol=1e-5, atol=1e-5)
    beyond = gradient(model, [[knots[0] - 2.0], [knots[-1] + 2.0]])
    expected = found[[0, -1]] if extrapolation == "linear" else np.zeros((2, 1))
    assert_allclose(beyond, expected, rtol=1e-9)


def test_rows_come_in_any_container_and_in_blocks(rng, monkeypatch):
    """The values are the same ones."""
    dask_array = pytest.importorskip("dask.array")
    X = rng.uniform(-1, 1, (40, 3)) * rng.integers(0, 2, (40, 3))
    y = np.column_stack([X[:, 0], X.sum(1)])
    model = KANRegressor((2,), solver="lbfgs", max_iter=4, random_state=0).fit(X, y)
    expected = gradient(model, X)
    assert_array_equal(gradient(model, csr_array(X)), expected)
    assert_array_equal(gradient(model, dask_array.from_array(X, chunks=7)), expected)
    assert_array_equal(gradient(model, pd.DataFrame(X)), expected)
    monkeypatch.setattr(_input_gradient, "BLOCK_DERIVATIVES", 1)
    assert_allclose(gradient(model, X), expected, rtol=1e-12)


def test_only_fitted_estimators_have_gradients():
    with pytest.raises(NotFittedError):
        gradient(KANRegressor(), [[1.0]])
    with pytest.raises(TypeError, match="Expected a fitted KANRegressor"):
        gradient("model", [[1.0]])
