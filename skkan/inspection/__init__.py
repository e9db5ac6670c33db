"""What a fitted estimator has learnt: its curves and how much each matters."""

from skkan._edges import EdgeFunction, edge_functions, intercepts, node_names
from skkan.inspection._prune import prune

__all__ = ["EdgeFunction", "edge_functions", "intercepts", "node_names", "prune"]
