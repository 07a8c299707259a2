"""Where channels are last, what inputs and outputs are, and in which form tensors are held."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.partitioner.tflite.graphs import CLOSE, Tiny, compared, items, operators, tensors

from isthmus_partitioner.tflite import Difference, NotLoweredError, Twin, lower, verify
from isthmus_partitioner.tflite.schema import TensorType

PICTURE = (1, 4, 6, 5)


def conv(tiny: Tiny, source: str, name: str) -> str:
    return tiny.op("Conv", [source, tiny.weights(f"{name}.w", 4, 4, 3, 3)], name, pads=[1] * 4)


def test_inputs_and_outputs_of_convs_are_channels_last() -> None:
    tiny = Tiny()
    tiny.op("Add", [conv(tiny, tiny.op("Relu", ["x"], "above"), "c"), "z"], "y")
    model = tiny.model(dict.fromkeys("xz", ("float32", PICTURE)), {"y": "float32"})
    lowered, difference = compared(model)
    assert lowered.channels_last == ("x", "z", "y")
    assert "TRANSPOSE" not in operators(lowered)
    assert difference.relative < CLOSE


def test_a_tensor_of_four_dimensions_that_no_conv_touches_stays_as_it_is() -> None:
    tiny = Tiny()
    tiny.op("Sigmoid", ["x"], "y")
    assert lower(tiny.model({"x": ("float32", PICTURE)}, {"y": "float32"})).channels_last == ()


def test_a_picture_in_pixels_is_not_transposed() -> None:
    tiny = Tiny()
    tiny.op("Cast", ["picture"], "real", to=onnx.TensorProto.FLOAT)
    tiny.op("Transpose", ["real"], "planes", perm=[0, 3, 1, 2])
    tiny.op("Transpose", [conv(tiny, "planes", "c")], "y", perm=[0, 2, 3, 1])
    model = tiny.model({"picture": ("uint8", ("N", 6, 5, 4))}, {"y": "float32"})
    lowered, difference = compared(model)
    assert operators(lowered) == {"CAST": 1, "CONV_2D": 1}
    assert lowered.channels_last == ()
    assert tensors(lowered)["picture"].type == TensorType.UINT8
    assert difference.relative < CLOSE


def test_a_tensor_is_transposed_once_for_all_its_readers() -> None:
    tiny = Tiny()
    made = conv(tiny, "x", "c")
    for name in ("a", "b"):
        tiny.op("Flatten", [made], name)
    model = tiny.model({"x": ("float32", PICTURE)}, {"a": "float32", "b": "float32"})
    lowered, difference = compared(model)
    assert operators(lowered)["TRANSPOSE"] == 1
    assert difference.relative < CLOSE


def test_integers_become_reals_once_for_all_their_readers() -> None:
    tiny = Tiny()
    source = tiny.dequantised("x", 0.02, 110)
    for kind in ("Exp", "Abs"):
        tiny.op(kind, [source], kind)
    model = tiny.model({"x": ("uint8", PICTURE)}, {"Exp": "float32", "Abs": "float32"})
    lowered, difference = compared(model)
    assert operators(lowered) == {"DEQUANTIZE": 1, "EXP": 1, "ABS": 1}
    assert difference.relative < CLOSE


def test_quantised_tensors_keep_their_steps_and_lose_128() -> None:
    tiny = Tiny()
    tiny.op("Relu", [tiny.dequantised("x", 0.02, 110)], "r")
    tiny.quantised("r", 0.03, 7)
    lowered, _ = compared(tiny.model({"x": ("uint8", PICTURE)}, {"r.u8": "uint8"}))
    grids = {name: tensors(lowered)[name] for name in ("x", "r.u8")}
    assert {tensor.type for tensor in grids.values()} == {TensorType.INT8}
    found = {n: (t.quantization.scale[0], t.quantization.zeroPoint[0]) for n, t in grids.items()}
    assert found == {
        "x": (pytest.approx(0.02), 110 - 128),
        "r.u8": (pytest.approx(0.03), 7 - 128),
    }


def mixed() -> Tiny:
    """A float conv, an integer conv, and a float conv again."""
    tiny = Tiny()
    first = tiny.through(conv(tiny, "x", "first"), 0.031, 121)
    inner = tiny.op("Conv", [first, tiny.integer_weights("w", 4, 4, 1, 1)], "inner")
    conv(tiny, tiny.through(inner, 0.027, 133), "last")
    return tiny


def test_floats_become_integers_and_floats_again() -> None:
    lowered, difference = compared(mixed().model({"x": ("float32", PICTURE)}, {"last": "float32"}))
    assert operators(lowered) == {"CONV_2D": 3, "QUANTIZE": 1, "DEQUANTIZE": 1}
    assert difference.relative < 0.01


def test_an_output_may_be_read_further_on() -> None:
    outputs = {"last": "float32", "first.u8": "uint8", "inner.u8": "uint8"}
    model = mixed().model({"x": ("float32", PICTURE)}, outputs)
    lowered, difference = compared(model)
    assert lowered.channels_last == ("x", "last", "first.u8", "inner.u8")
    assert difference.equal > 0.99
    assert difference.relative < 0.01


def test_an_output_may_be_reals_that_are_quantised_behind() -> None:
    tiny = Tiny()
    tiny.op("Conv", [tiny.dequantised("x", 0.02, 110), tiny.integer_weights("w", 4, 4, 1, 1)], "c")
    tiny.quantised("c", 0.03, 120)
    model = tiny.model({"x": ("uint8", PICTURE)}, {"c": "float32", "c.u8": "uint8"})
    _, difference = compared(model)
    assert difference.relative < CLOSE
    assert difference.equal > 0.99


def test_an_output_may_be_another_by_a_second_name_or_an_input() -> None:
    tiny = Tiny()
    tiny.op("Relu", ["x"], "a")
    tiny.op("Identity", ["a"], "b")
    tiny.op("Identity", ["x"], "c")
    model = tiny.model({"x": ("float32", PICTURE)}, dict.fromkeys("bac", "float32"))
    lowered, difference = compared(model)
    assert {"x", "a", "b", "c"} <= tensors(lowered).keys()
    assert difference == Difference()


def test_an_answer_of_integers_that_onnx_has_as_reals_is_dequantised() -> None:
    tiny = Tiny()
    tiny.op("Relu", [tiny.dequantised("x", 0.02, 110)], "r")
    model = tiny.model({"x": ("uint8", PICTURE)}, {tiny.through("r", 0.02, 0): "float32"})
    lowered, difference = compared(model)
    assert operators(lowered)["DEQUANTIZE"] == 1
    assert difference.relative < CLOSE


def test_inputs_and_outputs_keep_their_order() -> None:
    tiny = Tiny()
    tiny.op("Sub", ["b", "a"], "y")
    tiny.op("Relu", ["a"], "z")
    model = tiny.model(dict.fromkeys("cab", ("float32", (1, 3))), {"z": "float32", "y": "float32"})
    _, difference = compared(model)
    assert difference.relative < CLOSE


def test_the_same_graph_gives_the_same_bytes() -> None:
    model = mixed().model({"x": ("float32", PICTURE)}, {"last": "float32"})
    again = onnx.ModelProto.FromString(model.SerializeToString())
    assert lower(model) == lower(again)


def test_constants_are_stored_once_and_where_they_can_be_mapped() -> None:
    tiny = Tiny()
    weights = tiny.fixed("w", tiny.random.standard_normal((4, 4, 3, 3)))
    for name, source in (("a", "x"), ("b", "a")):
        tiny.op("Conv", [source, weights], name, pads=[1] * 4)
    model = tiny.model({"x": ("float32", PICTURE)}, {"b": "float32"})
    content = np.asarray(onnx.numpy_helper.to_array(tiny.constants[0]).transpose(0, 2, 3, 1))
    data = lower(model).data
    assert data.count(content.tobytes()) == 1
    assert data.index(content.tobytes()) % 16 == 0


def test_weights_may_lie_in_a_file_of_their_own(tmp_path: Path) -> None:
    model = mixed().model({"x": ("float32", PICTURE)}, {"last": "float32"})
    tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    (tmp_path / "weights").write_bytes(tensor.raw_data)
    apart = onnx.ModelProto.FromString(model.SerializeToString())
    moved = next(t for t in apart.graph.initializer if t.name == tensor.name)
    moved.ClearField("raw_data")
    moved.data_location = onnx.TensorProto.EXTERNAL
    moved.external_data.add(key="location", value="weights")
    assert lower(apart, tmp_path) == lower(model)
    with pytest.raises(NotLoweredError, match=f"weight '{tensor.name}' lies in a file beside"):
        lower(apart)


def test_integers_of_two_grids_in_one_input_are_refused() -> None:
    tiny = Tiny()
    tiny.op("Relu", [tiny.dequantised("x", 0.02, 110)], "a")
    other = tiny.op("DequantizeLinear", ["x", tiny.fixed("s", 0.5)], "other")
    tiny.op("Relu", [other], "b")
    model = tiny.model({"x": ("uint8", (1, 3))}, {"a": "float32", "b": "float32"})
    with pytest.raises(NotLoweredError, match="input 'x': its quantisation is not one step"):
        lower(model)


def test_integers_that_are_read_on_another_grid_are_refused() -> None:
    tiny = Tiny()
    tiny.op("Relu", [tiny.dequantised(tiny.quantised("x", 0.02, 110), 0.03, 110)], "y")
    model = tiny.model({"x": ("float32", (1, 3))}, {"y": "float32"})
    with pytest.raises(NotLoweredError, match="integers that no quantiser of the same step made"):
        lower(model)


def test_integers_that_are_read_as_numbers_are_refused() -> None:
    tiny = Tiny()
    tiny.quantised("x", 0.02, 110)
    tiny.op("Cast", ["x.u8"], "y", to=onnx.TensorProto.INT32)
    model = tiny.model({"x": ("float32", (1, 3))}, {"y": "int32"})
    with pytest.raises(NotLoweredError, match=r"'x.u8': its integers are read as if"):
        lower(model)


def test_unknown_sizes_are_refused() -> None:
    tiny = Tiny()
    tiny.op("Relu", ["x"], "y")
    model = tiny.model({"x": ("float32", ("N", 3, "height", 5))}, {"y": "float32"})
    with pytest.raises(NotLoweredError, match="'x': its sizes are not known"):
        lower(model)


def test_an_op_of_another_domain_is_refused() -> None:
    tiny = Tiny()
    tiny.op("Relu", ["x"], "y", domain="custom")
    model = tiny.model({"x": ("float32", (1, 3))}, {"y": "float32"})
    model.opset_import.append(onnx.helper.make_opsetid("custom", 1))
    with pytest.raises(NotLoweredError):
        lower(model)


def test_verification_notices_another_grid() -> None:
    def model(step: float) -> onnx.ModelProto:
        tiny = Tiny()
        tiny.op("Relu", [tiny.dequantised("x", 0.02, 110)], "r")
        tiny.quantised("r", step, 0)
        return tiny.model({"x": ("uint8", PICTURE)}, {"r.u8": "uint8"})

    found = verify(lower(model(0.02)), model(0.03), items(model(0.03)))
    assert found.equal < 0.7
    assert found.steps > 40
    assert found.mean_steps > 1


def test_verification_notices_other_reals() -> None:
    def model(number: float) -> onnx.ModelProto:
        tiny = Tiny()
        tiny.op("Mul", ["x", tiny.fixed("c", number)], "y")
        return tiny.model({"x": ("float32", (1, 3))}, {"y": "float32"})

    found = verify(lower(model(2.0)), model(1.0), items(model(1.0)))
    assert found.relative == pytest.approx(1.0)


def test_a_twin_takes_and_gives_what_onnx_runtime_does() -> None:
    tiny = Tiny()
    tiny.op("MaxPool", [tiny.dequantised("x", 0.02, 110)], "y", kernel_shape=[2, 2])
    tiny.quantised("y", 0.02, 110)
    model = tiny.model({"x": ("uint8", PICTURE)}, {"y.u8": "uint8"})
    (made,) = Twin(lower(model), model).run(items(model, 1)[0])
    assert (made.dtype.name, made.shape) == ("uint8", (1, 4, 5, 4))
