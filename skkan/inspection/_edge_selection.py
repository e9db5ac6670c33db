"""Selection of edges and nodes by name or by position.

A node is given by its name, see `node_names`, or as a pair (level, position).
"""

from dataclasses import replace
from numbers import Integral

from skkan.drawing._labels import checked_names
from skkan.inspection._edge_functions import edge_functions, node_names


def named_edges(
    estimator, feature_names=None, target_names=None, *, with_posterior=False
):
    """Edges of a fitted estimator, and the inputs that pruning has removed.

    Parameters
    ----------
    estimator : KANRegressor or KANClassifier
    feature_names, target_names : sequence of str, default=None
        Names of the inputs and outputs; None takes those that the estimator knows.
    with_posterior : bool, default=False
        See `edge_functions`.

    Returns
    -------
    edges : list of EdgeFunction
        All edges of the network.
    removed : dict of (level, position) to str
        Names of the inputs that no edge leaves any more.

    Raises
    ------
    ValueError
        If the number of names is not that of the inputs or outputs.
    """
    edges = edge_functions(estimator, with_posterior=with_posterior)
    names = node_names(estimator)
    for parameter, given, level in (
        ("feature_names", feature_names, 0),
        ("target_names", target_names, -1),
    ):
        if given is not None:
            names[level] = checked_names(parameter, given, len(names[level]))
    edges = [
        replace(
            edge,
            source_name=names[edge.source[0]][edge.source[1]],
            target_name=names[edge.target[0]][edge.target[1]],
        )
        for edge in edges
    ]
    left = {edge.source for edge in edges if not edge.removed}
    inputs = {(0, i): name for i, name in enumerate(names[0])}
    return edges, {at: name for at, name in inputs.items() if at not in left}


def present_edges(edges):
    """Edges that pruning has left; raises a ValueError if there are none."""
    present = [edge for edge in edges if not edge.removed]
    if not present:
        raise ValueError(
            "All edges of this network were removed by pruning, so that there is "
            "nothing to draw: prune with a lower threshold."
        )
    return present


def selected_edges(edges, wanted, removed):
    """Requested edges, in the order of the request and each once.

    Parameters
    ----------
    edges : list of EdgeFunction
        All edges of a network.
    wanted : list
        Each item is a pair (source, target) of nodes, or a single input by name or
        column number, which stands for all edges that leave it and are not removed.
    removed : dict of (level, position) to str
        Names of the inputs that no edge leaves any more.

    Raises
    ------
    ValueError
        If a node or an edge does not exist, or is removed.
    """
    if isinstance(wanted, str | Integral):
        wanted = [wanted]
    present_edges(edges)
    chosen = []
    for item in wanted:
        chosen += _edges_meant(edges, item, removed)
    if not chosen:
        raise ValueError("edges must name at least one edge, got none: leave it out.")
    return list({id(edge): edge for edge in chosen}.values())


def _edges_meant(edges, item, removed):
    if isinstance(item, str | Integral):
        source = node_meant(edges, item, removed)
        found = [edge for edge in edges if edge.source == source]
    else:
        if not (isinstance(item, tuple | list) and len(item) == 2):
            raise ValueError(
                "An edge is a pair (source, target) or the name of a feature, got "
                f"{item!r}."
            )
        source = node_meant(edges, item[0], removed)
        target = node_meant(edges, item[1], side="target")
        found = [e for e in edges if (e.source, e.target) == (source, target)]
    if not found:
        raise ValueError(
            f"There is no edge {item!r} in this network: an edge leads from a node to "
            "one of the next level (or, with additive_skip, from an input to an "
            "output); edge_table(estimator) lists them."
        )
    present = [edge for edge in found if not edge.removed]
    if not present:
        remaining = [
            edge.target_name
            for edge in edges
            if edge.source == source and not edge.removed
        ]
        raise ValueError(
            f"The edge {item!r} was removed by pruning, or interaction_cst leaves it "
            "out. The edges from "
            f"{found[0].source_name!r} that remain lead to {remaining}."
        )
    return present


def node_meant(edges, node, removed=None, *, side="source"):
    """Node (level, position) for a name, a column number or a pair.

    Parameters
    ----------
    edges : list of EdgeFunction
    node : str, int or tuple of (int, int)
    removed : dict of (level, position) to str, default=None
        Names of the inputs that no edge leaves any more; they are not found.
    side : {"source", "target"}, default="source"
        Whether the node is searched among those that edges leave or enter.

    Raises
    ------
    ValueError
        If there is no such node, more than one of that name, or if it is removed.
    """
    removed = removed or {}
    names = {getattr(e, side): getattr(e, f"{side}_name") for e in edges}
    names = {at: name for at, name in names.items() if at not in removed}
    found = _nodes_called(node, names)
    if not found:
        gone = [removed[at] for at in _nodes_called(node, removed)]
        if gone:
            remaining = [name for (level, _), name in names.items() if level == 0]
            raise ValueError(
                f"The input {gone[0]!r} was removed by pruning, so that no edge leaves "
                f"it. These inputs remain: {remaining}."
            )
        raise ValueError(
            f"There is no {side} node {node!r}, expected one of "
            f"{list(names.values())} or its (level, position)."
        )
    if len(found) > 1:
        raise ValueError(
            f"{node!r} is the name of the {side} nodes {found}: give one as "
            "(level, position)."
        )
    return found[0]


def _nodes_called(node, names):
    if isinstance(node, str):
        return [at for at, name in names.items() if name == node]
    if isinstance(node, Integral) and not isinstance(node, bool):
        node = 0, int(node)
    return [at for at in names if isinstance(node, tuple | list) and at == (*node,)]
