"""Checks of the arguments of symbolic estimators, with a remedy in each message."""

from skkan.estimators._parameter_checks import is_count
from skkan.formulas._primitives import LIBRARY, ZERO, Primitive

MAX_NAMED_EDGES = 40  # to be named: a beam search tries tens of functions for each
SPLINE = "spline"  # stands for an edge that keeps its spline


def checked_count(name, value):
    """An int of at least 1; True is none."""
    if not is_count(value):
        raise ValueError(
            f"The {name!r} parameter must be an integer of at least 1, got {value!r}: "
            "pass a number such as 8."
        )
    return int(value)


def checked_primitives(primitives):
    """Tuple of primitives with distinct names; None takes `LIBRARY`.

    Those of the library may go by their names.
    """
    library = {primitive.name: primitive for primitive in LIBRARY}
    primitives = LIBRARY if primitives is None else tuple(primitives)
    unknown = [p for p in primitives if isinstance(p, str) and p not in library]
    if unknown:
        raise ValueError(
            f"primitives must name functions of skkan.symbolic.LIBRARY, got {unknown}: "
            f"choose from {list(library)}, or make one with skkan.symbolic.Primitive."
        )
    primitives = tuple(library[p] if isinstance(p, str) else p for p in primitives)
    for primitive in primitives:
        if not isinstance(primitive, Primitive):
            raise TypeError(
                "primitives must hold Primitive objects or names, got "
                f"{type(primitive).__name__}: choose from skkan.symbolic.LIBRARY, or "
                "make one with skkan.symbolic.Primitive."
            )
        _check_reserved(primitive, "primitives")
    names = [primitive.name for primitive in primitives]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"primitives must hold functions of distinct names, got {names}: rename "
            f"{twice}."
        )
    if not primitives:
        raise ValueError(
            "primitives must hold at least one function, got none: pass None for "
            "skkan.symbolic.LIBRARY."
        )
    return primitives


def _check_reserved(primitive, where):
    if primitive.name == SPLINE or (primitive.name == ZERO.name and primitive != ZERO):
        raise ValueError(
            f"{where} holds a function of one's own named {primitive.name!r}, which "
            "stands for an edge that stays a spline ('spline') or is left out ('0'): "
            "rename it."
        )


def check_size(curves, fixed):
    """Raise if a network has more edges than a search can name.

    Edges that are left out, or whose function is fixed, do not count.
    """
    n_edges = sum(
        not curve.removed and number not in fixed for number, curve in enumerate(curves)
    )
    if n_edges > MAX_NAMED_EDGES:
        raise ValueError(
            f"A formula is read off a network of at most {MAX_NAMED_EDGES} edges, got "
            f"{n_edges}: fit a smaller one, such as one with hidden_layer_sizes=() or "
            "(1,), leave edges out by estimator.prune or by fewer features, fix the "
            "functions of some by `fixed`, or pass no estimator, so that "
            "SymbolicKANRegressor finds a structure of its own."
        )


def checked_fixed(fixed, curves, primitives):
    """Required functions of edges: a dict from edge numbers to Primitive or "spline".

    Names are looked up among the primitives. A Primitive is taken as it is, whatever
    its name.
    """
    edges = {(c.source_name, c.target_name): k for k, c in enumerate(curves)}
    by_name = {primitive.name: primitive for primitive in (ZERO, *primitives)}
    allowed = by_name | {SPLINE: SPLINE}
    checked = {}
    for edge, requested in (fixed or {}).items():
        if edge not in edges:
            known = f" such as {next(iter(edges))!r}" if edges else ""
            raise ValueError(
                f"fixed names the edge {edge!r}, which the network does not have: use "
                f"pairs (source name, target name){known}, as "
                "skkan.inspection.edge_functions lists them."
            )
        if isinstance(requested, Primitive):
            _check_reserved(requested, "fixed")
        elif not isinstance(requested, str) or requested not in allowed:
            raise ValueError(
                f"fixed asks for {requested!r} on the edge {edge!r}: expected a "
                f"Primitive, 'spline' or one of the names {sorted(by_name)}."
            )
        else:
            requested = allowed[requested]
        checked[edges[edge]] = requested
    return checked


def checked_target(model, y):
    """Encoded target of a fitted model, ndarray of shape (n_samples, n_outputs)."""
    y = model.target.loss.checked_target(model.target.checked(y))
    target = model.target.encode(y)
    if target.shape[1] != model.n_outputs:
        raise ValueError(
            f"y must have the {model.n_outputs} outputs of the network, got "
            f"{target.shape[1]}: pass the target that it was fitted to."
        )
    return target
