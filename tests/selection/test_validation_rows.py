"""Validation rows: paired comparisons and weights, against scipy and closed forms."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import ttest_rel

from skkan.data._dataset import Dataset
from skkan.losses._classification import BinaryLogLoss
from skkan.losses._regression import SquaredError
from skkan.selection._validation_rows import ValidationRows, validation_split


def make_data(rng, n_rows=40, weight=None):
    X, target = torch.from_numpy(rng.normal(size=(2, n_rows, 1)))
    weight = torch.ones(n_rows) if weight is None else torch.from_numpy(weight)
    return Dataset(X, target, weight.double(), torch.zeros(1).double())


@pytest.fixture
def outputs(rng):
    return torch.from_numpy(rng.normal(size=(2, 40, 1)))


def test_paired_t_is_that_of_scipy(rng, outputs):
    """Up to the variance, which has n in place of n - 1."""
    rows = ValidationRows(make_data(rng), SquaredError())
    raw, reference = outputs
    losses = [rows.loss.value(one, rows.data.target) for one in (reference, raw)]
    expected = ttest_rel(*losses).statistic * np.sqrt(40 / 39)
    assert_allclose(rows.paired_t(raw, reference), expected, rtol=1e-12)
    assert_allclose(rows.paired_t(reference, raw), -expected, rtol=1e-12)


def test_weights_are_repetitions(rng, outputs):
    count = rng.integers(1, 4, 40)
    data = make_data(rng, weight=count)
    repeated = np.repeat(np.arange(40), count)
    many = data.rows(torch.from_numpy(repeated))
    many = Dataset(
        many.X, many.target, torch.ones(len(repeated)).double(), many.baseline
    )
    one, other = (ValidationRows(each, SquaredError()) for each in (data, many))
    of_other = [raw[repeated] for raw in outputs]
    assert_allclose(one.paired_t(*outputs), other.paired_t(*of_other), rtol=1e-12)
    assert_allclose(one.total_loss(outputs[0]), other.total_loss(of_other[0]))
    assert_allclose(one.error(outputs[0]), other.error(of_other[0]), rtol=1e-12)


def test_a_single_outlier_does_not_decide(rng):
    """It counts as twenty of the other rows, which agree."""
    data = make_data(rng)
    reference, raw = data.target + 1.0, data.target + 0.9
    data.target[0] += 1e3
    counted = np.array([-20.0] + 39 * [1.0])
    expected = counted.mean() / (counted.std() / np.sqrt(40))
    t = ValidationRows(data, SquaredError()).paired_t(raw, reference)
    assert_allclose(t, expected, rtol=1e-9)
    assert t > 0


def test_a_single_row_of_the_wrong_class_decides(rng):
    """Overconfidence shows in few rows, which are no outliers."""
    data = make_data(rng)
    data.target[:] = 1.0
    data.target[0] = 0.0
    reference, raw = torch.full((2, 40, 1), 3.0).double()
    raw *= 100
    assert ValidationRows(data, BinaryLogLoss()).paired_t(raw, reference) < -0.9


@pytest.mark.parametrize("best", [-0.3, 0.0, 0.37, 0.62, 1.0, 1.4])
def test_best_weight_minimises_the_loss(best, rng, outputs):
    """On multiples of 1 / 20; a parabola is lowest at the one nearest its minimum."""
    data = make_data(rng)
    raw, other = outputs
    data.target[:] = torch.lerp(raw, other, best)
    expected = np.clip(round(20 * best), 0, 20) / 20
    assert ValidationRows(data, SquaredError()).best_weight(raw, other) == expected


def test_relative_error_of_a_constant_is_one(rng):
    rows = ValidationRows(make_data(rng), SquaredError())
    constant = rows.data.baseline.expand(40, 1)
    assert rows.relative_error(constant) == 1
    half = torch.lerp(constant, rows.data.target, 0.5)
    assert_allclose(rows.relative_error(half), 0.25, rtol=1e-12)


def test_split_is_a_partition(rng):
    """A quarter of the rows, rounded up, is for validation."""
    data = make_data(rng, n_rows=41)
    generator = torch.Generator().manual_seed(0)
    fitted, validation = validation_split(data, SquaredError(), generator)
    assert validation.data.n_rows == 11
    both = torch.cat([fitted.X, validation.data.X])
    assert_allclose(both.sort(dim=0).values, data.X.sort(dim=0).values, rtol=0)
