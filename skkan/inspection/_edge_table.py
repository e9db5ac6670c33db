"""The edges and nodes of a fitted estimator as tables of numbers."""

import numpy as np
from sklearn.utils._optional_dependencies import check_pandas_support

from skkan.estimators._base import fitted_model_of
from skkan.inspection._edge_functions import edge_functions, node_names

N_TABLE_POINTS = 201  # of a curve, in equal steps over the training range
FLAT_SHARE = 0.01  # of the importance of the node that an edge enters and of an output
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
        - importance: attribution score of the KAN 2.0 paper, see `node_importances`;
        - std: standard deviation of the values over the training rows, in the units of
          the target where the edge enters an output;
        - kind: "removed" if the edge is pruned; "flat" if it hardly varies, see below;
          "straight" if, over the training range of its input, it departs from its
          least-squares line by at most 2% of its rise (largest less smallest value);
          "category" if its input is a category; else "curved";
        - slope: slope of that line if the edge is straight, else NaN;
        - low, high: the training range, NaN for categories;
        - alpha_size, alpha_curvature, alpha_change: weights of the penalty, if the fit
          has `alpha_`.

    Notes
    -----
    An edge is flat if its importance is at most 1% of the importance of the node that
    it enters, and at most 1% of the importance 1 / n_outputs of an output (see
    `node_importances`). By the first condition its standard deviation is at most 1% of
    that of its node. By the second condition little of it reaches the outputs: behind
    hidden nodes that cancel each other, an output may depend on a small part of a node
    only.

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
    scores = _node_scores(edges, node_names(estimator))
    kinds, slopes = zip(*(_kind_and_slope(edge, scores) for edge in edges), strict=True)
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


def _kind_and_slope(edge, scores):
    """Kind of an edge, and its slope or NaN; `scores` are importances of nodes."""
    if edge.removed:
        return "removed", np.nan
    level, position = edge.target
    if edge.importance <= FLAT_SHARE * min(scores[level][position], scores[-1].max()):
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

    It is the attribution score of the KAN 2.0 paper. Every output has the score
    1 / n_outputs. A node passes its score on to the edges that enter it, in proportion
    to the standard deviation of their values over the training rows,
    edge_ij = std(phi_ij) node_i / (std(node_i) + 1e-4). The score of any other node is
    the sum of the scores of the edges that leave it.

    Parameters
    ----------
    estimator : KANRegressor or KANClassifier
        Fitted.

    Returns
    -------
    list of ndarray of shape (n_nodes,)
        One for each level of `node_names`, the inputs first. The scores of the inputs,
        divided by their sum, are `feature_importances_`. All scores are zero if the
        network is constant.

    References
    ----------
    Z. Liu et al., KAN 2.0: Kolmogorov-Arnold Networks Meet Science, 2024,
    section 4.1.

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
    return _node_scores(edge_functions(estimator), node_names(estimator))


def _node_scores(edges, names):
    levels = [np.zeros(len(level)) for level in names]
    for edge in edges:
        level, position = edge.source
        levels[level][position] += edge.importance
    if any(edge.importance > 0 for edge in edges):
        levels[-1] += 1 / len(levels[-1])
    return levels
