"""SymbolicKANClassifier: formulas for log odds."""

import numpy as np
from sklearn.base import ClassifierMixin

from skkan.estimators._classifier import KANClassifier
from skkan.numerics._threads import single_thread
from skkan.symbolic._base import BaseSymbolicKAN
from skkan.symbolic._formula_losses import FormulaLogLoss, FormulaSquaredError

# Standard deviation of the noise of latent log odds: logistic for a label, Gumbel for
# each of several classes.
LABEL_NOISE, CLASS_NOISE = np.pi / np.sqrt(3), np.pi / np.sqrt(6)


class SymbolicKANClassifier(ClassifierMixin, BaseSymbolicKAN):
    """Formula for the log odds of classes, read off a Kolmogorov-Arnold network.

    See `SymbolicKANRegressor` for how functions and constants are found. The loss is
    the log loss of the labels; see `fit_symbolic` for formulas without labels.

    Parameters
    ----------
    estimator : KANClassifier, default=None
        Network to start from; None takes `KANClassifier((5,))`, or `KANClassifier(())`
        for more than 7 features.
    primitives, fixed, n_candidates, max_refits, complexity, random_state, verbose
        See `SymbolicKANRegressor`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, in the order of the probabilities.
    edges_, choices_, intercept_, formula_, formulas_, index_, domain_, estimator_, \
cost_, n_refits_
        See `SymbolicKANRegressor`.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if X had names that are all strings.

    See Also
    --------
    fit_symbolic : Formula of a network that is fitted already.

    Examples
    --------
    >>> import numpy as np
    >>> from skkan import KANClassifier
    >>> from skkan.symbolic import SymbolicKANClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-2, 2, (1000, 2))
    >>> y = (X[:, 0] ** 2 + X[:, 1] + rng.logistic(size=1000) / 4 > 1).astype(int)
    >>> model = SymbolicKANClassifier(KANClassifier((), random_state=0)).fit(X, y)
    >>> model.choices_["x0", "1"]
    'x^2'
    """

    __module__ = "skkan.symbolic"

    _network = KANClassifier

    @staticmethod
    def _loss(model, raw, target, weight):
        exclusive = model.target.has_exclusive_classes
        if target is not None:
            return FormulaLogLoss(target, weight, exclusive)
        noise = CLASS_NOISE if exclusive else LABEL_NOISE
        return FormulaSquaredError(raw, weight, np.full(raw.shape[1], noise), 1.0)

    def decision_function(self, X):
        """Log odds, the values of the formula.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes one column, positive for the second of `classes_`.
        """
        return self._target.shaped(self._raw(X))

    def predict_proba(self, X):
        """Predict probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        return np.exp(self.predict_log_proba(X))

    @single_thread
    def predict_log_proba(self, X):
        """Predict logarithms of probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        return self._target.log_probabilities(self._raw(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
