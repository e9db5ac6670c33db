"""Second-order training: several starts, and penalties that are learnt on the way.

A `Candidate` is a network under training with its prior. It is settled under a fixed
prior, and then finished: by learning the prior from the evidence where the plan says
so, under the plan's own penalties otherwise.
"""

import math
from dataclasses import dataclass, replace

import torch

from skkan.inference._log_marginal_likelihood import LinearisedModel
from skkan.inference._prior import Prior
from skkan.network._edits import resized, with_standardised_nodes
from skkan.objective._objective import make_objective
from skkan.penalties._quadratic import QuadraticPenalty

# Starting priors, as alpha times the number of observations. The stiff one suits noisy
# tables, where a loose start fits the noise and stays there; the loose one finds laws
# that a stiff start takes for noise. The better outcome is kept.
STARTING_STRENGTHS = ((1.0, 1.0, 0.0), (1e-2, 1e-3, 0.0))
# Below this noise variance of a standardised target (a deviation of 1%), curves are
# known so well that the change of their curvature may be charged instead of it. With
# more noise, free parabolas cost more than they bring.
LITTLE_NOISE = 1e-4
CHANGE_PER_CURVATURE = 0.1  # first precision on the one in that of the other
STARTING_NOISE = 0.1  # variance of a standardised target
STEPS_PER_LOOK = 2  # of the solver, between two looks at the hidden nodes
MOST_LOOKED_AT = 100_000  # rows, at each look
MOST_SETTLING = 16  # steps under a starting prior
SETTLED = 1e-3  # relative decrease between two looks that ends the settling
STEPS_PER_UPDATE = 3  # of the solver, between two updates of the prior
LARGEST_FALL = 1.0  # of the log evidence, in an update that is kept
SMALLEST_SHARE = 0.01  # of an update, below which learning is over
MOST_APPROACHING = 45  # steps towards the mode, when the prior is learnt
NEAR = 0.3  # of the log posterior below its mode
STALLED = 10  # steps without progress that end an unwatched descent
PATIENCE = 2  # updates in a row that gain next to nothing
SMALLEST_GAIN = 0.1  # of the log evidence
NO_EVIDENCE = "no evidence within rounding"
MOST_AHEAD = 10  # updates that gain as much as the last one, and may still be to come


@dataclass(frozen=True, eq=False)
class FitState:
    """A network under training, and how good it is so far."""

    network: torch.nn.Module
    prior: Prior
    score: float = -math.inf  # log evidence, or minus the objective
    n_iter: int = 0
    converged: bool = False
    message: str = ""
    objective: object = None  # as training left it
    ceiling: torch.Tensor | None = None  # of the precisions, until the last grids

    def on_grids(self, grid_size, inputs):
        """The candidate on other grids; on those of `inputs` where sizes agree."""
        network, is_last = self.network, inputs.grid_size == grid_size
        if network.grid_size != grid_size:
            network = resized(network, grid_size, inputs if is_last else None)
        ceiling = None if is_last else self.ceiling
        return replace(self, network=network, ceiling=ceiling)


def starting_candidates(networks, data, plan):
    """One candidate for each starting prior; the networks should differ."""
    noise = 1.0
    if plan.loss.has_noise:
        noise = max(STARTING_NOISE, plan.loss.min_shared_noise)
    candidates = []
    for network, strengths in zip(networks, STARTING_STRENGTHS, strict=False):
        alpha = [[strength / data.n_observations for strength in strengths]]
        prior = Prior.of_alpha(network, alpha, noise, data.n_observations)
        # A coarse grid takes for noise what it cannot show. Edges must not die of it.
        candidates.append(FitState(network, prior, ceiling=prior.precision))
    return candidates


def settled(candidate, data, plan, max_iter):
    """The candidate after some steps under its own prior."""
    walk = _Trajectory(candidate, data, plan)
    value = math.inf
    while walk.n_iter < min(max_iter, MOST_SETTLING):
        before, value = value, walk.solve(candidate.prior, STEPS_PER_LOOK, max_iter)
        moved = walk.follow_nodes() is not None
        if walk.at_rest or (not moved and before - value < SETTLED * abs(value)):
            break
    return replace(walk.candidate(candidate.prior), ceiling=candidate.ceiling)


def finished(candidate, data, plan, max_iter, monitor=None, rival=-math.inf):
    """The candidate after training to the end, or to the end of the budget.

    Training ends early when the score cannot reach that of a rival any more, or not at
    its pace: the linearisation promises at least the evidence that there is at the
    mode, and updates gain less and less.
    """
    walk = _Trajectory(candidate, data, plan, monitor)
    if not plan.learns_alpha:
        outcome = _descend(walk, candidate.prior, max_iter)
    else:
        prior = candidate.prior
        if plan.loss.has_noise and prior.noise < LITTLE_NOISE:
            prior = prior.with_change_of_curvature(CHANGE_PER_CURVATURE)
        outcome = _learn(walk, prior, candidate.ceiling, plan.tol, max_iter, rival)
        if outcome.score >= rival:
            outcome = _at_mode(walk, outcome, max_iter)
    return replace(outcome, ceiling=candidate.ceiling)


def at_mode(candidate, data, plan, max_iter, monitor=None, near=NEAR):
    """The candidate with its weights at their mode under its own prior.

    It is reached where the log posterior is at most `near` below it.
    """
    return _at_mode(
        _Trajectory(candidate, data, plan, monitor), candidate, max_iter, near
    )


def _descend(walk, prior, max_iter):
    """Minimise the plan's own objective, while the grids follow the hidden nodes."""
    moved, value = walk.may_move, math.inf
    while moved and walk.n_iter < max_iter and not walk.stopped:
        value = walk.solve(None, STEPS_PER_LOOK, max_iter)
        moved = walk.follow_nodes() is not None or (not walk.at_rest and moved)
        moved = moved and walk.may_move
    if walk.n_iter < max_iter and not walk.stopped:
        value = walk.solve(None, max_iter, max_iter)
    return replace(walk.candidate(prior), score=-value, converged=walk.at_rest)


def _learn(walk, prior, ceiling, tol, max_iter, rival):
    """Climb the evidence: better priors, and the weights that go with them.

    The weights only follow; the linearisation stands in for their mode.
    """
    smallest_gain = SMALLEST_GAIN + 0.5 * tol * walk.n_targets
    walk.solve(prior, STEPS_PER_UPDATE, max_iter)
    posterior = walk.linearised().posterior(prior)
    if posterior is None:
        return replace(walk.candidate(prior), message=NO_EVIDENCE)
    share, n_calm = 1.0, 0
    converged, message = False, "budget spent"
    while walk.n_iter < max_iter and not walk.stopped:
        trial = walk.linearised().improved(prior, posterior, share, ceiling)
        origin = walk.theta
        walk.solve(trial, STEPS_PER_UPDATE, max_iter)
        outcome = walk.linearised().posterior(trial)
        gain = -math.inf
        if outcome is not None:
            gain = outcome.log_evidence - posterior.log_evidence
        if gain < -LARGEST_FALL:
            # The weights moved farther than the linearisation holds.
            walk.return_to(origin)
            share /= 4
            if share < SMALLEST_SHARE:
                converged, message = True, "no update raises the evidence"
                break
            continue
        prior, posterior = trial, outcome
        n_calm = n_calm + 1 if gain < share * smallest_gain else 0
        share = min(1.0, 2 * share)
        scales = walk.follow_nodes()
        if scales is not None:
            prior = prior.with_scaled_nodes(walk.network, scales)
            moved = walk.linearised().posterior(prior)
            if moved is None:
                message = NO_EVIDENCE
                break
            posterior, n_calm = moved, 0
        elif posterior.log_evidence + MOST_AHEAD * gain < rival:
            message = "too far behind another start"
            break
        elif n_calm >= PATIENCE:
            converged, message = True, "the evidence has stopped rising"
            break
    return replace(
        walk.candidate(prior),
        score=posterior.log_evidence,
        converged=converged or walk.stopped,
        message=message,
    )


def _at_mode(walk, candidate, max_iter, near=NEAR):
    """The candidate with its weights at their mode, where its evidence is real."""
    prior, end = candidate.prior, min(max_iter, walk.n_iter + MOST_APPROACHING)
    while walk.n_iter < end and not walk.stopped:
        walk.solve(prior, STEPS_PER_UPDATE, end)
        posterior = walk.linearised().posterior(prior)
        if walk.at_rest or posterior is None or posterior.decrement < near:
            break
    posterior = walk.linearised().posterior(prior)
    return replace(
        walk.candidate(prior),
        score=-math.inf if posterior is None else posterior.evidence_at_point,
        converged=candidate.converged,
        message=candidate.message,
    )


class _Trajectory:
    """Where a candidate stands, and the steps that it may take."""

    def __init__(self, candidate, data, plan, monitor=None):
        self._data, self._plan, self._monitor = data, plan, monitor
        self._objective = make_objective(candidate.network, data, plan)
        self._state = None
        self._n_updates = 0
        self.theta = self._objective.start
        self.n_iter = 0
        self.at_rest = False  # no step was left to take
        self.stopped = False  # by the monitor

    @property
    def network(self):
        return self._objective.network_at(self.theta)

    @property
    def n_targets(self):
        return self._data.n_observations * self._data.target.shape[1]

    @property
    def may_move(self):
        """Whether the grids of hidden layers may follow their nodes once more."""
        several = len(self._objective.start_network.layers) > 1
        return several and self._n_updates < self._plan.n_grid_updates

    def candidate(self, prior):
        return FitState(
            self.network, prior, n_iter=self.n_iter, objective=self._objective
        )

    def solve(self, prior, n_steps, max_iter):
        """Take steps under a prior (None: the plan's penalties); returns the value."""
        objective = self._objective
        if prior is None:  # gauge constraints would slow down the descent
            objective = objective.without_gauge_constraints()
        else:
            alpha = prior.alpha(self._data.n_observations)
            objective = objective.with_penalties((QuadraticPenalty(alpha),))
        values = []

        def watch(theta, value):
            values.append(value)
            if self._monitor is not None:
                return self._monitor(theta, value)
            before = values[-min(len(values), STALLED)]
            stalls = before - value <= self._plan.tol * abs(value)
            return len(values) > STALLED and stalls

        if self._monitor is not None:
            self._monitor.begin_search(objective)
        outcome = self._plan.solver.minimize(
            objective,
            self.theta,
            max_iter=min(n_steps, max_iter - self.n_iter),
            monitor=watch,
            generator=None,
            state=self._state,
        )
        self.theta, self._state = outcome.theta, outcome.state
        self.n_iter += outcome.n_iter
        self.at_rest = outcome.converged
        if self._monitor is not None:
            if not self._monitor.loss_curve:  # the start cannot be improved
                self._monitor(self.theta, objective.value(self.theta))
                self.n_iter += 1
            self.stopped = self._monitor.stage_ended
        return values[-1] if values else objective.value(self.theta)

    def return_to(self, theta):
        """Take back the last steps, and be careful with the next ones."""
        self.theta, self._state = theta, None

    def linearised(self):
        """The network as a linear model around where it stands."""
        return LinearisedModel(
            self._objective.start_network,
            self.theta,
            self._objective.gauss_newton_of_loss(self.theta),
            self._data.n_observations,
            self._plan.loss.has_noise,
            self._plan.loss.min_shared_noise,
        )

    def follow_nodes(self):
        """Let hidden nodes and grids fit each other; the scales, if any moved."""
        if not self.may_move:
            return None
        sample = self._data.sample(MOST_LOOKED_AT)
        network, scales = with_standardised_nodes(
            self.network,
            sample.X,
            grid_eps=self._plan.grid_eps,
            margin=self._plan.hidden_margin,
            sample_weight=sample.sample_weight,
        )
        if scales is not None:
            self._n_updates += 1
            self._objective = self._objective.with_network(network)
            self.theta = self._objective.start
        return scales
