"""Heads as .tflite files: ONNX graphs lowered with LiteRT's own schema, and checked beside ONNX."""

from isthmus_partitioner.tflite.lowering import Lowered, lower
from isthmus_partitioner.tflite.refusal import NotLoweredError
from isthmus_partitioner.tflite.verify import Difference, Twin, verify

__all__ = ["Difference", "Lowered", "NotLoweredError", "Twin", "lower", "verify"]
