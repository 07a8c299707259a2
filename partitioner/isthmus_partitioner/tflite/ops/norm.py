"""LayerNormalization, for which TFLite has no operator, as reals.

Its decomposed form (ReduceMean, Sub, Pow, Sqrt, Div) needs nothing of its own.
"""

import numpy as np

from isthmus_partitioner.tflite.forms import Value
from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Op, options
from isthmus_partitioner.tflite.step import Step

__all__: list[str] = []


@lowers("LayerNormalization")
def layer_normalization(step: Step) -> None:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, from an axis on (Ba et al., 2016)."""
    name = step.inputs[0]
    shape = step.shape(name)
    if any(made and step.source.readers.get(made) for made in step.outputs[1:]):
        raise step.refused("its means or deviations are read")
    axis = step.attribute("axis", -1) % len(shape)
    value = step.real(name)
    axes = step.fixed(f"{name};axes", np.arange(axis, len(shape), dtype=np.int32))
    mean = _mean(step, value, axes, axis)
    centred = _like(step, value, "centred")
    step.emit(Op.SUB, 1, [value, mean], [centred], options("SubOptions"))
    normal = _like(step, value, "normal")
    step.emit(Op.MUL, 1, [centred, _share(step, centred, axes, axis)], [normal], _times())
    scale = step.fixed(step.inputs[1], step.constant(step.inputs[1], "scale").astype(np.float32))
    result = step.result(integer=False)
    if not step.has_input(2):
        step.emit(Op.MUL, 1, [normal, scale], [step.make(result)], _times())
        return
    scaled = _like(step, value, "scaled")
    step.emit(Op.MUL, 1, [normal, scale], [scaled], _times())
    bias = step.fixed(step.inputs[2], step.constant(step.inputs[2], "bias").astype(np.float32))
    step.emit(Op.ADD, 1, [scaled, bias], [step.make(result)], options("AddOptions"))


def _share(step: Step, centred: Value, axes: Value, axis: int) -> Value:
    """One by the deviation."""
    squares = _like(step, centred, "squares")
    step.emit(Op.SQUARE, 1, [centred], [squares], options("SquareOptions"))
    variance = _mean(step, squares, axes, axis)
    least = np.full(1, step.attribute("epsilon", 1e-5), np.float32)
    raised = _like(step, variance, "raised")
    fixed = step.fixed(f"{step.outputs[0]};epsilon", least)
    step.emit(Op.ADD, 1, [variance, fixed], [raised], options("AddOptions"))
    share = _like(step, variance, "share")
    step.emit(Op.RSQRT, 1, [raised], [share])
    return share


def _mean(step: Step, value: Value, axes: Value, axis: int) -> Value:
    shape = (*value.shape[:axis], *(1 for _ in value.shape[axis:]))
    made = step.values.new(f"{step.outputs[0]};mean", shape, "float32")
    step.emit(Op.MEAN, 1, [value, axes], [made], options("ReducerOptions", keepDims=True))
    return made


def _like(step: Step, value: Value, what: str) -> Value:
    return step.values.new(f"{step.outputs[0]};{what}", value.shape, "float32")


def _times() -> tuple[int, object]:
    return options("MulOptions")
