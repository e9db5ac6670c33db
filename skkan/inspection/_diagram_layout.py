"""What a diagram of a network shows, and where.

x counts layers: level l has x = l, and the boxes of the edges that leave it have
x = l + 1/2. y counts rows from the top; the fullest column has one box or node in each
row. Nothing is drawn here.
"""

import sys
from collections import Counter
from dataclasses import dataclass

import numpy as np

BOX_WIDTH = 0.36  # of the distance between levels
# Of factors before their product; between them and the boxes as much is left.
FACTOR_DISTANCE = 0.16
OTHERS = sys.maxsize  # position of the node that stands for those without a place
# Root of the share of the variance that edges below the threshold may carry together.
MAX_NEGLIGIBLE = 0.1


@dataclass(frozen=True, eq=False)
class DiagramContent:
    """What a diagram shows of a network. Every node that it shows has all its edges.

    Attributes
    ----------
    shown : list of EdgeFunction
        Edges with their curves.
    lines : dict of (source, target) to int
        Pairs of nodes that are joined by a line without a curve, and the number of
        edges that it stands for.
    idle : set of (level, position)
        Inputs and outputs without edges.
    others : dict of (level, position) to int
        For the node at `OTHERS` of a level, the number of nodes that it stands for.
    """

    shown: list
    lines: dict
    idle: set
    others: dict

    @classmethod
    def of(cls, edges, *, max_edges, threshold):
        """Choose what to show.

        Curves are shown of the edges into the outputs first, then of those into the
        nodes that these leave, level by level, by their importance. Inputs and hidden
        nodes without a curve have a place of their own if there is room, inputs only
        with an edge. The others of a level share one.

        Parameters
        ----------
        edges : list of EdgeFunction
        max_edges : int
            Number of curves, if hidden nodes and outputs have one on either side.
        threshold : float
            Importance below which an edge has no curve. Such edges have a line if they
            are not negligible together.

        Returns
        -------
        DiagramContent
        """
        shown = shown_edges(edges, max_edges=max_edges, threshold=threshold)
        rest = _edges_without_curve(edges, shown, threshold)
        last = max(edge.target[0] for edge in edges)
        places = {node for e in shown for node in (e.source, e.target, e.enters)}
        outputs = {edge.target for edge in edges if edge.target[0] == last}
        idle = outputs - {e.target for e in [*shown, *rest]}
        places |= outputs
        inputs = {edge.source for edge in edges if edge.source[0] == 0}
        if len(inputs) <= max_edges:
            idle |= inputs - {e.source for e in [*shown, *rest]}
        places |= idle
        gaps = Counter(edge.source[0] for edge in shown)
        n_rows = max([*gaps.values(), *Counter(level for level, _ in places).values()])
        for level in range(last):
            places |= _placed(level, rest, places, n_rows)
        others = {}
        for node in {e.source for e in rest} | {e.enters for e in rest}:
            if node not in places:
                others.setdefault((node[0], OTHERS), set()).add(node)
        lines = Counter(
            (_place([edge.source], places), _place([edge.target, edge.enters], places))
            for edge in rest
        )
        others = {node: len(found) for node, found in others.items()}
        return cls(shown, dict(lines), idle, others)

    @property
    def nodes(self):
        """Nodes with a place beside those of `shown`, set of (level, position)."""
        return self.idle | {node for line in self.lines for node in line}


def _place(nodes, places):
    """The first of some nodes that has a place; the shared place of the level."""
    shared = nodes[-1][0], OTHERS
    return next((node for node in nodes if node in places), shared)


def _edges_without_curve(edges, shown, threshold):
    """Edges that are neither shown nor removed nor negligible."""
    known = set(shown)
    rest = [edge for edge in edges if not edge.removed and edge not in known]
    small = [edge for edge in rest if edge.importance < threshold]
    if sum(np.sqrt(edge.importance) for edge in small) > MAX_NEGLIGIBLE:
        return rest
    return [edge for edge in rest if edge.importance >= threshold]


def _placed(level, rest, places, n_rows):
    """Nodes of a level without a curve that get a place of their own."""
    importance = {}
    for edge in rest:
        for node in (edge.source, edge.enters):
            if node[0] == level and node not in places:
                importance[node] = importance.get(node, 0.0) + edge.importance
    ranked = sorted(importance, key=lambda node: (-importance[node], node))
    n_free = n_rows - sum(node[0] == level for node in places)
    if len(ranked) == 1 or (level == 0 and len(ranked) <= n_free):
        return set(ranked)
    return set(ranked[: n_free - 1]) if level == 0 and n_free > 1 else set()


def shown_edges(edges, *, max_edges, threshold):
    """Edges whose curves are shown; see `DiagramContent.of`.

    A hidden node of a shown edge has a curve on either side, and every output its most
    important one. So a few more edges than `max_edges` may be shown.

    Parameters
    ----------
    edges : list of EdgeFunction
    max_edges : int
    threshold : float

    Returns
    -------
    list of EdgeFunction
    """
    present = [edge for edge in edges if not edge.removed]
    above = [edge for edge in present if edge.importance >= threshold]
    ranked = sorted(above, key=lambda edge: -edge.importance)
    last = max(edge.target[0] for edge in edges)
    shown = ranked
    if len(ranked) > max_edges:
        is_deep = any(edge.source[0] > 0 for edge in ranked)
        shown, nodes = [], {edge.target for edge in ranked if edge.target[0] == last}
        for level in range(last if is_deep else 1, 0, -1):
            n_free = max(1, (max_edges - len(shown)) // level)
            # Without hidden nodes all edges enter the outputs.
            into = [edge for edge in ranked if edge.enters in nodes]
            shown += _first_and_best_of_each(into, n_free)
            nodes = {edge.source for edge in shown if edge.source[0] == level - 1}
        shown.sort(key=lambda edge: -edge.importance)
    while missing := _missing_links(shown, present):
        shown.append(missing[0])
    return shown


def _first_and_best_of_each(ranked, count):
    """The first edges, and the first one into each node."""
    best = {}
    for edge in ranked:
        best.setdefault(edge.target, edge)
    n_others = max(0, count - len(best))
    others = [edge for edge in ranked if best[edge.target] is not edge][:n_others]
    return [*best.values(), *others]


def _missing_links(shown, present):
    """Edges that link shown hidden nodes to the side on which they have no edge."""
    enters, leaves = {e.enters for e in shown}, {e.source for e in shown}
    last = max((edge.target[0] for edge in present), default=0)
    links = []
    for node in sorted(enters ^ leaves):
        if 0 < node[0] < last:
            side = "enters" if node in leaves else "source"
            touching = [edge for edge in present if getattr(edge, side) == node]
            links += sorted(touching, key=lambda edge: -edge.importance)[:1]
    if links:
        return links
    entered = {e.target for e in shown}  # a product needs both of its factors
    lacking = [e for e in present if e.product in enters and e.target not in entered]
    return sorted(lacking, key=lambda edge: (edge.target, -edge.importance))[:1]


@dataclass(frozen=True, eq=False)
class DiagramLayout:
    """Positions in a diagram.

    Attributes
    ----------
    n_levels, n_rows : int
    narrowest : float
        Smallest distance of two nodes of a level, in rows.
    nodes : dict of (level, position) to (x, y)
    product_of : dict of (level, position) to (level, position)
        The product of each factor that has a place.
    boxes : list of (x, y)
        Centre of the box of each edge.
    paths : list of (ndarray, ndarray)
        x and y of the line of each edge, with a gap at its box.
    lines : list of (ndarray, ndarray)
        x and y of the lines without a box.
    """

    n_levels: int
    n_rows: int
    narrowest: float
    nodes: dict
    product_of: dict
    boxes: list
    paths: list
    lines: list

    @classmethod
    def of(cls, edges, nodes=frozenset(), lines=()):
        """Place edges, nodes that are shown without a box, and lines without one.

        Boxes and hidden nodes are sorted by the rows of their neighbours. Edges of a
        skip run below the hidden nodes, those without a box in one row.

        Parameters
        ----------
        edges : list of EdgeFunction
        nodes : set of (level, position)
        lines : iterable of (source, target)
        """
        nodes = nodes | {node for e in edges for node in (e.source, e.target)}
        product_of = {e.target: e.product for e in edges if e.product is not None}
        products = set(product_of.values())
        last = max(level for level, _ in nodes)
        # Factors have rows, and their product stands between them.
        levels = [
            [n for n in sorted(nodes - products) if n[0] == level]
            for level in range(last + 1)
        ]
        skips = [e for e in edges if _is_skip(e.source, e.target)]
        gaps = [
            [e for e in edges if e.source[0] == level and e not in skips]
            for level in range(last)
        ]
        n_main = max(map(len, [*gaps, *levels[1:-1]]), default=1)
        n_skips = len(skips) + any(_is_skip(*line) for line in lines)
        n_rows = max(n_main + n_skips, len(levels[0]), len(levels[-1]), 1)
        n_main = n_rows - n_skips
        heights = [n_rows, *[n_main] * (last - 1), n_rows]
        narrowest = min(
            height / max(len(level), 1)
            for height, level in zip(heights, levels, strict=True)
        )
        at, box_at = _spread(levels[0], n_rows, 0), {}
        for level, gap in enumerate(gaps, start=1):
            ordered = levels[level]
            if level < last:
                own = {node: product_of.get(node, node) for node in ordered}
                rows = {node: _mean_row(node, gap, at) for node in own.values()}
                ordered = sorted(own, key=lambda node: (rows[own[node]], own[node]))
            at |= _spread(ordered, heights[level], level)
            at |= _products_between_factors(ordered, product_of, at)
            gap = sorted(
                gap, key=lambda e: (at[e.source][1] + at[e.target][1], e.source)
            )
            by_edge = _spread([id(e) for e in gap], n_main, level - 0.5)
            box_at |= by_edge
        skips = sorted(skips, key=lambda e: (at[e.source][1], e.target))
        for number, edge in enumerate(skips):
            box_at[id(edge)] = 0.5, n_main + number + 0.5
        boxes = [box_at[id(edge)] for edge in edges]
        paths = [
            _path(at[edge.source], box, at[edge.target])
            for edge, box in zip(edges, boxes, strict=True)
        ]
        plain = []
        for source, target in lines:
            x, y = _smooth(at[source], at[target])
            if _is_skip(source, target):
                x, y = _path(at[source], (0.5, n_rows - 0.5), at[target])
                x, y = x[~np.isnan(x)], y[~np.isnan(x)]
            plain.append((x, y))
        return cls(last + 1, n_rows, narrowest, at, product_of, boxes, paths, plain)


def _is_skip(source, target):
    return target[0] > source[0] + 1


def _spread(things, height, x):
    """Evenly spaced rows for things, from the top down to a height."""
    step = height / max(len(things), 1)
    return {thing: (x, (row + 0.5) * step) for row, thing in enumerate(things)}


def _products_between_factors(nodes, product_of, at):
    """Places of the products of a level, and of their factors before them."""
    rows, places = {}, {}
    for node in nodes:
        if node in product_of:
            x, y = at[node]
            places[node] = x - FACTOR_DISTANCE, y
            rows.setdefault(product_of[node], []).append(y)
    return places | {
        product: (product[0], np.mean(of_factors))
        for product, of_factors in rows.items()
    }


def _mean_row(node, gap, at):
    """Mean row of a node's neighbours on the left, weighted by importance."""
    edges = [edge for edge in gap if edge.enters == node]
    if not edges:
        return np.inf
    weight = [edge.importance + 1e-12 for edge in edges]  # not all zero
    return np.average([at[edge.source][1] for edge in edges], weights=weight)


def _path(source, box, target):
    """Smooth line from a node to a box, a gap, and on to the other node."""
    (x, y), (box_x, box_y), (end_x, end_y) = source, box, target
    into_x, into_y = _smooth((x, y), (box_x - BOX_WIDTH / 2, box_y))
    # A skip runs horizontally until it has passed the last hidden nodes.
    turn = max(box_x + BOX_WIDTH / 2, end_x - 0.5 + BOX_WIDTH / 2)
    out_x, out_y = _smooth((turn, box_y), (end_x, end_y))
    return (
        np.concatenate([into_x, [np.nan, box_x + BOX_WIDTH / 2], out_x]),
        np.concatenate([into_y, [np.nan, box_y], out_y]),
    )


def _smooth(start, end):
    """Line that is horizontal at both ends."""
    share = np.linspace(0, 1, 25)
    x = start[0] + share * (end[0] - start[0])
    return x, start[1] + share**2 * (3 - 2 * share) * (end[1] - start[1])
