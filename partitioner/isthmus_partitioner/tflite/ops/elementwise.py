"""Add, Sub, Mul, Div, Min, Max and what is made of them: with constants, and broadcast."""

import numpy as np

from isthmus_partitioner.tflite.forms import AnyArray, ChannelGrid, Grid, Layout, Value, laid_out
from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Op, options
from isthmus_partitioner.tflite.step import Reads, Step

__all__ = ["operand", "same_rank", "whole_grids"]

_FUSING = {
    "Add": (Op.ADD, "AddOptions"),
    "Sub": (Op.SUB, "SubOptions"),
    "Mul": (Op.MUL, "MulOptions"),
    "Div": (Op.DIV, "DivOptions"),
}
_PLAIN = {
    "Max": (Op.MAXIMUM, "MaximumMinimumOptions"),
    "Min": (Op.MINIMUM, "MaximumMinimumOptions"),
    "Pow": (Op.POW, "PowOptions"),
}
_INTEGER = frozenset({"Add", "Sub", "Mul"})  # of which both runtimes have int8 kernels
_NUMBERS = ("float32", "int32", "int64")
_DIMENSIONS = 4


@lowers(*_FUSING, reads=Reads.SAME)
def fusing(step: Step) -> None:
    """Two operands, and maybe a Relu behind."""
    kind = step.node.op_type
    _require_numbers(step)
    can_integer = kind in _INTEGER and step.has_integers(*step.inputs)
    result = step.result(integer=can_integer and whole_grids(step), fuses=True)
    is_integer = result.grid is not None
    layout = same_rank(step, *step.inputs)
    operands = [operand(step, name, layout, integer=is_integer) for name in step.inputs]
    code, record = _FUSING[kind]
    out = step.make(result, layout)
    settings = options(record, fusedActivationFunction=result.activation)
    step.emit(code, 2 if is_integer else 1, operands, [out], settings)


@lowers(*_PLAIN, reads=Reads.SAME)
def plain(step: Step) -> None:
    """Two operands, as reals."""
    _require_numbers(step)
    if len(step.inputs) != 2:
        raise step.refused(f"it has {len(step.inputs)} inputs, not two")
    layout = same_rank(step, *step.inputs)
    operands = [operand(step, name, layout, integer=False) for name in step.inputs]
    code, record = _PLAIN[step.node.op_type]
    out = step.make(step.result(integer=False), layout)
    step.emit(code, 1, operands, [out], options(record))


def same_rank(step: Step, *names: str) -> Layout:
    """The layout for an elementwise op whose answer has the rank of its largest operand."""
    if any(len(step.shape(name)) > _DIMENSIONS for name in names):
        return Layout.PLAIN
    return step.layout(*names)


def operand(step: Step, name: str, layout: Layout, *, integer: bool) -> Value:
    """An operand in a layout; constants are broadcast to four dimensions where it needs that."""
    if not step.source.is_constant(name):
        return step.integer(name, layout) if integer else step.real(name, layout)
    stored = step.stored(name) if integer else None
    array, grid = stored if stored is not None else (step.source.constant(name), None)
    return step.fixed(name, _placed(array, layout), grid)


def _placed(array: AnyArray, layout: Layout) -> AnyArray:
    if layout is Layout.PLAIN or array.ndim > _DIMENSIONS:
        return array if array.ndim else array.reshape(1)
    shape = (1,) * (_DIMENSIONS - array.ndim) + array.shape
    last = np.ascontiguousarray(array.reshape(shape).transpose(0, 2, 3, 1))
    assert last.shape == laid_out(shape, layout)
    return last


def whole_grids(step: Step) -> bool:
    """Whether no operand is a constant with a step per channel."""
    found = [step.stored(name) for name in step.inputs if step.source.is_constant(name)]
    grids: list[Grid | ChannelGrid] = [known[1] for known in found if known is not None]
    return all(isinstance(grid, Grid) for grid in grids)


def _require_numbers(step: Step) -> None:
    kind = step.source.data_type(step.inputs[0])
    if kind not in _NUMBERS:
        raise step.refused(f"it computes with {kind}")
