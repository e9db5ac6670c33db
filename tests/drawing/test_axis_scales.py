"""Scales of axes: rows are not squeezed, and ticks lie apart."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from models_to_draw import apart

from skkan.drawing._axis_scales import scale_axis


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize(
    ("rows", "scale", "remark"),
    [
        (np.linspace(-1, 1, 50), "linear", ""),
        (np.ones(5), "linear", ""),
        # Many rows near one end, which no logarithm tells apart.
        (np.r_[np.linspace(-2.2, -2, 80), np.linspace(-1, 3, 20)], "linear", ""),
        (np.geomspace(0.1, 1000, 80), "log", "log scale"),
        (
            np.r_[0.0, -np.geomspace(0.1, 1000, 50), np.geomspace(0.1, 1000, 50)],
            "asinh",
            "symlog scale, linear within ±10",
        ),
        (np.r_[np.arange(1980, 2020), 9999], "function", "by quantiles"),
    ],
)
def test_axes_are_not_squeezed_by_tails(rows, scale, remark):
    """The middle 90% of the rows take a fifth of the axis."""
    _, ax = plt.subplots()
    assert scale_axis(ax, "x", rows) == remark
    assert ax.get_xscale() == scale
    ax.set_xlim(rows.min(), rows.max() + 1e-9)
    places = ax.transData.transform(np.column_stack([rows, rows]))[:, 0]
    start, end = np.quantile(places, [0.05, 0.95])
    assert end - start >= np.ptp(places) / 5
    if remark:
        ticks = ax.transData.transform([[tick, 0] for tick in ax.get_xticks()])[:, 0]
        assert len(ticks) >= 3
        assert np.diff(ticks).min() > 0.19 * np.ptp(places)


@pytest.mark.parametrize("top", [1e3, 1e5, 1e9])
def test_ticks_of_a_log_scale_lie_side_by_side(top):
    figure, axes = plt.subplots(1, 3, figsize=(10.2, 2.7), layout="constrained")
    scale_axis(axes[1], "x", np.geomspace(1, top, 300))
    axes[1].set_xlim(1, top)
    axes[2].set_ylabel("a label of\nthree\nlines")
    figure.canvas.draw()
    labels = [tick.label1 for tick in axes[1].xaxis.get_major_ticks()]
    extents = [label.get_window_extent() for label in labels]
    assert len(extents) > 1
    assert apart([(extent.x0, extent.x1) for extent in extents])
