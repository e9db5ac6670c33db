"""The interface between training and the solvers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch

# Relative decrease of an objective that is rounding. Searches end at 1e-16 where
# an objective is smooth; at a kink it could be lowered by 1e-11 and more.
RELATIVE_ROUNDING = 1e-14
# Messages of results that have not converged.
BUDGET_SPENT = "budget spent"
STUCK = "no step lowers the objective although its gradient is not zero"


class DivergenceError(ArithmeticError):
    """The objective is not finite and no smaller step makes it so."""

    __module__ = "skkan.solvers"


@dataclass(frozen=True)
class SolverResult:
    """Where a solver stopped, and why.

    Attributes
    ----------
    theta : Tensor of shape (n_parameters,)
    n_iter : int
    converged : bool
        Whether it stopped before its budget because no progress was left. The objective
        tells whether that is at a minimum; see `Objective.promised_decrease`.
    message : str
        The reason in words.
    state : dict of numpy arrays and numbers, or None
        What the solver needs to go on where it stopped; None if it starts afresh.
    is_stuck : bool
        Whether no step lowers the objective although its gradient is not zero.
    value : float or None
        Of the objective at `theta`, where the solver knows it.
    step_size : float or None
        Of a step against the gradient, as a share of it, where the solver has learnt
        one.
    """

    __module__ = "skkan.solvers"

    theta: torch.Tensor
    n_iter: int
    converged: bool
    message: str
    state: Any = None
    is_stuck: bool = False
    value: float | None = None
    step_size: float | None = None


class Solver(ABC):
    """A way to minimise an objective; its fields are its mechanics.

    Implementations are frozen dataclasses, which makes them hashable, comparable and
    fit for a parameter grid. The budget belongs to the caller. A call keeps nothing of
    earlier calls except through `state`.
    """

    __module__ = "skkan.solvers"

    # Needs and offers, which `selection._solver_choice.check_compatible` compares.
    second_order = False  # whether it needs `gauss_newton` and can learn `alpha`
    uses_batches = False  # whether a step sees some of the rows, such as a batch

    @abstractmethod
    def minimize(self, objective, theta, *, max_iter, monitor, generator, state=None):
        """Minimise from a starting point.

        Parameters
        ----------
        objective : Objective
            Offers `n_rows`, `value_and_grad(theta, rows=None)`, `whitening(theta)` and
            `gauss_newton(theta)`.
        theta : Tensor of shape (n_parameters,)
            Starting point.
        max_iter : int
            Number of iterations allowed.
        monitor : callable
            `monitor(theta, value)` is called after every iteration and returns True to
            end the search.
        generator : torch.Generator
            The only source of randomness.
        state : dict, default=None
            `SolverResult.state` of an earlier call on the same parameters.

        Returns
        -------
        SolverResult

        Raises
        ------
        DivergenceError
            If the objective is not finite and backing off does not help.
        """

    def steps(self, objective, theta, *, step_size=None, **settings):
        """`minimize` as a generator that asks for the evaluations it needs.

        Whoever runs several generators can make the evaluations of all at once. Those
        of a solver that makes its evaluations by itself ask for none.

        Parameters
        ----------
        objective, theta, **settings
            As for `minimize`.
        step_size : float, default=None
            That of a search on nearly the same objective, to begin with.

        Yields
        ------
        objective : Objective
        theta : Tensor of shape (n_parameters,)
            Where its value and gradient are to be sent.

        Returns
        -------
        SolverResult
        """
        yield from ()
        return self.minimize(objective, theta, **settings)


def alone(steps):
    """What a generator such as `Solver.steps` returns, given its evaluations."""
    try:
        objective, theta = next(steps)
        while True:
            objective, theta = steps.send(objective.value_and_grad(theta))
    except StopIteration as end:
        return end.value
