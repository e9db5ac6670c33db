"""Kolmogorov-Arnold networks as scikit-learn estimators."""

from skkan._basis import BSplineBasis, extend_grid, grid_from_samples
from skkan._classifier import KANClassifier
from skkan._layers import KANLayer
from skkan._network import KANNetwork
from skkan._penalties import SparsityPenalty
from skkan._regressor import KANRegressor

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
