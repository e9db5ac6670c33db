"""Formulas: a fitted network written down with functions that have names."""

from skkan.symbolic._candidates import Candidate, rank_candidates
from skkan.symbolic._choices import SymbolicEdge
from skkan.symbolic._curves import CategoryCurve, SplineCurve
from skkan.symbolic._estimators import (
    SymbolicKANClassifier,
    SymbolicKANRegressor,
    fit_symbolic,
)
from skkan.symbolic._export import (
    feature_symbols,
    named_splines,
    to_latex,
    to_numpy_source,
    to_sympy,
)
from skkan.symbolic._formula import Formula, Term
from skkan.symbolic._primitives import LIBRARY, Primitive

__all__ = [
    "LIBRARY",
    "Candidate",
    "CategoryCurve",
    "Formula",
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
