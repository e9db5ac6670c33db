"""A fitted estimator as an ONNX model."""

from itertools import count

import numpy as np

from skkan.estimators._base import fitted_model_of
from skkan.export._graph import Graph
from skkan.export._predictions import results
from skkan.numerics._threads import single_thread

# The default, and the first version that has all operations.
DEFAULT_OPSET, FIRST_OPSET = 18, 15
FLOAT_TYPES = np.dtype(np.float32), np.dtype(np.float64)


@single_thread
def to_onnx(estimator, *, dtype=np.float32, arithmetic=np.float64, opset=DEFAULT_OPSET):
    """A fitted estimator as an ONNX model with the same predictions.

    Parameters
    ----------
    estimator : fitted KANRegressor or KANClassifier
        For a Pipeline see `register_converters`.
    dtype : {numpy.float32, numpy.float64}, default=numpy.float32
        Type of the features and the predictions.
    arithmetic : {numpy.float64, numpy.float32}, default=numpy.float64
        Type in which the model computes. A float32 model is half as large, up to twice
        as fast, and runs on devices without float64. The error of its predictions is
        some 1e-6 of their spread, and more where large curves cancel. With both types
        the scaling keeps differences between large numbers, such as years.
    opset : int, default=18
        Version of the standard operations, from 15 on.

    Returns
    -------
    onnx.ModelProto
        Its input is "X" of shape (N, n_features_in_). Missing cells are NaN; categories
        are given by their values, which must be numbers. The outputs have the names of
        skl2onnx. A regressor has "variable" of shape (N, n_targets), as `predict`
        returns it. A classifier has "label" of shape (N,), or (N, n_labels) of 0 and 1,
        as `predict` returns it, and "probabilities" of shape (N, n_classes), as
        `predict_proba` returns it, moderated by the posterior if there is one.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is of another kind.
    ValueError
        If `dtype`, `arithmetic` or `opset` are not as described, or if categories are
        strings or are equal in `dtype`.

    Notes
    -----
    A call holds tens of numbers for each cell of its rows at once: pass many rows in
    batches of some thousands. Standard deviations (`return_std`) are not exported.
    Curves of degree 0 jump at their knots. Behind a hidden layer rounding may move a
    sample to the other side of a knot.

    Examples
    --------
    >>> import numpy as np
    >>> from skkan import KANRegressor
    >>> from skkan.export import to_onnx
    >>> X = np.linspace(-1, 1, 100).reshape(-1, 1)
    >>> model = to_onnx(KANRegressor((), random_state=0).fit(X, X[:, 0] ** 2))
    >>> [each.name for each in (*model.graph.input, *model.graph.output)]
    ['X', 'variable']

    A runtime loads ``model.SerializeToString()``, for instance by
    ``onnxruntime.InferenceSession(model.SerializeToString())``.
    """
    model = fitted_model_of(estimator)
    from onnx import defs, helper, numpy_helper

    latest = defs.onnx_opset_version()
    if not FIRST_OPSET <= opset <= latest:
        raise ValueError(
            f"opset must be from {FIRST_OPSET} to {latest}, the latest that the "
            f"installed onnx knows, got {opset!r}."
        )
    dtype = _checked_type("dtype", dtype)
    numbers, arithmetic = count(1), _checked_type("arithmetic", arithmetic)
    graph = Graph(arithmetic, lambda word: f"{word}_{next(numbers)}")
    outputs = []
    for name, result in results(graph, model, "X", dtype).items():
        graph.rename(result.name, name)
        outputs.append(_tensor(name, result.dtype, result.n_columns))
    nodes = [
        helper.make_node(node.operator, node.inputs, node.outputs, **node.attributes)
        for node in graph.nodes
    ]
    constants = [
        numpy_helper.from_array(value, name) for name, value in graph.constants.items()
    ]
    inputs = [_tensor("X", dtype, model.n_features)]
    name = type(estimator).__name__
    return helper.make_model_gen_version(
        helper.make_graph(nodes, name, inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", opset)],
        producer_name="skkan",
    )


def _checked_type(name, dtype):
    for known in FLOAT_TYPES:
        if dtype is known.type or (isinstance(dtype, np.dtype) and dtype == known):
            return known
    raise ValueError(f"{name} must be numpy.float32 or float64, got {dtype!r}.")


def _tensor(name, dtype, n_columns):
    from onnx import helper

    shape = ["N"] if n_columns is None else ["N", n_columns]
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(dtype), shape
    )
