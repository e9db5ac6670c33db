"""Fitted estimators as ONNX models, which run where there is no Python."""

from skkan.export._onnx import to_onnx
from skkan.export._skl2onnx import register_converters

__all__ = ["register_converters", "to_onnx"]
