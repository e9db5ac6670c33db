"""SymbolicKANRegressor: a formula for regression."""

import numpy as np
from sklearn.base import RegressorMixin

from skkan.data._scaling import AffineScaling
from skkan.estimators._regressor import KANRegressor
from skkan.symbolic._base import BaseSymbolicKAN
from skkan.symbolic._formula_losses import FormulaLogMeanDeviance, FormulaSquaredError

# Errors below this share of the target's deviation are all the same.
EXACT_FIT_ERROR = 1e-8
# Noise as a share of the target's deviation, where a network's own predictions are the
# target and its fit has left no noise.
UNKNOWN_NOISE = 1e-2


class SymbolicKANRegressor(RegressorMixin, BaseSymbolicKAN):
    """Formula for regression, read off a Kolmogorov-Arnold network.

    Every edge of a fitted network becomes a function c f(a x + b) with f from a library
    of primitives, or stays a spline. The functions are chosen together, by the
    description length of data and formula, and their constants are fitted together.

    Parameters
    ----------
    estimator : KANRegressor, default=None
        Network to start from; None takes `KANRegressor((5,))`.
    primitives : sequence of Primitive, default=None
        Functions to choose from; None takes `LIBRARY`.
    fixed : dict, default=None
        What single edges have to be: maps (source name, target name) to the name of a
        function, to a `Primitive` or to "spline". These edges are never left out; a
        `Primitive` is used as it is, also if another function has its name.
    n_candidates : int, default=8
        Number of functions that are tried for each edge; those of a complexity of up
        to 2, and the spline, come on top.
    max_refits : int, default=300
        Largest number of combinations that are fitted.

    Attributes
    ----------
    edges_ : list of SymbolicEdge
        Function and constants of every edge, and the ranked proposals for it.
    choices_ : dict
        Function of every edge, by (source name, target name).
    intercept_ : ndarray of shape (n_outputs,)
        Constants of the outputs.
    formula_ : Formula
        The formula; see `to_sympy`.
    estimator_ : KANRegressor
        The network that the formula replaces.
    cost_ : float
        Description length of data and formula in nats, up to a constant of the data.
    n_refits_ : int
        Number of combinations that were fitted.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if X had names that are all strings.

    See Also
    --------
    fit_symbolic : Formula of a network that is fitted already.
    to_sympy : The formula as a sympy expression.

    Notes
    -----
    A formula may be undefined where there were no training rows, such as a logarithm of
    a negative number. Predictions there raise an error.

    Examples
    --------
    >>> import numpy as np
    >>> from skkan import KANRegressor
    >>> from skkan.symbolic import SymbolicKANRegressor, to_sympy
    >>> X = np.random.default_rng(0).uniform(-1, 1, (300, 2))
    >>> y = np.exp(X[:, 0]) + 3 * X[:, 1]
    >>> model = SymbolicKANRegressor(KANRegressor((), random_state=0)).fit(X, y)
    >>> to_sympy(model)
    3*x1 + exp(x0)
    """

    __module__ = "skkan.symbolic"

    _network = KANRegressor
    _has_structures = True

    @staticmethod
    def _loss(model, raw, target, weight):
        output = model.output_scaling.inverse_transform(raw)
        loss, posterior = model.target.loss, model.posterior
        if target is not None and loss.has_log_link:
            floor = EXACT_FIT_ERROR
            return FormulaLogMeanDeviance.of_target(target, weight, loss, floor)
        scale = model.preprocessing.target_scaling.scale
        if target is not None and loss.is_normal:
            return FormulaSquaredError(target, weight, scale, EXACT_FIT_ERROR)
        if loss.has_log_link:
            scale = AffineScaling.standard(output, weight).scale
        noise = UNKNOWN_NOISE
        if loss.is_normal and posterior is not None and posterior.noise is not None:
            noise = float(np.sqrt(posterior.noise).max())
        floor = max(EXACT_FIT_ERROR, noise)
        return FormulaSquaredError(output, weight, scale, floor)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
