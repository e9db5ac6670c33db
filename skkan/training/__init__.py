"""How one network is trained under a plan.

Holds the plan, the stages on grids and rows that grow, first- and second-order
training, the monitor, and pruning. Does not choose the structure of a network.
"""
