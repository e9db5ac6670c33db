"""Labels of panels have room, in figures of their own and under a layout engine."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from models_to_draw import LONG, apart, one_line

from skkan.inspection import EdgeFunctionDisplay, GridDisplay, edge_functions

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CASES = {
    "own figure": ("deep", None, None, None),
    "own figure, long names": ("deep", None, None, LONG),
    "divided": ("deep", (1, 1), (10, 8), None),
    "grid": ("additive", (2, 2), (6.4, 4.8), None),
    "row": ("additive", (1, 4), (8, 2), None),
    "grid, long names": ("additive", (2, 2), (6.4, 4.8), LONG),
}


@pytest.fixture(params=CASES, scope="module")
def drawn(request):
    """A display of curves, drawn."""
    model, shape, figsize, names = CASES[request.param]
    model, settings = request.getfixturevalue(model), {"feature_names": names}
    if shape is not None:
        _, axes = plt.subplots(*shape, figsize=figsize, layout="constrained")
        settings["ax"] = axes
        if np.size(axes) > 1:
            edges = edge_functions(model)[: np.size(axes)]
            settings["edges"] = [(edge.source, edge.target) for edge in edges]
    display = EdgeFunctionDisplay.from_estimator(model, **settings)
    display.figure_.canvas.draw()
    return display


def test_labels_lie_on_no_other_panel(drawn):
    """Nor outside of the figure."""
    whole = drawn.figure_.bbox
    for ax in drawn.axes_:
        texts = [ax.xaxis.label, ax.yaxis.label, *ax.get_yticklabels()]
        extents = [text.get_window_extent() for text in texts if text.get_text()]
        others = [other.bbox for other in drawn.axes_ if other is not ax]
        for extent in extents:
            assert not any(extent.overlaps(other) for other in others)
            assert whole.x0 <= extent.x0 < extent.x1 <= whole.x1
            assert whole.y0 <= extent.y0 < extent.y1 <= whole.y1


def test_ticks_lie_side_by_side(drawn):
    for ax in drawn.axes_:
        for axis, ends in ((ax.xaxis, "intervalx"), (ax.yaxis, "intervaly")):
            low, high = axis.get_view_interval()
            extents = [
                getattr(tick.label1.get_window_extent(), ends)
                for tick in axis.get_major_ticks()
                if low <= tick.get_loc() <= high
            ]
            assert len(extents) > 1
            assert apart([tuple(extent) for extent in extents])


def test_every_panel_has_its_input_and_its_target(drawn):
    """The target stands at the left, or at the left of the neighbour."""
    before = None
    for ax, edge in zip(drawn.axes_, drawn.edges, strict=True):
        assert one_line(ax.xaxis.label)[:3] == edge.source_name[:3]
        if before is None or before.target != edge.target:
            label = one_line(ax.yaxis.label)
            is_skip = edge.target[0] > edge.source[0] + 1
            beside = "beside 5 hidden nodes, " if is_skip else ""
            assert label == f"part of {edge.target_name}, {beside}less its mean"
        before = edge


def test_the_long_name_of_a_grid_has_room(additive):
    display = GridDisplay.from_estimator(additive, feature_names=LONG)
    display.figure_.canvas.draw()
    label, whole = display.ax_.xaxis.label.get_window_extent(), display.figure_.bbox
    assert whole.x0 <= label.x0 < label.x1 <= whole.x1
    assert whole.y0 <= label.y0
