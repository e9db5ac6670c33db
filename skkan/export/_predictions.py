"""Predictions of a fitted estimator, as nodes of a graph.

The nodes bring the network's output to the units of the target, or moderate it, and
apply the inverse link, as `predict` and `predict_proba` do.
"""

from typing import NamedTuple

import numpy as np

from skkan.data._categories import holds_strings
from skkan.export._first_layer import FeatureUnits
from skkan.export._network_nodes import NetworkNodes, VarianceNodes
from skkan.losses._classification import MIN_LEAD
from skkan.losses._moderated_probabilities import even_nodes


class GraphResult(NamedTuple):
    """One output of a model."""

    name: str  # in the graph
    dtype: np.dtype
    n_columns: int | None  # None for a vector


def results(graph, model, X, dtype):
    """Predictions of a fitted model for rows.

    Parameters
    ----------
    graph : Graph
    model : FittedModel
    X : str
        Numbers of shape (n_samples, n_features).
    dtype : numpy.dtype
        Type of the predictions, float32 or float64.

    Returns
    -------
    dict of str to GraphResult
        By their public names, the names of skl2onnx.

    Raises
    ------
    ValueError
        If categories of a feature or classes of the target cannot be exported.
    """
    network, baseline = model.network_with_missing(), model.preprocessing.baseline
    # Type to which categories and classes are rounded.
    coarser = min(dtype, graph.dtype, key=lambda each: each.itemsize)
    units = _units(model, network.used_features.numpy(), coarser)
    passed = NetworkNodes(graph, network, units, graph.number(X))
    raw = graph.node("Add", passed.output, baseline[:, None])
    if model.target.classes is not None:
        return _of_classifier(graph, model, passed, raw, dtype)
    y = graph.node("Mul", passed.output, model.output_scaling.scale[:, None])
    y = graph.node("Add", y, model.intercepts[:, None])
    if model.target.has_log_link:
        # Logarithms of the least and the largest prediction.
        limits = np.finfo(coarser)
        least, most = np.trunc(np.log([limits.tiny, limits.max], dtype=np.float64))
        y = graph.node("Exp", graph.node("Clip", y, np.array(least), np.array(most)))
    return {"variable": _rows(graph, y, dtype, model.n_outputs)}


def _units(model, features, dtype):
    known = [None] * model.n_features
    if model.categories is not None:
        known = model.categories.of_columns
    categories = [_checked_categories(known[each], each, dtype) for each in features]
    scaling = model.preprocessing.input_scaling
    return FeatureUnits(
        features, scaling.centre[features], scaling.scale[features], categories
    )


def _checked_categories(known, feature, dtype):
    if known is None:
        return None
    if len(known) and holds_strings(known):
        raise ValueError(
            f"Categories must be numbers to be exported, got strings in column "
            f"{feature}, while an ONNX input has one type for all columns: encode them "
            "by an OrdinalEncoder before the estimator, and fit it with "
            f"categorical_features=[{feature}]."
        )
    rounded = known.astype(dtype)
    if len(np.unique(rounded)) < len(rounded):
        raise ValueError(
            f"Categories must differ in {dtype.name}, got values in column {feature} "
            "that do not: pass dtype=np.float64, or fit on small codes."
        )
    return rounded.astype(np.float64)


def _of_classifier(graph, model, passed, raw, dtype):
    target = model.target
    label = _label(graph, target, raw, dtype)
    if model.has_laplace_posterior:
        raw = _moderated(graph, model, passed, raw)
    if not (target.has_exclusive_classes or target.is_multilabel):
        raw = graph.node("Concat", graph.node("Neg", raw), raw, axis=0)
    if target.has_exclusive_classes:
        probability = graph.node("Softmax", raw, axis=0)
    else:
        probability = graph.node("Sigmoid", raw)
    probabilities = _rows(graph, probability, dtype, len(target.classes))
    return {"label": label, "probabilities": probabilities}


def _label(graph, target, raw, dtype):
    if target.is_multilabel:
        positive = graph.node("Greater", raw, np.array(0.0))
        labels = graph.node("Transpose", positive, perm=[1, 0])
        integer = np.dtype(np.int64)
        return GraphResult(graph.cast(labels, integer), integer, len(target.classes))
    if target.has_exclusive_classes:
        code = graph.node("ArgMax", raw, axis=0, keepdims=0)
    else:
        code = graph.index(graph.node("Greater", raw, np.array(0.0)))
        code = graph.node("Squeeze", code, np.array([0]))
    classes = checked_classes(target.classes)
    label = graph.node("Gather", classes, code)
    if classes.dtype.kind == "f":
        return GraphResult(graph.cast(label, dtype), dtype, None)
    return GraphResult(label, classes.dtype, None)


def checked_classes(classes):
    """Classes as an array of a type of ONNX."""
    if all(isinstance(each, str) for each in classes):
        return classes.astype(object)
    if classes.dtype.kind in "iu":
        return classes.astype(np.int64)
    if classes.dtype.kind in "fb":
        return classes
    raise ValueError(
        "Classes must be numbers, strings or truth values to be exported, got "
        f"{classes.tolist()}: fit the estimator on codes of them."
    )


def _moderated(graph, model, passed, raw):
    """Logits of the mean probabilities; see the losses' `moderated`."""
    variance = VarianceNodes(graph, passed, model.posterior.root(passed.network))
    if not model.target.has_exclusive_classes:
        each = [variance.of_output(output) for output in range(model.n_outputs)]
        return _logit_of_mean(graph, raw, graph.node("Concat", *each, axis=0))
    # The lead of the most probable class over the next is moderated.
    two = np.array([2])
    largest, leading = graph.node_of_several(2, "TopK", raw, two, axis=0)
    classes = np.arange(model.n_outputs)[:, None]
    places = [np.array([place]) for place in (0, 1)]
    most, next_most = (graph.node("Gather", largest, place) for place in places)
    first, second = (
        graph.node("Equal", graph.node("Gather", leading, place), classes)
        for place in places
    )
    lead = graph.node("Sub", most, next_most)
    lead = graph.node("Max", lead, np.array(MIN_LEAD))
    apart = variance.of_combination(
        graph.node("Sub", graph.number(first), graph.number(second))
    )
    share = graph.node("Div", _logit_of_mean(graph, lead, apart), lead)
    return graph.node("Mul", raw, share)


def _logit_of_mean(graph, logit, variance):
    """Logit of the mean probability over normal logits, of the shape of `logit`."""
    nodes, log_share = (each.numpy() for each in even_nodes())
    last, one = np.array([-1]), np.array(1.0)
    std = graph.node("Unsqueeze", graph.node("Sqrt", variance), last)
    lead = graph.node("Unsqueeze", graph.node("Abs", logit), last)
    logits = graph.node("Add", lead, graph.node("Mul", std, nodes))
    # log sigmoid(-x) = min(-x, 0) - log(1 + exp(-|x|)), in operations of all runtimes.
    tail = graph.node("Exp", graph.node("Neg", graph.node("Abs", logits)))
    log_less = graph.node(
        "Sub",
        graph.node("Min", graph.node("Neg", logits), np.array(0.0)),
        graph.node("Log", graph.node("Add", tail, one)),
    )
    log_less = graph.node("Add", log_less, log_share)
    log_less = graph.node("ReduceLogSumExp", log_less, last, keepdims=0)
    more = graph.node("Sub", one, graph.node("Exp", log_less))
    size = graph.node("Sub", graph.node("Log", more), log_less)
    size = graph.node("Max", size, np.array(0.0))
    return graph.node("Mul", graph.node("Sign", logit), size)


def _rows(graph, block, dtype, n_columns):
    """Result whose rows are the columns of a block."""
    name = graph.node("Transpose", block, perm=[1, 0])
    return GraphResult(graph.cast(name, dtype), dtype, n_columns)
