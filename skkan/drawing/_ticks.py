"""Ticks of linear axes: their places and their names."""

from functools import partial

import numpy as np

from skkan.drawing._labels import LETTER_WIDTH, short_number, tick_names


def place_ticks(axis, end=np.inf):
    """Set and return a locator of as many ticks as have room for their names.

    The axis is linear, and no tick stands beyond `end`.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    # Steps of 2.5 have one digit more, by which labels of matplotlib touch each other.
    locator = MaxNLocator("auto", steps=[1, 2, 5, 10])
    locator.tick_values = partial(_ticks_with_room, locator, end)
    formatter = FuncFormatter(tick_name)
    formatter.format_ticks = tick_names
    axis.set_major_locator(locator)
    axis.set_major_formatter(formatter)
    return locator


def tick_name(value, place=None):
    """Name of one tick, str."""
    return short_number(value)


def letter_of(axis):
    """Points of a letter of the names of the ticks."""
    return LETTER_WIDTH * axis.get_major_ticks(1)[0].label1.get_fontsize()


def _ticks_with_room(locator, end, low, high):
    """Ticks of a locator; every second one where their names would touch."""
    axis, ticks = locator.axis, type(locator).tick_values(locator, low, high)
    length = axis.axes.bbox.width * 72 / axis.axes.figure.dpi
    while axis.axis_name == "x" and len(ticks) > 2:
        step = ticks[1] - ticks[0]
        longest = max(map(len, tick_names(ticks)))
        if letter_of(axis) * (1 + longest) <= length * step / (high - low):
            break
        ticks = ticks[np.round(ticks / step) % 2 == 0]
    return ticks[ticks <= end]
