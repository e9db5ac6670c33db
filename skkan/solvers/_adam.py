"""Adam on mini-batches, for large data and for streams."""

import math
from dataclasses import dataclass, replace
from numbers import Integral, Real

import torch
from sklearn.utils._param_validation import Interval

from skkan._parameter_ranges import check_fields
from skkan.solvers._base import BUDGET_SPENT, DivergenceError, Solver, SolverResult

# Size of an automatic batch: enough steps in a pass for the moments to follow, and
# enough rows in a step to outweigh its fixed cost. Not ablated.
BATCHES_PER_PASS, MIN_BATCH_ROWS, MAX_BATCH_ROWS = 64, 256, 4096
SHRINK = 0.5  # factor on the learning rate after a pass that is not finite


@dataclass(frozen=True)
class Adam(Solver):
    """Adam: steps of about `learning_rate` per parameter, on shuffled mini-batches.

    One iteration is one pass over the rows. After a pass whose objective is not finite
    the parameters return to where it began, the moments to zero, and the learning rate
    is halved.

    Parameters
    ----------
    learning_rate : float, default=0.01
        Length of a step in each parameter.
    batch_size : int or "auto", default="auto"
        Rows of a mini-batch; all rows where there are fewer. "auto" takes a 64th of the
        rows, but at least 256 and at most 4,096.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay of the running mean of the gradient and of its square.
    epsilon : float, default=1e-8
        Keeps the step finite where the gradient vanishes.
    max_backoff : int, default=10
        How often the learning rate may be halved before the fit is given up.

    Raises
    ------
    ValueError
        If a field is out of its range.

    References
    ----------
    D. Kingma and J. Ba, Adam: A Method for Stochastic Optimization, 2015.

    Examples
    --------
    >>> from skkan.solvers import Adam
    >>> Adam(learning_rate=0.003, batch_size=512).batch_size
    512
    """

    __module__ = "skkan.solvers"

    learning_rate: float = 1e-2
    batch_size: int | str = "auto"
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    max_backoff: int = 10

    uses_batches = True

    def __post_init__(self):
        check_fields(
            self,
            learning_rate=Interval(Real, 0, None, closed="neither"),
            beta_1=Interval(Real, 0, 1, closed="left"),
            beta_2=Interval(Real, 0, 1, closed="left"),
            epsilon=Interval(Real, 0, None, closed="neither"),
            max_backoff=Interval(Integral, 0, None, closed="left"),
        )
        if self.batch_size != "auto":
            check_fields(self, batch_size=Interval(Integral, 1, None, closed="left"))

    def minimize(self, objective, theta, *, max_iter, monitor, generator, state=None):
        moments = _Moments.from_arrays(state, theta)
        theta, n_iter, converged = theta.detach().clone(), 0, False
        while n_iter < max_iter and not converged:
            candidate, value, after = self._pass(objective, theta, moments, generator)
            if not (math.isfinite(value) and torch.isfinite(candidate).all()):
                if moments.n_backoff == self.max_backoff:
                    raise DivergenceError(
                        "the objective is not finite, even at a learning rate of "
                        f"{self._learning_rate(moments):.1e}"
                    )
                # The same moments would lead here again.
                moments = _Moments.start(theta, moments.n_backoff + 1)
                continue
            theta, moments, n_iter = candidate, after, n_iter + 1
            converged = monitor(theta, value)
        message = "stopped by the monitor" if converged else BUDGET_SPENT
        return SolverResult(theta, n_iter, converged, message, moments.to_arrays())

    def _learning_rate(self, moments):
        return self.learning_rate * SHRINK**moments.n_backoff

    def _n_batch_rows(self, n_rows):
        if self.batch_size == "auto":
            return min(max(n_rows // BATCHES_PER_PASS, MIN_BATCH_ROWS), MAX_BATCH_ROWS)
        return self.batch_size

    def _pass(self, objective, theta, moments, generator):
        """Parameters after one pass, mean objective on the way, moments after it."""
        n_rows = objective.n_rows
        order = torch.randperm(n_rows, generator=generator).to(theta.device)
        total = 0.0
        for rows in order.split(self._n_batch_rows(n_rows)):
            value, grad = objective.value_and_grad(theta, rows)
            total += value * len(rows) / n_rows
            moments = moments.updated(grad, self.beta_1, self.beta_2)
            mean = moments.mean / (1 - self.beta_1**moments.n_steps)
            square = moments.square / (1 - self.beta_2**moments.n_steps)
            step = mean / (square.sqrt() + self.epsilon)
            theta = theta - self._learning_rate(moments) * step
        # No batch has evaluated the last step. If it is not finite, this pass must be
        # undone: the next one would start from there, and return there.
        after = objective.value(theta, rows)
        return theta, total if math.isfinite(after) else after, moments


@dataclass(frozen=True, eq=False)
class _Moments:
    """Running means of the gradient and of its square, and counts of steps."""

    mean: torch.Tensor
    square: torch.Tensor
    n_steps: int
    n_backoff: int  # how often the learning rate was halved

    @classmethod
    def start(cls, theta, n_backoff=0):
        return cls(torch.zeros_like(theta), torch.zeros_like(theta), 0, n_backoff)

    @classmethod
    def from_arrays(cls, arrays, theta):
        if arrays is None:
            return cls.start(theta)
        mean, square = (
            torch.tensor(arrays[name]).to(theta) for name in ("mean", "square")
        )
        return cls(mean, square, arrays["n_steps"], arrays["n_backoff"])

    def to_arrays(self):
        return {
            "mean": self.mean.cpu().numpy(),
            "square": self.square.cpu().numpy(),
            "n_steps": self.n_steps,
            "n_backoff": self.n_backoff,
        }

    def updated(self, grad, beta_1, beta_2):
        return replace(
            self,
            mean=torch.lerp(self.mean, grad, 1 - beta_1),
            square=torch.lerp(self.square, grad.square(), 1 - beta_2),
            n_steps=self.n_steps + 1,
        )
