"""Limited-memory BFGS on all rows, for small and medium data."""

import math
from collections import deque
from dataclasses import dataclass
from numbers import Integral
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg.blas import daxpy
from sklearn.utils._param_validation import Interval

from skkan._parameter_ranges import check_fields
from skkan.solvers._base import (
    BUDGET_SPENT,
    RELATIVE_ROUNDING,
    STUCK,
    DivergenceError,
    Solver,
    SolverResult,
)

GRADIENT_TOLERANCE = 1e-12  # largest entry; below it, steps drown in rounding
BACKOFF = 0.1  # factor on the step size after a non-finite objective
PROBE = 1e-8  # distance for the curvature along the gradient, in whitened weights
# Iterations until weights are whitened anew; then twice as many, and so on. The
# curvature of a log loss falls as classes are told apart; of some tables and iterations
# from 10 to 30 this number saves the most, up to half of all iterations.
FIRST_WHITENED_ITER = 30
# Strong Wolfe conditions: the share of the decrease that the slope promises, and of the
# slope that may be left. Loose ones take the first trial point most of the time; the
# numbers are those of L-BFGS-B.
SUFFICIENT_DECREASE, SLOPE_LEFT = 1e-3, 0.9
# A bracket of step lengths is narrow at this share of its far end. Trial points keep
# this share of it from its ends. Without a bracket they are so many times as far as the
# last one, at least and at most.
NARROW_BRACKET, MIN_STRETCH, MAX_STRETCH = 0.1, 2.0, 4.0
MIN_DECREASE = 1e-16  # of the value, that steps must promise: half its rounding
# Least product of step and change of the gradient that goes into the memory, as a share
# of the squared change of the gradient.
MIN_MEMORY_CURVATURE = 2.2e-16


class _NonFiniteValueError(Exception):
    """A trial point has a non-finite objective."""


# In place of a Whitening, for steps in the weights themselves.
UNCHANGED = SimpleNamespace(
    weights=lambda step: step, gradient=lambda gradient: gradient
)


@dataclass(frozen=True)
class LBFGS(Solver):
    """L-BFGS in whitened weights, whose line search meets the strong Wolfe conditions.

    One iteration is one step, usually one evaluation. After the first steps, the
    weights of each edge are whitened by the curvature of the objective along them; this
    is done anew after 30 iterations, after 60 more, and so on, with an empty memory. So
    the number of steps depends neither on the grids nor on the scales of the columns.
    Where a trial point has no finite objective the search starts again from the best
    point with steps 10 times shorter.

    Parameters
    ----------
    history_size : int, default=20
        Number of past steps that approximate the curvature.
    max_line_search : int, default=30
        Evaluations allowed in one iteration.
    max_backoff : int, default=8
        How often the steps may be shortened before the fit is given up.
    n_unwhitened_iter : int, default=10
        Iterations before the weights are whitened. In the weights themselves the smooth
        parts of the curves come first. Hidden nodes then find better minima, and a
        search that ends so early is a penalty of its own.

    Raises
    ------
    ValueError
        If a field is out of its range.

    References
    ----------
    J. Nocedal and S. Wright, Numerical Optimization, 2006, algorithms 7.4 (two-loop
    recursion), 3.5 and 3.6 (line search).

    Examples
    --------
    >>> from skkan.solvers import LBFGS
    >>> LBFGS(history_size=10)
    LBFGS(history_size=10, max_line_search=30, max_backoff=8, n_unwhitened_iter=10)
    """

    __module__ = "skkan.solvers"

    history_size: int = 20
    max_line_search: int = 30
    max_backoff: int = 8
    # From 5 to 30, ten did best: whitened from the start, a node with a skip misses
    # products; after 30 plain steps on 500 intervals `tol` ends the search.
    n_unwhitened_iter: int = 10

    def __post_init__(self):
        count = Interval(Integral, 1, None, closed="left")
        check_fields(
            self,
            history_size=count,
            max_line_search=count,
            max_backoff=Interval(Integral, 0, None, closed="left"),
            n_unwhitened_iter=Interval(Integral, 0, None, closed="left"),
        )

    def minimize(self, objective, theta, *, max_iter, monitor, generator, state=None):
        search = _Search(objective, theta, monitor, self)
        spent = self._run(search, min(self.n_unwhitened_iter, max_iter))
        search.whitens, n_iter = True, FIRST_WHITENED_ITER
        while spent and not search.stopped and search.n_iter < max_iter:
            spent = self._run(search, min(n_iter, max_iter - search.n_iter))
            n_iter *= 2
        is_stuck = False
        if search.stopped:
            converged, message = True, "stopped by the monitor"
        elif spent:
            converged, message = False, BUDGET_SPENT
        elif search.is_at_minimum():
            converged, message = True, "no step lowers the objective"
        else:
            converged, message, is_stuck = False, STUCK, True
        return SolverResult(
            search.theta, search.n_iter, converged, message, is_stuck=is_stuck
        )

    def _run(self, search, n_iter):
        """Iterations from the best point, with shorter steps if there is need.

        Returns
        -------
        bool
            Whether the budget is spent. Otherwise no trial point was any better, or the
            monitor has ended the search.
        """
        if n_iter == 0:
            return True
        end, step_size = search.n_iter + n_iter, 1.0
        for _ in range(self.max_backoff + 1):
            try:
                search.restart(step_size)
                return search.descend(end)
            except _NonFiniteValueError:
                step_size *= BACKOFF
        raise DivergenceError(
            f"the objective is not finite, even {step_size / BACKOFF:.0e} of a step "
            f"away from the best point (after {search.n_iter} iterations)"
        )


class _Point(NamedTuple):
    """A trial point of a line search."""

    length: float  # of the step, in lengths of the direction
    value: float
    slope: float  # of the value, along the direction
    theta: torch.Tensor
    gradient: torch.Tensor  # with respect to theta


class _Search:
    """The best point so far, and the descent from it."""

    def __init__(self, objective, theta, monitor, settings):
        self.objective, self.monitor, self._settings = objective, monitor, settings
        self.whitens = False
        self.theta = theta.detach().clone()  # the last iterate, which is the best one
        self.n_iter = 0
        self.stopped = False
        self._gradient = None  # with respect to theta

    def restart(self, step_size):
        """Go on from the best point with an empty memory.

        The first step is a share of one of length one or, in whitened weights, of the
        gradient, which is about a Newton step.
        """
        if self._gradient is None:
            self.value, self._gradient = self._finite_value_and_grad(self.theta)
        self._whitening = UNCHANGED
        if self.whitens:
            self._whitening = self.objective.whitening(self.theta)
        self._slope = self._whitened(self._gradient)
        self._step_size = step_size
        self._memory = deque(maxlen=self._settings.history_size)

    def _finite_value_and_grad(self, theta):
        value, gradient = self.objective.value_and_grad(theta)
        # The sum of squares is finite unless an entry is not, or an entry is so large
        # that no step can be made of it.
        if not (math.isfinite(value) and math.isfinite(gradient @ gradient)):
            raise _NonFiniteValueError
        return value, gradient

    def _whitened(self, gradient):
        own = self._whitening.gradient(gradient)
        return own.to("cpu", torch.float64).numpy()

    def _in_weights(self, step):
        return self._whitening.weights(torch.from_numpy(step).to(self.theta))

    def descend(self, end):
        """Iterations until there are `end` of them; whether the budget is spent."""
        while self.n_iter < end:
            if np.abs(self._slope).max() <= GRADIENT_TOLERANCE:
                return False
            direction, before = self._direction(), self.value
            point = self._line_search(direction)
            if point is None and self._memory:  # which may mislead
                self._memory.clear()
                continue
            if point is None:
                return False
            self._move_to(point, direction)
            self.n_iter += 1
            if self.monitor(self.theta, self.value):
                self.stopped = True
                return False
            if point.value == before:
                return False
        return True

    def _direction(self):
        """Minus the gradient, times the inverse of the curvature in memory."""
        direction, shares = -self._slope, []
        for step, change, product in reversed(self._memory):
            shares.append(step @ direction / product)
            daxpy(change, direction, a=-shares[-1])
        if self._memory:
            _, change, product = self._memory[-1]
            direction *= product / (change @ change)
        for (step, change, product), share in zip(
            self._memory, reversed(shares), strict=True
        ):
            daxpy(step, direction, a=share - change @ direction / product)
        return direction

    def _line_search(self, direction):
        """A point that meets the strong Wolfe conditions; None if none is lower.

        Where no trial point meets both, the lowest that meets the first one is taken.
        """
        along = self._in_weights(direction)
        start = _Point(0.0, self.value, float(direction @ self._slope), None, None)
        low = before = start
        high, length = None, 1.0
        if not self._memory:
            length = self._step_size
            if not self.whitens:
                length /= np.linalg.norm(direction)
        for _ in range(self._settings.max_line_search):
            try:
                here = self._trial(along, length)
            except _NonFiniteValueError:
                if low is start:
                    raise
                break  # beyond a wall
            limit = start.value + SUFFICIENT_DECREASE * length * start.slope
            if here.value > limit or (here.value >= low.value and low is not start):
                high = here
            elif abs(here.slope) <= -SLOPE_LEFT * start.slope:
                return here
            else:
                side = 1.0 if high is None else high.length - low.length
                if here.slope * side > 0:
                    high = low
                before, low = low, here
            length = _next_length(low, high, before, start)
            if length is None:
                break
        return None if low is start else low

    def _trial(self, along, length):
        theta = torch.add(self.theta, along, alpha=length)
        value, gradient = self._finite_value_and_grad(theta)
        return _Point(length, value, float(gradient @ along), theta, gradient)

    def _move_to(self, point, direction):
        self.theta, self.value = point.theta, point.value
        self._gradient = point.gradient
        before, self._slope = self._slope, self._whitened(point.gradient)
        step, change = point.length * direction, self._slope - before
        product = float(step @ change)
        if product > MIN_MEMORY_CURVATURE * float(change @ change):
            self._memory.append((step, change, product))

    def is_at_minimum(self):
        """Whether a step along the gradient changes the objective by rounding only.

        A search ends where its steps do not lower the objective. That may be a kink,
        such as where hidden nodes reach the ends of their grids.
        """
        self.restart(1.0)
        if np.abs(self._slope).max() <= GRADIENT_TOLERANCE:
            return True
        slope = float(np.linalg.norm(self._slope))
        there = self._trial(self._in_weights(-self._slope / slope), PROBE)
        curvature = (slope + there.slope) / PROBE
        # The minimum of the parabola along the direction.
        return curvature > 0 and slope**2 / (2 * curvature) <= RELATIVE_ROUNDING * abs(
            self.value
        )


def _next_length(low, high, before, start):
    """The next length to try; None if there is no use in another one.

    Parameters
    ----------
    low : _Point
        The lowest so far that lowers the objective enough, or the start.
    high : _Point or None
        The minimum lies between low and high; None if it lies anywhere beyond low.
    before : _Point
        What low was before, where high is None.
    start : _Point
    """
    if high is None:
        minimum, least = _cubic_minimum(before, low), MIN_STRETCH * low.length
        most = MAX_STRETCH * low.length
        return min(max(minimum, least), most) if minimum > low.length else most
    near, far = sorted((low.length, high.length))
    width = far - near
    is_rounding = -start.slope * far <= MIN_DECREASE * abs(start.value)
    if width <= NARROW_BRACKET * far or is_rounding:
        return None
    minimum, margin = _cubic_minimum(low, high), NARROW_BRACKET * width
    if math.isnan(minimum):
        return 0.5 * (near + far)
    return min(max(minimum, near + margin), far - margin)


def _cubic_minimum(one, other):
    """Where the cubic through two points has its minimum; NaN if it has none."""
    gap = other.length - one.length
    mean = one.slope + other.slope - 3 * (other.value - one.value) / gap
    square = mean**2 - one.slope * other.slope
    if not 0 <= square < math.inf:
        return math.nan
    root = math.copysign(math.sqrt(square), gap)
    width = other.slope - one.slope + 2 * root
    if width == 0:
        return math.nan
    return other.length - gap * (other.slope + root - mean) / width
