"""Penalties on the weights and on the activity of edges.

Holds the quadratic penalty, its eigen-directions and the papers' sparsity terms. Does
not hold losses, or how a penalty is learnt. To add one, subclass `Penalty`.
"""
