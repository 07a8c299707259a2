"""Reciprocal: one by each number, as reals."""

import numpy as np

from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Op, options
from isthmus_partitioner.tflite.step import Reads, Step

__all__: list[str] = []


@lowers("Reciprocal", reads=Reads.SAME)
def reciprocal(step: Step) -> None:
    """A division."""
    name = step.inputs[0]
    if step.source.data_type(name) != "float32":
        raise step.refused(f"it computes with {step.source.data_type(name)}")
    layout = step.layout(name)
    one = step.fixed(f"{step.outputs[0]};one", np.ones(1, np.float32))
    value = step.real(name, layout)
    out = step.make(step.result(integer=False), layout)
    step.emit(Op.DIV, 1, [one, value], [out], options("DivOptions"))
