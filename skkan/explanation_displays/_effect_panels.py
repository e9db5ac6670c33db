"""The effect of one feature in one axes: curves or bars, with bands and a density.

Knows neither which effects are drawn nor where.
"""

from dataclasses import dataclass, field

import numpy as np

from skkan.drawing._axis_scales import limit_axis, scale_axis
from skkan.drawing._category_bars import (
    BAND_WIDTH,
    BAR_WIDTH,
    mark_missing,
    name_categories,
)
from skkan.drawing._labels import with_remark, wrapped
from skkan.drawing._panels import DENSITY_HEIGHT, draw_strip, foreground, points_of
from skkan.explanation_displays._effect_levels import shown_levels, weights_of_levels

N_DENSITY_BINS = 40
MAX_BARS = 60  # of a panel, which are then three points wide
ROOM = 0.85  # of the width, as layout engines make room for labels
LINE_STYLES = "-", "--", "-.", ":"  # of ten colours each
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
    draw_zero(ax)
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
    limit_axis(ax, "x", x[0], x[-1])
    values, lower, upper = with_bands(effect, units)
    for output in range(values.shape[1]):
        panel.lines += ax.plot(x, values[:, output], **line_style(output), **line_kw)
        if lower is not None:
            band = lower[:, output], upper[:, output]
            color = panel.lines[-1].get_color()
            panel.bands.append(fill_band(ax, x, *band, color, band_kw))
    panel.show(values, lower, upper)
    panel.density = draw_density(ax, own, effect.sample_weight[known], density_kw)
    ax.set_xlabel(with_remark(effect.feature_names[0], remark), parse_math=False)


def _draw_levels(panel, effect, units, line_kw, band_kw, density_kw):
    """Bars of categories, or of the values of a number; points where bars are many."""
    ax = panel.ax
    shown, remark = shown_levels(effect, 0, ROOM * points_of(ax)[0])
    values, lower, upper = (
        each if each is None else each[shown] for each in with_bands(effect, units)
    )
    places, n_outputs = np.arange(len(shown)), values.shape[1]
    is_bar = values.size <= MAX_BARS
    ax.set_xlim(-0.5, len(shown) - 0.5)
    for output in range(n_outputs):
        style, at, width = line_style(output), places, BAND_WIDTH
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
            panel.bands.append(fill_band(ax, ends.ravel(), *band, color, band_kw, 0.6))
    panel.show([*values.ravel(), 0.0], lower, upper)
    weights = weights_of_levels(effect, 0)[shown]
    panel.density = draw_level_density(ax, weights, density_kw)
    is_ordered = not effect.is_categorical[0]
    name_categories(ax, effect.grid[0][shown], room=ROOM, is_ordered=is_ordered)
    ax.set_xlabel(with_remark(effect.feature_names[0], remark), parse_math=False)


def with_bands(effect, units):
    """Values, lower and upper ends of an effect, the latter None without bands."""
    return tuple(
        None if each is None else units.columns(each)
        for each in (effect.values, effect.lower, effect.upper)
    )


def line_style(number):
    """Style of a curve, different for each number up to 40."""
    return {
        "color": f"C{number}",
        "linestyle": LINE_STYLES[number // 10 % 4],
    }


def fill_band(ax, x, lower, upper, color, band_kw, alpha=0.2):
    style = {"color": color, "alpha": alpha, "linewidth": 0}
    return ax.fill_between(x, lower, upper, **{**style, **band_kw})


def draw_density(ax, own, weights, density_kw):
    """Density of a number, in bins of equal width on its axis."""
    scale = ax.xaxis.get_transform()
    places = scale.transform(own)
    counts, bounds = np.histogram(places, N_DENSITY_BINS, weights=weights)
    bounds = scale.inverted().transform(bounds)
    return draw_strip(ax, bounds, _strip_heights(counts), density_kw)


def draw_level_density(ax, weights, density_kw):
    """Weights of levels, above their places."""
    bounds = np.arange(len(weights) + 1) - 0.5
    return draw_strip(ax, bounds, _strip_heights(weights), density_kw)


def draw_zero(ax):
    """A line at the mean output."""
    ax.axhline(0, color=foreground(), alpha=0.4, linewidth=0.8, zorder=0)


def _strip_heights(weights):
    return DENSITY_HEIGHT * weights / max(weights.max(), np.finfo(float).tiny)
