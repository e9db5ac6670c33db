"""Removal of edges and nodes that the evidence does not need."""

import math
from dataclasses import replace
from functools import partial

import torch

from skkan.inference._evidence_without_edges import removal_gains, weights_without
from skkan.inference._log_marginal_likelihood import LinearisedModel
from skkan.network._attribution_and_statistics import edge_scores
from skkan.network._edge_removal import without_edges
from skkan.objective._objective import make_objective
from skkan.solvers import DivergenceError
from skkan.training import _settings
from skkan.training._second_order import at_mode, train_second_order
from skkan.training._state import FitState


class EvidencePruning:
    """Search for the edges that the evidence does not need.

    For a linearised network the evidence without an edge is known in closed form, and
    so are the other weights. All edges whose removal costs next to nothing each are
    removed at once, and the rest is trained. If the log evidence has then fallen by
    more than 1 below the highest one so far, the half of them with the higher
    attribution scores is kept, and so on. What is left of an exact law may also be as
    exact: its evidence only tells how far a training has come. Where no edge can be
    removed alone, factors of products are replaced by their means, and whole inputs and
    hidden nodes are tried, whose edges may cancel each other. This is repeated until
    nothing can be removed.

    Attributes
    ----------
    best : FitState
        After `run`, what is left of the network.
    edges : Tensor
        Positions of its edges in the network to begin with.
    n_iter : int
    is_finished : bool
        Whether the budget has sufficed to try all that might be removed.
    """

    def __init__(self, state, data, plan):
        self._data, self._plan = data, plan
        self.n_iter, self.is_finished = 0, True
        self.edges = torch.arange(len(state.prior.precision))
        self._max_at_once = len(self.edges)
        self._linearise(state)
        self.best = replace(state, score=self._score)
        # Otherwise the removal would be credited with what training still gains.
        trained = self._trained(state)
        if trained.score > self.best.score:
            self.best = trained
            self._linearise(trained)
        self._highest = self.best.score

    def run(self):
        while self._posterior is not None:
            # It ends, since what is removed holds an edge that has been there.
            if not (
                self._remove_edges() or self._remove_a_factor() or self._remove_a_node()
            ):
                break
            self._linearise(self.best)
        return self

    def _remove_edges(self):
        """Whether some edges were removed that cost next to nothing each."""
        harmless = self._harmless()[: self._max_at_once]
        while len(harmless):
            if self._remove(harmless):
                self._max_at_once = len(harmless)
                return True
            harmless = harmless[: len(harmless) // 2]
        return False

    def _remove_a_factor(self):
        """Whether the mean of a factor has replaced it, the most even one first."""
        network, groups = self.best.network, self.best.network.factor_edges
        if not groups:
            return False
        sample = self._data.sample(_settings.PRUNING.max_rows)
        share = sample.sample_weight / sample.sample_weight.sum()
        evenness = []
        for step in network.propagate(sample.X)[1][: len(network.layers)]:
            sums, n_factors = step.sums().detach(), 2 * step.layer.n_multiplications
            factors = sums[:, sums.shape[1] - n_factors :]
            evenness.append((share @ factors).square() / (share @ factors.square()))
        order = torch.cat(evenness).argsort(descending=True, stable=True)
        order = order[: _settings.PRUNING.max_failed_nodes].tolist()
        return any(self._remove(groups[index]) for index in order)

    def _remove_a_node(self):
        """Whether an input or a hidden node was removed, with the edges leaving it."""
        nodes = self._nodes()[: _settings.PRUNING.max_failed_nodes]
        return any(self._remove(edges) for edges in nodes)

    def _remove(self, edges):
        """Whether these edges were removed."""
        if self.n_iter >= self._plan.max_iter:
            self.is_finished = False
            return False
        trial, left = self._without(edges)
        lowest = self._highest - _settings.PRUNING.max_evidence_fall
        trial = self._trained(trial, lowest)
        is_exact = trial.prior.noise <= _settings.PRUNING.exact_noise
        if trial.score < lowest and not is_exact:
            return False
        self.best, self.edges = trial, self.edges[left.cpu()]
        self._highest = max(self._highest, trial.score)
        return True

    def _trained(self, state, min_score=-math.inf):
        """The state with its weights at their mode, with a better prior if any."""
        for train_on in (at_mode, partial(train_second_order, min_score=min_score)):
            n_left = self._plan.max_iter - self.n_iter
            n_steps = min(_settings.PRUNING.max_iter_per_trial, n_left)
            try:
                trained = train_on(state, self._data, self._plan, n_steps)
            except DivergenceError:
                continue
            self.n_iter += trained.n_iter
            state = max(state, trained, key=lambda one: one.score)
            if state.score >= min_score > -math.inf:
                break
        return state

    def _linearise(self, state):
        """Take the linear model and the posterior of a state."""
        objective = state.objective
        if objective is None:
            objective = make_objective(state.network, self._data, self._plan)
        self._linearised = LinearisedModel.around(
            state.network.theta, state.network, objective, self._data, self._plan
        )
        self._posterior = self._linearised.posterior(state.prior)
        self._score = -math.inf
        if self._posterior is not None:
            self._score = self._posterior.evidence_at_point

    def _harmless(self):
        """Positions of the edges that may be removed, the least important first."""
        gains = removal_gains(self._linearised, self.best.prior, self._posterior)
        gains = torch.where(_existing(self.best.network), gains, -math.inf)
        scores = attribution_scores(self.best.network, self._data)
        order = torch.cat([score.flatten() for score in scores]).argsort(stable=True)
        return order[gains[order] >= -_settings.PRUNING.max_evidence_fall_of_edge]

    def _nodes(self):
        """Edges that leave each input and hidden node, the most dispensable one first.

        The linear model is inaccurate for so large a change, but enough for an order.
        """
        groups, gains = [], []
        for leaving in self.best.network.leaving_edges:
            groups.extend(leaving)
            gains.append(
                removal_gains(
                    self._linearised, self.best.prior, self._posterior, leaving
                )
            )
        order = torch.cat(gains).argsort(descending=True, stable=True)
        exists = _existing(self.best.network).cpu()
        return [
            groups[index] for index in order.tolist() if exists[groups[index]].any()
        ]

    def _without(self, edges):
        """The best state without some edges, and the positions of what is left.

        A factor that loses all of its edges has its mean from the weights before. The
        linear model has none for it: it takes a product without it for zero.
        """
        network = self.best.network
        keep = _existing(network)
        keep[edges] = False
        at_mean = torch.zeros_like(keep)
        for factor in network.factor_edges:
            at_mean[factor] = not keep[factor].any()
        edges = edges[~at_mean[edges].cpu()]
        theta = weights_without(self._linearised, self._posterior, edges)
        network = network.with_weights(network.unpacked(theta))
        masks = [layer.mask for layer in network.all_layers]
        parts = keep.split([mask.numel() for mask in masks])
        keep = [part.view_as(mask) for part, mask in zip(parts, masks, strict=True)]
        return with_edges(replace(self.best, network=network), keep, self._data)


def _existing(network):
    """Which edges of all layers have not been removed, Tensor of bool."""
    return torch.cat([layer.mask.flatten() for layer in network.all_layers]) > 0


def with_edges(state, keep, data):
    """A state with some of its edges only, and their positions.

    Parameters
    ----------
    state : FitState
    keep : list of Tensor of shape (n_outputs, n_inputs)
        Which edges of each layer are kept.
    data : Dataset

    Returns
    -------
    state : FitState
        It counts as converged if the given one does.
    edges : Tensor
    """
    sample = data.sample(_settings.PRUNING.max_rows)
    weight = sample.sample_weight / sample.sample_weight.sum()
    network, edges, multipliers = without_edges(state.network, keep, sample.X, weight)
    prior = state.prior and state.prior.of_edges(edges, multipliers)
    return FitState(network, prior, converged=state.converged), edges


def attribution_scores(network, data):
    """Attribution scores, a Tensor of shape (n_outputs, n_inputs) for each layer."""
    sample = data.sample(_settings.PRUNING.max_rows)
    output, passes = network.propagate(sample.X)
    weight = sample.sample_weight / sample.sample_weight.sum()
    return edge_scores(network, output, passes, weight)
