"""From a problem to a trained network: fixed structure, search, comparison, warm start.

Holds what a training starts from, the strategies, and the rule that takes one of them,
with random starts and finer grids of a fixed structure. Does not hold what is chosen by
data or rules. A new one is a subclass of `FitStrategy`.
"""
