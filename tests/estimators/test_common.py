"""scikit-learn's own checks, with the defaults and with each other factor.

Nothing is exempt: there is no expected failure, and a check that skips itself fails.
"""

from unittest import SkipTest

import numpy as np
import pytest
from sklearn.datasets import make_regression
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skkan import KANClassifier, KANRegressor, SparsityPenalty
from skkan.solvers import Adam
from skkan.symbolic import LIBRARY, SymbolicKANClassifier, SymbolicKANRegressor

# Enough for the accuracy that the checks ask for, in a fraction of a fit's time. The
# search for a structure is that of the defaults.
BUDGET = {
    "hidden_layer_sizes": (3,),
    "max_iter": 12,
    "n_grid_updates": 1,
    "solver": "lbfgs",
}

# A step of it takes as the square of the number of weights. With fewer iterations there
# would be no choice among starts.
SECOND_ORDER = {"solver": "lm", "grid_size": 3, "max_iter": 8}

# Factors stand together where one has no part in what the other does.
FACTORS = [
    {
        **SECOND_ORDER,
        "hidden_layer_sizes": (2,),
        "n_multiplications": 1,
        "base_activation": "identity",
        "extrapolation": "linear",
        "spline_order": 2,
        "grid_eps": 0.0,
    },
    {
        "hidden_layer_sizes": "auto",
        "solver": Adam(learning_rate=0.05),
        "max_iter": 12,
        "spline_order": 1,
    },
    {
        "hidden_layer_sizes": (),
        "spline_order": 5,
        "penalty": SparsityPenalty(lamb=1e-3),
    },
    {
        "hidden_layer_sizes": (2, 1),
        "n_multiplications": (0, 1),
        "max_iter": 20,
        "additive_skip": True,
    },
    # This grid_eps is what "auto" is here: the base itself.
    {"grid_schedule": (8,), "max_iter": 5, "grid_eps": 1.0},
    {"early_stopping": True, "prune_threshold": 0.03, "hidden_layer_sizes": (2,)},
]
# Regressors have a loss, too.
LOSSES = [
    {},
    {},
    {"loss": "huber"},
    {},
    {"loss": "quantile", "quantile": 0.5},
    {"loss": "gamma"},
]

ESTIMATORS = [
    *(
        KANRegressor(**{**BUDGET, **factor, **loss})
        for factor, loss in zip(FACTORS, LOSSES, strict=True)
    ),
    *(KANClassifier(**{**BUDGET, **factor}) for factor in FACTORS),
    KANRegressor(loss="poisson", alpha=0.01, **{**BUDGET, **SECOND_ORDER}),
]

# The checks set the random_state of an estimator, not that of one inside. Edges that
# fit noise are pruned, as the search for round constants takes longest for these.
INNER = {
    **BUDGET,
    "hidden_layer_sizes": (),
    "max_iter": 16,
    "grid_size": 3,
    "prune_threshold": 0.1,
    "random_state": 0,
}
SEARCH = {
    "primitives": [function for function in LIBRARY if function.name in ("x", "x^2")],
    "n_candidates": 1,
    "max_refits": 1,
}
FORMULAS = [
    SymbolicKANRegressor(KANRegressor(**INNER), **SEARCH),
    SymbolicKANClassifier(KANClassifier(**INNER), **SEARCH),
]


# The small budgets end fits early, which is what the warning is for.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks([KANRegressor(), KANClassifier(), *ESTIMATORS, *FORMULAS])
def test_passes_the_checks_of_scikit_learn(estimator, check, monkeypatch):
    positive = estimator.__sklearn_tags__().target_tags.positive_only
    if positive and check.func.__name__ == "check_regressor_multioutput":
        # The only check that does not heed this tag.
        monkeypatch.setattr(estimator_checks, "make_regression", positive_targets)
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.fail(f"the check skipped itself: {reason}")


def positive_targets(**settings):
    X, y = make_regression(**settings)
    return X, np.exp(y / y.std())
