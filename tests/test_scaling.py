"""Affine maps to unit scale, against numpy on repeated rows."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skkan._scaling import NORMAL_IQR, AffineScaling

KINDS = [AffineScaling.robust, AffineScaling.standard]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=["robust", "standard"])


def make_columns(rng, n_samples=101):
    """Skewed columns of different units, one with outliers."""
    X = rng.lognormal(size=(n_samples, 3)) * [1.0, 1e-3, 1e6] + [0.0, 5.0, -1e7]
    X[:5, 0] = 1e9
    return X


def test_robust_is_median_and_interquartile_range(rng):
    """Of the repeated rows; 1.349 makes it the deviation of a normal sample."""
    X = make_columns(rng)
    count = rng.integers(1, 5, len(X))
    scaling = AffineScaling.robust(X, count.astype(float))
    repeated = np.repeat(X, count, axis=0)
    quantiles = np.quantile(repeated, [0.25, 0.5, 0.75], axis=0, method="inverted_cdf")
    assert_array_equal(scaling.centre, quantiles[1])
    expected = (quantiles[2] - quantiles[0]) / NORMAL_IQR
    assert_allclose(scaling.scale, expected, rtol=1e-14)


def test_robust_scale_of_a_normal_sample_is_its_deviation(rng):
    """Median 3, deviation 2, to the sampling error of 1 / sqrt(n) = 0.3%."""
    X = 3 + 2 * rng.standard_normal((100_000, 1))
    scaling = AffineScaling.robust(X, np.ones(len(X)))
    assert_allclose(scaling.centre, 3, rtol=0.01)
    assert_allclose(scaling.scale, 2, rtol=0.01)


def test_standard_is_mean_and_deviation(rng):
    """Of the repeated rows, population deviation."""
    y = make_columns(rng)
    count = rng.integers(1, 5, len(y))
    scaling = AffineScaling.standard(y, count.astype(float))
    repeated = np.repeat(y, count, axis=0)
    assert_allclose(scaling.centre, repeated.mean(axis=0), rtol=1e-12)
    assert_allclose(scaling.scale, repeated.std(axis=0), rtol=1e-12)


def test_column_without_interquartile_range_has_its_deviation():
    """A rare indicator has quartiles of zero, and still varies."""
    X = np.repeat([[0.0], [1.0]], [90, 10], axis=0)
    scaling = AffineScaling.robust(X, np.ones(100))
    assert_array_equal(scaling.centre, [0])
    assert_allclose(scaling.scale, [0.3], rtol=1e-14)


@every_kind
@pytest.mark.parametrize("value", [0.0, 1.0, -3.7, 0.1, 1e-300, 1e12, 1e300])
def test_constant_column_has_the_scale_of_its_rounding(kind, value):
    """What the mean misses the value by must neither grow nor be predicted."""
    X = np.full((7, 1), value)
    scaling = kind(X, np.array([0.1, 0.2, 0.3, 0.7, 1.1, 1.3, 2.9]))
    rounding = 8 * np.finfo(float).eps * abs(value)
    assert_allclose(scaling.scale, [rounding or 1.0], rtol=1e-15)
    assert np.abs(scaling.transform(X)).max() < 1
    assert_allclose(scaling.inverse_transform(0.0), [value], rtol=1e-15)
    # The weighted mean of equal numbers rounds; the median does not.
    assert_allclose(scaling.centre, [value], rtol=1e-15)


@every_kind
@pytest.mark.parametrize("size", [1e-300, 1e-12, 1.0, 1e12, 1e300])
def test_scale_follows_the_units(kind, size, rng):
    """Kilometres or picometres: the unit-scale values are the same."""
    X = rng.standard_normal((50, 2))
    weight = rng.uniform(1, 2, 50)
    plain, scaled = kind(X, weight), kind(size * X, weight)
    assert_allclose(scaled.scale, size * plain.scale, rtol=1e-13)
    expected = plain.transform(X)
    assert_allclose(scaled.transform(size * X), expected, rtol=0, atol=1e-12)


@every_kind
def test_range_near_the_largest_number_is_finite(kind):
    """The difference of the quartiles overflows, their halves do not."""
    X = np.array([[-1.2e308], [1.2e308]] * 10)
    scaling = kind(X, np.ones(20))
    assert np.isfinite(scaling.centre).all()
    assert np.isfinite(scaling.scale).all()
    assert (scaling.scale > 1e308).all()


@every_kind
def test_inverse_undoes_the_transform(kind, rng):
    """Predictions and curves come back in the user's units."""
    X = make_columns(rng)
    scaling = kind(X, np.ones(len(X)))
    # Rounding is relative to the centre where that is larger than the value.
    atol = 1e-15 * np.abs(X).max(axis=0)
    back = scaling.inverse_transform(scaling.transform(X))
    assert (np.abs(back - X) <= atol).all()


@every_kind
def test_transform_is_affine(kind, rng):
    """(x - centre) / scale, so that edges stay curves in raw units."""
    X = make_columns(rng)
    scaling = kind(X, np.ones(len(X)))
    expected = (X - scaling.centre) / scaling.scale
    assert_array_equal(scaling.transform(X), expected)


@every_kind
def test_outliers_change_only_the_standard_scaling(kind, rng):
    """Five rows in a hundred: the robust scale stays within the spread of samples."""
    X = rng.standard_normal((100, 1))
    without = kind(X, np.ones(100)).scale
    X[:5] = 1e6
    ratio = (kind(X, np.ones(100)).scale / without).item()
    assert (ratio < 1.5) == (kind == AffineScaling.robust)
