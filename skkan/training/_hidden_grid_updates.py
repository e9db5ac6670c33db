"""Updates of hidden grids, which follow the values of the hidden nodes.

First-order training updates them between its segments and undoes what does not help.
Second-order training standardises the nodes and fits their grids after some steps.
"""

import torch

from skkan.network._edits import with_standardised_nodes, with_updated_hidden_grids
from skkan.objective._objective import make_objective
from skkan.solvers import DivergenceError
from skkan.training import _settings


def segment_lengths(plan, network):
    """Iterations before and after each update of first-order training.

    They fill the first half of the budget; the second half follows without updates.

    Returns
    -------
    segments : list of int
    refit_iter : int
    """
    n_updates = min(plan.n_grid_updates, plan.max_iter // 2)
    if n_updates == 0 or len(network.layers) == 1:  # the inputs never move
        return [], 0
    n_iter = plan.max_iter // 2 // n_updates
    refit_iter = min(_settings.SCHEDULE.max_refit_iter, n_iter // 2)
    return [n_iter - refit_iter] * n_updates, refit_iter


def try_update(objective, theta, data, plan, generator, max_iter):
    """Update the hidden grids, and undo it if the objective does not fall.

    A moved grid cannot hold the fitted curves exactly, so that the objective rises at
    first. A few iterations refit the coefficients. If the objective is then not lower
    than before, grids and coefficients stay as they were. Grids end beyond their nodes
    by the margin of the plan. Without one the outermost row stands where a constant
    continuation begins, at a kink of the objective, from which line searches often find
    no step.

    Returns
    -------
    network : KANNetwork or None
        None if the update is undone.
    n_iter : int
    """
    network = objective.network_at(theta)
    updated = with_updated_hidden_grids(
        network, data, plan.grid_eps, plan.hidden_margin
    )
    after = make_objective(updated, data, plan)
    try:
        outcome = plan.solver.minimize(
            after,
            after.start,
            max_iter=max_iter,
            monitor=lambda theta, value: False,
            generator=generator,
        )
    except DivergenceError:
        return None, 0
    if not after.value(outcome.theta) < objective.value(theta):
        return None, outcome.n_iter
    return after.network_at(outcome.theta), outcome.n_iter


def standardised(network, data, plan):
    """A network whose hidden nodes and grids fit each other.

    Returns
    -------
    network : KANNetwork
    scales : list or None
        Factors of the hidden nodes; None if nothing had to move.
    """
    sample = data.sample(_settings.SECOND_ORDER.max_rows_per_grid_update)
    return with_standardised_nodes(
        network,
        sample.X,
        grid_eps=plan.grid_eps,
        margin=_margin(network, sample, plan),
        sample_weight=sample.sample_weight,
    )


@torch.no_grad()
def _margin(network, sample, plan):
    """How far grids reach beyond hidden nodes, as a share of their range."""
    if not plan.loss.is_normal:
        return plan.hidden_margin
    share = sample.sample_weight / sample.sample_weight.sum()
    error = sample.baseline + network(sample.X) - sample.target
    centred = sample.target - share @ sample.target
    left = (share @ error.square()) / (share @ centred.square())
    is_law = (left < _settings.SECOND_ORDER.error_of_laws).all()
    return plan.margin_of_laws if is_law else plan.hidden_margin
