"""Axes for several panels, and what panels over one input have in common."""

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

STRIP = 0.12  # height of the density, in shares of that of the axes
KNOT_LEVEL = 0.15  # height of the knots, just above the density
FLOOR = 0.2  # height from which curves may be drawn
NARROWEST = 0.01  # of the width of the axes, bar of an input that hardly varies
PANEL_SIZE = (3.4, 2.7)  # inches


def panel_axes(ax, n_panels, n_cols, caller):
    """Axes for each panel, and which of them stand at the left.

    Parameters
    ----------
    ax : Axes, array of Axes or None
        None makes a figure; a single one is used if there is one panel, and divided
        otherwise.
    n_panels : int
    n_cols : int
        Panels in a row, at most.
    caller : str
        Name of the display.

    Returns
    -------
    axes : ndarray of Axes of shape (n_panels,)
    begins_row : ndarray of bool of shape (n_panels,)
    """
    check_matplotlib_support(caller)
    if not (isinstance(n_cols, int | np.integer) and n_cols >= 1):
        raise ValueError(f"n_cols must be an integer of at least 1, got {n_cols!r}.")
    n_cols = min(n_cols, n_panels)
    n_rows = -(-n_panels // n_cols)
    begins_row = np.arange(n_panels) % n_cols == 0
    if ax is None:
        return _new_axes(n_panels, n_rows, n_cols), begins_row
    if not hasattr(ax, "plot"):
        axes = np.asarray(ax, dtype=object).ravel()
        if len(axes) != n_panels:
            raise ValueError(
                f"{caller} draws {n_panels} panels, got {len(axes)} axes: pass as many "
                "axes, or a single one to be divided."
            )
        return axes, np.ones(n_panels, dtype=bool)
    return _divided(ax, n_panels, n_rows, n_cols, caller), begins_row


def check_single_axes(ax, caller):
    """Raise a TypeError unless it is one Axes or None."""
    if not (ax is None or hasattr(ax, "plot")):
        raise TypeError(
            f"{caller} draws into a single Axes, got {type(ax).__name__}: pass one of "
            "them, or None for a new figure."
        )


def _new_axes(n_panels, n_rows, n_cols):
    import matplotlib.pyplot as plt

    width, height = PANEL_SIZE
    # A single panel gets room for its labels.
    size = (n_cols * width + (n_cols == 1), n_rows * height + (n_rows == 1) * 0.5)
    figure = plt.figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(n_rows, n_cols)
    return np.array([figure.add_subplot(grid[i]) for i in range(n_panels)])


def _divided(ax, n_panels, n_rows, n_cols, caller):
    from matplotlib.gridspec import GridSpecFromSubplotSpec

    if n_panels == 1:
        return np.array([ax])
    if ax.get_subplotspec() is None:
        raise ValueError(
            f"{caller} divides an axes among {n_panels} panels and got one that is not "
            "part of a grid of subplots: make it by plt.subplots, or pass "
            f"{n_panels} axes."
        )
    ax.set_axis_off()
    # Layout engines find the spaces themselves.
    spaces = {} if ax.figure.get_layout_engine() else {"wspace": 0.5, "hspace": 0.6}
    grid = GridSpecFromSubplotSpec(
        n_rows, n_cols, subplot_spec=ax.get_subplotspec(), **spaces
    )
    return np.array([ax.figure.add_subplot(grid[i]) for i in range(n_panels)])


def span_of(edge):
    """Ends of the training range of an edge's input, or of its grid if that is a point.

    Returns
    -------
    low, high : float
    """
    if edge.low < edge.high:
        return edge.low, edge.high
    return float(edge.knots[0]), float(edge.knots[-1])


def draw_input(ax, edge, *, density_kw=None, knots_kw=None):
    """Draw the density of an edge's input as a strip, the knots as ticks over it.

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

    ends = min(edge.low, edge.knots[0]), max(edge.high, edge.knots[-1])
    margin = NARROWEST * (ends[1] - ends[0])  # so that the outermost knots are not cut
    inside = ax.get_xaxis_transform()
    foreground = mpl.rcParams["text.color"]
    bounds = np.linspace(edge.low, edge.high, len(edge.density) + 1)
    heights = STRIP * edge.density / edge.density.max()
    if edge.high - edge.low < margin:  # one bar for all rows
        bounds = edge.low + margin * np.array([-0.5, 0.5])
        heights = np.array([STRIP])
    density = ax.fill_between(
        bounds,
        np.append(heights, heights[-1]),
        step="post",
        transform=inside,
        **{"color": foreground, "alpha": 0.25, "linewidth": 0, **(density_kw or {})},
    )
    (knots,) = ax.plot(
        edge.knots,
        np.full(len(edge.knots), KNOT_LEVEL),
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


def leave_floor(ax, low, high):
    """Set the limits of y so that values from low to high stand above the strip.

    The strip has no part in the scale, so that no tick stands beside it.
    """
    if not low < high:
        low, high = low - 1, high + 1
    top = 1 - 0.05  # some room below the upper border
    height = (high - low) / (top - FLOOR)
    limits = low - FLOOR * height, low + (1 - FLOOR) * height
    ax.set_ylim(limits)
    ticks = ax.get_yticks()
    ax.set_yticks(ticks[(low <= ticks) & (ticks <= limits[1])])
