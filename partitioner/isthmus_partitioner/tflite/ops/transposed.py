"""ConvTranspose, as reals: ONNX Runtime has no integer kernel of it either."""

import numpy as np

from isthmus_partitioner.tflite.forms import AnyArray, Layout, Value, laid_out
from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Op, Padding, options
from isthmus_partitioner.tflite.step import Reads, Step

__all__: list[str] = []

_LAST = Layout.CHANNELS_LAST


@lowers("ConvTranspose", reads=Reads.CHANNELS_LAST)
def conv_transpose(step: Step) -> None:
    """Everything that the kernel reaches, then what ONNX keeps of it."""
    weights = _covered_kernel(step)
    strides = step.attribute("strides", [1, 1])
    pads = step.attribute("pads", [0, 0, 0, 0])
    before, after = step.shape(step.inputs[0])[2:], step.shape(step.outputs[0])[2:]
    reach = [
        max((size - 1) * by + length, front + kept)
        for size, by, length, front, kept in zip(
            before, strides, weights.shape[2:], pads[:2], after, strict=True
        )
    ]
    result = step.result(integer=False)
    fixed = _fixed(step, reach)
    value = step.real(step.inputs[0], _LAST)
    is_whole = tuple(reach) == after
    shape = (result.shape[0], reach[0], reach[1], weights.shape[1])
    out = step.make(result, _LAST) if is_whole else _whole(step, shape)
    settings = options(
        "TransposeConvOptions", padding=Padding.VALID, strideH=strides[0], strideW=strides[1]
    )
    sizes, kernel, bias = fixed
    step.emit(Op.TRANSPOSE_CONV, 3, [sizes, kernel, value, bias], [out], settings)
    if not is_whole:
        kept = step.make(result, _LAST)
        assert kept.shape == laid_out(result.shape, _LAST)
        box = [[0, pads[0], pads[1], 0], list(kept.shape)]
        numbers = [
            step.fixed(f"{step.outputs[0]};box{i}", np.asarray(n, np.int32))
            for i, n in enumerate(box)
        ]
        step.emit(Op.SLICE, 1, [out, *numbers], [kept], options("SliceOptions"))


def _covered_kernel(step: Step) -> AnyArray:
    weights = step.constant(step.inputs[1], "kernel")
    if weights.ndim != 4 or step.attribute("group", 1) != 1:
        raise step.refused("only two dimensions and one group are covered")
    if list(step.attribute("dilations", [1, 1])) != [1, 1]:
        raise step.refused("TFLite has it without dilations")
    if step.attribute("auto_pad", "NOTSET") != "NOTSET" or step.attribute("output_shape"):
        raise step.refused("only explicit pads are covered")
    return weights


def _whole(step: Step, shape: tuple[int, ...]) -> Value:
    return step.values.new(f"{step.outputs[0]};whole", shape, "float32", _LAST)


def _fixed(step: Step, reach: list[int]) -> tuple[Value, Value, Value]:
    """Sizes, kernel as [out,h,w,in], and bias."""
    name = step.outputs[0]
    weights = step.source.constant(step.inputs[1])
    bias = np.zeros(weights.shape[1], np.float32)
    if step.has_input(2):
        bias = step.constant(step.inputs[2], "bias").astype(np.float32)
    items = step.shape(step.inputs[0])[0]
    sizes = np.asarray([items, *reach, weights.shape[1]], np.int32)
    kernel = np.ascontiguousarray(weights.transpose(1, 2, 3, 0))
    return (
        step.fixed(f"{name};sizes", sizes),
        step.fixed(step.inputs[1], kernel),
        step.fixed(f"{name};bias", bias),
    )
