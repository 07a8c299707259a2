"""Reshape, Transpose and Expand: they keep the form (integers or reals) that they find."""

import numpy as np

from isthmus_partitioner.tflite.forms import Layout
from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Op, options
from isthmus_partitioner.tflite.step import Reads, Step

__all__: list[str] = []

_MOST_DIMENSIONS = 6
_PLACE_OF = (0, 3, 1, 2)  # where ONNX's dimensions are with channels last


@lowers("Reshape")
def reshape(step: Step) -> None:
    """Sizes are known when the head is built, however the graph states them."""
    made = step.outputs[0]
    value = step.held(step.inputs[0])
    step.values.bind(made, step.values.reshaped(value, step.shape(made), Layout.PLAIN, made))


@lowers("Transpose")
def transpose(step: Step) -> None:
    """Any order; one that only changes the layout never comes here."""
    name, made = step.inputs[0], step.outputs[0]
    rank = len(step.shape(name))
    if rank > _MOST_DIMENSIONS:
        raise step.refused(f"more than {_MOST_DIMENSIONS} dimensions are not covered")
    order = tuple(step.attribute("perm", range(rank)[::-1]))
    layout = step.layout(name)
    if layout is Layout.CHANNELS_LAST:
        order = tuple(_PLACE_OF[place] for place in order)
    value = step.held(name, layout)
    step.values.bind(made, step.values.transposed(value, order, Layout.PLAIN, made))


@lowers("Expand", reads=Reads.PLAIN)
def expand(step: Step) -> None:
    """Repeats along dimensions of size one."""
    name, made = step.inputs[0], step.outputs[0]
    value, shape = step.held(name), step.shape(made)
    if value.shape == shape:
        step.values.alias(made, name)
        return
    target = step.fixed(f"{made};shape", np.asarray(shape, np.int32))
    out = step.values.new(made, shape, value.data_type, Layout.PLAIN, value.grid)
    step.emit(Op.BROADCAST_TO, 2, [value, target], [out], options("BroadcastToOptions"))
    step.values.bind(made, out)
