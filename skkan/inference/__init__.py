"""Priors and posteriors: penalties, noise and uncertainty by the data.

Holds priors of edges, the log marginal likelihood and the Laplace posterior of a
linearised network. Does not take steps: it reads an objective where training stands.
"""
