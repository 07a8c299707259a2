"""What becomes of whole dimensions: means, sums, extremes."""

from typing import Any

import numpy as np

from isthmus_partitioner.tflite.forms import Layout
from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Op, options
from isthmus_partitioner.tflite.step import Reads, Step

__all__: list[str] = []

_LAST = Layout.CHANNELS_LAST
_PLACES = (1, 2)  # height and width with channels last
_LAST_OF = (0, 3, 1, 2)  # where ONNX's dimensions are with channels last
_KINDS: dict[str, Any] = {
    "ReduceMax": Op.REDUCE_MAX,
    "ReduceMean": Op.MEAN,
    "ReduceMin": Op.REDUCE_MIN,
    "ReduceSum": Op.SUM,
}
_GLOBAL: dict[str, Any] = {"GlobalAveragePool": Op.MEAN, "GlobalMaxPool": Op.REDUCE_MAX}


@lowers(*_GLOBAL, reads=Reads.CHANNELS_LAST)
def over_places(step: Step) -> None:
    """Over height and width."""
    if len(step.shape(step.inputs[0])) != 4:
        raise step.refused("only height and width are covered")
    _reduced(step, _GLOBAL[step.node.op_type], _LAST, _PLACES, keeps=True)


@lowers(*_KINDS, reads=Reads.SAME)
def over_axes(step: Step) -> None:
    """Over any dimensions."""
    rank = len(step.shape(step.inputs[0]))
    axes = step.attribute("axes")
    if step.has_input(1):
        axes = step.constant(step.inputs[1], "axes").tolist()
    if not axes and step.attribute("noop_with_empty_axes", 0):
        raise step.refused("it names no dimension (noop_with_empty_axes)")
    places = sorted(axis % rank for axis in axes or range(rank))
    keeps = bool(step.attribute("keepdims", 1))
    layout = step.layout(step.inputs[0])
    if layout is _LAST and (keeps or places == [2, 3]):
        places = sorted(_LAST_OF[place] for place in places)
    else:
        layout = Layout.PLAIN
    _reduced(step, _KINDS[step.node.op_type], layout, tuple(places), keeps=keeps)


def _reduced(
    step: Step, code: int, layout: Layout, places: tuple[int, ...], *, keeps: bool
) -> None:
    name = step.inputs[0]
    can_integer = code == Op.MEAN and step.has_integers(name)
    result = step.result(integer=can_integer)
    is_integer = result.grid is not None
    value = step.integer(name, layout) if is_integer else step.real(name, layout)
    if value.data_type not in ("float32", "int8"):
        raise step.refused(f"it computes with {value.data_type}")
    axes = step.fixed(f"{step.outputs[0]};axes", np.asarray(places, np.int32))
    out = step.make(result, layout)
    settings = options("ReducerOptions", keepDims=keeps)
    step.emit(code, 2 if is_integer else 1, [value, axes], [out], settings)
