"""Stored cases: fitted estimators in files of plain arrays, without pickles.

A file is an `.npz` of one JSON text, the skeleton, and of one flat array for each dtype
of the numbers. Arrays stand in the skeleton as dtype, shape and offset in the flat
array of that dtype; text stays in the skeleton. Dictionaries, lists, tuples, numpy
scalars, data frames, scikit-learn estimators and the objects of `OBJECTS` are rebuilt
with the types that they had.

The module knows the public classes only. An estimator is its class, its constructor
parameters and what `__getstate__` returns beside them. It is rebuilt by the constructor
and `__setstate__`, so that a parameter which the stored state lacks has its default.
"""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd

from skkan import KANClassifier, KANRegressor, SparsityPenalty
from skkan.solvers import LBFGS, Adam, LevenbergMarquardt

STATES = Path(__file__).parent / "states"
SKELETON = "skeleton"  # name of the array that is the JSON text
ESTIMATORS = {kind.__name__: kind for kind in (KANRegressor, KANClassifier)}
# Dataclasses that may stand in a state or in parameters, by their public names.
OBJECTS = {
    kind.__name__: kind for kind in (LBFGS, Adam, LevenbergMarquardt, SparsityPenalty)
}
NUMBERS = "biufc"  # kinds of dtype that are stored as arrays


def save(path, document):
    """Write nested values to a file.

    Parameters
    ----------
    path : Path
    document : object
        Whatever `load` is to return.
    """
    encoder = _Encoder()
    skeleton = json.dumps(encoder.node(document))
    arrays = {name: np.concatenate(parts) for name, parts in encoder.parts.items()}
    np.savez_compressed(path, **{SKELETON: np.array(skeleton)}, **arrays)


def load(path):
    """Read what `save` has written.

    Parameters
    ----------
    path : Path

    Returns
    -------
    object
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return _decoded(json.loads(str(arrays.pop(SKELETON))), arrays)


def case_paths():
    """Files of all stored cases in the order of their names."""
    return sorted(STATES.glob("*.npz"))


class _Encoder:
    """Values as JSON; the numbers of arrays are collected in `parts`."""

    def __init__(self):
        self.parts, self._ends = {}, {}

    def node(self, value):
        """What stands for a value in the skeleton."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if type(value) is list:
            return [self.node(each) for each in value]
        return {type(value).__name__: self._tagged(value)}

    def _tagged(self, value):
        if type(value) is tuple:
            return [self.node(each) for each in value]
        if type(value) is dict:
            return [[self.node(k), self.node(v)] for k, v in value.items()]
        if isinstance(value, np.ma.MaskedArray):
            return [self.node(value.data), self.node(np.ma.getmaskarray(value))]
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, np.generic):
            return [value.dtype.str, value.item()]
        if isinstance(value, pd.DataFrame):
            return [[name, self._column(value[name])] for name in value.columns]
        if type(value).__name__ in ESTIMATORS:
            params, fitted = _halves(value)
            return [self.node(params), self.node(fitted)]
        if OBJECTS.get(type(value).__name__) is type(value):
            return {f.name: self.node(getattr(value, f.name)) for f in fields(value)}
        raise TypeError(f"No code for {type(value)}: add its class to OBJECTS.")

    def _array(self, array):
        if array.dtype.kind not in NUMBERS:  # text, or objects
            items = [self.node(each) for each in array.ravel().tolist()]
            return [array.dtype.str, array.shape, items]
        name = array.dtype.str
        start = self._ends.get(name, 0)
        self._ends[name] = start + array.size
        self.parts.setdefault(name, []).append(array.ravel())
        return [name, array.shape, start]

    def _column(self, column):
        if isinstance(column.dtype, pd.CategoricalDtype):
            codes, known = column.cat.codes.tolist(), column.cat.categories.tolist()
            return {"codes": codes, "categories": known}
        return self.node(column.to_numpy())


def _halves(estimator):
    """Constructor parameters of an estimator, and the rest of its state."""
    params = estimator.get_params(deep=False)
    state = estimator.__getstate__()
    return params, {name: state[name] for name in state if name not in params}


def _decoded(node, arrays):
    """The value that a node of the skeleton stands for."""
    if isinstance(node, list):
        return [_decoded(each, arrays) for each in node]
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "tuple":
        return tuple(_decoded(each, arrays) for each in content)
    if kind == "dict":
        return {_decoded(k, arrays): _decoded(v, arrays) for k, v in content}
    if kind == "ndarray":
        return _decoded_array(content, arrays)
    if kind == "MaskedArray":
        return np.ma.array(*(_decoded(each, arrays) for each in content))
    if kind == "DataFrame":
        return pd.DataFrame({k: _decoded_column(v, arrays) for k, v in content})
    if kind in ESTIMATORS:
        params, fitted = (_decoded(each, arrays) for each in content)
        estimator = ESTIMATORS[kind](**params)
        estimator.__setstate__({**estimator.__getstate__(), **fitted})
        return estimator
    if kind in OBJECTS:
        return OBJECTS[kind](**{k: _decoded(v, arrays) for k, v in content.items()})
    dtype, item = content
    return np.array(item, dtype=dtype)[()]


def _decoded_array(content, arrays):
    dtype, shape, content = content
    if isinstance(content, int):
        flat = arrays[dtype][content : content + int(np.prod(shape))]
        return flat.reshape(shape).copy()
    array = np.empty(len(content), dtype=dtype)
    for index, each in enumerate(content):
        array[index] = _decoded(each, arrays)
    return array.reshape(shape)


def _decoded_column(node, arrays):
    if "codes" in node:
        return pd.Categorical.from_codes(node["codes"], node["categories"])
    return _decoded(node, arrays)
