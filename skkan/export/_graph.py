"""The nodes and constants of an ONNX graph under construction.

Results and constants are known by their names: `node` and `constant` return the names
that later nodes take. Nothing here knows networks.
"""

from typing import NamedTuple

import numpy as np

# Numbers of the types in the ONNX format.
ONNX_TYPES = {"float32": 1, "int32": 6, "int64": 7, "float64": 11}


class GraphNode(NamedTuple):
    """One operation of the standard domain."""

    operator: str
    inputs: list  # of names
    outputs: list
    attributes: dict


class Graph:
    """Nodes in the order of their evaluation.

    Parameters
    ----------
    dtype : numpy.dtype
        float32 or float64, the type of the arithmetic and of all constants but indices.
    new_name : callable
        Makes a new name of a word.

    Attributes
    ----------
    nodes : list of GraphNode
    constants : dict of str to ndarray
    """

    def __init__(self, dtype, new_name):
        self.dtype, self._new_name = np.dtype(dtype), new_name
        self.nodes, self.constants = [], {}

    def node(self, operator, *inputs, **attributes):
        """Name of an operation's result; arrays among its inputs become constants."""
        return self.node_of_several(1, operator, *inputs, **attributes)[0]

    def node_of_several(self, n_outputs, operator, *inputs, **attributes):
        """Names of the results of an operation that has several."""
        names = [
            each if isinstance(each, str) else self.constant(each) for each in inputs
        ]
        outputs = [self._new_name(operator.lower()) for _ in range(n_outputs)]
        self.nodes.append(GraphNode(operator, names, outputs, attributes))
        return outputs

    def constant(self, value):
        """Name of an array; floating-point numbers are rounded to `dtype`."""
        value = np.asarray(value)
        if value.dtype.kind == "f":
            value = value.astype(self.dtype)
        name = self._new_name("constant")
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def number(self, name):
        """Numbers or truth values, cast to the type of the arithmetic."""
        return self.cast(name, self.dtype)

    def index(self, name):
        """Truth values, cast to indices 0 and 1."""
        return self.cast(name, np.dtype(np.int32))

    def cast(self, name, dtype):
        """Values, cast to another type."""
        return self.node("Cast", name, to=ONNX_TYPES[dtype.name])

    def rename(self, old, new):
        """Rename the result `old` to `new`."""
        for node in self.nodes:
            for names in (node.inputs, node.outputs):
                names[:] = [new if name == old else name for name in names]
