"""Kolmogorov-Arnold networks as scikit-learn estimators."""

from skkan.basis._bspline import BSplineBasis
from skkan.basis._grids import extend_grid, grid_from_samples
from skkan.estimators._classifier import KANClassifier
from skkan.estimators._regressor import KANRegressor
from skkan.network._layer import KANLayer
from skkan.network._network import KANNetwork
from skkan.penalties._sparsity import SparsityPenalty

__version__ = "0.1.0"

__all__ = [
    "BSplineBasis",
    "KANClassifier",
    "KANLayer",
    "KANNetwork",
    "KANRegressor",
    "SparsityPenalty",
    "extend_grid",
    "grid_from_samples",
]
