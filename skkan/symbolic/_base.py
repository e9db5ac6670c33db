"""What the symbolic estimators have in common: a fit, and predictions by its formula.

They turn a fitted KAN into a `Formula`. They prepare rows and loss of its search.
"""

import copy
from abc import ABC, abstractmethod
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)
from tqdm import tqdm

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
from skkan.formulas._intervals import Box
from skkan.formulas._primitives import ZERO
from skkan.formulas._sympy_and_latex import feature_symbols
from skkan.inspection._edge_functions import (
    edge_functions,
    node_names,
    node_products,
)
from skkan.numerics._threads import single_thread
from skkan.numerics._user_warnings import warn_user
from skkan.symbolic._argument_checks import (
    MAX_NAMED_EDGES,
    SPLINE,
    check_size,
    checked_count,
    checked_fixed,
    checked_primitives,
    checked_target,
)
from skkan.symbolic._beam_search import FormulaSearch
from skkan.symbolic._description_length import FormulaFit, RefitBudget
from skkan.symbolic._formula_losses import FormulaSquaredError
from skkan.symbolic._front import FrontMaker, picked_index
from skkan.symbolic._law_search import law_formulas
from skkan.symbolic._proposals import Proposer, symbolic_edges

# Share of the fits that a search may make; the others validate and polish its front.
RESERVED_SHARE = 0.95
# Ratio of errors up to which a formula explains what a network does.
MAX_EXCESS = 1.1
UNSAFE = (
    "No formula was found that is bounded on the ranges of the training rows, widened "
    "by 2%: it may be undefined or very large for rows between these. Fit with more "
    "max_refits, other primitives, or a smaller network."
)
MAX_COMPARED_ROWS = 2000  # rows of the fits by which choices are compared
INDICATORS = "columns of 0 and 1, as OneHotEncoder makes them."


class BaseSymbolicKAN(BaseEstimator, ABC):
    """Base class of the symbolic estimators; not to be instantiated."""

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "complexity": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
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
        max_refits=500,
        complexity=None,
        random_state=None,
        verbose=0,
    ):
        self.estimator = estimator
        self.primitives = primitives
        self.fixed = fixed
        self.n_candidates = n_candidates
        self.max_refits = max_refits
        self.complexity = complexity
        self.random_state = random_state
        self.verbose = verbose

    _has_structures = False  # whether laws are looked for if no estimator is given

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
            estimator = self._own_network(X, y)
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

    def _finds_structure(self, y):
        """Whether the search looks for a structure other than that of a network."""
        if self.estimator is not None or self.fixed or not self._has_structures:
            return False
        y = np.asarray(y)
        return y.ndim < 2 or y.shape[1] == 1

    def _own_network(self, X, y):
        """Network to start from if none is given."""
        if self._finds_structure(y):
            return self._network(random_state=self.random_state)
        n_features = np.shape(X)[1] if np.ndim(X) == 2 else 1
        is_small = 5 * (n_features + 1) <= MAX_NAMED_EDGES
        return self._network((5,) if is_small else (), random_state=self.random_state)

    @single_thread
    def _write_down(self, estimator, X, y, sample_weight):
        """Find the formula of a fitted network, and set the fitted attributes."""
        curves, model = edge_functions(estimator), fitted_model_of(estimator)
        primitives = checked_primitives(self.primitives)
        fixed = checked_fixed(self.fixed, curves, primitives)
        n_candidates = checked_count("n_candidates", self.n_candidates)
        is_free = self._finds_structure(y)
        if not is_free:
            check_size(curves, fixed)
        _check_all_numbers(model.feature_names, estimator.is_categorical_)
        validated_features(estimator, X)
        with earlier_fit_kept(self), adding_remedies():
            X = validate_data(
                self, X, accept_sparse="csr", dtype=np.float64, ensure_min_samples=2
            )
            search = _SearchOfFit(
                self, estimator, *self._rows(model, X, y, sample_weight)
            )
            found = search.found(fixed, n_candidates, is_free=is_free)
            if not found:
                raise ValueError(
                    "fixed leaves no combination of functions that is defined on all "
                    "rows of X and in which all requested edges lead to an output, got "
                    f"{self.fixed}: free some of these edges."
                )
            front, weight = search.front(found)
            index = picked_index(front, weight, self.complexity)
        if model.target.classes is not None:
            self.classes_ = model.target.classes
        self.estimator_ = estimator
        self.formulas_ = [entry for entry, _ in front]
        self.n_refits_ = search.budget.used
        self.domain_ = np.array([search.box.low, search.box.high])
        vars(self).update(self._chosen(index))
        if not self.formulas_[index].is_safe:
            warn_user(UNSAFE, ConvergenceWarning)
        return self

    def _chosen(self, index):
        """Fitted attributes of the formula at a position of the front, a dict."""
        chosen = self.formulas_[index]
        return {
            "formula_": chosen.formula,
            "edges_": list(chosen.edges),
            "intercept_": chosen.formula.intercepts,
            "cost_": chosen.cost,
            "index_": index,
        }

    def picked(self, index):
        """Copy with another formula of the front.

        Parameters
        ----------
        index : int
            Position in `formulas_`.

        Returns
        -------
        SymbolicKANRegressor or SymbolicKANClassifier
            Fitted; its predictions and expressions are those of the formula.
        """
        check_is_fitted(self)
        if not -len(self.formulas_) <= index < len(self.formulas_):
            raise IndexError(
                f"index must be one of the {len(self.formulas_)} positions in "
                f"formulas_, got {index}: choose from 0 to {len(self.formulas_) - 1}."
            )
        other = copy.copy(self)
        vars(other).update(self._chosen(range(len(self.formulas_))[index]))
        return other

    def _rows(self, model, X, y, sample_weight):
        """Rows, raw output of the network and FormulaLoss.

        Equal rows are merged, so that weights equal repetitions.
        """
        weight = checked_weights(sample_weight, X, min_samples=2)
        target = np.empty((X.shape[0], 0))
        if y is not None:
            check_consistent_length(X, y)
            target = checked_target(model, y)
        X, target, weight = canonical_rows(dense(X), target, weight)
        weight = effective_weights(weight, observation_counts(X, weight))
        raw = model.raw_output(X)
        return X, raw, self._loss(model, raw, None if y is None else target, weight)

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


class _SearchOfFit:
    """The search of one fit: rows, budget, and the front of what is found."""

    def __init__(self, symbolic, estimator, X, raw, loss):
        self._model = fitted_model_of(estimator)
        self._curves = edge_functions(estimator)
        self._widths = tuple(map(len, node_names(estimator)))
        self._products = node_products(estimator)
        self._primitives = checked_primitives(symbolic.primitives)
        line = tqdm(desc="formula", unit="refit") if symbolic.verbose else None
        self.budget = RefitBudget(
            checked_count("max_refits", symbolic.max_refits), line
        )
        self._output = self._model.output_scaling.inverse_transform(raw)
        in_units = isinstance(loss, FormulaSquaredError)
        self.box = (
            Box.of_rows(X, loss.target)
            if in_units
            else Box.of_rows(X, self._output, least_width=1.0)  # of logarithms
        )
        n_names = len(self._primitives) + 1
        self._fit = FormulaFit(X, loss, n_names, self.box, self.budget)
        n_compared = min(len(X), MAX_COMPARED_ROWS)
        some = np.linspace(0, len(X) - 1, n_compared).astype(int)
        self._comparison = self._fit.of_rows(some)
        self._maker = FrontMaker(
            self._fit,
            tuple(symbol.name for symbol in feature_symbols(estimator)),
            self._model.target.has_log_link,
            self._edges_of,
            self._output,
        )

    def _edges_of(self, found):
        names = self._model.feature_names, self._model.output_names
        return symbolic_edges(found.edges, found.formula, *names)

    def found(self, fixed, n_candidates, *, is_free):
        """All formulas, a list of FoundFormula."""
        loss, budget = self._fit.loss, self.budget
        proposer = Proposer(self._primitives, fixed, n_candidates, loss.n_observations)
        limit = int(RESERVED_SHARE * budget.limit)
        found = []
        if is_free:
            found = law_formulas(
                self._fit.X, proposer, self._comparison, self._fit, limit
            )
            losses = [self._mean(each.formula(self._fit.X)) for each in found[:1]]
            goal = MAX_EXCESS**2 * self._mean(self._output)
            n_edges = sum(not curve.removed for curve in self._curves)
            if found and (losses[0] <= goal or n_edges > MAX_NAMED_EDGES):
                return found
        search = FormulaSearch(
            widths=self._widths,
            edges=proposer.choices(self._curves),
            intercepts=self._model.intercepts,
            products=self._products,
            refit=self._comparison,
            last_refit=self._fit,
            max_refits=limit - budget.used,
        )
        return [*found, *search.found()]

    def _mean(self, output):
        loss = self._fit.loss
        return np.average(loss.of_each_row(output), weights=loss.weight)

    def front(self, found):
        """Front with the losses of validation rows, and the weights of these."""
        front = self._maker.front(found)
        if self.budget.line is not None:
            self.budget.line.close()
        return front, self._maker.validation.weight


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
