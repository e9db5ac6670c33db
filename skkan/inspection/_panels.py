"""Axes for several panels, with the density and the knots of their inputs."""

from numbers import Integral

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skkan.inspection._text_size import USUAL_SIZE, AxesSpace

DENSITY_HEIGHT = 0.12  # height of the density as a share of the axes
KNOT_LEVEL = 0.15  # height of the knots as a share, just above the density
CURVE_FLOOR = 0.2  # share of the axes that curves leave free at the bottom
MIN_BAR_WIDTH = 0.01  # of the width of the axes, for an input that hardly varies
PANEL_SIZE = (3.4, 2.7)  # inches
PANEL_GAPS = (60.0, 42.0)  # points between panels, for ticks and labels of usual size


def panel_axes(ax, n_panels, n_cols, caller):
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

    Returns
    -------
    ndarray of Axes of shape (n_panels,)
    """
    check_matplotlib_support(caller)
    whole = isinstance(n_cols, Integral) and not isinstance(n_cols, bool)
    if not (whole and n_cols >= 1):
        raise ValueError(f"n_cols must be an integer of at least 1, got {n_cols!r}.")
    n_cols = min(n_cols, n_panels)
    n_rows = -(-n_panels // n_cols)
    if ax is None:
        return _new_axes(n_panels, n_rows, n_cols)
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
    if n_panels == 1:
        return np.array([ax])
    return _divided(ax, n_panels, n_rows, n_cols, caller)


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


def _new_axes(n_panels, n_rows, n_cols):
    import matplotlib.pyplot as plt

    width, height = PANEL_SIZE
    # A single column or row gets extra room for its labels.
    size = (n_cols * width + (n_cols == 1), n_rows * height + (n_rows == 1) * 0.5)
    figure = plt.figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(n_rows, n_cols)
    return np.array([figure.add_subplot(grid[i]) for i in range(n_panels)])


def _divided(ax, n_panels, n_rows, n_cols, caller):
    from matplotlib.gridspec import GridSpecFromSubplotSpec

    if ax.get_subplotspec() is None:
        raise ValueError(
            f"{caller} divides an axes among {n_panels} panels and got one that is not "
            "part of a grid of subplots: make it by plt.subplots, or pass "
            f"{n_panels} axes."
        )
    ax.set_axis_off()
    spaces = {}
    if ax.figure.get_layout_engine() is None:  # a layout engine finds the spaces itself
        room = AxesSpace.around(ax)
        spaces = {
            "wspace": _space(room.width, n_cols, PANEL_GAPS[0], USUAL_SIZE[0]),
            "hspace": _space(room.height, n_rows, PANEL_GAPS[1], USUAL_SIZE[1]),
        }
    grid = GridSpecFromSubplotSpec(
        n_rows, n_cols, subplot_spec=ax.get_subplotspec(), **spaces
    )
    return np.array([ax.figure.add_subplot(grid[i]) for i in range(n_panels)])


def _space(length, n_panels, gap, usual):
    """Space between panels as a share of their length, for labels that fit."""
    pitch = length / n_panels
    gap *= min(1.0, pitch / (usual + gap))
    return gap / (pitch - gap)


def span_of(edge):
    """Ends of the training range of an edge's input; of its grid if that is a point.

    Categories stand at 0, 1, ...

    Returns
    -------
    low, high : float
    """
    if edge.categories is not None:
        return -0.5, len(edge.categories) - 0.5
    if edge.low < edge.high:
        return edge.low, edge.high
    return float(edge.knots[0]), float(edge.knots[-1])


def draw_input(ax, edge, *, density_kw=None, knots_kw=None):
    """Draw the density of an edge's input as a strip, with the knots as ticks above.

    Parameters
    ----------
    ax : Axes
    edge : EdgeFunction
    density_kw : dict, default=None
        Passed on to `Axes.fill_between`.
    knots_kw : dict, default=None
        Passed on to `Axes.plot`.

    Returns
    -------
    density : FillBetweenPolyCollection
    knots : Line2D
    """
    import matplotlib as mpl

    if edge.categories is None:
        low, high, places = edge.low, edge.high, edge.knots
        ends = min(low, places[0]), max(high, places[-1])
    else:
        places = np.empty(0)
        ends = low, high = span_of(edge)
    margin = MIN_BAR_WIDTH * (
        ends[1] - ends[0]
    )  # so that the outermost knots are not cut
    inside = ax.get_xaxis_transform()
    foreground = mpl.rcParams["text.color"]
    bounds = np.linspace(low, high, len(edge.density) + 1)
    heights = DENSITY_HEIGHT * edge.density / max(edge.density.max(), 1e-300)
    if high - low < margin:  # one bar for all rows
        bounds = low + margin * np.array([-0.5, 0.5])
        heights = np.array([DENSITY_HEIGHT])
    density = ax.fill_between(
        bounds,
        np.append(heights, heights[-1]),
        step="post",
        transform=inside,
        **{"color": foreground, "alpha": 0.25, "linewidth": 0, **(density_kw or {})},
    )
    (knots,) = ax.plot(
        places,
        np.full(len(places), KNOT_LEVEL),
        transform=inside,
        **{
            "linestyle": "none",
            "marker": "|",
            "markersize": 6,
            "color": foreground,
            "alpha": 0.6,
            **(knots_kw or {}),
        },
    )
    ax.set_xlim(ends[0] - margin, ends[1] + margin)
    return density, knots


def leave_floor(ax, low, high, above=0.05):
    """Set the limits of y so that values from low to high stand above the density.

    No tick stands beside the density, which is not on the scale of y.

    Parameters
    ----------
    ax : Axes
    low, high : float
    above : float, default=0.05
        Share of the axes that is free below the upper border.
    """
    if not low < high:
        low, high = low - 1, high + 1
    height = (high - low) / (1 - above - CURVE_FLOOR)
    limits = low - CURVE_FLOOR * height, low + (1 - CURVE_FLOOR) * height
    ax.set_ylim(limits)
    ax.set_yticks(_ticks_within(ax, low, limits[1]))


def _ticks_within(ax, low, high):
    """Ticks of the axes within a range; more ticks if fewer than two are within."""
    from matplotlib.ticker import MaxNLocator

    ticks = ax.get_yticks()
    for n_steps in range(2, 9):
        ticks = ticks[(low <= ticks) & (ticks <= high)]
        if len(ticks) > 1:
            break
        ticks = MaxNLocator(n_steps, steps=[1, 2, 5, 10]).tick_values(low, high)
    return ticks
