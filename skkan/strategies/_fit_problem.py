"""What a training starts from: rows, parameters, a network and a plan."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from skkan.basis._categories_and_missing import mixed_basis_from_samples
from skkan.basis._outlier_limits import limited
from skkan.data._dask_dataset import DaskDataset
from skkan.data._dataset import Dataset
from skkan.data._preprocessing import Preprocessing
from skkan.fitted._fitted_model import FittedModel
from skkan.fitted._target import Target
from skkan.losses._base import Loss
from skkan.network._edits import with_outputs_at_zero
from skkan.network._network import KANNetwork
from skkan.selection._interactions import PAIRWISE, screened_pairs, with_groups
from skkan.selection._search_space import Structure
from skkan.selection._solver_choice import (
    alpha_of_stream,
    checked_alpha,
    choose_penalties,
    choose_solver,
)
from skkan.training._plan import FitPlan

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
# Spread of a scaled target that does not vary: it is scaled by its size, up to the
# rounding of which rows with small weights may differ. Others have a deviation of 1.
ROUNDING_OF_TARGET = 1e-12


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
    def screened_pairs(self):
        """Pairs of features that may pay, the best one first."""
        return screened_pairs(self.data, self.n_categories)

    def groups(self, structure):
        """Groups of features that hidden nodes may take, None for all together."""
        if structure.is_pairwise or self.interactions == PAIRWISE:
            return self.screened_pairs
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
            n_multiplications=structure.n_products,
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
        groups = self.groups(structure) if structure.hidden_layer_sizes else None
        if groups:
            n_groups = min(len(groups), *structure.n_nodes)
            network = with_groups(network, groups[:n_groups])
        # A target that does not vary is known already. From another start the steps of
        # a solver would only come near it.
        spread = data.target.amax(0) - data.target.amin(0)
        return with_outputs_at_zero(network, spread <= ROUNDING_OF_TARGET)

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
