"""Formulas and fitted networks as sympy expressions, LaTeX and numpy source.

Everything is in the user's units, with features as symbols. sympy objects are built
from numbers and callables; no text is evaluated.
"""

import keyword
import math
import re

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skkan._edges import edge_functions, intercepts, node_names
from skkan.symbolic._curves import SplineCurve, spline_primitive
from skkan.symbolic._estimators import BaseSymbolicKAN
from skkan.symbolic._formula import Formula, Term
from skkan.symbolic._requests import checked_digits

# Names that the sources use themselves, ours and those that sympy's printers write.
RESERVED = {"numpy", "np", "formula", "scipy", "math", "pi", "E", "I", "oo", "nan"}
RESERVED |= {"exp", "log", "sqrt", "abs", "Abs", "sign", "select", "less", "greater"}
RESERVED |= {"sin", "cos", "tan", "tanh", "arcsin", "arccos", "arctan", "arctanh"}
RESERVED |= {"asin", "acos", "atan", "atanh", "less_equal", "greater_equal", "array"}
RESERVED |= {"logical_and", "logical_or", "inf", "minimum", "maximum", "where"}


def to_sympy(model, *, round_to=None, piecewise=False):
    """A fitted model as a sympy expression of its features.

    Parameters
    ----------
    model : fitted SymbolicKANRegressor, SymbolicKANClassifier, KANRegressor or \
KANClassifier
        Of classifiers the expressions are log odds, before any moderation by a
        posterior.
    round_to : int, default=None
        Number of significant digits of the constants; None rounds nothing.
    piecewise : bool, default=False
        Whether splines are written out as `sympy.Piecewise`. Behind a hidden layer
        these are nested and long, and sympy puts conditions into them that only
        ``lambdify(..., "math")`` evaluates, row by row. Otherwise splines are named
        functions, which `sympy.lambdify` evaluates as usual; see `named_splines`.

    Returns
    -------
    sympy.Expr or list of sympy.Expr
        A list if there are several outputs. Names of features are changed where they
        are no identifiers; see `feature_symbols`.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    ValueError
        If `round_to` is not a positive integer.

    Examples
    --------
    >>> import numpy as np
    >>> from skkan import KANRegressor
    >>> from skkan.symbolic import to_sympy
    >>> X = np.linspace(-1, 1, 100).reshape(-1, 1)
    >>> model = KANRegressor((), random_state=0).fit(X, X[:, 0] ** 2)
    >>> to_sympy(model, round_to=2)
    phi_0(x0) + 0.34
    """
    round_to = checked_digits(round_to)
    formula = _formula_of(model)
    expressions = _expressions(formula, feature_symbols(model), piecewise)
    if round_to is not None:
        expressions = [_rounded(expression, round_to) for expression in expressions]
    return expressions[0] if len(expressions) == 1 else expressions


def to_latex(model, *, round_to=None):
    r"""A fitted model as LaTeX equations.

    Parameters
    ----------
    model, round_to
        As for `to_sympy`.

    Returns
    -------
    str or list of str
        One equation for each output.

    Examples
    --------
    >>> import numpy as np
    >>> from skkan import KANRegressor
    >>> from skkan.symbolic import fit_symbolic, to_latex
    >>> X = np.linspace(-1, 1, 100).reshape(-1, 1)
    >>> network = KANRegressor((), random_state=0).fit(X, np.exp(X[:, 0]))
    >>> print(to_latex(fit_symbolic(network, X, np.exp(X[:, 0]))))
    y = e^{x_{0}}
    """
    import sympy

    expressions = to_sympy(model, round_to=round_to)
    if not isinstance(expressions, list):
        expressions = [expressions]
    names = _distinct(_network(model)[-1], set())
    equations = [
        f"{sympy.latex(sympy.Symbol(name))} = {sympy.latex(expression)}"
        for name, expression in zip(names, expressions, strict=True)
    ]
    return equations[0] if len(equations) == 1 else equations


def to_numpy_source(model, *, round_to=None):
    """A fitted model as the source of a Python module that needs numpy only.

    Parameters
    ----------
    model, round_to
        As for `to_sympy`.

    Returns
    -------
    str
        Source that defines ``formula(x0, x1, ...)``, whose arguments are the columns of
        X as numbers or arrays. It returns a tuple if there are several outputs.

    Examples
    --------
    >>> import numpy as np
    >>> from skkan import KANRegressor
    >>> from skkan.symbolic import fit_symbolic, to_numpy_source
    >>> X = np.linspace(-1, 1, 100).reshape(-1, 1)
    >>> network = KANRegressor((), random_state=0).fit(X, np.exp(X[:, 0]))
    >>> print(to_numpy_source(fit_symbolic(network, X, np.exp(X[:, 0]))))
    import numpy
    <BLANKLINE>
    <BLANKLINE>
    def formula(x0):
        return numpy.exp(x0)
    <BLANKLINE>
    """
    from sympy.printing.numpy import NumPyPrinter

    expressions = to_sympy(model, round_to=round_to)
    several = isinstance(expressions, list)
    expressions = expressions if several else [expressions]
    splines = {}
    for expression in expressions:
        splines |= named_splines(expression)
    printer = NumPyPrinter({"user_functions": {name: name for name in splines}})
    written = [printer.doprint(expression) for expression in expressions]
    value = f"({', '.join(written)})" if several else written[0]
    arguments = ", ".join(symbol.name for symbol in feature_symbols(model))
    parts = ["import numpy\n"]
    parts += [_spline_source(splines[name]) for name in sorted(splines, key=_number)]
    parts.append(f"def formula({arguments}):\n    return {value}\n")
    return "\n\n".join(parts)


def feature_symbols(model):
    """Symbols of the features of a fitted model, in their order.

    Names become identifiers: other characters are replaced by underscores, and names
    that are equal then are numbered.

    Returns
    -------
    list of sympy.Symbol
    """
    import sympy

    levels = _network(model)
    n_edges = sum(len(a) * len(b) for a in levels for b in levels)
    reserved = RESERVED | {f"phi_{number}" for number in range(n_edges)}
    return [sympy.Symbol(name) for name in _distinct(levels[0], reserved)]


def named_splines(expression):
    """The splines that stand as named functions in an expression of `to_sympy`.

    Parameters
    ----------
    expression : sympy.Expr

    Returns
    -------
    dict of str to SplineCurve
        With their knots and coefficients.
    """
    from sympy.core.function import AppliedUndef

    curves = {}
    for call in expression.atoms(AppliedUndef):
        curve = getattr(call.func, "_imp_", None)
        if isinstance(curve, SplineCurve):
            curves[call.func.__name__] = curve
    return curves


def _network(model):
    """Names of the nodes of the network of a model, level by level."""
    check_is_fitted(model)
    return node_names(model.estimator_ if isinstance(model, BaseSymbolicKAN) else model)


def _formula_of(model):
    check_is_fitted(model)
    if isinstance(model, BaseSymbolicKAN):
        return model.formula_
    terms = []
    for number, edge in enumerate(edge_functions(model)):
        curve = SplineCurve.of_edge(edge, f"phi_{number}")
        if not edge.removed:
            primitive = spline_primitive(curve, of_input=edge.source[0] == 0)
            terms.append(Term(edge.source, edge.target, primitive))
    widths = (model.n_features_in_, *model.network_.widths[1:])
    return Formula(widths, tuple(terms), intercepts(model))


def _expressions(formula, symbols, piecewise):
    """One expression for each output."""
    import sympy

    nodes = [
        [sympy.Integer(0)] * width if level else [*symbols]
        for level, width in enumerate(formula.widths)
    ]
    nodes[-1] = [_number_of(value) for value in formula.intercepts]
    for term in sorted(formula.terms, key=lambda term: term.source[0]):
        x = nodes[term.source[0]][term.source[1]]
        z = _number_of(term.a) * x + _number_of(term.b)
        curve = term.primitive.function
        if piecewise and isinstance(curve, SplineCurve):
            value = curve.piecewise(z)
        else:
            value = term.primitive.expression(z)
        nodes[term.target[0]][term.target[1]] += _number_of(term.c) * value
    return nodes[-1]


def _number_of(value):
    """An Integer where it is one, so that factors of 1 and powers come out clean."""
    import sympy

    value = float(value)
    return sympy.Integer(int(value)) if value.is_integer() else sympy.Float(value)


def _rounded(expression, digits):
    import sympy

    def rounded(number):
        value = float(number)
        if value == 0 or not math.isfinite(value):
            return number
        decimals = digits - 1 - math.floor(math.log10(abs(value)))
        value = round(value, decimals)
        return _number_of(value) if value.is_integer() else sympy.Float(value, digits)

    floats = expression.atoms(sympy.Float)
    return expression.xreplace({number: rounded(number) for number in floats})


def _distinct(names, reserved):
    """Identifiers that resemble names, all different and none of them reserved."""
    used, distinct = set(reserved), []
    for name in names:
        clean = re.sub(r"\W", "_", name)
        if not clean or clean[0].isdigit():
            clean = f"x_{clean}" if clean else "x"
        if keyword.iskeyword(clean):
            clean += "_"
        number, candidate = 1, clean
        while candidate in used:
            number += 1
            candidate = f"{clean}_{number}"
        used.add(candidate)
        distinct.append(candidate)
    return distinct


def _number(name):
    return int(name.removeprefix("phi_"))


def _spline_source(curve):
    """Source of a function that evaluates a curve."""
    knots = ", ".join(map(repr, curve.knots.tolist()))
    rows = ",\n        ".join(
        f"[{', '.join(map(repr, row))}]"
        for row in np.array(curve.coefficients).tolist()
    )
    lines = [
        f"def {curve.name}(x):",
        f"    knots = numpy.array([{knots}])",
        f"    coefficients = numpy.array([\n        {rows},\n    ])",
        "    inside = numpy.clip(x, knots[0], knots[-1])",
        "    piece = numpy.searchsorted(knots[1:-1], inside, side='right')",
        "    distance = inside - knots[piece]",
        "    value, slope = 0.0, 0.0",
        "    for row in coefficients:",
        "        slope = slope * distance + value",
        "        value = value * distance + row[piece]",
        f"    z = (inside - {curve.centre!r}) / {curve.scale!r}",
    ]
    weight = curve.base_weight
    if curve.base_activation == "silu":
        lines += [
            "    share = 0.5 * (1 + numpy.tanh(z / 2))",
            f"    value = value + {weight!r} * z * share",
            f"    slope = slope + {weight / curve.scale!r} * share"
            " * (1 + z * (1 - share))",
        ]
    else:
        lines += [
            f"    value = value + {weight!r} * z",
            f"    slope = slope + {weight / curve.scale!r}",
        ]
    beyond = " + slope * (x - inside)" if curve.linear else ""
    return "\n".join([*lines, f"    return value{beyond}\n"])
