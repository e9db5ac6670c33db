"""What all ways from a problem to a trained network have in common.

Making a strategy checks the request and draws the networks to start from. Its method
`fit` trains.
"""

from abc import ABC, abstractmethod
from dataclasses import replace

from skkan.selection import _settings
from skkan.selection._solver_choice import check_pruning
from skkan.training._final_posterior import with_posterior
from skkan.training._pruning import pruned
from skkan.training._stages import train_adapting
from skkan.training._state import EndReason


class FitStrategy(ABC):
    """One way from a problem to a trained network.

    Attributes
    ----------
    problem : FitProblem
    plan : FitPlan
    networks : list of KANNetwork
        To choose the start from.
    search_results : dict or None
        What a fit that chooses the structure has tried.
    """

    search_results = None

    @property
    def n_stages(self):
        """Largest number of stages that a monitor sees, pruning left out."""
        return len(self.plan.grid_sizes)

    @abstractmethod
    def fit(self, monitor):
        """Train a network.

        Parameters
        ----------
        monitor : Monitor

        Returns
        -------
        state : FitState
        plan : FitPlan
            By which the training has ended.
        """

    def _check_pruning(self):
        threshold, plan = self.problem.settings.prune_threshold, self.plan
        check_pruning(threshold, plan.solver, learns_alpha=plan.learns_alpha)

    def _train(self, networks, monitor, plan, prior=None):
        problem = self.problem
        state = train_adapting(
            networks, problem.data, plan, problem.generator, monitor, prior
        )
        return state, replace(plan, loss=state.loss)

    def _pruned(self, state, plan, monitor):
        """The state without unneeded edges, where that is requested."""
        problem, threshold = self.problem, self.problem.settings.prune_threshold
        if threshold is None or state.interrupted:
            return state, plan
        return pruned(state, problem.data, plan, threshold, problem.generator, monitor)

    def _settled(self, state, plan, monitor):
        """The state as a fit without pruning would leave it.

        It matters for classes only, whose weights end at the mean of the posterior.
        """
        prunes = self.problem.settings.prune_threshold is not None
        if not prunes or state.interrupted or plan.loss.has_noise:
            return state
        keep_weights = self.problem.settings.early_stopping
        return with_posterior(
            state, self.problem.data, plan, monitor, keep_weights=keep_weights
        )

    def _with_validation(self, state, noise):
        """The state with the noise of the validation rows; few steps are intended."""
        is_long = self.problem.settings.max_iter >= _settings.PATH.max_last_iter
        converged = is_long and state.reason is not EndReason.STUCK
        return replace(state, validation_noise=noise, converged=converged)
