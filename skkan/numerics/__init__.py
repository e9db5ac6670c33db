"""Arithmetic that knows nothing of networks or tables.

Holds threads, sums over blocks of rows, matrix products and Cholesky factors. Does not
hold anything with a meaning in statistics. There is no abstract class to subclass.
"""
