"""Selection of edges and nodes by name or by position.

A node is given by its name, see `node_names`, or as a pair (level, position).
"""

from dataclasses import replace
from numbers import Integral

from skkan.inspection._edge_functions import node_names


def with_names(edges, n_features, feature_names=None, target_names=None):
    """Copies of edges with other names of inputs and outputs.

    Parameters
    ----------
    edges : list of EdgeFunction
        All edges of a network.
    n_features : int
        Number of features of the estimator, with those that a pruned network does not
        use.
    feature_names, target_names : sequence of str, default=None
        None keeps the present names.

    Raises
    ------
    ValueError
        If their number is not that of the inputs or outputs.
    """
    last = max(edge.target[0] for edge in edges)
    names = {
        level: _checked_names(parameter, given, n_nodes)
        for parameter, given, level, n_nodes in (
            ("feature_names", feature_names, 0, n_features),
            ("target_names", target_names, last, _n_outputs(edges, last)),
        )
        if given is not None
    }

    def name(node, present):
        return names[node[0]][node[1]] if node[0] in names else present

    return [
        replace(
            edge,
            source_name=name(edge.source, edge.source_name),
            target_name=name(edge.target, edge.target_name),
        )
        for edge in edges
    ]


def _n_outputs(edges, last):
    nodes = (edge.target for edge in edges)
    return 1 + max(position for level, position in nodes if level == last)


def _checked_names(parameter, given, n_nodes):
    given = [given] if isinstance(given, str) else [str(name) for name in given]
    if len(given) != n_nodes:
        raise ValueError(
            f"{parameter} must hold one name for each of the {n_nodes} nodes, got "
            f"{len(given)}: {given}."
        )
    return given


def check_max_edges(max_edges):
    """Raise a ValueError unless `max_edges` is a positive integer."""
    whole = isinstance(max_edges, Integral) and not isinstance(max_edges, bool)
    if not (whole and max_edges >= 1):
        raise ValueError(
            f"max_edges must be at least 1, and an integer, got {max_edges!r}."
        )


def present_edges(edges):
    """Edges that pruning has left; raises a ValueError if there are none."""
    present = [edge for edge in edges if not edge.removed]
    if not present:
        raise ValueError(
            "All edges of this network were removed by pruning, so that there is "
            "nothing to draw: prune with a lower threshold."
        )
    return present


def removed_inputs(estimator, edges, feature_names=None):
    """Names of the inputs of a fitted estimator that pruning has removed.

    Parameters
    ----------
    estimator : KANRegressor or KANClassifier
    edges : list of EdgeFunction
        All edges of its network.
    feature_names : sequence of str, default=None
        Checked by `with_names`; None takes those that the estimator knows.

    Returns
    -------
    dict of (level, position) to str
    """
    names = node_names(estimator)[0]
    if feature_names is not None:
        names = _checked_names("feature_names", feature_names, len(names))
    left = {edge.source for edge in edges if not edge.removed}
    return {(0, i): name for i, name in enumerate(names) if (0, i) not in left}


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
            f"The edge {item!r} was removed by pruning. The edges from "
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
            raise ValueError(
                f"The input {gone[0]!r} was removed by pruning, so that no edge leaves "
                f"it. These inputs remain: {_input_names(names)}."
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


def _input_names(names):
    return [name for (level, _), name in names.items() if level == 0]
