"""Pools: the largest or the mean of a window."""

from isthmus_partitioner.tflite.forms import Layout
from isthmus_partitioner.tflite.padding import padded
from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Op, Padding, options
from isthmus_partitioner.tflite.step import Reads, Step
from isthmus_partitioner.tflite.window import Placement, Window, window_of

__all__: list[str] = []

_LAST = Layout.CHANNELS_LAST


@lowers("MaxPool", reads=Reads.CHANNELS_LAST)
def max_pool(step: Step) -> None:
    """Integers stay on their grid."""
    if len(step.outputs) > 1 and step.source.readers.get(step.outputs[1]):
        raise step.refused("the places of its maxima are read")
    window = _window(step)
    value = step.held(step.inputs[0], _LAST)
    source = padded(step, value, window.placement, lowest=True)
    shape = (value.shape[0], *window.steps, value.shape[3])
    made = step.values.new(step.outputs[0], shape, value.data_type, _LAST, value.grid)
    version = 1 if value.grid is None else 2
    settings = _settings(window, window.placement.padding)
    step.emit(Op.MAX_POOL_2D, version, [source], [made], settings)
    step.values.bind(step.outputs[0], made)


@lowers("AveragePool", reads=Reads.CHANNELS_LAST)
def average_pool(step: Step) -> None:
    """TFLite leaves borders out of its means; where ONNX counts them they are made first."""
    window = _window(step)
    placement = _averaging(step, window)
    result = step.result(integer=step.has_integers(step.inputs[0]))
    is_integer = result.grid is not None
    value = step.integer(step.inputs[0], _LAST) if is_integer else step.real(step.inputs[0], _LAST)
    source = padded(step, value, placement)
    shape = (value.shape[0], *window.steps, value.shape[3])
    made = step.values.new(step.outputs[0], shape, value.data_type, _LAST, value.grid)
    version = 2 if is_integer else 1
    step.emit(Op.AVERAGE_POOL_2D, version, [source], [made], _settings(window, placement.padding))
    step.bind(result, made)


def _window(step: Step) -> Window:
    window = window_of(step, tuple(step.attribute("kernel_shape")))
    if window.dilations != (1, 1):
        raise step.refused("TFLite's pools have no dilations")
    if window.begins_outside:
        raise step.refused("runtimes disagree about windows of nothing but border (ceil_mode)")
    return window


def _averaging(step: Step, window: Window) -> Placement:
    """How borders are padded so that TFLite's means are ONNX's."""
    placement = window.placement
    if window.is_unpadded:
        return placement
    counts = bool(step.attribute("count_include_pad", 0))
    if not counts:
        if placement.padding == Padding.SAME:
            return placement
        raise step.refused(f"TFLite cannot leave out borders like {window.pads} and {window.ends}")
    reach = [max(rest, 0) for rest in window.rests]
    if any(rest > end for rest, end in zip(reach, window.ends, strict=True)):
        raise step.refused("its last window reaches over its own pads (ceil_mode)")
    before = ((window.pads[0], reach[0]), (window.pads[1], reach[1]))
    return Placement(Padding.VALID, before)


def _settings(window: Window, padding: int) -> tuple[int, object]:
    return options(
        "Pool2DOptions",
        padding=padding,
        strideH=window.strides[0],
        strideW=window.strides[1],
        filterHeight=window.kernel[0],
        filterWidth=window.kernel[1],
    )
