"""Comparisons, logic and Where: what masks are made of, and how they are used."""

from isthmus_partitioner.tflite.forms import Value
from isthmus_partitioner.tflite.ops.elementwise import operand, same_rank
from isthmus_partitioner.tflite.registry import lowers
from isthmus_partitioner.tflite.schema import Op, options
from isthmus_partitioner.tflite.step import Reads, Step

__all__: list[str] = []

_COMPARING = {
    "Equal": (Op.EQUAL, "EqualOptions"),
    "Greater": (Op.GREATER, "GreaterOptions"),
    "GreaterOrEqual": (Op.GREATER_EQUAL, "GreaterEqualOptions"),
    "Less": (Op.LESS, "LessOptions"),
    "LessOrEqual": (Op.LESS_EQUAL, "LessEqualOptions"),
}
_JOINING = {
    "And": (Op.LOGICAL_AND, "LogicalAndOptions"),
    "Or": (Op.LOGICAL_OR, "LogicalOrOptions"),
}
_NUMBERS = ("float32", "int32", "int64")
_MOST_DIMENSIONS = 4  # of what tflite-runtime broadcasts in these


@lowers(*_COMPARING, *_JOINING, reads=Reads.SAME)
def pairwise(step: Step) -> None:
    """A mask of two tensors."""
    kind = step.node.op_type
    code, record = (_COMPARING | _JOINING)[kind]
    allowed = ("bool",) if kind in _JOINING else _NUMBERS
    _require(step, step.inputs, allowed)
    layout = same_rank(step, *step.inputs)
    operands = [operand(step, name, layout, integer=False) for name in step.inputs]
    out = step.make(step.result(integer=False), layout)
    step.emit(code, 1, operands, [out], options(record))


@lowers("Not", reads=Reads.SAME)
def negation(step: Step) -> None:
    """The other half of a mask."""
    layout = step.layout(step.inputs[0])
    value = step.real(step.inputs[0], layout)
    out = step.make(step.result(integer=False), layout)
    step.emit(Op.LOGICAL_NOT, 1, [value], [out], options("LogicalNotOptions"))


@lowers("IsNaN", reads=Reads.SAME)
def is_nan(step: Step) -> None:
    """What is not equal to itself."""
    _require(step, step.inputs, ("float32",))
    layout = step.layout(step.inputs[0])
    value = step.real(step.inputs[0], layout)
    out = step.make(step.result(integer=False), layout)
    step.emit(Op.NOT_EQUAL, 1, [value, value], [out], options("NotEqualOptions"))


@lowers("Where")
def where(step: Step) -> None:
    """Numbers of one tensor where a mask says so, else of another; as reals."""
    _require(step, step.inputs[1:], _NUMBERS)
    sides = [_side(step, name) for name in step.inputs]
    out = step.make(step.result(integer=False))
    step.emit(Op.SELECT_V2, 1, sides, [out], options("SelectV2Options"))


def _side(step: Step, name: str) -> Value:
    if not step.source.is_constant(name):
        return step.real(name)
    array = step.source.constant(name)
    return step.fixed(name, array if array.ndim else array.reshape(1))


def _require(step: Step, names: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    kinds = {step.source.data_type(name) for name in names}
    if not kinds <= set(allowed):
        raise step.refused(f"it computes with {', '.join(sorted(kinds - set(allowed)))}")
    shapes = {step.shape(name) for name in step.inputs}
    if len(shapes) > 1 and max(len(shape) for shape in shapes) > _MOST_DIMENSIONS:
        raise step.refused(f"broadcasting more than {_MOST_DIMENSIONS} dimensions is not covered")
