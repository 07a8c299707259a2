"""Borders around height and width."""

import numpy as np

from isthmus_partitioner.tflite.forms import Value
from isthmus_partitioner.tflite.schema import Op, options
from isthmus_partitioner.tflite.step import Step
from isthmus_partitioner.tflite.window import Placement

__all__ = ["bordered", "padded"]


def padded(step: Step, value: Value, placement: Placement, *, lowest: bool = False) -> Value:
    """A value that is channels last with the border of a window, of zeros or of the lowest number.

    Of integers on a grid without negatives, the lowest is zero.
    """
    if placement.before is None:
        return value
    borders = ((0, 0), *placement.before, (0, 0))
    if not lowest or (value.grid is not None and value.grid.zero_point == -128):
        return bordered(step, value, borders)
    number = np.full(1, np.finfo(np.float32).min, np.float32)
    if value.grid is not None:
        number = np.full(1, -128, np.int8)
    filling = step.fixed(f"{step.outputs[0]};lowest", number, value.grid)
    return bordered(step, value, borders, filling)


def bordered(
    step: Step,
    value: Value,
    borders: tuple[tuple[int, int], ...],
    filling: Value | None = None,
) -> Value:
    """A value with (before, behind) more along each dimension, of zeros or of `filling`."""
    name = f"{step.outputs[0]};border"
    shape = tuple(size + sum(more) for size, more in zip(value.shape, borders, strict=True))
    made = step.values.new(name, shape, value.data_type, value.layout, value.grid)
    counts = step.fixed(f"{name};sizes", np.asarray(borders, np.int32))
    version = 1 if value.grid is None else 2
    if filling is None:
        step.emit(Op.PAD, version, [value, counts], [made], options("PadOptions"))
    else:
        step.emit(Op.PADV2, version, [value, counts, filling], [made], options("PadV2Options"))
    return made
