"""First-order training of one grid size, and of batches of a stream, by L-BFGS or Adam.

Grid updates lie between the segments of a training.
"""

from dataclasses import replace

from skkan.objective._objective import make_objective
from skkan.training import _settings
from skkan.training._hidden_grid_updates import segment_lengths, try_update
from skkan.training._state import EndReason


def train_first_order(state, data, plan, monitor, generator):
    """Minimise the objective of the plan; hidden grids follow their nodes.

    Parameters
    ----------
    state : FitState
    data : Dataset
    plan : FitPlan
    monitor : Monitor
    generator : torch.Generator

    Returns
    -------
    FitState
    """
    network, budget = state.network, plan.max_iter
    segments, refit_iter = segment_lengths(plan, network)
    while True:
        objective = make_objective(network, data, plan)
        monitor.begin_search(objective)
        allowed = min(segments.pop(0), budget) if segments else budget
        outcome = plan.solver.minimize(
            objective,
            objective.start,
            max_iter=allowed,
            monitor=monitor,
            generator=generator,
        )
        if not monitor.loss_curve:  # the start cannot be improved
            monitor(outcome.theta, objective.value(outcome.theta))
        budget -= outcome.n_iter
        network = objective.network_at(outcome.theta)
        has_ended = outcome.converged or outcome.n_iter < allowed
        if monitor.stage_ended or budget <= 0 or (has_ended and not segments):
            break
        updated, n_iter = try_update(
            objective, outcome.theta, data, plan, generator, min(refit_iter, budget)
        )
        monitor.n_iter += n_iter
        budget -= n_iter
        if updated is not None:
            network = updated
        if budget <= 0 or (updated is None and has_ended):
            break
    converged, reason = outcome.converged, None
    has_ended = not monitor.stage_ended and (converged or outcome.is_stuck)
    if has_ended and not plan.solver.uses_batches:
        # The search has ended by itself. Its objective knows whether at a minimum.
        # Steps on mini-batches circle around one, where gradients are not small.
        promised = objective.promised_decrease(outcome.theta)
        converged = promised <= _settings.SCHEDULE.max_promised_decrease
        if not converged:
            reason = EndReason.STUCK if outcome.is_stuck else EndReason.STALLED
    return replace(
        state,
        network=network,
        converged=converged,
        message=outcome.message,
        reason=reason,
    )


def train_batch(network, data, plan, generator, solver_state):
    """One pass of a solver on mini-batches; of another one, steps while they matter.

    Parameters
    ----------
    network : KANNetwork
    data : Dataset
    plan : FitPlan
    generator : torch.Generator
    solver_state : dict or None
        Of the batch before. New ranges may have added weights since then, with which a
        solver starts afresh.

    Returns
    -------
    network : KANNetwork
    value : float
        The last objective that the solver has reported.
    solver_state : dict or None
    """
    objective, solver = make_objective(network, data, plan), plan.solver
    settings, values = _settings.STREAM, []
    if solver_state is not None and len(solver_state["mean"]) != len(objective.start):
        solver_state = None

    def is_over(theta, value):
        values.append(value)
        if len(values) <= settings.n_iter_no_change:
            return False
        before = values[-1 - settings.n_iter_no_change]
        return before - value <= plan.tol * abs(value)

    max_iter = 1 if solver.uses_batches else settings.max_iter
    outcome = solver.minimize(
        objective,
        objective.start,
        max_iter=max_iter,
        monitor=is_over,
        generator=generator,
        state=solver_state,
    )
    if not values:  # the start cannot be improved
        values.append(objective.value(outcome.theta))
    return objective.network_at(outcome.theta), values[-1], outcome.state
