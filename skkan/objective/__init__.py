"""The function that a solver minimises, of one vector of weights.

Holds the mean loss of rows, its gradient without autograd, its Gauss-Newton matrix,
their sum with the penalties, and coordinates in which it is nearly round. Does not hold
solvers or priors.
"""
