"""Curves of categories as bars, and values for missing inputs as marks.

Bars stand at 0, 1, ... in the order of the categories. The mark for missing inputs
stands to their right.
"""

import numpy as np

from skkan.inspection._panels import DENSITY_HEIGHT, shortened

BAR_WIDTH = 0.8  # of a bar, where bars are 1 apart
BAND_WIDTH = 0.15  # of the band around the end of a bar
MAX_CATEGORY_LETTERS = 14  # longer names are shortened
# Width and height of a letter in units of the font size.
LETTER_WIDTH, LINE_HEIGHT = 0.6, 1.2
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


def draw_missing(ax, edge, band):
    """Draw the value for missing inputs as a mark, named "missing".

    The panel is widened to the right for it.

    Parameters
    ----------
    ax : Axes
    edge : EdgeFunction
    band : float
        Half the length of the line through the mark.

    Returns
    -------
    Line2D
    """
    low, high = ax.get_xlim()
    gap = MISSING_GAP * (high - low)
    ax.set_xlim(low, high + 2 * gap)
    place, value = high + gap, edge.missing_value - edge.mean
    (mark,) = ax.plot(place, value, "D", markersize=5, color="C0")
    ends = value - band, value + band
    ax.plot([place] * 2, ends, color="C0", alpha=0.4, linewidth=3)
    ax.text(
        place,
        DENSITY_HEIGHT / 6,
        "missing",
        transform=ax.get_xaxis_transform(),
        rotation="vertical",
        ha="center",
        va="bottom",
        fontsize="x-small",
    )
    return mark


def name_categories(ax, categories):
    """Name as many bars as there is room for; long names are written vertically."""
    import matplotlib as mpl

    names = [shortened(_text(name), MAX_CATEGORY_LETTERS) for name in categories]
    points = ax.bbox.width * 72 / ax.figure.dpi / np.ptp(ax.get_xlim())
    pitch = points / mpl.rcParams["font.size"]
    upright = LETTER_WIDTH * (1 + max(map(len, names))) > pitch
    step = max(1, int(np.ceil(LINE_HEIGHT / pitch)))
    ax.set_xticks(
        np.arange(len(names))[::step],
        names[::step],
        rotation="vertical" if upright else "horizontal",
        parse_math=False,
    )


def _text(category):
    """A category as text, numbers without needless digits."""
    # Codes may have seven digits and more, which the default format would round.
    return f"{category:.15g}" if isinstance(category, float) else str(category)
