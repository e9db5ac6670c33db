"""The strategy for a problem."""

from dataclasses import replace
from numbers import Real

from skkan.selection._search_space import WITHOUT_SEARCH, InputCounts, search_space
from skkan.selection._settings import SEARCH_SPACE
from skkan.selection._solver_choice import solver_of
from skkan.strategies._chosen_structure import StructureComparison, StructureSearch
from skkan.strategies._fixed_structure import FixedStructure
from skkan.strategies._warm_start import WarmStart


def choose_strategy(problem):
    """The strategy for a problem, FitStrategy."""
    if problem.previous is not None:
        return WarmStart(problem)
    structure = problem.structure.or_else(WITHOUT_SEARCH)
    settings, space = problem.settings, _search_space_of(problem)
    if problem.is_additive:
        structure = replace(
            structure,
            hidden_layer_sizes=(),
            n_multiplications=(),
            additive_skip=False,
        )
        space = space._replace(hidden=(), second_order=None)
    elif problem.structure.hidden_layer_sizes is None:
        structure = problem.with_node_for_each_group(structure)
        space = space._replace(
            hidden=tuple(map(problem.with_node_for_each_group, space.hidden)),
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
    if not space.hidden:
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
    return search_space(
        problem.structure,
        problem.data,
        inputs,
        may_take_pairs=problem.interactions is None and _has_pairs_to_choose(counts),
    )


def _has_pairs_to_choose(features):
    """Whether there are several pairs, and not too many to screen."""
    return 2 < len(features) <= SEARCH_SPACE.max_features_for_pairs
