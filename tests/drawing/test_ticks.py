"""Names of ticks lie side by side, and no tick stands where an axis has ended."""

import matplotlib.pyplot as plt
import pytest
from models_to_draw import apart

from skkan.drawing._category_bars import mark_missing
from skkan.drawing._ticks import place_ticks


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("low", [0.0, 1.6e9, -3e5, 1e-7])
@pytest.mark.parametrize("inches", [1.5, 3])
def test_ticks_of_long_names_are_few(low, inches):
    """Also where a layout engine takes some of the width later."""
    _, ax = plt.subplots(figsize=(inches, 2), layout="constrained")
    place_ticks(ax.xaxis)
    ax.set_xlim(low, low + 400 * (abs(low) < 1e9) + 7)
    ax.figure.canvas.draw()
    extents = [tick.label1.get_window_extent() for tick in ax.xaxis.get_major_ticks()]
    assert 1 <= len(extents) <= 8
    assert apart([(extent.x0, extent.x1) for extent in extents])


def test_no_tick_stands_beside_the_word_missing():
    """There an axis would seem to go on."""
    _, ax = plt.subplots()
    place_ticks(ax.xaxis)
    ax.set_xlim(0, 9.5)
    mark_missing(ax, [0.0])
    assert ax.get_xlim()[1] > 10
    assert max(ax.get_xticks()) <= 9.5
