"""Fitted estimators as ONNX models, which run without Python.

Holds the graph of a network, of its variance and of predictions, and the converters of
skl2onnx. Does not hold sources of Python, which formulas write. Another format would
write a `Graph` in another way.
"""

from skkan.export._onnx import to_onnx
from skkan.export._skl2onnx import register_converters

__all__ = ["register_converters", "to_onnx"]
