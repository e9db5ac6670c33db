"""Training of a network whose structure is given.

Holds the plan, the state, the settings, first- and second-order training in stages, the
monitor, the posterior mean and pruning. It does not choose a structure: see selection.
Subclass `Observer` (_monitor_and_early_stopping) to follow a fit.
"""
