"""What a fitted estimator has learnt: its curves and how much each matters."""

from skkan._edges import EdgeFunction, edge_functions, intercepts, node_names

__all__ = ["EdgeFunction", "edge_functions", "intercepts", "node_names"]
