"""The schedule of a fit: start, then [solve, update the grids] for each grid size.

Here the two columns meet: the model (basis, layers, network) and its optimisation
(losses, penalties, objective, solvers).
"""

import math
from dataclasses import dataclass, field

import torch

from skkan._losses import Loss
from skkan._monitor import Monitor
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


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Rows to fit, in scaled units, with the raw output to start from."""

    X: torch.Tensor  # (n_samples, n_features)
    target: torch.Tensor  # (n_samples, n_outputs)
    sample_weight: torch.Tensor  # (n_samples,)
    baseline: torch.Tensor  # (n_outputs,)


@dataclass
class TrainingResult:
    """The fitted network and how it came about."""

    network: torch.nn.Module
    monitor: Monitor
    converged: bool = True
    interrupted: bool = False
    message: str = ""
    stage_ends: list = field(default_factory=list)  # iterations done after each stage


def train(network, data, plan, *, generator, monitor):
    """Fit a network.

    Parameters
    ----------
    network : KANNetwork
        Starting point, on a grid no finer than the first of the plan.
    data : TrainingData
    plan : TrainingPlan
    generator : torch.Generator
    monitor : Monitor

    Returns
    -------
    TrainingResult

    Raises
    ------
    DivergenceError
        If the objective is not finite and the solver's backing off does not help.
    """
    result = TrainingResult(network, monitor)
    try:
        for grid_size in plan.grid_sizes:
            if grid_size != result.network.grid_size:
                result.network = result.network.refined(grid_size)
            monitor.begin_stage(result.network)
            _run_stage(result, data, plan, generator)
            result.stage_ends.append(len(monitor.loss_curve))
            if monitor.end_stage():
                break
    except KeyboardInterrupt:
        if not monitor.loss_curve:  # nothing to keep
            raise
        result.network, result.interrupted = monitor.network, True
        result.stage_ends.append(len(monitor.loss_curve))
    if monitor.best_network is not None:
        result.network = monitor.best_network
    return result


def _run_stage(result, data, plan, generator):
    monitor, budget = result.monitor, plan.max_iter
    legs = _leg_lengths(plan, result.network)
    while budget > 0:
        objective = make_objective(result.network, data, plan)
        monitor.begin_search(objective)
        outcome = plan.solver.minimize(
            objective,
            objective.start,
            max_iter=min(legs.pop(0), budget) if legs else budget,
            monitor=monitor,
            generator=generator,
        )
        budget -= outcome.n_iter
        result.network = objective.network_at(outcome.theta)
        result.converged, result.message = outcome.converged, outcome.message
        if monitor.stage_ended or budget <= 0:
            return
        updated = _with_better_grids(objective, outcome.theta, data, plan)
        if outcome.converged and (updated is None or not legs):
            return
        result.network = updated or result.network


def _leg_lengths(plan, network):
    """Iterations before each grid update; what is left of the budget follows."""
    if len(network.layers) == 1:  # the inputs never move
        return []
    n_updates = min(plan.n_grid_updates, plan.max_iter // 2)
    return [plan.max_iter // 2 // n_updates] * n_updates if n_updates else []


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


def _with_better_grids(objective, theta, data, plan):
    """Network on grids that follow the hidden activations; None if that is worse."""
    network = objective.network_at(theta)
    updated = network.with_grids_from_samples(
        data.X,
        grid_eps=plan.grid_eps,
        sample_weight=data.sample_weight,
        hidden_only=True,
    )
    after = make_objective(updated, data, plan)
    value = after.value(after.start)
    if not math.isfinite(value) or value > objective.value(theta):
        return None
    return updated
