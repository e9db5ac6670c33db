"""The function that a solver minimises, of one vector of weights.

Holds the mean loss of rows, its gradient without autograd, its Gauss-Newton matrix, and
their sum with the penalties. Does not hold solvers or priors.
"""
