"""Axes for several panels, with the density of rows below their curves."""

from functools import partial
from numbers import Integral

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skkan.drawing._ticks import place_ticks

DENSITY_HEIGHT = 0.12  # height of the density as a share of the axes
# Shares of the axes that curves leave free at the bottom and at the top.
CURVE_FLOOR, SPACE_ABOVE = 0.2, 0.05
MISSING_FLOOR = 0.27  # where the word "missing" stands below a mark
PANEL_SIZE = (3.4, 2.7)  # inches
NOTE_SIZE = 8.0  # points, of a text below a figure
MIN_INSIDE = (2.2, 1.7)  # inches of a panel without its labels
HANGING = 0.01  # inches of an axes whose texts the layout engine makes room for


def panel_axes(ax, n_panels, n_cols, caller, *, foot=None):
    """Axes for each panel.

    Parameters
    ----------
    ax : Axes, array of Axes or None
        None makes a figure. A single axes is used for one panel, and divided for
        several.
    n_panels : int
    n_cols : int
        Largest number of panels in a row.
    caller : str
        Name of the display.
    foot : callable, default=None
        Inches of height of one more axes, the last one, below all panels, for the
        inches of their width.

    Returns
    -------
    ndarray of Axes of shape (n_panels,) or (n_panels + 1,)
    """
    check_matplotlib_support(caller)
    check_count("n_cols", n_cols)
    n_cols = min(n_cols, n_panels)
    n_rows = -(-n_panels // n_cols)
    if ax is None:
        return _new_axes(n_panels, n_rows, n_cols, foot)
    if isinstance(ax, list | tuple | np.ndarray):
        axes = np.asarray(ax, dtype=object).ravel()
        if len(axes) != n_panels:
            raise ValueError(
                f"{caller} draws {n_panels} panels, got {len(axes)} axes: pass as many "
                "axes, or a single one to be divided."
            )
        for each in axes:
            check_single_axes(each, caller, or_none=False)
        return axes
    check_single_axes(ax, caller)
    if n_panels == 1 and foot is None:
        return np.array([ax])
    return _divided(ax, n_panels, n_rows, n_cols, caller, foot)


def check_count(parameter, value):
    """Raise a ValueError unless the value of a parameter is a positive integer."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not (whole and value >= 1):
        raise ValueError(
            f"{parameter} must be an integer of at least 1, got {value!r}."
        )


def check_numbers(caller, numbers, kind):
    """Raise a TypeError unless a display was made of numbers of its kind."""
    if not isinstance(numbers, kind):
        raise TypeError(
            f"{caller} draws an object of {kind.__name__}, got "
            f"{type(numbers).__name__}: make it by {caller}.from_estimator."
        )


def check_single_axes(ax, caller, *, or_none=True):
    """Raise unless `ax` is one rectilinear Axes or, if allowed, None.

    Raises
    ------
    TypeError
        If it is no Axes.
    ValueError
        If it is an Axes of another kind, such as a polar one.
    """
    if not (hasattr(ax, "plot") or (or_none and ax is None)):
        raise TypeError(
            f"{caller} draws into a single Axes, got {type(ax).__name__}: pass one of "
            "them, or None for a new figure."
        )
    kind = "rectilinear" if ax is None else getattr(ax, "name", None)
    if kind != "rectilinear":
        raise ValueError(
            f"{caller} draws into rectilinear axes, got axes of kind {kind!r}: make "
            "them without a projection, or pass None for a new figure."
        )


def _new_axes(n_panels, n_rows, n_cols, foot):
    import matplotlib.pyplot as plt

    width, height = PANEL_SIZE
    # A single column or row gets extra room for its labels.
    width, height = n_cols * width + (n_cols == 1), n_rows * height + (n_rows == 1) / 2
    below = 0.0 if foot is None else foot(width)
    figure = plt.figure(figsize=(width, height + below), layout="constrained")
    return _in_grid(
        figure.add_gridspec, figure, n_panels, n_rows, n_cols, below, height
    )


def _divided(ax, n_panels, n_rows, n_cols, caller, foot):
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError(
            f"{caller} divides an axes among {n_panels} panels and got one that is not "
            "part of a grid of subplots: make it by plt.subplots, or pass "
            f"{n_panels} axes."
        )
    ax.set_axis_off()
    # A layout engine finds the spaces itself.
    has_engine = ax.figure.get_layout_engine() is not None
    space = None if has_engine else 0.6
    width, height = ax.bbox.size / ax.figure.dpi
    below = 0.0 if foot is None else foot(width)
    above = max(height - below, height / 2)
    grid = partial(place.subgridspec, wspace=space, hspace=space)
    below = below and (HANGING if has_engine else below)
    return _in_grid(grid, ax.figure, n_panels, n_rows, n_cols, below, above)


def _in_grid(make_grid, figure, n_panels, n_rows, n_cols, below, above):
    """Axes of panels in rows, and an axes below them if it has a height."""
    heights = [above / n_rows] * n_rows + [below] * (below > 0)
    grid = make_grid(len(heights), n_cols, height_ratios=heights)
    places = [grid[i] for i in range(n_panels)]
    if below:
        places.append(grid[n_rows, :])
    return np.array([figure.add_subplot(place) for place in places])


def enlarge(figure, axes):
    """Enlarge a figure whose labels have left its panels too little room.

    Parameters
    ----------
    figure : Figure
        With a layout engine.
    axes : ndarray of Axes
    """
    figure.draw_without_rendering()
    places = [ax.get_subplotspec() for ax in axes]
    n_panels = [
        len({place.colspan.start for place in places}),
        len({place.rowspan.start for place in places}),
    ]
    insides = np.min([ax.bbox.size for ax in axes], axis=0) / figure.dpi
    missing = np.maximum(np.subtract(MIN_INSIDE, insides), 0) * n_panels
    if missing.any():
        figure.set_size_inches(figure.get_size_inches() + missing)


def foreground():
    """Colour that shows on the background and on bars."""
    import matplotlib as mpl

    return mpl.rcParams["text.color"]


def points_of(ax):
    """Width and height of an axes, in points."""
    return ax.bbox.size * 72 / ax.figure.dpi


def draw_strip(ax, bounds, heights, density_kw=None):
    """Draw a density along the bottom of an axes.

    Parameters
    ----------
    ax : Axes
    bounds : ndarray of shape (n_bins + 1,)
    heights : ndarray of shape (n_bins,)
        As shares of the height of the axes.
    density_kw : dict, default=None
        Passed on to `Axes.fill_between`.

    Returns
    -------
    FillBetweenPolyCollection
    """
    return ax.fill_between(
        bounds,
        np.append(heights, heights[-1]),
        step="post",
        transform=ax.get_xaxis_transform(),
        **{"color": foreground(), "alpha": 0.25, "linewidth": 0, **(density_kw or {})},
    )


def leave_floor(ax, low, high, floor=CURVE_FLOOR):
    """Set the limits of y so that values from low to high stand above the density.

    No tick stands beside the density, which is not on the scale of y.

    Parameters
    ----------
    ax : Axes
    low, high : float
    floor : float, default=0.2
        Height that is left free, as a share.
    """
    if not low < high:
        low, high = low - 1, high + 1
    height = (high - low) / (1 - SPACE_ABOVE - floor)
    ax.set_ylim(low - floor * height, low + (1 - floor) * height)
    ticks = place_ticks(ax.yaxis).tick_values(low, high)
    ax.set_yticks(ticks[(low <= ticks) & (ticks <= ax.get_ylim()[1])])
