"""An axes with a row for each feature, from above, and numbers beside its bars."""

from numbers import Integral

import numpy as np

from skkan.drawing._labels import LINE_LETTERS, shortened, wrapped
from skkan.drawing._panels import check_count, check_single_axes

ROW_INCHES, FIGURE_WIDTH, AROUND = 0.36, 6.4, 0.9  # inches
ROWS_WITH_ROOM = 4  # of a figure, so that a bar of colours has room for its label
# Width of a letter of a number beside a bar, in units of the font size, in axes whose
# labels leave them less width than they had; share of the width that numbers take.
NUMBER_LETTER, MAX_NUMBER_SPACE = 0.65, 0.4
BAR_HEIGHT = 0.7  # of a row


def check_row_settings(caller, parameter, ax=None, **settings):
    """Raise for arguments of a plot with rows that are not as described."""
    check_single_axes(ax, caller)
    if parameter in settings:
        check_count(parameter, settings[parameter])


def row_axes(ax, labels):
    """Axes with a row for each label, from above."""
    import matplotlib.pyplot as plt

    n_rows = len(labels)
    if ax is None:
        size = FIGURE_WIDTH, max(n_rows, ROWS_WITH_ROOM) * ROW_INCHES + AROUND
        ax = plt.figure(figsize=size, layout="constrained").add_subplot()
    ax.set_yticks(np.arange(n_rows), labels, parse_math=False)
    ax.set_ylim(n_rows - 0.5, -0.5)
    return ax


def in_two_lines(*parts):
    """A label of two lines at most, for which a row has room.

    Parameters
    ----------
    *parts : str
        One or two, each of which has a line if one is too short for both.
    """
    label = " ".join(parts)
    if len(label) <= LINE_LETTERS:
        return label
    if len(parts) > 1:
        return "\n".join(shortened(part, LINE_LETTERS) for part in parts)
    labels = (wrapped(label, n_letters) for n_letters in range(2 * LINE_LETTERS, 0, -1))
    return next(label for label in labels if label.count("\n") <= 1)


def write_number(ax, x, row, text, is_left):
    """Write a number beside the end of a bar."""
    return ax.annotate(
        text,
        (x, row),
        xytext=(-3 if is_left else 3, 0),
        textcoords="offset points",
        ha="right" if is_left else "left",
        va="center",
        fontsize="small",
    )


def leave_sides(ax, low, high, texts):
    """Set the limits of x so that texts have room beside the ends of bars."""
    font, width = _font_size(), ax.bbox.width * 72 / ax.figure.dpi
    longest = max(len(text.get_text()) for text in texts) + 1
    share = min(MAX_NUMBER_SPACE, NUMBER_LETTER * longest * font / width)
    space = share * ((high - low) or 1.0) / (1 - 2 * share)
    ax.set_xlim(low - space, high + space)


def _font_size():
    import matplotlib as mpl

    return mpl.rcParams["font.size"]


def check_place(parameter, place, n_places):
    """Raise a ValueError unless a place is one of the rows or outputs."""
    whole = isinstance(place, Integral) and not isinstance(place, bool)
    if not (whole and 0 <= place < n_places):
        raise ValueError(
            f"{parameter} must be the number of one of {n_places} {parameter}s, from 0 "
            f"to {n_places - 1}, got {place!r}."
        )
