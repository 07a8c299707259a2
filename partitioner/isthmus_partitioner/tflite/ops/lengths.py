"""ReduceSumSquare and ReduceL2: sums of squares and their roots, as reals."""

import numpy as np

from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Op, options
from isthmus_partitioner.tflite.step import Step

__all__: list[str] = []


@lowers("ReduceSumSquare", "ReduceL2")
def length(step: Step) -> None:
    """Over any dimensions."""
    made, value = step.outputs[0], step.real(step.inputs[0])
    if value.data_type != "float32":
        raise step.refused(f"it computes with {value.data_type}")
    axes = step.attribute("axes")
    if step.has_input(1):
        axes = step.constant(step.inputs[1], "axes").tolist()
    if not axes and step.attribute("noop_with_empty_axes", 0):
        raise step.refused("it names no dimension (noop_with_empty_axes)")
    rank = len(value.shape)
    places = sorted(axis % rank for axis in axes or range(rank))
    squares = step.values.new(f"{made};squares", value.shape, "float32")
    step.emit(Op.SQUARE, 1, [value], [squares], options("SquareOptions"))
    fixed = step.fixed(f"{made};axes", np.asarray(places, np.int32))
    out = step.make(step.result(integer=False))
    settings = options("ReducerOptions", keepDims=bool(step.attribute("keepdims", 1)))
    if step.node.op_type == "ReduceSumSquare":
        step.emit(Op.SUM, 1, [squares, fixed], [out], settings)
        return
    total = step.values.new(f"{made};total", out.shape, "float32")
    step.emit(Op.SUM, 1, [squares, fixed], [total], settings)
    step.emit(Op.SQRT, 1, [total], [out])
