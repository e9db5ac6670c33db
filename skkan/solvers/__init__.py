"""Solvers: ways to minimise an objective. A new one is one class in one file."""

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
