"""Settings of quick formulas, and values of their expressions."""

import numpy as np
import sympy

from skkan.symbolic import LIBRARY, feature_symbols, to_sympy

BY_NAME = {primitive.name: primitive for primitive in LIBRARY}
QUICK = {"solver": "lbfgs", "max_iter": 15, "random_state": 0}
FEW = [BY_NAME[name] for name in ("0", "x", "x^2", "exp", "log")]


def evaluated(model, X, **options):
    """Values of the sympy expression of a model, one column for each output."""
    expressions = to_sympy(model, **options)
    if not isinstance(expressions, list):
        expressions = [expressions]
    columns = [
        np.broadcast_to(
            sympy.lambdify(feature_symbols(model), expression, "numpy")(*X.T), len(X)
        )
        for expression in expressions
    ]
    return np.column_stack(columns)
