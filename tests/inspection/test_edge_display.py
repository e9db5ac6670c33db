"""Panels of single curves: their numbers and artists."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from models_to_draw import X, Y, one_line
from numpy.testing import assert_allclose, assert_array_equal

from skkan import KANClassifier
from skkan.inspection import (
    EdgeFunctionDisplay,
    edge_table,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_panels_hold_the_curves_in_raw_units(model):
    display = EdgeFunctionDisplay.from_estimator(model)
    scores = [edge.importance for edge in display.edges]
    assert (
        scores == sorted(edge_table(model)["importance"], reverse=True)[: len(scores)]
    )
    for edge, line in zip(display.edges, display.lines_, strict=True):
        x = line.get_xdata()
        assert (x[0], x[-1]) == (edge.low, edge.high)
        assert_allclose(line.get_ydata(), edge(x) - edge.mean, rtol=1e-12)


def test_panels_say_what_they_show(classifier, additive):
    edges = [("age", "h1_0"), ("h1_0", "2")]
    display = EdgeFunctionDisplay.from_estimator(classifier, edges=edges)
    assert [ax.get_xlabel() for ax in display.axes_] == ["age", "h1_0"]
    labels = [one_line(ax.yaxis.label) for ax in display.axes_]
    assert labels == [
        "part of h1_0, less its mean",
        "part of logit of 2, less its mean",
    ]
    display = EdgeFunctionDisplay.from_estimator(additive, target_names=["rent $"])
    assert one_line(display.axes_[0].yaxis.label) == "part of rent $, less its mean"
    # The neighbour on the left has said it.
    assert display.axes_[1].get_ylabel() == ""


def test_curves_of_networks_with_hidden_nodes_say_that_they_are_parts(deep, additive):
    """The additive skip is one, and curves into hidden nodes are others."""
    display = EdgeFunctionDisplay.from_estimator(deep, edges=["age"])
    labels = [one_line(ax.yaxis.label) for ax in display.axes_]
    assert labels[0] == "part of h1_0, less its mean"
    assert labels[-1] == "part of y1, beside 5 hidden nodes, less its mean"
    assert "EffectDisplay shows what a feature does" in one_line(display.note_)
    inside = EdgeFunctionDisplay.from_estimator(
        deep, edges=[("age", (3, 1))], ax=plt.subplots()[1]
    )
    assert inside.note_ is None  # the figure is not its own
    assert "beside 5 hidden nodes" in inside.axes_[0].get_ylabel()
    whole = EdgeFunctionDisplay.from_estimator(additive)
    assert whole.note_ is None
    assert one_line(whole.axes_[0].yaxis.label) == "part of y, less its mean"


def test_two_classes_and_labels_have_log_odds():
    settings = {"solver": "lbfgs", "max_iter": 3, "random_state": 0}
    y = np.where(Y > 0, "rich", "poor")
    two = KANClassifier((), **settings).fit(X, y)
    labels = KANClassifier((), **settings).fit(X, np.column_stack([Y > 0, Y > 1]) * 1)
    for model, name in ((two, "rich"), (labels, "1")):
        display = EdgeFunctionDisplay.from_estimator(model, edges=[("age", name)])
        label = one_line(display.axes_[0].yaxis.label)
        assert label == f"part of log odds of {name}, less its mean"


def test_bands_are_those_of_the_posterior(additive):
    display = EdgeFunctionDisplay.from_estimator(additive, edges=["age", "income"])
    for edge, line, band in zip(
        display.edges, display.lines_, display.bands_, strict=True
    ):
        x, curve = line.get_data()
        (path,) = band.get_paths()
        deviation = 1.645 * edge.deviation(x)
        assert_allclose(path.vertices[1 : len(x) + 1, 1], curve - deviation, rtol=1e-9)
        upper = path.vertices[len(x) + 2 : -1, 1][::-1]
        assert_allclose(upper, curve + deviation, rtol=1e-9)
    legend = display.axes_[0].get_legend().get_texts()
    assert [text.get_text() for text in legend] == ["90% band"]


def test_bands_are_left_out_on_request_and_asked_for_in_vain(additive, deep):
    plain = EdgeFunctionDisplay.from_estimator(additive, with_posterior=False)
    assert plain.bands_ == [] == EdgeFunctionDisplay.from_estimator(deep).bands_
    with pytest.raises(ValueError, match=r"no posterior of its weights.*solver='lm'"):
        EdgeFunctionDisplay.from_estimator(deep, with_posterior=True)


def test_curves_into_one_node_share_their_scale(deep):
    """So that heights compare, and everything drawn is above the density."""
    wanted = ["age", ("h2_0", "y0"), ("h2_1", "y0")]
    display = EdgeFunctionDisplay.from_estimator(deep, edges=wanted)
    limits = {}
    for edge, ax, line in zip(
        display.edges, display.axes_, display.lines_, strict=True
    ):
        limits.setdefault(edge.target, set()).add(ax.get_ylim())
        low, high = ax.get_ylim()
        shares = (line.get_ydata() - low) / (high - low)
        assert shares.min() > 0.2 - 1e-9
        assert shares.max() < 0.95 + 1e-9
        assert (ax.get_yticks() >= low + 0.19 * (high - low)).all()
    assert [len(shared) for shared in limits.values()] == [1] * len(limits)


@pytest.mark.parametrize("size", [(10, 3), (3, 1.5)])
def test_a_small_curve_beside_large_ones_has_its_own_scale_on_request(size, additive):
    """It fills its panel, and its ticks are its own, however small the axes."""
    _, axes = plt.subplots(1, 2, figsize=size)
    display = EdgeFunctionDisplay.from_estimator(
        additive,
        edges=["age", "income"],
        with_posterior=False,
        shared_scale=False,
        ax=axes,
    )
    display.figure_.canvas.draw()
    large, small = (np.ptp(line.get_ydata()) for line in display.lines_)
    assert small < 0.1 * large
    for ax, line in zip(display.axes_, display.lines_, strict=True):
        low, high = ax.get_ylim()
        assert np.ptp(line.get_ydata()) > 0.5 * (high - low)
        shown = [label.get_text() for label in ax.get_yticklabels()]
        assert sum(map(bool, shown)) > 1
    # The neighbour on the left has said what it is a part of.
    assert display.axes_[1].get_ylabel() == ""


def test_density_and_knots_stand_below(additive):
    display = EdgeFunctionDisplay.from_estimator(additive, edges=["age"])
    (edge,) = display.edges
    counts, bounds = np.histogram(X["age"], 40)
    (path,) = display.densities_[0].get_paths()
    heights = {tuple(vertex) for vertex in np.round(path.vertices, 9)}
    expected = np.column_stack([bounds[:-1], 0.12 * counts / counts.max()])
    assert {tuple(vertex) for vertex in np.round(expected, 9)} <= heights
    assert_array_equal(display.knots_[0].get_xdata(), edge.knots)
    low, high = display.axes_[0].get_xlim()
    assert low < edge.knots[0] < edge.knots[-1] < high


def test_a_constant_column_is_a_level_line(additive):
    display = EdgeFunctionDisplay.from_estimator(additive, edges=["site"])
    assert np.ptp(display.lines_[0].get_xdata()) > 0
    assert_allclose(display.lines_[0].get_ydata(), 0, atol=1e-9)
    vertices = display.densities_[0].get_paths()[0].vertices
    assert_allclose(
        [vertices[:, 0].mean(), np.ptp(vertices[:, 1])], [3, 0.12], rtol=1e-2
    )
