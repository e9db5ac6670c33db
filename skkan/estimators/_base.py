"""What the two estimators share: the shell between scikit-learn and the core.

It takes the parameters, runs the training and stores the outcome as numpy arrays. Only
this room knows scikit-learn's estimator conventions.
"""

import warnings
from dataclasses import replace
from numbers import Integral, Real

import torch
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions

from skkan.basis._base_functions import BASE_ACTIVATIONS
from skkan.basis._bspline import EXTRAPOLATIONS
from skkan.data._column_checks import checked_pair, naming_arguments
from skkan.data._dask_tables import in_memory
from skkan.estimators._callbacks import (
    CallbackObserver,
    CallbackSupportMixin,
    with_callbacks,
)
from skkan.estimators._error_context import divergence_explained, fit_context
from skkan.estimators._fitted_attributes import (
    OF_POSTERIOR,
    at_mean,
    curves,
    description,
    relearnt,
    report,
    uncertainty,
    validation,
)
from skkan.estimators._parameter_checks import checked_pruning
from skkan.estimators._progress_line import ProgressLine
from skkan.estimators._start import StartingKAN
from skkan.objective._objective import make_objective
from skkan.penalties._base import Penalty
from skkan.selection._settings import PATH
from skkan.selection._solver_choice import SOLVERS
from skkan.selection._structure_search import LEFT_OUT
from skkan.solvers import Adam, Solver
from skkan.training._monitor_and_early_stopping import Monitor, Validation
from skkan.training._pruning import pruned
from skkan.training._second_order import NO_EVIDENCE
from skkan.training._stages import train_adapting, trained_already
from skkan.training._state import FitState

WARNING_LEVEL = 6  # the caller of fit, above scikit-learn's two decorators
LIGHT = 0.1  # mean weight of the rows below which their number is in doubt


class BaseKAN(CallbackSupportMixin, StartingKAN):
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

    # Fitting.

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None):
        """Fit the network to data.

        Parameters
        ----------
        X : {array-like, sparse matrix, dask array or data frame} of shape \
                (n_samples, n_features)
            Training rows in any units; finite numbers, NaN where they are missing, and
            categories, see `categorical_features`. Sparse rows are made dense, in 8
            bytes a cell. Those of dask may stay in their chunks, see Notes.
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

        Notes
        -----
        More than 100,000 rows of a dask array or data frame stay where Dask computes:
        on the workers of the active client, or as its scheduler is set; they need this
        package. As float64 they are there up to twice. In each step of a solver, the
        weights of the network go out and sums over pieces of 32,768 rows come back.
        The same pieces are summed in memory, so that on one kind of machine the model
        is the same to the bit, whatever the chunks. This process gets y, the sample
        weights, one column of X at a time for its quantiles, up to 100,000 rows of X at
        a time on which most of the training is done, and the rows of early stopping;
        with "lbfgs", a grid update brings the values of the hidden nodes.

        Such chunks hold numbers only. Solver "adam", penalties that depend on the rows,
        and devices but the CPU are refused. Where "auto" is "adam" in memory, it is
        "lbfgs" here, and the models differ. Fewer rows are brought into memory, where
        everything is to be had. Predictions from dask
        data map over the chunks and return what is returned for arrays; they stay lazy
        by `X.map_blocks(model.predict, drop_axis=1, dtype=float)`. What a fit and the
        predictions read is computed anew unless it is persisted before. Where
        scikit-learn splits the rows, as `cross_val_score` does, it takes dask arrays
        but no dask data frames: pass `X.to_dask_array(lengths=True)`.
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
            X,
            y,
            sample_weight,
            reset=earlier is None,
            goes_on=earlier is not None and not only_prune,
        )
        held_out = None
        if X_val is not None:
            with naming_arguments("X_val and y_val"):
                X_val = in_memory(X_val)
                held_out = self._check_rows(X_val, y_val, None, reset=False)
        start = self._start(rows, earlier, held_out=held_out)
        del rows  # which are in the start, scaled
        self._forget_posterior()
        prunes = self.prune_threshold is not None
        if prunes:
            checked_pruning(self.prune_threshold, start.plan)
        n_stages = len(start.plan.grid_sizes) + prunes
        adapts = start.plan.loss.is_adaptive

        def attributes(network):
            return {"_network_arrays": network.to_arrays(), **start.frame.attributes}

        def described(network):  # what a prediction inside of a fit needs
            return {**attributes(network), **description(network, start.data)}

        callbacks, progress = [], []
        if not only_prune:
            callbacks = CallbackObserver.create(
                self,
                given,
                described,
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
        result = self._settled(result, start, monitor)
        fitted = {
            **attributes(result.network),
            **report(result, start.data, monitor),
            **result.uncertainty,
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
        result = FitState(
            start.networks[0], start.prior, converged=True, loss=plan.loss
        )
        if not only_prune:
            result = train_adapting(
                start.networks, start.data, plan, start.generator, monitor, start.prior
            )
            plan = replace(plan, loss=result.loss)
        prunes = self.prune_threshold is not None
        if prunes and not (only_prune or result.interrupted or plan.loss.has_noise):
            # What is pruned is what a fit would leave.
            result = self._settled(result, replace(start, plan=plan), monitor)
        if prunes and not result.interrupted:
            threshold = self.prune_threshold
            result, plan = pruned(
                result, start.data, plan, threshold, start.generator, monitor
            )
        if plan.penalty_from_validation:
            few_steps = self.max_iter >= PATH.max_iter  # are intended
            result = replace(result, validation_noise=start.noise, converged=few_steps)
        return result, plan

    def _train_found(self, start, monitor):
        """The same of a network whose structure the data choose."""
        found, plan = start.search(
            start.data, start.plan, start.generator, monitor.begin_step
        )
        monitor.n_iter += found.n_iter
        by_validation = plan.penalty_from_validation
        if by_validation and not self.early_stopping:
            result = trained_already(found, start.data, plan, monitor)
        else:
            networks = [found.network]
            result = train_adapting(
                networks, start.data, plan, start.generator, monitor, found.prior
            )
        if by_validation:
            few_steps = self.max_iter >= PATH.max_iter  # are intended
            result = replace(
                result,
                validation_noise=found.validation_noise,
                converged=found.converged and few_steps,
                message=found.message,
            )
        return result, replace(plan, loss=result.loss)

    def _partial_fit(self, X, y, sample_weight, classes=None):
        """One pass over a batch; the first batch fixes scaling and grids."""
        earlier = self._earlier_fit()
        rows = self._check_rows(
            in_memory(X),
            y,
            sample_weight,
            reset=earlier is None,
            fewest=1 if earlier else 2,
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
            **description(network, start.data),
            **curves(curve, ends, getattr(self, "n_iter_", 0) + 1),
            **validation(),
        }
        self._replace_fit(fitted)

    def _replace_fit(self, fitted):
        self._forget_posterior()
        vars(self).update(fitted)

    def _forget_posterior(self):
        """Drop what an earlier fit knew, which neither callbacks nor this fit have."""
        for name in OF_POSTERIOR:
            vars(self).pop(name, None)

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

    def _settled(self, result, start, monitor):
        """The result at the mean of its posterior, with the attributes of that.

        With early stopping it stays where it validates best, and after an interruption
        where it is.
        """
        if result.uncertainty is not None:
            return result
        settled, stays = result, self.early_stopping
        try:
            if not stays:
                settled = relearnt(result, start.data, start.plan, monitor)
            uncertain = self._uncertainty(settled, start)
            if not stays:
                settled = at_mean(settled, start.data, start.plan, uncertain, monitor)
        except KeyboardInterrupt:
            settled = replace(result, interrupted=True)
            uncertain = self._uncertainty(settled, start)
        return replace(settled, uncertainty=uncertain)

    def _uncertainty(self, result, start):
        attributes = uncertainty(result, start.data, start.plan, start.frame)
        if attributes is None:
            warnings.warn(
                f"{type(self).__name__} has no posterior, since the normal matrix is "
                "not positive definite within rounding: alpha_ and the like are not "
                "set. Raise alpha, or choose a smaller grid_size.",
                ConvergenceWarning,
                stacklevel=WARNING_LEVEL,
            )
        return attributes or {}

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
        elif result.message.endswith(LEFT_OUT):
            warnings.warn(
                f"In the structure search of {type(self).__name__} {result.message}. "
                "Scale or clip extreme values of X and y.",
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
        weight, n_rows = data.n_observations, data.n_rows
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
