"""What the data say of penalties, noise and uncertainty.

Holds priors of edges, the log marginal likelihood and the Laplace posterior of a
linearised network. Does not take steps: it reads an objective where training stands.
"""
