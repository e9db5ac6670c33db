"""Solvers: ways to minimise an objective.

Holds Levenberg-Marquardt, L-BFGS and Adam. Does not hold what they minimise, or the
rule by which one is chosen. To add one, subclass `Solver` in a file of its own.
"""

from skkan.solvers._adam import Adam
from skkan.solvers._base import DivergenceError, Solver, SolverResult
from skkan.solvers._lbfgs import LBFGS
from skkan.solvers._levenberg_marquardt import LevenbergMarquardt

__all__ = [
    "LBFGS",
    "Adam",
    "DivergenceError",
    "LevenbergMarquardt",
    "Solver",
    "SolverResult",
]
