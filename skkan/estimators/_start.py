"""What a training starts from: data, frame, plan and networks.

The half of an estimator that reads checked rows and the parameters, before any work is
done.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from sklearn.utils import check_random_state

from skkan.basis._categories_and_missing import mixed_basis_from_samples
from skkan.basis._outlier_limits import limited
from skkan.data._column_checks import checked_same_columns, naming_arguments
from skkan.data._dask_dataset import DaskDataset
from skkan.data._dataset import Dataset
from skkan.data._merged_rows import canonical_rows
from skkan.data._preprocessing import Preprocessing
from skkan.data._scaling import AffineScaling
from skkan.data._validation_split import split_rows
from skkan.estimators._parameter_checks import (
    checked_alpha,
    checked_continuation,
    checked_device,
    checked_grid_sizes,
    checked_layer_sizes,
)
from skkan.estimators._row_validation import CheckingKAN
from skkan.inference._laplace_posterior import prior_of_penalty
from skkan.inference._prior import Prior
from skkan.network._network import KANNetwork
from skkan.numerics import _row_blocks
from skkan.selection import _settings
from skkan.selection._regularization_path import validated_plan
from skkan.selection._search_space import (
    WITHOUT_SEARCH,
    InputCounts,
    Structure,
    search_space,
)
from skkan.selection._solver_choice import (
    FIRST_ORDER_ALPHA,
    choose_penalties,
    choose_solver,
)
from skkan.selection._structure_search import search_structure
from skkan.training._plan import FitPlan
from skkan.training._settings import SECOND_ORDER
from skkan.training._stages import adapted_loss

# Grids end that many mean distances between samples beyond the outermost ones, so that
# hardly any later row is left to the continuation.
MARGIN_SAMPLES, MOST_MARGIN = 8.0, 0.05  # the latter in shares of the range
EVEN_WITHIN = 3.0  # of grids that follow the samples, in robust deviations
HIDDEN_MARGIN = 0.06  # of the range of a hidden node, which later rows exceed more
MOST_SEEN = 100_000  # rows from which first grids are taken


@dataclass(frozen=True, eq=False)
class Start:
    """All that a training starts from."""

    frame: Preprocessing
    data: Dataset
    held_out: Dataset | None
    networks: list  # of KANNetwork, to choose from
    search: Callable | None  # of (data, plan, generator), for the structure
    prior: Prior | None  # what an earlier fit learnt
    noise: torch.Tensor | None  # what rows held out told it
    plan: FitPlan
    generator: torch.Generator


class StartingKAN(CheckingKAN):
    """The half of an estimator that prepares a training; not to be instantiated."""

    # What regression and classification do differently.

    @abstractmethod
    def _code_target(self, y, earlier, *, classes, streaming):
        """Fitted attributes that say how y is coded.

        They come from y, from all `classes` that a stream may hold, or from the frame
        of the earlier fit; raises if these disagree.
        """

    @abstractmethod
    def _encode(self, y, coding):
        """y as a float64 matrix of shape (n_samples, n_outputs)."""

    def _class_weigher(self, rows, coding):
        """Function that multiplies the weights of rows by those of their classes."""
        return lambda rows: rows

    @abstractmethod
    def _make_loss(self, coding):
        """The loss of this target."""

    def _loss_in_units(self, loss, scale, rows):
        """The loss with what depends on the scale of the target and on the rows."""
        return loss

    @abstractmethod
    def _scale_target(self, target, sample_weight):
        """AffineScaling of the encoded target."""

    @abstractmethod
    def _strata(self, target, coding):
        """Labels by which to stratify a validation split, or None."""

    @abstractmethod
    def _scorer(self, coding):
        """Function score(raw, target, sample_weight), where higher is better."""

    def _start(self, rows, earlier, *, held_out=None, classes=None, streaming=False):
        """Rows and settings, checked and scaled, and a network to start from."""
        asked, device = self._asked_structure(), checked_device(self.device)
        if earlier is not None:
            asked = replace(
                asked,
                grid_eps=self._grid_eps if asked.grid_eps is None else asked.grid_eps,
            )
        fixed = asked.or_else(WITHOUT_SEARCH)
        grid_sizes = checked_grid_sizes(fixed.grid_size, self.grid_schedule)
        X, y, weight = rows
        coding = self._code_target(y, earlier, classes=classes, streaming=streaming)
        rows = canonical_rows(X, self._encode(y, coding), weight)
        weigh = self._class_weigher(rows, coding)
        rows = weigh(rows)
        network = None
        if earlier is not None:
            network = KANNetwork.from_arrays(self._network_arrays, device)
            grid_sizes = self._remaining_grid_sizes(
                network, rows, grid_sizes, streaming
            )
        if held_out is not None:
            X_val, y_val, weight_val = held_out
            with naming_arguments("X_val and y_val"):
                held_out = weigh((X_val, self._encode(y_val, coding), weight_val))
            checked_same_columns(y=rows[1], y_val=held_out[1])
        elif self.early_stopping:
            rows, held_out = self._set_aside(rows, coding)
        loss = self._make_loss(coding)
        if earlier is None:
            frame = self._new_frame(rows, coding, loss)
        else:
            x_scaling = earlier.x_scaling.with_new_columns(rows[0], rows[2])
            frame = replace(earlier, coding=coding, x_scaling=x_scaling)
        if not streaming:  # a batch does not tell what kind of target it is from
            loss = self._loss_in_units(loss, frame.y_scaling.scale, rows)
        data = frame.tensors(rows, device)
        held_out = held_out and frame.tensors(held_out, device)
        has_gaps = any(part.has_gaps for part in (data, held_out) if part)
        if network is not None and has_gaps:
            network = self._taking_missing(network)
            if not streaming:
                network = data.with_missing_in(network)
        if network is not None:
            loss = adapted_loss(loss, [network], data)
        generator = self._generator(streaming)
        make_network = partial(
            self._new_network, data=data, generator=generator, has_gaps=has_gaps
        )
        start = self._starting_point(
            asked, loss, data, make_network, grid_sizes, network, streaming
        )
        return Start(
            frame=frame,
            data=data,
            held_out=held_out,
            generator=generator,
            **start,
        )

    def _set_aside(self, rows, coding):
        """Rows to fit, and rows to validate on."""
        strata = self._strata(rows[1], coding)
        (X, *others), (X_val, *others_val) = split_rows(
            rows, self.validation_fraction, strata, self._seed()
        )
        # Rows in chunks that are scored after every step come here, and so do the
        # others if they have become few: they are summed as in memory.
        if len(X) <= _row_blocks.MOST_ROWS:
            X = np.asarray(X)
        return (X, *others), (np.asarray(X_val), *others_val)

    def _starting_point(
        self, asked, loss, data, make_network, grid_sizes, network, streaming
    ):
        """Plan and networks; the one of an earlier fit, where there is one."""
        fixed, options = asked.or_else(WITHOUT_SEARCH), None
        goes_on = network is not None
        if not goes_on:
            network = make_network(fixed)
            if asked.hidden_layer_sizes is None and not streaming:
                options = self._options(asked, data)
        grid_eps = options.grid_eps if options else fixed.grid_eps
        plan = self._plan(
            loss, data, network, grid_sizes, grid_eps, streaming, bool(options)
        )
        networks, prior, noise, search = [network], None, None, None
        if goes_on and self._goes_on_judged(plan):
            alpha = torch.tensor(self._judged_alpha)
            judged = validated_plan(plan, network, alpha)
            plan = replace(plan, penalties=judged.penalties) if streaming else judged
            noise = getattr(self, "_noise", None)
            noise = None if noise is None else torch.tensor(noise)
        elif goes_on:
            prior = self._earlier_prior(network, data, plan)
        elif options:
            # A network can be watched on the way, an average cannot.
            n_members = 1 if self.early_stopping else _settings.SEARCH.n_members
            search = partial(search_structure, options, make_network, n_members)
        elif plan.solver.second_order and (
            plan.learns_alpha or len(network.layers) > 1
        ):
            networks += [
                make_network(fixed) for _ in SECOND_ORDER.starting_penalties[1:]
            ]
        return {
            "networks": networks,
            "search": search,
            "prior": prior,
            "noise": noise,
            "plan": plan,
        }

    def _goes_on_judged(self, plan):
        """Whether rows that an earlier fit held out have set what may stay open."""
        return (
            hasattr(self, "_judged_alpha")
            and isinstance(self.alpha, str)
            and self.penalty is None
            and not plan.solver.second_order
        )

    def _asked_structure(self):
        """The structure that the parameters ask for, with None for "auto"."""
        sizes = checked_layer_sizes(self.hidden_layer_sizes)
        is_open = isinstance(sizes, str)
        grid_size, grid_eps = (
            None if isinstance(value, str) else value
            for value in (self.grid_size, self.grid_eps)
        )
        if grid_size is None and self.grid_schedule is not None:
            grid_size = WITHOUT_SEARCH.grid_size  # where the schedule begins
        skip = bool(self.additive_skip)
        return Structure(
            hidden_layer_sizes=None if is_open else sizes,
            grid_size=grid_size,
            grid_eps=grid_eps,
            additive_skip=skip or None if is_open else skip and len(sizes) > 0,
        )

    def _options(self, asked, data):
        """Structures to choose from; None where a parameter needs a certain one."""
        open_to_all = (
            isinstance(self.solver, str)
            and self.solver == "auto"
            and isinstance(self.alpha, str)
            and self.penalty is None
            and self.prune_threshold is None
            and self.grid_schedule is None
        )
        if not open_to_all:
            return None
        counts = self._n_categories()
        inputs = InputCounts(
            n_numbers=int((counts == 0).sum()),
            n_categories=int(counts.sum()),
            n_others=int(self.spline_order) + 1,
        )
        return search_space(asked, data, inputs)

    def _earlier_fit(self):
        """Preprocessing of the earlier fit, or None."""
        if not hasattr(self, "_network_arrays"):
            return None
        return Preprocessing.of(
            self, {name: getattr(self, name) for name in self._coding_names}
        )

    def _asked_layer_sizes(self, earlier):
        """Sizes of the hidden layers before anything was pruned."""
        if earlier is not None:
            return self._layer_sizes
        return checked_layer_sizes(self.hidden_layer_sizes)

    def _remaining_grid_sizes(self, network, rows, grid_sizes, streaming):
        """Grid sizes that the earlier fit's network has still to visit.

        Raises a ValueError if that network is not of the kind that is asked for.
        """
        basis = network.layers[0].basis
        skip = self._asked_structure().additive_skip
        has_skip = network.skip is not None
        asked = {"n_outputs": (rows[1].shape[1], network.widths[-1])}
        if not streaming:
            asked |= {
                "hidden_layer_sizes": (
                    checked_layer_sizes(self.hidden_layer_sizes),
                    self._layer_sizes,
                ),
                "spline_order": (self.spline_order, basis.spline_order),
                "base_activation": (self.base_activation, basis.base_activation),
                "extrapolation": (self.extrapolation, basis.extrapolation),
                "additive_skip": (has_skip if skip is None else skip, has_skip),
            }
        checked_continuation(asked)
        if streaming or (self.grid_size == "auto" and self.grid_schedule is None):
            return (network.grid_size,)
        if grid_sizes[-1] < network.grid_size:
            raise ValueError(
                f"grid_size must not shrink, got {grid_sizes[-1]} after an earlier fit "
                f"that ended at {network.grid_size}: a coarser grid cannot represent "
                "the fitted curves. Raise it, or set warm_start=False."
            )
        return tuple(size for size in grid_sizes if size >= network.grid_size)

    def _new_frame(self, rows, coding, loss):
        X, target, weight = rows
        y_scaling = self._scale_target(target, weight)
        baseline = loss.baseline(
            torch.from_numpy(y_scaling.transform(target)), torch.from_numpy(weight)
        )
        x_scaling = AffineScaling.robust(X, weight)
        if self.categories_ is not None:
            x_scaling = x_scaling.without_units(self._n_categories() > 0)
        return Preprocessing(x_scaling, y_scaling, baseline.numpy(), coding)

    def _new_network(self, structure, *, data, generator, has_gaps):
        sample = data.sample(MOST_SEEN)
        is_adaptive = structure.grid_eps < 1
        within = limited(sample.X, adaptive=is_adaptive)
        n_categories = torch.from_numpy(self._n_categories()).to(within.device)
        if n_categories.any():
            within = torch.where(n_categories > 0, sample.X, within)
        settings = {
            "grid_size": structure.grid_size,
            "spline_order": int(self.spline_order),
            "grid_eps": structure.grid_eps,
            "margin": min(MARGIN_SAMPLES / data.n_rows, MOST_MARGIN),
            "base_activation": self.base_activation,
            "extrapolation": self.extrapolation,
            "sample_weight": sample.sample_weight,
        }
        return KANNetwork.from_samples(
            [
                data.n_features,
                *structure.hidden_layer_sizes,
                data.target.shape[1],
            ],
            within,
            additive_skip=structure.additive_skip and structure.hidden_layer_sizes,
            generator=generator,
            inputs=mixed_basis_from_samples(
                sample.X,
                within,
                n_categories,
                has_gaps=has_gaps,
                even_within=EVEN_WITHIN if is_adaptive else math.inf,
                **settings,
            ),
            **settings,
        )

    def _seed(self):
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _generator(self, streaming):
        """Generator from `random_state`; each batch of a stream gets another one."""
        n_before = getattr(self, "n_iter_", 0) if streaming else 0
        return torch.Generator().manual_seed(self._seed() + n_before)

    def _plan(self, loss, data, network, grid_sizes, grid_eps, streaming, searching):
        alpha = checked_alpha(self.alpha, network)
        solver = choose_solver(
            self.solver,
            network,
            data.n_rows,
            fixed_alpha=isinstance(alpha, float),
            has_penalty=self.penalty is not None,
            streaming=streaming,
            searching=searching,
            in_chunks=isinstance(data, DaskDataset),
        )
        return FitPlan(
            loss=loss,
            penalties=choose_penalties(alpha, self.penalty),
            solver=solver,
            grid_sizes=grid_sizes,
            n_grid_updates=self.n_grid_updates,
            grid_eps=grid_eps,
            max_iter=self.max_iter,
            tol=self.tol,
            hidden_margin=HIDDEN_MARGIN,
            learns_alpha=alpha is None and solver.second_order,
        )

    def _earlier_prior(self, network, data, plan):
        """What an earlier second-order fit learnt, or what others are charged."""
        if not plan.solver.second_order:
            return None
        if not hasattr(self, "_posterior_factor"):
            return prior_of_penalty(network, data, plan, FIRST_ORDER_ALPHA)
        n_rows, noise = self._n_observations, self._shared_noise
        prior = Prior.of_alpha(network, self.alpha_, noise, n_rows)
        begins = self._begins_to_vary(data)[network.used_features]
        edges = network.leaving_edges[0][begins].flatten()
        if len(edges):  # what was learnt of them is that they are of no use
            alpha = [[part / n_rows for part in SECOND_ORDER.starting_penalties[0]]]
            start = Prior.of_alpha(network, alpha, noise, n_rows)
            prior.precision[edges] = start.precision[edges]
        return prior

    def _begins_to_vary(self, data):
        """Which columns were constant in an earlier fit but are not now."""
        was_constant = torch.from_numpy(np.isinf(self._x_scale))
        X = data.sample(MOST_SEEN).X  # in which what is constant is zero
        return (X.abs() > 0).any(0).cpu() & was_constant
