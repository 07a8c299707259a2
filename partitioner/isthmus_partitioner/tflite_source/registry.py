"""Which operations can be drawn, by the builtin's name."""

from collections.abc import Mapping

from isthmus_partitioner.tflite_source.drawing import Draw
from isthmus_partitioner.tflite_source.ops.convolutions import CONVOLUTIONS
from isthmus_partitioner.tflite_source.ops.elementwise import ELEMENTWISE
from isthmus_partitioner.tflite_source.ops.shaping import SHAPING
from isthmus_partitioner.tflite_source.ops.windows import WINDOWS

__all__ = ["DRAWN"]

DRAWN: Mapping[str, Draw] = {**CONVOLUTIONS, **ELEMENTWISE, **SHAPING, **WINDOWS}
