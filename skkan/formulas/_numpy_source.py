"""Python source that evaluates expressions and splines with numpy alone.

sympy's printer for numpy writes the expressions. It is corrected where it writes other
code than numpy's, or code that does not work element by element. A function that it
cannot write is an error.
"""

# ruff: noqa: N802 - printers of sympy find their methods by names of classes

import ast

import numpy as np

from skkan.formulas._spline_curves import CategoryCurve

# Syntax of element-by-element arithmetic and of calls of numpy.
PLAIN = (ast.Expression, ast.Constant, ast.Name, ast.Attribute, ast.Call, ast.keyword)
PLAIN += (ast.BinOp, ast.UnaryOp, ast.operator, ast.USub, ast.UAdd, ast.Load)
PLAIN += (ast.List, ast.Tuple)


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
            return self._nested("maximum", expr.args)

        def _print_Min(self, expr):
            return self._nested("minimum", expr.args)

        def _print_And(self, expr):
            return self._nested("logical_and", expr.args)

        def _print_Or(self, expr):
            return self._nested("logical_or", expr.args)

        def _nested(self, name, arguments):
            first, *rest = arguments
            source = self._print(first)
            for argument in rest:
                source = f"numpy.{name}({source}, {self._print(argument)})"
            return source

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


def module_source(expressions, arguments, splines, *, several):
    """Source of a module with a function ``formula`` of all arguments.

    Parameters
    ----------
    expressions : list of sympy.Expr
    arguments : list of sympy.Symbol
    splines : list of SplineCurve or CategoryCurve
    several : bool
        Whether it returns a tuple.
    """
    names = [curve.name for curve in splines]
    written = [expression_source(expression, names) for expression in expressions]
    # The value of an expression without some arguments may lack their shape.
    parts = [set(arguments) <= expression.free_symbols for expression in expressions]
    written = [
        source if is_whole else f"{source} + zeros"
        for source, is_whole in zip(written, parts, strict=True)
    ]
    columns = ", ".join(symbol.name for symbol in arguments)
    lines = [f"def formula({columns}):"]
    if not all(parts):
        shapes = ", ".join(f"numpy.shape({symbol.name})" for symbol in arguments)
        lines.append(f"    zeros = numpy.zeros(numpy.broadcast_shapes({shapes}))")
    value = f"({', '.join(written)})" if several else written[0]
    lines.append(f"    return {value}\n")
    return "\n\n".join(
        ["import numpy\n", *map(_curve_source, splines), "\n".join(lines)]
    )


def _curve_source(curve):
    """Source of a function that evaluates a curve."""
    if isinstance(curve, CategoryCurve):
        return _category_source(curve)
    return _spline_source(curve)


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
