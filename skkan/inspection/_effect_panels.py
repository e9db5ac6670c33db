"""One effect in one axes: curves, bars, heat maps, and the scale of their axes.

Knows neither which effects are drawn nor where.
"""

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from skkan.inspection._category_bars import (
    BAND_WIDTH,
    BAR_WIDTH,
    LINE_HEIGHT,
    SMALL_FONT,
    category_name,
    level_names,
    mark_missing,
    name_categories,
)
from skkan.inspection._panels import (
    DENSITY_HEIGHT,
    LABEL_LETTERS,
    LINE_LETTERS,
    MIN_BAR_WIDTH,
    draw_strip,
    foreground,
    place_ticks,
    shortened,
    wrapped,
)

# Shares of a linear axis below which rows are squeezed: of their middle 90%, and of the
# middle half of their different values. These are .5 and .2 of 300 exponential values,
# .3 and .08 of log-normal ones.
MIN_MIDDLE, MIN_HALF = 1 / 3, 0.15
# Of a logarithmic axis, which is read more easily than quantiles: the share of the
# middle 90%, and the factor by which that of the middle half grows.
MIN_LOG_MIDDLE, LOG_GAIN = 0.2, 1.5
N_DENSITY_BINS = 40
MAX_TICKS = 5  # of an axis that is not linear, whose labels may have six letters
MAX_BARS = 60  # of a panel, which are then three points wide
MAX_COLOUR_TICKS = 6
MAX_DIGITS = 6  # of the name of a tick
MAX_BUNDLE = 6  # of a bundle; more cross too often to be read
ROW_SIZE, MAX_ROW_SIZE = 4.0, 80.0  # square points: of the mark of a row, and of many
# Of the width, as layout engines make room for labels, and beside a bar of colours.
ROOM, MAP_ROOM = 0.85, 0.65
ENTRY_POINTS = 22, 4.2  # of an entry without letters, and of a letter
LINE_STYLES = "-", "--", "-.", ":"  # of ten colours each
HATCH = "////"
BAND_REACH = 0.5  # of the range of the curves: so far beyond it bands are shown


@dataclass(frozen=True)
class OutputUnits:
    """Names and units of the outputs.

    Attributes
    ----------
    names : list of str
    response : str
        What an output is of its name, such as "log odds of ".
    units : ndarray of shape (n_outputs,)
        By which values are divided.
    kind : {"interventional", "ale"}
    """

    names: list
    response: str
    units: np.ndarray
    kind: str

    def columns(self, values):
        """Values with a last dimension for the outputs, in their units."""
        values = np.asarray(values)
        return (values if len(self.names) > 1 else values[..., None]) / self.units

    def label(self, effect, output=None):
        """What the values of an effect are, of all outputs or of one."""
        # Categories have no order along which effects could accumulate.
        is_local = self.kind == "ale" and not any(effect.is_categorical)
        words = "accumulated local effect (ALE)" if is_local else "effect"
        if output is None and len(self.names) == 1:
            output = 0
        if np.any(self.units != 1):
            unit = " in standard deviations of the target"
            return wrapped(
                words + unit
                if output is None
                else f"{words} on {self.names[output]},{unit}"
            )
        if output is None:
            outputs = self.response.removesuffix(" of ") or "the outputs"
            return wrapped(f"{words} on {outputs}")
        return wrapped(f"{words} on {self.response}{self.names[output]}")

    def largest(self, effect):
        """Number of the output on which an effect is largest."""
        values = self.columns(effect.row_values)
        centred = values - effect.sample_weight @ values
        return int(np.argmax(effect.sample_weight @ np.square(centred)))


@dataclass
class EffectPanel:
    """Artists of one panel, what its y axis is, and the range that it has to show."""

    ax: object
    label: str
    low: float | None = None
    high: float | None = None
    lines: list = field(default_factory=list)
    bars: list = field(default_factory=list)
    bands: list = field(default_factory=list)
    missing: list = field(default_factory=list)
    density: object = None
    mesh: object = None
    without_rows: object = None
    lines_of_legend: int = 0

    def show(self, values, lower=None, upper=None):
        """Widen the range to curves, and to what is near of their bands."""
        values = np.asarray(values)[np.isfinite(values)]
        if not len(values):
            return
        low, high = values.min(), values.max()
        if lower is not None:
            reach = BAND_REACH * (high - low)
            low = max(low - reach, np.nanmin(lower)) if reach else np.nanmin(lower)
            high = min(high + reach, np.nanmax(upper)) if reach else np.nanmax(upper)
        known = [each for each in (self.low, self.high) if each is not None]
        self.low, self.high = min(low, *known, low), max(high, *known, high)


def draw_main(ax, effect, units, *, line_kw, band_kw, density_kw):
    """Draw the effect of one feature, as an `EffectPanel`."""
    panel = EffectPanel(ax, units.label(effect))
    draw = _draw_levels if effect.has_levels[0] else _draw_curves
    draw(panel, effect, units, line_kw, band_kw, density_kw)
    ax.axhline(0, color=foreground(), alpha=0.4, linewidth=0.8, zorder=0)
    if effect.missing_value is not None:
        values = units.columns(effect.missing_value)
        panel.missing = mark_missing(ax, values)[1]
        panel.show(values)
    return panel


def _draw_curves(panel, effect, units, line_kw, band_kw, density_kw):
    """Curves of a number, one for each output, above the density of the rows."""
    ax, (x,) = panel.ax, effect.grid
    known = ~np.isnan(effect.rows[:, 0])
    own = effect.rows[known, 0]
    remark = scale_axis(ax, "x", own)
    _limit(ax, "x", x[0], x[-1])
    values, lower, upper = _with_bands(effect, units)
    for output in range(values.shape[1]):
        panel.lines += ax.plot(x, values[:, output], **_line_style(output), **line_kw)
        if lower is not None:
            band = lower[:, output], upper[:, output]
            color = panel.lines[-1].get_color()
            panel.bands.append(_fill(ax, x, *band, color, band_kw))
    panel.show(values, lower, upper)
    panel.density = _draw_density(ax, own, effect.sample_weight[known], density_kw)
    ax.set_xlabel(_with_remark(effect.feature_names[0], remark), parse_math=False)


def _draw_levels(panel, effect, units, line_kw, band_kw, density_kw):
    """Bars of categories, or of the values of a number; points where bars are many."""
    ax = panel.ax
    shown, remark = _shown_levels(effect, 0, ROOM * _points(ax)[0])
    values, lower, upper = (
        each if each is None else each[shown] for each in _with_bands(effect, units)
    )
    places, n_outputs = np.arange(len(shown)), values.shape[1]
    is_bar = values.size <= MAX_BARS
    ax.set_xlim(-0.5, len(shown) - 0.5)
    for output in range(n_outputs):
        style, at, width = _line_style(output), places, BAND_WIDTH
        if is_bar:
            at = places + (output - (n_outputs - 1) / 2) * BAR_WIDTH / n_outputs
            width /= n_outputs
            color = {**style, **line_kw}["color"]
            panel.bars.append(
                ax.bar(at, values[:, output], BAR_WIDTH / n_outputs, color=color)
            )
        else:
            if effect.is_categorical[0]:  # which has no order to be joined in
                style["linestyle"] = "none"
            style |= {"marker": "o", "markersize": 3}
            panel.lines += ax.plot(at, values[:, output], **{**style, **line_kw})
        if lower is not None:
            ends = np.column_stack([at - width / 2, at + width / 2, at * np.nan])
            band = (np.repeat(each[:, output], 3) for each in (lower, upper))
            color = foreground() if is_bar else style["color"]
            panel.bands.append(_fill(ax, ends.ravel(), *band, color, band_kw, 0.6))
    panel.show([*values.ravel(), 0.0], lower, upper)
    weights = _weights_of_levels(effect, 0)[shown]
    heights = _strip_heights(weights)
    bounds = np.arange(len(shown) + 1) - 0.5
    panel.density = draw_strip(ax, bounds, heights, density_kw)
    is_ordered = not effect.is_categorical[0]
    name_categories(ax, effect.grid[0][shown], room=ROOM, is_ordered=is_ordered)
    ax.set_xlabel(_with_remark(effect.feature_names[0], remark), parse_math=False)


def draw_pair(ax, effect, units, reach, *, line_kw, band_kw, density_kw, map_kw):
    """Draw what two features add by acting together, as an `EffectPanel`.

    A feature of few values makes a bundle of curves along the other one, if that is a
    number; other pairs make heat maps. Of several outputs, that is drawn on which the
    effect is largest.

    Parameters
    ----------
    reach : float
        Value at the ends of the colours of heat maps.
    """
    output = units.largest(effect)
    panel = EffectPanel(ax, units.label(effect, output))
    across = axis_of_bundle(effect)
    if across is None:
        _draw_map(panel, effect, units, output, reach, map_kw)
    else:
        _draw_bundle(panel, effect, units, output, across, line_kw, band_kw, density_kw)
    return panel


def axis_of_bundle(effect):
    """Feature of a pair, 0 or 1, along which a bundle of curves runs, or None."""
    for across in sorted((0, 1), key=lambda place: -len(effect.grid[place])):
        is_few = effect.has_levels[1 - across]
        is_few &= len(effect.grid[1 - across]) <= MAX_BUNDLE
        if is_few and not effect.is_categorical[across]:
            return across
    return None


def map_reach(effect, units):
    """Largest absolute value of a pair in cells with rows."""
    values = units.columns(effect.values)[..., units.largest(effect)]
    return np.abs(values[_cells_with_rows(effect)]).max(initial=0.0)


def _draw_bundle(panel, effect, units, output, across, line_kw, band_kw, density_kw):
    """A curve for each value of one feature, dotted where that has no rows."""
    ax, x = panel.ax, effect.grid[across]
    values, lower, upper = (
        each if each is None else np.moveaxis(each[..., output], across, 0)
        for each in _with_bands(effect, units)
    )
    is_number = not effect.has_levels[across]
    own, level = effect.rows[:, across], _level_of_rows(effect, 1 - across)
    known, remark = ~np.isnan(own) & (level >= 0), ""
    places = x if is_number else np.arange(len(x))
    if is_number:
        remark = scale_axis(ax, "x", own[~np.isnan(own)])
        _limit(ax, "x", x[0], x[-1])
    else:
        ax.set_xlim(-0.5, len(x) - 0.5)
    names = _names_of_levels(effect, 1 - across)
    for curve, name in enumerate(names):
        rows = own[known & (level == curve)]
        inside = (x >= rows.min(initial=np.inf)) & (x <= rows.max(initial=-np.inf))
        style = {"marker": "" if is_number else "o", "markersize": 3}
        style |= {**_line_style(curve), "label": name, **line_kw}
        drawn = np.where(inside, values[:, curve], np.nan)
        panel.lines += ax.plot(places, drawn, **style)
        color = panel.lines[-1].get_color()
        ax.plot(places, values[:, curve], ":", color=color, alpha=0.6, linewidth=1)
        bands = [None, None]
        if lower is not None:
            bands = [
                np.where(inside, each[:, curve], np.nan) for each in (lower, upper)
            ]
            panel.bands.append(_fill(ax, places, *bands, color, band_kw))
        panel.show(drawn, *bands)
    if panel.low is None:  # no row has both features
        panel.show(values)
    ax.axhline(0, color=foreground(), alpha=0.4, linewidth=0.8, zorder=0)
    weight = effect.sample_weight[known]
    if is_number:
        panel.density = _draw_density(ax, own[known], weight, density_kw)
    else:
        weights = _weights_of_levels(effect, across)
        bounds = np.arange(len(x) + 1) - 0.5
        heights = _strip_heights(weights)
        panel.density = draw_strip(ax, bounds, heights, density_kw)
        name_categories(ax, x, room=ROOM, is_ordered=True)
    ax.set_xlabel(_with_remark(effect.feature_names[across], remark), parse_math=False)
    panel.lines_of_legend = _write_legend(ax, effect.feature_names[1 - across])


def _write_legend(ax, name):
    """Name the curves of a bundle above the axes, and return the number of lines."""
    handles, labels = ax.get_legend_handles_labels()
    width = ENTRY_POINTS[0] + ENTRY_POINTS[1] * max(map(len, labels))
    n_cols = int(np.clip(_points(ax)[0] / width, 1, len(labels)))
    legend = ax.legend(
        handles,
        labels,
        title=f"{shortened(name, LABEL_LETTERS // 2)} =",
        ncols=n_cols,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        borderpad=0,
        frameon=False,
        fontsize="x-small",
        title_fontsize="x-small",
        handlelength=1.2,
        columnspacing=1.0,
        labelspacing=0.3,
        alignment="left",
    )
    for text in [*legend.get_texts(), legend.get_title()]:
        text.set_parse_math(False)
    return 1 - (-len(labels) // n_cols)


def _draw_map(panel, effect, units, output, reach, map_kw):
    """Heat map with the rows as points; cells without rows are hatched."""
    from matplotlib.collections import PolyCollection
    from matplotlib.ticker import MaxNLocator

    ax = panel.ax
    sizes = _points(ax) * [MAP_ROOM, ROOM]
    shown, remarks = zip(
        *(_shown_levels(effect, place, sizes[place]) for place in (0, 1)), strict=True
    )
    chosen = np.ix_(*shown)
    values = units.columns(effect.values)[..., output][chosen]
    with_rows = _cells_with_rows(effect)[chosen]
    bounds, at_rows, remarks = [], [], list(remarks)
    for place, axis in enumerate("xy"):
        if effect.has_levels[place]:
            bounds.append(np.arange(len(shown[place]) + 1) - 0.5)
            level = _level_of_rows(effect, place)
            new = np.full(len(effect.grid[place]) + 1, np.nan)  # the last: no level
            new[shown[place]] = np.arange(len(shown[place]))
            at_rows.append(new[level])
        else:
            own = effect.rows[:, place]
            remarks[place] = scale_axis(ax, axis, own[~np.isnan(own)])
            bounds.append(_bounds(effect.grid[place]))
            at_rows.append(own)
    beyond = np.abs(values).max(initial=0.0) > reach
    style = {"cmap": "RdBu_r", "vmin": -reach or -1, "vmax": reach or 1}
    if any(effect.has_levels):
        panel.mesh = ax.pcolormesh(*bounds, values.T, **{**style, **map_kw})
    else:  # linear between the points of the grid, as curves are
        style["shading"] = "gouraud"
        panel.mesh = ax.pcolormesh(*effect.grid, values.T, **{**style, **map_kw})
    cells = [
        [(x, y) for x, y in ((a, c), (b, c), (b, d), (a, d))]
        for (i, j) in np.argwhere(~with_rows)
        for a, b, c, d in [(*bounds[0][i : i + 2], *bounds[1][j : j + 2])]
    ]
    panel.without_rows = ax.add_collection(
        PolyCollection(
            cells, facecolor=(*[0.75] * 3, 0.7), edgecolor=str(0.35), hatch=HATCH, lw=0
        ),
        autolim=False,
    )
    _draw_rows(ax, np.column_stack(at_rows), effect.sample_weight)
    for place, axis in enumerate("xy"):
        _limit(ax, axis, bounds[place][0], bounds[place][-1], margin=0.0)
    _name_map(ax, effect, shown, remarks)
    bar = ax.figure.colorbar(panel.mesh, ax=ax, extend="both" if beyond else "neither")
    bar.set_label(panel.label, parse_math=False)
    # Ticks that depend on the height of the bar would move what is beside them.
    ends = panel.mesh.get_clim()
    ticks = MaxNLocator(MAX_COLOUR_TICKS, steps=[1, 2, 5, 10]).tick_values(*ends)
    bar.set_ticks(ticks[(ends[0] <= ticks) & (ticks <= ends[1])])


def _draw_rows(ax, places, weights):
    """Rows as points, whose area is their number where they have the same place."""
    places, weights = (each[~np.isnan(places).any(1)] for each in (places, weights))
    different, inverse = np.unique(places, axis=0, return_inverse=True)
    counts = np.bincount(inverse.reshape(-1), weights) * len(weights)
    area = np.clip(ROW_SIZE * counts, 1, MAX_ROW_SIZE)
    ax.scatter(*different.T, area, color="0.1", alpha=0.5, linewidth=0, marker="o")


def _name_map(ax, effect, shown, remarks):
    """Name the axes of a heat map, and the levels along them."""
    if effect.has_levels[0]:
        is_ordered = not effect.is_categorical[0]
        levels = effect.grid[0][shown[0]]
        name_categories(ax, levels, room=MAP_ROOM, is_ordered=is_ordered)
    if effect.has_levels[1]:
        names = _names_of_levels(effect, 1)[shown[1]]
        height = ROOM * _points(ax)[1]
        step = max(1, int(np.ceil(len(names) * _name_height() / height)))
        places, size = np.arange(len(names)), _name_height() / LINE_HEIGHT
        ax.set_yticks(places[::step], names[::step], fontsize=size, parse_math=False)
    labels = map(_with_remark, effect.feature_names, remarks)
    for write, label in zip((ax.set_xlabel, ax.set_ylabel), labels, strict=True):
        write(label, parse_math=False)


def _with_bands(effect, units):
    """Values, lower and upper ends of an effect, the latter None without bands."""
    return tuple(
        None if each is None else units.columns(each)
        for each in (effect.values, effect.lower, effect.upper)
    )


def _line_style(number):
    """Style of a curve, different for each number up to 40."""
    return {
        "color": f"C{number}",
        "linestyle": ["-", "--", "-.", ":"][number // 10 % 4],
    }


def _fill(ax, x, lower, upper, color, band_kw, alpha=0.2):
    style = {"color": color, "alpha": alpha, "linewidth": 0}
    return ax.fill_between(x, lower, upper, **{**style, **band_kw})


def _draw_density(ax, own, weights, density_kw):
    """Density of a number, in bins of equal width on its axis."""
    scale = ax.xaxis.get_transform()
    places = scale.transform(own)
    counts, bounds = np.histogram(places, N_DENSITY_BINS, weights=weights)
    bounds = scale.inverted().transform(bounds)
    return draw_strip(ax, bounds, _strip_heights(counts), density_kw)


def _strip_heights(weights):
    return DENSITY_HEIGHT * weights / max(weights.max(), np.finfo(float).tiny)


# Axes.


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

    forward = axis.get_transform().transform
    candidates = np.array([float(f"{value:.4g}") for value in candidates])
    start, end = forward(np.array([low, high]))
    places, kept = (forward(candidates) - start) / (end - start), {}
    for value, place in zip(candidates, places, strict=True):
        # Rounding moves ends a little.
        is_inside = -MIN_BAR_WIDTH <= place <= 1 + MIN_BAR_WIDTH
        if is_inside and all(abs(place - x) >= 1 / MAX_TICKS for x in kept.values()):
            kept[value] = place
    axis.set_major_locator(FixedLocator(sorted(kept)))
    axis.set_major_formatter(FuncFormatter(_tick_name))
    axis.set_minor_locator(NullLocator())


def short_number(value, digits=4):
    """A number of some digits, without an exponent if it has few zeros."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:.{MAX_DIGITS}g}".replace("e+0", "e").replace("e-0", "e-")


def _tick_name(value, position=None):
    return short_number(value)


def _limit(ax, axis, low, high, margin=MIN_BAR_WIDTH):
    """Set the limits of an axis, with a margin as a share of it."""
    of_axis, set_limits = {
        "x": (ax.xaxis, ax.set_xlim),
        "y": (ax.yaxis, ax.set_ylim),
    }[axis]
    scale = of_axis.get_transform()
    ends = scale.transform(np.array([low, high], dtype=float))
    wider = ends + margin * np.ptp(ends) * np.array([-1, 1])
    set_limits(*(scale.inverted().transform(wider) if margin else (low, high)))


def _with_remark(name, remark):
    """Name of a feature, and what is to be known of its axis."""
    if not remark:
        return wrapped(name)
    both = f"{name} ({remark})"
    if len(both) <= LINE_LETTERS:
        return both
    return f"{wrapped(name)}\n{wrapped(f'({remark})')}"


def _bounds(points):
    """Bounds of cells around points."""
    return np.r_[points[0], (points[:-1] + points[1:]) / 2, points[-1]]


def _cells_with_rows(effect):
    """Whether a cell of a pair has rows, or is beside one that has.

    Cells of numbers are so narrow that there are about as many as rows. Categories, and
    numbers of six values at most, have no neighbours that count.

    Returns
    -------
    ndarray of bool of the shape of the grid
    """
    cells = [
        _level_of_rows(effect, place)
        if effect.has_levels[place]
        else np.searchsorted(_bounds(effect.grid[place])[1:-1], effect.rows[:, place])
        for place in (0, 1)
    ]
    known = ~np.isnan(effect.rows).any(1) & (np.minimum(*cells) >= 0)
    found = np.zeros([len(grid) for grid in effect.grid], dtype=bool)
    found[cells[0][known], cells[1][known]] = True
    for place in (0, 1):
        n_points = len(effect.grid[place])
        if not effect.is_categorical[place] and n_points > MAX_BUNDLE:
            moved = np.moveaxis(found, place, 0).copy()
            before = moved.copy()
            moved[1:] |= before[:-1]
            moved[:-1] |= before[1:]
            found = np.moveaxis(moved, 0, place)
    return found


def _shown_levels(effect, place, n_points):
    """Positions of the levels for whose names there is room, and a remark on others."""
    n_levels = len(effect.grid[place])
    room = max(2, int(n_points / _name_height()))
    # The names of numbers are in order, so that some of them tell the others.
    if not effect.is_categorical[place] or n_levels <= room:
        return np.arange(n_levels), ""
    weights = _weights_of_levels(effect, place)
    most = np.argsort(-weights, kind="stable")[:room]
    # The grid of a pair does not hold all categories.
    of_all = f" of {n_levels}" if len(effect.grid) == 1 else ""
    return np.sort(most), f"{room} most frequent{of_all}"


def _level_of_rows(effect, place):
    """Position in the grid of each row's level; -1 where it is missing or unknown."""
    own, grid = effect.rows[:, place], effect.grid[place]
    if effect.is_categorical[place]:  # whose codes are positions
        return np.where(own < len(grid), own, -1).astype(int)
    position = np.searchsorted(grid, own).clip(max=len(grid) - 1)
    return np.where(grid[position] == own, position, -1)


def _names_of_levels(effect, place):
    grid = effect.grid[place]
    if not effect.is_categorical[place]:
        return np.array(level_names(grid))
    return np.array([category_name(category) for category in grid])


def _weights_of_levels(effect, place):
    level = _level_of_rows(effect, place)
    known, n_levels = level >= 0, len(effect.grid[place])
    return np.bincount(level[known], effect.sample_weight[known], n_levels)


def _name_height():
    """Points that the name of a bar takes, if bars are many."""
    import matplotlib as mpl

    return SMALL_FONT * LINE_HEIGHT * mpl.rcParams["font.size"]


def _points(ax):
    """Width and height of an axes, in points."""
    return ax.bbox.size * 72 / ax.figure.dpi
