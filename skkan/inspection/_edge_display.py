"""EdgeFunctionDisplay: curves of a fitted estimator in the user's units."""

from dataclasses import replace
from textwrap import fill

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skkan.estimators._base import fitted_model_of
from skkan.inspection._category_bars import (
    band_ends,
    draw_bars,
    draw_missing,
    foreground,
    name_categories,
)
from skkan.inspection._edge_functions import NEGLIGIBLE
from skkan.inspection._edge_selection import (
    check_max_edges,
    named_edges,
    present_edges,
    selected_edges,
)
from skkan.inspection._panels import (
    CURVE_FLOOR,
    draw_input,
    leave_floor,
    panel_axes,
    span_of,
)
from skkan.inspection._text_size import LINE_HEIGHT, AxesSpace, follows, shortened

N_CURVE_POINTS = 201  # of a curve
NORMAL_90 = 1.645  # standard deviations to both sides hold 90% of a normal variable
SPACE_ABOVE = 0.05  # share of a panel's height that is free above the curve
MIN_LEGEND_WIDTH = 110.0  # points; narrower panels have no room for a legend


class EdgeFunctionDisplay:
    """Curves of single edges, with the density of their inputs and the knots.

    Every panel shows one curve over the training range of its input, less its mean over
    the training rows, since another curve can take up its level. By default curves that
    enter the same node have the same scale. The density of the input in the training
    rows and the knots are drawn below the curve. Values of categories are bars. A mark
    on the right shows the value for missing inputs.

    Use `from_estimator` to make one.

    Parameters
    ----------
    edges : list of EdgeFunction
        One for each panel.
    with_posterior : bool, default=False
        Whether to draw 90% bands, 1.645 posterior deviations to both sides. The edges
        must know their deviation, see `edge_functions`.

    Attributes
    ----------
    figure_ : Figure
    axes_ : ndarray of Axes
        The panels. All lists below have the order of `edges`, too.
    lines_ : list of Line2D
        The curves; for categories the ends of the bars.
    bars_ : list of BarContainer or None
        Bars of the categories, None for curves of numbers.
    missing_ : list of Line2D or None
        Marks at the values for missing inputs, where these are learnt.
    bands_ : list of FillBetweenPolyCollection
        Empty without posterior.
    densities_ : list of FillBetweenPolyCollection
    knots_ : list of Line2D
        Without data for categories.

    See Also
    --------
    KANDisplay : All edges at a glance.
    skkan.inspection.edge_functions : The curves as callables.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skkan import KANRegressor
    >>> from skkan.inspection import EdgeFunctionDisplay
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    >>> model = KANRegressor((), random_state=0).fit(X, y)
    >>> display = EdgeFunctionDisplay.from_estimator(model, edges=["bmi", ("age", "y")])
    >>> [ax.get_xlabel() for ax in display.axes_]
    ['bmi', 'age']
    """

    __module__ = "skkan.inspection"

    def __init__(self, edges, *, with_posterior=False):
        self.edges = edges
        self.with_posterior = with_posterior

    @classmethod
    def from_estimator(
        cls,
        estimator,
        edges=None,
        *,
        max_edges=9,
        with_posterior="auto",
        feature_names=None,
        target_names=None,
        **kwargs,
    ):
        """Draw curves of a fitted estimator.

        Parameters
        ----------
        estimator : KANRegressor or KANClassifier
            Fitted.
        edges : list, default=None
            Each item is a pair (source, target) of nodes, or one input, which stands
            for all edges that leave it and are not removed by pruning. A node is given
            by its name (see `node_names`) or as (level, position), an input also by its
            column number. None takes the most important edges.
        max_edges : int, default=9
            Largest number of edges for `edges=None`. Edges of importance below 0.001
            are left out, unless all are below.
        with_posterior : bool or "auto", default="auto"
            Whether to draw posterior bands; "auto" draws them if the fit has left a
            posterior.
        feature_names, target_names : sequence of str, default=None
            Names of the inputs and outputs; None takes those that the estimator knows.
        **kwargs
            Passed on to `plot`.

        Returns
        -------
        EdgeFunctionDisplay

        Raises
        ------
        TypeError
            If the estimator is not one of skkan.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        ValueError
            If there is no such edge, if pruning has removed it, or if there is no
            posterior to be drawn.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        if with_posterior == "auto":
            with_posterior = fitted_model_of(estimator).has_laplace_posterior
        curves, removed = named_edges(
            estimator, feature_names, target_names, with_posterior=with_posterior
        )
        last = max(curve.target[0] for curve in curves)
        if edges is None:
            curves = _most_important(curves, max_edges)
        else:
            curves = selected_edges(curves, edges, removed)
        response = _response_of(estimator)
        curves = [
            replace(curve, target_name=f"{response}{curve.target_name}")
            if curve.target[0] == last
            else curve
            for curve in curves
        ]
        return cls(curves, with_posterior=with_posterior).plot(**kwargs)

    def plot(
        self,
        ax=None,
        *,
        n_cols=3,
        shared_scale=True,
        line_kw=None,
        band_kw=None,
        density_kw=None,
        knots_kw=None,
    ):
        """Draw the curves.

        Parameters
        ----------
        ax : Axes or array-like of Axes, default=None
            One axes for each edge, or a single axes, which is divided. None makes a
            figure. Small axes have small letters and short labels. Axes without room
            beside them name "input → target" inside.
        n_cols : int, default=3
            Largest number of panels in a row.
        shared_scale : bool, default=True
            Whether curves that enter the same node have the same scale, so that their
            heights compare. With False each curve fills its panel, which shows the
            shapes of small curves.
        line_kw, knots_kw : dict, default=None
            Passed on to `Axes.plot` for the curves and for the knots.
        band_kw, density_kw : dict, default=None
            Passed on to `Axes.fill_between` for the bands and for the densities.

        Returns
        -------
        EdgeFunctionDisplay
            The object itself.

        Raises
        ------
        ValueError
            If the number of axes is not that of the edges, or if they are not
            rectilinear.
        """
        self.axes_ = panel_axes(ax, len(self.edges), n_cols, type(self).__name__)
        self.figure_ = self.axes_[0].figure
        self.lines_, self.bands_, self.densities_, self.knots_ = [], [], [], []
        self.bars_, self.missing_, self._missing_ends = [], [], {}
        for panel, edge in zip(self.axes_, self.edges, strict=True):
            self._draw_curve(panel, edge, line_kw or {}, band_kw or {})
            density, knots = draw_input(
                panel, edge, density_kw=density_kw, knots_kw=knots_kw
            )
            self.densities_.append(density)
            self.knots_.append(knots)
            self.missing_.append(self._draw_missing(panel, edge))
        self._fit_labels(shared_scale)
        return self

    def _fit_labels(self, shared_scale):
        """Set scales, labels and letters that fit the panels."""
        rooms = AxesSpace.around_all(self.axes_)
        for panel, room in zip(self.axes_, rooms, strict=True):
            room.shrink(panel)
        for panel, edge, room in zip(self.axes_, self.edges, rooms, strict=True):
            if edge.categories is None:
                room.thin_ticks(panel)
            else:
                name_categories(panel, edge.categories, room)
        self._set_scales(rooms, shared_scale)
        before = None
        for panel, edge, room in zip(self.axes_, self.edges, rooms, strict=True):
            is_said = before is not None and (
                edge.target == before[1].target and follows(panel, before[0])
            )
            is_said = _write_ylabel(
                panel, edge, room, is_said=is_said, same_ticks=shared_scale
            )
            _write_xlabel(panel, edge, room, is_said=is_said)
            before = panel, edge
        if self.bands_:
            self._write_legend(rooms[0])

    def _write_legend(self, room):
        numbers = [n for n, bars in enumerate(self.bars_) if bars is None]
        band = self.bands_[min(numbers, default=0)]
        band.set_label("90% band")
        if room.width >= MIN_LEGEND_WIDTH:
            top = 1 - _label_share(self.edges[0], room)
            self.axes_[0].legend(
                handles=[band],
                fontsize=0.83 * room.letter,
                bbox_to_anchor=(
                    0,
                    CURVE_FLOOR,
                    1,
                    top - CURVE_FLOOR,
                ),  # best place within it
                borderaxespad=0.3,
            )

    def _draw_curve(self, ax, edge, line_kw, band_kw):
        bars = None
        if edge.categories is None:
            places = x = np.linspace(*span_of(edge), N_CURVE_POINTS)
            style = {"color": "C0", **line_kw}
        else:
            x, places = edge.categories, np.arange(len(edge.categories))
            style = {"color": "C0", **line_kw, "linestyle": "none"}
            bars = draw_bars(ax, edge, color=style["color"])
        curve = edge(x) - edge.mean
        (line,) = ax.plot(places, curve, **style)
        self.lines_.append(line)
        self.bars_.append(bars)
        if self.with_posterior:
            band = NORMAL_90 * edge.deviation(x)
            if bars is not None:
                places = band_ends(len(x))
                curve, band = (
                    np.column_stack([v, v, np.full(len(v), np.nan)]).ravel()
                    for v in (curve, band)
                )
            color = line.get_color() if bars is None else foreground()
            alpha = 0.25 if bars is None else 0.6
            filled = {"color": color, "alpha": alpha, "linewidth": 0}
            self.bands_.append(
                ax.fill_between(
                    places, curve - band, curve + band, **{**filled, **band_kw}
                )
            )

    def _draw_missing(self, ax, edge):
        if edge.missing_value is None:
            return None
        band = NORMAL_90 * float(edge.deviation([np.nan])[0]) if self.bands_ else 0.0
        mark = draw_missing(ax, edge, band, AxesSpace.around(ax).letter)
        value = float(mark.get_ydata()[0])
        self._missing_ends[len(self.missing_)] = value - band, value + band
        return mark

    def _set_scales(self, rooms, shared_scale):
        """Set the limits of the panels, equal ones for curves into the same node."""
        alike = {}
        for number, edge in enumerate(self.edges):
            alike.setdefault(edge.target if shared_scale else number, []).append(number)
        for numbers in alike.values():
            values = [self.lines_[number].get_ydata() for number in numbers]
            values += [[0.0] for number in numbers if self.bars_[number] is not None]
            ends = self._missing_ends
            values += [ends[number] for number in numbers if number in ends]
            if self.bands_:
                values += [
                    path.vertices[:, 1]
                    for number in numbers
                    for path in self.bands_[number].get_paths()
                ]
            low, high = min(map(np.min, values)), max(map(np.max, values))
            above = SPACE_ABOVE + max(
                _label_share(self.edges[number], rooms[number]) for number in numbers
            )
            for number in numbers:
                leave_floor(self.axes_[number], low, high, above)


def _label_share(edge, room):
    """Share of a panel's height that an x label inside of it takes."""
    if room.label_below(edge.source_name):
        return 0.0
    return min(0.3, LINE_HEIGHT * room.letter / room.height)


def _write_ylabel(ax, edge, room, *, is_said, same_ticks):
    """Label y where there is room, and return whether the panel is labelled.

    `is_said` is whether the neighbour on the left has this label; `same_ticks` whether
    it has the same ticks.
    """
    has_room = room.ticks_of_y(ax) <= room.left
    if is_said and same_ticks:
        ax.tick_params(axis="y", labelleft=has_room)
    elif not has_room:  # tick labels stand inside
        ax.tick_params(axis="y", direction="in", pad=-room.ticks_of_y(ax))
    if is_said:
        return True
    label = room.label_beside(ax, *_ylabels(edge.target_name, room))
    ax.set_ylabel(label, parse_math=False)
    return bool(label)


def _ylabels(name, room):
    """Labels of y: a long one and a short one."""
    n_letters = max(15, room.n_letters(room.height))  # so that "less its mean" fits
    whole = f"part of {name}, less its mean"
    if len(whole) > n_letters:
        whole = f"part of {shortened(name, 2 * n_letters)},\nless its mean"
        if whole.index("\n") > n_letters:
            whole = fill(whole, n_letters)
    return whole, shortened(f"part of {name}", n_letters)


def _write_xlabel(ax, edge, room, *, is_said):
    """Name the input, and the target if the y label does not."""
    name = edge.source_name if is_said else f"{edge.source_name} → {edge.target_name}"
    label = room.label_below(name)
    if not label:  # inside, above the curve
        label = shortened(name, room.n_letters(room.width))
        ax.xaxis.set_label_coords(0.5, 1 - SPACE_ABOVE / 2)
        ax.xaxis.label.set_verticalalignment("top")
    ax.set_xlabel(label, parse_math=False)


def _most_important(edges, max_edges):
    check_max_edges(max_edges)
    ranked = sorted(present_edges(edges), key=lambda edge: -edge.importance)
    above = [edge for edge in ranked if edge.importance >= NEGLIGIBLE]
    return (above or ranked)[:max_edges]


def _response_of(estimator):
    """Prefix of the name of an output: the scale on which it is drawn."""
    target = fitted_model_of(estimator).target
    if target.classes is None:
        return "log of " if target.has_log_link else ""
    # Raw outputs of exclusive classes are defined up to a common constant.
    return "logit of " if target.has_exclusive_classes else "log odds of "
