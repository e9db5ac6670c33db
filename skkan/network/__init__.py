"""Networks: layers of edges, what they compute and how they are changed.

Holds layers, networks, their Jacobian, and statistics of what passes through edges.
Does not hold losses, penalties or solvers.
"""
