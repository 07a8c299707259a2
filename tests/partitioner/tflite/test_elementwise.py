"""Arithmetic, activations and means, as reals and in integers, against ONNX Runtime."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from tests.partitioner.tflite.graphs import (
    CLOSE,
    Tiny,
    compared,
    one_op,
    operators,
    relative,
    tensors,
)

from isthmus_partitioner.tflite import NotLoweredError, lower

PICTURE = (1, 4, 6, 5)
SHAPES = [(1, 4, 6, 5), (1, 4, 1, 1), (4, 1, 1), (5,), (), (1, 1, 6, 5)]


def behind_a_conv(tiny: Tiny) -> str:
    """A tensor that the file holds with channels last."""
    return tiny.op("Conv", ["x", tiny.weights("w", 4, 4, 1, 1)], "conv")


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("first", [True, False])
def test_arithmetic_with_a_constant_is_broadcast_as_in_onnx(
    kind: str, shape: tuple[int, ...], first: bool
) -> None:
    tiny = Tiny()
    fixed = tiny.fixed("c", 1.5 + tiny.random.random(shape))
    value = tiny.op("Sigmoid", [behind_a_conv(tiny)], "value") if first else behind_a_conv(tiny)
    tiny.op(kind, [fixed, value] if first and kind != "Div" else [value, fixed], "y")
    model = tiny.model({"x": ("float32", PICTURE)}, {"y": "float32"})
    lowered, difference = compared(model)
    assert difference.relative < CLOSE
    assert lowered.channels_last == ("x", "y")


@pytest.mark.parametrize("kind", ["Add", "Mul", "Max", "Min"])
def test_a_tensor_of_another_rank_is_broadcast_as_in_onnx(kind: str) -> None:
    tiny = Tiny()
    tiny.op(kind, [behind_a_conv(tiny), "z"], "y")
    model = tiny.model({"x": ("float32", PICTURE), "z": ("float32", (6, 5))}, {"y": "float32"})
    assert relative(model) < CLOSE


def test_channels_are_scaled_by_what_a_pool_says() -> None:
    tiny = Tiny()
    value = behind_a_conv(tiny)
    tiny.op("HardSigmoid", [tiny.op("GlobalAveragePool", [value], "pool")], "gate")
    tiny.op("Mul", [value, "gate"], "y")
    model = tiny.model({"x": ("float32", PICTURE)}, {"y": "float32"})
    lowered, difference = compared(model)
    assert "TRANSPOSE" not in operators(lowered)
    assert difference.relative < CLOSE


@pytest.mark.parametrize("limits", [(0.0, None), (0.0, 6.0), (-1.0, 1.0), (-0.5, 0.7), (None, 2.0)])
def test_a_clip_has_its_bounds(limits: tuple[float | None, float | None]) -> None:
    tiny = Tiny()
    names = ["" if v is None else tiny.fixed(f"v{i}", v) for i, v in enumerate(limits)]
    tiny.op("Mul", ["x", tiny.fixed("four", 4.0)], "wide")
    tiny.op("Sigmoid", [tiny.op("Clip", ["wide", *names], "clipped")], "y")
    assert relative(tiny.model({"x": ("float32", PICTURE)}, {"y": "float32"})) < CLOSE


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("Abs", {}), ("Elu", {}), ("Exp", {}), ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
        ("HardSwish", {}), ("LeakyRelu", {"alpha": 0.3}), ("Neg", {}), ("Relu", {}),
        ("Sigmoid", {}), ("Tanh", {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("shape", [PICTURE, (1, 7)])
def test_an_activation_is_the_same(
    kind: str, attributes: dict[str, Any], shape: tuple[int, ...]
) -> None:
    assert relative(one_op(kind, *shape, **attributes)) < 10 * CLOSE


def test_a_slope_may_differ_by_channel() -> None:
    tiny = Tiny()
    tiny.op("PRelu", [behind_a_conv(tiny), tiny.weights("slope", 4, 1, 1)], "y")
    assert relative(tiny.model({"x": ("float32", PICTURE)}, {"y": "float32"})) < CLOSE


@pytest.mark.parametrize("kind", ["ReduceMean", "ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("axes", [[2, 3], [1], [-1], [0, 2], None])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_dimensions_are_reduced_where_onnx_has_them(
    kind: str, axes: list[int] | None, keepdims: int
) -> None:
    tiny = Tiny()
    tiny.op(kind, [behind_a_conv(tiny)], "y", keepdims=keepdims, **({"axes": axes} if axes else {}))
    assert relative(tiny.model({"x": ("float32", PICTURE)}, {"y": "float32"})) < CLOSE


def integers(kind: str, *steps: float, **attributes: Any) -> onnx.ModelProto:
    """An op between quantised tensors; `steps` of the operands and of the answer."""
    tiny = Tiny()
    names = [tiny.dequantised(n, s, 110) for n, s in zip("ab", steps[:-1], strict=False)]
    tiny.op(kind, names, "y", **attributes)
    tiny.quantised("y", steps[-1], 120)
    return tiny.model(dict.fromkeys("ab"[: len(names)], ("uint8", PICTURE)), {"y.u8": "uint8"})


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul"])
def test_integers_of_arithmetic_are_near(kind: str) -> None:
    lowered, difference = compared(integers(kind, 0.0213, 0.0307, 0.0411))
    assert operators(lowered) == {kind.upper(): 1}
    assert difference.equal > 0.95
    assert difference.steps <= 1


@pytest.mark.parametrize("kind", ["Sigmoid", "Tanh", "LeakyRelu", "HardSwish", "Relu"])
def test_integers_of_an_activation_are_near(kind: str) -> None:
    lowered, difference = compared(integers(kind, 0.0307, 0.0113))
    assert "DEQUANTIZE" not in operators(lowered)
    assert difference.equal > 0.6
    assert difference.steps <= 1


@pytest.mark.parametrize(("kind", "step"), [("Sigmoid", 1 / 256), ("Tanh", 1 / 128)])
def test_integers_are_squashed_to_the_grid_that_the_kernels_demand(kind: str, step: float) -> None:
    lowered = lower(integers(kind, 0.0307, 0.0113))
    assert tensors(lowered)["y"].quantization.scale == [step]


@pytest.mark.parametrize("kind", ["Div", "Max", "Exp"])
def test_what_has_no_integer_kernel_is_computed_as_reals(kind: str) -> None:
    operands = 1 if kind == "Exp" else 2
    lowered, difference = compared(integers(kind, *[0.0113] * operands, 0.0207))
    assert operators(lowered)["DEQUANTIZE"] == operands
    assert difference.equal > 0.99


def test_a_constant_may_be_stored_as_integers() -> None:
    tiny = Tiny()
    tiny.fixed("c.u8", tiny.random.integers(0, 256, (4, 1, 1)), np.uint8)
    tiny.op("Mul", [tiny.dequantised("x", 0.02, 110), tiny.dequantised("c.u8", 0.01, 30)], "y")
    tiny.quantised("y", 0.03, 120)
    lowered, difference = compared(tiny.model({"x": ("uint8", PICTURE)}, {"y.u8": "uint8"}))
    assert operators(lowered) == {"MUL": 1}
    assert difference.equal > 0.95


def test_silu_of_integers_stays_integer() -> None:
    tiny = Tiny()
    source = tiny.dequantised("x", 0.04, 128)
    gate = tiny.op("Sigmoid", [source], "gate")
    tiny.op("Mul", [source, tiny.through(gate, 1 / 255, 0)], "y")
    tiny.quantised("y", 0.03, 20)
    lowered, difference = compared(tiny.model({"x": ("uint8", PICTURE)}, {"y.u8": "uint8"}))
    assert operators(lowered) == {"LOGISTIC": 1, "QUANTIZE": 1, "MUL": 1}
    assert difference.steps <= 2


@pytest.mark.parametrize(
    ("kind", "inputs", "why"),
    [
        ("Clip", ["x", "x0"], "its bounds are not constants"),
        ("Det", ["x"], "this op has no TFLite form"),
        ("Max", ["x", "x", "x"], "it has 3 inputs"),
    ],
)
def test_what_is_not_covered_is_refused_by_name(kind: str, inputs: Sequence[str], why: str) -> None:
    tiny = Tiny()
    tiny.op("ReduceMax", ["x"], "x0", keepdims=0)
    tiny.op(kind, inputs, "y")
    model = tiny.model({"x": ("float32", (1, 2, 3, 3))}, {"y": "float32"})
    with pytest.raises(NotLoweredError, match=rf"node 'y' \({kind}\): {why}"):
        lower(model)
