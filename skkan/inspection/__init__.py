"""Curves and importances of a fitted estimator, as callables, tables and displays.

Holds edge functions, node importances and displays of networks, their curves, grids and
losses, and the public names of `prune`, of explanations and of their displays. Does not
hold formulas. A new display reads `edge_functions` and draws in `plot`.
"""

from skkan.estimators._pruned_copy import prune
from skkan.explanation_displays._effect_display import EffectDisplay
from skkan.explanation_displays._importance_display import ImportanceDisplay
from skkan.explanation_displays._summary_display import SummaryDisplay
from skkan.explanation_displays._waterfall_display import WaterfallDisplay
from skkan.explanations._effects import Effect, Effects, effects
from skkan.explanations._input_gradient import gradient
from skkan.explanations._shapley import Explanation, explain
from skkan.inspection._edge_display import EdgeFunctionDisplay
from skkan.inspection._edge_functions import (
    EdgeFunction,
    edge_functions,
    intercepts,
    node_names,
)
from skkan.inspection._edge_table import edge_table, node_importances
from skkan.inspection._grid_display import GridDisplay
from skkan.inspection._loss_display import LossCurveDisplay
from skkan.inspection._network_display import KANDisplay

__all__ = [
    "EdgeFunction",
    "EdgeFunctionDisplay",
    "Effect",
    "EffectDisplay",
    "Effects",
    "Explanation",
    "GridDisplay",
    "ImportanceDisplay",
    "KANDisplay",
    "LossCurveDisplay",
    "SummaryDisplay",
    "WaterfallDisplay",
    "edge_functions",
    "edge_table",
    "effects",
    "explain",
    "gradient",
    "intercepts",
    "node_importances",
    "node_names",
    "prune",
]
