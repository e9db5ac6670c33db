"""The losses of a fit: lines, stages and legend."""

import copy

import matplotlib.pyplot as plt
import numpy as np
import pytest
from models_to_draw import X, Y, apart
from numpy.testing import assert_array_equal

from skkan.inspection import (
    LossCurveDisplay,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_losses_and_stages_are_those_of_the_fit(staged):
    display = LossCurveDisplay.from_estimator(staged, scale="log")
    n_iter = len(staged.loss_curve_)
    assert_array_equal(display.line_.get_xdata(), np.arange(1, n_iter + 1))
    assert_array_equal(display.line_.get_ydata(), staged.loss_curve_)
    validation = display.validation_line_.get_ydata()
    assert_array_equal(validation, staged.validation_loss_curve_)
    ends = [line.get_xdata()[0] for line in display.stage_lines_]
    assert_array_equal(ends, np.array(staged.stage_ends_[:-1]) + 0.5)
    labels = [text.get_text() for text in display.stage_labels_]
    assert labels == ["grid 5", "grid 8", "grid 12"]
    assert display.ax_.get_yscale() == "log"


def test_without_validation_or_stages_there_is_one_line(additive):
    display = LossCurveDisplay.from_estimator(additive)
    assert display.validation_line_ is None
    assert display.stage_lines_ == [] == display.stage_labels_
    assert display.ax_.get_lines()[:] == [display.line_]


@pytest.mark.parametrize(
    ("curve", "validation", "scale"),
    [
        ([1.0, 0.5, 0.2], None, "linear"),
        ([1.0, 0.5, 0.1], None, "log"),
        ([1.0, 0.5], [0.5, 0.05], "log"),
        ([1.0, 0.1, 0.0], None, "linear"),
        ([1.0, -0.01], None, "linear"),
    ],
)
def test_scale_is_log_where_losses_fall_tenfold(curve, validation, scale):
    display = LossCurveDisplay(curve, validation_loss_curve=validation).plot()
    assert display.ax_.get_yscale() == scale
    assert display.plot(scale="linear").ax_.get_yscale() == "linear"


@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize("falls", [True, False])
@pytest.mark.parametrize("layout", [None, "constrained"])
def test_the_legend_lies_on_no_curve(scale, falls, layout):
    """In axes of the usual size, whichever way the curves go."""
    losses = np.geomspace(1, 1e-4, 40)[:: 1 if falls else -1]
    validation = np.full(40, 0.5)
    _, ax = plt.subplots(layout=layout)
    display = LossCurveDisplay(
        losses, validation_loss_curve=validation, stage_ends=[10, 40]
    ).plot(ax, scale=scale)
    display.figure_.canvas.draw()
    box = display.ax_.get_legend().get_window_extent()
    for line in (display.line_, display.validation_line_):
        assert (
            not line.get_path()
            .transformed(ax.transData)
            .intersects_bbox(box, filled=False)
        )
    low, high = ax.get_ylim()
    assert low < losses.min()
    assert high > losses.max()


def test_one_iteration_has_one_tick():
    display = LossCurveDisplay([0.5]).plot()
    low, high = display.ax_.get_xlim()
    ticks = display.ax_.get_xticks()
    assert_array_equal(ticks[(low <= ticks) & (ticks <= high)], [1])


def test_names_of_stages_lie_side_by_side(staged):
    display = LossCurveDisplay.from_estimator(staged)
    short = LossCurveDisplay(
        np.geomspace(1, 0.1, 60), stage_ends=[1, 5, 60], grid_sizes=[5, 8, 12]
    ).plot()
    assert [text.get_text() for text in short.stage_labels_] == ["", "8", "grid 12"]
    for each in (display, short):
        each.figure_.canvas.draw()
        names = [text for text in each.stage_labels_ if text.get_text()]
        extents = [text.get_window_extent() for text in names]
        assert apart([(extent.x0, extent.x1) for extent in extents])


def test_other_scales_are_told():
    with pytest.raises(ValueError, match="'auto', 'log' or 'linear', got 'sqrt'"):
        LossCurveDisplay([1.0]).plot(scale="sqrt")


def test_a_warm_start_has_no_grid_sizes_to_name(staged):
    """It is not known which stages it went through."""
    later = copy.deepcopy(staged).set_params(warm_start=True, grid_schedule=(8, 12, 16))
    display = LossCurveDisplay.from_estimator(later.fit(X, Y))
    assert len(display.stage_lines_) == len(later.stage_ends_) - 1
    assert display.stage_labels_ == []
