"""What a fitted model says of features: effects, interactions, single predictions.

Holds effects and Shapley values, for any structure of the network. All is said of the
raw output in the user's units, against rows of a background, some of whose columns are
set. Does not hold displays. `skkan.inspection` makes the names public.
"""
