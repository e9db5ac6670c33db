"""Formulas and fitted networks as sympy expressions, LaTeX and numpy source.

Expressions are in the user's units, and their symbols are the features. sympy objects
are built from numbers and callables; no text is evaluated.
"""

import math

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skkan.estimators._base import fitted_model_of
from skkan.estimators._parameter_checks import is_count
from skkan.formulas._formula import Formula, Term
from skkan.formulas._numpy_source import module_source
from skkan.formulas._printed_names import distinct_identifiers, latex_names
from skkan.formulas._shortest_form import shortest_form
from skkan.formulas._simple_constants import near_constants, simple_form
from skkan.formulas._spline_curves import (
    NamedCurve,
    curve_of_edge,
    exact_number,
    spline_primitive,
)
from skkan.inspection._edge_functions import (
    edge_functions,
    intercepts,
    node_names,
    node_products,
)

NEARLY = 1e-14  # of a number, a few units of its last place
N_POINTS = 500  # at which a rounded formula is compared with the exact one
FLOAT_DIGITS = 17  # of a float


def to_sympy(model, *, round_to=None, piecewise=False):
    """A fitted model as a sympy expression of its features.

    Parameters
    ----------
    model : fitted SymbolicKANRegressor, SymbolicKANClassifier, KANRegressor or \
KANClassifier
        The expressions of classifiers are log odds, before any moderation by a
        posterior. The expressions of regressors are predictions, with any loss.
    round_to : int, default=None
        Number of significant digits of the constants; None does not round. Formulas
        get more digits where their values on the ranges of the training rows would
        otherwise change by more than 10^(1 - round_to) of their standard deviation
        (root mean square).
    piecewise : bool, default=False
        Whether to write splines as `sympy.Piecewise`. Behind a hidden layer these are
        nested and long, and only ``lambdify(..., "math")`` evaluates the conditions
        that sympy puts into them, row by row. Otherwise splines are named functions,
        which `sympy.lambdify` evaluates as usual; see `named_splines`. Their
        derivatives, which ``diff`` takes, are named functions, too: dphi_0, d2phi_0 and
        so on. Edges of categories are functions of the codes 0, 1, ... of
        `categories_`, and zero for any other number.

    Returns
    -------
    sympy.Expr or list of sympy.Expr
        A list if there are several outputs. Formulas have no value where a feature is
        missing: they do not hold the learnt one. Feature names that are no identifiers
        are changed; see `feature_symbols`. `sympy.lambdify` turns a constant output
        into a function that returns a number, whatever the shape of its arguments;
        `to_numpy_source` returns arrays.

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
    expressions = _predictions(model, round_to, piecewise)
    return expressions[0] if len(expressions) == 1 else expressions


def to_latex(model, *, round_to=None):
    r"""A fitted model as LaTeX equations.

    Parameters
    ----------
    model, round_to
        See `to_sympy`.

    Returns
    -------
    str or list of str
        One equation for each output. Features and targets keep their names, upright if
        they are longer than a letter and a number. Targets get a hat where one has the
        name of a feature.

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

    expressions = _predictions(model, round_to)
    levels = _names_of_nodes(model)
    features, targets = latex_names(levels[0], "x"), latex_names(levels[-1], "y")
    names = dict(zip(feature_symbols(model), features, strict=True))
    if not set(features).isdisjoint(targets):
        targets = [rf"\widehat{{{target}}}" for target in targets]
    equations = [
        f"{target} = {sympy.latex(expression, symbol_names=names)}"
        for target, expression in zip(targets, expressions, strict=True)
    ]
    return equations[0] if len(equations) == 1 else equations


def to_numpy_source(model, *, round_to=None):
    """A fitted model as the source of a Python module that needs numpy only.

    Parameters
    ----------
    model, round_to
        See `to_sympy`.

    Returns
    -------
    str
        Source that defines ``formula(x0, x1, ...)``. Its arguments are the columns of X
        as numbers or arrays, with the names of `feature_symbols`. Categories are codes
        0, 1, ... in the order of ``categories_``; none may be missing. The result has
        the shape to which the arguments broadcast, also where an output is constant. It
        is a tuple if there are several outputs.

    Raises
    ------
    ValueError
        If a `Primitive` of the formula is written with a function of sympy that numpy
        lacks, such as ``sympy.erf``.

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
    expressions, splines = _predictions(model, round_to), {}
    for expression in expressions:
        splines |= named_splines(expression)
    by_number = sorted(splines, key=lambda name: int(name.removeprefix("phi_")))
    ordered = [splines[name] for name in by_number]
    return module_source(expressions, feature_symbols(model), ordered)


def feature_symbols(model):
    """Symbols of the features of a fitted model, in their order.

    Names become Python identifiers in Unicode's normal form KC: underscores replace
    other characters, and numbers tell equal names apart.

    Returns
    -------
    list of sympy.Symbol
    """
    import sympy

    identifiers = distinct_identifiers(_names_of_nodes(model)[0])
    return [sympy.Symbol(name) for name in identifiers]


def named_splines(expression):
    """Curves that are named functions in an expression of `to_sympy`.

    Parameters
    ----------
    expression : sympy.Expr
        Or a derivative of one.

    Returns
    -------
    dict of str to SplineCurve, CategoryCurve or CurveDerivative
        Each has its knots and coefficients, or its categories and values, or the curve
        that it is a derivative of and its order.
    """
    from sympy.core.function import AppliedUndef

    curves = {}
    for call in expression.atoms(AppliedUndef):
        curve = getattr(call.func, "_imp_", None)
        if isinstance(curve, NamedCurve):
            curves[call.func.__name__] = curve
    return curves


def _predictions(model, round_to, piecewise=False):
    """List of the expressions of all outputs, under the inverse link of the loss."""
    import sympy

    if not (round_to is None or is_count(round_to)):
        raise ValueError(
            "round_to must be a number of significant digits of at least 1 or None, "
            f"got {round_to!r}: pass an integer such as 3."
        )
    formula = _formula_of(model)
    expressions = expressions_of(formula, feature_symbols(model), piecewise)
    if fitted_model_of(getattr(model, "estimator_", model)).target.has_log_link:
        expressions = [sympy.exp(expression) for expression in expressions]
    if round_to is None:
        return expressions
    domain = getattr(model, "domain_", None)
    if domain is None:
        return [_rounded(expression, int(round_to)) for expression in expressions]
    symbols = feature_symbols(model)
    return [_rounded_within(e, int(round_to), symbols, domain) for e in expressions]


def _names_of_nodes(model):
    """Names of the nodes of a model's network, level by level."""
    check_is_fitted(model)
    return node_names(getattr(model, "estimator_", model))


def _formula_of(model):
    check_is_fitted(model)
    if hasattr(model, "formula_"):
        return model.formula_
    terms = []
    for number, edge in enumerate(edge_functions(model)):
        curve = curve_of_edge(edge, f"phi_{number}")
        if not edge.removed:
            primitive = spline_primitive(curve, of_input=edge.source[0] == 0)
            terms.append(Term(edge.source, edge.target, primitive))
    widths = tuple(map(len, node_names(model)))
    products = node_products(model)
    return Formula(widths, tuple(terms), intercepts(model), products=products)


def expressions_of(formula, symbols, piecewise=False):
    """One expression for each output."""
    import sympy

    nodes = [
        [sympy.Integer(0)] * width if level else [*symbols]
        for level, width in enumerate(formula.widths)
    ]
    nodes[-1] = [_number_of(value) for value in formula.intercepts]
    for term in formula.steps:
        if not isinstance(term, Term):
            (level, position), factors = term
            values = [nodes[level][column] for _, column in factors]
            nodes[level][position] = sympy.Mul(*values)
            continue
        x = nodes[term.source[0]][term.source[1]]
        z = _number_of(term.a) * x + _number_of(term.b)
        curve = term.primitive.function
        if piecewise and isinstance(curve, NamedCurve):
            value = curve.piecewise(z)
        else:
            value = term.primitive.expression(z)
        nodes[term.target[0]][term.target[1]] += _number_of(term.c) * value
    return [shortest_form(_with_simple_numbers(each)) for each in nodes[-1]]


def _with_simple_numbers(expression):
    """Expression whose products of constants are simple where they nearly are."""
    import sympy

    simple = {}
    for number in expression.atoms(sympy.Float):
        value = float(number)
        near = near_constants(value) if math.isfinite(value) else []
        for constant in near:
            if abs(constant - value) <= NEARLY * abs(value):
                simple[number] = _number_of(constant)
    return expression.xreplace(simple)


def _number_of(value):
    """Integers, simple fractions and multiples of pi as such, other numbers exactly."""
    import sympy

    form = simple_form(float(value))
    if form is None:
        return exact_number(float(value))
    numerator, denominator, unit = form
    number = sympy.Rational(numerator, denominator)
    return number if unit == 1 else number * sympy.pi


def _rounded_within(expression, digits, symbols, domain):
    """Expression with at least so many digits that its values hardly change.

    The root of their mean squared change is at most 10^(1 - digits) of their standard
    deviation at random points of the ranges of the training rows.
    """
    import sympy

    low, high = domain
    points = np.random.default_rng(0).uniform(low, high, (N_POINTS, len(low)))

    def values(expression):
        function = sympy.lambdify(symbols, expression, ["numpy", "scipy"])
        with np.errstate(all="ignore"):
            return np.broadcast_to(function(*points.T), N_POINTS)

    exact = values(expression)
    if not (expression.free_symbols and np.isfinite(exact).all()):
        return _rounded(expression, digits)
    allowed = 10.0 ** (1 - digits) * exact.std()
    for more in range(digits, FLOAT_DIGITS):
        rounded = _rounded(expression, more)
        change = np.sqrt(np.mean((values(rounded) - exact) ** 2))
        if change <= allowed:
            return rounded
    return expression


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
