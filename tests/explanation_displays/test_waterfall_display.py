"""The way from the mean output to that of one row, in bars of Shapley values."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from rows_to_explain import QUICK, X, Y, by_hand, mixed_model, row_labels

from skkan import KANClassifier, KANRegressor
from skkan.inspection import WaterfallDisplay, effects, explain

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def mixed():
    return mixed_model()


@pytest.fixture(scope="module")
def classes():
    y = np.digitize(Y, [-1, 0, 1])
    return KANClassifier((2,), **QUICK).fit(X, np.array(list("abcd"))[y])


def test_bars_lead_from_the_mean_output_to_that_of_the_row(mixed):
    display = WaterfallDisplay.from_estimator(mixed, X, row=7)
    found = explain(mixed, X.iloc[[7]], X, max_samples=300)
    order = np.argsort(-np.abs(found.values[0]))
    steps = [bar.get_width() for bar in display.bars_]
    assert_allclose(steps, found.values[0][order])
    starts = np.array([bar.get_x() for bar in display.bars_])
    assert_allclose(starts[0], found.base_values)
    assert_allclose(starts[1:], starts[:-1] + steps[:-1])
    assert_allclose(starts[-1] + steps[-1], mixed.predict(X.iloc[[7]])[0])
    labels = row_labels(display)
    assert [labels[0], labels[-1]] == ["mean output", "output"]
    column = list(order).index(0)
    assert labels[1 + column] == "income = missing"
    column = list(order).index(1)
    assert labels[1 + column] == f"colour = {X['colour'][7]}"
    assert display.ax_.get_xlabel() == "y"


def test_features_without_a_bar_are_added_up():
    found = by_hand([[0.5, -2.0, 1.0, -0.25]], [[3.0, 1234.567, 0.1, 2.0]], base=10.0)
    display = WaterfallDisplay(found).plot(max_features=2)
    assert row_labels(display) == [
        "mean output",
        "x1 = 1235",
        "x2 = 0.1",
        "2 others",
        "output",
    ]
    assert [bar.get_width() for bar in display.bars_] == [-2.0, 1.0, 0.25]
    texts = [text.get_text() for text in display.texts_]
    assert texts == ["10.00", "-2.00", "+1.00", "+0.25", "9.25"]


@pytest.mark.parametrize(
    ("values", "base", "texts", "label"),
    [
        ([302297.0, -4e3], 5e5, ["500000", "+302000", "-4000", "798000"], "y"),
        ([302297.0, -4e3], 5e9, ["5000000000", "+302000", "-4000", "5000298000"], "y"),
        (
            [9.02e9, -3e7],
            5e9,
            ["5.00", "+9.02", "-0.03", "13.99"],
            "y, in units of 1e9",
        ),
        (
            [4.5e-7, -3e-8],
            2e-7,
            ["200", "+450", "-30", "620"],
            "y, in units of 1e-9",
        ),
        ([4.5e-7, -3e-8], 5.0, ["5.000000000", "+0.000000450"], "y"),
    ],
)
def test_large_and_small_contributions_have_three_digits(values, base, texts, label):
    """In units of a power of 1,000, unless the mean output would not fit them."""
    found = by_hand([values], [[1.0, 2.0]], base=base)
    display = WaterfallDisplay(found).plot()
    written = [text.get_text() for text in display.texts_]
    assert written[: len(texts)] == texts
    assert display.ax_.get_xlabel() == label


def test_ticks_have_the_unit_of_the_numbers():
    found = by_hand([[9e9, -3e9]], [[1.0, 2.0]], base=1e9)
    display = WaterfallDisplay(found).plot()
    display.figure_.canvas.draw()
    for tick in display.ax_.xaxis.get_major_ticks():
        name = tick.label1.get_text().replace("\N{MINUS SIGN}", "-")
        assert_allclose(float(name) * 1e9, tick.get_loc(), atol=1e-3)


@pytest.mark.parametrize("n_features", [3, 40])
def test_the_mean_output_is_that_of_the_effects(n_features):
    """Two figures of one fit must not name two mean outputs."""
    x = np.random.default_rng(0).lognormal(size=(700, n_features))
    model = KANRegressor((), **QUICK).fit(x, x.sum(axis=1))
    display = WaterfallDisplay.from_estimator(model, x)
    expected = effects(model, x, features=[0], pairs=None).base_value
    assert_allclose(display.explanation.base_values, expected, rtol=1e-12)


def test_standard_errors_are_told_where_orders_were_drawn():
    found = by_hand([[0.5, -0.02]], [[3.0, 1.0]], [[0.01, 0.002]])
    display = WaterfallDisplay(found).plot()
    texts = [text.get_text() for text in display.texts_]
    assert texts[1:3] == ["+0.500 ± 0.010", "-0.020 ± 0.002"]
    assert display.ax_.get_xlabel() == "y\n(± one standard error)"


def test_the_class_is_that_which_is_predicted_or_asked_for(classes):
    predicted = classes.predict(X.iloc[[11]])[0]
    for target, name in ((None, predicted), ("a", "a"), (2, "c")):
        display = WaterfallDisplay.from_estimator(classes, X, row=11, target=target)
        assert display.ax_.get_xlabel() == f"logit of {name}"
        output = "abcd".index(name)
        found = explain(classes, X.iloc[[11]], X, max_samples=300)
        values = found.values[0, :, output]
        steps = [bar.get_width() for bar in display.bars_]
        assert_allclose(steps, values[np.argsort(-np.abs(values), kind="stable")])
