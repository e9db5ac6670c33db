"""What the symbolic estimators have in common: a fit, and predictions by its formula.

They turn a fitted KAN into a `Formula`. They prepare rows and loss of its search.
"""

from abc import ABC, abstractmethod
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from skkan.data._categories import categorical_columns
from skkan.data._column_checks import (
    adding_remedies,
    checked_no_dates,
    checked_weights,
    naming_column,
)
from skkan.data._frames import column_names, native
from skkan.data._merged_rows import canonical_rows, dense
from skkan.data._observations import effective_weights, observation_counts
from skkan.estimators._base import fitted_model_of
from skkan.estimators._error_context import earlier_fit_kept
from skkan.estimators._row_validation import validated_features
from skkan.formulas._primitives import ZERO
from skkan.inspection._edge_functions import (
    edge_functions,
    node_names,
    node_products,
)
from skkan.numerics._threads import single_thread
from skkan.symbolic._argument_checks import (
    SPLINE,
    checked_count,
    checked_fixed,
    checked_primitives,
    checked_target,
)
from skkan.symbolic._beam_search import FormulaSearch
from skkan.symbolic._description_length import FormulaFit
from skkan.symbolic._proposals import Proposer, symbolic_edges

MAX_COMPARED_ROWS = 2000  # rows of the fits by which choices are compared
INDICATORS = "columns of 0 and 1, as OneHotEncoder makes them."


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

    @property
    @abstractmethod
    def _network(self):
        """Class of the network."""

    @staticmethod
    @abstractmethod
    def _loss(model, raw, target, weight):
        """FormulaLoss of the encoded target, or of the raw output if it is None."""

    @property
    def _target(self):
        check_is_fitted(self)
        return fitted_model_of(self.estimator_).target

    @single_thread
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit the network to data, and turn it into a formula.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; a weight of 2 equals giving the row twice.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        TypeError
            If the estimator is no KAN of this kind, or `primitives` holds other things.
        ValueError
            If a parameter or the data are not as described. An earlier fit then stays
            as it was.
        """
        estimator, kind = self.estimator, self._network
        if estimator is None:
            estimator = kind((5,))
        if not isinstance(estimator, kind):
            raise TypeError(
                f"estimator of {type(self).__name__} must be a {kind.__name__}, got "
                f"{type(estimator).__name__}: put steps before it into a Pipeline "
                "around the formula."
            )
        checked_primitives(self.primitives)
        frame = native(X)
        _check_all_numbers(
            column_names(frame),
            categorical_columns(frame, estimator.categorical_features),
        )
        checked_no_dates(frame)
        with (
            adding_remedies(),
            naming_column(frame, in_fit=True, of_text=f"Make of it {INDICATORS}"),
        ):
            check_array(
                X, accept_sparse="csr", dtype=np.float64, estimator=self, input_name="X"
            )
        estimator = clone(estimator).fit(X, y, sample_weight=sample_weight)
        return self._write_down(estimator, X, y, sample_weight)

    @single_thread
    def _write_down(self, estimator, X, y, sample_weight):
        """Find the formula of a fitted network, and set the fitted attributes."""
        curves, model = edge_functions(estimator), fitted_model_of(estimator)
        primitives = checked_primitives(self.primitives)
        fixed = checked_fixed(self.fixed, curves, primitives)
        n_candidates = checked_count("n_candidates", self.n_candidates)
        max_refits = checked_count("max_refits", self.max_refits)
        _check_all_numbers(model.feature_names, estimator.is_categorical_)
        if node_products(estimator):
            raise ValueError(
                "Functions can be named in networks of sums alone, got "
                f"n_multiplications_={estimator.n_multiplications_}: fit with "
                "n_multiplications=0, or write the curves by to_sympy(estimator)."
            )
        validated_features(estimator, X)
        with earlier_fit_kept(self), adding_remedies():
            X = validate_data(
                self, X, accept_sparse="csr", dtype=np.float64, ensure_min_samples=2
            )
            X, loss = self._rows(model, X, y, sample_weight)
            n_names, n_rows = len(primitives) + 1, loss.n_observations
            proposer = Proposer(primitives, fixed, n_candidates, n_rows)
            choices = proposer.choices(curves)
            n_compared = min(len(X), MAX_COMPARED_ROWS)
            some = np.linspace(0, len(X) - 1, n_compared).astype(int)
            outcome = FormulaSearch(
                widths=tuple(map(len, node_names(estimator))),
                edges=choices,
                intercepts=model.intercepts,
                refit=FormulaFit(X[some], loss.of_rows(some), n_names),
                last_refit=FormulaFit(X, loss, n_names),
                max_refits=max_refits,
            ).best()
            if outcome is None:
                raise ValueError(
                    "fixed leaves no combination of functions that is defined on all "
                    "rows of X and in which all requested edges lead to an output, got "
                    f"{self.fixed}: free some of these edges."
                )
        if model.target.classes is not None:
            self.classes_ = model.target.classes
        self.estimator_ = estimator
        self.formula_ = outcome.formula
        self.edges_ = symbolic_edges(curves, choices, outcome.formula)
        self.intercept_ = outcome.formula.intercepts
        self.cost_ = outcome.cost
        self.n_refits_ = outcome.n_refits
        return self

    def _rows(self, model, X, y, sample_weight):
        """Merged rows, so that weights equal repetitions, and their FormulaLoss."""
        weight = checked_weights(sample_weight, X, min_samples=2)
        target = np.empty((X.shape[0], 0))
        if y is not None:
            check_consistent_length(X, y)
            target = checked_target(model, y)
        X, target, weight = canonical_rows(dense(X), target, weight)
        weight = effective_weights(weight, observation_counts(X, weight))
        raw = model.raw_output(X)
        return X, self._loss(model, raw, None if y is None else target, weight)

    def proposals(self):
        """Table of all candidates for all edges.

        Returns
        -------
        pandas.DataFrame
            Columns source, target, primitive, a, b, c, d, r2, complexity, score and
            chosen. The constants are fitted to the curve, before the joint fit.
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
                "chosen": candidate.term.primitive == edge.primitive,
            }
            for edge in self.edges_
            for candidate in edge.candidates
        )

    @property
    def choices_(self):
        """Function of each edge, a dict by (source name, target name).

        Its values are names of functions, "spline" or "0". A `Primitive` of `fixed`
        that is not among the primitives stands for itself. The dict, or a part of it
        that leaves other edges free, may be given as `fixed`.
        """
        check_is_fitted(self)
        known = (ZERO, *checked_primitives(self.primitives))
        return {
            (edge.source_name, edge.target_name): SPLINE
            if edge.is_spline
            else (edge.primitive.name if edge.primitive in known else edge.primitive)
            for edge in self.edges_
        }

    def __getstate__(self):
        # Files of skops hold no dicts whose keys are tuples.
        state = dict(super().__getstate__())
        if isinstance(self.fixed, dict):
            state["fixed"] = [*self.fixed.items()]
        return state

    def __setstate__(self, state):
        fixed = state["fixed"]
        fixed = dict(fixed) if isinstance(fixed, list) else fixed
        super().__setstate__(state | {"fixed": fixed})

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @single_thread
    def predict(self, X):
        """Predict the target by the formula.

        A classifier predicts the most probable class, or all labels of probability
        above 1/2.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Labels of an indicator matrix are 0 and 1.

        Raises
        ------
        ValueError
            If the formula is not defined at some rows.
        """
        return self._target.decode(self._raw(X))

    def _raw(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=np.float64)
        raw = self.formula_(dense(X))
        undefined = np.flatnonzero(~np.isfinite(raw).all(axis=1))
        if len(undefined):
            raise ValueError(
                f"The formula is not defined at {len(undefined)} of {len(raw)} rows of "
                f"X (the first is row {undefined[0]}), where a logarithm, a root or a "
                "quotient leaves its domain: leave these rows out, or fit with `fixed` "
                "set to 'spline' or to other functions for the edges in question."
            )
        return raw


def _check_all_numbers(names, is_categorical):
    """Raise if some features are categories."""
    if is_categorical is None:
        return
    columns = np.flatnonzero(is_categorical).tolist()
    if names is not None:
        columns = [str(names[column]) for column in columns]
    raise ValueError(
        f"A formula is read off curves of numbers, got the categories {columns}: write "
        "the network as it is by to_sympy(estimator), or fit it with "
        f"categorical_features=None to {INDICATORS}"
    )
