"""Training in stages, one for each grid size, under a loss that may adapt to the noise.

Here the model (basis, layers, network) meets its optimisation (losses, penalties,
objective, solvers).
"""

from dataclasses import replace

import torch

from skkan.network._edits import with_means_at_missing
from skkan.objective._objective import make_objective
from skkan.training import _settings
from skkan.training._continuation import before_last_stage, train_stage
from skkan.training._first_order import train_first_order
from skkan.training._second_order import at_mode
from skkan.training._state import FitState


def train(
    networks, data, plan, generator, monitor, prior=None, *, prior_is_final=False
):
    """Fit a network.

    Parameters
    ----------
    networks : sequence of KANNetwork
        Starting points, on grids no finer than the first of the plan. First-order
        solvers take the first one.
    data : Dataset
    plan : FitPlan
    generator : torch.Generator
    monitor : Monitor
    prior : Prior, default=None
        Of the weights, where a fitted network is the starting point.
    prior_is_final : bool, default=False
        Whether only the weights are left to be trained.

    Returns
    -------
    FitState

    Raises
    ------
    DivergenceError
        If the objective is not finite and the solver's backing off does not help.
    """
    state = FitState(networks[0], prior, converged=True)
    stage_ends, n_before = [], monitor.n_iter
    try:
        for grid_size in plan.grid_sizes:
            network = state.network
            if grid_size != network.grid_size:
                network = with_means_at_missing(network.refined(grid_size), data)
                state = replace(state, network=network)
            monitor.begin_stage(grid_size)
            if not plan.solver.second_order:
                state = train_first_order(state, data, plan, monitor, generator)
            elif prior_is_final:
                state = at_mode(state, data, plan, plan.max_iter, monitor)
            else:
                state = FitState(network, state.prior)
                state = before_last_stage(state, networks, data, plan)
                monitor.n_iter += state.n_iter
                budget = plan.max_iter - state.n_iter
                state = train_stage(state, data, plan, budget, monitor)
            stage_ends.append(len(monitor.loss_curve))
            if monitor.end_stage():
                break
    except KeyboardInterrupt:
        if not monitor.loss_curve:  # there is nothing to keep yet
            raise
        state = FitState(monitor.network, state.prior, interrupted=True)
        stage_ends.append(len(monitor.loss_curve))
    if monitor.best_network is not None:
        state = replace(state, network=monitor.best_network)
    return replace(
        state,
        n_iter=monitor.n_iter - n_before,
        stage_ends=tuple(stage_ends),
        loss=plan.loss,
    )


def train_adapting(networks, data, plan, generator, monitor, prior=None):
    """Fit a network under a loss that may depend on the noise.

    The residuals of a training estimate the noise. Training then continues under the
    loss of that noise. Arguments and result are those of `train`.
    """
    n_before = monitor.n_iter
    state = train(networks, data, plan, generator, monitor, prior)
    *first_ends, _ = state.stage_ends
    start, max_iter = first_ends[-1] if first_ends else 0, plan.max_iter
    for _ in range(_settings.SCHEDULE.max_loss_updates):
        loss = adapted_loss(plan.loss, [state.network], data)
        if loss is plan.loss or state.interrupted:
            break
        budget = max_iter - (len(monitor.loss_curve) - start)
        if budget <= 0:
            state = replace(state, converged=False, message="budget spent")
            break
        plan = replace(
            plan, loss=loss, grid_sizes=(state.network.grid_size,), max_iter=budget
        )
        monitor.forget_best()
        monitor.record_start(make_objective(state.network, data, plan))
        state = train([state.network], data, plan, generator, monitor, state.prior)
    last_ends = state.stage_ends[-1:]
    n_iter = monitor.n_iter - n_before
    return replace(state, n_iter=n_iter, stage_ends=(*first_ends, *last_ends))


@torch.no_grad()
def adapted_loss(loss, networks, data):
    """The loss for the noise around the mean of some networks."""
    if not loss.is_adaptive:
        return loss
    outputs = sum(data.map_rows(network) for network in networks)
    raw = data.baseline + outputs / len(networks)
    return loss.adapted(raw, data.target, data.sample_weight)


def trained_already(state, data, plan, monitor):
    """The state of a network whose training was not monitored, such as an ensemble.

    The loss curve holds its objective alone.
    """
    monitor.begin_stage(state.network.grid_size)
    monitor.record_start(make_objective(state.network, data, plan))
    monitor.end_stage()
    return replace(state, stage_ends=(len(monitor.loss_curve),), loss=plan.loss)
