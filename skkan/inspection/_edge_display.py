"""EdgeFunctionDisplay: curves of a fitted estimator in the user's units."""

from dataclasses import replace
from textwrap import fill

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skkan._edges import NEGLIGIBLE, edge_functions
from skkan.inspection._panels import draw_input, leave_floor, panel_axes, span_of
from skkan.inspection._selection import selected_edges, with_names

N_POINTS = 201  # of a curve
NORMAL_90 = 1.645  # deviations to both sides that hold 90% of a normal distribution
LABEL_WIDTH = 30  # characters of a line
PER_INCH = 12  # characters of the usual font


class EdgeFunctionDisplay:
    """Curves of single edges, with the data and the knots that they rest on.

    Every panel shows one curve over the training range of its input, less its mean over
    the training rows, since the level of one curve can be taken up by another. Curves
    that enter the same node have the same scale. Below stand the density of the input
    in the training rows and the knots.

    Use `from_estimator` to make one.

    Parameters
    ----------
    edges : list of EdgeFunction
        One a panel.
    with_posterior : bool, default=False
        Whether to draw bands of 1.645 posterior deviations to both sides, which hold
        90%; the edges must know them, see `edge_functions`.

    Attributes
    ----------
    figure_ : Figure
    axes_ : ndarray of Axes
        The panels, as all below in the order of `edges`.
    lines_ : list of Line2D
        The curves.
    bands_ : list of FillBetweenPolyCollection
        Empty without posterior.
    densities_ : list of FillBetweenPolyCollection
    knots_ : list of Line2D

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
            Each a pair (source, target) of nodes, or one input, which stands for all
            edges that leave it and are not removed. A node is given by its name (see
            `node_names`) or as (level, position), an input also by its column number.
            None takes the most important ones.
        max_edges : int, default=9
            How many edges None takes at most; none is taken whose importance is below
            0.001, unless all are.
        with_posterior : bool or "auto", default="auto"
            Whether to draw posterior bands; "auto" if the fit has left a posterior.
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
            If there is no such edge, or no posterior to be drawn.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        if with_posterior == "auto":
            with_posterior = hasattr(estimator, "_posterior_factor")
        curves = edge_functions(estimator, with_posterior=with_posterior)
        curves = with_names(
            curves, estimator.n_features_in_, feature_names, target_names
        )
        last = max(curve.target[0] for curve in curves)
        if edges is None:
            curves = _most_important(curves, max_edges)
        else:
            curves = selected_edges(curves, edges)
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
        line_kw=None,
        band_kw=None,
        density_kw=None,
        knots_kw=None,
    ):
        """Draw the curves.

        Parameters
        ----------
        ax : Axes or array-like of Axes, default=None
            One axes for each edge, or a single one, which is divided. None makes a
            figure.
        n_cols : int, default=3
            Panels in a row, at most.
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
            If the number of axes is not that of the edges.
        """
        self.axes_, begins_row = panel_axes(
            ax, len(self.edges), n_cols, type(self).__name__
        )
        self.figure_ = self.axes_[0].figure
        self.lines_, self.bands_, self.densities_, self.knots_ = [], [], [], []
        for panel, edge in zip(self.axes_, self.edges, strict=True):
            self._draw_curve(panel, edge, line_kw or {}, band_kw or {})
            density, knots = draw_input(
                panel, edge, density_kw=density_kw, knots_kw=knots_kw
            )
            self.densities_.append(density)
            self.knots_.append(knots)
            panel.set_xlabel(fill(edge.source_name, LABEL_WIDTH), parse_math=False)
        self._write_ylabels(begins_row)
        self._share_scales()
        if self.bands_:
            self.bands_[0].set_label("90% band")
            self.axes_[0].legend(handles=self.bands_[:1], fontsize="small")
        return self

    def _draw_curve(self, ax, edge, line_kw, band_kw):
        x = np.linspace(*span_of(edge), N_POINTS)
        curve = edge(x) - edge.mean
        (line,) = ax.plot(x, curve, **{"color": "C0", **line_kw})
        self.lines_.append(line)
        if self.with_posterior:
            band = NORMAL_90 * edge.deviation(x)
            filled = {"color": line.get_color(), "alpha": 0.25, "linewidth": 0}
            self.bands_.append(
                ax.fill_between(x, curve - band, curve + band, **{**filled, **band_kw})
            )

    def _write_ylabels(self, begins_row):
        """Say what a panel measures, unless its neighbour on the left has."""
        before = None
        for panel, edge, is_first in zip(
            self.axes_, self.edges, begins_row, strict=True
        ):
            if is_first or edge.target != before:
                label = f"part of {edge.target_name}, less its mean"
                n_characters = int(panel.bbox.height / panel.figure.dpi * PER_INCH)
                panel.set_ylabel(fill(label, max(15, n_characters)), parse_math=False)
            before = edge.target

    def _share_scales(self):
        """Give the panels of curves that enter the same node the same limits."""
        by_target = {}
        for number, edge in enumerate(self.edges):
            by_target.setdefault(edge.target, []).append(number)
        for numbers in by_target.values():
            values = [self.lines_[number].get_ydata() for number in numbers]
            if self.bands_:
                values += [
                    path.vertices[:, 1]
                    for number in numbers
                    for path in self.bands_[number].get_paths()
                ]
            low, high = min(map(np.min, values)), max(map(np.max, values))
            for number in numbers:
                leave_floor(self.axes_[number], low, high)


def _most_important(edges, max_edges):
    if max_edges < 1:
        raise ValueError(f"max_edges must be at least 1, got {max_edges}.")
    ranked = sorted(
        (edge for edge in edges if not edge.removed), key=lambda edge: -edge.importance
    )
    if not ranked:
        raise ValueError(
            "All edges of this network are removed, so that there is no curve to draw."
        )
    above = [edge for edge in ranked if edge.importance >= NEGLIGIBLE]
    return (above or ranked)[:max_edges]


def _response_of(estimator):
    """What stands before the name of an output."""
    if not hasattr(estimator, "classes_"):
        return ""
    # Raw outputs of several exclusive classes are known up to a common shift only.
    exclusive = estimator.n_outputs_ > 1 and not estimator._multilabel
    return "logit of " if exclusive else "log odds of "
