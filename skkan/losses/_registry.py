"""The losses of regression, by the names that the `loss` parameter takes."""

from skkan.losses._regression import GammaDeviance, PoissonDeviance, SquaredError
from skkan.losses._robust import Huber, Pinball
from skkan.losses._tweedie import TweedieDeviance

REGRESSION_LOSSES = {
    loss.name: loss
    for loss in (
        SquaredError,
        PoissonDeviance,
        GammaDeviance,
        TweedieDeviance,
        Huber,
        Pinball,
    )
}


def regression_loss(name, parameters):
    """The loss of that name.

    Parameters
    ----------
    name : str
        Key of `REGRESSION_LOSSES`.
    parameters : dict of str to (float or None)
        Parameters of the estimator, of which the loss takes its own.
    """
    loss = REGRESSION_LOSSES[name]
    given = {each: parameters[each] for each in loss.parameters}
    return loss(**{each: value and float(value) for each, value in given.items()})
