"""Tensors of the protocol to numpy: every datatype, both ways to send them, and all that is wrong.

A hostile tensor is refused (RefusalError), whatever it says; nothing else ever comes out.
"""

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from isthmus import DataType, TensorSpec
from isthmus.oip import RefusalError
from isthmus.oip.codec import decode_tensor, takes_pictures
from isthmus.oip.datatypes import DATATYPES, config_type_of, datatype_of
from isthmus.oip.messages import pb

InputTensor = pb.ModelInferRequest.InferInputTensor
DATA_TYPES: tuple[DataType, ...] = (
    "bool",
    "uint8",
    "int8",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
)
MOST = 4

any_array = st.sampled_from(DATA_TYPES).flatmap(
    lambda name: arrays.arrays(
        np.dtype(name), arrays.array_shapes(min_dims=0, max_dims=3, max_side=3)
    )
)
items_and_axes = st.tuples(any_array, st.integers(1, MOST), st.integers(0, 3))


def announced(array: NDArray[np.generic], spec: TensorSpec) -> InputTensor:
    return InputTensor(name=spec.name, datatype=datatype_of(spec.data_type).name, shape=array.shape)


def spec_of(array: NDArray[np.generic], batch_axis: int | None = 0) -> TensorSpec:
    data_type = next(name for name in DATA_TYPES if array.dtype == name)
    return TensorSpec(name="x", data_type=data_type, shape=array.shape, batch_axis=batch_axis)


@given(items_and_axes)
def test_a_batch_of_raw_contents_comes_back_item_by_item(
    case: tuple[NDArray[np.generic], int, int],
) -> None:
    item, count, axis = case
    spec = spec_of(item, min(axis, item.ndim))
    assert spec.batch_axis is not None
    batch = np.stack([item] * count, axis=spec.batch_axis)
    found = decode_tensor(announced(batch, spec), batch.tobytes(), spec, MOST)
    assert found.count == count
    for index in range(count):
        one = found.item(index)
        assert isinstance(one, np.ndarray)
        assert (one.shape, one.dtype) == (spec.graph_shape, item.dtype)
        assert one.tobytes() == item.tobytes()


@given(any_array)
def test_typed_contents_are_the_same_as_raw_ones(item: NDArray[np.generic]) -> None:
    spec = spec_of(item)
    field = datatype_of(spec.data_type).typed_field
    tensor = announced(item, spec)
    if field is None:
        with pytest.raises(RefusalError, match="raw_input_contents"):
            decode_tensor(tensor, None, spec, MOST)
        return
    getattr(tensor.contents, field).extend(item.reshape(-1).tolist())
    found = decode_tensor(tensor, None, spec, MOST).item(0)
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, item.reshape(spec.graph_shape))


@given(any_array)
def test_one_item_needs_no_batch_dimension(item: NDArray[np.generic]) -> None:
    spec = spec_of(item)
    found = decode_tensor(announced(item, spec), item.tobytes(), spec, MOST)
    assert (found.count, np.shape(found.item(0))) == (1, spec.graph_shape)


def test_an_input_without_batch_dimension_is_the_same_for_every_item() -> None:
    item = np.arange(3, dtype=np.float32)
    spec = spec_of(item, batch_axis=None)
    found = decode_tensor(announced(item, spec), item.tobytes(), spec, MOST)
    assert found.count is None
    assert found.item(0) is found.item(3)


any_tensor = st.builds(
    InputTensor,
    name=st.just("x"),
    datatype=st.sampled_from([*DATATYPES, "BYTES", "", "FP8"]),
    shape=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 4), max_size=5),
    contents=st.builds(
        pb.InferTensorContents,
        int_contents=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5),
        fp32_contents=st.lists(st.floats(width=32), max_size=5),
        bytes_contents=st.lists(st.binary(max_size=5), max_size=5),
    ),
)
any_spec = st.sampled_from(
    [
        TensorSpec(name="x", data_type="uint8", shape=(1, 1, 3)),
        TensorSpec(name="x", data_type="int8", shape=(2,)),
        TensorSpec(name="x", data_type="float32", shape=(), batch_axis=None),
        TensorSpec(name="x", data_type="bool", shape=(2, 2), batch_axis=1),
    ]
)


@given(any_tensor, st.none() | st.binary(max_size=16), any_spec)
def test_a_tensor_that_says_anything_is_taken_or_refused(
    tensor: InputTensor, raw: bytes | None, spec: TensorSpec
) -> None:
    with contextlib.suppress(RefusalError):
        found = decode_tensor(tensor, raw, spec, MOST)
        item = found.item((found.count or 1) - 1)
        assert isinstance(item, bytes) or item.shape == spec.graph_shape


FLOATS = TensorSpec(name="x", data_type="float32", shape=(2, 3))
SMALL = TensorSpec(name="x", data_type="int8", shape=(2,))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ([-1, 2, 3], "unexpected shape"),
        ([2, -3], "unexpected shape"),
        ([2**62, 4, 2**62], "unexpected shape"),
        ([0, 2, 3], "unexpected shape"),
        ([3, 2], "unexpected shape"),
        ([1] * 100_000, "unexpected shape"),
        ([], "unexpected shape"),
        ([5, 2, 3], "batch of 5, at most 4"),
        ([2**62, 2, 3], "at most 4"),
    ],
)
def test_a_shape_that_is_not_the_models_is_refused(shape: list[int], words: str) -> None:
    tensor = InputTensor(name="x", datatype="FP32", shape=shape)
    with pytest.raises(RefusalError, match=words) as refused:
        decode_tensor(tensor, bytes(24), FLOATS, MOST)
    assert refused.value.status == "INVALID_ARGUMENT"
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("size", [0, 23, 25, 48])
def test_raw_contents_of_another_size_are_refused(size: int) -> None:
    tensor = InputTensor(name="x", datatype="FP32", shape=[2, 3])
    with pytest.raises(RefusalError, match=f"unexpected total byte size {size} .*expecting 24"):
        decode_tensor(tensor, bytes(size), FLOATS, MOST)


@pytest.mark.parametrize("datatype", ["FP64", "fp32", "", "BYTES", "X" * 10_000])
def test_another_datatype_is_refused(datatype: str) -> None:
    tensor = InputTensor(name="x", datatype=datatype, shape=[2, 3])
    with pytest.raises(RefusalError, match="but the model expects 'FP32'") as refused:
        decode_tensor(tensor, bytes(24), FLOATS, MOST)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (pb.InferTensorContents(int_contents=[1]), "number of elements 1 .*expecting 2"),
        (pb.InferTensorContents(int_contents=[1, 2, 3]), "number of elements 3"),
        (pb.InferTensorContents(), "number of elements 0"),
        (pb.InferTensorContents(int_contents=[1, 128]), "do not fit into INT8"),
        (pb.InferTensorContents(int64_contents=[1, 2]), "comes in int_contents, not in int64"),
        (pb.InferTensorContents(int_contents=[1, 2], fp32_contents=[1]), "not in fp32_contents"),
    ],
)
def test_typed_contents_that_do_not_fit_are_refused(
    contents: pb.InferTensorContents, words: str
) -> None:
    tensor = InputTensor(name="x", datatype="INT8", shape=[2], contents=contents)
    with pytest.raises(RefusalError, match=words):
        decode_tensor(tensor, None, SMALL, MOST)


def test_bytes_that_are_no_bools_become_bools() -> None:
    spec = TensorSpec(name="x", data_type="bool", shape=(3,))
    tensor = InputTensor(name="x", datatype="BOOL", shape=[3])
    found = decode_tensor(tensor, b"\x00\x01\x07", spec, MOST).item(0)
    assert isinstance(found, np.ndarray)
    assert found.tobytes() == b"\x00\x01\x01"


PICTURE = TensorSpec(name="x", data_type="uint8", shape=(4, 4, 3))


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=MOST), st.booleans(), st.booleans())
def test_encoded_pictures_come_as_bytes(files: list[bytes], typed: bool, flat: bool) -> None:
    tensor = InputTensor(
        name="x", datatype="BYTES", shape=[len(files)] if flat else [len(files), 1]
    )
    raw = None
    if typed:
        tensor.contents.bytes_contents.extend(files)
    else:
        raw = b"".join(struct.pack("<I", len(file)) + file for file in files)
    found = decode_tensor(tensor, raw, PICTURE, MOST)
    assert [found.item(index) for index in range(found.count or 0)] == files


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "ends behind the 0 bytes"),
        (b"\x01\x00\x00", "ends behind"),
        (b"\xff\xff\xff\xffx", "ends behind the 5 bytes"),
        (b"\x01\x00\x00\x00xy", "1 bytes behind its 1 elements"),
    ],
)
def test_elements_that_do_not_add_up_are_refused(raw: bytes, words: str) -> None:
    tensor = InputTensor(name="x", datatype="BYTES", shape=[1])
    with pytest.raises(RefusalError, match=words):
        decode_tensor(tensor, raw, PICTURE, MOST)


@pytest.mark.parametrize("shape", [[], [0], [-1], [5], [1, 2], [1, 1, 1], [2**63 - 1]])
def test_pictures_of_another_shape_are_refused(shape: list[int]) -> None:
    tensor = InputTensor(name="x", datatype="BYTES", shape=shape)
    with pytest.raises(RefusalError, match="unexpected shape"):
        decode_tensor(tensor, b"\x00\x00\x00\x00", PICTURE, MOST)


def test_only_an_rgb_input_takes_pictures() -> None:
    assert takes_pictures(PICTURE)
    assert not takes_pictures(TensorSpec(name="x", data_type="uint8", shape=(3, 4, 4)))
    assert not takes_pictures(TensorSpec(name="x", data_type="float32", shape=(4, 4, 3)))


def test_triton_and_the_protocol_name_types_alike() -> None:
    assert [config_type_of(name) for name in DATA_TYPES] == [
        f"TYPE_{datatype_of(name).name}" for name in DATA_TYPES
    ]
    known = pb.ModelInput.DESCRIPTOR.fields_by_name["data_type"].enum_type
    assert known is not None
    assert {config_type_of(name) for name in DATA_TYPES} <= set(known.values_by_name)
