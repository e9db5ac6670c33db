"""Levenberg-Marquardt: damped Gauss-Newton steps, for networks of moderate size."""

import math
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from sklearn.utils._param_validation import Interval

from skkan._parameter_ranges import check_fields
from skkan.solvers._base import (
    BUDGET_SPENT,
    RELATIVE_ROUNDING,
    DivergenceError,
    Solver,
    SolverResult,
)

# Added to the unit diagonal of the scaled matrix. It makes the matrix positive definite
# along directions that no row determines, such as a constant that moves from one edge
# of a node to another.
RIDGE = 1e-14
FIRST_DAMPING = 1e-6  # after a rejected step without damping; not ablated
# In a curved valley steps without damping fail, and the least damping that helps lets
# the weights move fastest: below the first one it is a fraction of the last that has
# helped, and grows slowly. With restarts at the first one a law of two nodes moved by
# 0.01% in an iteration; this way it reached its mode, a third of the loss below.
SMALLEST_RESTART, RESTART_FACTOR = 1e-10, 1 / 25
EXACT_AGREEMENT = 1e-3  # agreement of decrease and prediction that needs no damping


@dataclass(frozen=True)
class LevenbergMarquardt(Solver):
    """Levenberg-Marquardt on the generalised Gauss-Newton matrix, on all rows.

    An iteration solves (H + damping * diag(H)) step = -gradient by Cholesky's method.
    H is stiffened along directions in which the hidden nodes of a network would change
    their mean or their variance.
    Steps that raise the objective are taken back and the damping is raised; it is
    lowered after steps that were predicted well. A quadratic objective without
    damping takes one step.

    The cost of an iteration is that of n_rows * n_outputs * n_parameters^2 / 2
    multiplications, and n_parameters^3 / 6 for the factor. Memory is three matrices of
    n_parameters^2 numbers and some 100 MB, whatever the number of rows.

    Parameters
    ----------
    damping : float, default=0.01
        Damping of the first step, relative to the diagonal of the matrix.
    max_rejections : int, default=12
        Steps in a row that may fail before the search is over.
    decrease_tolerance : float, default=1e-7
        The search has converged when a step that was predicted well lowers the
        objective by less than this fraction.

    Raises
    ------
    ValueError
        If a field is out of its range.

    References
    ----------
    D. Marquardt, An Algorithm for Least-Squares Estimation of Nonlinear Parameters,
    1963.

    Examples
    --------
    >>> from skkan.solvers import LevenbergMarquardt
    >>> LevenbergMarquardt(damping=0.1)
    LevenbergMarquardt(damping=0.1, max_rejections=12, decrease_tolerance=1e-07)
    """

    __module__ = "skkan.solvers"

    damping: float = 1e-2
    max_rejections: int = 12
    decrease_tolerance: float = 1e-7

    second_order = True

    def __post_init__(self):
        check_fields(
            self,
            damping=Interval(Real, 0, None, closed="left"),
            max_rejections=Interval(Integral, 1, None, closed="left"),
            decrease_tolerance=Interval(Real, 0, None, closed="left"),
        )

    def minimize(self, objective, theta, *, max_iter, monitor, generator, state=None):
        if state is None:
            state = {"damping": self.damping, "restart": FIRST_DAMPING}
        damping, restart = state["damping"], state["restart"]
        n_iter, converged, message = 0, False, BUDGET_SPENT
        while n_iter < max_iter and not converged:
            model = objective.gauss_newton(theta)
            if not (
                math.isfinite(model.value) and torch.isfinite(model.gradient).all()
            ):
                raise DivergenceError(
                    f"the objective is not finite after {n_iter} iterations"
                )
            step = self._accepted_step(objective, theta, model, damping, restart)
            if step is None:
                converged, message = True, "no step lowers the objective"
                break
            theta, n_iter = theta + step.step, n_iter + 1
            damping, restart = _next_damping(step), _restart(step, restart)
            decrease = model.value - step.value
            if monitor(theta, step.value):
                converged, message = True, "stopped by the monitor"
            elif step.agreement > 0.25 and (
                decrease <= self.decrease_tolerance * abs(model.value)
            ):
                converged, message = True, "relative decrease below the tolerance"
        state = {"damping": damping, "restart": restart}
        return SolverResult(theta, n_iter, converged, message, state)

    def _accepted_step(self, objective, theta, model, damping, restart):
        """First step that lowers the objective, under growing damping; or None.

        `restart` is the damping after a rejected step without damping.
        """
        metric = model.constrained_curvature()
        for _ in range(self.max_rejections + 1):
            step = damped_step(model.gradient, metric, damping)
            if step is not None:
                predicted = -float(model.gradient @ step) - 0.5 * float(
                    step @ (model.curvature @ step)
                )
                if predicted <= RELATIVE_ROUNDING * abs(model.value):
                    return None
                value = objective.value(theta + step)
                if value < model.value:  # never true of a NaN
                    agreement = (model.value - value) / predicted
                    return _Step(step, value, agreement, damping)
            growth = 4 if damping >= FIRST_DAMPING else 10
            damping = growth * damping if damping > 0 else restart
        return None


@dataclass(frozen=True, eq=False)
class _Step:
    """A step that lowers the objective."""

    step: torch.Tensor
    value: float  # of the objective after the step
    agreement: float  # of the decrease with the prediction, as their ratio
    damping: float


def damped_step(gradient, curvature, damping):
    """-(H + damping diag(H))^-1 gradient, or None if that is not positive definite."""
    scale = (curvature.diagonal() * (1 + damping)).rsqrt()
    # Nothing depends on parameters with a zero diagonal.
    scale = torch.where(torch.isfinite(scale), scale, 0.0)
    matrix = (scale.unsqueeze(1) * curvature).mul_(scale)
    matrix.diagonal().fill_(1 + RIDGE)
    factor, info = torch.linalg.cholesky_ex(matrix)
    if info != 0:
        return None
    scaled = torch.cholesky_solve((scale * gradient).unsqueeze(1), factor)
    return -scale * scaled.squeeze(1)


def _next_damping(step):
    if abs(step.agreement - 1) < EXACT_AGREEMENT:
        return 0.0
    if step.agreement > 0.75:
        return step.damping / 5
    if step.agreement < 0.25:
        return 2 * step.damping if step.damping > 0 else FIRST_DAMPING
    return step.damping


def _restart(step, before):
    """Damping to be tried after the next rejected step without damping."""
    if step.damping == 0:
        return before
    least = RESTART_FACTOR * min(step.damping, FIRST_DAMPING)
    return max(least, SMALLEST_RESTART)
