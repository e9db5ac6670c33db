"""Removal of edges after a training, and the training of what is left.

Which edges go is decided by their attribution scores, or by the evidence. It works in
scaled units, on results of `train`, and makes new ones.
"""

import math
from dataclasses import replace

import torch

from skkan._evidence import LinearisedModel
from skkan._penalties import QuadraticPenalty
from skkan._plan import make_objective
from skkan._second_order import (
    LARGEST_FALL,
    MOST_LOOKED_AT,
    Candidate,
    finished,
    starting_candidates,
)
from skkan._training import train
from skkan.solvers import DivergenceError

# Scores below it are rounding: deviations are precise to 1e-8 of the weights.
DEAD = 1e-8
NEXT_TO_NOTHING = 0.1  # of the log evidence, for the removal of one edge
MOST_TRYING = 60  # steps of the solver for one trial of a removal by evidence


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
        them. "auto" removes edges as long as the evidence allows.
    generator : torch.Generator

    Returns
    -------
    result : TrainingResult
        The given one if no edge is to be removed.
    plan : TrainingPlan
        Of the last grids and the edges that are left.
    """
    by_evidence = threshold == "auto"
    monitor, whole = result.monitor, Candidate(result.network, result.prior)
    if by_evidence:
        search = _Search(whole, data, plan, is_fresh=bool(result.stage_ends)).run()
        candidate, edges = search.best, search.edges
        monitor.n_iter += search.n_iter
    else:
        keep = [score >= max(threshold, DEAD) for score in _scores(whole, data)]
        candidate, edges = _without(whole, keep, data)
    if result.stage_ends and candidate.network.n_edges == result.network.n_edges:
        return result, plan
    plan = replace(
        plan,
        penalties=tuple(_of_edges(part, edges) for part in plan.penalties),
        grid_sizes=(candidate.network.grid_size,),
    )
    monitor.begin_search(make_objective(candidate.network, data, plan))
    monitor.forget_best()
    again = train(
        [candidate.network],
        data,
        plan,
        generator=generator,
        monitor=monitor,
        prior=candidate.prior,
        prior_is_final=by_evidence,
    )
    again.stage_ends = result.stage_ends + again.stage_ends
    return again, plan


class _Search:
    """Search for the edges that the evidence does not need.

    For a linearised network the evidence without an edge is known in closed form. All
    edges that would cost next to nothing each are removed at once and the rest is
    trained; if the evidence has then fallen, the less harmless half of them is kept,
    and so on. This is repeated until not even the most harmless edge can go.
    """

    def __init__(self, candidate, data, plan, *, is_fresh):
        self._data, self._plan = data, plan
        self.n_iter = 0
        if candidate.prior is None:
            candidate = starting_candidates([candidate.network], data, plan)[0]
        self.edges = torch.arange(len(candidate.prior.precision))
        if not is_fresh:  # or else any training on these rows would look like progress
            candidate = self._trained(candidate, -math.inf)
        gains, score = self._look_at(candidate)
        self.best = replace(candidate, score=score)
        self._gains, self._highest = gains, score

    def run(self):
        while self._gains is not None and self._take_out(self._harmless()):
            self._gains, _ = self._look_at(self.best)
        return self

    def _take_out(self, harmless):
        """Whether some of these edges could go."""
        while len(harmless) and self.n_iter < self._plan.max_iter:
            trial, left = _without(self.best, self._all_but(harmless), self._data)
            trial = self._trained(trial, self._highest - LARGEST_FALL)
            if trial.score >= self._highest - LARGEST_FALL:
                self.best, self.edges = trial, self.edges[left.cpu()]
                self._highest = max(self._highest, trial.score)
                return True
            harmless = harmless[: len(harmless) // 2]
        return False

    def _trained(self, candidate, rival):
        n_steps = min(MOST_TRYING, self._plan.max_iter - self.n_iter)
        try:
            trained = finished(candidate, self._data, self._plan, n_steps, rival=rival)
        except DivergenceError:
            return candidate
        self.n_iter += trained.n_iter
        return trained

    def _look_at(self, candidate):
        """What the removal of each edge adds to the evidence, and the evidence."""
        objective = candidate.objective
        if objective is None:
            objective = make_objective(candidate.network, self._data, self._plan)
        theta = torch.cat([weight.flatten() for weight in candidate.network.weights])
        linearised = LinearisedModel(
            candidate.network,
            theta,
            objective.gauss_newton_of_loss(theta),
            self._data.n_observations,
            self._plan.loss.has_noise,
        )
        posterior = linearised.posterior(candidate.prior)
        if posterior is None:
            return None, -math.inf
        gains = linearised.removal_gains(candidate.prior, posterior)
        return gains, posterior.evidence_at_point

    def _harmless(self):
        """Positions of the edges that may go, by what they cost."""
        masks = [layer.mask.flatten() for layer in self.best.network.all_layers]
        gains = torch.where(torch.cat(masks) > 0, self._gains, -math.inf)
        order = gains.argsort(descending=True, stable=True)
        return order[gains[order] >= -NEXT_TO_NOTHING]

    def _all_but(self, positions):
        masks = [layer.mask for layer in self.best.network.all_layers]
        keep = torch.cat([mask.flatten() for mask in masks]) > 0
        keep[positions] = False
        parts = keep.split([mask.numel() for mask in masks])
        return [part.view(mask.shape) for part, mask in zip(parts, masks, strict=True)]


def _without(candidate, keep, data):
    """The candidate without some edges, and the positions of what is left."""
    sample = data.thinned(MOST_LOOKED_AT)
    network, edges = candidate.network.pruned(
        keep, sample.X, sample.sample_weight / sample.sample_weight.sum()
    )
    prior = candidate.prior
    return Candidate(network, prior and prior.of_edges(edges)), edges


def _scores(candidate, data):
    sample = data.thinned(MOST_LOOKED_AT)
    output, passes = candidate.network.propagate(sample.X)
    share = sample.sample_weight / sample.sample_weight.sum()
    return candidate.network.edge_scores(output, passes, share)


def _of_edges(penalty, edges):
    """A penalty of a network that has some of the edges only."""
    if isinstance(penalty, QuadraticPenalty):
        return penalty.of_edges(edges)
    return penalty
