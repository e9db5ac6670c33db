"""Training that continues a previous fit."""

from dataclasses import replace

import numpy as np
import torch

from skkan.inference._laplace_posterior import prior_of_penalty
from skkan.inference._prior import Prior
from skkan.selection._regularization_path import validated_plan
from skkan.selection._search_space import WITHOUT_SEARCH
from skkan.selection._solver_choice import FIRST_ORDER_ALPHA
from skkan.strategies._fit_problem import MAX_GRID_ROWS
from skkan.strategies._fit_strategy import FitStrategy
from skkan.training._settings import SECOND_ORDER
from skkan.training._state import FitState


class WarmStart(FitStrategy):
    """Training that continues a previous fit."""

    def __init__(self, problem):
        self.problem, self.networks = problem, [problem.network]
        structure = problem.structure.or_else(WITHOUT_SEARCH)
        self.plan = plan = problem.plan(problem.network, structure.grid_eps)
        self._check_pruning()
        self._prior = self._noise = None
        if self._continues_validated(plan):
            posterior = problem.previous.posterior
            alpha = torch.tensor(posterior.alpha)
            validated = validated_plan(plan, problem.network, alpha)
            if problem.streaming:
                validated = replace(plan, penalties=validated.penalties)
            self.plan = validated
            if posterior.noise is not None:
                self._noise = torch.tensor(posterior.noise)
        else:
            self._prior = self._previous_prior()

    def fit(self, monitor):
        state, plan = self._train(self.networks, monitor, self.plan, self._prior)
        state = self._settled(state, plan, monitor)
        return self._finished(state, plan, monitor)

    def prune(self, monitor):
        """Prune the previous network as it is, and train what is left."""
        state = FitState(
            self.networks[0], self._prior, converged=True, loss=self.plan.loss
        )
        return self._finished(state, self.plan, monitor)

    def _finished(self, state, plan, monitor):
        state, plan = self._pruned(state, plan, monitor)
        if plan.penalty_from_validation:
            state = self._with_validation(state, self._noise)
        return state, plan

    def _continues_validated(self, plan):
        """Whether validation rows of the previous fit have set what may stay open."""
        posterior, settings = self.problem.previous.posterior, self.problem.settings
        return (
            posterior is not None
            and not posterior.covers_all_weights
            and isinstance(settings.alpha, str)
            and settings.penalty is None
            and not plan.solver.second_order
        )

    def _previous_prior(self):
        """Prior of a previous second-order fit in the same range, or a default one."""
        network, data = self.problem.network, self.problem.data
        previous = self.problem.previous
        if not self.plan.solver.second_order:
            return None
        # What was learnt in a narrow range is too loose for the curves beyond: training
        # with hidden nodes then ends in curves that swing between far rows.
        is_wider = self.problem.extension > previous.continuation.extension
        if is_wider or not previous.has_laplace_posterior:
            return prior_of_penalty(network, data, self.plan, FIRST_ORDER_ALPHA)
        posterior = previous.posterior
        noise, n_rows = posterior.shared_noise, posterior.n_observations
        prior = Prior.of_alpha(network, posterior.alpha, noise, n_rows)
        # Of columns that were constant the previous fit has learnt that they are of no
        # use. They may vary now.
        scale = previous.preprocessing.input_scaling.scale
        varies = (data.sample(MAX_GRID_ROWS).X.abs() > 0).any(0).cpu()
        begins = (varies & torch.from_numpy(np.isinf(scale)))[network.used_features]
        edges = network.leaving_edges[0][begins].flatten()
        if len(edges):
            alpha = [[part / n_rows for part in SECOND_ORDER.starting_penalties[0]]]
            start = Prior.of_alpha(network, alpha, noise, n_rows)
            prior.precision[edges] = start.precision[edges]
        return prior
