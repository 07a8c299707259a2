"""Softmax and LogSoftmax, as reals: TFLite's integer kernels run beside XNNPACK and are slower.

TFLite sums over the last dimension. Up to opset 12, ONNX sums over the axis and all behind it.
"""

from math import prod

from isthmus_partitioner.tflite.forms import Layout, Value
from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Op, options
from isthmus_partitioner.tflite.step import Reads, Step

__all__: list[str] = []

_ONE_AXIS = 13  # the opset since which only one axis is summed over
_CHANNELS = 1
_DIMENSIONS = 4


@lowers("Softmax", "LogSoftmax", reads=Reads.SAME)
def softmax(step: Step) -> None:
    """Over any axis."""
    name, made = step.inputs[0], step.outputs[0]
    if step.source.data_type(name) != "float32":
        raise step.refused(f"it computes with {step.source.data_type(name)}")
    shape = step.shape(name)
    whole = step.source.opset >= _ONE_AXIS
    axis = step.attribute("axis", -1 if whole else 1) % len(shape)
    result = step.result(integer=False)
    if not whole and prod(shape[axis:]) != shape[-1]:
        rows = step.values.reshaped(
            step.real(name), (prod(shape[:axis]), prod(shape[axis:])), Layout.PLAIN, f"{name};rows"
        )
        shares = _summed(step, rows)
        step.bind(result, step.values.reshaped(shares, shape, Layout.PLAIN, made))
        return
    axis = axis if whole else len(shape) - 1
    layout = step.layout(name) if axis == _CHANNELS and len(shape) == _DIMENSIONS else Layout.PLAIN
    value = step.real(name, layout)
    if layout is Layout.CHANNELS_LAST or axis == len(shape) - 1:
        step.bind(result, _summed(step, value))
        return
    order = tuple(range(len(shape)))
    swapped = (*order[:axis], order[-1], *order[axis + 1 : -1], axis)
    turned = step.values.transposed(value, swapped, Layout.PLAIN, f"{name};turned")
    shares = _summed(step, turned)
    step.bind(result, step.values.transposed(shares, swapped, Layout.PLAIN, made))


def _summed(step: Step, value: Value) -> Value:
    made = step.values.new(step.outputs[0], value.shape, "float32", value.layout)
    if step.node.op_type == "Softmax":
        step.emit(Op.SOFTMAX, 1, [value], [made], options("SoftmaxOptions", beta=1.0))
    else:
        step.emit(Op.LOG_SOFTMAX, 1, [value], [made], options("LogSoftmaxOptions"))
    return made
