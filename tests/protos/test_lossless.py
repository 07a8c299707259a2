"""What must arrive as it was arrives as it was."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protos.strategies import batch_axes, shapes

from isthmus import Coded, SymbolCoder, TensorSpec, WireError
from isthmus.lossless import decode_exactly, encode_exactly, exact_bytes, raw_bytes, raw_values
from isthmus.tensors import (
    DataType,
)
from isthmus_bench.fuzz.cases import (
    DATA_TYPES,
    AnyArray,
    array_of,
    same,
)

CODER = SymbolCoder()


@st.composite
def tensors(draw: st.DrawFn) -> tuple[TensorSpec, AnyArray]:
    shape, data_type = draw(shapes()), draw(st.sampled_from(DATA_TYPES))
    axis = draw(batch_axes(len(shape)))
    spec = TensorSpec(name="t", data_type=data_type, shape=shape, batch_axis=axis)
    seed, share = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    return spec, array_of(spec, seed, share)


@given(tensors())
def test_every_type_and_shape_comes_back_to_the_bit(case: tuple[TensorSpec, AnyArray]) -> None:
    spec, tensor = case
    coded = encode_exactly(tensor, CODER)
    assert len(coded.data) <= exact_bytes(spec)
    assert same(decode_exactly(coded, spec, CODER), tensor)
    assert same(raw_values(raw_bytes(tensor), spec), tensor)


@given(tensors())
def test_the_order_of_axes_in_memory_is_not_what_is_sent(
    case: tuple[TensorSpec, AnyArray],
) -> None:
    spec, tensor = case
    elsewhere = np.asfortranarray(tensor)
    assert same(decode_exactly(encode_exactly(elsewhere, CODER), spec, CODER), tensor)
    assert raw_bytes(elsewhere) == raw_bytes(tensor)


def test_a_large_tensor_comes_back_too() -> None:
    """Larger than zstd's window at this level, so that the frame states one of its own."""
    spec = TensorSpec(name="ids", data_type="int32", shape=(3, 300_000))
    tensor = np.random.default_rng(1).integers(0, 30_000, (1, *spec.shape), np.int32)
    coded = encode_exactly(tensor, CODER)
    assert len(coded.data) < 0.55 * spec.nbytes
    assert same(decode_exactly(coded, spec, CODER), tensor)


def test_small_ids_take_little_more_than_their_low_bytes() -> None:
    ids = np.random.default_rng(1).integers(0, 256, (1, 2000), np.int64)
    assert len(encode_exactly(ids, CODER).data) < 2100


def test_a_mask_takes_a_bit_for_each_bool() -> None:
    mask = np.random.default_rng(1).integers(0, 2, (1, 1001)).astype(np.bool_)
    coded = encode_exactly(mask, CODER)
    assert coded.stored
    assert len(coded.data) == 126


def test_bytes_are_sorted_by_significance() -> None:
    """The layout that docs/wire.md promises."""
    tensor = np.array([[0x0102, 0x0304, -1]], np.int32)
    coded = encode_exactly(tensor, CODER)
    assert coded.stored
    assert coded.data.hex(" ", 3) == "0204ff 0103ff 0000ff 0000ff"


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("data", [b"", bytes(7), bytes(9), b"\x28\xb5\x2f\xfd"])
def test_anything_but_the_tensor_is_refused(data: bytes, stored: bool) -> None:
    spec = TensorSpec(name="ids", data_type="int64", shape=())
    with pytest.raises(WireError):
        decode_exactly(Coded(data, "bytes", stored), spec, CODER)


@pytest.mark.parametrize("data_type", ["bool", "int32"])
def test_own_bytes_of_another_count_are_refused(data_type: DataType) -> None:
    spec = TensorSpec(name="ids", data_type=data_type, shape=(3,))
    with pytest.raises(WireError, match=f"expected {spec.nbytes}"):
        raw_values(bytes(spec.nbytes + 1), spec)


def test_a_bool_is_0_or_1() -> None:
    """numpy would believe a 2, and what reads the bytes later would not."""
    spec = TensorSpec(name="mask", data_type="bool", shape=(3,))
    with pytest.raises(WireError, match="payload holds 2 as a bool"):
        raw_values(b"\0\1\2", spec)
