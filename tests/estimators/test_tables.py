"""Missing values and categories, from the user's table to predictions and back."""

import io
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import skops.io
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from skkan import KANClassifier, KANRegressor, SparsityPenalty
from skkan.inspection import edge_functions, prune
from skkan.penalties._quadratic import quadratic_form

# Small budgets end fits early, which is what the warning is for.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
both = pytest.mark.parametrize("make", [KANRegressor, KANClassifier])
EXACT = {"tol": 0.0, "max_iter": 5000, "n_iter_no_change": 5000, "random_state": 0}
SHORT = {"max_iter": 15, "random_state": 0}
BRIEF = {"max_iter": 2, "random_state": 0}
WAYS = {
    "additive": {"hidden_layer_sizes": ()},
    "lm": {"hidden_layer_sizes": (2,), "solver": "lm"},
    "lbfgs": {"hidden_layer_sizes": (2,), "solver": "lbfgs"},
    "adam": {"hidden_layer_sizes": (2,), "solver": "adam"},
    "skip": {"hidden_layer_sizes": (2,), "additive_skip": True},
    "schedule": {"hidden_layer_sizes": (2,), "grid_schedule": (7, 10)},
    "pruned": {"hidden_layer_sizes": (2,), "prune_threshold": 0.05},
    "evidence": {"hidden_layer_sizes": (2,), "prune_threshold": "auto"},
    "sparse": {"hidden_layer_sizes": (2,), "penalty": SparsityPenalty(1e-3)},
    "auto": {"hidden_layer_sizes": "auto"},
    "stopping": {"hidden_layer_sizes": (2,), "early_stopping": True},
    "linear": {"hidden_layer_sizes": (2, 2), "extrapolation": "linear"},
}
every_way = pytest.mark.parametrize("settings", WAYS.values(), ids=WAYS)


def target_scaling(model):
    """Between the units of the target and the core."""
    return model.fitted_model_.preprocessing.target_scaling


def make_frame(rng, n=120):
    """A frame of numbers and categories, with missing cells in some of both."""
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "colour": pd.Categorical(
                rng.choice(["red", "green", "blue"], size=n),
                categories=["red", "green", "blue", "violet"],
            ),
            "z": rng.uniform(10, 20, size=n),
            "size": pd.Categorical(rng.integers(1, 5, size=n)),
        }
    )
    frame.loc[::6, "x"] = np.nan
    frame.loc[1::7, "colour"] = None
    return frame


def target_of(frame):
    x = frame["x"].fillna(1.5)
    return np.sin(x) + (frame["colour"] == "red") + 0.1 * (frame["size"] == 2)


@pytest.fixture
def frame(rng):
    return make_frame(rng)


@pytest.fixture
def y(frame):
    return target_of(frame).to_numpy() > 0.6


def assert_round_trips(model, frame):
    """Pickle and skops keep all that predicts."""
    expected = model.predict(frame)
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict(frame), expected)
    stored = skops.io.dumps(model)
    trusted = skops.io.get_untrusted_types(data=stored)
    assert "torch" not in str(trusted)
    assert_array_equal(skops.io.loads(stored, trusted=trusted).predict(frame), expected)


# Equality with trusted peers.


@pytest.mark.parametrize("solver", ["lm", "lbfgs"])
def test_additive_model_of_categories_is_ridge_on_one_hot_columns(rng, solver):
    frame = make_frame(rng)[["colour", "size"]].dropna()
    y, weight = rng.normal(size=len(frame)), rng.integers(1, 4, size=len(frame))
    model = KANRegressor((), alpha=0.05, solver=solver, **EXACT)
    model.fit(frame, y, sample_weight=weight)
    one_hot = OneHotEncoder(sparse_output=False).fit_transform(frame)
    mean = np.average(y, weights=weight)
    ridge = Ridge(0.05 * weight.sum(), fit_intercept=False)
    ridge.fit(one_hot, y - mean, sample_weight=weight)
    # L-BFGS stops where rounding hides further progress of the objective.
    atol = 1e-12 if solver == "lm" else 1e-7
    assert_allclose(model.predict(frame), mean + ridge.predict(one_hot), atol=atol)


@pytest.mark.parametrize("fit_weight", [False, True])
def test_missing_is_ridge_on_imputed_features_and_an_indicator(rng, fit_weight):
    X, y = rng.normal(size=(90, 2)), rng.normal(size=90)
    X[::4, 0] = np.nan
    weight = rng.uniform(0.5, 2, size=90) if fit_weight else np.ones(90)
    model = KANRegressor((), alpha=0.01, solver="lm", **EXACT)
    model.fit(X, y, sample_weight=weight)
    splines = model.network_.layers[0].basis.splines
    scaled = torch.from_numpy(model.fitted_model_.scaled(X))
    features = splines(torch.nan_to_num(scaled)).numpy()
    missing = np.isnan(X[:, 0])
    features[missing, 0] = np.average(
        features[~missing, 0], axis=0, weights=weight[~missing]
    )
    root = torch.linalg.cholesky(quadratic_form(5, 3, has_base=True)).numpy()
    features = np.linalg.solve(root, features.transpose(0, 2, 1)).reshape(90, -1)
    features = np.column_stack([features, missing])
    ridge = Ridge(0.01 * weight.sum(), fit_intercept=False)
    y_scaled = target_scaling(model).transform(y)
    ridge.fit(features, y_scaled, sample_weight=weight)
    expected = target_scaling(model).inverse_transform(ridge.predict(features))
    assert_allclose(model.predict(X), expected, atol=1e-9)


def test_a_missing_value_without_effect_changes_nothing_much(rng):
    """Where cells are missing at random, the mean of the edge is the best guess."""
    X = rng.normal(size=(300, 2))
    y = np.sin(X[:, 0]) + 0.1 * rng.normal(size=300)
    X[::5, 1] = np.nan
    model = KANRegressor((), random_state=0).fit(X, y)
    without = KANRegressor((), random_state=0).fit(X[:, :1], y)
    assert_allclose(model.predict(X), without.predict(X[:, :1]), atol=0.05)


# Invariants.


@both
@every_way
def test_predictions_are_finite_whatever_is_missing_or_unknown(
    make, settings, frame, y, rng
):
    """Models of every way of training, which pickle and skops keep."""
    model = make(**{**SHORT, **settings}).fit(frame, y)
    assert_round_trips(model, frame)
    others = make_frame(rng, 30)
    others["colour"] = others["colour"].cat.add_categories("black")
    others.loc[:3, "colour"] = "black"
    others.loc[3:6, "z"] = np.nan
    others.loc[5:9, "size"] = None
    others.loc[8] = [np.nan, None, np.nan, None]
    predict = model.predict_proba if make is KANClassifier else model.predict
    assert np.isfinite(predict(others).astype(float)).all()
    if hasattr(model, "noise_std_"):
        assert np.isfinite(model.predict(others, return_std=True)[1]).all()
    assert np.isfinite(model.feature_importances_).all()
    assert all(np.isfinite(edge.importance) for edge in edge_functions(model))


@pytest.mark.parametrize("way", ["additive", "lbfgs", "lm"])
def test_weights_equal_repetition(way, frame, y, rng):
    """Also of rows with missing cells, which are equal although NaN is not."""
    settings = {**SHORT, **WAYS[way]}
    weight = rng.integers(0, 3, size=len(frame))
    weighted = KANRegressor(**settings).fit(frame, y, sample_weight=weight)
    times = np.repeat(np.arange(len(frame)), weight)
    repeated = KANRegressor(**settings).fit(frame.iloc[times], y[times])
    assert_array_equal(weighted.predict(frame), repeated.predict(frame))


def test_categories_without_weight_are_unknown(frame, y):
    """As if their rows were not there."""
    weight = (frame["colour"] != "blue").to_numpy(dtype=float)
    model = KANRegressor((), **SHORT).fit(frame, y, sample_weight=weight)
    assert model.categories_[1].tolist() == ["red", "green"]


def test_order_of_the_codes_does_not_matter(frame, y):
    """Up to rounding: categories have none."""
    codes = frame.assign(
        colour=frame["colour"].cat.codes.replace(-1, np.nan),
        size=frame["size"].cat.codes,
    )
    other = codes.assign(
        colour=codes["colour"].map({0: 7.5, 1: -2.0, 2: 1e6}),
        size=codes["size"].map({0: 3, 1: 1, 2: 0, 3: 2}),
    )
    settings = {"categorical_features": ["colour", "size"], "alpha": 0.01, **EXACT}
    one, two = (
        KANRegressor((), solver="lm", **settings).fit(part, y).predict(part)
        for part in (codes, other)
    )
    assert_allclose(one, two, atol=1e-9)


@both
@pytest.mark.parametrize("hidden", [(), (2,)], ids=["additive", "hidden"])
def test_frame_equals_the_array_of_its_codes(make, hidden, frame, y):
    array = OrdinalEncoder(encoded_missing_value=np.nan).fit_transform(
        frame[["colour", "size"]].astype(object)
    )
    array = np.column_stack([frame["x"], array[:, 0], frame["z"], array[:, 1]])
    frame = frame.assign(colour=frame["colour"].astype(str).astype("category"))
    frame.loc[np.isnan(array[:, 1]), "colour"] = None
    frame["colour"] = frame["colour"].cat.remove_unused_categories()
    expected = make(hidden, **SHORT).fit(frame, y)
    for categorical_features in ([1, 3], [False, True, False, True]):
        model = make(hidden, categorical_features=categorical_features, **SHORT)
        assert_array_equal(model.fit(array, y).predict(array), expected.predict(frame))
        assert_array_equal(model.is_categorical_, expected.is_categorical_)


@pytest.mark.parametrize("to_column", [pd.Categorical, pd.array, list])
def test_large_ids_equal_small_ones(to_column, rng):
    """Beyond 2^53 as well, where a float64 holds several whole numbers."""
    small, large = rng.integers(0, 4, size=40), 2**60
    ids = to_column((large + small).tolist())
    if to_column is pd.array:
        ids[3] = pd.NA
    elif to_column is pd.Categorical:
        ids[3] = None
    codes = small.astype(float)
    codes[3] = codes[3] if to_column is list else np.nan
    settings = {"categorical_features": [0], **BRIEF}
    expected = KANRegressor((), **settings).fit(codes[:, None], small)
    frame = pd.DataFrame({"id": ids})
    model = KANRegressor((), **settings).fit(frame, small)
    assert_array_equal(model.predict(frame), expected.predict(codes[:, None]))
    assert model.categories_[0].tolist() == [large, large + 1, large + 2, large + 3]
    one, two = (edge_functions(fitted)[0] for fitted in (model, expected))
    assert_array_equal(one(frame["id"]), two(codes))
    assert model.categories_[0].dtype == np.int64


@pytest.mark.parametrize("spline_order", [0, 1])
def test_without_numbers_the_degree_of_splines_does_not_matter(spline_order, frame, y):
    X = frame[["colour", "size"]]
    settings = {"categorical_features": ["colour", "size"], **BRIEF}
    expected = KANRegressor((), **settings).fit(X, y).predict(X)
    model = KANRegressor((), spline_order=spline_order, **settings).fit(X, y)
    assert_array_equal(model.predict(X), expected)


def test_mask_of_categories_is_not_shared(frame, y):
    mask = np.array([False, True, False, True])
    model = KANRegressor((), categorical_features=mask, **BRIEF).fit(frame, y)
    expected, mask[:] = model.predict(frame), False
    assert_array_equal(model.predict(frame), expected)


def test_frames_of_polars_equal_those_of_pandas(frame, y):
    polars = pl.DataFrame(
        {
            "x": pl.Series(frame["x"].tolist()).fill_nan(None),
            "colour": pl.Series(
                [None if pd.isna(name) else name for name in frame["colour"]],
                dtype=pl.Enum(["red", "green", "blue", "violet"]),
            ),
            "z": frame["z"].tolist(),
            "size": pl.Series(frame["size"].astype(str).tolist(), dtype=pl.Categorical),
        }
    )
    frame = frame.assign(size=frame["size"].astype(str).astype("category"))
    expected = KANRegressor((2,), **SHORT).fit(frame, y).predict(frame)
    model = KANRegressor((2,), **SHORT).fit(polars, y)
    assert_array_equal(model.predict(polars), expected)
    assert_array_equal(model.feature_names_in_, frame.columns)


def test_without_gaps_or_categories_nothing_changes(rng):
    """Not a bit: missing cells that come later do not matter to the others."""
    X = rng.normal(size=(50, 3))
    y = X[:, 0] + X[:, 1] ** 2
    model = KANRegressor((2,), **SHORT).fit(X, y)
    spoiled = X.copy()
    spoiled[7, 1] = np.nan
    expected = model.predict(X)
    assert_array_equal(np.delete(model.predict(spoiled), 7), np.delete(expected, 7))
    held_out = KANRegressor((2,), **SHORT).fit(X, y, X_val=spoiled, y_val=y)
    assert_allclose(held_out.predict(X), expected, rtol=1e-9)
    assert np.isfinite(held_out.validation_loss_curve_).all()


# What cells count as.


def test_unknown_categories_contribute_nothing(frame, y):
    """Not those of the data type that no row had, and not those of later tables."""
    model = KANRegressor((), **SHORT).fit(frame, y)
    (edge,) = (e for e in edge_functions(model) if e.source_name == "colour")
    row = frame.iloc[[0]]
    of_red = model.predict(row.assign(colour=pd.Categorical(["red"])))
    for name in ("violet", "black"):
        gone = model.predict(row.assign(colour=pd.Categorical([name])))
        assert_allclose(of_red - gone, edge.category_values[0], atol=1e-12)


def test_missing_without_any_in_training_is_the_mean(frame, y, rng):
    """Weighted, over the training rows; of numbers and of categories."""
    weight = rng.uniform(0.5, 2, size=len(frame))
    model = KANRegressor((), **SHORT).fit(frame, y, sample_weight=weight)
    edges = {edge.source_name: edge for edge in edge_functions(model)}
    for name in ("z", "size"):
        assert edges[name].missing_value is None
        values = edges[name](frame[name])
        mean = np.average(values, weights=weight)
        assert_allclose(edges[name]([None if name == "size" else np.nan]), mean)
        gap = model.predict(frame.assign(**{name: np.nan})) - model.predict(frame)
        assert_allclose(gap, mean - values, atol=1e-12)


def test_learnt_value_at_missing_is_known_to_the_edge(frame, y):
    model = KANRegressor((), **SHORT).fit(frame, y)
    edges = edge_functions(model, with_posterior=True)
    edges = {edge.source_name: edge for edge in edges}
    total = sum(edge(frame[name]) for name, edge in edges.items())
    assert_allclose(y.mean() + total, model.predict(frame), atol=1e-12)
    for name, nothing in (("x", np.nan), ("colour", None)):
        assert edges[name].missing_value == edges[name]([nothing])[0]
        assert edges[name].deviation([nothing])[0] > 0


def test_columns_of_which_little_is_known(rng):
    """One value and gaps; gaps alone; a category of one row; all of one category."""
    n = 60
    frame = pd.DataFrame(
        {
            "one": np.where(np.arange(n) % 3 == 0, np.nan, 5.0),
            "none": np.full(n, np.nan),
            "rare": pd.Categorical(["a"] + ["b"] * (n - 1)),
            "same": pd.Categorical(["s"] * n),
            "empty": pd.Categorical([None] * n, categories=["e"]),
        }
    )
    y = np.where(frame["one"].isna(), 1.0, 0.0) + 0.01 * rng.normal(size=n)
    model = KANRegressor((), random_state=0).fit(frame, y)
    assert_allclose(model.predict(frame), y, atol=0.05)
    other = frame.assign(none=3.0, one=7.0, empty=pd.Categorical(["e"] * n))
    same = frame.assign(one=5.0)
    assert_allclose(model.predict(other), model.predict(same))
    assert model.feature_importances_[0] > 0.9
    assert_allclose(model.feature_importances_[[1, 4]], 0, atol=1e-8)
    model = KANRegressor((2,), **SHORT).fit(frame, y)
    assert np.isfinite(model.predict(other)).all()


def test_many_categories_are_shrunk_by_the_evidence(rng):
    """200 categories of some ten noisy rows each, better than their means."""
    effect = rng.normal(size=200)
    train, test = rng.integers(0, 200, size=(2, 2000))
    frame = pd.DataFrame({"c": pd.Categorical(train)})
    y = effect[train] + 4 * rng.normal(size=2000)
    model = KANRegressor((), random_state=0).fit(frame, y)
    means = pd.Series(y).groupby(train).mean().reindex(test).fillna(y.mean())
    predicted = model.predict(pd.DataFrame({"c": pd.Categorical(test)}))
    assert np.var(predicted - effect[test]) < 0.8 * np.var(means - effect[test])
    # The evidence of one factor is the likelihood of a model with random effects.
    groups = pd.Series(y - y.mean()).groupby(train)
    count, mean = groups.count(), groups.mean()
    within = float((groups.var(ddof=0) * count).sum())

    def minus_log_likelihood(logarithms):
        noise, variance = np.exp(logarithms)
        total = noise + count * variance
        value = (2000 - len(count)) * np.log(noise) + within / noise
        return value + np.sum(np.log(total) + count * mean**2 / total)

    noise, variance = np.exp(minimize(minus_log_likelihood, [2.0, 0.0]).x)
    assert_allclose(model.alpha_[0, 0], noise / variance / 2000, rtol=0.3)


# The life of a model.


def test_refined_grids_keep_categories_and_gaps(frame, y):
    coarse = KANRegressor((2,), alpha=0.01, warm_start=True, **SHORT).fit(frame, y)
    before = coarse.predict(frame)
    fine = pickle.loads(pickle.dumps(coarse)).set_params(grid_size=10, max_iter=1)
    network = coarse.network_.refined(10)
    x = torch.from_numpy(coarse.fitted_model_.scaled(coarse._validated(frame)))
    assert_allclose(network(x).detach(), coarse.network_(x).detach(), atol=1e-9)
    fine.fit(frame, y)
    assert fine.grid_size_ == 10
    assert np.abs(fine.predict(frame) - y).mean() < np.abs(before - y).mean() + 1e-3


def test_warm_start_learns_what_is_missing_later(rng):
    X = rng.normal(size=(100, 2))
    y = X[:, 0] + 0.5 * X[:, 1]
    model = KANRegressor((), warm_start=True, random_state=0).fit(X, y)
    later = X.copy()
    later[::3, 0] = np.nan
    y = np.where(np.isnan(later[:, 0]), 4.0 + 0.5 * X[:, 1], y)
    model.fit(later, y)
    assert_allclose(model.predict(later), y, atol=0.05)


def test_warm_start_keeps_the_categories(frame, y):
    model = KANRegressor((), warm_start=True, **SHORT).fit(frame, y)
    known = model.categories_
    model.fit(frame[:60], y[:60])
    assert model.categories_ is known
    with pytest.raises(ValueError, match=r"has is_categorical_=.*start afresh"):
        model.fit(frame.assign(size=1.0), y)


def test_warm_start_refuses_new_categories(frame, y):
    """They would have no curves; those of rows without weight do not count."""
    model = KANRegressor((), warm_start=True, **BRIEF).fit(frame, y)
    later = frame.assign(size=frame["size"].cat.rename_categories({4: 9}))
    message = r"no values for the categories \[9(\.0)?\] of column 'size': leave these"
    with pytest.raises(ValueError, match=message):
        model.fit(later, y)
    model.fit(later, y, sample_weight=(later["size"] != 9).astype(float))
    assert model.categories_[3].tolist() == [1, 2, 3, 4]


def test_warm_start_refuses_other_names(rng):
    """Equal shapes do not make the same columns."""
    X = pd.DataFrame(rng.normal(size=(30, 2)), columns=["a", "b"])
    y = X["a"].to_numpy()
    model = KANRegressor((), warm_start=True, **BRIEF).fit(X, y)
    before = model.predict(X)
    for other in (X[["b", "a"]], X.set_axis(["u", "v"], axis=1)):
        message = rf"feature_names_in_=\['a', 'b'\], got \['{other.columns[0]}', "
        with pytest.raises(ValueError, match=message):
            model.fit(other, y)
    assert_array_equal(model.predict(X), before)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.fit(X.to_numpy(), y)


@both
def test_first_batch_fixes_categories(make, frame, y):
    """Later ones may lack some, and hold others."""
    model = make((2,), random_state=0)
    options = {"classes": [False, True]} if make is KANClassifier else {}
    model.partial_fit(frame[:40], y[:40], **options)
    categories = model.network_.layers[0].basis.n_categories
    later = frame[40:].assign(size=pd.Categorical([9] * 80), z=np.nan)
    model.partial_fit(later, y[40:])
    assert_array_equal(model.network_.layers[0].basis.n_categories, categories)
    assert np.isfinite(model.predict(frame).astype(float)).all()


def test_stream_without_gaps_takes_them_later(rng):
    X = rng.normal(size=(60, 2))
    model = KANRegressor((2,), random_state=0).partial_fit(X, X[:, 0])
    X[5:9, 1] = np.nan
    before = model.network_.n_parameters
    model.partial_fit(X, X[:, 0]).partial_fit(X, X[:, 0])
    assert model.network_.n_parameters == before
    assert np.isfinite(model.predict(X)).all()


def test_state_holds_no_torch_objects(frame, y):
    model = KANRegressor((2,), **SHORT).fit(frame, y)

    class Checked(pickle.Pickler):
        def persistent_id(self, obj):
            assert not isinstance(obj, torch.Tensor | torch.nn.Module)

    Checked(io.BytesIO()).dump(model)


def test_pruned_inputs_may_be_categories(rng):
    """What is left predicts, and knows its columns."""
    frame = make_frame(rng, 300)
    y = target_of(frame) - 0.1 * (frame["size"] == 2) + 0.2 * rng.normal(size=300)
    model = KANRegressor((), random_state=0).fit(frame, y)
    smaller = prune(model, frame, y, threshold=0.1)
    unused = smaller.feature_importances_ == 0
    assert_array_equal(unused, [False, False, True, True])
    assert smaller.score(frame, y) > model.score(frame, y) - 0.02
    names = [edge.source_name for edge in edge_functions(smaller)]
    assert names == ["x", "colour"]
    assert edge_functions(smaller)[1].categories.tolist() == ["red", "green", "blue"]


def test_fixed_strengths_reproduce_the_fit(frame, y):
    """alpha_ holds no strength for the roughness of categories."""
    model = KANRegressor((), random_state=0).fit(frame, y)
    assert not model.alpha_[[1, 3], 1:].any()
    assert (model.alpha_[:, 0] > 0).all()
    again = KANRegressor((), solver="lm", alpha=model.alpha_, **EXACT).fit(frame, y)
    assert_allclose(again.predict(frame), model.predict(frame), atol=1e-4)


def test_sparsity_of_categories_and_gaps_is_that_of_known_cells(rng):
    """The papers' activity: deviation of an edge over that of its known input."""
    X = np.column_stack([rng.normal(size=50), rng.integers(0, 3, size=50)])
    X[::5, 0] = np.nan
    y = rng.normal(size=50)
    settings = {"categorical_features": [1], "solver": "lbfgs", "alpha": 0.0}
    model = KANRegressor((), max_iter=3, random_state=0, **settings).fit(X, y)
    penalty = SparsityPenalty(1.0, lamb_entropy=0.0, lamb_coef=0.3, lamb_coefdiff=0.2)
    network = model.network_
    x = torch.from_numpy(model.fitted_model_.scaled(X))
    _, passes = network.propagate(x)
    value = penalty.value(passes, torch.full((50,), 0.02, dtype=torch.float64))
    stds = network.activations(x)[0][:, 0].detach().numpy().std(axis=0)
    weight = network.layers[0].weight.detach().numpy()[0]
    expected = stds[0] / (np.nanstd(x[:, 0]) + 0.1) + stds[1] / 1.1
    expected += 0.3 * (np.abs(weight[0, :8]).sum() + np.abs(weight[1, :3]).sum())
    expected += 0.2 * np.abs(np.diff(weight[0, :8])).sum()
    assert_allclose(value.detach(), expected, rtol=1e-10)


# Messages.


@pytest.mark.parametrize(
    "categorical_features", [[7], ["nothing"], [0.5, 1.5], [True], [-1]]
)
def test_messages_are_those_of_hist_gradient_boosting(categorical_features, frame, y):
    """Which columns are meant is its matter; what came and what to do is added."""
    peer = HistGradientBoostingRegressor(categorical_features=categorical_features)
    with pytest.raises(ValueError, match="categorical_features") as expected:
        peer.fit(frame, y)
    model = KANRegressor(categorical_features=categorical_features)
    with pytest.raises(ValueError, match="categorical_features") as told:
        model.fit(frame, y)
    beginning, _, rest = str(told.value).partition("; ")
    assert beginning == str(expected.value).rstrip(".")
    got = f"X has 4 columns, got categorical_features={categorical_features}: give"
    assert rest.startswith(got)


@both
def test_failed_refit_leaves_the_categories(make, frame, y):
    model = make((), **SHORT).fit(frame, y)
    before, expected = dict(vars(model)), model.predict(frame)
    with pytest.raises(ValueError, match="inconsistent numbers"):
        model.fit(frame[["colour", "size"]], y[:-1])
    assert vars(model).keys() == before.keys()
    assert_array_equal(model.predict(frame), expected)


def test_imputed_tables_still_work(frame, y):
    """A pipeline that imputes sees what it always saw."""
    numbers = frame[["x", "z"]]
    filled = SimpleImputer().fit_transform(numbers)
    model = KANRegressor((), **SHORT).fit(filled, y)
    assert model.categories_ is None
    assert np.isfinite(model.predict(filled)).all()
