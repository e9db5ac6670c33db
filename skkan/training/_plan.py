"""The plan of a training."""

from dataclasses import dataclass

from skkan.losses._base import Loss
from skkan.solvers import Solver


@dataclass(frozen=True)
class FitPlan:
    """How to fit: which objective, by which solver, on which grids."""

    loss: Loss
    penalties: tuple
    solver: Solver
    grid_sizes: tuple  # one stage each, not decreasing
    n_grid_updates: int  # of the hidden layers, in the first half of each stage
    grid_eps: float
    max_iter: int  # of each stage
    tol: float
    hidden_margin: float = 0.0  # beyond the values of hidden nodes, per range
    margin_of_laws: float = 0.0  # likewise, where hardly any error is left
    learns_alpha: bool = False  # the evidence sets the penalty weights
    penalty_from_validation: bool = False  # validation rows have set them
