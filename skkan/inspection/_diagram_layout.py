"""Positions of the nodes and edges of a network in a diagram.

x counts layers: level l has x = l, and the boxes of the edges that leave it have
x = l + 1/2. y counts rows from the top; the fullest column has one box or node in each
row. Nothing is drawn here.
"""

from dataclasses import dataclass

import numpy as np

BOX_WIDTH = 0.36  # of the distance between levels


def shown_edges(edges, *, max_edges, threshold):
    """Most important edges and their links to inputs and outputs.

    A hidden node of a shown edge keeps its most important edge on either side, and
    every output keeps its most important edge. So a few more edges than `max_edges` may
    be shown.

    Parameters
    ----------
    edges : list of EdgeFunction
    max_edges : int
    threshold : float
        Importance below which only links are shown.

    Returns
    -------
    list of EdgeFunction
    """
    present = [edge for edge in edges if not edge.removed]
    above = [edge for edge in present if edge.importance >= threshold]
    ranked = sorted(above, key=lambda edge: -edge.importance)
    shown = ranked[:max_edges]
    last = max(edge.target[0] for edge in edges)
    reached = {edge.target for edge in shown}
    for edge in ranked[max_edges:]:
        if edge.target[0] == last and edge.target not in reached:
            shown.append(edge)
            reached.add(edge.target)
    while missing := _missing_links(shown, present):
        shown.append(missing[0])
    return shown


def _missing_links(shown, present):
    """Edges that link shown hidden nodes to the side on which they have no edge."""
    enters, leaves = {e.target for e in shown}, {e.source for e in shown}
    last = max((edge.target[0] for edge in present), default=0)
    links = []
    for node in sorted(enters ^ leaves):
        if 0 < node[0] < last:
            side = "target" if node in leaves else "source"
            touching = [edge for edge in present if getattr(edge, side) == node]
            links += sorted(touching, key=lambda edge: -edge.importance)[:1]
    return links


@dataclass(frozen=True, eq=False)
class DiagramLayout:
    """Positions in a diagram.

    Attributes
    ----------
    n_levels, n_rows : int
    narrowest : float
        Smallest distance of two nodes of a level, in rows.
    nodes : dict of (level, position) to (x, y)
    boxes : list of (x, y)
        Centre of the box of each edge.
    paths : list of (ndarray, ndarray)
        x and y of the line of each edge, with a gap at its box.
    """

    n_levels: int
    n_rows: int
    narrowest: float
    nodes: dict
    boxes: list
    paths: list

    @classmethod
    def of(cls, edges, nodes):
        """Place edges, and nodes that are shown without edges.

        Boxes and hidden nodes are sorted by the rows of their neighbours. Edges of a
        skip run below the hidden nodes.

        Parameters
        ----------
        edges : list of EdgeFunction
        nodes : set of (level, position)
        """
        nodes = nodes | {e.source for e in edges} | {e.target for e in edges}
        last = max(level for level, _ in nodes)
        levels = [
            [n for n in sorted(nodes) if n[0] == level] for level in range(last + 1)
        ]
        skips = [e for e in edges if _is_skip(e)]
        gaps = [
            [e for e in edges if e.source[0] == level and not _is_skip(e)]
            for level in range(last)
        ]
        n_main = max(map(len, [*gaps, *levels[1:-1]]), default=1)
        n_rows = max(n_main + len(skips), len(levels[0]), len(levels[-1]), 1)
        n_main = n_rows - len(skips)
        heights = [n_rows, *[n_main] * (last - 1), n_rows]
        narrowest = min(
            height / max(len(level), 1)
            for height, level in zip(heights, levels, strict=True)
        )
        at, box_at = _spread(levels[0], n_rows, 0), {}
        for level, gap in enumerate(gaps, start=1):
            ordered = levels[level]
            if level < last:
                ordered = sorted(ordered, key=lambda node: _mean_row(node, gap, at))
            at |= _spread(ordered, heights[level], level)
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
        return cls(last + 1, n_rows, narrowest, at, boxes, paths)


def _is_skip(edge):
    return edge.target[0] > edge.source[0] + 1


def _spread(things, height, x):
    """Evenly spaced rows for things, from the top down to a height."""
    step = height / max(len(things), 1)
    return {thing: (x, (row + 0.5) * step) for row, thing in enumerate(things)}


def _mean_row(node, gap, at):
    """Mean row of a node's neighbours on the left, weighted by importance."""
    edges = [edge for edge in gap if edge.target == node]
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
