"""Corners of ops: forms that only one runtime reads rightly, and what has to be refused."""

from typing import Any

import flatbuffers
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from tests.partitioner.tflite.graphs import (
    CLOSE,
    Array,
    Tiny,
    compared,
    operators,
    relative,
    tensors,
)

from isthmus_partitioner.tflite import Lowered, NotLoweredError, Twin, lower, verify
from isthmus_partitioner.tflite.schema import schema

PICTURE = (1, 4, 6, 5)


def real(
    tiny: Tiny, shape: tuple[int, ...] = PICTURE, outputs: tuple[str, ...] = ("y",)
) -> onnx.ModelProto:
    return tiny.model({"x": ("float32", shape)}, dict.fromkeys(outputs, "float32"))


def versions(lowered: Lowered) -> dict[int, int]:
    """Of each of the file's operators."""
    model = schema.ModelT.InitFromPackedBuf(lowered.data)
    return {code.builtinCode: code.version for code in model.operatorCodes}


def value_of(lowered: Lowered, name: str) -> Array:
    """A constant int32 of the file."""
    buffers = schema.ModelT.InitFromPackedBuf(lowered.data).buffers
    return np.asarray(buffers[tensors(lowered)[name].buffer].data, np.uint8).view(np.int32)


def packed(model: Any) -> bytes:
    """The bytes of a file that was unpacked."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1), (4, 1, 1)])
def test_a_slope_is_written_for_every_channel(shape: tuple[int, ...]) -> None:
    """A delegate of tflite-runtime reads one for each, whatever the shape says."""
    tiny = Tiny()
    tiny.op("Conv", ["x", tiny.weights("w", 4, 4, 1, 1)], "conv")
    tiny.op("PRelu", ["conv", tiny.fixed("slope", np.full(shape, 0.3))], "y")
    lowered, difference = compared(real(tiny))
    assert tensors(lowered)["slope"].shape[-1] == 4
    assert difference.relative < CLOSE


@pytest.mark.parametrize("shape", [(7,), (3, 7), (1, 4, 6, 7)])
def test_a_shared_slope_of_any_rank_is_written_along_the_last_dimension(
    shape: tuple[int, ...],
) -> None:
    tiny = Tiny()
    tiny.op("PRelu", ["x", tiny.fixed("slope", [0.3])], "y")
    lowered, difference = compared(real(tiny, shape))
    assert tensors(lowered)["slope"].shape[-1] == 7
    assert difference.relative < CLOSE


def test_a_slope_for_each_item_is_refused() -> None:
    tiny = Tiny()
    tiny.op("PRelu", ["x", tiny.weights("slope", 4, 1)], "y")
    with pytest.raises(NotLoweredError, match=r"'y' \(PRelu\): a slope of \[4, 1\] differs"):
        lower(real(tiny, (4, 3)))


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1]])
def test_a_transposed_conv_has_as_many_items_as_it_reads(pads: list[int]) -> None:
    """tflite-runtime takes the stated number and writes beyond what it took."""
    tiny = Tiny()
    tiny.op("Reshape", ["x", tiny.fixed("sizes", [2, 4, 6, 8], np.int64)], "two")
    tiny.op("ConvTranspose", ["two", tiny.weights("w", 4, 5, 2, 2)], "y", strides=[2, 2], pads=pads)
    lowered, difference = compared(real(tiny, (1, 8, 6, 8)))
    assert value_of(lowered, "y;sizes").tolist() == [2, 12, 16, 5]
    whole = tensors(lowered)["y" if not any(pads) else "y;whole"]
    assert list(whole.shape) == [2, 12, 16, 5]
    assert difference.relative < CLOSE


def resize(sizes: dict[str, list[float]], **attributes: Any) -> onnx.ModelProto:
    tiny = Tiny(opset=18)
    names = ["x", "", tiny.fixed("scales", sizes["scales"]) if "scales" in sizes else ""]
    if "sizes" in sizes:
        names.append(tiny.fixed("sizes", sizes["sizes"], np.int64))
    tiny.op("Resize", names, "y", mode="linear", **attributes)
    return real(tiny)


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_a_resize_that_keeps_an_aspect_is_refused(policy: str) -> None:
    model = resize({"sizes": [13, 19]}, axes=[2, 3], keep_aspect_ratio_policy=policy)
    with pytest.raises(NotLoweredError, match=rf"'y' \(Resize\): .*{policy}"):
        lower(model)


@pytest.mark.parametrize("axes", [[2, 3], [3, 2], [-1], [0, 3, 1, 2]])
def test_scales_belong_to_the_named_axes(axes: list[int]) -> None:
    by = {0: 1.0, 1: 1.0, 2: 2.0, 3: 3.0}
    scales = [by[axis % 4] for axis in axes]
    assert relative(resize({"scales": scales}, axes=axes)) < CLOSE


def test_a_bias_for_each_row_is_refused() -> None:
    tiny = Tiny()
    tiny.op("Gemm", ["x", tiny.weights("w", 5, 4), tiny.weights("c", 4, 1)], "y")
    with pytest.raises(NotLoweredError, match=r"a bias of \[4, 1\]"):
        lower(real(tiny, (4, 5)))


@pytest.mark.parametrize("shape", [(), (1,), (4,), (1, 4), (1, 1)])
def test_a_bias_for_each_column_is_added(shape: tuple[int, ...]) -> None:
    tiny = Tiny()
    tiny.op("Gemm", ["x", tiny.weights("w", 5, 4), tiny.fixed("c", np.ones(shape))], "y")
    assert relative(real(tiny, (4, 5))) < CLOSE


def test_a_constant_with_a_step_per_channel_is_joined_as_reals() -> None:
    tiny = Tiny()
    fixed = tiny.integer_weights("c", *PICTURE, axis=1)
    tiny.op("Concat", [tiny.dequantised("x", 0.02, 110), fixed], "y", axis=1)
    tiny.quantised("y", 0.02, 110)
    _, difference = compared(tiny.model({"x": ("uint8", PICTURE)}, {"y.u8": "uint8"}))
    assert difference.steps <= 1


def test_integers_without_a_zero_point_are_of_their_own_type() -> None:
    tiny = Tiny()
    tiny.op("DequantizeLinear", ["x", tiny.fixed("step", 0.03)], "real")
    tiny.op("Relu", ["real"], "y")
    model = tiny.model({"x": ("int8", (1, 6))}, {"y": "float32"})
    feeds: list[dict[str, Array]] = [{"x": np.array([[-128, -1, 0, 1, 64, 127]], np.int8)}]
    assert verify(lower(model), model, feeds).relative < CLOSE


def test_a_quantiser_may_say_its_type_itself() -> None:
    tiny = Tiny(opset=21)
    step = tiny.fixed("step", 0.03)
    tiny.op("QuantizeLinear", ["x", step], "integers", output_dtype=TensorProto.INT8)
    tiny.op("DequantizeLinear", ["integers", step], "y")
    assert relative(real(tiny)) < CLOSE


def test_a_quantiser_to_another_width_is_refused() -> None:
    tiny = Tiny(opset=21)
    step = tiny.fixed("step", 0.03)
    tiny.op("QuantizeLinear", ["x", step], "integers", output_dtype=TensorProto.UINT16)
    tiny.op("DequantizeLinear", ["integers", step], "y")
    with pytest.raises(NotLoweredError, match="only one constant step for a whole tensor of 8"):
        lower(real(tiny))


def test_signed_answers_stay_signed() -> None:
    tiny = Tiny()
    grid = [tiny.fixed("step", 0.03), tiny.fixed("zero", 3, np.int8)]
    tiny.op("QuantizeLinear", ["x", *grid], "y")
    model = tiny.model({"x": ("float32", PICTURE)}, {"y": "int8"})
    _, difference = compared(model)
    assert difference.steps <= 1
    (answer,) = Twin(lower(model), model).run({"x": np.zeros(PICTURE, np.float32)})
    assert answer.dtype == np.int8


def test_integers_are_clipped_to_one_by_an_operator_that_runtimes_have() -> None:
    tiny = Tiny()
    limits = [tiny.fixed("low", -1.0), tiny.fixed("high", 1.0)]
    tiny.op("Clip", [tiny.dequantised("x", 0.02, 110), *limits], "y")
    tiny.quantised("y", 0.02, 110)
    lowered, difference = compared(tiny.model({"x": ("uint8", PICTURE)}, {"y.u8": "uint8"}))
    assert operators(lowered) == {"RELU_N1_TO_1": 1}
    assert set(versions(lowered).values()) == {1}
    assert difference.steps == 0


def test_the_error_function_ends_at_one() -> None:
    tiny = Tiny()
    tiny.op("Erf", ["x"], "y")
    model = real(tiny, (1, 9))
    far = np.array([[-np.inf, -1e38, -100, -4.2, -3.8, 3.8, 4.3, 3e38, np.inf]], np.float32)
    assert verify(lower(model), model, [{"x": far}]).relative < CLOSE


@pytest.mark.parametrize("before", ["Identity", "Neg"])
def test_a_clip_without_bounds_passes_its_tensor_on(before: str) -> None:
    tiny = Tiny()
    tiny.op("Clip", [tiny.op(before, ["x"], "before")], "y")
    assert relative(real(tiny)) < CLOSE


def test_a_bound_may_be_infinite() -> None:
    tiny = Tiny()
    limits = [tiny.fixed("low", np.inf), tiny.fixed("high", np.inf)]
    tiny.op("Clip", [tiny.op("Neg", ["x"], "before"), *limits], "y")
    assert relative(real(tiny)) == 0


def test_an_output_that_nothing_makes_is_refused_by_the_runtime() -> None:
    """LiteRT says so only when the output is read."""
    tiny = Tiny()
    tiny.op("Neg", ["x"], "y")
    model = real(tiny)
    lowered = lower(model)
    bare = schema.ModelT.InitFromPackedBuf(lowered.data)
    bare.subgraphs[0].operators = []
    twin = Twin(Lowered(packed(bare), lowered.channels_last), model)
    with pytest.raises(NotLoweredError, match="LiteRT cannot run the lowered graph"):
        twin.run({"x": np.zeros(PICTURE, np.float32)})


def test_a_step_for_each_block_of_weights_is_refused() -> None:
    tiny = Tiny(opset=21)
    tiny.fixed("i8", tiny.random.integers(-127, 128, (8, 6)), np.int8)
    tiny.fixed("steps", tiny.random.uniform(0.001, 0.01, (2, 6)))
    tiny.op("DequantizeLinear", ["i8", "steps"], "w", axis=0, block_size=4)
    tiny.op("MatMul", ["x", "w"], "y")
    with pytest.raises(NotLoweredError, match=r"'w' \(DequantizeLinear\): .* step for each block"):
        lower(real(tiny, (3, 8)))


@pytest.mark.parametrize(
    ("kind", "other", "outputs", "who"),
    [
        ("MatMul", "w", ("y",), r"^node 'y' \(MatMul\): this"),
        ("Add", "x", ("y", "w"), "^this"),
    ],
)
def test_a_graph_that_contradicts_itself_is_refused(
    kind: str, other: str, outputs: tuple[str, ...], who: str
) -> None:
    """Five steps for six columns, which shape inference lets pass."""
    tiny = Tiny()
    tiny.fixed("i8", tiny.random.integers(-127, 128, (8, 6)), np.int8)
    tiny.op("DequantizeLinear", ["i8", tiny.fixed("steps", np.ones(5))], "w", axis=1)
    tiny.op(kind, ["x", other], "y")
    with pytest.raises(NotLoweredError, match=rf"{who} is not as ONNX defines it \(.*broadcast"):
        lower(real(tiny, (3, 8), outputs))
