"""Answers on their way down: whole or the greatest values, and nothing but what the plan says."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protos.strategies import batch_axes, shapes

from isthmus import TensorSpec, WireError, decode_answer, encode_answer
from isthmus.tensors import (
    DataType,
)
from isthmus.v1 import split_pb2 as pb
from isthmus_bench.fuzz.cases import (
    DATA_TYPES,
    array_of,
    same,
)

PROBABILITIES = TensorSpec(name="probs", data_type="float32", shape=(50,))
IDS = TensorSpec(name="ids", data_type="int64", shape=(50,))


@given(st.sampled_from(DATA_TYPES), shapes(), st.integers(0, 2**32 - 1), st.data())
def test_a_whole_answer_comes_back_to_the_bit(
    data_type: DataType, shape: tuple[int, ...], seed: int, data: st.DataObject
) -> None:
    axis = data.draw(batch_axes(len(shape)))
    spec = TensorSpec(name="out", data_type=data_type, shape=shape, batch_axis=axis)
    output = array_of(spec, seed, 0.2)
    assert output.shape == spec.graph_shape
    sent = pb.Tensor.FromString(encode_answer(spec, output, 0).SerializeToString())
    assert same(decode_answer(sent, spec), output)


def test_a_top_k_answer_holds_the_greatest_and_is_honest_about_the_rest() -> None:
    row = np.random.default_rng(2).random((1, 50), np.float32)
    sent = encode_answer(PROBABILITIES, row, 5)
    answer = decode_answer(sent, PROBABILITIES)
    best = np.argsort(row[0])[::-1][:5]
    assert len(sent.payload) == 40
    assert np.array_equal(answer[0, best], row[0, best])
    assert np.isneginf(np.delete(answer[0], best)).all()


@pytest.mark.parametrize("top_k", [0, 50, 1000])
def test_an_answer_that_would_not_become_smaller_comes_whole(top_k: int) -> None:
    row = np.random.default_rng(2).random((1, 50), np.float32)
    assert encode_answer(PROBABILITIES, row, top_k).encoding == pb.ENCODING_RAW


def test_only_floats_have_greatest_values_that_may_stand_for_all() -> None:
    ids = np.arange(50, dtype=np.int64)[None]
    assert same(decode_answer(encode_answer(IDS, ids, 5), IDS), ids)


@pytest.mark.parametrize("data_type", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (5, 10)])
def test_what_is_no_row_of_floats_comes_whole(shape: tuple[int, ...], data_type: DataType) -> None:
    """Of boxes or a map, the greatest values alone mean nothing."""
    spec = TensorSpec(name="out", data_type=data_type, shape=shape)
    output = array_of(spec, 1, 0.0)
    sent = encode_answer(spec, output, 3)
    assert sent.encoding == pb.ENCODING_RAW
    assert same(decode_answer(sent, spec), output)
    sent.encoding, sent.top_k, sent.payload = pb.ENCODING_TOP_K, 1, bytes(8)
    with pytest.raises(WireError, match=f"encoding {pb.ENCODING_TOP_K}"):
        decode_answer(sent, spec)


@pytest.mark.parametrize(("axis", "shape"), [(0, (1, 50)), (1, (50, 1)), (None, (50,))])
def test_a_row_has_its_greatest_values_wherever_its_batch_is(
    axis: int | None, shape: tuple[int, ...]
) -> None:
    spec = TensorSpec(name="probs", data_type="float32", shape=(50,), batch_axis=axis)
    row = np.arange(50, dtype=np.float32).reshape(shape)
    answer = decode_answer(encode_answer(spec, row, 5), spec)
    assert answer.shape == shape
    assert np.array_equal(answer.reshape(-1)[45:], np.arange(45, 50))


def _set(field: str, value: object) -> Callable[[pb.Tensor], None]:
    return lambda tensor: setattr(tensor, field, value)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (_set("top_k", 6), "40 bytes for 6 of its 50 values"),
        (_set("top_k", 0), "40 bytes for 0 of its 50 values"),
        (_set("top_k", 1 << 31), "for 2147483648 of its 50 values"),
        (_set("payload", b""), "0 bytes for 5"),
        (_set("payload", np.full(5, 50, "<u4").tobytes() + bytes(20)), "an index lies outside"),
        (_set("data_type", pb.DATA_TYPE_UINT8), "the plan says"),
        (lambda t: t.shape.append(1), "the plan says"),
        (_set("encoding", pb.ENCODING_RAW), "payload holds 40 bytes, expected 200"),
        (_set("encoding", pb.ENCODING_UNSPECIFIED), "encoding 0"),
        (_set("encoding", 3), "encoding 3"),
    ],
)
def test_a_damaged_answer_is_refused_by_name(
    damage: Callable[[pb.Tensor], None], complaint: str
) -> None:
    sent = encode_answer(PROBABILITIES, np.zeros((1, 50), np.float32), 5)
    damage(sent)
    with pytest.raises(WireError, match=f"output 'probs'.*{complaint}"):
        decode_answer(sent, PROBABILITIES)


@pytest.mark.parametrize("top_k", [0, 51])
def test_no_values_or_more_than_there_are_are_refused(top_k: int) -> None:
    """However well the payload fits."""
    sent = encode_answer(PROBABILITIES, np.zeros((1, 50), np.float32), 5)
    sent.top_k, sent.payload = top_k, bytes(8 * top_k)
    with pytest.raises(WireError, match=f"{8 * top_k} bytes for {top_k} of its 50 values"):
        decode_answer(sent, PROBABILITIES)


def test_greatest_values_of_an_output_that_is_no_float_are_refused() -> None:
    """They would come out as floats, which is not what the plan says of the output."""
    sent = encode_answer(PROBABILITIES, np.zeros((1, 50), np.float32), 5)
    sent.name, sent.data_type = IDS.name, pb.DATA_TYPE_INT64
    with pytest.raises(WireError, match=f"encoding {pb.ENCODING_TOP_K}"):
        decode_answer(sent, IDS)


@given(st.binary(max_size=60), st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_arbitrary_answers_are_refused_or_have_the_plans_shape(
    payload: bytes, encoding: int, top_k: int
) -> None:
    spec = TensorSpec(name="out", data_type="float32", shape=(6,))
    sent = pb.Tensor(
        data_type=pb.DATA_TYPE_FLOAT32,
        shape=(1, 6),
        encoding=encoding,  # type: ignore[arg-type]  # proto3 enums are open
        top_k=top_k,
        payload=payload,
    )
    try:
        answer = decode_answer(sent, spec)
    except WireError:
        return
    assert answer.shape == (1, 6)
    assert answer.dtype == np.float32
