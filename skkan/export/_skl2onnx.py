"""Converters of skl2onnx, for estimators within pipelines."""

import numpy as np

from skkan.estimators._base import fitted_model_of
from skkan.estimators._classifier import KANClassifier
from skkan.estimators._regressor import KANRegressor
from skkan.export._graph import Graph
from skkan.export._predictions import checked_classes, results
from skkan.numerics._threads import single_thread

# Options of classifiers and their values; skl2onnx reads all of them.
CLASSIFIER_OPTIONS = {
    "zipmap": [True, False, "columns"],
    "nocl": [False],
    "output_class_labels": [False, True],
}


def register_converters():
    """Tell skl2onnx about the estimators of this package.

    `skl2onnx.to_onnx` then converts pipelines, searches and other meta-estimators that
    hold them. Steps before them give float32 or float64. The estimators compute in
    float64 and predict in the type of their input. Classifiers have the option
    "zipmap", like the classifiers of scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from skl2onnx import to_onnx
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skkan import KANRegressor
    >>> from skkan.export import register_converters
    >>> X = np.linspace(-1, 1, 100).reshape(-1, 1)
    >>> pipeline = make_pipeline(StandardScaler(), KANRegressor((), random_state=0))
    >>> pipeline = pipeline.fit(X, X[:, 0] ** 2)
    >>> register_converters()
    >>> model = to_onnx(pipeline, X[:1].astype(np.float32))
    >>> [each.name for each in (*model.graph.input, *model.graph.output)]
    ['X', 'variable']
    """
    from skl2onnx import update_registered_converter

    for kind, options in ((KANRegressor, None), (KANClassifier, CLASSIFIER_OPTIONS)):
        alias = f"Skkan{kind.__name__}"
        update_registered_converter(kind, alias, _declare, _convert, options=options)


def _declare(operator):
    """Set the types and shapes of an operator's outputs."""
    from skl2onnx.common import data_types, utils

    model, dtype = fitted_model_of(operator.raw_operator), _dtype(operator)
    utils.check_input_and_output_numbers(operator, input_count_range=1)
    number = data_types.DoubleTensorType
    if dtype == np.float32:
        number = data_types.FloatTensorType
    n_rows = operator.inputs[0].get_first_dimension()
    *labels, numbers = operator.outputs
    numbers.set_type(number([n_rows, model.n_outputs]))
    for label in labels:
        n_classes = len(model.target.classes)
        numbers.set_type(number([n_rows, n_classes]))
        types = {
            "O": data_types.StringTensorType,
            "i": data_types.Int64TensorType,
            "b": data_types.BooleanTensorType,
            "f": number,
        }
        kind = types[checked_classes(model.target.classes).dtype.kind]
        label.set_type(kind([n_rows, n_classes][: 1 + model.target.is_multilabel]))


@single_thread
def _convert(scope, operator, container):
    """Write the nodes of an operator."""
    from onnx import numpy_helper

    graph = Graph(np.float64, scope.get_unique_variable_name)
    X = operator.inputs[0].full_name
    found = results(graph, fitted_model_of(operator.raw_operator), X, _dtype(operator))
    for name, value in graph.constants.items():
        tensor = numpy_helper.from_array(value, name)
        content = value.tolist() if value.dtype == object else tensor
        container.add_initializer(name, tensor.data_type, value.shape, content)
    for node in graph.nodes:
        container.add_node(*node[:3], **node.attributes)
    for result, output in zip(found.values(), operator.outputs, strict=True):
        container.add_node("Identity", result.name, output.full_name)


def _dtype(operator):
    from skl2onnx.common.data_types import DoubleTensorType

    is_double = isinstance(operator.inputs[0].type, DoubleTensorType)
    return np.dtype(np.float64 if is_double else np.float32)
