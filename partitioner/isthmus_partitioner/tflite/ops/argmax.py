"""ArgMax and ArgMin: the place of the largest or least number."""

import numpy as np

from isthmus_partitioner.tflite.forms import Layout
from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Op, TensorType, options
from isthmus_partitioner.tflite.step import Step

__all__: list[str] = []


@lowers("ArgMax", "ArgMin")
def place_of_extreme(step: Step) -> None:
    """The first place where it is reached."""
    made, kind = step.outputs[0], step.node.op_type
    if step.attribute("select_last_index", 0):
        raise step.refused("the last place of several is not covered")
    value = step.held(step.inputs[0])
    if value.data_type not in ("float32", "int8"):
        raise step.refused(f"it computes with {value.data_type}")
    axis = step.attribute("axis", 0) % len(value.shape)
    places = step.fixed(f"{made};axis", np.asarray([axis], np.int32))
    shape = tuple(size for place, size in enumerate(value.shape) if place != axis)
    out = step.values.new(made, shape, "int64")
    code = Op.ARG_MAX if kind == "ArgMax" else Op.ARG_MIN
    settings = options(f"{kind}Options", outputType=TensorType.INT64)
    step.emit(code, 1 if value.grid is None else 2, [value, places], [out], settings)
    if step.attribute("keepdims", 1):
        out = step.values.reshaped(out, step.shape(made), Layout.PLAIN, made)
    step.values.bind(made, out)
