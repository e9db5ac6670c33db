"""What is read off a stored estimator, by public names only.

Each function of `READINGS` takes an estimator and its case, and returns nested
dictionaries and lists of arrays, numbers and text. The script `make_golden` stores what
they return, and the test compares it with what they return now.
"""

import importlib.util
from importlib.abc import InspectLoader

import numpy as np
import torch

from skkan.export import to_onnx
from skkan.inspection import (
    EdgeFunctionDisplay,
    GridDisplay,
    KANDisplay,
    LossCurveDisplay,
    edge_functions,
    edge_table,
    intercepts,
    node_importances,
    node_names,
)
from skkan.symbolic import (
    feature_symbols,
    fit_symbolic,
    to_numpy_source,
    to_sympy,
)

# Where curves are read, in ranges of their input from its lowest value on. None is at
# an end of the range, where derivatives and curves of degree 0 jump.
PLACES = np.linspace(-0.237, 1.219, 23)
MAX_EDGES_READ = 12  # of which the curves are stored, evenly spread over the network
EVERY = slice(None, None, 8)  # of the points of a drawn curve, for smaller files


def attributes(estimator, case):
    """Public fitted attributes, by their names."""
    objects = "network_", "fitted_model_"
    names = [
        name
        for name in dir(estimator)
        if name.endswith("_") and not name.startswith("_") and name not in objects
    ]
    return {name: getattr(estimator, name) for name in names}


def predictions(estimator, case):
    """What the methods that predict return for the rows of the case."""
    rows = case["rows"]
    values = {"predict": estimator.predict(rows)}
    if hasattr(estimator, "noise_std_"):
        mean, std = estimator.predict(rows, return_std=True)
        values |= {"mean": mean, "std": std}
    for name in ("decision_function", "predict_proba", "predict_log_proba"):
        if hasattr(estimator, name):
            values[name] = getattr(estimator, name)(rows)
    return values


def network(estimator, case):
    """Outputs of the torch module for rows in scaled units, and its counts."""
    module = estimator.network_
    with torch.no_grad():
        outputs = module(torch.from_numpy(case["scaled_rows"])).numpy()
    return {
        "outputs": outputs,
        "widths": list(module.widths),
        "grid_size": module.grid_size,
        "n_edges": module.n_edges,
        "n_parameters": module.n_parameters,
    }


def edges(estimator, case):
    """Curves of some edges, with all that is known of them."""
    curves = edge_functions(
        estimator, with_posterior=hasattr(estimator, "log_evidence_")
    )
    step = -(-len(curves) // MAX_EDGES_READ)
    return [_edge(curve) for curve in curves[::step]]


def _edge(curve):
    values = {
        name: getattr(curve, name)
        for name in ("source", "target", "source_name", "target_name", "removed")
    }
    for name in ("importance", "std", "mean", "low", "high", "density"):
        values[name] = getattr(curve, name)
    values["missing_value"] = curve.missing_value
    if curve.categories is not None:
        values["categories"] = list(curve.categories)
        values["category_values"] = curve.category_values
        x = curve.categories
    else:
        x = curve.low + (curve.high - curve.low) * PLACES
        if curve.missing_value is not None:
            x = np.append(x, np.nan)
        values |= _number_edge(curve, x)
    values["values"] = curve(x)
    try:
        values["deviation"] = curve.deviation(x)
        values["deviation of level"] = curve.deviation(x, centred=False)
    except ValueError:  # no posterior
        values["deviation"] = None
    return values


def _number_edge(curve, x):
    spline = curve.spline
    return {
        "derivative": curve.derivative(x),
        "knots": curve.knots,
        "base_weight": curve.base_weight,
        "base_activation": curve.base_activation,
        "base_scaling": list(curve.base_scaling),
        "extrapolation": curve.extrapolation,
        "spline": [spline.t, spline.c, spline.k],
    }


def nodes(estimator, case):
    """Numbers of `edge_table`, and what is known of the nodes."""
    table = edge_table(estimator)
    return {
        "table": {name: table[name].to_numpy() for name in table.columns},
        "names": node_names(estimator),
        "importances": node_importances(estimator),
        "intercepts": intercepts(estimator),
    }


def onnx(estimator, case):
    """Outputs of the exported model in float64."""
    return _onnx_outputs(estimator, case, np.float64)


def onnx_in_float32(estimator, case):
    """Outputs of the exported model in float32 throughout."""
    return _onnx_outputs(estimator, case, np.float32)


def _onnx_outputs(estimator, case, dtype):
    import onnxruntime

    model = to_onnx(estimator, dtype=dtype, arithmetic=dtype)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [each.name for each in session.get_outputs()]
    rows = np.asarray(case["rows"], dtype=dtype)
    return dict(zip(names, session.run(None, {"X": rows}), strict=True))


def expressions(estimator, case):
    """Values of the network written down in sympy and in numpy's source."""
    return _written_down(estimator, case["rows"])


def formula(estimator, case):
    """Functions that `fit_symbolic` chooses, and values of that formula."""
    X, y = case["training"]
    found = fit_symbolic(estimator, X, y, max_refits=100)
    written = _written_down(found, X)
    choices = [[*nodes, str(name)] for nodes, name in found.choices_.items()]
    return {"choices": choices, "predict": found.predict(X), **written}


def _written_down(model, rows):
    import sympy

    columns = np.asarray(rows).T
    found = to_sympy(model)
    values = []
    for expression in found if isinstance(found, list) else [found]:
        function = sympy.lambdify(feature_symbols(model), expression, "numpy")
        values.append(np.broadcast_to(function(*columns), columns.shape[1:]))
    outputs = _module_of(to_numpy_source(model)).formula(*columns)
    return {"sympy": np.array(values), "numpy": np.array(outputs)}


class _SourceLoader(InspectLoader):
    """Of a module from its text."""

    def __init__(self, source):
        self._source = source

    def get_source(self, fullname):
        return self._source


def _module_of(source):
    loader = _SourceLoader(source)
    spec = importlib.util.spec_from_loader("formula", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def displays(estimator, case):
    """Numbers that the displays draw, apart from those of their typography."""
    import matplotlib.pyplot as plt

    curves = EdgeFunctionDisplay.from_estimator(estimator, max_edges=3)
    whole = KANDisplay.from_estimator(estimator, max_edges=8)
    grid = GridDisplay.from_estimator(estimator)
    loss = LossCurveDisplay.from_estimator(estimator, course="iterations")
    plt.close("all")
    validation = loss.validation_line_
    return {
        "curves": [line.get_xydata()[EVERY] for line in curves.lines_],
        "bands": [
            path.vertices[EVERY] for band in curves.bands_ for path in band.get_paths()
        ],
        "marks of missing": [
            None if mark is None else mark.get_ydata() for mark in curves.missing_
        ],
        "edges": [[*edge.source, *edge.target] for edge in whole.shown_],
        "opacities": [curve.get_alpha() for curve in whole.curves_],
        "shapes": [_shape(curve.get_ydata())[EVERY] for curve in whole.curves_],
        "splines": [line.get_xydata()[EVERY] for line in grid.lines_],
        "knots": grid.knots_.get_xdata(),
        "losses": loss.line_.get_xydata(),
        "validation losses": None if validation is None else validation.get_xydata(),
        "stages": [line.get_xdata() for line in loss.stage_lines_],
        "labels of stages": [text.get_text() for text in loss.stage_labels_],
    }


def _shape(y):
    """A curve over the unit interval, as the size of its box is a matter of taste."""
    low, high = np.nanmin(y), np.nanmax(y)
    return (y - low) / (high - low)


READINGS = {
    function.__name__: function
    for function in (
        attributes,
        predictions,
        network,
        edges,
        nodes,
        onnx,
        onnx_in_float32,
        expressions,
        formula,
        displays,
    )
}
ALWAYS = ("attributes", "predictions", "network", "edges", "nodes")
# Relative to the largest value beside it. What is read off a state is the same up to
# the order of sums.
TOLERANCE = 1e-9
TOLERANCES = {
    "onnx_in_float32": 1e-5,  # rounding of float32, some tens of operations in a row
    "formula": 1e-6,  # constants are fitted until a step gains next to nothing
}
