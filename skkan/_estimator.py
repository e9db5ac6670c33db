"""What the two estimators share: the shell between scikit-learn and the core.

It checks data and parameters, turns them into scaled tensors, runs the training and
stores the outcome as numpy arrays. Only this module, its two subclasses and `_checks`
know scikit-learn's estimator conventions.
"""

import warnings
from abc import ABCMeta, abstractmethod
from dataclasses import dataclass, field
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from skkan._basis import BASE_ACTIVATIONS, EXTRAPOLATIONS
from skkan._callbacks import CallbackObserver, CallbackSupportMixin, with_callbacks
from skkan._checks import (
    checked_device,
    checked_grid_sizes,
    checked_layer_sizes,
    checked_pair,
    checked_weights,
    earlier_fit_kept,
    remedies,
)
from skkan._monitor import Monitor, Validation
from skkan._network import KANNetwork
from skkan._penalties import Penalty, QuadraticPenalty
from skkan._progress import ProgressLine
from skkan._rows import canonical_rows
from skkan._scaling import AffineScaling
from skkan._threads import single_thread
from skkan._training import TrainingData, TrainingPlan, make_objective, train
from skkan.solvers import LBFGS, Adam, DivergenceError, Solver

SOLVERS = {"lbfgs": LBFGS, "adam": Adam}
MOST_LBFGS_ROWS = 20_000  # above, "auto" takes mini-batches
FENCE = 5.0  # first grids end here, in robust standard deviations from the median
CHUNK = 2**18  # basis values held at a time by a prediction (2 MB)


@dataclass(frozen=True, eq=False)
class Frame:
    """What a prediction needs besides the network."""

    x_scaling: AffineScaling
    y_scaling: AffineScaling
    baseline: np.ndarray  # (n_outputs,) raw output to which the network adds
    target_attributes: dict = field(default_factory=dict)  # classes_ and the like

    def attributes(self):
        """The frame as fitted attributes of an estimator."""
        return {
            "_x_centre": self.x_scaling.centre,
            "_x_scale": self.x_scaling.scale,
            "_y_centre": self.y_scaling.centre,
            "_y_scale": self.y_scaling.scale,
            "_baseline": self.baseline,
            **self.target_attributes,
        }

    @classmethod
    def of(cls, estimator, target_attributes):
        """The frame that a fitted estimator holds."""
        return cls(
            AffineScaling(estimator._x_centre, estimator._x_scale),
            AffineScaling(estimator._y_centre, estimator._y_scale),
            estimator._baseline,
            target_attributes,
        )


class BaseKAN(CallbackSupportMixin, BaseEstimator, metaclass=ABCMeta):
    """Base class of the estimators; not to be instantiated."""

    _parameter_constraints: dict = {  # noqa: RUF012
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "grid_size": [Interval(Integral, 1, None, closed="left")],
        "spline_order": [Interval(Integral, 0, None, closed="left")],
        "grid_eps": [Interval(Real, 0, 1, closed="both")],
        "grid_schedule": ["array-like", None],
        "n_grid_updates": [Interval(Integral, 0, None, closed="left")],
        "base_activation": [StrOptions(set(BASE_ACTIVATIONS))],
        "extrapolation": [StrOptions(set(EXTRAPOLATIONS))],
        "additive_skip": ["boolean"],
        "solver": [StrOptions({"auto", *SOLVERS}), Solver],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "penalty": [Penalty, None],
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
        n_grid_updates,
        base_activation,
        extrapolation,
        additive_skip,
        loss,
        solver,
        alpha,
        penalty,
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
        self.n_grid_updates = n_grid_updates
        self.base_activation = base_activation
        self.extrapolation = extrapolation
        self.additive_skip = additive_skip
        self.loss = loss
        self.solver = solver
        self.alpha = alpha
        self.penalty = penalty
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
    def _target_attributes(self, y, earlier):
        """Fitted attributes that say how y is coded, from y or the earlier fit."""

    @abstractmethod
    def _encode(self, y, attributes):
        """y as a float64 matrix of shape (n_samples, n_outputs)."""

    @abstractmethod
    def _weigh(self, y, sample_weight, attributes):
        """Sample weights times class weights."""

    @abstractmethod
    def _make_loss(self, attributes):
        """The loss of this target."""

    @abstractmethod
    def _scale_target(self, target, sample_weight):
        """AffineScaling of the encoded target."""

    @abstractmethod
    def _strata(self, target, attributes):
        """Labels by which to stratify a validation split, or None."""

    @abstractmethod
    def _scorer(self, attributes):
        """Function score(raw, target, sample_weight), where higher is better."""

    # Fitting.

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None):
        """Fit the network to data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows in any units; finite numbers.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Target values or class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; a weight of 2 equals giving the row twice.
        X_val : array-like of shape (n_val, n_features), default=None
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
        with earlier_fit_kept(self), single_thread:
            self._fit(X, y, sample_weight, X_val, y_val)
        return self

    def _fit(self, X, y, sample_weight, X_val, y_val):
        given = {"X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
        grid_sizes, device = self._check_settings()
        checked_pair(X_val, y_val)
        earlier = self._earlier_fit() if self.warm_start else None
        X, y, weight = self._check_rows(X, y, sample_weight)
        coding = self._target_attributes(y, earlier)
        weight = self._weigh(y, weight, coding)
        rows = canonical_rows(X, self._encode(y, coding), weight)
        if earlier is not None:
            network = KANNetwork.from_arrays(self._network_arrays, device)
            grid_sizes = self._remaining_grid_sizes(network, rows, grid_sizes)
        held_out = None
        if X_val is not None:
            X_val, y_val, weight_val = self._check_rows(X_val, y_val, None, reset=False)
            held_out = X_val, self._encode(y_val, coding), weight_val
        elif self.early_stopping:
            rows, held_out = self._split(rows, coding)

        loss = self._make_loss(coding)
        frame = earlier or self._new_frame(rows, coding, loss)
        data = _training_data(rows, frame, device)
        generator = self._generator()
        if earlier is None:
            network = self._new_network(data, grid_sizes[0], generator)
        plan = self._plan(loss, len(data.X), grid_sizes)

        def attributes(network):
            return {"_network_arrays": network.to_arrays(), **frame.attributes()}

        observers = CallbackObserver.create(
            self, given, attributes, len(grid_sizes), self.max_iter
        )
        progress = []
        if self.verbose:
            progress.append(ProgressLine(len(grid_sizes), self.max_iter))
        monitor = Monitor(
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            early_stopping=self.early_stopping,
            validation=self._validation(held_out, frame, device),
            observers=[*observers, *progress],
        )
        try:
            result = train(network, data, plan, generator=generator, monitor=monitor)
        except DivergenceError as error:
            raise ValueError(
                f"{type(self).__name__} diverged: {error}. Scale or clip extreme "
                "values of X and y, raise alpha, or lower the solver's learning rate."
            ) from error
        finally:
            for line in progress:
                line.close()
        fitted = {
            **attributes(result.network),
            **self._report(result, data),
            "_solver_state": None,
        }
        for observer in observers:
            observer.end_fit(result.network)
        vars(self).update(fitted)
        self._warn(result)

    def _partial_fit(self, X, y, sample_weight, first_coding):
        """One pass over a batch; the first batch fixes scaling and grids."""
        grid_sizes, device = self._check_settings()
        earlier = self._earlier_fit()
        X, y, weight = self._check_rows(
            X, y, sample_weight, reset=earlier is None, fewest=1 if earlier else 2
        )
        coding = earlier.target_attributes if earlier else first_coding(y)
        weight = self._weigh(y, weight, coding)
        rows = canonical_rows(X, self._encode(y, coding), weight)
        loss = self._make_loss(coding)
        frame = earlier or self._new_frame(rows, coding, loss)
        data = _training_data(rows, frame, device)
        generator = self._generator(getattr(self, "n_iter_", 0))
        if earlier is None:
            network = self._new_network(data, grid_sizes[0], generator)
        else:
            network = KANNetwork.from_arrays(self._network_arrays, device)
        plan = self._plan(loss, len(data.X), grid_sizes[:1])
        solver = Adam() if self.solver == "auto" else plan.solver
        objective = make_objective(network, data, plan)
        curve = []
        outcome = solver.minimize(
            objective,
            objective.start,
            max_iter=1,
            monitor=lambda theta, value: curve.append(value),
            generator=generator,
            state=getattr(self, "_solver_state", None),
        )
        network = objective.network_at(outcome.theta)
        curve = [*getattr(self, "loss_curve_", []), *curve]
        fitted = {
            "_network_arrays": network.to_arrays(),
            "_solver_state": outcome.state,
            **frame.attributes(),
            **self._describe(network, data),
            **_curve_attributes(curve, [len(curve)], getattr(self, "n_iter_", 0) + 1),
        }
        vars(self).update(fitted)

    def _check_settings(self):
        checked_layer_sizes(self.hidden_layer_sizes)
        return (
            checked_grid_sizes(self.grid_size, self.grid_schedule),
            checked_device(self.device),
        )

    def _check_rows(self, X, y, sample_weight, *, reset=True, fewest=2):
        """X as float64, y as an array, weights; rows without weight are dropped."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        with remedies():
            X, y = validate_data(
                self,
                X,
                y,
                reset=reset,
                dtype=np.float64,
                multi_output=True,
                ensure_min_samples=fewest,
            )
        y = self._check_target(y)
        weight = checked_weights(sample_weight, X, fewest)
        if not weight.all():
            used = weight > 0
            X, y, weight = X[used], y[used], weight[used]
        return X, y, weight

    def _earlier_fit(self):
        """Frame of the earlier fit, or None."""
        if not hasattr(self, "_network_arrays"):
            return None
        names = [name for name in self._target_names if hasattr(self, name)]
        return Frame.of(self, {name: getattr(self, name) for name in names})

    def _remaining_grid_sizes(self, network, rows, grid_sizes):
        """Grid sizes that the earlier fit's network has still to visit.

        Raises a ValueError if that network is not of the kind that is asked for.
        """
        basis = network.layers[0].basis
        asked = {
            "n_features": rows[0].shape[1],
            "hidden_layer_sizes": checked_layer_sizes(self.hidden_layer_sizes),
            "n_outputs": rows[1].shape[1],
            "spline_order": self.spline_order,
            "base_activation": self.base_activation,
            "extrapolation": self.extrapolation,
            "additive_skip": self._has_skip(),
        }
        fitted = {
            "n_features": network.widths[0],
            "hidden_layer_sizes": tuple(network.widths[1:-1]),
            "n_outputs": network.widths[-1],
            "spline_order": basis.spline_order,
            "base_activation": basis.base_activation,
            "extrapolation": basis.extrapolation,
            "additive_skip": network.skip is not None,
        }
        for name, value in asked.items():
            if value != fitted[name]:
                raise ValueError(
                    f"warm_start continues the earlier fit, which has {name}="
                    f"{fitted[name]!r}, got {value!r}: keep it, or set "
                    "warm_start=False to start afresh."
                )
        if grid_sizes[-1] < network.grid_size:
            raise ValueError(
                f"grid_size must not shrink, got {grid_sizes[-1]} after an earlier fit "
                f"that ended at {network.grid_size}: a coarser grid cannot represent "
                "the fitted curves. Raise it, or set warm_start=False."
            )
        return tuple(g for g in grid_sizes if g >= network.grid_size)

    def _new_frame(self, rows, coding, loss):
        X, target, weight = rows
        y_scaling = self._scale_target(target, weight)
        baseline = loss.baseline(
            torch.from_numpy(y_scaling.transform(target)), torch.from_numpy(weight)
        )
        x_scaling = AffineScaling.robust(X, weight)
        return Frame(x_scaling, y_scaling, baseline.numpy(), coding)

    def _new_network(self, data, grid_size, generator):
        return KANNetwork.from_samples(
            [
                data.X.shape[1],
                *checked_layer_sizes(self.hidden_layer_sizes),
                data.target.shape[1],
            ],
            # A single wild value must not stretch the grid of a whole column. What
            # lies beyond the fence is left to the continuation.
            data.X.clamp(-FENCE, FENCE),
            grid_size=grid_size,
            spline_order=self.spline_order,
            grid_eps=self.grid_eps,
            base_activation=self.base_activation,
            extrapolation=self.extrapolation,
            additive_skip=self._has_skip(),
            sample_weight=data.sample_weight,
            generator=generator,
        )

    def _has_skip(self):
        # Without hidden layers the network is additive already.
        sizes = checked_layer_sizes(self.hidden_layer_sizes)
        return bool(self.additive_skip and sizes)

    def _generator(self, n_iter=0):
        """Generator from `random_state`, another one for each number of iterations."""
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        return torch.Generator().manual_seed(int(seed) + n_iter)

    def _make_solver(self, n_rows):
        if isinstance(self.solver, Solver):
            return self.solver
        if self.solver == "auto":
            return LBFGS() if n_rows <= MOST_LBFGS_ROWS else Adam()
        return SOLVERS[self.solver]()

    def _plan(self, loss, n_rows, grid_sizes):
        penalties = (QuadraticPenalty(self.alpha),) if self.alpha > 0 else ()
        if self.penalty is not None:
            penalties = (*penalties, self.penalty)
        return TrainingPlan(
            loss=loss,
            penalties=penalties,
            solver=self._make_solver(n_rows),
            grid_sizes=grid_sizes,
            n_grid_updates=self.n_grid_updates,
            grid_eps=self.grid_eps,
            max_iter=self.max_iter,
        )

    def _split(self, rows, coding):
        """Training and validation rows."""
        n_rows = len(rows[0])
        n_val = max(2, int(np.ceil(self.validation_fraction * n_rows)))
        if n_rows - n_val < 2:
            raise ValueError(
                "early_stopping needs at least 2 distinct rows to fit and 2 to "
                f"validate on, got {n_rows} in all with validation_fraction="
                f"{self.validation_fraction}: give more rows, pass X_val and y_val, or "
                "set early_stopping=False."
            )
        strata = self._strata(rows[1], coding)
        if strata is not None:
            counts = np.unique(strata, return_counts=True)[1]
            # Stratified if every class can be on both sides.
            if counts.min() < 2 or min(n_val, n_rows - n_val) < len(counts):
                strata = None
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        fitted, held_out = train_test_split(
            np.arange(n_rows), test_size=n_val, random_state=seed, stratify=strata
        )
        fitted.sort()
        held_out.sort()
        return (
            tuple(part[fitted] for part in rows),
            tuple(part[held_out] for part in rows),
        )

    def _validation(self, held_out, frame, device):
        if held_out is None:
            return None
        data = _training_data(held_out, frame, device)
        score = self._scorer(frame.target_attributes)
        return Validation(data.X, data.target, data.sample_weight, score)

    def _report(self, result, data):
        """Fitted attributes about the course of a fit."""
        monitor = result.monitor
        scores = monitor.validation_scores
        best = monitor.best_iteration
        return {
            **self._describe(result.network, data),
            **_curve_attributes(monitor.loss_curve, result.stage_ends, monitor.n_iter),
            "validation_loss_curve_": monitor.validation_loss_curve or None,
            "validation_scores_": scores or None,
            "best_validation_score_": None if best is None else scores[best - 1],
        }

    def _describe(self, network, data):
        share = data.sample_weight / data.sample_weight.sum()
        return {
            "grid_size_": network.grid_size,
            "n_outputs_": data.target.shape[1],
            "feature_importances_": network.attribution(data.X, share).cpu().numpy(),
        }

    def _warn(self, result):
        if result.interrupted:
            warnings.warn(
                f"{type(self).__name__} was interrupted after {self.n_iter_} "
                "iterations; it keeps the best model so far.",
                ConvergenceWarning,
                stacklevel=4,
            )
        elif not (result.converged or self.early_stopping):
            warnings.warn(
                f"{type(self).__name__} stopped at max_iter={self.max_iter} while the "
                "loss was still falling. Raise max_iter or tol, or set "
                "early_stopping=True.",
                ConvergenceWarning,
                stacklevel=4,
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

    # Predicting.

    @property
    def network_(self):
        """The fitted network as a torch module, in scaled units, built on access.

        It maps (X - centre) / scale to what is added to the baseline. Changing it does
        not change the estimator.
        """
        check_is_fitted(self)
        device = torch.device(self.device)
        if device.type == "cuda" and not torch.cuda.is_available():
            device = torch.device("cpu")  # fitted on a GPU, used elsewhere
        return KANNetwork.from_arrays(self._network_arrays, device)

    def _raw(self, X):
        """Raw output, ndarray of shape (n_samples, n_outputs)."""
        check_is_fitted(self)
        with remedies():
            X = validate_data(self, X, reset=False, dtype=np.float64)
        network = self.network_
        n_values = max(layer.weight[0].numel() for layer in network.all_layers)
        n_rows = max(1, CHUNK // n_values)
        scaling = AffineScaling(self._x_centre, self._x_scale)
        raw = np.empty((len(X), len(self._baseline)))
        device = network.layers[0].mask.device
        with single_thread, torch.no_grad():
            for start in range(0, len(X), n_rows):
                rows = slice(start, start + n_rows)
                scaled = torch.from_numpy(scaling.transform(X[rows])).to(device)
                raw[rows] = network(scaled).cpu().numpy()
        return self._baseline + raw


def _training_data(rows, frame, device):
    X, target, weight = rows
    return TrainingData(
        *(
            torch.tensor(part, device=device)
            for part in (
                frame.x_scaling.transform(X),
                frame.y_scaling.transform(target),
                weight,
                frame.baseline,
            )
        )
    )


def _curve_attributes(loss_curve, stage_ends, n_iter):
    return {
        "loss_curve_": loss_curve,
        "loss_": loss_curve[-1],
        "n_iter_": n_iter,
        "stage_ends_": stage_ends,
    }
