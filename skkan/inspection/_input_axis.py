"""The axis of an edge's input: its range, density and knots."""

import numpy as np

from skkan.drawing._axis_scales import MIN_BAR_WIDTH
from skkan.drawing._panels import DENSITY_HEIGHT, draw_strip, foreground
from skkan.drawing._ticks import place_ticks

KNOT_LEVEL = 0.15  # height of the knots as a share, just above the density


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
    place_ticks(ax.xaxis)
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
    bounds = np.linspace(low, high, len(edge.density) + 1)
    heights = DENSITY_HEIGHT * edge.density / max(edge.density.max(), 1e-300)
    if high - low < margin:  # one bar for all rows
        bounds = low + margin * np.array([-0.5, 0.5])
        heights = np.array([DENSITY_HEIGHT])
    density = draw_strip(ax, bounds, heights, density_kw)
    (knots,) = ax.plot(
        places,
        np.full(len(places), KNOT_LEVEL),
        transform=inside,
        **{
            "linestyle": "none",
            "marker": "|",
            "markersize": 6,
            "color": foreground(),
            "alpha": 0.6,
            **(knots_kw or {}),
        },
    )
    ax.set_xlim(ends[0] - margin, ends[1] + margin)
    return density, knots
