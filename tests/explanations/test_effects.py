"""Effects against tables whose columns are set one by one, and closed forms."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from kinds_of_models import N_ROWS, raw_output, rows_of, with_columns
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.inspection import partial_dependence

from skkan import KANClassifier, KANRegressor
from skkan.inspection import edge_functions, effects

SHORT = {"solver": "lbfgs", "random_state": 0}
CHECKED_ROWS = [0, 3, 7, 14]


def mean_when_set(model, X, columns, row, weight):
    """Mean raw output if columns of all rows have the values of one row."""
    return weight @ raw_output(model, with_columns(X, columns, X, row))


def as_columns(values):
    return values.reshape(len(values), -1)


@pytest.fixture
def plain(model):
    """Without the moderation of logits, which is no part of the raw output."""
    if isinstance(model, KANClassifier):
        assert not model.fitted_model_.has_laplace_posterior
    return model


def test_effects_are_those_of_tables_with_set_columns(plain, rng):
    X, weight = rows_of(plain), rng.dirichlet(np.ones(N_ROWS))
    used = plain.fitted_model_.network().used_features.tolist()
    found = effects(plain, X, sample_weight=weight, pairs=list(combinations(used, 2)))
    mean = weight @ raw_output(plain, X)
    assert_allclose(np.ravel(found.base_value), mean, rtol=1e-9)
    singles = {}
    for effect in found.mains:
        (column,) = effect.features
        for row in CHECKED_ROWS:
            value = mean_when_set(plain, X, [column], row, weight) - mean
            singles[column, row] = value
            ours = as_columns(effect.row_values)[row]
            assert_allclose(ours, value, rtol=1e-9, atol=1e-9)
    for effect in found.pairs:
        one, other = effect.features
        for row in CHECKED_ROWS:
            value = mean_when_set(plain, X, [one, other], row, weight) - mean
            value = value - singles[one, row] - singles[other, row]
            ours = as_columns(effect.row_values)[row]
            assert_allclose(ours, value, rtol=1e-9, atol=1e-9)


def test_shares_are_covariances_and_sum_to_one(plain, rng):
    X, weight = rows_of(plain), rng.dirichlet(np.ones(N_ROWS))
    found = effects(plain, X, sample_weight=weight)
    unit = plain.fitted_model_.output_scaling.scale
    output = raw_output(plain, X) / unit
    centred = output - weight @ output
    variance = (weight @ centred**2).sum()
    for effect in [*found.mains, *found.pairs]:
        part = as_columns(effect.row_values) / unit
        covariance = (weight @ (centred * part)).sum()
        assert_allclose(effect.share, covariance / variance, rtol=1e-8, atol=1e-10)
    shares = [effect.share for effect in [*found.mains, *found.pairs]]
    assert_allclose(sum(shares) + found.rest_share, 1, rtol=1e-12)
    assert shares[: len(found.mains)] == sorted(shares[: len(found.mains)])[::-1]


def test_values_on_the_grid_are_those_of_its_points(plain):
    """Also of categories, and of cells that are missing."""
    X = rows_of(plain)
    found = effects(plain, X)
    for effect in found.mains:
        (points,), values = effect.grid, as_columns(effect.values)
        at_rows = as_columns(effect.row_values)
        own = effect.rows[:, 0]
        for row in range(0, N_ROWS, 9):
            if np.isnan(own[row]):
                assert_allclose(np.ravel(effect.missing_value), at_rows[row])
            elif effect.is_categorical[0]:
                assert_allclose(values[int(own[row])], at_rows[row])
            elif effect.has_levels[0]:
                (place,) = np.flatnonzero(points == own[row])
                assert_allclose(values[place], at_rows[row])
    for effect in found.pairs:
        assert effect.values.shape[:2] == tuple(len(points) for points in effect.grid)


def test_effects_of_an_additive_model_are_its_centred_curves(rng):
    X = rng.uniform(-1, 1, (200, 3))
    model = KANRegressor((), random_state=0).fit(X, np.sin(3 * X[:, 0]) + X[:, 1])
    found = effects(model, X)
    assert found.pairs == []
    assert_allclose(found.rest_share, 0, atol=1e-9)
    curves = {
        curve.source[1]: curve for curve in edge_functions(model, with_posterior=True)
    }
    for effect in found.mains:
        curve = curves[effect.features[0]]
        values = curve(effect.grid[0]) - curve(X[:, effect.features[0]]).mean()
        assert_allclose(effect.values, values, atol=1e-9)
        # Means over some of the rows stand for those of all.
        width = 2 * 1.645 * curve.deviation(effect.grid[0])
        assert_allclose(effect.upper - effect.lower, width, rtol=0.25, atol=0.02)


LAWS = {
    "product": (
        lambda x, z: x * z,
        lambda x: 0.5 * x - 0.25,
        lambda x, z: (x - 0.5) * (z - 0.5),
    ),
    "sin times x": (
        lambda x, z: np.sin(6 * x) * z,
        lambda x: 0.5 * (np.sin(6 * x) - (1 - np.cos(6)) / 6),
        lambda x, z: (np.sin(6 * x) - (1 - np.cos(6)) / 6) * (z - 0.5),
    ),
    "maximum": (
        np.maximum,
        lambda x: (1 + x**2) / 2 - 2 / 3,
        lambda x, z: np.maximum(x, z) - (1 + x**2) / 2 - (1 + z**2) / 2 + 2 / 3,
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_effects_of_laws_are_their_closed_forms(name, rng):
    """On [0, 1] squared, whose columns are independent."""
    law, main, both = LAWS[name]
    # A jittered lattice: its means are those of the square.
    lattice = (np.arange(16) + 0.5) / 16
    X = np.stack(np.meshgrid(lattice, lattice), axis=-1).reshape(-1, 2)
    X += rng.uniform(-0.02, 0.02, X.shape)
    y = law(*X.T)
    model = KANRegressor((3,), grid_size=12, random_state=0).fit(X, y)
    found = effects(model, X, max_samples=256)
    tolerance = 0.02 * np.ptp(y)
    (first,) = (effect for effect in found.mains if effect.features == (0,))
    assert_allclose(first.values, main(first.grid[0]), atol=tolerance)
    (pair,) = found.pairs
    assert pair.features == (0, 1)
    mesh = np.meshgrid(*pair.grid, indexing="ij")
    assert_allclose(pair.values, both(*mesh), atol=tolerance)
    assert_allclose(found.rest_share, 0, atol=1e-9)


def test_partial_dependence_of_scikit_learn_agrees(rng):
    X = rng.uniform(-1, 1, (120, 3))
    model = KANRegressor((3,), solver="lbfgs", tol=0.1, random_state=0)
    model.fit(X, X[:, 0] * X[:, 1] + 0.1 * rng.normal(size=120))
    found = effects(model, X)
    for effect in found.mains:
        (grid,) = effect.grid
        custom = {effect.features[0]: grid}
        theirs = partial_dependence(
            model, X, list(effect.features), custom_values=custom, method="brute"
        )["average"][0]
        assert_allclose(effect.values, theirs - found.base_value, atol=1e-9)


def test_local_effects_stay_by_the_rows(rng):
    """Of two equal columns with a law of one, and of a product of correlated ones."""
    z = rng.normal(size=200)
    X = np.column_stack([z, z + 0.05 * rng.normal(size=200)])
    model = KANRegressor((2,), grid_size=5, random_state=0).fit(X, X[:, 0] * X[:, 1])
    first, _ = (e.share for e in effects(model, X, kind="ale").mains)
    # The derivative along each column is about z: half of the law is that of each.
    assert_allclose(first, 0.5, atol=0.1)
    local = effects(model, X, kind="ale")
    for effect in local.mains:
        (grid,) = effect.grid
        inside = np.abs(grid) < 1.5
        expected = grid**2 / 2
        difference = (effect.values - expected)[inside]
        assert np.ptp(difference) < 0.3
        assert effect.lower is None
    assert local.pairs == []
    assert_allclose(sum(e.share for e in local.mains) + local.rest_share, 1)


def test_local_effects_of_an_additive_model_are_its_curves(rng):
    X = rng.uniform(-1, 1, (200, 2))
    X[:, 1] = rng.integers(0, 5, 200)
    model = KANRegressor((), random_state=0).fit(X, np.sin(3 * X[:, 0]) + X[:, 1] ** 2)
    for effect in effects(model, X, kind="ale").mains:
        (column,) = effect.features
        (curve,) = (c for c in edge_functions(model) if c.source == (0, column))
        values = curve(effect.grid[0])
        gap = effect.values - values
        assert_allclose(gap, gap[0], atol=1e-9)
        assert effect.has_levels == (column == 1,)


def test_a_column_without_values_has_an_effect_of_nothing(rng):
    X = rng.uniform(-1, 1, (60, 2))
    X[:, 1] = np.nan
    model = KANRegressor((), random_state=0).fit(X, X[:, 0] + 0.1 * rng.normal(size=60))
    for kind in ("interventional", "ale"):
        (effect,) = (
            e for e in effects(model, X, kind=kind).mains if e.features == (1,)
        )
        assert_allclose(effect.share, 0, atol=1e-12)
        assert_allclose(effect.missing_value, 0, atol=1e-9)


def test_only_the_chosen_features_are_shown(rng):
    X = rng.uniform(-1, 1, (100, 3))
    model = KANRegressor((2,), solver="lbfgs", tol=0.1, random_state=0)
    model.fit(X, X[:, 0] * X[:, 1])
    found = effects(model, X, features=["x2", 0], pairs=[("x0", 2)])
    assert {e.features for e in found.mains} == {(2,), (0,)}
    assert [e.feature_names for e in found.pairs] == [("x0", "x2")]
    assert effects(model, X, pairs=None).pairs == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": ["x9"]}, "features must hold names or numbers.*'x9'"),
        ({"features": [3]}, "features must hold.*3"),
        ({"features": "x0"}, "features must be a sequence"),
        ({"pairs": 3}, "pairs must be a sequence"),
        ({"pairs": "all"}, "pairs must be 'auto'"),
        ({"pairs": [(0, 0)]}, "two different features"),
        ({"pairs": [(0, 1, 2)]}, "two features"),
        ({"kind": "shap"}, "kind must be one of"),
        ({"kind": "ale", "pairs": [(0, 1)]}, "only kind='interventional' has pairs"),
        ({"max_samples": 1}, "max_samples must be 'auto' or an integer of at least 2"),
        ({"sample_weight": -np.ones(50)}, "[Nn]egative"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(settings, message, rng):
    X = rng.uniform(-1, 1, (50, 3))
    model = KANRegressor((), random_state=0).fit(X, X[:, 0])
    with pytest.raises(ValueError, match=message):
        effects(model, X, **settings)


def test_a_constant_model_has_no_effects(rng):
    X = rng.uniform(-1, 1, (50, 2))
    model = KANRegressor((2,), random_state=0).fit(X, np.full(50, 3.0))
    found = effects(model, X)
    assert_allclose(found.base_value, 3.0)
    assert found.rest_share == 0
    assert not any(effect.share for effect in found.mains)
    assert_allclose([effect.values for effect in found.mains], 0, atol=1e-6)


def test_the_background_is_capped_evenly(rng):
    """Means over a third of the rows are near those over all."""
    X = rng.uniform(-1, 1, (600, 2))
    model = KANRegressor((2,), solver="lbfgs", random_state=0)
    model.fit(X, X[:, 0] * X[:, 1])
    some, every = (effects(model, X, max_samples=n) for n in (200, 600))
    assert (some.n_rows, every.n_rows) == (200, 600)
    again = effects(model, X, max_samples=200)
    assert_array_equal(again.pairs[0].values, some.pairs[0].values)
    assert_allclose(some.pairs[0].share, every.pairs[0].share, atol=0.05)


def test_pairs_of_many_categories_know_where_rows_stand(rng):
    """A pair shows the most frequent ones; rows of others are marked."""
    names = np.array([f"town {index:02}" for index in range(40)])
    town = np.r_[np.arange(40), rng.integers(0, 32, 160)]
    frame = pd.DataFrame({"x": rng.uniform(-1, 1, 200), "town": names[town]})
    frame["town"] = frame["town"].astype("category")
    model = KANRegressor((2,), solver="lbfgs", random_state=0)
    model.fit(frame, frame["x"] * (town % 2))
    (pair,) = effects(model, frame, pairs=[("town", "x")]).pairs
    shown = pair.grid[0]
    assert len(shown) == 32
    place = pair.rows[:, 0].astype(int)
    assert (place >= -1).all()
    assert (place == -1).any()
    assert_array_equal(shown[place[place >= 0]], names[town][place >= 0])
    assert not np.isin(names[town][place == -1], shown).any()


def test_local_effects_cross_gaps(rng):
    """Where no rows are, nothing is known, and the curve goes on level."""
    X = np.r_[rng.integers(0, 100, 90), np.full(10, 9999)][:, None].astype(float)
    model = KANRegressor((), random_state=0).fit(X, np.minimum(X[:, 0], 100))
    (effect,) = effects(model, X, kind="ale").mains
    assert np.isfinite(effect.values).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_pair_of_a_rare_column_is_found(rng):
    """Whether two columns meet does not depend on which rows are drawn."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X = rng.uniform(-1, 1, (400, 3))
        X[:, 1] = rng.random(400) < 0.01
        model = KANRegressor((2,), interaction_cst=[(0, 1)], **SHORT)
        model.fit(X, 30 * X[:, 0] * X[:, 1] + X[:, 2])
        found = effects(model, X, max_samples=400)
        assert [pair.features for pair in found.pairs] == [(0, 1)]
        assert_allclose(found.rest_share, 0, atol=1e-9)


def test_what_is_asked_for_twice_counts_once(rng):
    X = rng.uniform(-1, 1, (60, 2))
    model = KANRegressor((2,), **SHORT).fit(X, X[:, 0] * X[:, 1])
    found = effects(model, X, features=[0, 1, "x0"], pairs=[(0, 1), (1, 0)])
    assert len(found.mains) == 2
    assert len(found.pairs) == 1
    assert_allclose(found.rest_share, 0, atol=1e-9)


def test_local_effects_of_constant_columns_are_nothing(rng):
    X = rng.uniform(-1, 1, (60, 2))
    X[:, 1] = 5.0
    model = KANRegressor((), random_state=0).fit(X, X[:, 0] + 0.1 * rng.normal(size=60))
    found = effects(model, X, kind="ale")
    (constant,) = (effect for effect in found.mains if effect.features == (1,))
    assert_allclose(constant.values, 0, atol=1e-9)
    assert_allclose(effects(model, X[:1], kind="ale").mains[0].values, 0, atol=1e-9)
