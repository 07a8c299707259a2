"""Convolutions and pools, as reals and in integers, against ONNX Runtime."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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

PICTURE = (1, 4, 9, 8)
WINDOWS = st.fixed_dictionaries(
    {
        "kernel": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "strides": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "pads": st.tuples(*[st.integers(0, 2)] * 4),
        "dilations": st.sampled_from([(1, 1), (2, 1), (2, 2)]),
    }
)


def conv(
    kernel: tuple[int, int] = (3, 3), out: int = 6, group: int = 1, **attributes: object
) -> onnx.ModelProto:
    tiny = Tiny()
    weights = tiny.weights("w", out, PICTURE[1] // group, *kernel)
    tiny.op("Conv", ["x", weights, tiny.weights("b", out)], "y", group=group, **attributes)
    return tiny.model({"x": ("float32", PICTURE)}, {"y": "float32"})


def integer_conv(
    group: int = 1, out: int = 6, behind: str = "", **attributes: object
) -> onnx.ModelProto:
    """uint8 -> Conv -> uint8, as the partitioner's heads are."""
    tiny = Tiny()
    weights = tiny.integer_weights("w", out, PICTURE[1] // group, 3, 3)
    tiny.fixed("b", tiny.random.standard_normal(out))
    made = tiny.op(
        "Conv", [tiny.dequantised("x", 0.02, 120), weights, "b"], "c", group=group, **attributes
    )
    if behind:
        limits = [tiny.fixed("low", 0.0), tiny.fixed("high", 1.5)] if behind == "Clip" else []
        made = tiny.op(behind, [made, *limits], "a")
    tiny.quantised(made, 0.015, 100)
    return tiny.model({"x": ("uint8", PICTURE)}, {f"{made}.u8": "uint8"})


@settings(max_examples=40, deadline=None)
@given(window=WINDOWS, group=st.sampled_from([1, 4]))
def test_a_conv_of_any_window_is_the_same(window: dict[str, tuple[int, ...]], group: int) -> None:
    kernel = (window["kernel"][0], window["kernel"][1])
    model = conv(
        kernel,
        8,
        group,
        strides=window["strides"],
        pads=window["pads"],
        dilations=window["dilations"] if window["strides"] == (1, 1) else (1, 1),
    )
    assert relative(model) < CLOSE


@pytest.mark.parametrize("kind", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_pads_are_those_of_onnx(kind: str) -> None:
    assert relative(conv((2, 3), strides=(2, 2), auto_pad=kind)) < CLOSE


def test_a_conv_in_groups_is_the_same() -> None:
    assert relative(conv(out=6, group=2)) < CLOSE


def test_a_depthwise_conv_may_make_several_channels_of_each() -> None:
    lowered, difference = compared(conv(out=8, group=4, pads=(1, 1, 1, 1)))
    assert operators(lowered) == {"DEPTHWISE_CONV_2D": 1}
    assert difference.relative < CLOSE


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("behind", ["", "Relu", "Clip"])
def test_integers_of_a_conv_are_equal(group: int, behind: str) -> None:
    model = integer_conv(group, out=8, behind=behind, pads=(0, 1, 2, 1), strides=(2, 1))
    lowered, difference = compared(model)
    assert difference.equal > 0.99
    assert difference.steps <= 1
    assert "DEQUANTIZE" not in operators(lowered) or behind == "Clip"


def test_an_integer_conv_is_one_operator() -> None:
    lowered, _ = compared(integer_conv(behind="Relu", pads=(1, 1, 1, 1)))
    assert operators(lowered) == {"CONV_2D": 1}


def test_a_clip_that_the_grid_does_not_end_at_is_not_forgotten() -> None:
    tiny = Tiny()
    weights = tiny.integer_weights("w", 6, 4, 1, 1)
    tiny.op("Conv", [tiny.dequantised("x", 0.02, 120), weights], "c")
    tiny.op("Clip", ["c", tiny.fixed("low", -0.1), tiny.fixed("high", 0.2)], "a")
    tiny.quantised("a", 0.01, 128)
    _, difference = compared(tiny.model({"x": ("uint8", PICTURE)}, {"a.u8": "uint8"}))
    assert difference.equal > 0.99


def test_weights_as_integers_of_a_float_conv_become_reals() -> None:
    tiny = Tiny()
    tiny.op("Conv", ["x", tiny.integer_weights("w", 6, 4, 3, 3)], "y")
    model = tiny.model({"x": ("float32", PICTURE)}, {"y": "float32"})
    lowered, difference = compared(model)
    assert operators(lowered) == {"CONV_2D": 1}
    assert difference.relative < CLOSE


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 1, 1, 1), (0, 0, 1, 1), (0, 1, 2, 0)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_the_largest_of_a_window_is_never_a_border(
    pads: tuple[int, ...], strides: tuple[int, int]
) -> None:
    tiny = Tiny()
    tiny.op("Sub", ["x", tiny.fixed("high", 9.0)], "below zero")
    tiny.op("MaxPool", ["below zero"], "y", kernel_shape=[3, 3], pads=pads, strides=strides)
    assert relative(tiny.model({"x": ("float32", PICTURE)}, {"y": "float32"})) < CLOSE


@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize("zero_point", [0, 100])
def test_integers_of_a_max_pool_are_equal(ceil: int, zero_point: int) -> None:
    tiny = Tiny()
    source = tiny.dequantised("x", 0.02, zero_point)
    tiny.op(
        "MaxPool", [source], "y", kernel_shape=[2, 3], strides=[2, 2], pads=[0, 0, 1, 1],
        ceil_mode=ceil,
    )  # fmt: skip
    tiny.quantised("y", 0.02, zero_point)
    lowered, difference = compared(tiny.model({"x": ("uint8", PICTURE)}, {"y.u8": "uint8"}))
    assert difference.equal == 1.0
    assert "QUANTIZE" not in operators(lowered)


def test_windows_of_nothing_but_border_are_refused() -> None:
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 2, 2], "ceil_mode": 1}
    with pytest.raises(NotLoweredError, match="windows of nothing but border"):
        lower(one_op("MaxPool", *PICTURE, **window))


@pytest.mark.parametrize(
    ("pads", "counts"), [((0, 0, 0, 0), 0), ((1, 1, 1, 1), 0), ((1, 1, 1, 1), 1), ((0, 1, 2, 0), 1)]
)
def test_borders_count_in_a_mean_as_they_do_in_onnx(pads: tuple[int, ...], counts: int) -> None:
    model = one_op(
        "AveragePool", *PICTURE, kernel_shape=[3, 3], pads=pads, count_include_pad=counts
    )
    assert relative(model) < CLOSE


def test_borders_that_tflite_cannot_leave_out_are_refused() -> None:
    model = one_op("AveragePool", *PICTURE, kernel_shape=[3, 3], pads=[0, 0, 2, 2])
    with pytest.raises(NotLoweredError, match=r"'y' \(AveragePool\): TFLite cannot leave out"):
        lower(model)


@pytest.mark.parametrize("kind", ["GlobalAveragePool", "GlobalMaxPool"])
def test_a_pool_over_all_places_is_the_same(kind: str) -> None:
    assert relative(one_op(kind, *PICTURE)) < CLOSE


@pytest.mark.parametrize("step", [0.02, 0.004])
def test_integers_of_means_are_near(step: float) -> None:
    tiny = Tiny()
    source = tiny.dequantised("x", 0.02, 90)
    tiny.op("AveragePool", [source], "near", kernel_shape=[2, 2])
    tiny.op("GlobalAveragePool", [source], "far")
    tiny.quantised("near", step, 90)
    tiny.quantised("far", step, 90)
    model = tiny.model({"x": ("uint8", PICTURE)}, {"near.u8": "uint8", "far.u8": "uint8"})
    lowered, difference = compared(model)
    assert difference.steps <= max(1, round(0.02 / step))
    assert "DEQUANTIZE" not in operators(lowered)


@pytest.mark.parametrize(
    ("pads", "more"),
    [
        ((0, 0, 0, 0), (0, 0)),
        ((1, 1, 1, 1), (0, 0)),
        ((1, 1, 1, 1), (1, 1)),
        ((0, 1, 2, 0), (1, 0)),
    ],
)
@pytest.mark.parametrize("kernel", [(2, 2), (3, 4)])
def test_a_transposed_conv_is_the_same(
    kernel: tuple[int, int], pads: tuple[int, ...], more: tuple[int, int]
) -> None:
    tiny = Tiny()
    inputs = ["x", tiny.weights("w", 4, 5, *kernel), tiny.weights("b", 5)]
    tiny.op("ConvTranspose", inputs, "y", strides=[2, 2], pads=pads, output_padding=more)
    assert relative(tiny.model({"x": ("float32", PICTURE)}, {"y": "float32"})) < CLOSE


def test_a_conv_over_one_dimension_is_refused() -> None:
    tiny = Tiny()
    tiny.op("Conv", ["x", tiny.weights("w", 3, 4, 3)], "y")
    model = tiny.model({"x": ("float32", (1, 4, 9))}, {"y": "float32"})
    with pytest.raises(NotLoweredError, match=r"'y' \(Conv\): a window over 1 dimensions"):
        lower(model)


def test_a_computed_kernel_is_refused() -> None:
    tiny = Tiny()
    tiny.op("Conv", ["x", "w"], "y")
    model = tiny.model(
        {"x": ("float32", PICTURE), "w": ("float32", (3, 4, 1, 1))}, {"y": "float32"}
    )
    with pytest.raises(NotLoweredError, match="its kernel is not a constant"):
        lower(model)


def test_a_bias_of_integers_is_on_the_grid_of_input_and_kernel() -> None:
    model = integer_conv()
    known = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    lowered, _ = compared(model)

    steps = np.asarray(tensors(lowered)["c;bias"].quantization.scale)
    np.testing.assert_allclose(steps, np.float32(0.02) * known["w.steps"], rtol=1e-6)
