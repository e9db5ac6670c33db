"""Shapley values against their definition, for all structures of models."""

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from kinds_of_models import N_ROWS, raw_output, rows_of, with_columns
from numpy.testing import assert_allclose, assert_array_equal

from skkan import KANRegressor
from skkan.inspection import edge_functions, effects, explain

SHORT = {"solver": "lbfgs", "random_state": 0}


def slow_values(model, X, row, weight):
    """By the definition, over all sets of features; the background is X."""
    n_features = X.shape[1]
    payoff = {}
    for size in range(n_features + 1):
        for columns in combinations(range(n_features), size):
            rows = with_columns(X, list(columns), X, row) if columns else X
            payoff[columns] = weight @ raw_output(model, rows)
    values = []
    for feature in range(n_features):
        value = 0.0
        for columns, before in payoff.items():
            if feature in columns:
                continue
            joined = tuple(sorted((*columns, feature)))
            share = factorial(len(columns)) * factorial(n_features - len(columns) - 1)
            value = value + share / factorial(n_features) * (payoff[joined] - before)
        values.append(value)
    return np.array(values)


def by_output(found, n_rows):
    """Values and base values with a dimension for the outputs."""
    n_features = found.values.shape[1]
    return (
        found.values.reshape(n_rows, n_features, -1),
        np.reshape(found.base_values, -1),
    )


def test_values_are_those_of_the_definition(model, rng):
    X, weight = rows_of(model), rng.dirichlet(np.ones(N_ROWS))
    found = explain(model, X, sample_weight=weight)
    values, base = by_output(found, N_ROWS)
    assert_allclose(base, weight @ raw_output(model, X), rtol=1e-9)
    assert not found.error.any()
    for row in (0, 7, 20):  # the first two have a missing cell
        expected = slow_values(model, X, row, weight)
        assert_allclose(values[row], expected, rtol=1e-9, atol=1e-9)


def test_values_and_base_value_sum_to_the_output(model):
    """Whether all sets are gone through or orders are drawn."""
    X = rows_of(model)
    output = raw_output(model, X[:15])
    for exact in (True, False):
        values, base = by_output(explain(model, X[:15], X[15:], exact=exact), 15)
        assert_allclose(values.sum(1) + base, output, rtol=1e-9, atol=1e-9)


def test_drawn_orders_come_with_their_standard_errors(rng):
    """Errors are one standard error in the root of their mean square."""
    X = rng.uniform(-1, 1, (150, 4))
    model = KANRegressor((4,), **SHORT)
    model.fit(X, X[:, 0] * X[:, 1] + X[:, 2] ** 2 * X[:, 3])
    exact = explain(model, X[:40], X)
    drawn = explain(model, X[:40], X, exact=False)
    assert drawn.error.min() > 0
    assert drawn.error.max() < 0.02 * np.ptp(model.predict(X))
    z = (drawn.values - exact.values) / drawn.error
    assert 0.6 < np.sqrt(np.mean(z**2)) < 1.4
    again = explain(model, X[:40], X, exact=False)
    assert_array_equal(again.values, drawn.values)


def test_drawn_orders_follow_the_weights_of_the_background(rng):
    """Also those of a few rows that stand for many."""
    X = rng.uniform(-1, 1, (150, 4))
    model = KANRegressor((4,), **SHORT)
    model.fit(X, X[:, 0] * X[:, 1] + X[:, 2] ** 2 * X[:, 3])
    for n_rows, weight in ((5, [90, 3, 3, 2, 2]), (60, rng.random(60) ** 8)):
        few = {"background": X[:n_rows], "sample_weight": weight}
        exact = explain(model, X[:40], **few)
        drawn = explain(model, X[:40], exact=False, **few)
        z = (drawn.values - exact.values) / drawn.error
        assert 0.6 < np.sqrt(np.mean(z**2)) < 1.5


def test_values_of_an_additive_model_are_its_centred_curves(rng):
    X = rng.uniform(-1, 1, (80, 15))
    model = KANRegressor((), random_state=0).fit(X, np.sin(3 * X[:, 0]) + X[:, 1])
    found = explain(model, X[:10], X)
    for curve in edge_functions(model):
        column = X[:, curve.source[1]]
        values = curve(column[:10]) - curve(column).mean()
        assert_allclose(found.values[:, curve.source[1]], values, atol=1e-9)
    assert not found.error.any()


def test_values_share_out_the_effects(rng):
    """Where no three features act together, each has half of its pairs."""
    X = rng.uniform(-1, 1, (100, 2))
    model = KANRegressor((3,), **SHORT).fit(X, X[:, 0] * X[:, 1])
    parts = {effect.features: effect.row_values for effect in effects(model, X).mains}
    (pair,) = effects(model, X).pairs
    values = explain(model, X).values
    for column in (0, 1):
        expected = parts[column,] + pair.row_values / 2
        assert_allclose(values[:, column], expected, atol=1e-9)


def test_shap_agrees(rng):
    shap = pytest.importorskip("shap")
    X = rng.uniform(-1, 1, (60, 4))
    model = KANRegressor((3,), **SHORT)
    model.fit(X, X[:, 0] * X[:, 1] + np.sin(3 * X[:, 2]))
    masker = shap.maskers.Independent(X, max_samples=60)
    theirs = shap.explainers.Exact(model.predict, masker)(X[:8])
    ours = explain(model, X[:8], X)
    assert_allclose(ours.values, theirs.values, atol=1e-9)
    assert_allclose(ours.base_values, theirs.base_values[0], atol=1e-9)


def test_rows_are_told_as_they_were(model):
    X = rows_of(model)
    found = explain(model, X[:9], X)
    assert found.data.shape == (9, X.shape[1])
    for ours, theirs in zip(found.data, np.asarray(X[:9]), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one == other or (one != one and other != other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exact": "yes"}, "exact must be 'auto', True or False"),
        ({"max_samples": 0}, "max_samples must be an integer"),
        ({"background": np.ones((5, 2))}, "2 features"),
        ({"exact": True}, "25 do so.*exact='auto'"),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_arguments_that_make_no_sense_are_refused(settings, message, rng):
    X = rng.uniform(-1, 1, (60, 25))
    model = KANRegressor((2,), **SHORT).fit(X, X.sum(1) ** 2)
    with pytest.raises(ValueError, match=message):
        explain(model, X[:2], **{"background": X, **settings})
