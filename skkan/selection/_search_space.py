"""The structure of a network, and the limits within which a search may try others."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from skkan.selection import _settings


@dataclass(frozen=True)
class Structure:
    """Structure of a network before it is trained; None where the data decide."""

    hidden_layer_sizes: tuple | None
    grid_size: int | None
    grid_eps: float | None
    additive_skip: bool | None
    # Whether each hidden node takes one of the pairs of features that are screened.
    is_pairwise: bool | None = None
    n_multiplications: tuple | None = None  # one for each hidden layer

    @property
    def n_products(self):
        """Number of products of each hidden layer, tuple of int."""
        return self.n_multiplications or (0,) * len(self.hidden_layer_sizes or ())

    @property
    def n_nodes(self):
        """Number of nodes of each hidden layer, products included, tuple of int."""
        pairs = zip(self.hidden_layer_sizes or (), self.n_products, strict=True)
        return tuple(n_sums + n_products for n_sums, n_products in pairs)

    def or_else(self, other):
        """The structure with its open fields taken from another one."""
        own = {name: value for name, value in vars(self).items() if value is not None}
        return replace(other, **own)

    def n_parameters(self, inputs, n_outputs):
        """Number of weights of a network between such inputs and outputs."""
        n_functions = self.grid_size + inputs.n_others
        of_first = inputs.n_numbers * n_functions + inputs.n_categories
        widths = [*self.n_nodes, n_outputs]
        n_products = [*self.n_products, 0]
        total = of_first * (widths[0] + n_products[0])
        layers = zip(pairwise(widths), n_products[1:], strict=True)
        total += sum(a * (b + more) for (a, b), more in layers) * n_functions
        if self.additive_skip and self.hidden_layer_sizes:
            total += of_first * n_outputs
        return total


class InputCounts(NamedTuple):
    """Counts that determine the number of weights."""

    n_numbers: int
    n_categories: int  # of all inputs that are categories
    n_others: int  # functions of a number beside the intervals of its grid


# The values of "auto" where there is no search.
WITHOUT_SEARCH = Structure((5,), 5, 1.0, False, False)


class SearchSpace(NamedTuple):
    """Structures that a search may try."""

    additive: Structure
    by_evidence: bool  # whether the additive model is small enough for that
    hidden: tuple  # of Structure, which the networks of an ensemble take in turn
    second_order: Structure | None

    @property
    def grid_eps(self):
        """Value of `grid_eps` for all structures."""
        return self.additive.grid_eps


def search_space(requested, data, inputs, *, may_take_pairs):
    """The structures that a search may try, within the limits of its settings.

    Parameters
    ----------
    requested : Structure
        The fields that the user has set.
    data : Dataset
    inputs : InputCounts
    may_take_pairs : bool
        Whether the search may choose pairs of features for hidden nodes.

    Returns
    -------
    SearchSpace
    """
    settings = _settings.SEARCH_SPACE
    n_rows, n_outputs = min(data.n_rows, settings.max_rows), data.target.shape[1]

    def affordable(structure):
        size = structure.n_parameters(inputs, n_outputs)
        is_small = n_rows * n_outputs * size**2 <= settings.max_products
        return size <= settings.max_parameters and is_small

    def completed(sizes, grid_size, *, pairwise=False):
        # Nodes that do not take every feature leave each a curve of its own.
        return requested.or_else(
            Structure(sizes, grid_size, settings.grid_eps, pairwise, pairwise)
        )

    for grid_size in settings.additive_grid_sizes:
        additive = completed((), grid_size)
        by_evidence = affordable(additive)
        if by_evidence:
            break
    hidden = ()
    if data.n_observations >= settings.min_rows_for_hidden:
        grid_size = min(settings.hidden_grid_size, additive.grid_size)
        hidden = tuple(
            completed(settings.hidden_layer_sizes, grid_size, pairwise=pairwise)
            for pairwise in ((False, True) if may_take_pairs else (False,))
        )
    second_order = requested.or_else(WITHOUT_SEARCH)
    if not affordable(second_order):
        second_order = None
    return SearchSpace(additive, by_evidence, hidden, second_order)
