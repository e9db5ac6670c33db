"""The monitor of a training: loss curves, early stopping, observers.

Solvers call a `Monitor` after every iteration. It knows the objective and the
validation rows, and nothing of grids, solvers or scikit-learn.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from skkan.data._dataset import Dataset


class Validation(NamedTuple):
    """Rows that are scored but not fitted."""

    data: Dataset
    score: Callable  # of (raw output, target, sample_weight), higher is better


@dataclass(frozen=True)
class IterationReport:
    """State of a fit after an iteration, for observers."""

    n_iter: int
    grid_size: int
    loss: float
    penalty: Callable  # () -> float
    validation_loss: float | None
    network: Callable  # () -> KANNetwork


class Observer:
    """Base class of what follows a fit; its methods do nothing."""

    def begin_step(self, name):
        """Called before each step of a structure search."""

    def begin_stage(self, grid_size):
        """Called before the first iteration on a grid size."""

    def end_iteration(self, report):
        """Called after every iteration; True ends the stage."""
        return False

    def end_stage(self, network):
        """Called after the last iteration on a grid size; True ends the fit."""
        return False


class Monitor:
    """Records the curves and decides when the search of a solver is over.

    Parameters
    ----------
    tol : float
        Relative decrease of the watched loss that counts as progress.
    n_iter_no_change : int
        Iterations in a row without progress that end a search.
    early_stopping : bool, default=False
        Whether the validation loss is watched and its best network kept, rather than
        the training objective.
    validation : Validation, default=None
    observers : sequence of Observer, default=()
    """

    def __init__(
        self,
        tol,
        n_iter_no_change,
        *,
        early_stopping=False,
        validation=None,
        observers=(),
    ):
        self.n_iter = 0
        self.fit_ended = False  # by an observer
        self.loss_curve = []
        self.validation_loss_curve = []
        self.validation_scores = []
        self.best_network = None
        self.best_iteration = None
        self.best_loss = math.inf
        self._tol = tol
        self._n_iter_no_change = n_iter_no_change
        self._early_stopping = early_stopping
        self._validation = validation
        self._observers = observers

    def begin_step(self, name):
        """Tell the observers the next step of a structure search."""
        for observer in self._observers:
            observer.begin_step(name)

    def begin_stage(self, grid_size):
        """Start a stage, which no observer has ended yet."""
        self.stage_ended = False
        for observer in self._observers:
            observer.begin_stage(grid_size)

    def end_stage(self):
        """True when an observer wants no further stage."""
        # A list, since every observer must be called.
        ends = [observer.end_stage(self.network) for observer in self._observers]
        self.fit_ended = any(ends)
        return self.fit_ended

    def begin_search(self, objective):
        """Start watching a solver on an objective."""
        self._objective, self._theta = objective, objective.start
        self._reference, self._n_no_change = math.inf, 0
        self._validation_objective = None
        if self._validation is not None:
            self._validation_objective = objective.on_data(self._validation.data)

    def record_start(self, objective):
        """Start watching a solver, and record the value where it starts."""
        self.begin_search(objective)
        self(objective.start, objective.value(objective.start))

    def forget_best(self):
        """Forget the best network so far, as the objective changes."""
        self.best_network, self.best_iteration = None, None
        self.best_loss = math.inf

    @property
    def network(self):
        """The network after the last iteration."""
        return self._objective.network_at(self._theta)

    @property
    def has_passed_best(self):
        """Whether the best validation loss has been followed by others for long.

        What a solver does after it does not matter to the network that is kept.
        """
        if self.best_iteration is None:
            return False
        n_since = len(self.loss_curve) - self.best_iteration
        return n_since >= self._n_iter_no_change

    def __call__(self, theta, value):
        """Record an iteration; True ends the search."""
        self._theta = theta
        self.n_iter += 1
        self.loss_curve.append(value)
        if self._validation is not None:
            self._validate(theta)
        report = IterationReport(
            n_iter=self.n_iter,
            grid_size=self._objective.network.grid_size,
            loss=value,
            validation_loss=(self.validation_loss_curve or [None])[-1],
            penalty=lambda: self._objective.penalty(theta),
            network=lambda: self.network,
        )
        ends = [observer.end_iteration(report) for observer in self._observers]
        self.stage_ended = any(ends)
        if self._early_stopping:
            value = self.validation_loss_curve[-1]
        return self._has_stalled(value) or self.stage_ended

    def _validate(self, theta):
        raw = self._validation_objective.raw(theta)
        loss = self._validation_objective.loss_of(raw)
        if self._early_stopping and loss < self.best_loss:
            self.best_loss = loss
            self.best_network, self.best_iteration = self.network, len(self.loss_curve)
        self.validation_loss_curve.append(loss)
        data, score = self._validation
        self.validation_scores.append(score(raw, data.target, data.sample_weight))

    def _has_stalled(self, value):
        progress = value < self._reference - self._tol * abs(self._reference)
        if progress or self._reference == math.inf:
            self._reference, self._n_no_change = value, 0
        else:
            self._n_no_change += 1
        return self._n_no_change >= self._n_iter_no_change
