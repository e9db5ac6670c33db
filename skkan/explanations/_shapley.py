"""Shapley values of the features of single predictions."""

from dataclasses import dataclass
from itertools import combinations
from math import comb
from numbers import Integral
from operator import or_

import numpy as np

from skkan.data._merged_rows import dense
from skkan.explanations._background import Background, background_of, coded_rows
from skkan.network._products import nodes_of
from skkan.numerics._threads import single_thread

MAX_EXACT_FEATURES = 10  # that act together; 1,024 sets of them
# Curves of hidden nodes that are evaluated: about ten seconds of one core. What a row
# costs beside its curves is that of some more.
MAX_CURVES_EVALUATED = 1.5e8
FURTHER_CURVES = 15
# Pairs of a random order of the features and its reverse. From the second one on there
# is a standard error, from a few on it can be relied upon.
MIN_ORDERS = 8
MAX_ORDERS = 1000
MAX_NUMBERS_OF_ROWS = 2**24  # that are held of rows to explain, 128 MB
ROWS_AT_ONCE = 2000  # in several orders; fewer cost mostly the calls of numpy
N_SURROGATE_POINTS = 64  # by quantiles, of the curve that stands for a main effect


@dataclass(frozen=True, eq=False)
class Explanation:
    """Shapley values of predictions, under the names that SHAP uses.

    Attributes
    ----------
    values : ndarray of shape (n_samples, n_features)
        With a last dimension for the outputs if there are several.
        In the user's units of the raw output. Those of a row and the base value sum to
        its raw output.
    base_values : float or ndarray of shape (n_outputs,)
        Mean raw output over the background.
    error : ndarray of the shape of `values`
        Standard errors where orders of features were drawn; 0 where values are exact.
    data : ndarray of shape (n_samples, n_features)
        The rows, with categories as they are in X.
    feature_names, output_names : list of str
    """

    __module__ = "skkan.inspection"

    values: np.ndarray
    base_values: float | np.ndarray
    error: np.ndarray
    data: np.ndarray
    feature_names: list
    output_names: list


@single_thread
def explain(
    model, X, background=None, *, sample_weight=None, max_samples=100, exact="auto"
):
    """Shapley values of the features of predictions.

    The value of a feature is what it adds to the raw output of a row when it is set
    after others, averaged over all orders. What is not set has the values of a row of
    the background, averaged over these rows. The raw output is in the units of the
    target; it is the logarithm of the mean where the loss has a log link, and log odds
    for classes (before `predict_proba` moderates them).

    Parameters
    ----------
    model : KANRegressor or KANClassifier
        Fitted; of a Pipeline the last step, with X as it enters it.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows to explain.
    background : {array-like, sparse matrix}, default=None
        Rows to compare with, usually those of the training; None takes X.
    sample_weight : array-like, default=None
        Weights of the rows of the background.
    max_samples : int, default=100
        Rows of the background that are used, evenly spread over it.
    exact : bool or "auto", default="auto"
        Whether all sets of the features that act together are gone through. Their
        number doubles with each such feature. "auto" does so for up to 10 where it
        takes no more than some ten seconds; else up to 1,000 orders are drawn, as many
        as that time allows, and `error` tells the standard errors. Models without
        hidden nodes are exact at once.

    Returns
    -------
    Explanation

    Raises
    ------
    TypeError
        If the model is not one of skkan.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    ValueError
        If X or the background does not have the columns of the fit, `exact` is set and
        more than 20 features act together, or a parameter is not as described.

    References
    ----------
    S. Lundberg and S.-I. Lee, A Unified Approach to Interpreting Model Predictions,
    2017.
    D. Janzing et al., Feature Relevance Quantification in Explainable AI, 2020 (why
    columns are set by intervention).

    Examples
    --------
    >>> import numpy as np
    >>> from skkan import KANRegressor
    >>> from skkan.inspection import explain
    >>> X = np.random.default_rng(0).uniform(-1, 1, (200, 3))
    >>> model = KANRegressor((), random_state=0).fit(X, X[:, 0] + 2 * X[:, 1] ** 2)
    >>> found = explain(model, X[:5], X)
    >>> total = found.base_values + found.values.sum(axis=1)
    >>> bool(np.allclose(total, model.predict(X[:5]), rtol=0, atol=1e-9))
    True
    """
    if not (exact == "auto" or isinstance(exact, bool | np.bool_)):
        raise ValueError(f"exact must be 'auto', True or False, got {exact!r}.")
    if not (isinstance(max_samples, Integral) and max_samples >= 1):
        raise ValueError(
            f"max_samples must be an integer of at least 1, got {max_samples!r}."
        )
    rows = coded_rows(model, X)
    reference = X if background is None else background
    reference = background_of(model, reference, sample_weight, int(max_samples))
    fitted = reference.model
    groups = _groups(fitted, rows, reference.rows)
    cost_of_row = float(reference.n_curves + FURTHER_CURVES) * rows.shape[0]
    n_orders = 0
    if not _is_enumerated(groups, cost_of_row * len(reference.share), exact):
        cost = 2 * cost_of_row * sum(map(len, groups))
        n_orders = int(np.clip(MAX_CURVES_EVALUATED / cost, MIN_ORDERS, MAX_ORDERS))
    game = _Game(reference, groups, n_orders)
    size = max(1, MAX_NUMBERS_OF_ROWS // reference.summands_of_rows[:, 0].size)
    blocks = range(0, rows.shape[0], size)
    parts = [game.solved(dense(rows[start : start + size])) for start in blocks]
    values, error = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
    base_values = reference.base_value
    values, error = values.transpose(1, 0, 2), error.transpose(1, 0, 2)
    if fitted.n_outputs == 1:
        values, error, base_values = values[..., 0], error[..., 0], base_values.item()
    return Explanation(
        values=values,
        base_values=base_values,
        error=error,
        data=_decoded(fitted, dense(rows)),
        feature_names=list(fitted.feature_names),
        output_names=fitted.output_names,
    )


def _is_enumerated(groups, cost_of_set, exact):
    """Whether all sets of the features that act together are gone through."""
    largest = max(map(len, groups), default=0)
    if exact == "auto":
        cost = sum(2.0 ** len(group) for group in groups) * cost_of_set
        return largest <= MAX_EXACT_FEATURES and cost <= MAX_CURVES_EVALUATED
    if exact and largest > 2 * MAX_EXACT_FEATURES:
        raise ValueError(
            "exact=True goes through all sets of features that act together, and here "
            f"{largest} do so, of which {2 * MAX_EXACT_FEATURES} are feasible: set "
            "exact='auto'."
        )
    return exact or not groups


def _groups(model, rows, others):
    """Features that meet in a hidden node, directly or through others.

    Columns that do not vary over all these rows meet nobody.

    Returns
    -------
    list of list of int
        Features that act alone are in none.
    """
    network, rows = model.network(), dense(rows)
    if len(network.layers) == 1:
        return []
    used = network.used_features.numpy()
    row = others[0, used]
    varies = (_differ(rows[:, used], row) | _differ(others[:, used], row)).tolist()
    first = network.layers[0]
    meets = nodes_of(first.mask.numpy().T > 0, first.n_multiplications, or_).T
    if len(network.layers) > 2:  # deeper layers mix all nodes
        meets = meets.any(axis=0, keepdims=True)
    groups = []
    for of_node in meets & varies:
        joined = set(used[of_node].tolist())
        touched = [group for group in groups if joined & group]
        groups = [group for group in groups if not joined & group]
        groups.append(joined.union(*touched))
    return [sorted(group) for group in groups if len(group) > 1]


def _differ(rows, first):
    """Whether a column has other values than the first one, (n_columns,)."""
    return ~((rows == first) | (np.isnan(rows) & np.isnan(first))).all(axis=0)


def _decoded(model, rows):
    """Rows with categories as they are in X."""
    if model.categories is None:
        return rows
    decoded = rows.astype(object)
    for column, known in enumerate(model.categories.of_columns):
        if known is not None:
            is_known = rows[:, column] >= 0
            decoded[is_known, column] = known[rows[is_known, column].astype(int)]
            decoded[~is_known, column] = np.nan
    return decoded


class _Game:
    """Features as players, whose payoff is the raw output.

    Parameters
    ----------
    reference : Background
        The values of features that are not set.
    groups : list of list of int
        Features that act together.
    n_orders : int
        Orders to draw, in pairs with their reverses; 0 goes through all sets.
    """

    def __init__(self, reference, groups, n_orders):
        self._reference, self._groups = reference, groups
        self._n_orders = n_orders
        self._mean = reference.share @ reference.output
        if n_orders:
            self._players = sorted(column for group in groups for column in group)
            self._curves = [
                reference.main_curve(column, N_SURROGATE_POINTS)
                for column in self._players
            ]
            self._lent = self._on_curves(reference.rows)

    def solved(self, rows):
        """Values and standard errors, two ndarrays of (n_features, n_rows, n_outputs).

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_features)
            To explain.
        """
        reference = self._reference
        rows = Background(reference.model, rows, np.full(len(rows), 1 / len(rows)))
        parts = rows.summands_of_rows
        values = np.zeros((len(parts), *rows.output.shape))
        error, grouped = np.zeros_like(values), set().union(*self._groups)
        for column in set(rows.used_columns) - grouped:
            output = reference.mean_output([column], parts[column])
            values[column] = output - self._mean
        if self._n_orders:
            left = rows.output - self._mean - values.sum(0)
            drawn = self._of_drawn_orders(rows, left)
            values[self._players], error[self._players] = drawn
        else:
            for group in self._groups:
                values[group] = self._of_all_sets(parts[group], group)
        return values, error

    def _of_all_sets(self, parts, group):
        """Values of features that act together, (n_group, n_rows, n_outputs)."""
        n_features, values = len(group), 0.0
        places = np.arange(n_features)
        for size in range(n_features + 1):
            for members in combinations(places, size):
                # What a set pays counts for its members, and against the others.
                chosen = list(members)
                weight = np.full(n_features, -1.0)
                weight /= n_features * comb(n_features - 1, min(size, n_features - 1))
                weight[chosen] = 1 / (
                    n_features * comb(n_features - 1, max(size - 1, 0))
                )
                columns = [group[place] for place in chosen]
                payoff = self._reference.mean_output(columns, parts[chosen].sum(0))
                values = values + weight[:, None, None] * payoff
        return values

    def _of_drawn_orders(self, rows, gain):
        """Values of all players and their errors, from orders that are drawn.

        Main effects as curves stand for the bulk of the output. Their values are known,
        and orders are drawn for the rest alone.

        Parameters
        ----------
        rows : Background
        gain : ndarray of shape (n_rows, n_outputs)
            What the values of all players sum to.
        """
        own = self._on_curves(rows.rows)
        generator, n_rows = np.random.default_rng(0), len(rows.rows)
        total, squares = np.zeros_like(own), np.zeros_like(own)
        n_at_once = max(1, ROWS_AT_ONCE // n_rows)
        for start in range(0, self._n_orders, n_at_once):
            n_drawn = min(n_at_once, self._n_orders - start)
            orders = np.array([generator.permutation(len(own)) for _ in range(n_drawn)])
            share = self._reference.share
            lent = generator.choice(len(share), size=(n_drawn, n_rows), p=share)
            gains = self._gains(rows, own, orders, lent)
            gains = 0.5 * (gains + self._gains(rows, own, orders[:, ::-1], lent))
            total += gains.sum(0)
            squares += np.square(gains).sum(0)
        mean = total / self._n_orders
        variance = squares / self._n_orders - mean**2
        variance = np.maximum(variance, 0.0) / (self._n_orders - 1)
        of_curves = np.tensordot(self._lent, self._reference.share, axes=(1, 0))
        values = own - of_curves[:, None] + mean
        # What is missing to the sum is shared out by the variances of the values.
        spread = variance.sum(0)
        share = np.where(spread > 0, variance / np.where(spread > 0, spread, 1), 0.0)
        share = np.where(spread > 0, share, 1 / len(own))
        return values + share * (gain - values.sum(0)), np.sqrt(variance)

    def _on_curves(self, rows):
        """Main effects of the players, (n_players, n_rows, n_outputs)."""
        pairs = zip(self._players, self._curves, strict=True)
        return np.array([curve(rows[:, column]) for column, curve in pairs])

    def _gains(self, rows, own, orders, lent):
        """What the rest gains by each player in orders, from the rows lent on.

        Parameters
        ----------
        rows : Background
        own : ndarray of shape (n_players, n_rows, n_outputs)
        orders : ndarray of int of shape (n_orders, n_players)
        lent : ndarray of int of shape (n_orders, n_rows)

        Returns
        -------
        ndarray of shape (n_orders, n_players, n_rows, n_outputs)
        """
        reference, columns = self._reference, np.array(self._players)
        gains = np.empty((len(orders), *own.shape))
        sums, before = reference.sums[lent], reference.output[lent]
        for place in orders.T:
            column, each = columns[place], np.arange(len(place))
            sums = sums + rows.summands_of_rows[column]
            sums -= reference.summands_of_rows[column[:, None], lent]
            after = rows.output_of(sums.reshape(-1, sums.shape[2]))
            after = after.reshape(before.shape)
            change = after - before - own[place] + self._lent[place[:, None], lent]
            gains[each, place], before = change, after
        return gains
