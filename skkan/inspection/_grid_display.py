"""GridDisplay: the splines of one input."""

import numpy as np
from scipy.interpolate import BSpline
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skkan.drawing._labels import wrapped
from skkan.drawing._panels import check_single_axes, leave_floor, panel_axes
from skkan.inspection._edge_selection import (
    named_edges,
    node_meant,
    present_edges,
)
from skkan.inspection._input_axis import draw_input

POINTS_PER_INTERVAL = 40


class GridDisplay:
    """B-splines and knots of one node, with the density of its values.

    Every curve that leaves the node is a weighted sum of these splines, plus a base
    function. Use `from_estimator` to make one.

    Parameters
    ----------
    edge : EdgeFunction
        An edge that leaves the node.

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
    lines_ : list of Line2D
        The splines.
    density_ : FillBetweenPolyCollection
        Share of the training rows, below the splines.
    knots_ : Line2D

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skkan import KANRegressor
    >>> from skkan.inspection import GridDisplay
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    >>> model = KANRegressor((), grid_eps=0.2, random_state=0).fit(X, y)
    >>> display = GridDisplay.from_estimator(model, "bmi")
    >>> len(display.lines_)
    8
    """

    __module__ = "skkan.inspection"

    def __init__(self, edge):
        self.edge = edge

    @classmethod
    def from_estimator(cls, estimator, node=None, *, feature_names=None, **kwargs):
        """Draw the splines of a node of a fitted estimator.

        Parameters
        ----------
        estimator : KANRegressor or KANClassifier
            Fitted.
        node : str, int or tuple of (int, int), default=None
            Name of an input or a hidden node, see `node_names`, its (level, position),
            or the column number of an input. None takes the first input that is not
            removed and no category.
        feature_names : sequence of str, default=None
            Names of the inputs; None takes those that the estimator knows.
        **kwargs
            Passed on to `plot`.

        Returns
        -------
        GridDisplay

        Raises
        ------
        TypeError
            If the estimator is not one of skkan.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        ValueError
            If the node does not exist, is removed by pruning, or is a category, which
            has no grid.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        edges, removed = named_edges(estimator, feature_names)
        present = present_edges(edges)
        numbers = [edge.source for edge in present if edge.categories is None]
        source = min(numbers or [present[0].source])
        if node is not None:
            source = node_meant(edges, node, removed)
        edge = next(edge for edge in edges if edge.source == source)
        if edge.categories is not None:
            raise ValueError(
                f"The input {edge.source_name!r} is a category and has no grid: draw "
                "its values by EdgeFunctionDisplay."
            )
        return cls(edge).plot(**kwargs)

    def plot(self, ax=None, *, density_kw=None, knots_kw=None, **kwargs):
        """Draw the splines.

        Parameters
        ----------
        ax : Axes, default=None
            None makes a figure.
        density_kw : dict, default=None
            Passed on to `Axes.fill_between` for the density.
        knots_kw : dict, default=None
            Passed on to `Axes.plot` for the knots.
        **kwargs
            Passed on to `Axes.plot` for the splines.

        Returns
        -------
        GridDisplay
            The object itself.
        """
        check_single_axes(ax, type(self).__name__)
        (self.ax_,) = panel_axes(ax, 1, 1, type(self).__name__)
        self.figure_ = self.ax_.figure
        knots, spline = self.edge.knots, self.edge.spline
        shares = np.arange(POINTS_PER_INTERVAL * (len(knots) - 1) + 1)
        x = np.interp(shares / POINTS_PER_INTERVAL, np.arange(len(knots)), knots)
        values = BSpline(spline.t, np.eye(len(spline.c)), spline.k)(x)
        self.lines_ = self.ax_.plot(x, values, **kwargs)
        self.density_, self.knots_ = draw_input(
            self.ax_, self.edge, density_kw=density_kw, knots_kw=knots_kw
        )
        leave_floor(self.ax_, 0.0, values.max())
        self.ax_.set_xlabel(wrapped(self.edge.source_name), parse_math=False)
        self.ax_.set_ylabel("$B_m$")
        return self
