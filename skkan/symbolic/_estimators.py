"""Formulas as scikit-learn estimators, and `fit_symbolic`, which makes them.

The estimators turn a fitted KAN into a `Formula` and predict by it. What the search
needs of data and units is put together here.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    _fit_context,
    clone,
)
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from skkan._classifier import KANClassifier
from skkan._edges import NEGLIGIBLE, edge_functions, intercepts
from skkan._regressor import KANRegressor
from skkan.symbolic._candidates import Candidate, rank_candidates
from skkan.symbolic._curves import SplineCurve, spline_primitive
from skkan.symbolic._formula import Term
from skkan.symbolic._primitives import LIBRARY, ZERO, Primitive
from skkan.symbolic._refit import Deviance, Refit, SquaredError
from skkan.symbolic._search import EdgeChoices, Search

MOST_SEARCHED = 2000  # rows by which choices are compared before the last refits
EXACT = 1e-8  # of the deviation of the target: smaller errors are not told apart
UNKNOWN_NOISE = 1e-2  # the same where a network's own predictions are the target and
# its solver has not learnt how far they are from the data
SIMPLE = 2.0  # bits; functions up to here are tried however bad they look alone


@dataclass(frozen=True, eq=False)
class SymbolicEdge:
    """What one edge of a symbolic model is, and what else it could have been.

    Attributes
    ----------
    source_name, target_name : str
        Nodes that the edge connects.
    primitive : Primitive
        The function f of c f(a x + b); "0" if the edge is left out.
    a, b, c : float
        Its constants. Hidden nodes have units of their own, chosen such that the
        strongest edge into each has |c| = 1.
    candidates : tuple of Candidate
        Proposals for the curve of the network, best first.
    """

    source_name: str
    target_name: str
    primitive: Primitive
    a: float
    b: float
    c: float
    candidates: tuple


class BaseSymbolicKAN(BaseEstimator, ABC):
    """Base class of the symbolic estimators; not to be instantiated."""

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "primitives": ["array-like", None],
        "fixed": [dict, None],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "max_refits": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        estimator=None,
        *,
        primitives=None,
        fixed=None,
        n_candidates=8,
        max_refits=300,
    ):
        self.estimator = estimator
        self.primitives = primitives
        self.fixed = fixed
        self.n_candidates = n_candidates
        self.max_refits = max_refits

    @abstractmethod
    def _default_estimator(self):
        """The network to fit where none was given."""

    @abstractmethod
    def _loss(self, estimator, raw, y):
        """FitLoss of the target y, or of the network's output where y is None."""

    @abstractmethod
    def _coding(self, estimator):
        """Fitted attributes that say how the target is coded."""

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Fit the network to data, and write it down as a formula.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data are not as described.
        """
        estimator = self.estimator
        if estimator is None:
            estimator = self._default_estimator()
        return self._write_down(clone(estimator).fit(X, y), X, y)

    def _write_down(self, estimator, X, y):
        """Set the fitted attributes from a fitted network."""
        check_is_fitted(estimator)
        primitives = _checked_primitives(self.primitives)
        curves = edge_functions(estimator)
        fixed = _checked_fixed(self.fixed, curves, primitives)
        raw = estimator._raw(estimator._validated(X))
        X = validate_data(self, X, dtype=np.float64)
        if y is not None:
            check_consistent_length(X, y)
        edges = [
            self._choices(number, curve, primitives, fixed.get(number), len(X))
            for number, curve in enumerate(curves)
        ]
        n_names = len(primitives) + 1
        loss = self._loss(estimator, raw, y)
        some = np.linspace(0, len(X) - 1, min(len(X), MOST_SEARCHED)).astype(int)
        outcome = Search(
            widths=(X.shape[1], *estimator.network_.widths[1:]),
            edges=edges,
            intercepts=intercepts(estimator),
            refit=Refit(X[some], loss.of_rows(some), n_names),
            last_refit=Refit(X, loss, n_names),
            max_refits=self.max_refits,
        ).best()
        if outcome is None:
            raise ValueError(
                "fixed leaves no combination of functions that is defined on all rows "
                f"of X, got {self.fixed}: free some of these edges."
            )
        vars(self).update(self._coding(estimator))
        self.estimator_ = estimator
        self.formula_ = outcome.formula
        self.edges_ = _symbolic_edges(curves, edges, outcome.formula)
        self.intercept_ = outcome.formula.intercepts
        self.cost_ = outcome.cost
        self.n_refits_ = outcome.n_refits
        return self

    def _choices(self, number, curve, primitives, fixed, n_rows):
        """What an edge can be, an EdgeChoices."""
        candidates = self._candidates(number, curve, primitives, fixed, n_rows)
        return EdgeChoices(
            curve.source, curve.target, candidates, curve.importance, curve.std
        )

    def _candidates(self, number, curve, primitives, fixed, n_rows):
        edge = curve.source, curve.target
        dead = Candidate(Term(*edge, ZERO, d=curve.mean), 0.0, np.inf)
        if fixed is ZERO or (fixed is None and is_dead(curve)):
            return [dead]
        spline = spline_primitive(
            SplineCurve.of_edge(curve, f"phi_{number}"), of_input=curve.source[0] == 0
        )
        spline = Candidate(Term(*edge, spline), 1.0, np.inf)
        if fixed == "spline":
            return [spline]
        if fixed is not None:
            found = rank_candidates(curve, [fixed], n_rows)
            if not found:
                raise ValueError(
                    f"fixed asks for {fixed.name!r} on the edge from "
                    f"{curve.source_name} to {curve.target_name}, but no constants a, b"
                    " were found at which it is defined: choose another function, or a "
                    "wider domain."
                )
            return found
        ranked = rank_candidates(curve, primitives, n_rows)
        simple = [c for c in ranked if c.term.primitive.complexity <= SIMPLE]
        kept = [*ranked[: self.n_candidates], *simple]
        return [*dict.fromkeys(kept), spline]

    def proposals(self):
        """All proposals for all edges as a table.

        Returns
        -------
        pandas.DataFrame
            Columns source, target, primitive, a, b, c, d, r2, complexity, score and
            chosen; constants are those of the curve, before the joint refit.
        """
        import pandas as pd

        check_is_fitted(self)
        return pd.DataFrame(
            {
                "source": edge.source_name,
                "target": edge.target_name,
                "primitive": candidate.term.primitive.name,
                **{name: getattr(candidate.term, name) for name in "abcd"},
                "r2": candidate.r2,
                "complexity": candidate.term.primitive.complexity,
                "score": candidate.score,
                "chosen": candidate.term.primitive.name == edge.primitive.name,
            }
            for edge in self.edges_
            for candidate in edge.candidates
        )

    @property
    def choices_(self):
        """Name of the function of each edge, by (source name, target name).

        All of it, or a part that leaves other edges free, may be given as `fixed`.
        """
        check_is_fitted(self)
        return {
            (edge.source_name, edge.target_name): _name_of(edge.primitive)
            for edge in self.edges_
        }

    def _raw(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        raw = self.formula_(X)
        undefined = np.flatnonzero(~np.isfinite(raw).all(axis=1))
        if len(undefined):
            raise ValueError(
                f"The formula is not defined at {len(undefined)} of {len(X)} rows of X "
                f"(the first is row {undefined[0]}), where a logarithm, a root or a "
                "quotient leaves its domain: leave these rows out, or fit with `fixed` "
                "set to 'spline' or to other functions for the edges in question."
            )
        return raw


class SymbolicKANRegressor(RegressorMixin, BaseSymbolicKAN):
    """Formula for regression, read off a Kolmogorov-Arnold network.

    Every edge of a fitted network becomes a function c f(a x + b) with f from a library
    of primitives, or stays a spline. The functions are chosen together, by the
    description length of data and formula, and their constants are fitted together.

    Parameters
    ----------
    estimator : KANRegressor, default=None
        Network to start from; None takes a `KANRegressor` with its defaults.
    primitives : sequence of Primitive, default=None
        Functions to choose from; None takes `LIBRARY`.
    fixed : dict, default=None
        What single edges have to be: maps (source name, target name) to the name of a
        function, to a `Primitive` or to "spline".
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
        Name of the function of every edge, by (source name, target name).
    intercept_ : ndarray of shape (n_outputs,)
        What the outputs start from.
    formula_ : Formula
        By which it predicts; see `to_sympy`.
    estimator_ : KANRegressor
        The network that was written down.
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
    fit_symbolic : The same for a network that is fitted already.
    to_sympy : The formula as a sympy expression.

    Notes
    -----
    A formula may be undefined where there were no training rows, such as a logarithm of
    a negative number: asking for predictions there is an error.

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

    def _default_estimator(self):
        return KANRegressor()

    def _loss(self, estimator, raw, y):
        floor = EXACT
        scale = estimator._y_scale
        target = scale * raw + estimator._y_centre
        if y is None:
            noise = getattr(estimator, "noise_std_", UNKNOWN_NOISE * scale)
            floor = max(EXACT, float(np.max(noise / scale)))
        else:
            y = estimator._encode(estimator._check_target(y), None)
            if y.shape != target.shape:
                raise ValueError(
                    f"y must have the {target.shape[1]} outputs of the network, got "
                    f"{y.shape[1]}: pass the target that it was fitted to."
                )
            target = y
        return SquaredError(target, scale, floor)

    def _coding(self, estimator):
        return {"_y_is_vector": estimator._y_is_vector}

    def predict(self, X):
        """Predict the target by the formula.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)

        Raises
        ------
        ValueError
            If the formula is not defined at some rows.
        """
        raw = self._raw(X)
        return raw[:, 0] if self._y_is_vector else raw

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class SymbolicKANClassifier(ClassifierMixin, BaseSymbolicKAN):
    """Formula for the log odds of classes, read off a Kolmogorov-Arnold network.

    See `SymbolicKANRegressor` for how functions and constants are found. The loss is
    the log loss of the labels.

    Parameters
    ----------
    estimator : KANClassifier, default=None
        Network to start from; None takes a `KANClassifier` with its defaults.
    primitives, fixed, n_candidates, max_refits
        As for `SymbolicKANRegressor`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, in the order of the probabilities.
    edges_, choices_, intercept_, formula_, estimator_, cost_, n_refits_
        As for `SymbolicKANRegressor`.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if X had names that are all strings.

    See Also
    --------
    fit_symbolic : The same for a network that is fitted already.

    Examples
    --------
    >>> import numpy as np
    >>> from skkan import KANClassifier
    >>> from skkan.symbolic import SymbolicKANClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-2, 2, (300, 2))
    >>> y = (X[:, 0] ** 2 + X[:, 1] + rng.logistic(size=300) / 4 > 1).astype(int)
    >>> model = SymbolicKANClassifier(KANClassifier((), random_state=0)).fit(X, y)
    >>> model.choices_["x0", "1"]
    'x^2'
    """

    def _default_estimator(self):
        return KANClassifier()

    def _loss(self, estimator, raw, y):
        multilabel = estimator._multilabel
        exclusive = raw.shape[1] > 1 and not multilabel
        if y is None:
            target = softmax(raw, axis=1) if exclusive else expit(raw)
        else:
            coding = {"classes_": estimator.classes_, "_multilabel": multilabel}
            target = estimator._encode(estimator._check_target(y), coding)
        return Deviance(target, exclusive)

    def _coding(self, estimator):
        return {
            "classes_": estimator.classes_,
            "_multilabel": estimator._multilabel,
        }

    def decision_function(self, X):
        """Log odds, the values of the formula.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes one column, positive for the second of `classes_`.
        """
        raw = self._raw(X)
        return raw[:, 0] if raw.shape[1] == 1 and not self._multilabel else raw

    def predict(self, X):
        """Predict the most probable class, or all labels of probability above 1/2.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_labels) of 0 and 1
        """
        raw = self._raw(X)
        if self._multilabel:
            return (raw > 0).astype(int)
        if raw.shape[1] == 1:
            return self.classes_[(raw[:, 0] > 0).astype(int)]
        return self.classes_[raw.argmax(axis=1)]

    def predict_proba(self, X):
        """Predict probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X):
        """Predict logarithms of probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        raw = self._raw(X)
        if self._multilabel:
            return log_expit(raw)
        if raw.shape[1] == 1:
            return np.hstack([log_expit(-raw), log_expit(raw)])
        return log_softmax(raw, axis=1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def fit_symbolic(
    estimator, X, y=None, *, primitives=None, fixed=None, n_candidates=8, max_refits=300
):
    """Formula of a fitted network, as an estimator of its own.

    For every edge a ranked list of functions c f(a x + b) + d is proposed. Combinations
    of them are fitted jointly and compared by their description length,
    -log likelihood + sum over edges of log(number of functions) + complexity log 2
    + log(n) / 2 for each fitted constant; a constant that is as good at 0, 1, another
    integer or a half is held there for less.

    Parameters
    ----------
    estimator : KANRegressor or KANClassifier
        Fitted.
    X : array-like of shape (n_samples, n_features)
        Rows to fit the constants to.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        Target of these rows. None takes the predictions of the network, which count as
        exact up to its `noise_std_` (1% of the deviation of y if it has none).
    primitives : sequence of Primitive, default=None
        Functions to choose from; None takes `LIBRARY`.
    fixed : dict, default=None
        What single edges have to be: maps (source name, target name) to the name of a
        function, to a `Primitive` or to "spline".
    n_candidates : int, default=8
        Number of functions that are tried for each edge; those of a complexity of up
        to 2, and the spline, come on top.
    max_refits : int, default=300
        Largest number of combinations that are fitted.

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
    if isinstance(estimator, KANRegressor):
        kind = SymbolicKANRegressor
    elif isinstance(estimator, KANClassifier):
        kind = SymbolicKANClassifier
    else:
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
    )
    model._validate_params()
    return model._write_down(estimator, X, y)


def is_dead(curve):
    """Whether an edge does not show in the outputs."""
    return curve.removed or curve.importance < NEGLIGIBLE


def _checked_primitives(primitives):
    """Tuple of primitives with distinct names; None takes `LIBRARY`."""
    primitives = LIBRARY if primitives is None else tuple(primitives)
    for primitive in primitives:
        if not isinstance(primitive, Primitive):
            raise TypeError(
                "primitives must hold Primitive objects, got "
                f"{type(primitive).__name__}: choose from skkan.symbolic.LIBRARY, or "
                "make one with skkan.symbolic.Primitive."
            )
    names = [primitive.name for primitive in primitives]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or "spline" in names:
        raise ValueError(
            "primitives must hold functions of distinct names other than 'spline', got "
            f"{names}: rename {twice or ['spline']}."
        )
    return primitives


def _checked_fixed(fixed, curves, primitives):
    """What edges have to be, by their number: a Primitive or "spline"."""
    edges = {(c.source_name, c.target_name): k for k, c in enumerate(curves)}
    by_name = {primitive.name: primitive for primitive in (ZERO, *primitives)}
    checked = {}
    for edge, asked in (fixed or {}).items():
        if edge not in edges:
            raise ValueError(
                f"fixed names the edge {edge!r}, which the network does not have: use "
                f"pairs (source name, target name) such as {next(iter(edges))!r}, as "
                "skkan.inspection.edge_functions lists them."
            )
        if isinstance(asked, Primitive) or asked == "spline":
            checked[edges[edge]] = asked
        elif asked in by_name:
            checked[edges[edge]] = by_name[asked]
        else:
            raise ValueError(
                f"fixed asks for {asked!r} on the edge {edge!r}: expected a Primitive, "
                f"'spline' or one of the names {sorted(by_name)}."
            )
    return checked


def _symbolic_edges(curves, edges, formula):
    """What became of each edge, a list of SymbolicEdge."""
    terms = {(term.source, term.target): term for term in formula.terms}
    symbolic = []
    for curve, edge in zip(curves, edges, strict=True):
        term = terms.get((curve.source, curve.target))
        if term is None:
            term = Term(curve.source, curve.target, ZERO, c=0.0)
        symbolic.append(
            SymbolicEdge(
                source_name=curve.source_name,
                target_name=curve.target_name,
                primitive=term.primitive,
                a=term.a,
                b=term.b,
                c=term.c,
                candidates=tuple(edge.candidates),
            )
        )
    return symbolic


def _name_of(primitive):
    return "spline" if isinstance(primitive.function, SplineCurve) else primitive.name
