"""Coarse grids and few rows first: the stages of second-order training.

The first stage also chooses among several starting points, some of which may be at
random. With very many rows the evidence is maximised on some of them, and a few steps
on all rows refine the weights.
"""

import math
from dataclasses import replace
from typing import NamedTuple

from skkan.network._edits import resized
from skkan.solvers import DivergenceError
from skkan.training import _settings
from skkan.training._second_order import burn_in, starting_states, train_second_order


class ContinuationStage(NamedTuple):
    """A part of a second-order training, with some of the rows."""

    grid_size: int
    n_rows: int


def continuation_stages(network, n_rows):
    """Stages from coarse grids and few rows to the grids of a network and all rows.

    The grids double at each stage, and the rows grow with the number of parameters. On
    the last grids the rows grow further. Coarse grids show the outline of a function at
    a fraction of the cost, and avoid many poor optima. Without hidden layers there is
    one optimum only, and no coarser grid.

    Parameters
    ----------
    network : KANNetwork
        On its last grids.
    n_rows : int
        Number of all rows.

    Returns
    -------
    list of ContinuationStage
    """
    settings = _settings.CONTINUATION
    free = int(network.weight_mask.sum())
    on_grids = sum(
        int((layer.mask * layer.basis.is_number).sum()) for layer in network.all_layers
    )

    def enough_rows(grid_size):
        n_parameters = free + on_grids * (grid_size - network.grid_size)
        return max(settings.min_rows, settings.rows_per_parameter * n_parameters)

    stages, grid_size = [], math.ceil(network.grid_size / 2)
    while grid_size >= settings.min_grid_size and len(network.layers) > 1:
        count = min(enough_rows(grid_size), n_rows)
        stages.insert(0, ContinuationStage(grid_size, count))
        grid_size = math.ceil(grid_size / 2)
    count = enough_rows(network.grid_size)
    while settings.min_row_growth * count <= n_rows:
        stages.append(ContinuationStage(network.grid_size, count))
        count *= settings.row_growth
    return [*stages, ContinuationStage(network.grid_size, n_rows)]


def on_grids(state, grid_size, last):
    """The state on other grids: those of the network `last` where sizes agree."""
    network, is_last = state.network, last.grid_size == grid_size
    if network.grid_size != grid_size:
        basis = last.layers[0].basis if is_last else None
        network = resized(network, grid_size, basis)
    max_precision = None if is_last else state.max_precision
    return replace(state, network=network, max_precision=max_precision)


def from_starts(networks, last, data, plan):
    """The best of several starts, trained on all stages but the last one.

    Parameters
    ----------
    networks : list of KANNetwork
        One for each starting prior.
    last : KANNetwork
        On the last grids.
    data : Dataset
    plan : FitPlan

    Returns
    -------
    FitState
        Its `n_iter` counts the iterations of all starts.
    """
    starts = starting_states(networks, data, plan)
    stages = continuation_stages(last, data.n_rows)
    state, remaining = _best_start(starts, last, stages, data, plan)
    return _through_stages(state, remaining, last, data, plan)


def trained_from_starts(networks, data, plan, max_iter):
    """The best of several starts, trained on all stages.

    Parameters
    ----------
    networks : list of KANNetwork
        One for each starting prior, on the last grids.
    data : Dataset
    plan : FitPlan
    max_iter : int

    Returns
    -------
    FitState
        Its `n_iter` counts the iterations of all starts.
    """
    last = networks[0]
    start = from_starts(networks, last, data, plan)
    if start.converged and len(continuation_stages(last, data.n_rows)) == 1:
        return start  # its only stage is the last one
    budget = max(1, max_iter - start.n_iter)
    state = train_second_order(start, data, plan, budget)
    return replace(state, n_iter=start.n_iter + state.n_iter)


def before_last_stage(state, networks, data, plan):
    """A state that only the last stage is left to train.

    Parameters
    ----------
    state : FitState
        Its network is on the last grids. With a prior it has been trained before, on
        other rows or coarser grids.
    networks : list of KANNetwork
        Starting points for a state without a prior.
    data : Dataset
    plan : FitPlan

    Returns
    -------
    FitState
    """
    last = state.network
    if state.prior is None:
        state = from_starts(networks, last, data, plan)
    elif _is_large(data, plan):
        stages = [
            stage
            for stage in continuation_stages(last, data.n_rows)[:-1]
            if stage.grid_size == last.grid_size
        ]
        state = _through_stages(state, stages, last, data, plan)
    return on_grids(state, last.grid_size, last)


def train_stage(state, data, plan, max_iter, monitor=None):
    """The state after one stage; where rows are many, after a few steps on them."""
    if not _is_large(data, plan):
        return train_second_order(state, data, plan, max_iter, monitor)
    max_iter = min(max_iter, _settings.CONTINUATION.max_iter_per_stage)
    refined = train_second_order(state, data, plan, max_iter, monitor)
    return replace(refined, converged=state.converged)


def _through_stages(state, stages, last, data, plan):
    """The state after some stages; its iterations are counted on.

    Where there are very many rows, the evidence is maximised on some of them.
    """
    settings, n_iter = _settings.CONTINUATION, state.n_iter
    if _is_large(data, plan):
        on_some = ContinuationStage(last.grid_size, settings.max_rows_for_evidence)
        stages = [stage for stage in stages if stage.n_rows != on_some.n_rows]
        stages = sorted([*stages, on_some], key=lambda stage: stage.n_rows)
    for stage in stages:
        budget = plan.max_iter - n_iter
        if budget <= 1:
            break
        max_iter = 3 * budget // 4
        if stage.n_rows != settings.max_rows_for_evidence:
            max_iter = min(settings.max_iter_per_stage, max_iter)
        state = on_grids(state, stage.grid_size, last)
        state = train_stage(state, data.subsample(stage.n_rows), plan, max_iter)
        n_iter += state.n_iter
    return replace(state, n_iter=n_iter)


def _is_large(data, plan):
    """Whether there are more rows than the evidence is maximised on."""
    max_rows = _settings.CONTINUATION.max_rows_for_evidence
    return plan.learns_alpha and data.n_rows > max_rows


def _best_start(starts, last, stages, data, plan):
    """The best start after its first stage, and the stages that remain.

    The first stage has the coarsest grids if they explain most of the target.
    Otherwise they show too little to compare starts, and training begins anew on the
    last grids. Classes have no noise by which to tell; they begin on the last grids.

    Returns
    -------
    state : FitState
    remaining : list of ContinuationStage
        Without the last one.
    """
    n_iter, budget = 0, plan.max_iter // 2
    on_last = [stage.grid_size for stage in stages].index(last.grid_size)
    for index in sorted({0, on_last}) if plan.loss.has_noise else [on_last]:
        grid_size, n_rows = stages[index]
        state = _best_of(
            [on_grids(start, grid_size, last) for start in starts],
            data.subsample(n_rows),
            plan,
            budget - n_iter,
        )
        n_iter += state.n_iter
        is_clear = state.prior.noise < _settings.CONTINUATION.clear_noise
        if is_clear or 2 * n_iter > budget:
            break
    return replace(state, n_iter=n_iter), stages[index + 1 : -1]


def _best_of(starts, data, plan, budget):
    """The start with the best score; its `n_iter` counts those of all starting priors.

    Where these leave noise, the most promising start of those with curves at random is
    trained, too. Its steps come on top of the budget, and are not counted.
    """
    settings = _settings.SECOND_ORDER
    n_priors = len(settings.starting_penalties)
    starts, drawn = starts[:n_priors], starts[n_priors:]
    budget = budget // len(starts)
    if budget <= 1:
        return replace(starts[0], n_iter=0)
    if len(starts) == 1:
        return burn_in(starts[0], data, plan, budget // 2)
    trained, best_score = [], -math.inf
    for start in starts:
        trained.append(_compared(start, data, plan, budget, best_score))
        best_score = max(best_score, trained[-1].score)
    n_iter = sum(state.n_iter for state in trained)
    best = max(trained, key=lambda state: state.score)
    if drawn and best.prior.noise > settings.low_noise:
        min_score = best_score + _settings.RANDOM_STARTS.min_gain
        try:
            start = _most_promising(drawn, data, plan)
            state = _compared(start, data, plan, budget, min_score)
            best = state if state.score > min_score else best
        except DivergenceError:
            pass  # the starts before it have not
    return replace(best, n_iter=n_iter)


def _compared(start, data, plan, budget, min_score):
    """A start after burn-in and training; see `train_second_order`."""
    state = burn_in(start, data, plan, budget // 2)
    rest = budget - state.n_iter
    trained = train_second_order(state, data, plan, rest, min_score=min_score)
    return replace(trained, n_iter=state.n_iter + trained.n_iter)


def _most_promising(starts, data, plan):
    """The start with the lowest objective after a few steps under its own prior.

    A third of the starts is kept, and trained on, until one is left.
    """
    settings = _settings.RANDOM_STARTS
    while len(starts) > 1:
        tried = [burn_in(start, data, plan, settings.n_steps) for start in starts]
        tried.sort(key=lambda state: state.score, reverse=True)
        starts = tried[: max(1, len(tried) // 3)]
    return starts[0]
