"""Formulas: networks of functions that have names, and how they are written.

Holds the functions (`Primitive`), the curves that stay splines, the `Formula` that they
make, and its forms as sympy, LaTeX and numpy source. Does not fit anything. A new
function is a `Primitive`; a new form of writing reads a `Formula`.
"""
