"""Relu and Clip: their bounds, and what TFLite's operators can do of them by themselves."""

import onnx

from isthmus_partitioner.tflite.forms import Grid
from isthmus_partitioner.tflite.schema import Activation
from isthmus_partitioner.tflite.source import Source

__all__ = ["bounds", "fused"]

_INFINITE = float("inf")
_FUSED = {
    (-_INFINITE, _INFINITE): Activation.NONE,
    (0.0, _INFINITE): Activation.RELU,
    (0.0, 6.0): Activation.RELU6,
    (-1.0, 1.0): Activation.RELU_N1_TO_1,
}


def bounds(node: onnx.NodeProto, source: Source) -> tuple[float, float] | None:
    """Between which reals a node clips; None for another op, or for bounds that are computed."""
    if node.op_type == "Relu":
        return 0.0, _INFINITE
    if node.op_type != "Clip":
        return None
    low, high = -_INFINITE, _INFINITE
    for attribute in node.attribute:
        low = attribute.f if attribute.name == "min" else low
        high = attribute.f if attribute.name == "max" else high
    names = [*node.input, "", ""][1:3]
    if any(name and not source.is_constant(name) for name in names):
        return None
    low, high = (
        float(source.constant(name).reshape(())) if name else known
        for name, known in zip(names, (low, high), strict=True)
    )
    return low, high


def fused(low: float, high: float, grid: Grid | None) -> int | None:
    """The activation to fuse for a clip to [low, high]; None where no operator has it.

    Nothing is left to do where the result's grid ends at the bounds.
    """
    if grid is not None and grid.is_inside(low, high):
        return int(Activation.NONE)
    found = _FUSED.get((low, high))
    return None if found is None else int(found)
