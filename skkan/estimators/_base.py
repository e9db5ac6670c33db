"""Base of the two estimators: the shell between scikit-learn and the core.

It takes the parameters, runs the training and stores the outcome. What it computes
itself belongs to another room.
"""

from abc import ABCMeta, abstractmethod
from copy import deepcopy
from numbers import Integral, Real
from types import SimpleNamespace

import torch
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skkan.basis._base_functions import BASE_ACTIVATIONS
from skkan.basis._bspline import EXTRAPOLATIONS
from skkan.data._column_checks import checked_pair, naming_arguments
from skkan.data._dask_tables import in_memory
from skkan.estimators._callbacks import (
    CallbackObserver,
    CallbackSupportMixin,
    with_callbacks,
)
from skkan.estimators._claims import FinishedFit, broken_claim_of_stream, broken_claims
from skkan.estimators._error_context import divergence_explained, fit_context
from skkan.estimators._fitted_attributes import (
    attributes_of_fits,
    describe,
    forget_optional,
    store_course,
    store_posterior,
    store_validation,
)
from skkan.estimators._parameter_checks import (
    checked_device,
    checked_layer_sizes,
    plain_interactions,
)
from skkan.estimators._problem_from_rows import make_fit_problem
from skkan.estimators._progress_line import ProgressLine
from skkan.estimators._row_validation import validated_features, validated_rows
from skkan.fitted._fitted_model import Continuation, FittedModel
from skkan.numerics._threads import single_thread
from skkan.numerics._user_warnings import warn_user
from skkan.penalties._base import Penalty
from skkan.selection._interactions import ADDITIVE, NO_INTERACTIONS, PAIRWISE
from skkan.selection._solver_choice import SOLVERS, check_compatible
from skkan.solvers import Solver
from skkan.solvers._base import STUCK
from skkan.strategies._strategy_choice import choose_strategy
from skkan.training._final_posterior import with_posterior
from skkan.training._first_order import train_batch
from skkan.training._monitor_and_early_stopping import Monitor, Validation
from skkan.training._state import EndReason


class BaseKAN(CallbackSupportMixin, BaseEstimator, metaclass=ABCMeta):
    """Base class of the estimators; not to be instantiated."""

    _parameter_constraints: dict = {
        "hidden_layer_sizes": [
            StrOptions({"auto", ADDITIVE}),
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "n_multiplications": [
            "array-like",
            Interval(Integral, 0, None, closed="left"),
        ],
        "interaction_cst": [
            list,
            tuple,
            StrOptions({NO_INTERACTIONS, PAIRWISE}),
            None,
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

    # What regression and classification do differently.

    @abstractmethod
    def _checked_target(self, y):
        """y as an array of the right kind; raises if it is of another."""

    @abstractmethod
    def _make_target(self, y, previous, *, classes=None, streaming=False):
        """Target of a checked y.

        Parameters
        ----------
        y : ndarray
        previous : Target or None
            That of a fit to continue; raises if the two disagree.
        classes : array-like, default=None
            All classes that a stream may hold.
        streaming : bool, default=False
        """

    def _row_weigher(self, target, rows):
        """Function that multiplies the weights of rows by those of their classes."""
        return lambda rows: rows

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
            Non-negative weights; a weight of 2 equals giving the row twice. What is
            learnt of noise and penalties depends on their ratios only: weights of 2, or
            the copies of a bootstrap, tell no more than the rows themselves. Where all
            columns have few values, equal rows are observations that agree by chance,
            and count one each.
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
        checked_pair(X_val, y_val)
        self._check_compatible()
        with fit_context(self):
            self._fit(X, y, sample_weight, X_val, y_val)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def _fit_pruned(self, fitted, X, y, sample_weight):
        """Prune another, fitted estimator as it is, and train the rest from there."""
        self._check_compatible()
        vars(self).update(deepcopy(attributes_of_fits(fitted)))
        with fit_context(self):
            self._fit(X, y, sample_weight, only_prune=True)
        return self

    def _check_compatible(self):
        check_compatible(
            self.solver,
            self.penalty,
            alpha=self.alpha,
            prune_threshold=self.prune_threshold,
        )

    def _fit(self, X, y, sample_weight, X_val=None, y_val=None, *, only_prune=False):
        given = {"X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
        previous = self._previous_fit() if self.warm_start or only_prune else None
        rows = validated_rows(
            self,
            X,
            y,
            sample_weight,
            reset=previous is None,
            same_columns=previous is not None and not only_prune,
        )
        validation_rows = None
        if X_val is not None:
            with naming_arguments("X_val and y_val"):
                X_val = in_memory(X_val)
                validation_rows = validated_rows(self, X_val, y_val, None, reset=False)
        target = self._make_target(rows[1], previous and previous.target)
        problem = make_fit_problem(
            self, rows, target, previous, validation_rows=validation_rows
        )
        del rows  # the problem holds them, scaled
        strategy = choose_strategy(problem)
        forget_optional(self)
        callbacks = [] if only_prune else self._callbacks(given, problem, strategy)
        progress = []
        if self.verbose:
            progress = [ProgressLine()]
        monitor = self._monitor(problem, [*callbacks, *progress])
        try:
            with divergence_explained(self):
                train = strategy.prune if only_prune else strategy.fit
                result, plan = train(monitor)
                result = with_posterior(
                    result,
                    problem.data,
                    plan,
                    monitor,
                    keep_weights=self.early_stopping,
                )
        finally:
            for line in progress:
                line.close()
        for observer in callbacks:
            observer.end_fit(result.network)
        describe(
            self,
            result.network,
            problem,
            continuation=self._continuation(plan, problem),
            posterior=result.posterior,
        )
        ends = [*result.stage_ends]
        store_course(self, monitor.loss_curve, ends, monitor.n_iter)
        store_validation(self, monitor)
        store_posterior(self, plan.loss)
        if strategy.search_results is not None:
            self.search_results_ = strategy.search_results
        validation = problem.validation if self.early_stopping else None
        finished = FinishedFit(
            result, problem.data, plan, validation, monitor.best_loss
        )
        self._warn(self._reasons_to_warn(finished, monitor))

    def _partial_fit(self, X, y, sample_weight, classes=None):
        """Training on a batch and remembered rows; the first one fixes the scaling."""
        previous = self._previous_fit()
        rows = validated_rows(
            self,
            in_memory(X),
            y,
            sample_weight,
            reset=previous is None,
            min_samples=1 if previous else 2,
        )
        target = self._make_target(
            rows[1], previous and previous.target, classes=classes, streaming=True
        )
        problem = make_fit_problem(self, rows, target, previous, streaming=True)
        strategy = choose_strategy(problem)
        before = previous and previous.continuation
        with divergence_explained(self):
            network, value, solver_state = train_batch(
                strategy.networks[0],
                problem.data,
                strategy.plan,
                problem.generator,
                before and before.solver_state,
            )
        curve = [*getattr(self, "loss_curve_", []), value]
        ends = [*getattr(self, "stage_ends_", []), len(curve)]
        if before is not None and before.rows is not None:
            del ends[-2]  # all batches of a stream make one stage
        continuation = self._continuation(strategy.plan, problem, solver_state)
        describe(self, network, problem, continuation=continuation)
        store_course(self, curve, ends, getattr(self, "n_iter_", 0) + 1)
        store_validation(self)
        forget_optional(self)
        broken = broken_claim_of_stream(network, problem.data, strategy.plan, curve)
        self._warn([broken] if broken else [])

    def _previous_fit(self):
        return getattr(self, "fitted_model_", None)

    def _continuation(self, plan, problem, solver_state=None):
        """Continuation for a later fit; the sizes are those before any pruning."""
        sizes, n_multiplications = checked_layer_sizes(
            self.hidden_layer_sizes, self.n_multiplications
        )
        if problem.previous is not None:
            sizes = problem.previous.continuation.hidden_layer_sizes
            n_multiplications = problem.previous.continuation.n_multiplications
        return Continuation(
            sizes,
            plan.grid_eps,
            solver_state,
            problem.extension,
            problem.data.n_observations,
            problem.remembered,
            problem.alpha_before if problem.streaming else None,
            plain_interactions(self.interaction_cst),
            n_multiplications,
        )

    def _callbacks(self, given, problem, strategy):
        """Observers of scikit-learn's callbacks, a list."""

        def attributes(network):  # what a prediction inside of a fit needs
            described = SimpleNamespace(
                n_features_in_=self.n_features_in_, categories_=self.categories_
            )
            if hasattr(self, "feature_names_in_"):
                described.feature_names_in_ = self.feature_names_in_
            continuation = self._continuation(strategy.plan, problem)
            describe(described, network, problem, continuation=continuation)
            return vars(described)

        is_known = self.prune_threshold is None and not problem.loss.is_adaptive
        n_stages = strategy.n_stages if is_known else None
        return CallbackObserver.create(self, given, attributes, n_stages, self.max_iter)

    def _monitor(self, problem, observers):
        validation = None
        if problem.validation is not None:
            validation = Validation(problem.validation, problem.target.score)
        return Monitor(
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            early_stopping=self.early_stopping,
            validation=validation,
            observers=observers,
        )

    def _warn(self, reasons):
        for message in reasons:
            warn_user(f"{type(self).__name__} {message}", ConvergenceWarning)

    def _reasons_to_warn(self, finished, monitor):
        result, plan = finished.state, finished.plan
        needs_posterior = plan.penalty_from_validation or plan.solver.second_order
        if result.posterior is None and needs_posterior:
            yield (
                "has no posterior, since the normal matrix is not positive definite "
                "within rounding: alpha_ and the like are not set. Raise alpha, or "
                "choose a smaller grid_size."
            )
        if result.interrupted:
            yield (
                f"was interrupted after {self.n_iter_} iterations; it keeps the best "
                "model so far."
            )
            return
        if result.network.n_edges == 0:
            yield (
                "has removed all edges: it predicts a constant, the same for all rows. "
                "If the features are informative, lower prune_threshold, got "
                f"{self.prune_threshold!r}, and fit with warm_start=False."
            )
        yield from broken_claims(finished)
        if result.reason is EndReason.NO_EVIDENCE:
            yield (
                f"stopped after {self.n_iter_} iterations, since rounding hides the "
                "evidence. Clip far outliers, set extrapolation='constant', or set "
                "alpha to a float."
            )
        elif result.reason is EndReason.MEMBERS_DIVERGED:
            yield (
                f"has searched for a structure, and {result.message}. Scale or clip "
                "extreme values of X and y."
            )
        elif result.reason is EndReason.PRUNING_UNFINISHED:
            yield (
                "ended its search for unneeded edges before all were tried. Raise "
                "max_iter, or prune once more by skkan.inspection.prune."
            )
        elif result.converged or monitor.has_passed_best:
            return
        elif result.reason is EndReason.STUCK:
            yield (
                f"stopped after {self.n_iter_} iterations, since {STUCK}. A penalty, "
                "or curves beyond the ends of their grids, may have a kink there: set "
                "extrapolation='linear', leave the penalty out, or set another solver, "
                "'lm' or 'adam'."
            )
        elif result.reason is EndReason.STALLED:
            yield (
                f"stopped after {self.n_iter_} iterations without progress, although "
                "the gradient of the loss is not small: it is far from a minimum. "
                "Lower tol, raise n_iter_no_change, or set solver='lm'."
            )
        else:
            yield (
                f"stopped at max_iter={self.max_iter} while the loss was still "
                "falling. Raise max_iter or tol"
                f"{'.' if self.early_stopping else ', or set early_stopping=True.'}"
            )

    def _can_stream(self):
        """Whether partial_fit is to be had; raises AttributeError otherwise."""
        if self.early_stopping:
            raise AttributeError(
                "partial_fit sees one batch at a time and cannot validate, got "
                "early_stopping=True: set early_stopping=False."
            )
        try:
            check_compatible(self.solver, streaming=True)
        except ValueError as error:
            raise AttributeError(*error.args) from None
        return True

    # Reading a fit.

    @property
    @single_thread
    def network_(self):
        """The fitted network as a torch module, in scaled units, built on access.

        It maps (X - centre) / scale to what is added to the baseline. Changing it does
        not change the estimator.
        """
        check_is_fitted(self)
        return self.fitted_model_.network(self._device_for_reading())

    def _device_for_reading(self):
        try:
            return checked_device(self.device)
        except ValueError:  # fitted on a GPU, used where there is none
            return torch.device("cpu")

    def _raw(self, X):
        """Raw output of rows, ndarray of shape (n_samples, n_outputs)."""
        X = self._validated(X)
        return self.fitted_model_.raw_output(X)

    def _validated(self, X):
        """X as float64; dense with codes for categories, or perhaps of sparse rows."""
        check_is_fitted(self)
        return validated_features(self, X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        return tags

    def __getstate__(self):
        # Plain values only, so that files do not name classes of this package.
        state = dict(super().__getstate__())
        if "fitted_model_" in state:
            state["fitted_model_"] = self.fitted_model_.to_dict()
        return state

    def __setstate__(self, state):
        state = dict(state)
        if "fitted_model_" in state:
            state["fitted_model_"] = FittedModel.from_dict(state["fitted_model_"])
        super().__setstate__(state)


def fitted_model_of(estimator):
    """The FittedModel of an estimator of this package.

    Raises
    ------
    TypeError
        If it is none.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    if not isinstance(estimator, BaseKAN):
        raise TypeError(
            "Expected a fitted KANRegressor or KANClassifier, got "
            f"{type(estimator).__name__}: of a Pipeline or a search pass the last step "
            "or best_estimator_."
        )
    check_is_fitted(estimator)
    return estimator.fitted_model_
