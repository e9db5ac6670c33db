"""Networks: layers of edges, what they compute and how they are changed.

Holds layers, networks, their Jacobian, attribution scores and statistics of edges.
`_edits`, `_edge_removal` and `_weighted_average` make new networks from others. Does
not hold losses, penalties or solvers. There is no abstract class to subclass.
"""
