"""The ways from a problem to a trained network: fixed structure, search, warm start.

Making a strategy checks the request and draws the networks to start from. Its method
`fit` trains.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real

import numpy as np
import torch

from skkan.basis._categories_and_missing import mixed_basis_from_samples
from skkan.basis._outlier_limits import limited
from skkan.data._dask_dataset import DaskDataset
from skkan.data._dataset import Dataset
from skkan.data._preprocessing import Preprocessing
from skkan.fitted._fitted_model import FittedModel
from skkan.fitted._target import Target
from skkan.inference._laplace_posterior import prior_of_penalty
from skkan.inference._prior import Prior
from skkan.losses._base import Loss
from skkan.network._edits import resized, with_outputs_at_zero
from skkan.network._network import KANNetwork
from skkan.penalties._quadratic import QuadraticPenalty
from skkan.selection import _settings
from skkan.selection._finer_grids import on_finer_grids
from skkan.selection._interactions import PAIRWISE, screened_pairs, with_groups
from skkan.selection._random_starts import random_starts
from skkan.selection._regularization_path import validated_plan
from skkan.selection._search_space import (
    WITHOUT_SEARCH,
    InputCounts,
    Structure,
    search_space,
)
from skkan.selection._solver_choice import (
    FIRST_ORDER_ALPHA,
    alpha_of_stream,
    check_pruning,
    checked_alpha,
    choose_penalties,
    choose_solver,
    coarser_for_lm,
    solver_of,
)
from skkan.selection._structure_comparison import compare_structures
from skkan.selection._structure_search import search_structure
from skkan.solvers import LevenbergMarquardt
from skkan.training._continuation import continuation_stages, trained_from_starts
from skkan.training._final_posterior import with_posterior
from skkan.training._plan import FitPlan
from skkan.training._pruning import pruned
from skkan.training._settings import SECOND_ORDER
from skkan.training._stages import train_adapting, trained_already
from skkan.training._state import EndReason, FitState

# Grids end that many mean distances between samples beyond the outermost ones, so that
# hardly any later row is left to the continuation.
MARGIN_IN_SAMPLES = 8.0
LARGEST_MARGIN = 0.05  # as a fraction of the range
EVEN_WITHIN = 3.0  # of grids that follow the samples, in robust deviations
HIDDEN_MARGIN = 0.06  # of the range of a hidden node, which later rows exceed more
# The range of a node ends in corners of the inputs, where few rows are. Fits to exact
# laws were wrong by up to 2.8 deviations of y beyond grids that ended before: with a
# margin of .06, the error on fresh rows was 37 times as large for 150 rows as with .3,
# and 5 times for 300 as with .1. For 1,000 rows it was twice that with .1, but fits on
# fine grids ended at 2e-7 for 3e-8, as each move of a grid disturbs its curves.
# Where noise is left, no row tells the curves there: California and bikeshare (600
# rows, 5 and 10 nodes, two seeds) had a mean R2 of .675 for .747.
LAW_MARGIN_IN_SAMPLES = 36.0  # divided by n_rows
LARGEST_LAW_MARGIN = 0.3
MAX_GRID_ROWS = 100_000  # rows from which first grids are taken


@dataclass(frozen=True, eq=False)
class FitProblem:
    """All that a training starts from.

    Attributes
    ----------
    settings : object
        Has the estimators' parameters of training as attributes.
    structure : Structure
        As requested; None where the data are to choose.
    grid_sizes : tuple of int
        To visit one after the other.
    data : Dataset or DaskDataset
        Rows to fit, in scaled units.
    validation : Dataset or None
    has_missing : bool
        Whether cells are missing in either of them.
    n_categories : ndarray of int of shape (n_features,)
        0 for numbers.
    loss : Loss
    preprocessing : Preprocessing
    target : Target
    generator : torch.Generator
    previous : FittedModel or None
        Fit to continue.
    network : KANNetwork or None
        That of the previous fit, which takes the missing cells of these rows.
    extension : float
        Intervals of its grids for each that was requested; see `Continuation`.
    streaming : bool
        Whether rows come batch by batch.
    remembered : tuple (X, encoded target, sample weight) or None
        What a stream remembers of its rows, those of this batch included.
    interactions : "pairwise", list of tuples of int, or None
        See `checked_interactions`.
    """

    settings: object
    structure: Structure
    grid_sizes: tuple
    data: Dataset | DaskDataset
    validation: Dataset | None
    has_missing: bool
    n_categories: np.ndarray
    loss: Loss
    preprocessing: Preprocessing
    target: Target
    generator: torch.Generator
    previous: FittedModel | None = None
    network: KANNetwork | None = None
    extension: float = 1.0
    streaming: bool = False
    remembered: tuple | None = None
    interactions: list | str | None = None

    @property
    def is_additive(self):
        """Whether no features may act together."""
        return self.interactions is not None and len(self.interactions) == 0

    @cached_property
    def groups(self):
        """Groups of features that hidden nodes may take, None for all together."""
        if self.interactions == PAIRWISE:
            return screened_pairs(self.data, self.n_categories)
        return self.interactions

    def with_node_for_each_group(self, structure):
        """The structure with more hidden nodes, if more groups were given."""
        if structure is None or not isinstance(self.interactions, list):
            return structure
        sizes = structure.hidden_layer_sizes
        sizes = tuple(max(size, len(self.interactions)) for size in sizes)
        return replace(structure, hidden_layer_sizes=sizes)

    @property
    def alpha_before(self):
        """What the previous fit has learnt of the penalty, (n_edges, 3), or None."""
        return None if self.previous is None else self.previous.learnt_alpha

    def fresh_generator(self):
        """Another generator, as this one was at first."""
        return torch.Generator().manual_seed(self.generator.initial_seed())

    def new_network(self, structure):
        """Network to start from, another one at each call."""
        data, settings = self.data, self.settings
        sample = data.sample(MAX_GRID_ROWS)
        is_adaptive = structure.grid_eps < 1
        within = limited(sample.X, adaptive=is_adaptive)
        n_categories = torch.from_numpy(self.n_categories).to(within.device)
        if n_categories.any():
            within = torch.where(n_categories > 0, sample.X, within)
        of_grids = {
            "grid_size": structure.grid_size,
            "spline_order": int(settings.spline_order),
            "grid_eps": structure.grid_eps,
            "margin": min(MARGIN_IN_SAMPLES / data.n_rows, LARGEST_MARGIN),
            "base_activation": settings.base_activation,
            "extrapolation": settings.extrapolation,
            "sample_weight": sample.sample_weight,
        }
        network = KANNetwork.from_samples(
            [data.n_features, *structure.hidden_layer_sizes, data.target.shape[1]],
            within,
            additive_skip=structure.additive_skip and structure.hidden_layer_sizes,
            generator=self.generator,
            inputs=mixed_basis_from_samples(
                sample.X,
                within,
                n_categories,
                has_gaps=self.has_missing,
                even_within=EVEN_WITHIN if is_adaptive else math.inf,
                **of_grids,
            ),
            **of_grids,
        )
        if self.groups and structure.hidden_layer_sizes:
            n_groups = min(len(self.groups), *structure.hidden_layer_sizes)
            network = with_groups(network, self.groups[:n_groups])
        # A target that does not vary is known already. From another start the steps of
        # a solver would only come near it.
        is_known = (data.target == data.target[:1]).all(0)
        return with_outputs_at_zero(network, is_known)

    def plan(self, network, grid_eps, *, searching=False):
        """Plan for a network to start from."""
        settings = self.settings
        alpha = checked_alpha(settings.alpha, network)
        solver = choose_solver(
            settings.solver,
            network,
            self.data.n_rows,
            fixed_alpha=isinstance(alpha, float),
            has_penalty=settings.penalty is not None,
            streaming=self.streaming,
            searching=searching,
            in_chunks=self.data.in_chunks,
        )
        strength = alpha
        if alpha is None and self.streaming:
            n_edges = sum(layer.mask.numel() for layer in network.all_layers)
            grid_size = network.grid_size / self.extension
            strength = alpha_of_stream(n_edges, self.data.n_rows, grid_size)
            if self.alpha_before is not None:
                strength = np.minimum(strength, self.alpha_before)
        return FitPlan(
            loss=self.loss,
            penalties=choose_penalties(strength, settings.penalty),
            solver=solver,
            grid_sizes=self.grid_sizes,
            n_grid_updates=settings.n_grid_updates,
            grid_eps=grid_eps,
            max_iter=settings.max_iter,
            tol=settings.tol,
            hidden_margin=HIDDEN_MARGIN,
            margin_of_laws=_margin_of_laws(self.data.n_rows),
            learns_alpha=alpha is None and solver.second_order,
        )


def _margin_of_laws(n_rows):
    margin = LAW_MARGIN_IN_SAMPLES / n_rows
    return min(max(margin, HIDDEN_MARGIN), LARGEST_LAW_MARGIN)


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
            state = _with_validation(state, found.validation_noise, problem)
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
            state = _with_validation(state, self._noise, self.problem)
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


def _with_validation(state, noise, problem):
    """The state with the noise of the validation rows; few iterations are intended."""
    max_iter = problem.settings.max_iter
    is_stuck = state.reason is EndReason.STUCK
    converged = max_iter >= _settings.PATH.max_iter and not is_stuck
    return replace(state, validation_noise=noise, converged=converged)


def choose_strategy(problem):
    """The strategy for a problem, FitStrategy."""
    if problem.previous is not None:
        return WarmStart(problem)
    structure = problem.structure.or_else(WITHOUT_SEARCH)
    settings, space = problem.settings, _search_space_of(problem)
    if problem.is_additive:
        structure = replace(structure, hidden_layer_sizes=(), additive_skip=False)
        space = space._replace(hidden=None, second_order=None)
    elif problem.structure.hidden_layer_sizes is None:
        structure = problem.with_node_for_each_group(structure)
        space = space._replace(
            hidden=problem.with_node_for_each_group(space.hidden),
            second_order=problem.with_node_for_each_group(space.second_order),
        )
    network = problem.new_network(structure)
    if not _may_choose_structure(problem):
        is_open = problem.structure.hidden_layer_sizes is None
        if problem.is_additive and is_open and settings.grid_schedule is None:
            return _fixed(problem, space.additive)
        return FixedStructure(problem, network, structure)
    if solver_of(settings.solver) is None and isinstance(settings.alpha, str):
        return StructureSearch(problem, network, space)
    additive = _fixed(problem, space.additive)
    if space.hidden is None:
        return additive
    return StructureComparison(additive, FixedStructure(problem, network, structure))


def _fixed(problem, structure):
    """FixedStructure as if this structure had been requested."""
    problem = replace(
        problem,
        structure=structure,
        grid_sizes=(structure.grid_size,),
        generator=problem.fresh_generator(),
    )
    return FixedStructure(problem, problem.new_network(structure), structure)


def _may_choose_structure(problem):
    """Whether the data are to choose it, and no parameter needs a certain one."""
    settings = problem.settings
    return (
        problem.structure.hidden_layer_sizes is None
        and not problem.streaming
        and isinstance(settings.alpha, str | Real)
        and settings.penalty is None
        and settings.prune_threshold is None
        and settings.grid_schedule is None
    )


def _search_space_of(problem):
    """Structures to choose from."""
    settings = problem.settings
    counts = problem.n_categories
    inputs = InputCounts(
        n_numbers=int((counts == 0).sum()),
        n_categories=int(counts.sum()),
        n_others=int(settings.spline_order) + 1,
    )
    return search_space(problem.structure, problem.data, inputs)
