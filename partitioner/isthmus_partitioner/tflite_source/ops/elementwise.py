"""Operations on each element by itself: they keep the layout of what they read."""

from collections.abc import Mapping, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from onnx import helper

from isthmus_partitioner.tflite_source.canvas import TO_FIRST, Layout
from isthmus_partitioner.tflite_source.drawing import Draw
from isthmus_partitioner.tflite_source.scope import Scope

__all__ = ["ELEMENTWISE", "alike"]

_PLAIN = {
    "ABS": "Abs", "CEIL": "Ceil", "COS": "Cos", "EXP": "Exp", "FLOOR": "Floor",
    "HARD_SWISH": "HardSwish", "LOG": "Log", "LOGICAL_NOT": "Not", "LOGISTIC": "Sigmoid",
    "NEG": "Neg", "RELU": "Relu", "ROUND": "Round", "SIGN": "Sign", "SIN": "Sin", "SQRT": "Sqrt",
    "TANH": "Tanh",
    "EQUAL": "Equal", "GREATER": "Greater", "GREATER_EQUAL": "GreaterOrEqual", "LESS": "Less",
    "LESS_EQUAL": "LessOrEqual", "LOGICAL_AND": "And", "LOGICAL_OR": "Or", "MAXIMUM": "Max",
    "MINIMUM": "Min", "POW": "Pow", "PRELU": "PRelu", "SELECT_V2": "Where",
}  # fmt: skip
_FUSING = {
    "ADD": ("Add", schema.AddOptionsT),
    "DIV": ("Div", schema.DivOptionsT),
    "MUL": ("Mul", schema.MulOptionsT),
    "SUB": ("Sub", schema.SubOptionsT),
}
_BOUNDED = {"RELU6": (0.0, 6.0), "RELU_0_TO_1": (0.0, 1.0), "RELU_N1_TO_1": (-1.0, 1.0)}


def alike(scope: Scope, numbers: Sequence[int] | None = None) -> tuple[list[str], Layout]:
    """The inputs in one layout, which the output has too, for an operation that broadcasts.

    Channels first only if the output is an image and an input is there in that layout alone.
    """
    numbers = range(len(scope.op.inputs)) if numbers is None else numbers
    wants_first = scope.output().rank == 4 and any(scope.layout(n) == "first" for n in numbers)
    layout: Layout = "first" if wants_first and all(_movable(scope, n) for n in numbers) else "file"
    return [_broadcast(scope, number, layout) for number in numbers], layout


def _movable(scope: Scope, number: int) -> bool:
    return scope.input(number).rank in {0, 4} or scope.constant(number) is not None


def _broadcast(scope: Scope, number: int, layout: Layout) -> str:
    """A constant of a lower rank is aligned at the last axis, as broadcasting does it."""
    rank = scope.input(number).rank
    if layout == "file" or rank == 0:
        return scope.take(number)
    value = scope.constant(number)
    if value is None:
        return scope.take(number, "first")
    if value.size == 1:
        return scope.canvas.constant(value.reshape(()), f"{scope.output().name}/value")
    value = value.reshape([1] * (4 - value.ndim) + list(value.shape)).transpose(TO_FIRST)
    return scope.canvas.constant(value, f"{scope.output().name}/value")


def _plain(scope: Scope) -> None:
    names, layout = alike(scope)
    scope.give(_PLAIN[scope.op.kind], names, layout)


def _fusing(scope: Scope) -> None:
    kind, options = _FUSING[scope.op.kind]
    names, layout = alike(scope)
    scope.give(kind, names, layout, fused=scope.options(options).fusedActivationFunction)


def _bounded(scope: Scope) -> None:
    names, layout = alike(scope)
    low, high = _BOUNDED[scope.op.kind]
    scope.give("Clip", [*names, scope.number(low), scope.number(high)], layout)


def _not_equal(scope: Scope) -> None:
    names, layout = alike(scope)
    scope.give("Not", [scope.node("Equal", names)], layout)


def _leaky(scope: Scope) -> None:
    names, layout = alike(scope)
    alpha = float(scope.options(schema.LeakyReluOptionsT).alpha)
    scope.give("LeakyRelu", names, layout, alpha=alpha)


def _elu(scope: Scope) -> None:
    names, layout = alike(scope)
    scope.give("Elu", names, layout, alpha=1.0)


def _gelu(scope: Scope) -> None:
    """0.5 x (1 + erf(x / sqrt 2)), or tanh(sqrt(2/pi) (x + 0.044715 x^3)) in place of erf."""
    (x,), layout = alike(scope)
    if scope.options(schema.GeluOptionsT).approximate:
        cube = scope.node("Mul", [scope.node("Mul", [x, x]), x])
        bent = scope.node("Add", [x, scope.node("Mul", [cube, scope.number(0.044715)])])
        step = scope.node("Tanh", [scope.node("Mul", [bent, scope.number(np.sqrt(2 / np.pi))])])
    else:
        step = scope.node("Erf", [scope.node("Mul", [x, scope.number(np.sqrt(0.5))])])
    half = scope.node("Mul", [x, scope.number(0.5)])
    scope.give("Mul", [half, scope.node("Add", [step, scope.number(1)])], layout)


def _square(scope: Scope) -> None:
    (x,), layout = alike(scope)
    scope.give("Mul", [x, x], layout)


def _squared_difference(scope: Scope) -> None:
    names, layout = alike(scope)
    difference = scope.node("Sub", names)
    scope.give("Mul", [difference, difference], layout)


def _reciprocal_root(scope: Scope) -> None:
    names, layout = alike(scope)
    scope.give("Reciprocal", [scope.node("Sqrt", names)], layout)


def _cast(scope: Scope) -> None:
    names, layout = alike(scope)
    if scope.input().is_quantised or scope.output().is_quantised:
        raise scope.wrong("casts a quantised tensor")
    element = helper.np_dtype_to_tensor_dtype(scope.output().kind)
    scope.give("Cast", names, layout, to=element)


def _number_form(scope: Scope) -> None:
    """Quantise, dequantise, make dense: both sides are the same real numbers, but for rounding."""
    is_constant = scope.canvas.shape_of(scope.index(0)) is not None
    if scope.op.kind != "QUANTIZE" and is_constant:
        scope.canvas.fold(scope.op.outputs[0], scope.index(0))
        return
    names, layout = alike(scope)
    scope.give("Identity", names, layout)


ELEMENTWISE: Mapping[str, Draw] = {
    **dict.fromkeys(_PLAIN, _plain),
    **dict.fromkeys(_FUSING, _fusing),
    **dict.fromkeys(_BOUNDED, _bounded),
    "CAST": _cast,
    "DENSIFY": _number_form,
    "DEQUANTIZE": _number_form,
    "ELU": _elu,
    "GELU": _gelu,
    "LEAKY_RELU": _leaky,
    "NOT_EQUAL": _not_equal,
    "QUANTIZE": _number_form,
    "RSQRT": _reciprocal_root,
    "SQUARE": _square,
    "SQUARED_DIFFERENCE": _squared_difference,
}
