"""What a training is asked to do."""

from dataclasses import dataclass

from skkan.losses._base import Loss
from skkan.solvers import Solver


@dataclass(frozen=True)
class FitPlan:
    """How to fit: what is minimised, by what, and on which grids."""

    loss: Loss
    penalties: tuple
    solver: Solver
    grid_sizes: tuple  # one stage each, not decreasing
    n_grid_updates: int  # of the hidden layers, in the first half of each stage
    grid_eps: float
    max_iter: int  # of each stage
    tol: float
    hidden_margin: float = 0.0  # of the grids of hidden layers, in shares of the range
    learns_alpha: bool = False  # by evidence, instead of the penalties
    judged: bool = False  # whether rows held out have set the penalties
