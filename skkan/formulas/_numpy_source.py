"""Python source that evaluates expressions and splines with numpy alone.

sympy's printer for numpy writes the expressions. It is corrected where it writes other
code than numpy's, or code that does not work element by element. A function that it
cannot write is an error.
"""

# ruff: noqa: N802, N815 - printers of sympy find their methods by names of classes

import ast
from functools import reduce

import numpy as np

from skkan.formulas._spline_curves import CategoryCurve

# Syntax of element-by-element arithmetic and of calls of numpy.
PLAIN = (ast.Expression, ast.Constant, ast.Name, ast.Attribute, ast.Call, ast.keyword)
PLAIN += (ast.BinOp, ast.UnaryOp, ast.operator, ast.USub, ast.UAdd, ast.Load)
PLAIN += (ast.List, ast.Tuple)
# Functions of two arguments that take the place of sympy's, which take any number.
OF_TWO = {"Max": "maximum", "Min": "minimum", "And": "logical_and", "Or": "logical_or"}


def expression_source(expression, splines):
    """Source of a sympy expression, in which splines are functions by their names.

    Raises
    ------
    ValueError
        If it holds a function that numpy lacks.
    """
    from sympy import postorder_traversal

    printer = _printer(splines)
    source = _plain_source(printer, expression, splines)
    if source is not None:
        return source
    lacking = next(
        part
        for part in postorder_traversal(expression)
        if _plain_source(printer, part, splines) is None
    )
    raise ValueError(
        f"The formula must consist of functions of numpy, which lacks "
        f"{lacking.func.__name__!r}, got {lacking}: evaluate to_sympy(model) by "
        "sympy.lambdify with modules that have it, such as 'scipy', or use the "
        "predictions of the model."
    )


def _printer(splines):
    from sympy.printing.numpy import NumPyPrinter

    class Printer(NumPyPrinter):
        """Floats to the last bit, and functions of numpy for those of Python."""

        def _print_Float(self, expr):
            return repr(float(expr))

        def _print_Abs(self, expr):
            return f"numpy.abs({self._print(expr.args[0])})"

        def _print_Max(self, expr):
            function = f"numpy.{OF_TWO[type(expr).__name__]}"
            arguments = map(self._print, expr.args)
            return reduce(lambda left, right: f"{function}({left}, {right})", arguments)

        _print_Min = _print_And = _print_Or = _print_Max

    return Printer({"user_functions": {name: name for name in splines}})


def _plain_source(printer, expression, splines):
    """Source made of symbols, numbers, numpy and splines; None if it needs others."""
    try:
        source = printer.doprint(expression)
        nodes = list(ast.walk(ast.parse(source, mode="eval")))
    except (NotImplementedError, KeyError, SyntaxError):
        return None  # no printer has met this function
    known = {symbol.name for symbol in expression.free_symbols} | {"numpy", *splines}
    return source if all(_is_plain(node, known) for node in nodes) else None


def _is_plain(node, known):
    if isinstance(node, ast.Name):
        return node.id in known
    if isinstance(node, ast.Attribute):
        is_of_numpy = isinstance(node.value, ast.Name) and node.value.id == "numpy"
        return is_of_numpy and hasattr(np, node.attr)
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float)
    return isinstance(node, PLAIN)


def module_source(expressions, arguments, splines):
    """Source of a module with a function ``formula`` of all arguments.

    It returns a tuple if there are several expressions.

    Parameters
    ----------
    expressions : list of sympy.Expr
    arguments : list of sympy.Symbol
    splines : list of SplineCurve or CategoryCurve
    """
    names = [curve.name for curve in splines]
    # The value of an expression without some arguments may lack their shape.
    parts = [set(arguments) <= expression.free_symbols for expression in expressions]
    written = [
        expression_source(expression, names) + ("" if is_whole else " + zeros")
        for expression, is_whole in zip(expressions, parts, strict=True)
    ]
    columns = ", ".join(symbol.name for symbol in arguments)
    lines = [f"def formula({columns}):"]
    if not all(parts):
        shapes = ", ".join(f"numpy.shape({symbol.name})" for symbol in arguments)
        lines.append(f"    zeros = numpy.zeros(numpy.broadcast_shapes({shapes}))")
    value = f"({', '.join(written)})" if len(written) > 1 else written[0]
    lines.append(f"    return {value}\n")
    curves = [
        _category_source(curve)
        if isinstance(curve, CategoryCurve)
        else _spline_source(curve)
        for curve in splines
    ]
    return "\n\n".join(["import numpy\n", *curves, "\n".join(lines)])


def _category_source(curve):
    values = ", ".join(map(repr, curve.values.tolist()))
    names = "".join(
        f"    # {code}: {category!r}\n"
        for code, category in enumerate(curve.categories.tolist())
    )
    return (
        f"def {curve.name}(x):\n{names}"
        f"    values = numpy.array([{values}])\n"
        "    x = numpy.asarray(x, dtype=float)\n"
        "    known = numpy.isin(x, numpy.arange(len(values)))\n"
        "    index = numpy.where(known, x, 0).astype(int)\n"
        "    value = numpy.where(known, values[index], 0.0)\n"
        "    return numpy.where(numpy.isnan(x), numpy.nan, value)\n"
    )


def _spline_source(curve):
    """Source of a function that evaluates splines and a base function."""
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
    weight, share = curve.base_weight, "1.0"
    if curve.base_activation == "silu":
        share = "0.5 * (1 + numpy.tanh(z / 2))"
    lines += [
        f"    share = {share}",
        f"    value = value + {weight!r} * z * share",
        f"    slope = slope + {weight / curve.scale!r} * share * (1 + z * (1 - share))",
    ]
    beyond = " + slope * (x - inside)" if curve.linear else ""
    return "\n".join([*lines, f"    return value{beyond}\n"])
