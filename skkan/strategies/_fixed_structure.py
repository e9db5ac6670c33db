"""Training of a structure that the parameters determine."""

import math
from dataclasses import replace

from skkan.network._edits import resized
from skkan.penalties._quadratic import QuadraticPenalty
from skkan.selection import _settings
from skkan.selection._solver_choice import coarser_for_lm, solver_of
from skkan.solvers import LevenbergMarquardt
from skkan.strategies._finer_grids import on_finer_grids
from skkan.strategies._fit_strategy import FitStrategy
from skkan.strategies._random_starts import random_starts
from skkan.training._continuation import continuation_stages, trained_from_starts
from skkan.training._settings import SECOND_ORDER


class FixedStructure(FitStrategy):
    """Training of a structure that the parameters determine."""

    def __init__(self, problem, network, structure):
        self.problem, self.networks = problem, [network]
        self._structure = structure
        self.plan = plan = problem.plan(network, structure.grid_eps)
        self._check_pruning()
        if plan.solver.second_order and (plan.learns_alpha or len(network.layers) > 1):
            starts = SECOND_ORDER.starting_penalties[1:]
            self.networks += [problem.new_network(structure) for _ in starts]
            data = problem.data
            n_rows = continuation_stages(network, data.n_rows)[0].n_rows
            self.networks += random_starts(
                network, n_rows, data, plan, problem.generator
            )

    def fit(self, monitor):
        networks, plan = self.networks, self.plan
        if self._may_learn_on_coarser_grids():
            networks, plan = self._learnt_on_coarser_grids(monitor)
        state, plan = self._train(networks, monitor, plan)
        if self._chooses_grid_size:
            state, plan = self._on_finer_grids(state, plan, monitor)
        return self._pruned(self._settled(state, plan, monitor), plan, monitor)

    @property
    def n_stages(self):
        finest = _settings.FINER_GRIDS.max_grid_size / self.plan.grid_sizes[-1]
        n_finer = int(math.log2(finest)) if self._chooses_grid_size else 0
        return super().n_stages + n_finer

    @property
    def _chooses_grid_size(self):
        """Whether the evidence chooses it."""
        is_open = self.problem.structure.grid_size is None
        follows_validation = self.problem.settings.early_stopping
        plan = self.plan
        may_learn = plan.learns_alpha and plan.loss.has_noise
        return is_open and may_learn and not follows_validation

    def _on_finer_grids(self, state, plan, monitor):
        """The state on the finest grids that evidence and held-out rows confirm.

        Hidden grids fit their nodes already. An update would lose what fine curves have
        learnt.
        """
        problem, plan = self.problem, replace(plan, n_grid_updates=0)
        while state.converged and not monitor.fit_ended:
            finer, is_better = on_finer_grids(
                state, problem.data, plan, problem.generator
            )
            monitor.n_iter += 0 if finer is None else finer.n_iter
            if not is_better:
                break
            plan = replace(plan, grid_sizes=(finer.network.grid_size,))
            before = state
            state, plan = self._train([finer.network], monitor, plan, finer.prior)
            state = replace(
                state,
                n_iter=before.n_iter + finer.n_iter + state.n_iter,
                stage_ends=(*before.stage_ends, *state.stage_ends),
            )
        return state, plan

    def _may_learn_on_coarser_grids(self):
        """Whether only the fineness of the grids keeps the evidence from being used."""
        settings = self.problem.settings
        return (
            solver_of(settings.solver) is None
            and isinstance(settings.alpha, str)
            and settings.penalty is None
            and not (self.plan.solver.second_order or self.problem.streaming)
        )

    def _learnt_on_coarser_grids(self, monitor):
        """Curves and penalty of coarser grids, on which second order is affordable.

        Returns
        -------
        networks : list of KANNetwork
            On the grids of the plan.
        plan : FitPlan
        """
        (network,), plan, data = self.networks, self.plan, self.problem.data
        grid_size = coarser_for_lm(network, data.n_rows)
        if grid_size is None:
            return [network], plan
        plan_of_lm = replace(
            plan,
            solver=LevenbergMarquardt(),
            grid_sizes=(grid_size,),
            learns_alpha=True,
        )
        others = SECOND_ORDER.starting_penalties[1:]
        starts = [network, *(self.problem.new_network(self._structure) for _ in others)]
        starts = [resized(start, grid_size) for start in starts]
        state = trained_from_starts(starts, data, plan_of_lm, plan.max_iter)
        monitor.n_iter += state.n_iter
        alpha = state.prior.alpha(data.n_observations)
        fine = resized(state.network, network.grid_size, network.layers[0].basis)
        penalties = (QuadraticPenalty(alpha.cpu()),)
        return [fine], replace(plan, penalties=penalties, n_grid_updates=0)
