"""Which edges and nodes a caller means, by name or by position.

A node is named as in `node_names`, or is a pair (level, position).
"""

from dataclasses import replace
from numbers import Integral


def with_names(edges, n_features, feature_names=None, target_names=None):
    """The same edges, with other names of inputs and outputs.

    Parameters
    ----------
    edges : list of EdgeFunction
        All those of a network.
    n_features : int
        Of the estimator, those that a pruned network does not use included.
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


def selected_edges(edges, wanted):
    """The edges that a caller asks for, in that order and each once.

    Parameters
    ----------
    edges : list of EdgeFunction
        All those of a network.
    wanted : list
        Of pairs (source, target) of nodes, or of single inputs, by name or column
        number, which stand for all edges that leave them and exist.

    Raises
    ------
    ValueError
        If there is no such node or edge.
    """
    if isinstance(wanted, str):
        wanted = [wanted]
    chosen = []
    for item in wanted:
        chosen += _edges_meant(edges, item)
    if not chosen:
        raise ValueError("edges must name at least one edge, got none: leave it out.")
    return list({id(edge): edge for edge in chosen}.values())


def _edges_meant(edges, item):
    if isinstance(item, str | Integral):
        source = node_meant(edges, item)
        found = [e for e in edges if e.source == source and not e.removed]
    else:
        if not (isinstance(item, tuple | list) and len(item) == 2):
            raise ValueError(
                "An edge is a pair (source, target) or the name of a feature, got "
                f"{item!r}."
            )
        source = node_meant(edges, item[0])
        target = node_meant(edges, item[1], side="target")
        found = [e for e in edges if (e.source, e.target) == (source, target)]
    if not found:
        raise ValueError(
            f"There is no edge {item!r} in this network, or it is removed: an edge "
            "leads from a node to one of the next level (or, with additive_skip, from "
            "an input to an output); edge_table(estimator) lists them."
        )
    return found


def node_meant(edges, node, *, side="source"):
    """The node (level, position) that a name, a column number or a pair stands for.

    Parameters
    ----------
    edges : list of EdgeFunction
    node : str, int or tuple of (int, int)
    side : {"source", "target"}, default="source"
        Whether edges are to leave it or to enter it.

    Raises
    ------
    ValueError
        If there is none, or more than one of that name.
    """
    names = {getattr(e, side): getattr(e, f"{side}_name") for e in edges}
    if isinstance(node, Integral):
        found = [(0, int(node))] if (0, int(node)) in names else []
    elif isinstance(node, str):
        found = [at for at, name in names.items() if name == node]
    else:
        found = [
            at for at in names if isinstance(node, tuple | list) and at == (*node,)
        ]
    if not found:
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
