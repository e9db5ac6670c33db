"""The schedule of a fit: start, then [solve, update the grids] for each grid size.

Here the two columns meet: the model (basis, layers, network) and its optimisation
(losses, penalties, objective, solvers).
"""

import math
from dataclasses import dataclass, field, replace

import torch

from skkan.inference._prior import Prior
from skkan.network._edits import with_means_at_missing, with_updated_hidden_grids
from skkan.objective._objective import make_objective
from skkan.solvers import DivergenceError
from skkan.training._continuation import ContinuationStage, continuation_stages
from skkan.training._monitor import Monitor
from skkan.training._second_order import (
    FitState,
    at_mode,
    finished,
    settled,
    starting_candidates,
)

MOST_GROWING = 9  # iterations on each of the growing subsamples
MOST_LEARNING = 50_000  # rows on which training goes to its end; more of them refine
CLEAR_NOISE = 0.5  # of the variance of the target, below which starts can be compared
MOST_ADAPTATIONS = 10  # of the loss to the noise
MOST_SETTLING = 10  # iterations after a grid update, before it is judged


@dataclass
class TrainingResult:
    """The fitted network and how it came about."""

    network: torch.nn.Module
    monitor: Monitor
    converged: bool = True
    interrupted: bool = False
    message: str = ""
    stage_ends: list = field(default_factory=list)  # length of the curve at each end
    prior: Prior | None = None  # of the weights, after second-order training
    objective: object = None  # of all rows, as second-order training left it
    starts: list = field(default_factory=list)  # candidates of second-order training
    held_out_noise: torch.Tensor | None = None  # (n_outputs,), see `noise_of`
    loss: object = None  # as adapted to the noise
    posterior: object = None  # of the weights, at the end
    has_final_posterior: bool = False  # whether `posterior` has been looked for


def train(
    networks, data, plan, *, generator, monitor, prior=None, prior_is_final=False
):
    """Fit a network.

    Parameters
    ----------
    networks : sequence of KANNetwork
        Starting points, on grids no finer than the first of the plan. First-order
        solvers take the first one.
    data : TrainingData
    plan : TrainingPlan
    generator : torch.Generator
    monitor : Monitor
    prior : Prior, default=None
        Of the weights, where a fitted network is the starting point.
    prior_is_final : bool, default=False
        Whether only the weights are left to be trained.

    Returns
    -------
    TrainingResult

    Raises
    ------
    DivergenceError
        If the objective is not finite and the solver's backing off does not help.
    """
    result = TrainingResult(networks[0], monitor, prior=prior, loss=plan.loss)
    run_stage = _run_stage
    if plan.solver.second_order:
        run_stage = _run_second_order_stage
        result.starts = starting_candidates(networks, data, plan)
    if prior_is_final:
        run_stage = _run_final_stage
    try:
        for grid_size in plan.grid_sizes:
            if grid_size != result.network.grid_size:
                refined = result.network.refined(grid_size)
                result.network = with_means_at_missing(refined, data)
            monitor.begin_stage(result.network)
            run_stage(result, data, plan, generator)
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


def train_adapting(networks, data, plan, *, generator, monitor, prior=None):
    """Fit a network under a loss that may depend on the noise.

    The residuals of a training say what the noise is; the training then goes on under
    the loss of that noise. Arguments and result are those of `train`.
    """
    result = train(
        networks, data, plan, generator=generator, monitor=monitor, prior=prior
    )
    first_stages, most_iter = result.stage_ends[:-1], plan.max_iter
    start = first_stages[-1] if first_stages else 0
    for _ in range(MOST_ADAPTATIONS):
        budget = most_iter - (len(monitor.loss_curve) - start)
        loss = adapted_loss(plan.loss, [result.network], data)
        if loss is plan.loss or budget <= 0 or result.interrupted:
            break
        plan = replace(
            plan, loss=loss, grid_sizes=(result.network.grid_size,), max_iter=budget
        )
        objective = make_objective(result.network, data, plan)
        monitor.forget_best()
        monitor.begin_search(objective)
        monitor(objective.start, objective.value(objective.start))
        result = train(
            [result.network],
            data,
            plan,
            generator=generator,
            monitor=monitor,
            prior=result.prior,
        )
        result.stage_ends = first_stages + result.stage_ends
    return result


@torch.no_grad()
def adapted_loss(loss, networks, data):
    """The loss for the noise around the mean of some networks."""
    if not loss.is_adaptive:
        return loss
    outputs = sum(data.map_rows(network) for network in networks)
    raw = data.baseline + outputs / len(networks)
    return loss.adapted(raw, data.target, data.sample_weight)


def trained_already(network, data, plan, monitor):
    """The result of a training whose course was not watched, such as an average.

    The curve holds its objective alone.
    """
    objective = make_objective(network, data, plan)
    monitor.begin_stage(network)
    monitor.begin_search(objective)
    monitor(objective.start, objective.value(objective.start))
    monitor.end_stage()
    ends = [len(monitor.loss_curve)]
    return TrainingResult(network, monitor, stage_ends=ends, loss=plan.loss)


def _run_second_order_stage(result, data, plan, generator):
    monitor, budget = result.monitor, plan.max_iter
    inputs = result.network.layers[0].basis
    if result.prior is None:
        candidate = from_starts(result.starts, result.network, data, plan)
        monitor.n_iter += candidate.n_iter
        budget -= candidate.n_iter
    else:  # it is trained already, if perhaps on few rows
        candidate = FitState(result.network, result.prior)
        if _is_large(data, plan):
            growing = [
                level
                for level in continuation_stages(result.network, data.n_rows)[:-1]
                if level.grid_size == inputs.grid_size
            ]
            candidate = _grown(candidate, growing, 0, inputs, data, plan)
            monitor.n_iter += candidate.n_iter
            budget -= candidate.n_iter
    candidate = candidate.on_grids(inputs.grid_size, inputs)
    result.network, result.prior = candidate.network, candidate.prior
    train_on = _followed_up if _is_large(data, plan) else finished
    candidate = train_on(candidate, data, plan, budget, monitor)
    result.network, result.prior = candidate.network, candidate.prior
    result.objective = candidate.objective
    result.converged, result.message = candidate.converged, candidate.message


def from_starts(starts, network, data, plan):
    """The best of several starts, trained on grids and rows that grow.

    What is left to do is to train it on the last grids and all rows.

    Parameters
    ----------
    starts : list of Candidate
    network : KANNetwork
        Like them, on the last grids.
    data : TrainingData
    plan : TrainingPlan

    Returns
    -------
    Candidate
        With the number of all iterations, those of the other starts included.
    """
    inputs = network.layers[0].basis
    chain = continuation_stages(network, data.n_rows)
    candidate, n_iter, growing = _first_candidate(
        starts, inputs, chain, data, plan, plan.max_iter // 2
    )
    return _grown(candidate, growing, n_iter, inputs, data, plan)


def _grown(candidate, growing, n_iter, inputs, data, plan):
    """A candidate trained on grids and rows that grow, after some iterations.

    Where there are many rows, training goes to its end on some of them.
    """
    if _is_large(data, plan):
        growing = _with_end(growing, inputs.grid_size)
    for level in growing:
        budget = plan.max_iter - n_iter
        if budget <= 1:
            break
        some, n_steps = data.subsample(level.n_rows), min(MOST_GROWING, 3 * budget // 4)
        if level.n_rows == MOST_LEARNING:
            n_steps = 3 * budget // 4
        train_on = _followed_up if _is_large(some, plan) else finished
        candidate = train_on(
            candidate.on_grids(level.grid_size, inputs), some, plan, n_steps
        )
        n_iter += candidate.n_iter
    return replace(candidate, n_iter=n_iter)


def _followed_up(candidate, data, plan, max_iter, monitor=None):
    """A candidate that is trained to its end, after a few steps on more rows."""
    max_iter = min(max_iter, MOST_GROWING)
    outcome = finished(candidate, data, plan, max_iter, monitor)
    return replace(outcome, converged=candidate.converged)


def _with_end(growing, grid_size):
    """Levels, and one among them on which training goes to its end."""
    before = [level for level in growing if level.n_rows < MOST_LEARNING]
    after = [level for level in growing if level.n_rows > MOST_LEARNING]
    return [*before, ContinuationStage(grid_size, MOST_LEARNING), *after]


def _is_large(data, plan):
    """Whether there are more rows than it takes to learn the penalties."""
    return plan.learns_alpha and data.n_rows > MOST_LEARNING


def _run_final_stage(result, data, plan, generator):
    candidate = FitState(result.network, result.prior)
    candidate = at_mode(candidate, data, plan, plan.max_iter, result.monitor)
    result.network, result.objective = candidate.network, candidate.objective


def _first_candidate(starts, inputs, chain, data, plan, budget):
    """The best start, on the first grids if they explain most of the target.

    They show too little to choose by otherwise, and the last grids begin anew. What
    classes have in place of noise does not tell; they begin there.

    Returns
    -------
    candidate : Candidate
    n_iter : int
        Iterations that it took.
    growing : list of Level
        Levels between that and the last one.
    """
    n_iter = 0
    last = [level.grid_size for level in chain].index(inputs.grid_size)
    for index in sorted({0, last}) if plan.loss.has_noise else [last]:
        level = chain[index]
        candidate, spent = _best_start(
            [start.on_grids(level.grid_size, inputs) for start in starts],
            data.subsample(level.n_rows),
            plan,
            budget - n_iter,
        )
        n_iter += spent
        if candidate.prior.noise < CLEAR_NOISE or 2 * n_iter > budget:
            break
    return candidate, n_iter, chain[index + 1 : -1]


def _best_start(candidates, data, plan, budget):
    """The candidate that promises most, and the iterations it took to find out."""
    budget = budget // len(candidates)
    tried, n_iter, rival = [], 0, -math.inf
    for candidate in candidates if budget > 1 else []:
        start = settled(candidate, data, plan, budget // 2)
        end = start
        if len(candidates) > 1:
            rest = budget - start.n_iter
            end = finished(start, data, plan, rest, rival=rival)
            rival = max(rival, end.score)
            n_iter += end.n_iter
        n_iter += start.n_iter
        tried.append(end)
    if not tried:
        return candidates[0], 0
    return max(tried, key=lambda candidate: candidate.score), n_iter


def _run_stage(result, data, plan, generator):
    monitor, budget = result.monitor, plan.max_iter
    legs, settling = _leg_lengths(plan, result.network)
    while budget > 0:
        objective = make_objective(result.network, data, plan)
        monitor.begin_search(objective)
        allowed = min(legs.pop(0), budget) if legs else budget
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
        result.network = objective.network_at(outcome.theta)
        result.converged, result.message = outcome.converged, outcome.message
        has_ended = outcome.converged or outcome.n_iter < allowed
        if monitor.stage_ended or budget <= 0 or (has_ended and not legs):
            return
        updated, n_iter = _try_better_grids(
            objective, outcome.theta, data, plan, generator, min(settling, budget)
        )
        monitor.n_iter += n_iter
        budget -= n_iter
        if updated is not None:
            result.network = updated
        elif has_ended:
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
    updated = with_updated_hidden_grids(
        objective.network_at(theta), data, plan.grid_eps
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
