"""What two features add by acting together, in one axes: heat map or curves."""

import numpy as np

from skkan.drawing._axis_scales import limit_axis, scale_axis
from skkan.drawing._category_bars import LINE_HEIGHT, name_categories, name_height
from skkan.drawing._labels import LABEL_LETTERS, shortened, tick_names, with_remark
from skkan.drawing._panels import points_of
from skkan.explanation_displays._effect_levels import (
    MAX_BUNDLE,
    level_of_rows,
    names_of_levels,
    shown_levels,
    weights_of_levels,
)
from skkan.explanation_displays._effect_panels import (
    ROOM,
    EffectPanel,
    draw_density,
    draw_level_density,
    draw_zero,
    fill_band,
    line_style,
    with_bands,
)

MAX_COLOUR_TICKS = 6
ROW_SIZE, MAX_ROW_SIZE = 4.0, 80.0  # square points: of the mark of a row, and of many
MAP_ROOM = 0.65  # of the width, beside a bar of colours
ENTRY_POINTS = 22, 4.2  # of an entry without letters, and of a letter
HATCH = "////"
MAP_STEPS = 8  # between two points of a heat map, whose colours then hardly differ


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


def has_curve_without_rows(effect):
    """Whether a curve of a bundle goes beyond the rows of its value."""
    return not _inside_rows(effect, axis_of_bundle(effect)).all()


def _inside_rows(effect, across):
    """Where the curves of a bundle are within the rows, bool (n_points, n_curves)."""
    x, n_curves = effect.grid[across], len(effect.grid[1 - across])
    own, level = effect.rows[:, across], level_of_rows(effect, 1 - across)
    inside = np.zeros((len(x), n_curves), dtype=bool)
    for curve in range(n_curves):
        rows = own[~np.isnan(own) & (level == curve)]
        inside[:, curve] = x >= rows.min(initial=np.inf)
        inside[:, curve] &= x <= rows.max(initial=-np.inf)
    return inside


def map_reach(effect, units):
    """Largest absolute value of a pair in cells with rows."""
    values = units.columns(effect.values)[..., units.largest(effect)]
    return np.abs(values[_cells_with_rows(effect)]).max(initial=0.0)


def _draw_bundle(panel, effect, units, output, across, line_kw, band_kw, density_kw):
    """A curve for each value of one feature, dotted where that has no rows."""
    ax, x = panel.ax, effect.grid[across]
    values, lower, upper = (
        each if each is None else np.moveaxis(each[..., output], across, 0)
        for each in with_bands(effect, units)
    )
    is_number = not effect.has_levels[across]
    own, level = effect.rows[:, across], level_of_rows(effect, 1 - across)
    known, remark = ~np.isnan(own) & (level >= 0), ""
    within = _inside_rows(effect, across)
    places = x if is_number else np.arange(len(x))
    if is_number:
        remark = scale_axis(ax, "x", own[~np.isnan(own)])
        limit_axis(ax, "x", x[0], x[-1])
    else:
        ax.set_xlim(-0.5, len(x) - 0.5)
    names = names_of_levels(effect, 1 - across)
    for curve, name in enumerate(names):
        inside = within[:, curve]
        style = {"marker": "" if is_number else "o", "markersize": 3}
        style |= {**line_style(curve), "label": name, **line_kw}
        drawn = np.where(inside, values[:, curve], np.nan)
        panel.lines += ax.plot(places, drawn, **style)
        color = panel.lines[-1].get_color()
        ax.plot(places, values[:, curve], ":", color=color, alpha=0.6, linewidth=1)
        bands = [None, None]
        if lower is not None:
            bands = [
                np.where(inside, each[:, curve], np.nan) for each in (lower, upper)
            ]
            panel.bands.append(fill_band(ax, places, *bands, color, band_kw))
        panel.show(drawn, *bands)
    if panel.low is None:  # no row has both features
        panel.show(values)
    draw_zero(ax)
    weight = effect.sample_weight[known]
    if is_number:
        panel.density = draw_density(ax, own[known], weight, density_kw)
    else:
        weights = weights_of_levels(effect, across)
        panel.density = draw_level_density(ax, weights, density_kw)
        name_categories(ax, x, room=ROOM, is_ordered=True)
    ax.set_xlabel(with_remark(effect.feature_names[across], remark), parse_math=False)
    panel.lines_of_legend = _write_legend(ax, effect.feature_names[1 - across])


def _write_legend(ax, name):
    """Name the curves of a bundle above the axes, and return the number of lines."""
    handles, labels = ax.get_legend_handles_labels()
    width = ENTRY_POINTS[0] + ENTRY_POINTS[1] * max(map(len, labels))
    n_cols = int(np.clip(points_of(ax)[0] / width, 1, len(labels)))
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
    sizes = points_of(ax) * [MAP_ROOM, ROOM]
    shown, remarks = zip(
        *(shown_levels(effect, place, sizes[place]) for place in (0, 1)), strict=True
    )
    chosen = np.ix_(*shown)
    values = units.columns(effect.values)[..., output][chosen]
    with_rows = _cells_with_rows(effect)[chosen]
    bounds, at_rows, remarks = [], [], list(remarks)
    for place, axis in enumerate("xy"):
        if effect.has_levels[place]:
            bounds.append(np.arange(len(shown[place]) + 1) - 0.5)
            level = level_of_rows(effect, place)
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
        # Colours are mixed between points, so that these must be near.
        fine = [_finer(np.arange(len(grid))) for grid in effect.grid]
        grids = map(_finer, effect.grid)
        panel.mesh = ax.pcolormesh(
            *grids, _bilinear(values, *fine).T, **{**style, **map_kw}
        )
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
        limit_axis(ax, axis, bounds[place][0], bounds[place][-1], margin=0.0)
    _name_map(ax, effect, shown, remarks)
    bar = ax.figure.colorbar(panel.mesh, ax=ax, extend="both" if beyond else "neither")
    bar.set_label(panel.label, parse_math=False)
    # Ticks that depend on the height of the bar would move what is beside them.
    ends = panel.mesh.get_clim()
    ticks = MaxNLocator(MAX_COLOUR_TICKS, steps=[1, 2, 5, 10]).tick_values(*ends)
    ticks = ticks[(ends[0] <= ticks) & (ticks <= ends[1])]
    bar.set_ticks(ticks, labels=tick_names(ticks))


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
        names = names_of_levels(effect, 1)[shown[1]]
        height = ROOM * points_of(ax)[1]
        step = max(1, int(np.ceil(len(names) * name_height() / height)))
        places, size = np.arange(len(names)), name_height() / LINE_HEIGHT
        ax.set_yticks(places[::step], names[::step], fontsize=size, parse_math=False)
    labels = map(with_remark, effect.feature_names, remarks)
    for write, label in zip((ax.set_xlabel, ax.set_ylabel), labels, strict=True):
        write(label, parse_math=False)


def _finer(points):
    """Points, and others in equal steps between each two of them."""
    places = np.linspace(0, len(points) - 1, MAP_STEPS * (len(points) - 1) + 1)
    return np.interp(places, np.arange(len(points)), points)


def _bilinear(values, rows, columns):
    """Values of a grid between its points, at every pair of two positions."""
    for position in (rows, columns):
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, len(values) - 1)
        share = (position - low)[:, None]
        values = ((1 - share) * values[low] + share * values[high]).T
    return values


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
        level_of_rows(effect, place)
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
