"""The shortest of the equal forms of an expression that sympy knows."""

# Nodes up to which simplifications take tenths of a second.
MAX_SIMPLIFIED_NODES = 40


def n_nodes_of(expression):
    """Number of nodes of the tree of an expression, int."""
    import sympy

    return sum(1 for _ in sympy.preorder_traversal(expression))


def shortest_form(expression):
    """An equal expression with the fewest nodes; the given one if none has fewer.

    Hyperbolic functions are also tried as exponentials: tanh(log(x) / 2) is a quotient.
    Expressions with floating-point constants, named curves or sums, and large ones,
    stay as they are.

    Parameters
    ----------
    expression : sympy.Expr

    Returns
    -------
    sympy.Expr

    Examples
    --------
    >>> import sympy
    >>> from skkan.formulas._shortest_form import shortest_form
    >>> x, y = sympy.symbols("x y")
    >>> shortest_form((1 - sympy.tanh(sympy.log(x) / 2 + sympy.log(y) / 2)) / 2)
    1/(x*y + 1)
    >>> shortest_form(x + x * y * sympy.cos(x) + x * y)
    x*(y*cos(x) + y + 1)
    """
    import sympy
    from sympy.concrete.expr_with_limits import ExprWithLimits
    from sympy.core.function import AppliedUndef
    from sympy.functions.elementary.hyperbolic import HyperbolicFunction

    others = sympy.Float, sympy.Piecewise, AppliedUndef, ExprWithLimits
    if expression.atoms(*others) or n_nodes_of(expression) > MAX_SIMPLIFIED_NODES:
        return expression
    forms = [expression, sympy.factor_terms(expression), sympy.simplify(expression)]
    if expression.has(HyperbolicFunction):
        forms.append(sympy.simplify(expression.rewrite(sympy.exp)))
    return min(forms, key=n_nodes_of)
