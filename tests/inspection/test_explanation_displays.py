"""Importances and Shapley values as bars and strips."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from models_to_draw import X as PLAIN
from models_to_draw import apart, one_line
from numpy.testing import assert_allclose

from skkan import KANClassifier, KANRegressor
from skkan.inspection import (
    Explanation,
    ImportanceDisplay,
    SummaryDisplay,
    WaterfallDisplay,
    effects,
    explain,
)
from skkan.inspection import _explanation_displays as module
from skkan.inspection._effect_display import percent

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
QUICK = {"solver": "lbfgs", "tol": 0.1, "max_iter": 20, "random_state": 0}
LONG = "mean of the logarithm of a quantity over all the rows of $a_i [mg]"
rng = np.random.default_rng(0)
X = pd.DataFrame(
    {
        "income": rng.lognormal(0, 1, 120),
        "colour": pd.Categorical(rng.choice(["red", "green"], 120)),
        LONG: rng.normal(size=120),
    }
)
Y = np.log(X["income"]) + (X["colour"] == "red") * X[LONG]
X.loc[::7, "income"] = np.nan
every_display = pytest.mark.parametrize(
    "display", [ImportanceDisplay, WaterfallDisplay, SummaryDisplay]
)


@pytest.fixture(scope="module")
def mixed():
    return KANRegressor((2,), **QUICK).fit(X, Y)


@pytest.fixture(scope="module")
def classes():
    y = np.digitize(Y, [-1, 0, 1])
    return KANClassifier((2,), **QUICK).fit(X, np.array(list("abcd"))[y])


def row_labels(display):
    return [one_line(label) for label in display.ax_.get_yticklabels()]


def by_hand(values, data, error=None, base=0.0):
    """An explanation of one output."""
    values = np.atleast_2d(values)
    names = [f"x{i}" for i in range(values.shape[1])]
    error = np.zeros_like(values) if error is None else np.atleast_2d(error)
    return Explanation(
        values=values,
        base_values=base,
        error=error,
        data=np.atleast_2d(data),
        feature_names=names,
        output_names=["y"],
    )


# Importances.


def test_bars_are_shares_and_sum_to_the_variance(mixed):
    display = ImportanceDisplay.from_estimator(mixed, X, max_effects=3)
    found = effects(mixed, X)
    everything = sorted(
        [*found.mains, *found.pairs], key=lambda effect: -abs(effect.share)
    )
    widths = [bar.get_width() for bar in display.bars_]
    assert_allclose(widths[:3], [effect.share for effect in everything[:3]])
    assert_allclose(widths[3], sum(effect.share for effect in everything[3:]))
    assert_allclose(sum(widths), 1)
    labels = row_labels(display)
    assert labels[3:] == [f"{len(everything) - 3} others", "everything else"]
    names = [" \N{MULTIPLICATION SIGN} ".join(e.feature_names) for e in everything]
    assert [label[:5] for label in labels[:3]] == [name[:5] for name in names[:3]]
    assert [text.get_text() for text in display.texts_] == list(map(percent, widths))


def test_negative_shares_point_to_the_left(mixed):
    found = effects(mixed, X, pairs=None)
    mains = [
        replace(effect, share=share)
        for effect, share in zip(found.mains, (1.1, 0.05, -0.2), strict=True)
    ]
    found = replace(found, mains=mains, rest_share=0.05)
    display = ImportanceDisplay(found).plot()
    assert [bar.get_width() for bar in display.bars_] == [1.1, -0.2, 0.05, 0.05]
    assert [text.get_ha() for text in display.texts_] == [
        "left",
        "right",
        "left",
        "left",
    ]
    assert display.texts_[1].get_text() == "-20%"
    low, high = display.ax_.get_xlim()
    assert low < -0.2 < 1.1 < high


# One row.


def test_bars_lead_from_the_mean_output_to_that_of_the_row(mixed):
    display = WaterfallDisplay.from_estimator(mixed, X, row=7)
    found = explain(mixed, X.iloc[[7]], X)
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
        found = explain(classes, X.iloc[[11]], X)
        values = found.values[0, :, output]
        steps = [bar.get_width() for bar in display.bars_]
        assert_allclose(steps, values[np.argsort(-np.abs(values), kind="stable")])


# Many rows.


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
    assert one_line(bar.yaxis.label).endswith("(grey: a category, or missing)")
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


# All of them.


@every_display
def test_labels_have_room(display, mixed):
    names = [LONG, "x" * 80, "a name of quite a few short words that goes on and on"]
    drawn = display.from_estimator(mixed, X, feature_names=names)
    drawn.figure_.canvas.draw()
    whole = drawn.figure_.bbox
    labels = [label.get_window_extent() for label in drawn.ax_.get_yticklabels()]
    assert apart([(label.y0, label.y1) for label in labels])
    texts = [text.get_window_extent() for text in getattr(drawn, "texts_", [])]
    for extent in texts:
        assert drawn.ax_.bbox.x0 <= extent.x0 < extent.x1 <= drawn.ax_.bbox.x1
    for extent in [*labels, drawn.ax_.xaxis.label.get_window_extent()]:
        assert whole.x0 <= extent.x0 < extent.x1 <= whole.x1
        assert whole.y0 <= extent.y0 < extent.y1 <= whole.y1


@every_display
def test_bad_arguments_are_told_before_any_work(display, mixed, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr(module, "explain", fail)
    monkeypatch.setattr(module, "effects_of", fail)
    name = "max_effects" if display is ImportanceDisplay else "max_features"
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1"):
        display.from_estimator(mixed, X, **{name: 0})
    with pytest.raises(ValueError, match="feature_names must hold one name for each"):
        display.from_estimator(mixed, X, feature_names=["a"])
    with pytest.raises(TypeError, match="draws into a single Axes, got str"):
        display.from_estimator(mixed, X, ax="axes")
    if display is not ImportanceDisplay:
        for target in ("z", 1, -1, True):
            with pytest.raises(
                ValueError, match="target must be the name or number of"
            ):
                display.from_estimator(mixed, X, target=target)
    if display is WaterfallDisplay:
        for row in (-1, 120, 1.0, True):
            with pytest.raises(ValueError, match="one of the 120 rows of X, from 0 on"):
                display.from_estimator(mixed, X, row=row)
    if display is SummaryDisplay:
        with pytest.raises(ValueError, match="max_rows must be an integer of at least"):
            display.from_estimator(mixed, X, max_rows=0)


@every_display
def test_arrays_do_as_well_as_frames(display):
    """And the given axes are used."""
    x = PLAIN.to_numpy()[:, :2]
    model = KANRegressor((), **QUICK).fit(x, x[:, 0])
    figure, ax = plt.subplots()
    drawn = display.from_estimator(model, x, ax=ax)
    assert drawn.ax_ is ax
    assert drawn.figure_ is figure
    assert any("x0" in label for label in row_labels(drawn))
