"""Categories as bars, and values for missing inputs as marks.

Bars stand at 0, 1, ... in the order of the categories. The mark for missing inputs
stands to their right.
"""

import numpy as np

from skkan.drawing._labels import LETTER_WIDTH, category_name, level_names
from skkan.drawing._ticks import place_ticks

BAR_WIDTH = 0.8  # of a bar, where bars are 1 apart
BAND_WIDTH = 0.15  # of the band around the end of a bar
LINE_HEIGHT = 1.2  # in units of the font size
SMALL_FONT = 0.7  # of the font size, for names of many bars
MAX_LEVEL_WIDTH = 4.2  # of names of numbers side by side, in units of the font size
MISSING_LEVEL = 0.01  # of the word, as a share of the height
MISSING_GAP = 0.07  # around the mark, as a share of the panel's width


def outline(values, base):
    """Outline of bars as one line with gaps, over a width of one.

    Returns
    -------
    x, y : ndarrays of shape (5 * n_values,)
    """
    n_values = len(values)
    left = (np.arange(n_values) + (1 - BAR_WIDTH) / 2) / n_values - 0.5
    right = left + BAR_WIDTH / n_values
    gap = np.full(n_values, np.nan)
    x = np.column_stack([left, left, right, right, gap])
    base = np.full(n_values, base)
    return x.ravel(), np.column_stack([base, values, values, base, gap]).ravel()


def band_ends(n_categories):
    """Ends of the band of each bar, in pairs with gaps between them."""
    places, gap = np.arange(n_categories), np.full(n_categories, np.nan)
    ends = places - BAND_WIDTH / 2, places + BAND_WIDTH / 2, gap
    return np.column_stack(ends).ravel()


def mark_missing(ax, values):
    """Draw values for missing inputs as marks in a place of their own on the right.

    Parameters
    ----------
    ax : Axes
    values : sequence of float
        One for each colour of the cycle.

    Returns
    -------
    place : float
        Position on the axis.
    marks : list of Line2D
    """
    from matplotlib.ticker import MaxNLocator

    scale, ends = ax.xaxis.get_transform(), ax.get_xlim()
    if isinstance(ax.xaxis.get_major_locator(), MaxNLocator):
        place_ticks(ax.xaxis, ends[1])  # they tell of numbers: none beside the mark
    low, high = scale.transform(np.array(ends))
    gap = MISSING_GAP * (high - low)
    low, place, high = scale.inverted().transform([low, high + gap, high + 2 * gap])
    ax.set_xlim(low, high)
    marks = [
        ax.plot(place, value, "D", markersize=5, color=f"C{number}")[0]
        for number, value in enumerate(values)
    ]
    ax.text(
        place,
        MISSING_LEVEL,
        "missing",
        transform=ax.get_xaxis_transform(),
        rotation="vertical",
        ha="center",
        va="bottom",
        fontsize="x-small",
    )
    return place, marks


def name_categories(ax, categories, *, room=1.0, is_ordered=False):
    """Name as many bars as there is room for; long names are written vertically.

    Parameters
    ----------
    ax : Axes
    categories : sequence
    room : float, default=1.0
        Share of the width that the axes keep, where something is put beside them.
    is_ordered : bool, default=False
        Whether they are values of a number, which tell those between them, so that some
        of the names suffice.
    """
    import matplotlib as mpl

    names = (
        level_names(categories) if is_ordered else list(map(category_name, categories))
    )
    points = room * ax.bbox.width * 72 / ax.figure.dpi / np.ptp(ax.get_xlim())
    pitch = points / mpl.rcParams["font.size"]
    width, height = LETTER_WIDTH * (1 + max(map(len, names))), SMALL_FONT * LINE_HEIGHT
    upright = width > pitch and not (is_ordered and width <= MAX_LEVEL_WIDTH)
    step = max(1, int(np.ceil((height if upright else width) / pitch)))
    ax.set_xticks(
        np.arange(len(names))[::step],
        names[::step],
        rotation="vertical" if upright else "horizontal",
        fontsize=(SMALL_FONT if upright else 1) * mpl.rcParams["font.size"],
        parse_math=False,
    )


def name_height():
    """Points that the name of a bar takes, if bars are many."""
    import matplotlib as mpl

    return SMALL_FONT * LINE_HEIGHT * mpl.rcParams["font.size"]
