"""Priors and posteriors: penalties, noise and uncertainty by the data.

Holds priors of edges, the log marginal likelihood of a linearised network, its maximum
over priors, its change where edges are removed, and the Laplace posterior. Does not
take steps: it reads an objective where training stands.
"""
