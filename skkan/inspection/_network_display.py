"""KANDisplay: a fitted network as a diagram."""

from numbers import Real
from textwrap import fill, wrap

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skkan.inspection._bars import outline
from skkan.inspection._edge_functions import NEGLIGIBLE, edge_functions
from skkan.inspection._edge_selection import check_max_edges, removed_inputs, with_names
from skkan.inspection._layout import BOX_WIDTH, Choice, Layout
from skkan.inspection._panels import check_single_axes, span_of

N_POINTS = 101  # of a curve
INNER = 0.8  # of the width and height of a box that its curve fills
FAINTEST = 0.3  # opacity of an edge that hardly matters
MAX_EDGES = 30  # more are a wickerwork
FEWER_EDGES = (30, 24, 19, 15, 12, 10, 8, 6, 4, 3, 2, 1)  # tried in turn in small axes
LINE_WIDTH, MOST_LINE_WIDTH = 0.7, 2.0  # points
NAME_WIDTH, NAME_LINES = 18, 2  # characters of a line, lines of a name
ROW, LAYER = 0.48, 2.3  # inches of a row and of a layer in a figure of one's own
LEAST_ROW = 0.2  # inches, in which a curve is still seen
NOTE, NOTE_SIZE = 0.35, 8.0  # inches, points
TALLEST_ROW = 0.75  # inches, where a few edges have a large axes
SMALLEST, LARGEST = (3.5, 1.5), (16.0, 16.0)  # inches, of a figure of one's own
CHARACTER = 0.57  # width in units of the font size, a usual mean
NODE, NODE_PITCH = 7.0, 27.0  # points, radius of a node with a sum, and with its name


class KANDisplay:
    """Diagram of a fitted network, from the inputs to the outputs.

    Every edge carries a box with its curve over the training range, which fills the
    box, or with bars for the values of categories. The more important an edge is, the
    more opaque it is; see `node_importances` for the score. Nodes with a sum sign add
    what enters them. Edges that are removed or do not matter are left out, and a line
    below the diagram counts them. Edges of an
    additive skip run below the hidden nodes.

    Use `from_estimator` to make one.

    Parameters
    ----------
    edges : list of EdgeFunction
        All those of a network.
    n_unused : int, default=0
        How many inputs pruning has removed, so that they have no edge in the list.

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
    shown_ : list of EdgeFunction
        The edges that are shown, as all lists below in this order.
    lines_ : list of Line2D
        From node to box to node.
    boxes_ : list of Rectangle
    curves_ : list of Line2D
    nodes_ : dict of (level, position) to Line2D
    sums_ : dict of (level, position) to Text
        The sum signs.
    names_ : dict of (level, position) to Text
        Those of hidden nodes are invisible in axes too small for them.
    note_ : Text or None
        What is left out.

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
    importance below 0.001.
    """

    __module__ = "skkan.inspection"

    def __init__(self, edges, *, n_unused=0):
        self.edges = edges
        self.n_unused = n_unused

    @classmethod
    def from_estimator(
        cls, estimator, *, feature_names=None, target_names=None, **kwargs
    ):
        """Draw the network of a fitted estimator.

        Parameters
        ----------
        estimator : KANRegressor or KANClassifier
            Fitted.
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
            If the number of names is not that of the inputs or outputs.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        edges = edge_functions(estimator)
        n_features = estimator.n_features_in_
        edges = with_names(edges, n_features, feature_names, target_names)
        removed = removed_inputs(estimator, edges)
        n_unused = len(removed.keys() - {edge.source for edge in edges})
        return cls(edges, n_unused=n_unused).plot(**kwargs)

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
            How many edges to show, the most important ones, besides those without
            which a hidden node or an output would hang in the air. None is 30, or as
            many as the height of `ax` leaves readable.
        threshold : float, default=0.001
            Importance below which an edge is left out.
        shared_scale : bool, default=False
            Whether curves that enter the same node have the same scale, so that the
            heights of their boxes compare. By default each curve fills its box.
        line_kw, curve_kw : dict, default=None
            Passed on to `Line2D` for the lines and for the curves.
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
            check_max_edges(max_edges)
        if not (isinstance(threshold, Real) and threshold >= 0):
            raise ValueError(f"threshold must be at least 0, got {threshold!r}.")
        choice, layout, idle = self._arranged(ax, max_edges, threshold)
        self.shown_ = choice.shown
        labels = _labels(self.edges, layout)
        note = _note(self.edges, choice, threshold, self.n_unused)
        self.ax_, font_size = _prepared_axes(ax, layout, labels, bool(note))
        self.figure_ = self.ax_.figure
        opacities = _opacities(choice.shown)
        self._draw_edges(layout, opacities, line_kw or {}, box_kw or {})
        self._draw_curves(layout, opacities, shared_scale, curve_kw or {})
        radius = _node_radius(self.ax_, layout)
        self._draw_nodes(layout, idle, radius)
        text_kw = {"fontsize": font_size, **(text_kw or {})}
        self._write_names(layout, idle, labels, text_kw)
        if radius < NODE:  # no room between the nodes
            for node, name in self.names_.items():
                name.set_visible(node[0] in (0, layout.n_levels - 1))
        self._write_note(note, min(font_size, NOTE_SIZE))
        return self

    def _arranged(self, ax, max_edges, threshold):
        """Which edges are shown, where they stand, and nodes without any."""
        counts = [max_edges]
        if max_edges is None:
            counts = [MAX_EDGES] if ax is None else FEWER_EDGES
        for count in counts:
            choice = Choice.of(self.edges, max_edges=count, threshold=threshold)
            idle = _idle_nodes(self.edges, choice, threshold, count)
            layout = Layout.of(choice.shown, idle)
            if ax is None or layout.n_rows * LEAST_ROW <= _inches_of(ax)[1] - NOTE:
                break
        return choice, layout, idle

    def _draw_edges(self, layout, opacities, line_kw, box_kw):
        import matplotlib as mpl
        from matplotlib.patches import Rectangle

        color = mpl.rcParams["text.color"]
        height = _box_height(self.ax_)
        self.lines_, self.boxes_ = [], []
        for (x, y), path, opacity in zip(
            layout.boxes, layout.paths, opacities, strict=True
        ):
            width = LINE_WIDTH + opacity * (MOST_LINE_WIDTH - LINE_WIDTH)
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
        width, height = INNER * BOX_WIDTH, INNER * _box_height(self.ax_)
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

    def _draw_nodes(self, layout, idle, radius):
        import matplotlib as mpl

        color, background = mpl.rcParams["text.color"], _background(self.figure_)
        self.nodes_, self.sums_ = {}, {}
        for node, (x, y) in layout.nodes.items():
            style = {"markeredgecolor": color, "alpha": _fade(node in idle)}
            if node[0] == 0:
                style |= {"markersize": 0.7 * radius, "markerfacecolor": color}
            else:
                style |= {"markersize": 2 * radius, "markerfacecolor": background}
                self.sums_[node] = self.ax_.annotate(
                    r"$\Sigma$",
                    (x, y),
                    ha="center",
                    va="center",
                    fontsize=1.3 * radius,
                    alpha=style["alpha"],
                    zorder=5,
                )
            (self.nodes_[node],) = self.ax_.plot(x, y, "o", zorder=4, **style)

    def _write_names(self, layout, idle, labels, text_kw):
        self.names_ = {}
        for node, at in layout.nodes.items():
            if node[0] == 0:
                place = {"xytext": (-NODE, 0), "ha": "right", "va": "center"}
            elif node[0] == layout.n_levels - 1:
                place = {"xytext": (NODE + 4, 0), "ha": "left", "va": "center"}
            else:  # above the node, on a ground that hides the lines behind it
                background = _background(self.figure_)
                ground = {"facecolor": background, "pad": 0.5, "linewidth": 0}
                place = {"xytext": (0, NODE + 3), "ha": "center", "bbox": ground}
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

    def _write_note(self, note, font_size):
        self.note_ = None
        if note:
            n_characters = _inches_of(self.ax_)[0] * 72 / (CHARACTER * font_size)
            self.note_ = self.ax_.annotate(
                fill(note, max(20, int(n_characters))),
                (0.5, 0),
                xycoords="axes fraction",
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=font_size,
                alpha=0.8,
                linespacing=1.0,
            )


def _path_of(edge):
    """The curve of an edge over a width of one, or the outline of its bars."""
    if edge.categories is not None:
        return outline(edge.category_values, edge.mean)
    curve = edge(np.linspace(*span_of(edge), N_POINTS))
    return np.linspace(-0.5, 0.5, N_POINTS), curve


def _background(figure):
    """Colour behind the axes, opaque, since it has to hide the lines below."""
    import matplotlib as mpl

    # A figure within another one is transparent unless told otherwise.
    for each in (figure, figure.canvas.figure):
        color = each.get_facecolor()
        if color[3] > 0:
            return color
    return mpl.rcParams["figure.facecolor"]


def _fade(is_idle):
    """Opacity of a node."""
    return 0.5 if is_idle else 1.0


def _idle_nodes(edges, choice, threshold, max_edges):
    """Inputs and outputs that are shown though none of their edges is.

    All outputs are; inputs whose edges are all negligible are if there is room.
    """
    last = max(edge.target[0] for edge in edges)
    touched = {e.source for e in choice.shown} | {e.target for e in choice.shown}
    outputs = {edge.target for edge in edges if edge.target[0] == last}
    inputs = {edge.source for edge in edges if edge.source[0] == 0}
    if len(inputs) > max_edges:
        return outputs - touched
    matters = {e.source for e in edges if not e.removed and e.importance >= threshold}
    return (outputs | (inputs - matters)) - touched


def _labels(edges, layout):
    """Names of the nodes that are shown, wrapped, shortened and still told apart."""
    names = {edge.source: edge.source_name for edge in edges}
    names |= {edge.target: edge.target_name for edge in edges}
    labels = {node: _wrapped(names[node]) for node in layout.nodes}
    seen = [(node[0], label) for node, label in labels.items()]
    return {
        node: f"{node[1]}: {label}" if seen.count((node[0], label)) > 1 else label
        for node, label in labels.items()
    }


def _wrapped(name):
    """A name on two lines at most, of its first and last words if it is longer."""
    lines = wrap(name, NAME_WIDTH)
    if len(lines) <= NAME_LINES:
        return "\n".join(lines)
    backwards = wrap(name[::-1], NAME_WIDTH)
    return f"{lines[0]}…\n{backwards[0][::-1]}"


def _prepared_axes(ax, layout, labels, has_note):
    """Axes with limits that leave room for the names, and the size of their font."""
    import matplotlib.pyplot as plt

    font_size = 0.9 * plt.rcParams["font.size"]
    n_layers, n_rows = layout.n_levels - 1, layout.n_rows
    left, right = (_label_inches(labels, level, font_size) for level in (0, n_layers))
    below = NOTE * has_note
    if ax is None:
        size = n_layers * LAYER + left + right, n_rows * ROW + below
        size = np.clip(
            size, SMALLEST, (LARGEST[0], max(LARGEST[1], n_rows * LEAST_ROW))
        )
        figure = plt.figure(figsize=size)
        ax = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    width, height = _inches_of(ax)
    # Names get two thirds of a narrow axes at most.
    shrink = min(1.0, width * 2 / 3 / (left + right))
    per_inch = n_layers / (width - shrink * (left + right))
    row = (height - below) / n_rows
    rows_above = max(0.0, row / TALLEST_ROW - 1) * n_rows / 2
    row = min(row, TALLEST_ROW)
    n_lines = max(label.count("\n") + 1 for label in labels.values())
    room = row * layout.narrowest * 72 / (1.15 * n_lines * font_size)
    ax.set_xlim(-shrink * left * per_inch, n_layers + shrink * right * per_inch)
    ax.set_ylim(n_rows + rows_above + below / row, -rows_above)
    ax.set_axis_off()
    return ax, font_size * min(shrink, room, 1.0)


def _inches_of(ax):
    """Width and height of an axes."""
    return ax.bbox.size / ax.figure.dpi


def _label_inches(labels, level, font_size):
    """Width of the names of a level, with the node that they stand beside."""
    longest = max(
        len(line)
        for node, label in labels.items()
        if node[0] == level
        for line in label.split("\n")
    )
    return (longest * CHARACTER * font_size + 2 * NODE + 6) / 72


def _box_height(ax):
    """Height of a box in rows: 0.8, but no more than its width on the screen."""
    size = _inches_of(ax) / np.abs([np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())])
    return min(0.8, 0.9 * BOX_WIDTH * size[0] / size[1])


def _node_radius(ax, layout):
    """Radius of a node with a sum in points, smaller where nodes and names crowd."""
    row = _inches_of(ax)[1] * 72 / abs(np.ptp(ax.get_ylim()))
    return NODE * min(1.0, row * layout.narrowest_sums / NODE_PITCH)


def _opacities(edges):
    """From the faintest to one as the root of the importance grows to its largest."""
    scores = np.array([edge.importance for edge in edges])
    largest = max(scores.max(initial=0.0), np.finfo(float).tiny)
    return FAINTEST + (1 - FAINTEST) * np.sqrt(scores / largest)


def _rises(edges, curves, shared_scale):
    """Largest less smallest value that fills the box of each edge."""
    rises = [np.nanmax(curve) - np.nanmin(curve) for curve in curves]
    if not shared_scale:
        return rises
    return [
        max(
            r for other, r in zip(edges, rises, strict=True) if other.target == e.target
        )
        for e in edges
    ]


def _note(edges, choice, threshold, n_unused):
    """What is shown and what is not, empty if nothing is left out."""
    parts = [
        f"{count} {why}"
        for count, why in (
            (choice.n_removed, "removed"),
            (choice.n_negligible, f"of importance below {threshold:g}"),
            (choice.n_lesser, "that matter less"),
            (n_unused, f"pruned input{'s' * (n_unused > 1)}"),
        )
        if count
    ]
    if not parts:
        return ""
    used, inputs = (
        len({edge.source for edge in some if edge.source[0] == 0})
        for some in (choice.shown, edges)
    )
    return (
        f"{len(choice.shown)} of {choice.n_edges} edges, from {used} of "
        f"{inputs + n_unused} inputs. Left out: {', '.join(parts)}."
    )
