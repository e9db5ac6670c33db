"""Strips of the Shapley values of many rows."""

import numpy as np
import pytest
from models_to_draw import one_line
from numpy.testing import assert_allclose
from rows_to_explain import LONG, X, by_hand, mixed_model, row_labels

from skkan.inspection import SummaryDisplay, explain

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def mixed():
    return mixed_model()


def test_strips_are_the_values_in_the_order_of_their_size(mixed):
    display = SummaryDisplay.from_estimator(mixed, X, max_features=2)
    found = explain(mixed, X, X)
    order = np.argsort(-np.abs(found.values).mean(0))
    for strip, column in zip(display.strips_, order, strict=False):
        assert_allclose(strip.get_offsets()[:, 0], found.values[:, column])
        height = strip.get_offsets()[:, 1] - list(order).index(column)
        assert np.abs(height).max() <= 0.4
    assert len(display.strips_) == 2
    least = np.abs(found.values).mean(0).min()
    assert "Shapley value on y, 120 rows" in one_line(display.ax_.xaxis.label)
    note = f"Not shown: 1 feature of mean absolute value {least:.3g} at most"
    assert note in one_line(display.ax_.xaxis.label)


def test_colours_are_ranks_and_categories_grey(mixed):
    display = SummaryDisplay.from_estimator(mixed, X)
    labels, ranks = row_labels(display), {}
    for label, strip in zip(labels, display.strips_, strict=True):
        ranks[label[:4]] = strip.get_array().filled(np.nan)
    expected = X["income"].rank(pct=True)
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    assert_allclose(ranks["inco"], expected)
    assert np.isnan(ranks["colo"]).all()
    bar = display.figure_.axes[-1]
    assert "Grey: a category, or missing" in one_line(display.ax_.xaxis.label)
    assert [label.get_text() for label in bar.get_yticklabels()] == ["low", "high"]


def test_points_of_a_row_lie_beside_each_other():
    values = np.repeat([[0.0, 1.0]], 50, axis=0).T.reshape(-1, 1)
    display = SummaryDisplay(by_hand(values, values)).plot()
    places = np.round(display.strips_[0].get_offsets(), 6)
    assert len({tuple(place) for place in places}) == 100


def test_rows_are_spread_over_a_large_table(mixed):
    display = SummaryDisplay.from_estimator(mixed, X, max_rows=10)
    assert len(display.explanation.values) == 10
    positions = [list(X[LONG]).index(value) for value in display.explanation.data[:, 2]]
    assert np.diff(positions).min() > 0
    assert np.diff(positions).max() <= 24


@pytest.mark.parametrize("n_features", [1, 2])
def test_texts_beside_few_strips_have_room(n_features):
    found = by_hand(np.eye(n_features), np.eye(n_features))
    display = SummaryDisplay(found).plot()
    display.figure_.canvas.draw()
    label = display.figure_.axes[-1].yaxis.label.get_window_extent()
    whole = display.figure_.bbox
    assert whole.y0 <= label.y0 < label.y1 <= whole.y1
