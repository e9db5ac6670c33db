"""Removal of edges and nodes that the evidence does not need."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from skkan.inference._log_marginal_likelihood import LinearisedModel
from skkan.network._attribution import edge_scores
from skkan.network._edge_removal import without_edges
from skkan.objective._objective import make_objective
from skkan.solvers import DivergenceError
from skkan.training._second_order import (
    MOST_LOOKED_AT,
    FitState,
    at_mode,
    finished,
    starting_candidates,
)
from skkan.training._training import train

# Scores below it are rounding: deviations are precise to 1e-8 of the weights.
DEAD = 1e-8
LARGEST_FALL = 1.0  # of the log evidence, by all that is removed
NEXT_TO_NOTHING = 0.1  # of the log evidence, for the removal of one edge
MOST_ROUNDS = 10  # of removal by scores and training
MOST_TRYING = 60  # steps of the solver for one trial of a removal by evidence
MOST_FAILURES = 3  # inputs or hidden nodes, the most promising ones, tried in vain


def checked_pruning(threshold, plan):
    """Raise unless it is no bool, and the training leaves what pruning goes by."""
    if isinstance(threshold, bool | np.bool_):
        raise ValueError(
            "prune_threshold must be a number of at least 0, 'auto' or None, got "
            f"{threshold}: 1.0 would remove nearly all edges, 'auto' goes by the "
            "evidence, None removes none."
        )
    if threshold == "auto" and not plan.learns_alpha:
        raise ValueError(
            "prune_threshold='auto' goes by the evidence, which needs solver='lm' and "
            f"alpha='auto', got {type(plan.solver).__name__}"
            f"{' and a fixed alpha' if plan.solver.second_order else ''}: set these, "
            "or a float such as prune_threshold=0.01."
        )


def pruned(result, data, plan, threshold, *, generator):
    """A training result without unneeded edges, trained on from where it stands.

    Parameters
    ----------
    result : TrainingResult
        Its monitor goes on to record. Without an end of a stage it is that of an
        earlier fit, perhaps to other rows, and is trained in any case.
    data : TrainingData
    plan : TrainingPlan
        Of that result.
    threshold : float or "auto"
        Edges whose attribution score is below are removed, and with them all nodes
        whose score is, since that is the sum of the scores of the edges that leave
        them; after training again, until none is below. "auto" removes edges as long
        as the evidence allows.
    generator : torch.Generator

    Returns
    -------
    result : TrainingResult
        The given one if no edge is to be removed.
    plan : TrainingPlan
        Of the last grids and the edges that are left.
    """
    if threshold == "auto":
        try:
            search = _EvidencePruning(
                FitState(result.network, result.prior), data, plan
            ).run()
        except KeyboardInterrupt:
            if not result.stage_ends:  # there is nothing new to keep
                raise
            result.interrupted = True
            return result, plan
        result.monitor.n_iter += search.n_iter
        found = search.best, search.edges
        return _trained_on(result, *found, data, plan, generator, prior_is_final=True)
    for _ in range(MOST_ROUNDS):  # training moves the scores of what is left
        n_edges = result.network.n_edges
        whole = FitState(result.network, result.prior)
        keep = [score >= max(threshold, DEAD) for score in _scores(whole, data)]
        found = _without(whole, keep, data)
        result, plan = _trained_on(result, *found, data, plan, generator)
        if result.interrupted or result.network.n_edges == n_edges:
            break
    return result, plan


def _trained_on(
    result, candidate, edges, data, plan, generator, *, prior_is_final=False
):
    """The result of training on what is left of a network, and its plan."""
    if result.stage_ends and candidate.network.n_edges == result.network.n_edges:
        return result, plan
    plan = replace(
        plan,
        penalties=tuple(part.of_edges(edges) for part in plan.penalties),
        grid_sizes=(candidate.network.grid_size,),
    )
    monitor = result.monitor
    monitor.begin_search(make_objective(candidate.network, data, plan))
    monitor.forget_best()
    again = train(
        [candidate.network],
        data,
        plan,
        generator=generator,
        monitor=monitor,
        prior=candidate.prior,
        prior_is_final=prior_is_final,
    )
    again.stage_ends = result.stage_ends + again.stage_ends
    plan = replace(plan, loss=again.loss)
    return again, plan


class _EvidencePruning:
    """Search for the edges that the evidence does not need.

    For a linearised network the evidence without an edge is known in closed form, and
    so are the other weights. All edges that would cost next to nothing each are removed
    at once and the rest is trained; if the log evidence has then fallen by more than 1
    (what training takes for nothing) below the highest there was, the half of them with
    the higher attribution scores is kept, and so on. Where no edge can go alone, whole
    inputs and hidden nodes may, whose edges make up for each other. This is repeated
    until nothing can go.
    """

    def __init__(self, candidate, data, plan):
        self._data, self._plan = data, plan
        self.n_iter = 0
        if candidate.prior is None:
            candidate = starting_candidates([candidate.network], data, plan)[0]
        self.edges = torch.arange(len(candidate.prior.precision))
        self._n_at_once = len(self.edges)
        self._go_on_from(candidate)
        self.best = replace(candidate, score=self._score)
        # Or else what training goes on to gain would be put down to the removal.
        trained = self._trained(candidate)
        if trained.score > self.best.score:
            self.best = trained
            self._go_on_from(trained)
        self._highest = self.best.score

    def run(self):
        while self._posterior is not None:
            if not (self._take_out_edges() or self._take_out_a_node()):
                break
            self._go_on_from(self.best)
        return self

    def _take_out_edges(self):
        """Whether some edges could go that cost next to nothing each."""
        harmless = self._harmless()[: self._n_at_once]
        while len(harmless):
            if self._take_out(harmless):
                self._n_at_once = len(harmless)
                return True
            harmless = harmless[: len(harmless) // 2]
        return False

    def _take_out_a_node(self):
        """Whether an input or a hidden node could go, with all edges that leave it."""
        return any(self._take_out(edges) for edges in self._nodes()[:MOST_FAILURES])

    def _take_out(self, edges):
        """Whether these edges could go."""
        if self.n_iter >= self._plan.max_iter:
            return False
        trial, left = self._without(edges)
        lowest = self._highest - LARGEST_FALL
        trial = self._trained(trial, lowest)
        if trial.score < lowest:
            return False
        self.best, self.edges = trial, self.edges[left.cpu()]
        self._highest = max(self._highest, trial.score)
        return True

    def _trained(self, candidate, rival=-math.inf):
        """The candidate with its weights at their mode, with a better prior if any."""
        for train_on in (at_mode, partial(finished, rival=rival)):
            n_steps = min(MOST_TRYING, self._plan.max_iter - self.n_iter)
            try:
                trained = train_on(candidate, self._data, self._plan, n_steps)
            except DivergenceError:
                continue
            self.n_iter += trained.n_iter
            candidate = max(candidate, trained, key=lambda one: one.score)
            if candidate.score >= rival > -math.inf:
                break
        return candidate

    def _go_on_from(self, candidate):
        """Linearise a candidate where it stands."""
        objective = candidate.objective
        if objective is None:
            objective = make_objective(candidate.network, self._data, self._plan)
        theta = candidate.network.theta
        self._linearised = LinearisedModel(
            candidate.network,
            theta,
            objective.gauss_newton_of_loss(theta),
            self._data.n_observations,
            self._plan.loss.has_noise,
            self._plan.loss.min_shared_noise,
        )
        self._posterior = self._linearised.posterior(candidate.prior)
        self._score = -math.inf
        if self._posterior is not None:
            self._score = self._posterior.evidence_at_point

    def _harmless(self):
        """Positions of the edges that may go, the least important ones first."""
        masks = [layer.mask.flatten() for layer in self.best.network.all_layers]
        gains = self._linearised.removal_gains(self.best.prior, self._posterior)
        gains = torch.where(torch.cat(masks) > 0, gains, -math.inf)
        scores = torch.cat([part.flatten() for part in _scores(self.best, self._data)])
        order = scores.argsort(stable=True)
        return order[gains[order] >= -NEXT_TO_NOTHING]

    def _nodes(self):
        """Edges that leave each input and hidden node, the most dispensable one first.

        A linearisation says little of so large a change, but enough for an order.
        """
        groups, gains = [], []
        for leaving in self.best.network.leaving_edges:
            groups.extend(leaving)
            gains.append(
                self._linearised.removal_gains_of_groups(
                    self.best.prior, self._posterior, leaving
                )
            )
        order = torch.cat(gains).argsort(descending=True, stable=True)
        return [groups[index] for index in order.tolist()]

    def _without(self, edges):
        """The best candidate without some edges, and the positions of what is left."""
        theta = self._linearised.weights_without(self._posterior, edges)
        network = self.best.network
        network = network.with_weights(network.unpacked(theta))
        masks = [layer.mask for layer in network.all_layers]
        keep = torch.cat([mask.flatten() for mask in masks]) > 0
        keep[edges] = False
        parts = keep.split([mask.numel() for mask in masks])
        keep = [part.view_as(mask) for part, mask in zip(parts, masks, strict=True)]
        return _without(replace(self.best, network=network), keep, self._data)


def _without(candidate, keep, data):
    """The candidate without some edges, and the positions of what is left."""
    sample = data.sample(MOST_LOOKED_AT)
    share = sample.sample_weight / sample.sample_weight.sum()
    network, edges = without_edges(candidate.network, keep, sample.X, share)
    prior = candidate.prior
    return FitState(network, prior and prior.of_edges(edges)), edges


def _scores(candidate, data):
    sample = data.sample(MOST_LOOKED_AT)
    output, passes = candidate.network.propagate(sample.X)
    share = sample.sample_weight / sample.sample_weight.sum()
    return edge_scores(candidate.network, output, passes, share)
