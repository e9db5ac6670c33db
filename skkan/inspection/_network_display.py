"""KANDisplay: a fitted network as a diagram."""

from numbers import Real
from textwrap import fill

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skkan.drawing._category_bars import outline
from skkan.drawing._labels import wrapped
from skkan.drawing._panels import NOTE_SIZE, check_count, check_single_axes, foreground
from skkan.estimators._base import fitted_model_of
from skkan.inspection._diagram_axes import (
    NAME_LETTER_WIDTH,
    NODE_HEIGHT,
    NODE_RADIUS,
    NOTE_HEIGHT,
    box_height,
    inches_of,
    prepared_axes,
    unit_inches,
)
from skkan.inspection._diagram_layout import (
    BOX_WIDTH,
    OTHERS,
    DiagramContent,
    DiagramLayout,
)
from skkan.inspection._diagram_note import note_below
from skkan.inspection._edge_functions import NEGLIGIBLE
from skkan.inspection._edge_selection import named_edges
from skkan.inspection._input_axis import span_of

N_BOX_POINTS = 101  # of a curve
CURVE_SHARE = 0.8  # of the width and height of a box is filled by its curve
MIN_OPACITY = 0.3  # opacity of an edge of importance 0
MAX_EDGES = 30  # more curves are too many to be read
LINE_WIDTH, MAX_LINE_WIDTH = 0.7, 2.0  # points
PLAIN_WIDTH, PLAIN_OPACITY = 0.5, 0.25  # of lines without a curve
NAME_LETTERS, NAME_LINE_LETTERS = 28, 18  # of a name and of its lines
MIN_ROW = 0.2  # inches in which a curve is still visible
SUM_SIZE, COUNT_SIZE = 1.3, 0.8  # of the text in a node, in its radii


class KANDisplay:
    """Diagram of a fitted network, from the inputs to the outputs.

    An edge has a box with its curve over the training range, or with bars for the
    values of categories. The opacity of an edge grows with its importance; see
    `edge_table` for the score. Nodes with a sum sign add the edges that enter them.
    Nodes with a multiplication sign are the product of the two sums before them. Edges
    of an additive skip run below the hidden nodes.

    Of a large network the most important edges have curves. The others are thin lines,
    so that every node shows all of its inputs. Nodes without a place share one, whose
    name counts them, and lines from or to it are dashed. Edges that are removed or do
    not matter are left out. A text below the diagram counts all of them, and tells
    which share of the variance of the output the shown curves into the outputs carry,
    if the means of the other ones replace them.

    Use `from_estimator` to make one.

    Parameters
    ----------
    edges : list of EdgeFunction
        All edges of a network, or of a member of an ensemble.
    n_unused : int, default=0
        Number of inputs that pruning has removed and that have no edge in the list.
    carried : dict, default=None
        For (source, target) of each edge into an output, the share of the variance that
        it carries with all that are more important. None tells nothing of it.
    member : tuple of (int, int), default=None
        Number of the member and of all members, if the edges are those of a member.

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
    shown_ : list of EdgeFunction
        The edges that are shown. All lists below have this order.
    lines_ : list of Line2D
        Each runs from node to box to node.
    boxes_ : list of Rectangle
    curves_ : list of Line2D
    plain_lines_ : dict of (source, target) to Line2D
        Lines of edges without a curve.
    nodes_ : dict of (level, position) to Line2D
    factor_lines_ : dict of (level, position) to Line2D
        From each factor to its product.
    sums_ : dict of (level, position) to Text
        The signs of sums and products; for nodes that share a place, their number.
    names_ : dict of (level, position) to Text
        Names of hidden nodes are invisible in axes too small for them.
    note_ : Text or None
        What has no curve, if anything.

    See Also
    --------
    EdgeFunctionDisplay : Single curves in the user's units.
    edge_table : The edges as a table.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from skkan import KANRegressor
    >>> from skkan.inspection import KANDisplay
    >>> X, y = make_friedman1(200, n_features=7, random_state=0)
    >>> model = KANRegressor((), random_state=0).fit(X, y)
    >>> display = KANDisplay.from_estimator(model)
    >>> sorted(edge.source_name for edge in display.shown_)
    ['x0', 'x1', 'x2', 'x3', 'x4']
    >>> print(display.note_.get_text())
    5 of 7 edges, from 5 of 7 inputs. Left out: 2 of
    importance below 0.0001.
    """

    __module__ = "skkan.inspection"

    def __init__(self, edges, *, n_unused=0, carried=None, member=None):
        self.edges = edges
        self.n_unused = n_unused
        self.carried = carried
        self.member = member

    @classmethod
    def from_estimator(
        cls,
        estimator,
        *,
        member=None,
        feature_names=None,
        target_names=None,
        **kwargs,
    ):
        """Draw the network of a fitted estimator.

        Parameters
        ----------
        estimator : KANRegressor or KANClassifier
            Fitted.
        member : int, default=None
            Of an ensemble, which `hidden_layer_sizes="auto"` may choose, the number of
            the network whose hidden nodes are drawn, from 0 on. The additive skip,
            which is no part of it, is left out. None draws the whole.
        feature_names, target_names : sequence of str, default=None
            Names of the inputs and outputs; None takes those that the estimator knows.
        **kwargs
            Passed on to `plot`.

        Returns
        -------
        KANDisplay

        Raises
        ------
        TypeError
            If the estimator is not one of skkan.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        ValueError
            If the number of names is not that of the inputs or outputs, or if there is
            no such member.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        edges, removed = named_edges(estimator, feature_names, target_names)
        model, found = fitted_model_of(estimator), {}
        if member is None:
            found["carried"] = _carried(model, edges)
        else:
            edges, found["member"] = _of_member(model, edges, member)
        if model.continuation.interaction_cst is not None:  # most have never been there
            edges = [edge for edge in edges if not edge.removed] or edges
        n_unused = len(removed.keys() - {edge.source for edge in edges})
        return cls(edges, n_unused=n_unused, **found).plot(**kwargs)

    def plot(
        self,
        ax=None,
        *,
        max_edges=None,
        threshold=NEGLIGIBLE,
        shared_scale=False,
        line_kw=None,
        box_kw=None,
        curve_kw=None,
        text_kw=None,
    ):
        """Draw the network.

        Parameters
        ----------
        ax : Axes, default=None
            None makes a figure.
        max_edges : int, default=None
            Number of edges with a curve. Half of them, or the like in deeper networks,
            enter the outputs, the others the hidden nodes that these leave. Edges that
            give every shown node a curve on either side come on top. None takes 30, or
            as many as are readable at the height of `ax`.
        threshold : float, default=0.0001
            Importance below which an edge has no curve. Such edges are left out, or
            thin lines if their deviations sum to more than a tenth of the output's.
        shared_scale : bool, default=False
            Whether curves that enter the same node have the same scale, so that their
            heights compare. By default each curve fills its box.
        line_kw, curve_kw : dict, default=None
            Passed on to `Line2D` for the lines of edges with curves and for the curves.
        box_kw : dict, default=None
            Passed on to `Rectangle`.
        text_kw : dict, default=None
            Passed on to `Axes.annotate` for the names.

        Returns
        -------
        KANDisplay
            The object itself.

        Raises
        ------
        ValueError
            If `max_edges` or `threshold` is out of its range, or if the axes are not
            rectilinear.
        """
        check_single_axes(ax, type(self).__name__)
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if max_edges is not None:
            check_count("max_edges", max_edges)
        if not (isinstance(threshold, Real) and threshold >= 0):
            raise ValueError(f"threshold must be at least 0, got {threshold!r}.")
        content, layout = self._arranged(ax, max_edges, threshold)
        self.shown_, idle = content.shown, content.idle
        labels = _labels(self.edges, content, layout)
        self.ax_, font_size = prepared_axes(ax, layout, labels)
        self.figure_ = self.ax_.figure
        opacities = _opacities(self.shown_)
        self._draw_plain_lines(content, layout)
        self._draw_factor_lines(layout)
        self._draw_edges(layout, opacities, line_kw or {}, box_kw or {})
        self._draw_curves(layout, opacities, shared_scale, curve_kw or {})
        self._draw_nodes(layout, content)
        text_kw = {"fontsize": font_size, **(text_kw or {})}
        self._write_names(layout, idle, labels, text_kw)
        self._write_note(note_below(self, content, threshold))
        return self

    def _arranged(self, ax, max_edges, threshold):
        """What is shown, and its layout."""
        counts = [max_edges]
        if max_edges is None:
            counts = [MAX_EDGES] if ax is None else range(MAX_EDGES, 0, -1)
        for count in counts:
            content = DiagramContent.of(
                self.edges, max_edges=count, threshold=threshold
            )
            layout = DiagramLayout.of(content.shown, content.nodes, content.lines)
            if ax is None or layout.n_rows * MIN_ROW <= inches_of(ax)[1] - NOTE_HEIGHT:
                break
        return content, layout

    def _draw_plain_lines(self, content, layout):
        style = {"color": foreground(), "alpha": PLAIN_OPACITY, "zorder": 0.5}
        self.plain_lines_ = {}
        for line, path in zip(content.lines, layout.lines, strict=True):
            is_bundle = any(position == OTHERS for _, position in line)
            (self.plain_lines_[line],) = self.ax_.plot(
                *path,
                linewidth=PLAIN_WIDTH,
                linestyle="--" if is_bundle else "-",
                **style,
            )

    def _draw_factor_lines(self, layout):
        self.factor_lines_ = {}
        for factor, product in layout.product_of.items():
            x, y = zip(layout.nodes[factor], layout.nodes[product], strict=True)
            style = {"color": foreground(), "linewidth": LINE_WIDTH, "zorder": 1}
            (self.factor_lines_[factor],) = self.ax_.plot(x, y, **style)

    def _draw_edges(self, layout, opacities, line_kw, box_kw):
        from matplotlib.patches import Rectangle

        color = foreground()
        height = box_height(self.ax_)
        self.lines_, self.boxes_ = [], []
        for (x, y), path, opacity in zip(
            layout.boxes, layout.paths, opacities, strict=True
        ):
            width = LINE_WIDTH + opacity * (MAX_LINE_WIDTH - LINE_WIDTH)
            style = {"color": color, "alpha": 0.7 * opacity, "linewidth": width}
            self.lines_ += self.ax_.plot(*path, **{**style, "zorder": 1, **line_kw})
            frame = {
                "facecolor": _background(self.figure_),
                "edgecolor": (color, opacity),
                "linewidth": LINE_WIDTH,
                "zorder": 2,
            }
            box = Rectangle(
                (x - BOX_WIDTH / 2, y - height / 2),
                BOX_WIDTH,
                height,
                **{**frame, **box_kw},
            )
            self.boxes_.append(self.ax_.add_patch(box))

    def _draw_curves(self, layout, opacities, shared_scale, curve_kw):
        paths = [_path_of(edge) for edge in self.shown_]
        curves = [curve for _, curve in paths]
        rises = _rises(self.shown_, curves, shared_scale)
        width, height = CURVE_SHARE * BOX_WIDTH, CURVE_SHARE * box_height(self.ax_)
        self.curves_ = []
        for (x, y), (across, curve), rise, opacity in zip(
            layout.boxes, paths, rises, opacities, strict=True
        ):
            middle = (np.nanmin(curve) + np.nanmax(curve)) / 2
            share = (curve - middle) / rise if rise > 0 else np.zeros(len(curve))
            style = {"color": "C0", "alpha": opacity, "linewidth": 1.6, "zorder": 3}
            self.curves_ += self.ax_.plot(
                x + width * across,
                y - height * share,  # rows count downwards
                **{**style, **curve_kw},
            )

    def _draw_nodes(self, layout, content):
        color, background = foreground(), _background(self.figure_)
        products = {edge.product for edge in self.edges}
        self.nodes_, self.sums_ = {}, {}
        for node, (x, y) in layout.nodes.items():
            style = {"markeredgecolor": color, "alpha": _fade(node in content.idle)}
            if node[0] == 0:
                style |= {"markersize": 0.7 * NODE_RADIUS, "markerfacecolor": color}
            else:
                style |= {"markersize": 2 * NODE_RADIUS, "markerfacecolor": background}
                n_others = content.others.get(node)
                size = SUM_SIZE if n_others is None else COUNT_SIZE
                sign = r"$\times$" if node in products else r"$\Sigma$"
                self.sums_[node] = self.ax_.annotate(
                    sign if n_others is None else f"+{n_others}",
                    (x, y),
                    ha="center",
                    va="center",
                    fontsize=size * NODE_RADIUS,
                    alpha=style["alpha"],
                    zorder=5,
                )
            (self.nodes_[node],) = self.ax_.plot(x, y, "o", zorder=4, **style)

    def _write_names(self, layout, idle, labels, text_kw):
        pitch = layout.narrowest * unit_inches(self.ax_)[1]
        self.names_ = {}
        for node, at in layout.nodes.items():
            if node in layout.product_of:  # the product has the name
                continue
            if node[0] == 0:
                place = {"xytext": (-NODE_RADIUS, 0), "ha": "right", "va": "center"}
            elif node[0] == layout.n_levels - 1:
                place = {"xytext": (NODE_RADIUS + 4, 0), "ha": "left", "va": "center"}
            else:  # above the node, on a background that hides lines
                background = _background(self.figure_)
                ground = {"facecolor": background, "pad": 0.5, "linewidth": 0}
                place = {"xytext": (0, NODE_RADIUS + 3), "ha": "center", "bbox": ground}
                place["visible"] = pitch >= NODE_HEIGHT
                if node in layout.product_of.values():  # beside the upper line
                    place["ha"] = "left"
            style = {
                "textcoords": "offset points",
                "alpha": _fade(node in idle),
                "linespacing": 1.0,
                "parse_math": False,
                "zorder": 5,
            }
            self.names_[node] = self.ax_.annotate(
                labels[node], at, **{**place, **style, **text_kw}
            )

    def _write_note(self, note):
        self.note_ = None
        if note:
            n_letters = inches_of(self.ax_)[0] * 72 / (NAME_LETTER_WIDTH * NOTE_SIZE)
            self.note_ = self.ax_.annotate(
                fill(note, max(20, int(n_letters))),
                (0.5, 0),
                xycoords="axes fraction",
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=NOTE_SIZE,
                alpha=0.8,
                linespacing=1.0,
            )


def _path_of(edge):
    """Curve of an edge over a width of one, or the outline of its bars."""
    if edge.categories is not None:
        return outline(edge.category_values, edge.mean)
    curve = edge(np.linspace(*span_of(edge), N_BOX_POINTS))
    return np.linspace(-0.5, 0.5, N_BOX_POINTS), curve


def _background(figure):
    """Opaque colour of the background, which hides the lines behind it."""
    import matplotlib as mpl

    # A subfigure is transparent by default.
    for each in (figure, figure.canvas.figure):
        color = each.get_facecolor()
        if color[3] > 0:
            return color
    return mpl.rcParams["figure.facecolor"]


def _fade(is_idle):
    """Opacity of a node."""
    return 0.5 if is_idle else 1.0


def _carried(model, edges):
    """What edges into the outputs carry; None if a fit of before has not stored it."""
    stored = [layer.carried for layer in model.layer_statistics]
    if stored[-1] is None:
        return None
    of_edges = np.concatenate([of_layer.ravel() for of_layer in stored])
    last = max(edge.target[0] for edge in edges)
    pairs = zip(edges, of_edges.tolist(), strict=True)
    return {(e.source, e.target): share for e, share in pairs if e.target[0] == last}


def _of_member(model, edges, member):
    """Edges from and to the nodes of a member, and its number and that of all."""
    of_nodes = model.network_arrays.get("members")
    known = [] if of_nodes is None else np.unique(of_nodes).tolist()
    if member not in known:
        which = f"one of {known}" if known else "None, since the fit is no ensemble"
        raise ValueError(f"member must be {which}, got {member!r}.")
    nodes = {(1, int(node)) for node in np.flatnonzero(of_nodes == member)}
    chosen = [edge for edge in edges if nodes & {edge.source, edge.enters}]
    return chosen, (int(member), len(known))


def _labels(edges, content, layout):
    """Names of the shown nodes, shortened, wrapped and distinct within a level."""
    names = {edge.source: edge.source_name for edge in edges}
    names |= {edge.target: edge.target_name for edge in edges}
    for node, count in content.others.items():
        names[node] = f"{count} other {'inputs' if node[0] == 0 else 'nodes'}"
    labels = {
        node: wrapped(names[node], NAME_LETTERS, NAME_LINE_LETTERS)
        for node in layout.nodes
    }
    seen = [(node[0], label) for node, label in labels.items()]
    return {
        node: f"{node[1]}: {label}" if seen.count((node[0], label)) > 1 else label
        for node, label in labels.items()
    }


def _opacities(edges):
    """Opacities, which grow with the deviation that an edge moves, up to 1."""
    scores = np.array([edge.importance for edge in edges])
    largest = max(scores.max(initial=0.0), np.finfo(float).tiny)
    return MIN_OPACITY + (1 - MIN_OPACITY) * np.sqrt(scores / largest)


def _rises(edges, curves, shared_scale):
    """Difference of values that fills the height of each edge's box."""
    rises = [np.nanmax(curve) - np.nanmin(curve) for curve in curves]
    if not shared_scale:
        return rises
    return [
        max(
            r for other, r in zip(edges, rises, strict=True) if other.target == e.target
        )
        for e in edges
    ]
