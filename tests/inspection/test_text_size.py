"""Letters and labels fit small axes."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from models_to_draw import LONG, apart, one_line
from numpy.testing import assert_array_equal

from skkan.inspection import (
    EdgeFunctionDisplay,
    GridDisplay,
    LossCurveDisplay,
    edge_functions,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def drawn_small(case, models):
    """Curves drawn into axes as plt.subplots makes them."""
    model, shape, figsize, names = case
    _, axes = plt.subplots(*shape, figsize=figsize)
    if np.size(axes) == 1:
        return EdgeFunctionDisplay.from_estimator(models[model], ax=axes)
    edges = edge_functions(models[model])[: np.size(axes)]
    return EdgeFunctionDisplay.from_estimator(
        models[model],
        edges=[(edge.source, edge.target) for edge in edges],
        feature_names=names,
        ax=axes,
    )


SMALL = {
    "divided": ("deep", (1, 1), (6, 4), None),
    "grid": ("additive", (2, 2), (5, 4), None),
    "row": ("additive", (1, 4), (8, 2), None),
    "long names": ("additive", (1, 4), (8, 2), LONG),
    "other targets": ("deep", (3, 4), (8, 5), LONG),
}


@pytest.fixture(params=SMALL)
def small(request, additive, deep):
    display = drawn_small(SMALL[request.param], {"additive": additive, "deep": deep})
    display.figure_.canvas.draw()
    return display


def test_labels_lie_on_no_other_panel(small):
    """Nor on each other, nor outside of the figure."""
    whole = small.figure_.bbox
    for ax in small.axes_:
        texts = [ax.xaxis.label, ax.yaxis.label, *ax.get_yticklabels()]
        extents = [text.get_window_extent() for text in texts if text.get_text()]
        others = [other.bbox for other in small.axes_ if other is not ax]
        for extent in extents:
            assert not any(extent.overlaps(other) for other in others)
            assert whole.x0 <= extent.x0 < extent.x1 <= whole.x1
            assert whole.y0 <= extent.y0 < extent.y1 <= whole.y1


def test_ticks_of_x_lie_side_by_side(small):
    for ax in small.axes_:
        low, high = ax.get_xlim()
        extents = [
            label.get_window_extent()
            for tick, label in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
            if low <= tick <= high
        ]
        assert len(extents) > 1
        assert apart([(extent.x0, extent.x1) for extent in extents])


def test_every_panel_has_its_input_and_its_scale(small):
    """The target stands at the left, in the label of x, or at the neighbour's left."""
    before = None
    for ax, edge in zip(small.axes_, small.edges, strict=True):
        low, high = ax.get_ylim()
        assert sum((low <= ax.get_yticks()) & (ax.get_yticks() <= high)) > 1
        x_label, y_label = one_line(ax.xaxis.label), one_line(ax.yaxis.label)
        assert x_label[:3] == edge.source_name[:3]
        says = y_label.startswith("part of ") or x_label.endswith(edge.target_name)
        assert says or before.target == edge.target
        before = edge


def test_labels_inside_are_above_the_curve(additive):
    display = drawn_small(SMALL["row"], {"additive": additive})
    display.figure_.canvas.draw()
    for ax, line in zip(display.axes_, display.lines_, strict=True):
        bottom = ax.xaxis.label.get_window_extent().y0
        assert bottom > ax.bbox.y0 + 0.8 * ax.bbox.height
        heights = ax.transData.transform(line.get_xydata())[:, 1]
        assert heights.max() <= bottom


def test_axes_of_the_usual_size_keep_the_usual_letters(additive):
    display = EdgeFunctionDisplay.from_estimator(additive)
    usual = plt.rcParams["font.size"]
    for ax in display.axes_:
        texts = [ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels()]
        assert {text.get_fontsize() for text in texts} == {usual}


def test_grids_and_losses_fit_small_axes(additive, staged):
    _, axes = plt.subplots(2, 3, figsize=(5, 3))
    grid = GridDisplay.from_estimator(additive, ax=axes[0, 0], feature_names=LONG)
    loss = LossCurveDisplay.from_estimator(staged, ax=axes[0, 1])
    grid.figure_.canvas.draw()
    for ax in (grid.ax_, loss.ax_):
        assert 6 <= ax.get_xticklabels()[0].get_fontsize() < 7
        assert not ax.get_xlabel()  # there is no room above the next row
    ends = [text.get_window_extent() for text in loss.stage_labels_]
    assert apart([(extent.x0, extent.x1) for extent in ends])
    below = GridDisplay.from_estimator(additive, ax=axes[1, 0], feature_names=LONG)
    assert "…" in below.ax_.get_xlabel()


def test_one_iteration_has_one_tick():
    display = LossCurveDisplay([0.5]).plot()
    low, high = display.ax_.get_xlim()
    ticks = display.ax_.get_xticks()
    assert_array_equal(ticks[(low <= ticks) & (ticks <= high)], [1])
