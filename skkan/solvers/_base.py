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
    """

    __module__ = "skkan.solvers"

    theta: torch.Tensor
    n_iter: int
    converged: bool
    message: str
    state: Any = None
    is_stuck: bool = False


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
