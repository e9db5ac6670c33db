"""The losses of regression by the names that the `loss` parameter takes."""

from skkan.losses._regression import GammaDeviance, PoissonDeviance, SquaredError
from skkan.losses._robust import Huber, Pinball

REGRESSION_LOSSES = {
    "squared_error": SquaredError,
    "poisson": PoissonDeviance,
    "gamma": GammaDeviance,
    "huber": Huber,
    "quantile": Pinball,
}
