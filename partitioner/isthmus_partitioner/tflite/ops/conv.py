"""Conv: whole, depthwise and in groups, as reals or in integers with a step per channel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus_partitioner.tflite.forms import AnyArray, ChannelGrid, Grid, Layout, Value
from isthmus_partitioner.tflite.padding import padded
from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Op, options
from isthmus_partitioner.tflite.step import Reads, Result, Step
from isthmus_partitioner.tflite.window import Window, window_of

__all__: list[str] = []

_LAST = Layout.CHANNELS_LAST


@dataclass(frozen=True, slots=True)
class _Kernel:
    """Weights in ONNX's order [out,in,h,w]; `grid` along `out`, None for reals."""

    weights: AnyArray
    bias: NDArray[np.float32]
    grid: ChannelGrid | None


@lowers("Conv", reads=Reads.CHANNELS_LAST)
def conv(step: Step) -> None:
    """CONV_2D, or DEPTHWISE_CONV_2D where every channel is alone."""
    shape = step.shape(step.inputs[1])
    window = window_of(step, shape[2:])
    groups, channels = step.attribute("group", 1), step.shape(step.inputs[0])[1]
    is_depthwise = groups == channels and groups > 1
    can_integer = step.has_integers(*step.inputs[:2]) and _channel_steps(step) is not None
    result = step.result(integer=can_integer, fuses=True)
    kernel = _kernel(step, result)
    value = step.integer(step.inputs[0], _LAST) if result.grid else step.real(step.inputs[0], _LAST)
    source = padded(step, value, window.placement)
    fixed = _fixed(step, kernel, is_depthwise, value.grid)
    settings = _settings(window, result, shape[0] // groups if is_depthwise else None)
    version = 1 if result.grid is None else 3
    code = Op.DEPTHWISE_CONV_2D if is_depthwise else Op.CONV_2D
    if window.dilations != (1, 1) and is_depthwise:
        version = max(version, 2)
    step.emit(code, version, [source, *fixed], [step.make(result, _LAST)], settings)


def _kernel(step: Step, result: Result) -> _Kernel:
    steps = _channel_steps(step)
    if result.grid is not None and steps is not None:
        integers, grid = steps
        return _Kernel(integers, _bias(step, len(integers)), grid)
    weights = step.constant(step.inputs[1], "kernel")
    return _Kernel(weights, _bias(step, len(weights)), None)


def _channel_steps(step: Step) -> tuple[AnyArray, ChannelGrid] | None:
    """The kernel's int8 around zero with a step for each channel that it makes."""
    stored = step.stored(step.inputs[1])
    if stored is None:
        return None
    integers, grid = stored
    if isinstance(grid, ChannelGrid):
        return (integers, grid) if grid.axis == 0 else None
    if grid.zero_point:
        return None
    return integers, ChannelGrid(np.full(len(integers), grid.step, np.float32), 0)


def _bias(step: Step, channels: int) -> NDArray[np.float32]:
    if not step.has_input(2):
        return np.zeros(channels, np.float32)
    return step.constant(step.inputs[2], "bias").astype(np.float32)


def _fixed(step: Step, kernel: _Kernel, is_depthwise: bool, grid: Grid | None) -> list[Value]:
    """Weights as [out,h,w,in] ([1,h,w,out] for depthwise) and bias."""
    order = (1, 2, 3, 0) if is_depthwise else (0, 2, 3, 1)
    weights = np.ascontiguousarray(kernel.weights.transpose(order))
    weights_name, bias_name = step.inputs[1], f"{step.outputs[0]};bias"
    if kernel.grid is None or grid is None:
        return [step.fixed(weights_name, weights), step.fixed(bias_name, kernel.bias)]
    steps = kernel.grid.steps
    along = ChannelGrid(steps, 3 if is_depthwise else 0)
    products = np.float32(grid.step) * steps
    integers = np.rint(kernel.bias.astype(np.float64) / products.astype(np.float64))
    limits = np.iinfo(np.int32)
    bias = np.clip(integers, limits.min, limits.max).astype(np.int32)
    return [
        step.fixed(weights_name, weights, along),
        step.fixed(bias_name, bias, ChannelGrid(products, 0)),
    ]


def _settings(window: Window, result: Result, multiplier: int | None) -> tuple[int, object]:
    fields = {
        "padding": window.placement.padding,
        "strideH": window.strides[0],
        "strideW": window.strides[1],
        "dilationHFactor": window.dilations[0],
        "dilationWFactor": window.dilations[1],
        "fusedActivationFunction": result.activation,
    }
    if multiplier is None:
        return options("Conv2DOptions", **fields)
    return options("DepthwiseConv2DOptions", depthMultiplier=multiplier, **fields)
