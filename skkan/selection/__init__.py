"""What is chosen by the data or by a rule: solver, structure, penalty.

Holds the rule behind solver="auto", the search between additive and hidden structures,
and ensembles as one network. Does not know scikit-learn or the user's units.
"""
