"""EdgeFunctionDisplay: curves of a fitted estimator in the user's units."""

from dataclasses import replace
from textwrap import fill

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skkan.drawing._category_bars import (
    BAR_WIDTH,
    band_ends,
    mark_missing,
    name_categories,
)
from skkan.drawing._labels import wrapped
from skkan.drawing._panels import (
    CURVE_FLOOR,
    MISSING_FLOOR,
    NOTE_SIZE,
    check_count,
    foreground,
    leave_floor,
    panel_axes,
)
from skkan.estimators._base import fitted_model_of
from skkan.explanation_displays._names_and_units import response_of
from skkan.explanations._effects import NORMAL_90
from skkan.inspection._edge_functions import NEGLIGIBLE
from skkan.inspection._edge_selection import (
    named_edges,
    present_edges,
    selected_edges,
)
from skkan.inspection._input_axis import draw_input, span_of

N_CURVE_POINTS = 201  # of a curve
NOTE = (
    "Other edges add to these curves, or make up for them: EffectDisplay shows what a "
    "feature does in all."
)
NOTE_LETTERS = 15  # in an inch


class EdgeFunctionDisplay:
    """Curves of single edges, with the density of their inputs and the knots.

    Every panel shows one curve over the training range of its input, less its mean over
    the training rows, since another curve can take up its level. By default curves that
    enter the same node have the same scale. The density of the input in the training
    rows and the knots are drawn below the curve. Values of categories are bars. A mark
    on the right shows the value for missing inputs.

    In a network with hidden nodes no curve is what a feature does: other edges add to
    it or make up for it. The figure says so.

    Use `from_estimator` to make one.

    Parameters
    ----------
    edges : list of EdgeFunction
        One for each panel.
    with_posterior : bool, default=False
        Whether to draw 90% bands, 1.645 posterior deviations to both sides. The edges
        must know their deviation, see `edge_functions`.
    n_hidden_nodes : int, default=0
        Number of hidden nodes of the network.

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
    note_ : Text or None
        That the curves are parts, in a figure of its own and if there are hidden nodes.

    See Also
    --------
    EffectDisplay : What features do, whatever the network.
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

    def __init__(self, edges, *, with_posterior=False, n_hidden_nodes=0):
        self.edges = edges
        self.with_posterior = with_posterior
        self.n_hidden_nodes = n_hidden_nodes

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
        response = response_of(fitted_model_of(estimator).target)
        curves = [
            replace(curve, target_name=f"{response}{curve.target_name}")
            if curve.target[0] == last
            else curve
            for curve in curves
        ]
        display = cls(
            curves,
            with_posterior=with_posterior,
            n_hidden_nodes=sum(fitted_model_of(estimator).network().widths[1:-1]),
        )
        return display.plot(**kwargs)

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
            figure. Figures with ``layout="constrained"`` make room for all labels.
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
        self.bars_, self.missing_ = [], []
        for panel, edge in zip(self.axes_, self.edges, strict=True):
            self._draw_curve(panel, edge, line_kw or {}, band_kw or {})
            density, knots = draw_input(
                panel, edge, density_kw=density_kw, knots_kw=knots_kw
            )
            self.densities_.append(density)
            self.knots_.append(knots)
            self.missing_.append(self._draw_missing(panel, edge))
            if edge.categories is not None:
                name_categories(panel, edge.categories)
        self._set_scales(shared_scale)
        self._write_labels()
        self.note_ = None
        if self.n_hidden_nodes and ax is None:
            n_letters = int(self.figure_.get_figwidth() * NOTE_LETTERS)
            self.note_ = self.figure_.supxlabel(
                fill(NOTE, n_letters), fontsize=NOTE_SIZE, alpha=0.8
            )
        return self

    def _write_labels(self):
        """Name the inputs, and the target unless the panel on the left does."""
        before = None
        for panel, edge in zip(self.axes_, self.edges, strict=True):
            panel.set_xlabel(wrapped(edge.source_name), parse_math=False)
            label = wrapped(f"part of {edge.target_name},")
            if edge.source[0] == 0 and edge.target[0] > 1:
                label += f"\nbeside {_hidden_nodes(self.n_hidden_nodes)},"
            place = label, edge.target, panel.get_position().y0  # equal within a row
            if place != before:
                panel.set_ylabel(f"{label}\nless its mean", parse_math=False)
            before = place
        if self.bands_:
            numbers = [n for n, bars in enumerate(self.bars_) if bars is None]
            band = self.bands_[min(numbers, default=0)]
            band.set_label("90% band")
            above_density = (0, MISSING_FLOOR, 1, 1 - MISSING_FLOOR)
            self.axes_[0].legend(
                handles=[band], fontsize="small", bbox_to_anchor=above_density
            )

    def _draw_curve(self, ax, edge, line_kw, band_kw):
        bars = None
        if edge.categories is None:
            places = x = np.linspace(*span_of(edge), N_CURVE_POINTS)
        else:
            x, places = edge.categories, np.arange(len(edge.categories))
        curve, style = edge(x) - edge.mean, {"color": "C0", **line_kw}
        if edge.categories is not None:
            bars = ax.bar(places, curve, BAR_WIDTH, color=style["color"], alpha=0.7)
            style["linestyle"] = "none"
        (line,) = ax.plot(places, curve, **style)
        self.lines_.append(line)
        self.bars_.append(bars)
        if self.with_posterior:
            band = NORMAL_90 * edge.deviation(x)
            if bars is not None:
                places = band_ends(len(x))
                curve, band = np.repeat(curve, 3), np.repeat(band, 3)
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
        value = edge.missing_value - edge.mean
        band = NORMAL_90 * float(edge.deviation([np.nan])[0]) if self.bands_ else 0.0
        place, (mark,) = mark_missing(ax, [value])
        ends = value - band, value + band
        ax.plot([place] * 2, ends, color="C0", alpha=0.4, linewidth=3)
        return mark

    def _set_scales(self, shared_scale):
        """Set the limits of the panels, equal ones for curves into the same node."""
        floor, alike = MISSING_FLOOR if any(self.missing_) else CURVE_FLOOR, {}
        for number, (panel, edge) in enumerate(
            zip(self.axes_, self.edges, strict=True)
        ):
            node = edge.target if shared_scale else number
            alike.setdefault(node, []).append(panel)
        for panels in alike.values():
            # The density and the knots are not on the scale of y.
            drawn = np.array([panel.dataLim.intervaly for panel in panels])
            for panel in panels:
                leave_floor(panel, drawn[:, 0].min(), drawn[:, 1].max(), floor)


def _most_important(edges, max_edges):
    check_count("max_edges", max_edges)
    ranked = sorted(present_edges(edges), key=lambda edge: -edge.importance)
    above = [edge for edge in ranked if edge.importance >= NEGLIGIBLE]
    return (above or ranked)[:max_edges]


def _hidden_nodes(count):
    return "a hidden node" if count == 1 else f"{count} hidden nodes"
