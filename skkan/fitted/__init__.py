"""The fitted model, and predictions from it.

Holds what predictions, inspection, formulas and exports read. Does not train.
"""
