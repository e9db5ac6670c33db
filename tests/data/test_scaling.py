"""Affine maps to unit scale, against numpy on repeated rows."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import median_abs_deviation

from skkan.data._scaling import NORMAL_MEDIAN, AffineScaling

KINDS = [AffineScaling.robust, AffineScaling.standard, AffineScaling.most_robust]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


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
    expected = (quantiles[2] - quantiles[0]) / (2 * NORMAL_MEDIAN)
    assert_allclose(scaling.scale, expected, rtol=1e-14)


def test_most_robust_is_median_and_median_absolute_deviation(rng):
    """scipy's, of the repeated rows; an odd number of them, whose middle is a row."""
    y = make_columns(rng)
    count = 2 * rng.integers(1, 3, len(y)) - 1
    scaling = AffineScaling.most_robust(y, count.astype(float))
    repeated = np.repeat(y, count, axis=0)
    assert len(repeated) % 2
    assert_array_equal(scaling.centre, np.median(repeated, axis=0))
    expected = median_abs_deviation(repeated, axis=0) / NORMAL_MEDIAN
    assert_allclose(scaling.scale, expected, rtol=1e-12)


def test_most_robust_scale_where_most_rows_are_equal():
    """As long as anything varies there is a scale; of a constant it is the size."""
    weight = np.ones(100)
    quartiles = np.repeat([[0.0], [2.0]], [70, 30], axis=0)
    scales = [AffineScaling.most_robust(quartiles, weight).scale]
    rare = np.repeat([[0.0], [1.0]], [90, 10], axis=0)
    scales.append(AffineScaling.most_robust(rare, weight).scale)
    scales.append(AffineScaling.most_robust(np.full((100, 1), -3.0), weight).scale)
    assert_allclose(np.ravel(scales), [1 / NORMAL_MEDIAN, 0.3, 3.0], rtol=1e-12)


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


VALUES = [0.0, 1e-300, 0.1, -3.0, 1e12, 1e300]


@pytest.mark.parametrize("value", VALUES)
def test_constant_target_is_centred_exactly_and_scaled_by_its_size(value):
    """What the mean of equal values misses them by must not become the target."""
    y = np.full((7, 1), value)
    scaling = AffineScaling.standard(y, np.array([0.1, 0.2, 0.3, 0.7, 1.1, 1.3, 2.9]))
    assert_array_equal(scaling.transform(y), np.zeros((7, 1)))
    assert_array_equal(scaling.scale, [abs(value) or 1.0])


@pytest.mark.parametrize("value", VALUES)
def test_constant_input_is_zero_whatever_comes_later(value):
    """Nothing can be learnt of it, so nothing may depend on it."""
    X = np.full((7, 1), value)
    scaling = AffineScaling.robust(X, np.ones(7))
    later = np.array([[value], [1e308], [-1e308], [value + 1]])
    assert_array_equal(scaling.transform(later), np.zeros((4, 1)))


def test_input_that_is_constant_up_to_rounding_is_constant():
    X = np.where(np.arange(80)[:, None] % 2, 0.1 + 0.2, 0.3)
    assert_array_equal(AffineScaling.robust(X, np.ones(80)).scale, [np.inf])


def test_new_columns_are_scaled_when_they_begin_to_vary(rng):
    """The others stay as they are: fitted curves depend on them."""
    X = rng.normal(size=(50, 2))
    first = AffineScaling.robust(X * [1, 0], np.ones(50))
    later = first.with_new_columns(3 * X, np.ones(50))
    expected = AffineScaling.robust(3 * X, np.ones(50))
    assert_array_equal(later.centre, [first.centre[0], expected.centre[1]])
    assert_array_equal(later.scale, [first.scale[0], expected.scale[1]])


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
    assert (ratio < 1.5) == (kind != AffineScaling.standard)
