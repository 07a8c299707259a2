"""Tensors on the wire: what a header says is compared with the plan before anything is decoded."""

from collections.abc import Callable

import numpy as np
import pytest

from isthmus import (
    Encoding,
    Jpeg,
    Quantisation,
    Raw,
    SymbolCoder,
    Symbols,
    TensorEncoder,
    TensorSpec,
    WireError,
    decode_answer,
    decode_tensor,
    encode_answer,
    max_payload_bytes,
)
from isthmus.v1 import split_pb2 as pb

PICTURE = TensorSpec(name="picture", data_type="uint8", shape=(24, 32, 3))
BOUNDARY = TensorSpec(name="b7", data_type="uint8", shape=(8, 5, 7))
PROBABILITIES = TensorSpec(name="probs", data_type="float32", shape=(50,))
SOURCE = Quantisation(scale=0.05, zero_point=120)
SYMBOLS = Symbols(levels=16, step=0.4, zero_point=8)


def picture() -> np.ndarray:
    rows, columns = np.mgrid[0:24, 0:32]
    return np.stack([rows * 9, columns * 7, rows + columns], axis=-1).astype(np.uint8)[None]


def boundary() -> np.ndarray:
    values = np.random.default_rng(3).normal(120, 12, (1, *BOUNDARY.shape))
    return np.clip(values, 0, 255).astype(np.uint8)


def message(spec: TensorSpec, encoding: Encoding, tensor: np.ndarray) -> pb.Tensor:
    source = SOURCE if isinstance(encoding, Symbols) else None
    return TensorEncoder(spec, encoding, source, SymbolCoder()).encode(tensor)


def test_symbols_come_back_as_the_head_made_them() -> None:
    sent = message(BOUNDARY, SYMBOLS, boundary())
    symbols = decode_tensor(sent, BOUNDARY, SYMBOLS, SymbolCoder())
    real = (boundary().astype(float) - SOURCE.zero_point) * SOURCE.scale
    decoded = (symbols.astype(float) - SYMBOLS.zero_point) * SYMBOLS.step
    assert symbols.shape == (1, *BOUNDARY.shape)
    assert np.abs(decoded - real).max() <= SYMBOLS.step / 2 + 1e-9


def test_a_raw_picture_comes_back_to_the_byte() -> None:
    sent = message(PICTURE, Raw(), picture())
    assert np.array_equal(decode_tensor(sent, PICTURE, Raw(), SymbolCoder()), picture())


def test_a_jpeg_is_smaller_than_the_picture_and_close_to_it() -> None:
    sent = message(PICTURE, Jpeg(quality=95), picture())
    decoded = decode_tensor(sent, PICTURE, Jpeg(quality=95), SymbolCoder())
    assert len(sent.payload) < PICTURE.nbytes
    assert np.abs(decoded.astype(int) - picture()).mean() < 6


def test_an_unquantised_tensor_cannot_cross_as_symbols() -> None:
    with pytest.raises(WireError, match="not quantised"):
        TensorEncoder(PICTURE, SYMBOLS, None, SymbolCoder())


def _set(field: str, value: object) -> Callable[[pb.Tensor], None]:
    return lambda tensor: setattr(tensor, field, value)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda t: t.shape.__setitem__(3, 6), "shape"),
        (_set("data_type", pb.DATA_TYPE_INT64), "data type"),
        (_set("encoding", pb.ENCODING_RAW), "encoding"),
        (_set("levels", 256), "levels"),
        (_set("step", 0.5), "step"),
        (_set("step", float("nan")), "step"),
        (_set("zero_point", 3), "zero point"),
        (_set("payload", bytes(141)), "payload of 141 bytes"),
    ],
)
def test_a_header_that_is_not_the_plans_is_refused_by_name(
    damage: Callable[[pb.Tensor], None], what: str
) -> None:
    sent = message(BOUNDARY, SYMBOLS, boundary())
    damage(sent)
    with pytest.raises(WireError, match=what) as caught:
        decode_tensor(sent, BOUNDARY, SYMBOLS, SymbolCoder())
    assert "b7" in str(caught.value)


def test_a_jpeg_of_another_size_is_refused() -> None:
    other = TensorSpec(name="picture", data_type="uint8", shape=(32, 24, 3))
    sent = message(PICTURE, Jpeg(quality=90), picture())
    del sent.shape[:]
    sent.shape.extend((1, *other.shape))
    with pytest.raises(WireError, match="32x24 RGB, expected 24x32"):
        decode_tensor(sent, other, Jpeg(quality=90), SymbolCoder())


@pytest.mark.parametrize("payload", [b"", b"not a picture", b"\xff\xd8\xff\xe0"])
def test_a_payload_that_is_no_jpeg_is_refused(payload: bytes) -> None:
    sent = message(PICTURE, Jpeg(quality=90), picture())
    sent.payload = payload
    with pytest.raises(WireError, match="JPEG"):
        decode_tensor(sent, PICTURE, Jpeg(quality=90), SymbolCoder())


def test_a_truncated_jpeg_is_refused() -> None:
    sent = message(PICTURE, Jpeg(quality=90), picture())
    sent.payload = sent.payload[: len(sent.payload) // 2]
    with pytest.raises(WireError, match="not a whole JPEG"):
        decode_tensor(sent, PICTURE, Jpeg(quality=90), SymbolCoder())


@pytest.mark.parametrize("encoding", [SYMBOLS, Symbols(levels=256, step=0.1, zero_point=128)])
def test_no_payload_is_larger_than_the_announced_limit(encoding: Symbols) -> None:
    noise = np.random.default_rng(9).integers(0, 256, (1, *BOUNDARY.shape), dtype=np.uint8)
    assert len(message(BOUNDARY, encoding, noise).payload) <= max_payload_bytes(BOUNDARY, encoding)


def test_a_whole_answer_comes_back_to_the_bit() -> None:
    row = np.random.default_rng(2).random((1, 50), np.float32)
    assert np.array_equal(decode_answer(encode_answer(PROBABILITIES, row, 0), PROBABILITIES), row)


def test_a_top_k_answer_holds_the_greatest_and_is_honest_about_the_rest() -> None:
    row = np.random.default_rng(2).random((1, 50), np.float32)
    sent = encode_answer(PROBABILITIES, row, 5)
    answer = decode_answer(sent, PROBABILITIES)
    best = np.argsort(row[0])[::-1][:5]
    assert len(sent.payload) == 40
    assert np.array_equal(answer[0, best], row[0, best])
    assert np.isneginf(np.delete(answer[0], best)).all()


@pytest.mark.parametrize(
    "damage",
    [
        _set("top_k", 6),
        _set("payload", np.full(5, 50, "<u4").tobytes() + bytes(20)),
        _set("data_type", pb.DATA_TYPE_UINT8),
        lambda t: t.shape.append(1),
        _set("encoding", pb.ENCODING_JPEG),
    ],
)
def test_a_damaged_answer_is_refused(damage: Callable[[pb.Tensor], None]) -> None:
    sent = encode_answer(PROBABILITIES, np.zeros((1, 50), np.float32), 5)
    damage(sent)
    with pytest.raises(WireError, match="probs"):
        decode_answer(sent, PROBABILITIES)
