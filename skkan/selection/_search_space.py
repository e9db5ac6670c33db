"""What a network may look like, and the structures that a search is to choose from."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

ADDITIVE_GRIDS = (20, 10, 5)  # the finest that is affordable
HIDDEN = ((10,), 10)  # layers and grid size
GRID_EPS = 0.2  # grids that follow the samples more than they are even
# Of second-order training: rows * outputs * parameters^2, for some tenths of a second
# an iteration, and parameters.
MOST_PRODUCTS, MOST_PARAMETERS = 2.5e9, 1000
MOST_SEARCHED = 4000  # rows
FEWEST_ROWS = 60  # to look for hidden nodes


@dataclass(frozen=True)
class Structure:
    """What a network looks like before it is trained; None where data are to say."""

    hidden_layer_sizes: tuple | None
    grid_size: int | None
    grid_eps: float | None
    additive_skip: bool | None

    def or_else(self, other):
        """The same, with what is left open taken from another structure."""
        own = vars(self)
        return Structure(
            **{
                name: value if own[name] is None else own[name]
                for name, value in vars(other).items()
            }
        )

    def n_parameters(self, inputs, n_outputs):
        """Number of weights of a network between such inputs and outputs."""
        n_functions = self.grid_size + inputs.n_others
        of_first = inputs.n_numbers * n_functions + inputs.n_categories
        widths = [*self.hidden_layer_sizes, n_outputs]
        total = of_first * widths[0]
        total += sum(a * b for a, b in pairwise(widths)) * n_functions
        if self.additive_skip and self.hidden_layer_sizes:
            total += of_first * n_outputs
        return total


class InputCounts(NamedTuple):
    """What the number of weights depends on."""

    n_numbers: int
    n_categories: int  # of all inputs that are categories
    n_others: int  # functions of a number beside the intervals of its grid


# What "auto" stands for where there is no search.
WITHOUT_SEARCH = Structure((5,), 5, 1.0, False)


class SearchSpace(NamedTuple):
    """Structures among which a search is to choose; the others may be missing."""

    additive: Structure
    by_evidence: bool  # whether the additive model is small enough for that
    hidden: Structure | None
    exact: Structure | None

    @property
    def grid_eps(self):
        """Of the additive model, and of those beside it."""
        return self.additive.grid_eps


def search_space(asked, data, inputs):
    """What a search may choose from.

    Parameters
    ----------
    asked : Structure
        What is not open.
    data : TrainingData
    inputs : Inputs

    Returns
    -------
    SearchSpace
    """
    n_rows, n_outputs = min(data.n_rows, MOST_SEARCHED), data.target.shape[1]

    def affordable(structure):
        size = structure.n_parameters(inputs, n_outputs)
        is_small = n_rows * n_outputs * size**2 <= MOST_PRODUCTS
        return size <= MOST_PARAMETERS and is_small

    for grid_size in ADDITIVE_GRIDS:
        additive = asked.or_else(Structure((), grid_size, GRID_EPS, False))
        by_evidence = affordable(additive)
        if by_evidence:
            break
    hidden = None
    if data.n_rows >= FEWEST_ROWS:
        sizes, grid_size = HIDDEN
        grid_size = min(grid_size, additive.grid_size)
        hidden = asked.or_else(Structure(sizes, grid_size, GRID_EPS, False))
    exact = asked.or_else(WITHOUT_SEARCH)
    if not affordable(exact):
        exact = None
    return SearchSpace(additive, by_evidence, hidden, exact)
