"""The strategy that a fit would take, for tests of what it begins with."""

from skkan.estimators._problem_from_rows import make_fit_problem
from skkan.estimators._row_validation import validated_rows
from skkan.strategies._strategy_choice import choose_strategy


def strategy_of(model, X, y, *, previous=None):
    """Strategy of a fit of rows, which goes on from a FittedModel if there is one."""
    rows = validated_rows(model, X, y, None)
    target = model._make_target(rows[1], previous and previous.target)
    return choose_strategy(make_fit_problem(model, rows, target, previous))
