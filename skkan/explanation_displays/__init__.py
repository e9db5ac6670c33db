"""Displays of effects, of their shares of the variance and of Shapley values.

Reads `skkan.explanations` and draws with `skkan.drawing`. Holds neither diagrams nor
edges; the public names stand in `skkan.inspection`. A new display computes in
`from_estimator` and draws in `plot`.
"""
