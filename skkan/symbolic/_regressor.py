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

    Without an estimator the structure is found as well: sums and products of curves of
    single features, behind an outer function such as a root or an exponential. A
    network is fitted beside it. Its edges are named only if no such formula comes as
    close to the rows, and if they are at most 40.

    Parameters
    ----------
    estimator : KANRegressor, default=None
        Network whose edges get functions; at most 40 of them may be free. None looks
        for a structure. With several targets or with `fixed` it takes
        `KANRegressor((5,))`, or `KANRegressor(())` for more than 7 features.
    primitives : sequence of Primitive or str, default=None
        Functions to choose from, those of `LIBRARY` by name if one likes; None takes
        `LIBRARY`.
    fixed : dict, default=None
        What single edges have to be: maps (source name, target name) to the name of a
        function, to a `Primitive` or to "spline". These edges are never left out; a
        `Primitive` is used as it is, also if another function has its name.
    n_candidates : int, default=8
        Number of functions that are tried for each edge; those of a complexity of up
        to 2, and the spline, come on top.
    max_refits : int, default=500
        Largest number of fits of whole formulas, polishing and rounding included.
    complexity : int, default=None
        Largest number of nodes of the expression. None takes the simplest formula whose
        validation error is within one standard error of the least.
    random_state : int, RandomState instance or None, default=None
        Seed of the network if no estimator is given.
    verbose : int, default=0
        1 shows a progress line that counts the fits.

    Attributes
    ----------
    formulas_ : list of FrontFormula
        The front: each is more complex than the one before it, with a smaller
        validation error and a shorter description. `picked` takes another one.
    index_ : int
        Position of `formula_` in `formulas_`.
    domain_ : ndarray of shape (2, n_features_in_)
        Least and largest value of each feature in the training rows.
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
        Number of formulas that were fitted.
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
    Formulas are bounded by interval arithmetic: they are defined on the ranges of the
    training rows, and on these ranges widened by 2% they stay within three widths of
    the target's range from its middle. Where a formula ends within the widened part,
    such as a root, `formulas_[index_].exits` says so. Farther out it may be undefined,
    and predictions raise an error.

    Examples
    --------
    A law, without any structure given, and the choice that the search offers:

    >>> import numpy as np
    >>> from skkan import KANRegressor
    >>> from skkan.symbolic import SymbolicKANRegressor, to_sympy
    >>> X = np.random.default_rng(0).uniform(0.2, 1, (300, 2))
    >>> y = 1 + X[:, 0] * np.sin(6 * X[:, 1])
    >>> model = SymbolicKANRegressor(random_state=0).fit(X, y)
    >>> to_sympy(model, round_to=3)
    x0*sin(6*x1) + 1
    >>> best = model.formulas_[model.index_]
    >>> best.complexity, best.validation_error < 1e-7
    (8, True)

    The edges of a given network:

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
