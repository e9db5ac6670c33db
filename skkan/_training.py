"""The schedule of a fit: start, then [solve, update the grids] for each grid size.

Here the two columns meet: the model (basis, layers, network) and its optimisation
(losses, penalties, objective, solvers).
"""

from dataclasses import dataclass, field

import torch

from skkan._losses import Loss
from skkan._monitor import Monitor
from skkan._objective import Objective
from skkan.solvers import DivergenceError, Solver

MOST_SETTLING = 10  # iterations after a grid update, before it is judged


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
    stage_ends: list = field(default_factory=list)  # length of the curve at each end


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
        if not monitor.loss_curve:  # there is nothing to keep yet
            raise
        result.network, result.interrupted = monitor.network, True
        result.stage_ends.append(len(monitor.loss_curve))
    if monitor.best_network is not None:
        result.network = monitor.best_network
    return result


def _run_stage(result, data, plan, generator):
    monitor, budget = result.monitor, plan.max_iter
    legs, settling = _leg_lengths(plan, result.network)
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
        if not monitor.loss_curve:  # the start cannot be improved
            monitor(outcome.theta, objective.value(outcome.theta))
        budget -= outcome.n_iter
        result.network = objective.network_at(outcome.theta)
        result.converged, result.message = outcome.converged, outcome.message
        if monitor.stage_ended or budget <= 0 or (outcome.converged and not legs):
            return
        updated, n_iter = _try_better_grids(
            objective, outcome.theta, data, plan, generator, min(settling, budget)
        )
        monitor.n_iter += n_iter
        budget -= n_iter
        if updated is not None:
            result.network = updated
        elif outcome.converged:
            return


def _leg_lengths(plan, network):
    """Iterations before and after each grid update.

    They fill the first half of the budget; what is left of it follows.
    """
    n_updates = min(plan.n_grid_updates, plan.max_iter // 2)
    if n_updates == 0 or len(network.layers) == 1:  # the inputs never move
        return [], 0
    share = plan.max_iter // 2 // n_updates
    settling = min(MOST_SETTLING, share // 2)
    return [share - settling] * n_updates, settling


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


def _try_better_grids(objective, theta, data, plan, generator, settling):
    """Let the grids of hidden layers follow their activations.

    A moved grid cannot hold the fitted curves exactly, so that the objective rises at
    first. A few iterations settle the new coefficients; if the objective is then not
    below what it was, grids and coefficients stay as they were.

    Returns
    -------
    network : KANNetwork or None
        None if the update is undone.
    n_iter : int
        Iterations spent.
    """
    updated = objective.network_at(theta).with_grids_from_samples(
        data.X,
        grid_eps=plan.grid_eps,
        sample_weight=data.sample_weight,
        hidden_only=True,
    )
    after = make_objective(updated, data, plan)
    try:
        outcome = plan.solver.minimize(
            after,
            after.start,
            max_iter=settling,
            monitor=lambda theta, value: False,
            generator=generator,
        )
    except DivergenceError:
        return None, 0
    if not after.value(outcome.theta) < objective.value(theta):
        return None, outcome.n_iter
    return after.network_at(outcome.theta), outcome.n_iter
