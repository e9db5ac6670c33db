"""Limited-memory BFGS on all rows, for small and medium data."""

import math
from dataclasses import dataclass
from numbers import Integral
from types import SimpleNamespace

import numpy as np
import torch
from scipy.optimize import minimize
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
BUDGET_STATUS = 1  # of scipy's result


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
    R. Byrd, P. Lu, J. Nocedal and C. Zhu, A Limited Memory Algorithm for Bound
    Constrained Optimization, 1995; J. Moré and D. Thuente, Line Search Algorithms with
    Guaranteed Sufficient Decrease, 1994, as implemented by scipy.

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
        search = _Search(objective, theta, monitor)
        status = self._run(search, min(self.n_unwhitened_iter, max_iter))
        search.whitens, n_iter = True, FIRST_WHITENED_ITER
        while not search.stopped and search.n_iter < max_iter:
            before = search.n_iter
            status = self._run(search, min(n_iter, max_iter - before))
            if status != BUDGET_STATUS or search.n_iter == before:
                break  # no trial point was any better
            n_iter *= 2
        is_stuck = False
        if search.stopped:
            converged, message = True, "stopped by the monitor"
        elif status == BUDGET_STATUS and search.n_iter >= max_iter:
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
        int
            Why it ended, as scipy says.
        """
        if n_iter == 0:
            return BUDGET_STATUS
        end, step_size = search.n_iter + n_iter, 1.0
        for _ in range(self.max_backoff + 1):
            try:
                search.restart(step_size)
                return self._minimize(search, end - search.n_iter).status
            except _NonFiniteValueError:
                step_size *= BACKOFF
        raise DivergenceError(
            f"the objective is not finite, even {step_size / BACKOFF:.0e} of a step "
            f"away from the best point (after {search.n_iter} iterations)"
        )

    def _minimize(self, search, n_iter):
        return minimize(
            search.value_and_grad,
            np.zeros(len(search.theta)),
            jac=True,
            method="L-BFGS-B",
            callback=search.end_iteration,
            options={
                "maxiter": n_iter,
                "maxfun": self.max_line_search * n_iter,
                "maxls": self.max_line_search,
                "maxcor": self.history_size,
                "ftol": 0.0,
                "gtol": GRADIENT_TOLERANCE * search.scale * search.unit,
            },
        )


class _Search:
    """Adapter from scipy's functions of arrays to an objective of tensors."""

    def __init__(self, objective, theta, monitor):
        self.objective = objective
        self.monitor = monitor
        self.whitens = False
        self.theta = theta.detach().clone()  # the last iterate, which is the best one
        self.n_iter = 0
        self.stopped = False

    def restart(self, step_size):
        """Go on from the best point, with a first step of some size.

        scipy's variables are steps from the best point in units of some length: the
        step size or, in whitened weights, this times the gradient, which is about a
        Newton step. The objective is scaled there so that the gradient has length one,
        since scipy's first step has this length at most.
        """
        self.origin = self.theta
        self.value, start = self._finite_value_and_grad(self.origin)
        self.unit, self.scale = 1.0, 1.0
        self._whitening = UNCHANGED
        if self.whitens:
            self._whitening = self.objective.whitening(self.origin)
            length = float(np.linalg.norm(self._in_steps(start)))
            if length > GRADIENT_TOLERANCE:
                self.unit, self.scale = length, 1 / length**2
        self.unit *= step_size
        self._start = self.scale * self.value, self._in_steps(start)

    def _finite_value_and_grad(self, theta):
        value, grad = self.objective.value_and_grad(theta)
        if not (math.isfinite(value) and torch.isfinite(grad).all()):
            raise _NonFiniteValueError
        return value, grad

    def _point(self, step):
        step = self.unit * torch.from_numpy(step).to(self.origin)
        return self.origin + self._whitening.weights(step)

    def _in_steps(self, gradient):
        """The gradient of scipy's function with respect to its variables."""
        own = self._whitening.gradient(gradient).cpu().numpy()
        return self.scale * self.unit * own

    def value_and_grad(self, step):
        if not step.any():  # where the search has been
            return self._start
        self._trial = self._point(step)
        self.value, grad = self._finite_value_and_grad(self._trial)
        return self.scale * self.value, self._in_steps(grad)

    def is_at_minimum(self):
        """Whether a step along the gradient changes the objective by rounding only.

        scipy's search ends where its steps do not lower the objective. That may be a
        kink, such as where hidden nodes reach the ends of their grids.
        """
        self.restart(1.0)
        value, gradient = self.value, self._start[1]
        to_slope = self.scale * self.unit
        if np.abs(gradient).max() <= GRADIENT_TOLERANCE * to_slope:
            return True
        slope = float(np.linalg.norm(gradient)) / to_slope
        direction = gradient / np.linalg.norm(gradient)
        _, gradient_there = self.value_and_grad(-PROBE / self.unit * direction)
        curvature = (slope - float(direction @ gradient_there) / to_slope) / PROBE
        # The minimum of the parabola along the direction.
        return curvature > 0 and slope**2 / (2 * curvature) <= RELATIVE_ROUNDING * abs(
            value
        )

    def end_iteration(self, _):
        self.theta = self._trial  # a line search ends at its last trial point
        self.n_iter += 1
        if self.monitor(self.theta, self.value):
            self.stopped = True
            raise StopIteration
