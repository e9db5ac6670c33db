"""Second-order training on one grid: burn-in, evidence maximisation, posterior mode.

Burn-in keeps the starting prior. Then the prior is learnt by maximising the evidence
where the plan says so; otherwise the plan's own penalties are minimised.
"""

import math
from dataclasses import replace

from skkan.inference._evidence_maximization import (
    improved_prior,
    precision_for_point,
    with_noise_at_point,
)
from skkan.inference._log_marginal_likelihood import LinearisedModel
from skkan.inference._prior import CurveSizes, Prior
from skkan.inference._prior_search import best_common_prior, with_best_edges
from skkan.objective._objective import make_objective
from skkan.penalties._quadratic import QuadraticPenalty
from skkan.training import _settings
from skkan.training._hidden_grid_updates import standardised
from skkan.training._state import EndReason, FitState


def starting_states(networks, data, plan):
    """One FitState for each network; those beyond the starting priors share the last.

    Where the evidence is that of a linear model with normal errors, the best of many
    priors is known, and the only start.
    """
    settings = _settings.SECOND_ORDER
    is_linear = plan.loss.is_normal and len(networks[0].layers) == 1
    if plan.learns_alpha and is_linear:
        return [_linear_start(networks[0], data, plan)]
    noise = 1.0
    if plan.loss.has_noise:
        noise = max(settings.starting_noise, plan.loss.min_shared_noise)
    states, all_penalties = [], settings.starting_penalties
    for index, network in enumerate(networks):
        penalties = all_penalties[min(index, len(all_penalties) - 1)]
        alpha = [[weight / data.n_observations for weight in penalties]]
        prior = Prior.of_alpha(network, alpha, noise, data.n_observations)
        prior = prior.with_bounded_outputs(network, CurveSizes.of(plan.loss, data))
        # A coarse grid takes for noise what it cannot show. Its edges must not die.
        states.append(FitState(network, prior, max_precision=prior.precision))
    return states


def _linear_start(network, data, plan):
    rows = data.sample(_settings.CONTINUATION.max_rows_for_evidence)
    objective = make_objective(network, rows, plan)
    linearised = LinearisedModel.around(network.theta, network, objective, rows, plan)
    return FitState(network, best_common_prior(linearised))


def burn_in(state, data, plan, max_iter):
    """The state after steps under its own prior; its score is minus the objective."""
    settings = _settings.SECOND_ORDER
    run, value = _SecondOrderRun(state, data, plan), math.inf
    while run.n_iter < min(max_iter, settings.max_burn_in):
        before = value
        value = run.solve(state.prior, settings.steps_per_grid_update, max_iter)
        moved = run.update_hidden_grids() is not None
        has_settled = before - value < settings.burn_in_tol * abs(value)
        if run.solver_converged or (not moved and has_settled):
            break
    return replace(run.state(state.prior), score=-value)


def train_second_order(state, data, plan, max_iter, monitor=None, min_score=-math.inf):
    """The state after training until it converges or the budget is spent.

    Parameters
    ----------
    state : FitState
    data : Dataset
    plan : FitPlan
    max_iter : int
    monitor : Monitor, default=None
    min_score : float, default=-inf
        Training ends early when the score cannot reach it any more, or not at its
        pace: the linearised model promises at least the evidence at the mode, and the
        gains of updates fall.

    Returns
    -------
    FitState
    """
    run, prior = _SecondOrderRun(state, data, plan, monitor), state.prior
    if not plan.learns_alpha:
        trained = _minimise_objective(run, prior, max_iter)
    else:
        settings = _settings.SECOND_ORDER
        if plan.loss.has_noise and prior.noise < settings.low_noise:
            prior = prior.with_change_of_curvature(settings.third_difference_ratio)
        trained = _maximise_evidence(run, prior, plan.tol, max_iter, min_score)
        if trained.score >= min_score:
            trained = _to_mode(run, trained, max_iter, settings.mode_tol)
    return trained


def at_mode(
    state, data, plan, max_iter, monitor=None, mode_tol=_settings.SECOND_ORDER.mode_tol
):
    """The state with its weights at their posterior mode under its own prior.

    The log posterior is then at most `mode_tol` below the mode.
    """
    run = _SecondOrderRun(state, data, plan, monitor)
    return _to_mode(run, state, max_iter, mode_tol)


def _minimise_objective(run, prior, max_iter):
    """Minimise the plan's own objective; hidden grids follow their nodes at first."""
    steps = _settings.SECOND_ORDER.steps_per_grid_update
    moved, value = run.may_move, math.inf
    while moved and run.n_iter < max_iter and not run.stopped:
        value = run.solve(None, steps, max_iter)
        moved = run.update_hidden_grids() is not None or not run.solver_converged
        moved = moved and run.may_move
    # A search that moves slowly along a valley ends before it has reached a minimum.
    is_over = False
    while run.n_iter < max_iter and not (run.stopped or is_over):
        before, value = value, run.solve(None, max_iter, max_iter)
        is_over = run.is_at_minimum() or value == before
    state = replace(run.state(prior), score=-value, converged=run.solver_converged)
    if run.stopped or not run.solver_converged or run.is_at_minimum():
        return state
    return replace(state, converged=False, reason=EndReason.STUCK)


def _maximise_evidence(run, prior, tol, max_iter, min_score):
    """Improve the prior, and let the weights follow.

    The linearised model stands in for the mode of the weights.
    """
    settings = _settings.SECOND_ORDER
    min_gain = settings.min_evidence_gain + 0.5 * tol * run.n_targets
    run.solve(prior, settings.steps_per_prior_update, max_iter)
    posterior = run.posterior(prior)
    if posterior is None:
        return replace(run.state(prior), reason=EndReason.NO_EVIDENCE)
    fraction, n_no_change = 1.0, 0
    converged, message, reason = False, "budget spent", None
    while run.n_iter < max_iter and not run.stopped:
        ceiling = run.precision_ceiling(prior, posterior)
        trial = improved_prior(run.linearised(), prior, posterior, fraction, ceiling)
        origin = run.theta
        run.solve(trial, settings.steps_per_prior_update, max_iter)
        of_trial = run.posterior(trial)
        gain = _gain(of_trial, posterior)
        if gain < -settings.max_evidence_fall:
            # The weights moved farther than the linearised model holds.
            run.return_to(origin)
            fraction /= 4
            if fraction < settings.min_update:
                converged, message = True, "no update raises the evidence"
                break
            continue
        prior, posterior = trial, of_trial
        n_no_change = n_no_change + 1 if gain < fraction * min_gain else 0
        fraction = min(1.0, 2 * fraction)
        scales = run.update_hidden_grids()
        if scales is not None:
            prior = prior.with_scaled_nodes(run.network, scales)
            prior = prior.at_most(run.max_precision)
            after_move = run.posterior(prior)
            if after_move is None:
                message, reason = "", EndReason.NO_EVIDENCE
                break
            posterior, n_no_change = after_move, 0
        elif posterior.log_evidence + settings.max_gains_ahead * gain < min_score:
            message = "too far behind another start"
            break
        elif n_no_change >= settings.n_updates_no_change:
            elsewhere = _at_another_maximum(run, prior, posterior, max_iter)
            if elsewhere is not None:
                prior, posterior = elsewhere
                n_no_change = 0
                continue
            converged, message = True, "the evidence has stopped rising"
            break
    return replace(
        run.state(prior),
        score=posterior.log_evidence,
        converged=converged or run.stopped,
        message=message,
        reason=reason,
    )


def _at_another_maximum(run, prior, posterior, max_iter):
    """Prior and posterior with clearly more evidence, by the priors of single edges.

    They are looked for where the model is linear in its weights, so that its evidence
    is exact; None if there are none.
    """
    if run.has_hidden_layers:
        return None
    other, origin = with_best_edges(run.linearised(), prior, posterior), run.theta
    if other is prior:
        return None
    run.solve(other, _settings.SECOND_ORDER.steps_per_prior_update, max_iter)
    of_other = run.posterior(other)
    if _gain(of_other, posterior) > 0:
        return other, of_other
    run.return_to(origin)
    return None


def _gain(after, before):
    """Gain of log evidence, from one LinearisedPosterior to another or None."""
    return -math.inf if after is None else after.log_evidence - before.log_evidence


def _to_mode(run, state, max_iter, mode_tol):
    """The state with its weights at their mode, where the evidence is exact."""
    settings, prior = _settings.SECOND_ORDER, state.prior
    end = min(max_iter, run.n_iter + settings.max_steps_to_mode)
    while run.n_iter < end and not run.stopped:
        run.solve(prior, settings.steps_per_prior_update, end)
        posterior = run.posterior(prior)
        is_near = posterior is None or posterior.decrement < mode_tol
        if run.solver_converged or is_near:
            break
    posterior = run.posterior(prior)
    if posterior is not None:
        prior = with_noise_at_point(run.linearised(), prior, posterior)
        posterior = run.posterior(prior)
    return replace(
        run.state(prior),
        score=-math.inf if posterior is None else posterior.evidence_at_point,
        converged=state.converged,
        message=state.message,
        reason=state.reason,
    )


class _SecondOrderRun:
    """The weights and the solver of a network under second-order training."""

    def __init__(self, state, data, plan, monitor=None):
        self._data, self._plan, self._monitor = data, plan, monitor
        self._objective = make_objective(state.network, data, plan)
        self._solver_state, self._n_grid_updates = None, 0
        self.max_precision = state.max_precision
        self.n_targets = data.n_observations * data.target.shape[1]
        self._move_to(self._objective.start)
        self.n_iter = 0
        self.solver_converged = False  # in its last call
        self.stopped = False  # by the monitor

    @property
    def network(self):
        return self._objective.network_at(self.theta)

    @property
    def has_hidden_layers(self):
        return len(self._objective.network.layers) > 1

    @property
    def may_move(self):
        """Whether hidden grids may be updated once more."""
        may_still = self._n_grid_updates < self._plan.n_grid_updates
        return self.has_hidden_layers and may_still

    def state(self, prior):
        return FitState(
            self.network,
            prior,
            self._objective,
            n_iter=self.n_iter,
            max_precision=self.max_precision,
        )

    def solve(self, prior, n_steps, max_iter):
        """Take steps under a prior (None: the plan's penalties); returns the value."""
        objective = self._objective
        if prior is None:  # gauge constraints would slow down the descent
            objective = objective.without_gauge_constraints()
        else:
            alpha = prior.alpha(self._data.n_observations)
            objective = objective.with_penalties((QuadraticPenalty(alpha),))
        values, n_no_change = [], _settings.SECOND_ORDER.n_iter_no_change

        def watch(theta, value):
            values.append(value)
            if self._monitor is not None:
                return self._monitor(theta, value)
            before = values[-min(len(values), n_no_change)]
            stalls = before - value <= self._plan.tol * abs(value)
            return len(values) > n_no_change and stalls

        self._move_to(self.theta)  # the solver needs none of its old matrices
        if self._monitor is not None:
            self._monitor.begin_search(objective)
        outcome = self._plan.solver.minimize(
            objective,
            self.theta,
            max_iter=min(n_steps, max_iter - self.n_iter),
            monitor=watch,
            generator=None,
            state=self._solver_state,
        )
        self._move_to(outcome.theta)
        self._solver_state = outcome.state
        self.n_iter += outcome.n_iter
        self.solver_converged = outcome.converged
        if self._monitor is not None:
            if not self._monitor.loss_curve:  # the start cannot be improved
                self._monitor(self.theta, objective.value(self.theta))
                self.n_iter += 1
            self.stopped = self._monitor.stage_ended
        return values[-1] if values else objective.value(self.theta)

    def is_at_minimum(self):
        """Whether the gradient of the plan's objective agrees."""
        promised = self._objective.promised_decrease(self.theta)
        return promised <= _settings.SCHEDULE.max_promised_decrease

    def _move_to(self, theta):
        self.theta = theta
        self._linearised, self._prior, self._posterior = None, None, None

    def return_to(self, theta):
        """Undo the last steps, and start the solver afresh."""
        self._move_to(theta)
        self._solver_state = None

    def linearised(self):
        """The network as a linear model around its present weights; it is kept."""
        if self._linearised is None:
            network = self._objective.network
            self._linearised = LinearisedModel.around(
                self.theta, network, self._objective, self._data, self._plan
            )
        return self._linearised

    def posterior(self, prior):
        """Posterior of the linear model, LinearisedPosterior or None; it is kept."""
        if self._prior is not prior:
            self._prior, self._posterior = prior, self.linearised().posterior(prior)
        return self._posterior

    def precision_ceiling(self, prior, posterior):
        """Precisions that the next prior must not exceed, Tensor or None.

        Where the posterior mean promises a nat for each target, weights may never reach
        it. A prior for that mean would pull at them: on products of two variables the
        log evidence fell by up to 16,000.
        """
        ceiling = self.max_precision
        if posterior.decrement > self.n_targets:
            for_point = precision_for_point(self.linearised(), prior, posterior)
            ceiling = for_point if ceiling is None else ceiling.minimum(for_point)
        return ceiling

    def update_hidden_grids(self):
        """Let hidden nodes and grids fit each other.

        Returns
        -------
        list or None
            Factors of the nodes; None if nothing moved.
        """
        if not self.may_move:
            return None
        network, scales = standardised(self.network, self._data, self._plan)
        if scales is not None:
            self._n_grid_updates += 1
            self._objective = self._objective.with_network(network)
            self._move_to(self._objective.start)
        return scales
