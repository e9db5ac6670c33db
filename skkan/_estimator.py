"""What the two estimators share: the shell between scikit-learn and the core.

It checks data and parameters, turns them into scaled tensors, runs the training and
stores the outcome as numpy arrays. Only this module, `_fitted`, its two subclasses and
`_checks` know scikit-learn's estimator conventions.
"""

import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _num_samples

from skkan._activity import activity_of
from skkan._basis import BASE_ACTIVATIONS, EXTRAPOLATIONS
from skkan._callbacks import CallbackObserver, CallbackSupportMixin, with_callbacks
from skkan._categories import Categories, categorical_columns
from skkan._checks import (
    checked_continuation,
    checked_device,
    checked_grid_sizes,
    checked_layer_sizes,
    checked_pair,
    checked_pruning,
    checked_same_columns,
    checked_weights,
    divergence_explained,
    fit_context,
    remedies,
    told_of,
)
from skkan._choice import (
    FIRST_ORDER_ALPHA,
    SOLVERS,
    checked_alpha,
    chosen_penalties,
    chosen_solver,
)
from skkan._evidence import Prior
from skkan._fitted import FittedKAN
from skkan._frame import Frame
from skkan._input_basis import input_basis_from_samples
from skkan._monitor import Monitor, Validation
from skkan._network import KANNetwork
from skkan._penalties import Penalty
from skkan._plan import TrainingData, TrainingPlan, make_objective
from skkan._posterior import (
    laplace_posterior,
    output_factor,
    prior_of_penalty,
)
from skkan._progress import ProgressLine
from skkan._prune import pruned
from skkan._rows import canonical_rows, dense
from skkan._scaling import AffineScaling
from skkan._second_order import NO_EVIDENCE, STARTING_STRENGTHS
from skkan._split import split_rows
from skkan._structure import (
    MOST_STEPS,
    N_MEMBERS,
    WITHOUT_SEARCH,
    Inputs,
    Judged,
    Structure,
    search_structure,
    structure_options,
)
from skkan._training import (
    TrainingResult,
    adapted_loss,
    train_adapting,
    trained_already,
)
from skkan.solvers import Adam, Solver

# Grids end that many mean distances between samples beyond the outermost ones, so that
# hardly any later row is left to the continuation.
MARGIN_SAMPLES, MOST_MARGIN = 8.0, 0.05  # the latter in shares of the range
HIDDEN_MARGIN = 0.06  # of the range of a hidden node, which later rows exceed more
MOST_DESCRIBED = 100_000  # rows from which first grids and importances are taken
FENCE = 5.0  # first grids end here, in robust standard deviations from the median
WARNING_LEVEL = 6  # the caller of fit, above scikit-learn's two decorators
LIGHT = 0.1  # mean weight of the rows below which their number is in doubt


@dataclass(frozen=True, eq=False)
class Start:
    """All that a training starts from."""

    frame: Frame
    data: TrainingData
    held_out: TrainingData | None
    networks: list  # of KANNetwork, to choose from
    search: Callable | None  # of (data, plan, generator), for the structure
    prior: Prior | None  # what an earlier fit learnt
    plan: TrainingPlan
    generator: torch.Generator


class BaseKAN(CallbackSupportMixin, FittedKAN, metaclass=ABCMeta):
    """Base class of the estimators; not to be instantiated."""

    _parameter_constraints: dict = {
        "hidden_layer_sizes": [
            StrOptions({"auto"}),
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "grid_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "spline_order": [Interval(Integral, 0, None, closed="left")],
        "grid_eps": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
        "grid_schedule": ["array-like", None],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "n_grid_updates": [Interval(Integral, 0, None, closed="left")],
        "base_activation": [StrOptions(set(BASE_ACTIVATIONS))],
        "extrapolation": [StrOptions(set(EXTRAPOLATIONS))],
        "additive_skip": ["boolean"],
        "solver": [StrOptions({"auto", *SOLVERS}), Solver],
        "alpha": [
            Interval(Real, 0, None, closed="left"),
            StrOptions({"auto"}),
            "array-like",
        ],
        "penalty": [Penalty, None],
        "prune_threshold": [
            Interval(Real, 0, None, closed="left"),
            StrOptions({"auto"}),
            None,
        ],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "device": [str, torch.device],
    }

    def __init__(
        self,
        hidden_layer_sizes,
        *,
        grid_size,
        spline_order,
        grid_eps,
        grid_schedule,
        categorical_features,
        n_grid_updates,
        base_activation,
        extrapolation,
        additive_skip,
        loss,
        solver,
        alpha,
        penalty,
        prune_threshold,
        max_iter,
        tol,
        early_stopping,
        validation_fraction,
        n_iter_no_change,
        warm_start,
        random_state,
        verbose,
        device,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.grid_size = grid_size
        self.spline_order = spline_order
        self.grid_eps = grid_eps
        self.grid_schedule = grid_schedule
        self.categorical_features = categorical_features
        self.n_grid_updates = n_grid_updates
        self.base_activation = base_activation
        self.extrapolation = extrapolation
        self.additive_skip = additive_skip
        self.loss = loss
        self.solver = solver
        self.alpha = alpha
        self.penalty = penalty
        self.prune_threshold = prune_threshold
        self.max_iter = max_iter
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    # What regression and classification do differently.

    @abstractmethod
    def _check_target(self, y):
        """y as an array of the right kind; raises if it is of another."""

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

    # Fitting.

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None):
        """Fit the network to data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows in any units; finite numbers, NaN where they are missing, and
            categories, see `categorical_features`. Sparse rows are made dense, in 8
            bytes a cell.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Target values or class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; a weight of 2 equals giving the row twice.
        X_val : {array-like, sparse matrix} of shape (n_val, n_features), default=None
            Rows to validate on instead of a share of the training rows. In a
            Pipeline they are transformed with `transform_input=["X_val"]`.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), default=None
            Target of `X_val`.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data are not as described, or if the fit diverges.
            An earlier fit then stays as it was.
        """
        with fit_context(self):
            self._fit(X, y, sample_weight, X_val, y_val)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def _prune_fit(self, X, y, sample_weight):
        """Prune the earlier fit as it is, and train what is left on from there."""
        with fit_context(self):
            self._fit(X, y, sample_weight, only_prune=True)

    def _fit(self, X, y, sample_weight, X_val=None, y_val=None, *, only_prune=False):
        given = {"X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
        checked_pair(X_val, y_val)
        earlier = self._earlier_fit() if self.warm_start or only_prune else None
        rows = self._check_rows(
            X, y, sample_weight, reset=not only_prune, goes_on=earlier is not None
        )
        held_out = None
        if X_val is not None:
            with told_of("X_val and y_val"):
                held_out = self._check_rows(X_val, y_val, None, reset=False)
        start = self._start(rows, earlier, held_out=held_out)
        prunes = self.prune_threshold is not None
        if prunes:
            checked_pruning(self.prune_threshold, start.plan)
        n_stages = len(start.plan.grid_sizes) + prunes
        adapts = start.plan.loss.is_adaptive

        def attributes(network):
            return {"_network_arrays": network.to_arrays(), **start.frame.attributes}

        callbacks, progress = [], []
        if not only_prune:
            callbacks = CallbackObserver.create(
                self,
                given,
                attributes,
                None if prunes or adapts else n_stages,
                self.max_iter,
            )
        if self.verbose:
            progress.append(ProgressLine(n_stages, self.max_iter))
        monitor = self._monitor(start, [*callbacks, *progress])
        try:
            with divergence_explained(self):
                result, plan = self._train(start, monitor, only_prune=only_prune)
        finally:
            for line in progress:
                line.close()
        start = replace(start, plan=plan)
        fitted = {
            **attributes(result.network),
            **self._report(result, start.data),
            **self._uncertainty(result, start),
            "_layer_sizes": self._asked_layer_sizes(earlier),
            "_grid_eps": plan.grid_eps,
            "_solver_state": None,
        }
        for observer in callbacks:
            observer.end_fit(result.network)
        self._replace_fit(fitted)
        self._warn(result)
        if start.plan.learns_alpha:
            self._warn_of_light_rows(start.data)

    def _train(self, start, monitor, *, only_prune):
        """The result of a training, pruned where that is asked for, and its plan."""
        if start.search is not None:
            return self._train_found(start, monitor)
        plan = start.plan
        result = TrainingResult(
            start.networks[0], monitor, prior=start.prior, loss=plan.loss
        )
        if not only_prune:
            result = train_adapting(
                start.networks,
                start.data,
                start.plan,
                generator=start.generator,
                monitor=monitor,
                prior=start.prior,
            )
            plan = replace(plan, loss=result.loss)
        if self.prune_threshold is None or result.interrupted:
            return result, plan
        return pruned(
            result,
            start.data,
            plan,
            self.prune_threshold,
            generator=start.generator,
        )

    def _train_found(self, start, monitor):
        """The same of a network whose structure the data choose."""
        found = start.search(start.data, start.plan, start.generator)
        monitor.n_iter += found.n_iter
        is_judged = isinstance(found, Judged)
        if is_judged and not self.early_stopping:
            result = trained_already(found.network, start.data, found.plan, monitor)
            result.converged = self.max_iter >= MOST_STEPS
        else:
            result = train_adapting(
                [found.network if is_judged else found.candidate.network],
                start.data,
                found.plan,
                generator=start.generator,
                monitor=monitor,
                prior=found.prior if is_judged else found.candidate.prior,
            )
        if is_judged:
            result.held_out_noise = found.noise
        return result, replace(found.plan, loss=result.loss)

    def _partial_fit(self, X, y, sample_weight, classes=None):
        """One pass over a batch; the first batch fixes scaling and grids."""
        earlier = self._earlier_fit()
        rows = self._check_rows(
            X, y, sample_weight, reset=earlier is None, fewest=1 if earlier else 2
        )
        start = self._start(rows, earlier, classes=classes, streaming=True)
        objective = make_objective(start.networks[0], start.data, start.plan)
        curve = [*getattr(self, "loss_curve_", [])]
        with divergence_explained(self):
            outcome = start.plan.solver.minimize(
                objective,
                objective.start,
                max_iter=1,
                monitor=lambda theta, value: curve.append(value),
                generator=start.generator,
                state=getattr(self, "_solver_state", None),
            )
        network = objective.network_at(outcome.theta)
        ends = [*getattr(self, "stage_ends_", []), len(curve)]
        if getattr(self, "_solver_state", None) is not None:
            del ends[-2]  # all batches of a stream make one stage
        fitted = {
            "_network_arrays": network.to_arrays(),
            "_layer_sizes": self._asked_layer_sizes(earlier),
            "_grid_eps": start.plan.grid_eps,
            "_solver_state": outcome.state,
            **start.frame.attributes,
            **self._describe(network, start.data),
            **_curve_attributes(curve, ends, getattr(self, "n_iter_", 0) + 1),
            **_validation_attributes(),
        }
        self._replace_fit(fitted)

    def _replace_fit(self, fitted):
        for name in SECOND_ORDER_ATTRIBUTES:
            vars(self).pop(name, None)  # of an earlier fit by another solver
        vars(self).update(fitted)

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
            with told_of("X_val and y_val"):
                held_out = weigh((X_val, self._encode(y_val, coding), weight_val))
            checked_same_columns(y=rows[1], y_val=held_out[1])
        elif self.early_stopping:
            strata = self._strata(rows[1], coding)
            rows, held_out = split_rows(
                rows, self.validation_fraction, strata, self._seed()
            )
        loss = self._make_loss(coding)
        if earlier is None:
            frame = self._new_frame(rows, coding, loss)
        else:
            x_scaling = earlier.x_scaling.with_new_columns(rows[0], rows[2])
            frame = replace(earlier, coding=coding, x_scaling=x_scaling)
        loss = self._loss_in_units(loss, frame.y_scaling.scale, rows)
        data = frame.tensors(rows, device)
        held_out = held_out and frame.tensors(held_out, device)
        has_gaps = any(part.X.isnan().any() for part in (data, held_out) if part)
        if network is not None and has_gaps:
            network = self._taking_missing(network)
            if not streaming:
                network = network.with_missing_of(data.X)
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
        networks, prior, search = [network], None, None
        if goes_on:
            prior = self._earlier_prior(network, data, plan)
        elif options:
            # A network can be watched on the way, an average cannot.
            n_members = 1 if self.early_stopping else N_MEMBERS
            search = partial(search_structure, options, make_network, n_members)
        elif plan.solver.second_order and (
            plan.learns_alpha or len(network.layers) > 1
        ):
            networks += [make_network(fixed) for _ in STARTING_STRENGTHS[1:]]
        return {"networks": networks, "search": search, "prior": prior, "plan": plan}

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
        inputs = Inputs(
            n_numbers=int((counts == 0).sum()),
            n_categories=int(counts.sum()),
            n_others=int(self.spline_order) + 1,
        )
        return structure_options(asked, data, inputs)

    def _check_rows(self, X, y, sample_weight, *, reset=True, fewest=2, goes_on=False):
        """X as float64, y as an array, weights; rows without weight are dropped."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        with remedies():
            if reset:
                self._find_categories(X, sample_weight, goes_on=goes_on)
            X, y = self._validated_as(
                X, y, reset=reset, multi_output=True, ensure_min_samples=fewest
            )
        X = dense(X)
        y = self._check_target(y)
        weight = checked_weights(sample_weight, X, fewest)
        if not weight.all():
            used = weight > 0
            X, y, weight = X[used], y[used], weight[used]
        return X, y, weight

    def _find_categories(self, X, sample_weight, *, goes_on):
        """Set the attributes about categories, or check those of the earlier fit."""
        is_categorical = categorical_columns(X, self.categorical_features)
        if goes_on:
            asked, fitted = (
                None if flags is None else flags.tolist()
                for flags in (is_categorical, self.is_categorical_)
            )
            checked_continuation({"is_categorical_": (asked, fitted)})
            return
        self.is_categorical_, self.categories_ = is_categorical, None
        if is_categorical is not None:
            used = np.ones(_num_samples(X), dtype=bool)
            if sample_weight is not None:
                used = checked_weights(sample_weight, X, fewest=1) > 0
            known = Categories.of_rows(X, is_categorical, used)
            self.categories_ = known.of_columns

    def _earlier_fit(self):
        """Frame of the earlier fit, or None."""
        if not hasattr(self, "_network_arrays"):
            return None
        return Frame.of(
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
        asked = {
            "n_features": (rows[0].shape[1], network.n_features),
            "n_outputs": (rows[1].shape[1], network.widths[-1]),
        }
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
        return Frame(x_scaling, y_scaling, baseline.numpy(), coding)

    def _new_network(self, structure, *, data, generator, has_gaps):
        sample = data.thinned(MOST_DESCRIBED)
        # A single wild value must not stretch the grid of a whole column. What lies
        # beyond the fence is left to the continuation.
        fenced = sample.X.clamp(-FENCE, FENCE)
        n_categories = torch.from_numpy(self._n_categories()).to(fenced.device)
        if n_categories.any():
            fenced = torch.where(n_categories > 0, sample.X, fenced)
        settings = {
            "grid_size": structure.grid_size,
            "spline_order": int(self.spline_order),
            "grid_eps": structure.grid_eps,
            "margin": min(MARGIN_SAMPLES / len(data.X), MOST_MARGIN),
            "base_activation": self.base_activation,
            "extrapolation": self.extrapolation,
            "sample_weight": sample.sample_weight,
        }
        return KANNetwork.from_samples(
            [
                data.X.shape[1],
                *structure.hidden_layer_sizes,
                data.target.shape[1],
            ],
            fenced,
            additive_skip=structure.additive_skip and structure.hidden_layer_sizes,
            generator=generator,
            inputs=input_basis_from_samples(
                sample.X, fenced, n_categories, has_gaps=has_gaps, **settings
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
        solver = chosen_solver(
            self.solver,
            network,
            len(data.X),
            fixed_alpha=isinstance(alpha, float),
            has_penalty=self.penalty is not None,
            streaming=streaming,
            searching=searching,
        )
        return TrainingPlan(
            loss=loss,
            penalties=chosen_penalties(alpha, self.penalty),
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
        return Prior.of_alpha(
            network, self.alpha_, self._shared_noise, self._n_observations
        )

    def _monitor(self, start, observers):
        validation = None
        if start.held_out is not None:
            rows = start.held_out
            score = self._scorer(start.frame.coding)
            validation = Validation(rows.X, rows.target, rows.sample_weight, score)
        return Monitor(
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            early_stopping=self.early_stopping,
            validation=validation,
            observers=observers,
        )

    def _report(self, result, data):
        """Fitted attributes about the course of a fit."""
        monitor = result.monitor
        scores = monitor.validation_scores
        best = monitor.best_iteration
        return {
            **self._describe(result.network, data),
            **_curve_attributes(monitor.loss_curve, result.stage_ends, monitor.n_iter),
            **_validation_attributes(
                monitor.validation_loss_curve or None,
                scores or None,
                None if best is None else scores[best - 1],
            ),
        }

    def _uncertainty(self, result, start):
        """Fitted attributes that only some trainings leave."""
        if result.held_out_noise is not None:
            return self._uncertainty_of_outputs(result, start)
        if not start.plan.solver.second_order:
            return {}
        prior = result.prior if start.plan.learns_alpha else None
        posterior = laplace_posterior(
            result.network, start.data, start.plan, prior, result.objective
        )
        if posterior is None:
            warnings.warn(
                f"{type(self).__name__} has no posterior, since the normal matrix is "
                "not positive definite within rounding: alpha_ and the like are not "
                "set. Raise alpha, or choose a smaller grid_size.",
                ConvergenceWarning,
                stacklevel=WARNING_LEVEL,
            )
            return {}
        n_rows = start.data.n_observations
        scale, loss = start.frame.y_scaling.scale, start.plan.loss
        attributes = {
            "alpha_": posterior.alpha,
            "log_evidence_": posterior.log_evidence
            - 0.5 * loss.noise_power * n_rows * np.log(scale).sum(),
            "n_effective_parameters_": posterior.n_effective,
            "_posterior_factor": posterior.factor,
            "_noise": posterior.noise,
            "_shared_noise": posterior.shared_noise,
            "_n_observations": n_rows,
        }
        return attributes | self._noise_in_units(loss, posterior.noise, start.frame)

    def _uncertainty_of_outputs(self, result, start):
        """Noise and last-layer posterior, where rows held out tell the noise."""
        noise = result.held_out_noise.cpu().numpy()
        attributes = self._noise_in_units(start.plan.loss, noise, start.frame)
        if not start.plan.loss.is_normal:
            return attributes
        factor = output_factor(result.network, start.data, start.plan)
        if factor is None:
            return {}
        return {**attributes, "_noise": noise, "_output_factor": factor}

    def _noise_in_units(self, loss, noise, frame):
        """Noise as a fitted attribute in units of the target, if it has a meaning."""
        if loss.is_normal:
            name, value = "noise_std_", np.sqrt(noise) * frame.y_scaling.scale
        elif loss.has_log_link:
            name = "dispersion_"
            value = noise * frame.y_scaling.scale**loss.noise_power
        else:
            return {}
        return {name: float(value[0]) if frame.coding["_y_is_vector"] else value}

    def _describe(self, network, data):
        data = data.thinned(MOST_DESCRIBED)
        share = data.sample_weight / data.sample_weight.sum()
        layers = activity_of(network, data.X, share)
        scores = [torch.from_numpy(layer.score) for layer in layers]
        return {
            "grid_size_": network.grid_size,
            "hidden_layer_sizes_": tuple(network.widths[1:-1]),
            "n_outputs_": data.target.shape[1],
            "feature_importances_": network.input_scores(scores).numpy(),
            "_activity": [layer.to_arrays() for layer in layers],
        }

    def _warn(self, result):
        if result.interrupted:
            warnings.warn(
                f"{type(self).__name__} was interrupted after {self.n_iter_} "
                "iterations; it keeps the best model so far.",
                ConvergenceWarning,
                stacklevel=WARNING_LEVEL,
            )
            return
        if result.network.n_edges == 0:
            warnings.warn(
                f"{type(self).__name__} has removed all edges: it predicts a constant, "
                "the same for all rows. If the features are informative, lower "
                f"prune_threshold, got {self.prune_threshold!r}, and fit with "
                "warm_start=False.",
                ConvergenceWarning,
                stacklevel=WARNING_LEVEL,
            )
        if result.message == NO_EVIDENCE:
            warnings.warn(
                f"{type(self).__name__} stopped after {self.n_iter_} iterations, since "
                "rounding hides the evidence. Clip far outliers, set "
                "extrapolation='constant', or set alpha to a float.",
                ConvergenceWarning,
                stacklevel=WARNING_LEVEL,
            )
        elif not (result.converged or self.early_stopping):
            warnings.warn(
                f"{type(self).__name__} stopped at max_iter={self.max_iter} while the "
                "loss was still falling. Raise max_iter or tol, or set "
                "early_stopping=True.",
                ConvergenceWarning,
                stacklevel=WARNING_LEVEL,
            )

    def _warn_of_light_rows(self, data):
        weight, n_rows = data.n_observations, len(data.X)
        if weight < LIGHT * n_rows:
            warnings.warn(
                f"sample_weight sums to {weight:.3g} for {n_rows} rows. Weights count "
                "as repetitions in what is learnt of noise and penalties, so that "
                "there are hardly any data: scale them to sum to the number of rows, "
                "or set alpha to a float.",
                UserWarning,
                stacklevel=WARNING_LEVEL,
            )

    def _can_stream(self):
        """Whether partial_fit is to be had; raises AttributeError otherwise."""
        if self.early_stopping:
            raise AttributeError(
                "partial_fit sees one batch at a time and cannot validate, got "
                "early_stopping=True: set early_stopping=False."
            )
        if self.solver not in ("auto", "adam") and not isinstance(self.solver, Adam):
            raise AttributeError(
                "partial_fit needs a solver that works on mini-batches, got "
                f"solver={self.solver!r}: set solver='adam'."
            )
        return True


SECOND_ORDER_ATTRIBUTES = (
    "alpha_",
    "noise_std_",
    "dispersion_",
    "log_evidence_",
    "n_effective_parameters_",
    "_posterior_factor",
    "_output_factor",
    "_noise",
    "_shared_noise",
    "_n_observations",
)


def _validation_attributes(loss_curve=None, scores=None, best_score=None):
    return {
        "validation_loss_curve_": loss_curve,
        "validation_scores_": scores,
        "best_validation_score_": best_score,
    }


def _curve_attributes(loss_curve, stage_ends, n_iter):
    return {
        "loss_curve_": loss_curve,
        "loss_": loss_curve[-1],
        "n_iter_": n_iter,
        "stage_ends_": stage_ends,
    }
