"""A pruned copy of a fitted estimator, which trains the rest of it."""

from sklearn.base import clone

from skkan.estimators._base import fitted_model_of


def prune(estimator, X, y, threshold=0.01, sample_weight=None):
    """New estimator without the unneeded edges of a fitted one.

    The new estimator starts from the fitted curves and removes edges, together with
    hidden nodes and features that no edge needs any more. It trains the rest on X and
    y. Its `feature_importances_` refer to the rest.

    Parameters
    ----------
    estimator : KANRegressor or KANClassifier
        Fitted; it is not changed.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows to train on, usually those of the fit.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    threshold : float or "auto", default=0.01
        Share of the variance of the output that removed edges may take with them, or
        "auto" to remove edges as long as the evidence allows. It is the
        `prune_threshold` of the new estimator.
    sample_weight : array-like of shape (n_samples,), default=None

    Returns
    -------
    KANRegressor or KANClassifier
        Fitted, with the class and the other parameters of the given one.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If the estimator is not one of skkan.
    ValueError
        If the threshold or the data are not as described, or if the columns of X are
        not those of the fit.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from skkan import KANRegressor
    >>> from skkan.inspection import prune
    >>> X, y = make_friedman1(200, n_features=8, random_state=0)
    >>> model = KANRegressor((), random_state=0).fit(X, y)
    >>> smaller = prune(model, X, y, threshold=0.02)
    >>> model.network_.n_edges, smaller.network_.n_edges
    (8, 5)
    >>> smaller.feature_importances_[5:]
    array([0., 0., 0.])
    """
    fitted_model_of(estimator)
    if threshold is None:
        raise ValueError(
            "threshold must be a number of at least 0 or 'auto', got None: to train "
            "on without pruning, fit with warm_start=True."
        )
    smaller = clone(estimator).set_params(prune_threshold=threshold)
    return smaller._fit_pruned(estimator, X, y, sample_weight)
