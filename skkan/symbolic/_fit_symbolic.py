"""The formula of a network that is fitted already."""

from skkan.symbolic._classifier import SymbolicKANClassifier
from skkan.symbolic._regressor import SymbolicKANRegressor


def fit_symbolic(
    estimator,
    X,
    y=None,
    *,
    sample_weight=None,
    primitives=None,
    fixed=None,
    n_candidates=8,
    max_refits=500,
    complexity=None,
    verbose=0,
):
    """Formula of a fitted network, as an estimator.

    Every edge gets a ranked list of functions c f(a x + b) + d. Combinations of them
    are fitted jointly and compared by their description length,
    -log likelihood + sum over edges of log(number of functions) + complexity log 2
    + log(n) / 2 for each fitted constant. A constant that is as good at an integer or
    a half-integer is held there, which costs less.

    Parameters
    ----------
    estimator : KANRegressor or KANClassifier
        Fitted.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows to fit the constants to.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        Target of these rows, or their labels. Formulas of a network whose loss has a
        log link are of the logarithm of the mean, and are fitted by the deviance of
        that loss; with "huber" and "quantile" y is not used. None takes the outputs of
        the network itself, so that the formula describes the network: by squared error,
        of the predictions of a regressor (their logarithms with a log link) or of the
        raw log odds of a classifier (before any moderation by a posterior). They count
        as exact up to the noise of the target around them: `noise_std_` of a regressor
        (1% of the deviation of y if it has none), and pi / sqrt(3) in the log odds of a
        label, the deviation of logistic noise; pi / sqrt(6) for each of more than two
        classes. An edge that stays a spline is then reproduced to rounding if all edges
        do.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights; a weight of 2 equals giving the row twice.
    primitives, fixed, n_candidates, max_refits, complexity, verbose
        See `SymbolicKANRegressor`.

    Returns
    -------
    SymbolicKANRegressor or SymbolicKANClassifier
        Fitted.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is no KAN.
    ValueError
        If an argument is not as described.

    References
    ----------
    G. Schwarz, Estimating the Dimension of a Model, 1978. J. Rissanen, Modeling by
    Shortest Data Description, 1978.

    Examples
    --------
    >>> import numpy as np
    >>> from skkan import KANRegressor
    >>> from skkan.symbolic import fit_symbolic, to_sympy
    >>> X = np.random.default_rng(0).uniform(0.2, 2, (300, 2))
    >>> network = KANRegressor((1,), random_state=0).fit(X, X[:, 0] * X[:, 1])
    >>> formula = fit_symbolic(network, X, X[:, 0] * X[:, 1])
    >>> to_sympy(formula)
    x0*x1
    """
    kinds = SymbolicKANRegressor, SymbolicKANClassifier
    kind = next((k for k in kinds if isinstance(estimator, k._network)), None)
    if kind is None:
        raise TypeError(
            "estimator must be a fitted KANRegressor or KANClassifier, got "
            f"{type(estimator).__name__}: of a Pipeline pass its last step, with "
            "transformed rows."
        )
    model = kind(
        estimator,
        primitives=primitives,
        fixed=fixed,
        n_candidates=n_candidates,
        max_refits=max_refits,
        complexity=complexity,
        verbose=verbose,
    )
    model._validate_params()
    return model._write_down(estimator, X, y, sample_weight)
