"""Scales of axes: rows are not squeezed, and ticks lie apart."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

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
