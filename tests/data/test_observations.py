"""Copies of rows, observations that agree by chance, and what weights count for."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_friedman1

from skkan import KANClassifier, KANRegressor
from skkan.data._merged_rows import canonical_rows
from skkan.data._observations import (
    effective_weights,
    observation_counts,
    row_of_observations,
    share_of_rows,
)


def counts_of(X, y, weight=None):
    weight = np.ones(len(X)) if weight is None else weight
    X, _, weight = canonical_rows(X.astype(float), y[:, None].astype(float), weight)
    return observation_counts(X, weight), weight


def flags(rng, n_rows, shape, noise=0.0):
    """Codes of columns, and a target that depends on all of them together."""
    X = np.column_stack([rng.integers(0, size, n_rows) for size in shape])
    y = rng.normal(size=shape)[tuple(X.T)]
    return X, y + noise * rng.normal(size=n_rows)


def test_a_bootstrap_repeats_copies(rng):
    X, y = make_friedman1(200, random_state=0)
    chosen = rng.integers(0, 200, 200)
    assert counts_of(X[chosen], y[chosen])[0] is None
    assert counts_of(X[:, :1], y, np.full(200, 7.0))[0] is None


def test_a_bootstrap_of_rounded_columns_repeats_copies(rng):
    """No column identifies a row, but their combinations do."""
    X = rng.integers(0, 40, size=(300, 5))
    y = X.sum(axis=1) + rng.normal(size=300)
    chosen = rng.integers(0, 300, 300)
    assert counts_of(X[chosen], y[chosen])[0] is None


@pytest.mark.parametrize("shape", [(2,), (2, 2), (7, 7), (5, 4, 3)])
def test_codes_that_agree_are_observations(rng, shape):
    X, y = flags(rng, 2000, shape)
    counts, weight = counts_of(X, y)
    assert_array_equal(counts, weight)
    counts, weight = counts_of(X, (y > 0) != (rng.random(2000) < 0.1))
    assert_array_equal(counts, weight)


def test_one_hot_codes_that_agree_are_observations(rng):
    X, y = flags(rng, 1000, (12, 5))
    X = np.hstack([np.eye(12)[X[:, 0]], np.eye(5)[X[:, 1]]])
    counts, weight = counts_of(X, y)
    assert_array_equal(counts, weight)


def test_a_row_has_been_observed_at_least_once(rng):
    X, y = flags(rng, 100, (2, 2), noise=1.0)
    assert_array_equal(counts_of(X, y, np.full(100, 0.01))[0], np.ones(100))


def test_number_of_observations():
    """Closed forms: of k equal weights, of repetitions, and of two sizes."""
    assert effective_weights(np.full(7, 0.3), None).sum() == 7
    counts = np.array([1.0, 4.0, 2.0])
    assert_array_equal(effective_weights(0.5 * counts, counts), counts)
    # Entropy of weights 1/2, 1/4 and 1/4: 3/2 log 2.
    weight = effective_weights(np.array([2.0, 1.0, 1.0]), None)
    assert_allclose(weight, 2**1.5 * np.array([0.5, 0.25, 0.25]), rtol=1e-14)
    # Single observations of weights 2 (once) and 1 (twice) are the same three.
    weight = effective_weights(np.array([2.0, 2.0]), np.array([1.0, 2.0]))
    assert_allclose(weight, [2**0.5, 2**0.5], rtol=1e-14)


def test_observations_of_a_row_may_stand_on_both_sides():
    counts = np.array([1.0, 3.0, 2.0])
    row_of = row_of_observations(3, counts)
    assert_array_equal(row_of, [0, 1, 1, 1, 2, 2])
    share = share_of_rows(row_of, np.array([1, 4, 5]), 3)
    assert_allclose(share, [0, 1 / 3, 1])
    many = row_of_observations(3, 1e7 * counts)
    assert len(many) == 100_000
    assert_allclose(np.bincount(many) / len(many), counts / 6, atol=1e-5)


@pytest.mark.parametrize("sizes", [(), (2,)])
def test_the_scale_of_weights_does_not_matter(sizes):
    X, y = make_friedman1(80, noise=2.0, random_state=0)
    weight = np.random.default_rng(0).integers(1, 4, 80)
    settings = {"random_state": 0, "grid_size": 3}
    model = KANRegressor(sizes, **settings).fit(X, y, sample_weight=weight)
    for factor in (2.0**-7, 2.0, 1024.0):  # without rounding
        scaled = KANRegressor(sizes, **settings)
        scaled.fit(X, y, sample_weight=factor * weight)
        assert_allclose(scaled.predict(X), model.predict(X), rtol=1e-6)
        assert scaled.noise_std_ == pytest.approx(model.noise_std_, rel=1e-6)
        assert scaled.log_evidence_ == pytest.approx(model.log_evidence_, rel=1e-6)


@pytest.mark.parametrize("sizes", [(), (2,)])
def test_noise_of_a_bootstrap_is_that_of_its_rows(sizes):
    """Copies tell nothing of the noise, which was learnt as 1e-7 from them."""
    noise = []
    for draw in range(3):
        X, y = make_friedman1(250, noise=2.0, random_state=draw)
        chosen = np.random.default_rng(draw).integers(0, 250, 250)
        model = KANRegressor(sizes, random_state=0).fit(X[chosen], y[chosen])
        noise.append(model.noise_std_)
    assert min(noise) > 1.0
    assert 1.5 < np.median(noise) < 2.5


def test_intervals_after_a_bootstrap_cover_later_targets(rng):
    X, y = make_friedman1(250, noise=2.0, random_state=0)
    chosen = rng.integers(0, 250, 250)
    model = KANRegressor(()).fit(X[chosen], y[chosen])
    fresh, target = make_friedman1(1000, noise=2.0, random_state=1)
    mean, std = model.predict(fresh, return_std=True)
    assert 0.85 < np.mean(np.abs(target - mean) < 1.645 * std) < 0.95


def test_class_weights_count_by_their_ratio(rng):
    X = rng.normal(size=(300, 3))
    y = (X[:, 0] + rng.normal(size=300) > 1.5).astype(int)
    few, many = (
        KANClassifier((), class_weight={0: c, 1: 10 * c}).fit(X, y) for c in (1, 32)
    )
    # Training ends within its tolerance, to which it amplifies rounding.
    assert_allclose(few.decision_function(X), many.decision_function(X), rtol=1e-3)
    assert np.abs(few.decision_function(X)).max() < 10


@pytest.mark.parametrize("n_rows", [150, 5000])
def test_exclusive_or_of_two_flags_is_found(rng, n_rows):
    """It merges into eight rows, whose number says nothing of the data's."""
    X = rng.integers(0, 2, (n_rows, 2)).astype(float)
    y = (X[:, 0] != X[:, 1]) != (rng.random(n_rows) < 0.1)
    cells, of_rows = np.unique(X, axis=0, return_inverse=True)
    shares = np.bincount(of_rows, y) / np.bincount(of_rows)
    model = KANClassifier(random_state=0).fit(X, y)
    found = model.predict_proba(cells)[:, 1]
    assert np.abs(found - shares).max() < 0.1


@pytest.mark.parametrize("categorical_features", [None, [0, 1]])
def test_function_of_two_codes_is_found(rng, categorical_features):
    X, y = flags(rng, 1000, (4, 4))
    model = KANRegressor(categorical_features=categorical_features, random_state=0)
    assert model.fit(X, y).score(X, y) > 0.999


def test_early_stopping_splits_observations(rng):
    """One flag has two distinct rows, each of which validates in part."""
    X = rng.integers(0, 2, (1500, 1)).astype(float)
    model = KANRegressor((), solver="lbfgs", early_stopping=True, random_state=0)
    assert model.fit(X, 3 * X[:, 0] - 1).score(X, 3 * X[:, 0] - 1) > 0.99


@pytest.mark.parametrize("seed", range(4))
def test_early_stopping_on_observations_of_one_row(seed):
    """Two observations validate. They may be of one row, whose R2 is 0 or 1."""
    X, y = np.repeat([[1.0], [2.0]], 10, axis=0), np.repeat([1.0, 2.0], 10)
    model = KANRegressor(
        (),
        solver="lbfgs",
        max_iter=40,
        early_stopping=True,
        validation_fraction=0.1,
        random_state=seed,
    )
    assert_allclose(model.fit(X, y).predict(X), y, rtol=0.01)
