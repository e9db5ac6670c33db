"""Training of a structure that the data choose, by a search or a comparison."""

from dataclasses import replace

from skkan.selection import _settings
from skkan.selection._structure_comparison import compare_structures
from skkan.selection._structure_search import search_structure
from skkan.strategies._fit_strategy import FitStrategy
from skkan.training._stages import trained_already
from skkan.training._state import EndReason


class StructureSearch(FitStrategy):
    """Search for a structure by the data, and training of what it finds."""

    def __init__(self, problem, network, space):
        self.problem, self.networks, self._space = problem, [network], space
        self.plan = problem.plan(network, space.grid_eps, searching=True)

    def fit(self, monitor):
        problem = self.problem
        early_stopping = problem.settings.early_stopping
        found, plan, self.search_results = search_structure(
            self._space,
            problem.new_network,
            # A network can be monitored, an ensemble cannot.
            1 if early_stopping else _settings.SEARCH.n_members,
            problem.data,
            self.plan,
            problem.generator,
            monitor.begin_step,
        )
        monitor.n_iter += found.n_iter
        if plan.penalty_from_validation and not early_stopping:
            state = trained_already(found, problem.data, plan, monitor)
        else:
            state, plan = self._train([found.network], monitor, plan, found.prior)
        if plan.penalty_from_validation:
            state = self._with_validation(state, found.validation_noise)
            state = replace(
                state,
                converged=state.converged and found.converged,
                message=found.message or state.message,
                reason=found.reason or state.reason,
            )
        elif found.reason is EndReason.MEMBERS_DIVERGED:
            state = replace(
                state, converged=False, message=found.message, reason=found.reason
            )
        return state, plan


class StructureComparison(FitStrategy):
    """Training of an additive model or of hidden nodes, by a given solver or alpha.

    What is fitted is what the parameters would give with this structure.

    Parameters
    ----------
    additive, hidden : FixedStructure
    """

    def __init__(self, additive, hidden):
        self.problem = hidden.problem
        self.networks, self.plan = hidden.networks, hidden.plan
        self._strategies = additive, hidden

    @property
    def n_stages(self):
        return max(strategy.n_stages for strategy in self._strategies)

    def fit(self, monitor):
        problem = self.problem
        chosen, n_iter, self.search_results = compare_structures(
            [(each.networks[0], each.plan) for each in self._strategies],
            problem.data,
            problem.fresh_generator(),
            problem.settings.n_iter_no_change,
            monitor.begin_step,
        )
        monitor.n_iter += n_iter
        return self._strategies[chosen].fit(monitor)
