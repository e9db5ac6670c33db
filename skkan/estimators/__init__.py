"""KANRegressor and KANClassifier: the shell between scikit-learn and the core.

Holds parameters, validation, callbacks and the attributes that a fit stores.
Does not hold mathematics: a line that computes belongs to another room.
"""
