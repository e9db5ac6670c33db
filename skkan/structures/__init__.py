"""The structure of a law, before any of its functions is named.

Holds sums and products of curves of single features, their fits by least squares, and
the search for the smallest ones that explain a target, behind an outer function. Does
not name the curves, see `skkan.symbolic`. A new outer function is a `Link`.
"""
