"""The edges and nodes of a fitted estimator as tables of numbers."""

import numpy as np
from sklearn.utils._optional_dependencies import check_pandas_support

from skkan.estimators._base import fitted_model_of
from skkan.inspection._edge_functions import NEGLIGIBLE, edge_functions

N_TABLE_POINTS = 201  # of a curve, in equal steps over the training range
STRAIGHT_SHARE = 0.02  # of the rise of the curve itself


def edge_table(estimator):
    """Table of the edges of a fitted estimator, the most important first.

    Parameters
    ----------
    estimator : KANRegressor or KANClassifier
        Fitted.

    Returns
    -------
    pandas.DataFrame
        One row for each edge, with the columns

        - source, target: names of the nodes, see `node_names`;
        - source_level, source_position, target_level, target_position: their places;
          level 0 holds the inputs;
        - importance: share of the variance of the output that is lost if the mean of
          the edge over the training rows replaces it, see below;
        - std: standard deviation of the values over the training rows, in the units of
          the target where the edge enters an output;
        - kind: "removed" if the edge is pruned; "flat" if its importance is below 1e-4;
          "straight" if, over the training range of its input, it departs from its
          least-squares line by at most 2% of its rise (largest less smallest value);
          "category" if its input is a category; else "curved";
        - slope: slope of that line if the edge is straight, else NaN;
        - low, high: the training range, NaN for categories;
        - alpha_size, alpha_curvature, alpha_change: weights of the penalty, if the fit
          has `alpha_`.

    Notes
    -----
    The importance is the mean squared change of the raw output, over up to 1,000
    training rows and summed over the outputs in units of their deviations, divided by
    the variance. The rest of the network stays as it is. Edges of an additive model
    have the share of their own variance. Where other edges make up for an edge, its
    importance may exceed 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skkan import KANRegressor
    >>> from skkan.inspection import edge_table
    >>> X = np.random.default_rng(0).uniform(-1, 1, (200, 3))
    >>> model = KANRegressor((), random_state=0).fit(X, X[:, 0] ** 2 + X[:, 1])
    >>> table = edge_table(model)
    >>> table[["source", "target", "kind"]]
      source target      kind
    0     x1      y  straight
    1     x0      y    curved
    2     x2      y      flat
    >>> print(f"{table.slope[0]:.4f}")
    1.0000
    """
    pandas = check_pandas_support("edge_table")
    edges = edge_functions(estimator)
    kinds, slopes = zip(*map(_kind_and_slope, edges), strict=True)
    columns = {
        "source": [edge.source_name for edge in edges],
        "target": [edge.target_name for edge in edges],
        "source_level": [edge.source[0] for edge in edges],
        "source_position": [edge.source[1] for edge in edges],
        "target_level": [edge.target[0] for edge in edges],
        "target_position": [edge.target[1] for edge in edges],
        "importance": [edge.importance for edge in edges],
        "std": [edge.std for edge in edges],
        "kind": kinds,
        "slope": slopes,
        "low": [edge.low for edge in edges],
        "high": [edge.high for edge in edges],
    }
    model = fitted_model_of(estimator)
    if model.has_laplace_posterior:
        parts = ("alpha_size", "alpha_curvature", "alpha_change")
        columns |= dict(zip(parts, model.posterior.alpha.T, strict=True))
    table = pandas.DataFrame(columns)
    return table.sort_values(
        "importance", ascending=False, kind="stable", ignore_index=True
    )


def _kind_and_slope(edge):
    """Kind of an edge, and its slope or NaN."""
    if edge.removed:
        return "removed", np.nan
    if edge.importance < NEGLIGIBLE:
        return "flat", np.nan
    if edge.categories is not None:
        return "category", np.nan
    x = np.linspace(edge.low, edge.high, N_TABLE_POINTS)
    curve = edge(x)
    line = np.polynomial.Polynomial.fit(x, curve, 1)
    if np.abs(curve - line(x)).max() <= STRAIGHT_SHARE * np.ptp(curve):
        return "straight", line.convert().coef[1]
    return "curved", np.nan


def node_importances(estimator):
    """Importance of every node of a fitted estimator, level by level.

    That of an input is its share in `feature_importances_`. That of a hidden node is
    the share of the variance of the output that is lost if the means of all edges that
    leave it replace them, see `edge_table`. That of an output is its share in the
    variance of all outputs, in units of the deviations of the targets.

    Parameters
    ----------
    estimator : KANRegressor or KANClassifier
        Fitted.

    Returns
    -------
    list of ndarray of shape (n_nodes,)
        One for each level of `node_names`, the inputs first. All are zero if the
        network is constant.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from skkan import KANRegressor
    >>> from skkan.inspection import node_importances
    >>> X, y = make_friedman1(200, n_features=5, random_state=0)
    >>> model = KANRegressor((), random_state=0).fit(X, y)
    >>> inputs, outputs = node_importances(model)
    >>> print(inputs.argmax(), outputs)
    3 [1.]
    """
    model = fitted_model_of(estimator)
    n_layers = len(model.network_arrays["layers"])
    layers = model.layer_statistics[:n_layers]
    levels = [model.feature_importances, *(layer.node_score for layer in layers)]
    return [level.copy() for level in levels]
