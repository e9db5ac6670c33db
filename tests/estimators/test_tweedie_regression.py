"""KANRegressor under the Tweedie loss: its power, its dispersion, its formulas."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skkan import KANRegressor
from skkan.symbolic import fit_symbolic


def claims(rng, n_rows, power, rate):
    """Amounts most of which are zero, their mean and their dispersion."""
    X = rng.uniform(-1, 1, (n_rows, 2))
    mean = 100 * np.exp(X[:, 0] - X[:, 1] ** 2)
    dispersion = 100 ** (2 - power) / (rate * (2 - power))
    count = rng.poisson(mean ** (2 - power) / (dispersion * (2 - power)))
    shape = np.maximum(count, 1) * (2 - power) / (power - 1)
    size = dispersion * (power - 1) * mean ** (power - 1)
    return X, np.where(count > 0, rng.gamma(shape, size), 0.0), mean, dispersion


@pytest.mark.parametrize("rate", [0.05, 5.0])
@pytest.mark.parametrize("power", [1.3, 1.7])
def test_mean_and_dispersion_of_amounts_are_learnt(power, rate, rng):
    X, y, mean, dispersion = claims(rng, 6000, power, rate)
    model = KANRegressor((), loss="tweedie", power=power, random_state=0).fit(X, y)
    # The deviance of few amounts a row exceeds the dispersion by up to a quarter.
    assert_allclose(model.dispersion_, dispersion, rtol=0.25)
    error = np.log(model.predict(X) / mean)
    # Four deviations of a mean from 300 amounts, or from 6000 rows.
    assert np.sqrt(np.mean(error**2)) < (0.35 if rate < 1 else 0.08)


@pytest.mark.parametrize("power", [1, 1.0, 2, 0.5, 3, "auto", None])
def test_power_lies_between_those_of_poisson_and_gamma(power, rng):
    with pytest.raises(ValueError, match="'power' parameter of KANRegressor"):
        KANRegressor(loss="tweedie", power=power).fit(np.ones((5, 1)), np.ones(5))


def test_targets_that_tweedie_does_not_take(rng):
    X = rng.normal(size=(20, 2))
    y = np.ones(20)
    y[3] = -1
    with pytest.raises(ValueError, match=r"'tweedie' requires non-negative y.*to -1:"):
        KANRegressor(loss="tweedie").fit(X, y)
    with pytest.raises(ValueError, match=r"'tweedie' requires.*got only zeros"):
        KANRegressor(loss="tweedie").fit(X, np.column_stack([y**2, 0 * y]))


def test_formulas_are_fitted_under_the_power_of_the_fit(rng):
    """Also if the parameter was changed since."""
    X, y, _, _ = claims(rng, 500, 1.5, 5.0)
    model = KANRegressor((), loss="tweedie", power=1.2, random_state=0).fit(X, y)
    expected = fit_symbolic(model, X, y).predict(X)
    model.set_params(power=1.9)
    assert_array_equal(fit_symbolic(model, X, y).predict(X), expected)
