"""Losses of the raw output of a network against a target.

Holds the losses of regression and of classes, with links, curvatures and noise. Does
not hold networks or penalties. To add one, subclass `Loss` or `NoisyLoss` in a file of
its own and name it in `_registry`.
"""
