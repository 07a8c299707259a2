"""Ops that move elements, and resizes, against ONNX Runtime."""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.partitioner.tflite.graphs import CLOSE, Tiny, compared, one_op, operators, relative

from isthmus_partitioner.tflite import NotLoweredError, lower

PICTURE = (1, 4, 6, 5)
MODES = [
    ("nearest", "asymmetric", "floor"),
    ("nearest", "half_pixel", "round_prefer_floor"),
    ("nearest", "half_pixel", "round_prefer_ceil"),
    ("linear", "asymmetric", "floor"),
    ("linear", "half_pixel", "floor"),
    ("linear", "align_corners", "floor"),
    ("linear", "pytorch_half_pixel", "floor"),
]


def last(tiny: Tiny) -> str:
    """A tensor that the file holds with channels last."""
    return tiny.op("Conv", ["x", tiny.weights("w", 4, 4, 1, 1)], "conv")


def real(tiny: Tiny, outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    return tiny.model({"x": ("float32", PICTURE)}, dict.fromkeys(outputs, "float32"))


def resize(mode: tuple[str, str, str], **sizes: list[float]) -> onnx.ModelProto:
    tiny = Tiny()
    names = ["x", "", tiny.fixed("scales", sizes["scales"]) if "scales" in sizes else ""]
    if "sizes" in sizes:
        names.append(tiny.fixed("sizes", sizes["sizes"], np.int64))
    kind, coordinates, rounding = mode
    tiny.op(
        "Resize", names, "y", mode=kind, coordinate_transformation_mode=coordinates,
        nearest_mode=rounding,
    )  # fmt: skip
    return real(tiny)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("factor", [2.0, 3.0])
def test_a_resize_by_a_whole_factor_is_the_same(mode: tuple[str, str, str], factor: float) -> None:
    assert relative(resize(mode, scales=[1, 1, factor, factor])) < CLOSE


@settings(max_examples=60, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    rounding=st.sampled_from(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]),
    height=st.integers(1, 13),
    width=st.integers(1, 13),
)
def test_a_resize_is_the_same_or_refused(
    mode: tuple[str, str, str], rounding: str, height: int, width: int
) -> None:
    model = resize((mode[0], mode[1], rounding), sizes=[1, 4, height, width])
    try:
        assert relative(model) < 5 * CLOSE
    except NotLoweredError as error:
        assert "'y' (Resize): TFLite has no" in str(error)  # noqa: PT017 - the other way it may end


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({"mode": "cubic"}, "mode 'cubic' is not covered"),
        ({"mode": "linear", "antialias": 1}, "antialias"),
        ({"coordinate_transformation_mode": "tf_crop_and_resize"}, "coordinates by"),
        ({"nearest_mode": "ceil", "coordinate_transformation_mode": "asymmetric"}, "TFLite has no"),
    ],
)
def test_a_resize_that_tflite_lacks_is_refused(attributes: dict[str, Any], why: str) -> None:
    tiny = Tiny(opset=18)
    tiny.op("Resize", ["x", "", tiny.fixed("scales", [1.0, 1, 2, 2])], "y", **attributes)
    with pytest.raises(NotLoweredError, match=rf"'y' \(Resize\): .*{why}"):
        lower(real(tiny))


def test_a_scale_that_is_no_quotient_of_the_sizes_is_refused() -> None:
    model = resize(("linear", "asymmetric", "floor"), scales=[1, 1, 1.55, 2.0])
    with pytest.raises(NotLoweredError, match="TFLite has no linear resize"):
        lower(model)


@pytest.mark.parametrize("mode", [MODES[0], MODES[4]])
def test_integers_are_resized_on_their_grid(mode: tuple[str, str, str]) -> None:
    tiny = Tiny()
    names = [tiny.dequantised("x", 0.02, 110), "", tiny.fixed("scales", [1.0, 1, 2, 2])]
    tiny.op("Resize", names, "y", mode=mode[0], coordinate_transformation_mode=mode[1],
            nearest_mode=mode[2])  # fmt: skip
    tiny.quantised("y", 0.02, 110)
    lowered, difference = compared(tiny.model({"x": ("uint8", PICTURE)}, {"y.u8": "uint8"}))
    assert operators(lowered).total() == 1
    assert difference.steps <= (0 if mode[0] == "nearest" else 1)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_parts_are_joined_along_any_dimension(axis: int) -> None:
    tiny = Tiny()
    tiny.op("Concat", [last(tiny), "x", tiny.fixed("c", np.ones(PICTURE))], "y", axis=axis)
    assert relative(real(tiny)) < CLOSE


def test_integers_are_put_on_one_grid_before_they_are_joined() -> None:
    tiny = Tiny()
    parts = [tiny.dequantised("x", 0.0213, 110), tiny.dequantised("z", 0.0307, 100)]
    tiny.op("Concat", parts, "y", axis=1)
    tiny.quantised("y", 0.0307, 100)
    inputs = dict.fromkeys("xz", ("uint8", PICTURE))
    lowered, difference = compared(tiny.model(inputs, {"y.u8": "uint8"}))
    assert operators(lowered) == {"QUANTIZE": 1, "CONCATENATION": 1}
    assert difference.equal > 0.95
    assert difference.steps <= 1


@pytest.mark.parametrize("axis", [1, 2])
def test_a_tensor_is_split_where_onnx_splits_it(axis: int) -> None:
    tiny = Tiny()
    sizes = tiny.fixed("sizes", [1, PICTURE[axis] - 1], np.int64)
    tiny.nodes.append(onnx.helper.make_node("Split", [last(tiny), sizes], ["a", "b"], axis=axis))
    tiny.op("Relu", ["a"], "y")
    tiny.op("Relu", ["b"], "z")
    assert relative(real(tiny, ("z", "y"))) < CLOSE


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([1], [3], [1], [1]),
        ([0, 1], [1 << 40, -1], [2, 3], [2, 2]),
        ([-4], [-1], [-2], [1]),
        ([1], [6], [2], [3]),
    ],
)
def test_a_box_is_cut_out_where_onnx_cuts(
    starts: list[int], ends: list[int], axes: list[int], steps: list[int]
) -> None:
    tiny = Tiny()
    numbers = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
    names = [tiny.fixed(name, values, np.int64) for name, values in numbers.items()]
    tiny.op("Slice", [last(tiny), *names], "y")
    assert relative(real(tiny)) < CLOSE


def test_every_other_place_is_taken_from_blocks_that_are_made_once() -> None:
    tiny = Tiny()
    source = tiny.op("Conv", ["x", tiny.weights("w", 4, 4, 1, 2)], "conv")  # [1,4,6,4]
    fixed = [
        tiny.fixed(name, value, np.int64)
        for name, value in (("ends", [6, 4]), ("axes", [2, 3]), ("steps", [2, 2]))
    ]
    parts = [
        tiny.op("Slice", [source, tiny.fixed(f"s{i}{j}", [i, j], np.int64), *fixed], f"p{i}{j}")
        for i in range(2)
        for j in range(2)
    ]
    tiny.op("Concat", parts, "y", axis=1)
    lowered, difference = compared(real(tiny))
    assert operators(lowered) == {
        "CONV_2D": 1, "SPACE_TO_DEPTH": 1, "SLICE": 4, "CONCATENATION": 1
    }  # fmt: skip
    assert difference.relative < CLOSE


def test_a_slice_that_goes_backwards_is_refused() -> None:
    tiny = Tiny()
    numbers = {"starts": -1, "ends": -9, "axes": 1, "steps": -1}
    names = [tiny.fixed(name, [value], np.int64) for name, value in numbers.items()]
    tiny.op("Slice", ["x", *names], "y")
    with pytest.raises(NotLoweredError, match="go backwards"):
        lower(real(tiny))


@pytest.mark.parametrize("filling", [0.0, 1.5])
def test_a_border_is_where_onnx_has_it(filling: float) -> None:
    tiny = Tiny()
    pads = tiny.fixed("pads", [0, 1, 2, 3, 0, 0, 1, 2], np.int64)
    tiny.op("Pad", [last(tiny), pads, tiny.fixed("filling", filling)], "y")
    assert relative(real(tiny)) < CLOSE


def test_a_border_of_integers_is_zero_on_their_grid() -> None:
    tiny = Tiny()
    pads = tiny.fixed("pads", [0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    tiny.op("Pad", [tiny.dequantised("x", 0.02, 77), pads], "y")
    tiny.quantised("y", 0.02, 77)
    lowered, difference = compared(tiny.model({"x": ("uint8", PICTURE)}, {"y.u8": "uint8"}))
    assert operators(lowered) == {"PAD": 1}
    assert difference.equal == 1.0


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_a_border_that_mirrors_is_refused(mode: str) -> None:
    tiny = Tiny()
    tiny.op("Pad", ["x", tiny.fixed("pads", [0] * 6 + [1, 1], np.int64)], "y", mode=mode)
    with pytest.raises(NotLoweredError, match=rf"\(Pad\): mode '{mode}' is not covered"):
        lower(real(tiny))


@pytest.mark.parametrize("kind", ["DepthToSpace", "SpaceToDepth"])
def test_blocks_and_channels_are_exchanged_as_in_onnx(kind: str) -> None:
    assert relative(one_op(kind, 1, 8, 4, 6, blocksize=2)) < CLOSE


def test_blocks_in_the_other_order_are_refused() -> None:
    with pytest.raises(NotLoweredError, match="only the mode DCR"):
        lower(one_op("DepthToSpace", 1, 8, 4, 6, blocksize=2, mode="CRD"))


def test_elements_are_flattened_in_the_order_of_onnx() -> None:
    tiny = Tiny()
    tiny.op("Flatten", [last(tiny)], "y")
    lowered, difference = compared(real(tiny))
    assert operators(lowered) == {"CONV_2D": 1, "TRANSPOSE": 1, "RESHAPE": 1}
    assert difference.relative < CLOSE


def test_dimensions_of_one_come_and_go() -> None:
    tiny = Tiny()
    axes = [tiny.fixed("places", [2, 3], np.int64), tiny.fixed("front", [0], np.int64)]
    pool = tiny.op("GlobalAveragePool", [last(tiny)], "pool")
    tiny.op("Unsqueeze", [tiny.op("Squeeze", [pool, axes[0]], "flat"), axes[1]], "y")
    lowered, difference = compared(real(tiny))
    assert "TRANSPOSE" not in operators(lowered)
    assert difference.relative < CLOSE
