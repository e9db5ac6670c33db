"""The scale of an axis: linear, logarithmic or by quantiles, with its ticks."""

from functools import partial

import numpy as np

from skkan.drawing._labels import short_number
from skkan.drawing._panels import points_of
from skkan.drawing._ticks import letter_of, place_ticks, tick_name

# Shares of a linear axis below which rows are squeezed: of their middle 90%, and of the
# middle half of their different values. These are .5 and .2 of 300 exponential values,
# .3 and .08 of log-normal ones.
MIN_MIDDLE, MIN_HALF = 1 / 3, 0.15
# Of a logarithmic axis, which is read more easily than quantiles: the share of the
# middle 90%, and the factor by which that of the middle half grows.
MIN_LOG_MIDDLE, LOG_GAIN = 0.2, 1.5
MAX_TICKS = 5  # of an axis that is not linear
TICK_ROOM = 0.85  # of the width, as layout engines make room for labels
MIN_BAR_WIDTH = 0.01  # of the width of the axes, for an input that hardly varies


def scale_axis(ax, axis, rows):
    """Set the scale of an axis for a number, and say which it is.

    Linear where the middle 90% of the rows take a third of the axis at least, and the
    middle half of their different values 15%. Else the first of logarithm and symmetric
    logarithm that makes the latter half as large again and leaves the middle 90% a
    fifth. Else linear if the middle 90% have their third, or by quantiles.

    Parameters
    ----------
    ax : Axes
    axis : {"x", "y"}
    rows : ndarray of shape (n_rows,)
        Values of the number, none of which is missing.

    Returns
    -------
    str
        What to write behind the name of the feature, empty for a linear axis.
    """
    low, *middle, high = np.quantile(rows, [0, 0.05, 0.95, 1])
    half = np.quantile(np.unique(rows), [0.25, 0.75])

    def share(forward, pair):
        part, whole = (np.ptp(forward(np.array(ends))) for ends in (pair, [low, high]))
        return part / (whole or 1.0)

    of_axis, set_scale = {
        "x": (ax.xaxis, ax.set_xscale),
        "y": (ax.yaxis, ax.set_yscale),
    }[axis]

    def is_better(forward):
        gains = share(forward, half) >= LOG_GAIN * share(np.asarray, half)
        return gains and share(forward, middle) >= MIN_LOG_MIDDLE

    is_wide = low == high or share(np.asarray, middle) >= MIN_MIDDLE
    is_squeezed = not is_wide or 0 < share(np.asarray, half) < MIN_HALF
    decades = 10.0 ** np.arange(-300, 301)
    if is_squeezed and low > 0 and is_better(np.log):
        set_scale("log")
        _name_ticks(of_axis, [*decades, *(2 * decades), *(5 * decades)], low, high)
        return "log scale"
    width = np.median(np.abs(rows[rows != 0])) if is_squeezed else 1.0
    if is_squeezed and is_better(lambda x: np.arcsinh(x / width)):
        set_scale("asinh", linear_width=width)
        decades = decades[decades > width][::-1]
        candidates = np.r_[0.0, decades, -decades, 5 * decades, -5 * decades]
        _name_ticks(of_axis, candidates, low, high)
        return f"symlog scale, linear within ±{short_number(width, 2)}"
    if is_wide:
        place_ticks(of_axis)
        return ""
    levels, counts = np.unique(rows, return_counts=True)
    middles = (counts.cumsum() - counts / 2) / len(rows)
    span = high - low  # beyond the rows, so that the axis has margins
    values = [low - span, *levels, high + span]
    places = [middles[0] - 1, *middles, middles[-1] + 1]
    forward = partial(np.interp, xp=values, fp=places)
    set_scale("function", functions=(forward, partial(np.interp, xp=places, fp=values)))
    _name_ticks(of_axis, np.quantile(rows, [0, 1, 0.5, 0.25, 0.75]), low, high)
    return "by quantiles"


def _name_ticks(axis, candidates, low, high):
    """Name those candidates, the first ones first, that lie apart from each other."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    forward, letter = axis.get_transform().transform, 0.0
    if axis.axis_name == "x":
        letter = letter_of(axis) / (TICK_ROOM * points_of(axis.axes)[0])

    def are_apart(value, place, other, other_place):
        n_letters = 1 + (len(tick_name(value)) + len(tick_name(other))) / 2
        return abs(place - other_place) >= max(1 / MAX_TICKS, letter * n_letters)

    candidates = np.array([float(f"{value:.4g}") for value in candidates])
    start, end = forward(np.array([low, high]))
    places, kept = (forward(candidates) - start) / (end - start), {}
    for value, place in zip(candidates, places, strict=True):
        # Rounding moves ends a little.
        is_inside = -MIN_BAR_WIDTH <= place <= 1 + MIN_BAR_WIDTH
        if is_inside and all(are_apart(value, place, *each) for each in kept.items()):
            kept[value] = place
    axis.set_major_locator(FixedLocator(sorted(kept)))
    axis.set_major_formatter(FuncFormatter(tick_name))
    axis.set_minor_locator(NullLocator())


def limit_axis(ax, axis, low, high, margin=MIN_BAR_WIDTH):
    """Set the limits of an axis, with a margin as a share of it."""
    of_axis, set_limits = {
        "x": (ax.xaxis, ax.set_xlim),
        "y": (ax.yaxis, ax.set_ylim),
    }[axis]
    scale = of_axis.get_transform()
    ends = scale.transform(np.array([low, high], dtype=float))
    wider = ends + margin * np.ptp(ends) * np.array([-1, 1])
    set_limits(*(scale.inverted().transform(wider) if margin else (low, high)))
