"""Pruning of a trained network: by what the output loses, or by the evidence."""

from dataclasses import replace

import numpy as np
import torch

from skkan.fitted._output_changes import OutputChanges
from skkan.objective._objective import make_objective
from skkan.training import _settings
from skkan.training._evidence_pruning import EvidencePruning, with_edges
from skkan.training._stages import train
from skkan.training._state import EndReason, FitState


def pruned(state, data, plan, threshold, generator, monitor):
    """A state without unneeded edges, trained further on what is left.

    Parameters
    ----------
    state : FitState
        Without stage ends it is that of an earlier fit, perhaps to other rows, and is
        trained in any case.
    data : Dataset
    plan : FitPlan
        Of that state.
    threshold : float or "auto"
        Share of the variance of the output. Edges are removed that it loses less by,
        each alone and all together. Training and removal are repeated until there is no
        such edge. "auto" removes edges as long as the evidence allows.
    generator : torch.Generator
    monitor : Monitor
        It continues to record.

    Returns
    -------
    state : FitState
        The given one if no edge is to be removed.
    plan : FitPlan
        Of the last grids and the edges that are left.
    """
    settings = _settings.PRUNING
    if threshold == "auto":
        try:
            whole = FitState(state.network, state.prior, converged=state.converged)
            search = EvidencePruning(whole, data, plan).run()
        except KeyboardInterrupt:
            if not state.stage_ends:  # there is nothing new to keep
                raise
            return replace(state, interrupted=True), plan
        monitor.n_iter += search.n_iter
        left, edges = search.best, search.edges
        has_converged = state.converged or left.converged
        state, plan = _trained_on(
            state, left, edges, data, plan, generator, monitor, is_final=True
        )
        state = replace(state, converged=state.converged and has_converged)
        return _marked(state, is_finished=search.is_finished), plan
    while True:  # training moves the scores of what is left
        n_edges = state.network.n_edges
        keep = _needed(state.network, data, max(threshold, settings.min_score))
        left, edges = with_edges(state, keep, data)
        state, plan = _trained_on(state, left, edges, data, plan, generator, monitor)
        if state.interrupted or state.network.n_edges == n_edges:
            return state, plan


def _needed(network, data, threshold):
    """Which edges are kept, a Tensor of bool of shape (n_outputs, n_inputs) each layer.

    Edges go in the order of their scores, as many as can go together.
    """
    changes = OutputChanges.over(network, data)
    masks = [layer.mask for layer in network.all_layers]
    ends = np.cumsum([mask.numel() for mask in masks])[:-1]
    exists = np.concatenate([mask.cpu().numpy().ravel() for mask in masks]) > 0
    scores = np.concatenate([score.ravel() for score in changes.of_edges()])
    order = scores.argsort(kind="stable")
    order = order[exists[order] & (scores[order] < threshold)]

    def kept_without(n_edges):
        keep = exists.copy()
        keep[order[:n_edges]] = False
        parts = zip(np.split(keep, ends), masks, strict=True)
        return [part.reshape(mask.shape) for part, mask in parts]

    removable, too_many = 0, len(order) + 1
    while too_many - removable > 1:
        middle = (removable + too_many) // 2
        if changes.of_all_but(kept_without(middle)) < threshold:
            removable = middle
        else:
            too_many = middle
    keep = kept_without(removable)
    return [
        torch.from_numpy(part).to(mask.device)
        for part, mask in zip(keep, masks, strict=True)
    ]


def _marked(state, *, is_finished):
    """The state, with a reason where edges may be left that should be removed."""
    if is_finished:
        return state
    return replace(state, reason=state.reason or EndReason.PRUNING_UNFINISHED)


def _trained_on(state, left, edges, data, plan, generator, monitor, *, is_final=False):
    """The state and the plan after training what is `left` of a state's network."""
    if state.stage_ends and left.network.n_edges == state.network.n_edges:
        return state, plan
    plan = replace(
        plan,
        penalties=tuple(penalty.of_edges(edges) for penalty in plan.penalties),
        grid_sizes=(left.network.grid_size,),
    )
    monitor.begin_search(make_objective(left.network, data, plan))
    monitor.forget_best()
    start = [left.network], data, plan, generator, monitor, left.prior
    trained = train(*start, prior_is_final=is_final)
    ends = (*state.stage_ends, *trained.stage_ends)
    return replace(trained, stage_ends=ends), plan
