"""Formulas that are found from fitted networks, and the public names of formulas.

Holds the symbolic estimators and the search behind them: proposals for each edge, the
description length, the beam search. Does not hold formulas themselves, see
`skkan.formulas`. A new loss of formulas implements `FormulaLoss`.
"""

from skkan.formulas._formula import Formula, Term
from skkan.formulas._primitives import LIBRARY, Primitive
from skkan.formulas._spline_curves import CategoryCurve, CurveDerivative, SplineCurve
from skkan.formulas._sympy_and_latex import (
    feature_symbols,
    named_splines,
    to_latex,
    to_numpy_source,
    to_sympy,
)
from skkan.symbolic._candidates import Candidate, rank_candidates
from skkan.symbolic._classifier import SymbolicKANClassifier
from skkan.symbolic._fit_symbolic import fit_symbolic
from skkan.symbolic._front import FrontFormula
from skkan.symbolic._proposals import SymbolicEdge
from skkan.symbolic._regressor import SymbolicKANRegressor

__all__ = [
    "LIBRARY",
    "Candidate",
    "CategoryCurve",
    "CurveDerivative",
    "Formula",
    "FrontFormula",
    "Primitive",
    "SplineCurve",
    "SymbolicEdge",
    "SymbolicKANClassifier",
    "SymbolicKANRegressor",
    "Term",
    "feature_symbols",
    "fit_symbolic",
    "named_splines",
    "rank_candidates",
    "to_latex",
    "to_numpy_source",
    "to_sympy",
]
