"""Limited-memory BFGS on all rows, for small and medium data."""

import math
from dataclasses import dataclass
from numbers import Integral

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
PROBE = 1e-8  # distance for the curvature along the gradient, in the size of theta
BUDGET_STATUS = 1  # of scipy's result


class _NonFiniteValueError(Exception):
    """A trial point has a non-finite objective."""


@dataclass(frozen=True)
class LBFGS(Solver):
    """L-BFGS with a line search that meets the strong Wolfe conditions.

    One iteration is one step, usually one evaluation. Where a trial point has no
    finite objective the search starts again from the best point with steps 10 times
    shorter and an empty memory.

    Parameters
    ----------
    history_size : int, default=20
        Number of past steps that approximate the curvature.
    max_line_search : int, default=30
        Evaluations allowed in one iteration.
    max_backoff : int, default=8
        How often the steps may be shortened before the fit is given up.

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
    LBFGS(history_size=10, max_line_search=30, max_backoff=8)
    """

    __module__ = "skkan.solvers"

    history_size: int = 20
    max_line_search: int = 30
    max_backoff: int = 8

    def __post_init__(self):
        count = Interval(Integral, 1, None, closed="left")
        check_fields(
            self,
            history_size=count,
            max_line_search=count,
            max_backoff=Interval(Integral, 0, None, closed="left"),
        )

    def minimize(self, objective, theta, *, max_iter, monitor, generator, state=None):
        search = _Search(objective, theta, monitor)
        step_size, is_stuck = 1.0, False
        for _ in range(self.max_backoff + 1):
            try:
                status = self._run(search, step_size, max_iter)
            except _NonFiniteValueError:
                step_size *= BACKOFF
                continue
            if search.stopped:
                converged, message = True, "stopped by the monitor"
            elif status == BUDGET_STATUS:
                converged, message = False, BUDGET_SPENT
            elif search.is_at_minimum():
                converged, message = True, "no step lowers the objective"
            else:
                converged, message, is_stuck = False, STUCK, True
            return SolverResult(
                search.theta, search.n_iter, converged, message, is_stuck=is_stuck
            )
        raise DivergenceError(
            f"the objective is not finite, even {step_size / BACKOFF:.0e} of a step "
            f"away from the best point (after {search.n_iter} iterations)"
        )

    def _run(self, search, step_size, max_iter):
        # scipy's first step has length one in its variables. These are steps from the
        # best point in units of step_size, so that the first step has this length.
        search.restart(step_size)
        budget = max_iter - search.n_iter
        if budget < 1:
            return BUDGET_STATUS
        outcome = minimize(
            search.value_and_grad,
            np.zeros(len(search.theta)),
            jac=True,
            method="L-BFGS-B",
            callback=search.end_iteration,
            options={
                "maxiter": budget,
                "maxfun": self.max_line_search * budget,
                "maxls": self.max_line_search,
                "maxcor": self.history_size,
                "ftol": 0.0,
                "gtol": GRADIENT_TOLERANCE * step_size,
            },
        )
        return outcome.status


class _Search:
    """Adapter from scipy's functions of arrays to an objective of tensors."""

    def __init__(self, objective, theta, monitor):
        self.objective = objective
        self.monitor = monitor
        self.theta = theta.detach().clone()  # the last iterate, which is the best one
        self.n_iter = 0
        self.stopped = False

    def restart(self, step_size):
        self.origin, self.step_size = self.theta, step_size

    def _point(self, step):
        return self.origin + self.step_size * torch.from_numpy(step).to(self.origin)

    def value_and_grad(self, step):
        value, grad = self.objective.value_and_grad(self._point(step))
        if not (math.isfinite(value) and torch.isfinite(grad).all()):
            raise _NonFiniteValueError
        return value, self.step_size * grad.cpu().numpy()

    def is_at_minimum(self):
        """Whether a step along the gradient changes the objective by rounding only.

        scipy's search ends where its steps do not lower the objective. That may be a
        kink, such as where hidden nodes reach the ends of their grids.
        """
        value, grad = self.objective.value_and_grad(self.theta)
        if grad.abs().max() <= GRADIENT_TOLERANCE:
            return True
        distance = PROBE * max(1.0, float(self.theta.norm()))
        direction = grad / grad.norm()
        probe = self.theta - distance * direction
        _, grad_there = self.objective.value_and_grad(probe)
        slope = float(direction @ grad)
        curvature = (slope - float(direction @ grad_there)) / distance
        # The minimum of the parabola along the direction.
        return curvature > 0 and slope**2 / (2 * curvature) <= RELATIVE_ROUNDING * abs(
            value
        )

    def end_iteration(self, intermediate_result):
        self.theta = self._point(intermediate_result.x.copy())
        self.n_iter += 1
        if self.monitor(self.theta, float(intermediate_result.fun)):
            self.stopped = True
            raise StopIteration
