"""Choices by the data or by a rule: solver, structure, penalty.

Holds the rule behind solver="auto", the search between additive and hidden structures
with its regularisation path, validation rows and record, their comparison under a given
solver, the penalty of an ensemble, and pairs of features that interact. Does not hold
the strategies that ask for them, nor know scikit-learn or the user's units.
"""
