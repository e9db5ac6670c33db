"""The regularisation path: networks under penalty weights that fall step by step."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress
from operator import mul, or_
from typing import NamedTuple

import torch

from skkan.data._dataset import Dataset
from skkan.numerics._threads import parallel_map
from skkan.penalties._quadratic import QuadraticPenalty
from skkan.selection import _settings
from skkan.selection._search_record import (
    ALL_DIVERGED,
    DIVERGED,
    OTHER_PENALTY,
    Trial,
)
from skkan.selection._validation_rows import ValidationRows
from skkan.solvers import LBFGS, DivergenceError
from skkan.training._monitor_and_early_stopping import Monitor
from skkan.training._plan import FitPlan
from skkan.training._stages import train
from skkan.training._state import EndReason, FitState


class PathPoint(NamedTuple):
    """Networks that were trained under one penalty weight."""

    states: list  # of FitState
    alpha: float | torch.Tensor  # see QuadraticPenalty
    trial: Trial
    weights: list  # of the networks in their mean; they add up to 1

    @classmethod
    def of_mean(cls, states, alpha, trial):
        """Networks of equal weights."""
        return cls(states, alpha, trial, [1 / len(states) for _ in states])

    @property
    def networks(self):
        return [state.network for state in self.states]

    def weighted(self, weights):
        """The networks with weights in proportion to these; those without any go."""
        states, weights = [*compress(self.states, weights)], [*filter(None, weights)]
        self.trial.n_networks, total = len(states), sum(weights)
        return self._replace(states=states, weights=[each / total for each in weights])


@dataclass
class RegularizationPath:
    """Trains networks along a path, and compares their means on validation rows.

    Parameters
    ----------
    fitted : Dataset
        Rows to fit.
    validation : ValidationRows
    plan : FitPlan
    generator : torch.Generator
    report : callable
        Called with the name of each step before it is taken.

    Attributes
    ----------
    trials : list of Trial
        All that were trained.
    n_left_out : int
        Networks with hidden nodes that diverged at every step of their path, and all
        that diverged at the last step on all rows.
    """

    fitted: Dataset
    validation: ValidationRows
    plan: FitPlan
    generator: torch.Generator
    report: Callable
    trials: list = field(default_factory=list)
    n_left_out: int = 0

    @property
    def n_iter(self):
        """Iterations of all trainings."""
        return sum(trial.n_iter for trial in self.trials)

    def new_trial(self, network, solver, **settings):
        """A Trial of networks like this one, which are about to be trained."""
        sizes = tuple(network.widths[1:-1])
        trial = Trial(sizes, network.grid_size, solver, **settings)
        self.trials.append(trial)
        return trial

    def use_loss(self, loss):
        """Train and compare under another loss from now on."""
        self.plan = replace(self.plan, loss=loss)
        self.validation = replace(self.validation, loss=loss)

    def best_point(
        self, networks, is_enough, *, relative=1.0, first_alpha=None, computed=()
    ):
        """The point whose mean network predicts the validation rows best.

        At each step the networks are trained further under a lower penalty weight,
        until the validation loss has not fallen for some steps. A network whose
        training diverges stays as it was, and the next step trains it again; if that
        succeeds, no warning is needed. It takes part from its first success on.

        Parameters
        ----------
        networks : list of KANNetwork
        is_enough : callable
            Whether the path may end at some raw output of the validation rows.
        relative : float or Tensor of shape (n_edges, 3), default=1.0
            Penalty weights of the edges, relative to that of the path.
        first_alpha : float, default=None
        computed : sequence of lists of FitState, default=()
            The first networks at the first steps, where they were trained already.

        Returns
        -------
        best : PathPoint or None
            None if the networks diverge at every step, or predict no finite numbers.
        all_states : list of lists of FitState
            All networks at each step.
        """
        settings = _settings.PATH
        alpha = settings.first_alpha if first_alpha is None else first_alpha
        states = [FitState(network) for network in networks]
        was_trained = [False] * len(networks)
        best, best_loss, n_no_change, all_states = None, math.inf, 0, []
        while alpha > settings.last_alpha / settings.alpha_step**0.5:
            self.report(_step_name(states, alpha))
            trial = self.new_trial(networks[0], "lbfgs", alpha=alpha, reason=DIVERGED)
            n_steps = len(all_states)
            known = computed[n_steps] if n_steps < len(computed) else []
            others = states[len(known) :]
            states = known + self._trained(
                others, relative * alpha, self.fitted, trial, settings.max_iter
            )
            all_states.append(states)
            was_trained = [*map(or_, was_trained, map(_is_trained, states))]
            trained = [*compress(states, was_trained)]
            point = PathPoint.of_mean(trained, relative * alpha, trial)
            trial.n_networks, loss = len(trained), math.inf
            if trained:
                trial.reason = OTHER_PENALTY
                trial.raw = raw = self.validation.raw(point.networks)
                loss = self.validation.total_loss(raw)
            n_no_change = 0 if loss < best_loss else n_no_change + 1
            if loss < best_loss:
                best, best_loss = point, loss
            has_ended = n_no_change == settings.n_steps_no_change
            if has_ended or (trained and is_enough(raw)):
                break
            alpha /= settings.alpha_step
        return best, all_states

    def on_all_rows(self, point, data):
        """Train the networks on all rows, under an alpha that falls with their number.

        It falls as fast as along the path. Up to `max_rows_at_once` rows take part from
        the first step on. More of them join step by step, up to `max_rows`. A network
        is left out if its last training diverges.
        """
        settings, n_fitted = _settings.PATH, self.fitted.n_rows
        more_rows = data.n_rows / n_fitted
        more_observations = data.n_observations / self.fitted.n_observations
        n_steps = round(math.log(more_observations) / math.log(settings.alpha_step))
        states, n_steps = point.states, max(1, n_steps)
        for step in range(1, n_steps + 1):
            self.report(_step_name(states, point.alpha, "all rows, "))
            ratio = more_observations ** (step / n_steps)
            n_rows = round(n_fitted * more_rows ** (step / n_steps))
            n_rows = max(settings.max_rows_at_once, n_rows)
            rows = data.subsample(min(n_rows, settings.max_rows))
            states = self._trained(
                states, point.alpha / ratio, rows, point.trial, settings.max_last_iter
            )
        is_trained = [*map(_is_trained, states)]
        self.n_left_out += is_trained.count(False)
        if not any(is_trained):
            point.trial.reason = ALL_DIVERGED
        point = point._replace(states=states, alpha=point.alpha / ratio)
        return point.weighted([*map(mul, point.weights, is_trained)])

    def _trained(self, states, alpha, data, trial, max_iter):
        """States trained further, side by side where there are threads for that."""
        train_one = partial(
            self._trained_further, alpha=alpha, data=data, max_iter=max_iter
        )
        with trial.timed():
            states = parallel_map(train_one, states)
        trial.n_iter += sum(state.n_iter for state in states)
        return states

    def _trained_further(self, state, alpha, data, max_iter):
        """A state trained further; if training diverges its network stays as it was."""
        settings = _settings.PATH
        n_iter = settings.max_row_iterations // data.n_rows
        n_iter = max(settings.min_iter, min(max_iter, n_iter))
        plan = validated_plan(self.plan, state.network, alpha, n_iter)
        monitor = Monitor(plan.tol, settings.n_iter_no_change)
        try:
            trained = train([state.network], data, plan, self.generator, monitor)
        except DivergenceError:
            return FitState(state.network, reason=EndReason.DIVERGED)
        if trained.interrupted:
            raise KeyboardInterrupt
        return trained


def _is_trained(state):
    return state.reason is not EndReason.DIVERGED


def validated_plan(plan, network, alpha, max_iter=None):
    """The plan for a network under a penalty that validation rows set.

    Parameters
    ----------
    plan : FitPlan
        Its loss, tolerance and budget are kept.
    network : KANNetwork
    alpha : float or Tensor of shape (n_edges, 3)
        See `QuadraticPenalty`.
    max_iter : int, default=None
        Of each training; None stands for that of the last steps of a path.
    """
    max_iter = _settings.PATH.max_last_iter if max_iter is None else max_iter
    return replace(
        plan,
        solver=LBFGS(),
        penalties=(QuadraticPenalty(alpha),),
        grid_sizes=(network.grid_size,),
        n_grid_updates=min(plan.n_grid_updates, 1),
        max_iter=min(plan.max_iter, max_iter),
        learns_alpha=False,
        penalty_from_validation=True,
    )


def _step_name(states, alpha, rows=""):
    """Name of a step, for the progress line."""
    has_hidden = len(states[0].network.layers) > 1
    kind = "hidden nodes" if has_hidden else "additive model"
    largest = float(torch.as_tensor(alpha).max())
    return f"{rows}{len(states)} x {kind}, alpha {largest:.0e}"
