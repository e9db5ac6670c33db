"""Functions of one variable, of which edges are made.

Holds B-splines, base functions, categories and missing cells as bases, grids from
samples, and the evaluation of values and derivatives. Does not hold coefficients.
"""
