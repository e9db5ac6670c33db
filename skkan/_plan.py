"""What a training is asked to do: the data, the plan, and the function to minimise."""

from dataclasses import dataclass

import torch

from skkan._losses import Loss
from skkan._objective import Objective
from skkan.solvers import Solver


@dataclass(frozen=True)
class TrainingPlan:
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
    row_counts: tuple = ()  # subsamples of a second-order solver, before all rows


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Rows to fit, in scaled units, with the raw output to start from."""

    X: torch.Tensor  # (n_samples, n_features)
    target: torch.Tensor  # (n_samples, n_outputs)
    sample_weight: torch.Tensor  # (n_samples,)
    baseline: torch.Tensor  # (n_outputs,)

    @property
    def n_observations(self):
        """Number of rows, where weights count as repetitions."""
        return float(self.sample_weight.sum())

    def thinned(self, n_rows):
        """About every k-th row, `n_rows` of them; all rows if there are no more."""
        if n_rows >= len(self.X):
            return self
        index = torch.arange(n_rows, device=self.X.device) * len(self.X) // n_rows
        return TrainingData(
            self.X[index], self.target[index], self.sample_weight[index], self.baseline
        )


def make_objective(network, data, plan):
    """What a solver minimises to fit a network to the data."""
    return Objective(
        network,
        plan.loss,
        plan.penalties,
        data.X,
        data.target,
        data.sample_weight,
        data.baseline,
    )
