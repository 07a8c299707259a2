"""What a plan says of bytes is what device and cloud exchange."""

from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from isthmus import (
    CutTensor,
    Encoding,
    Levels,
    Lossless,
    Picture,
    Predictor,
    Quantisation,
    Raw,
    Stage,
    Symbols,
    TensorSpec,
    requantise_table,
)
from isthmus_partitioner.wire.through import ToWire, WireFigures, forecast, through_the_wire

UInt8Array = NDArray[np.uint8]
AnyArray = NDArray[np.generic]

SOURCE = Quantisation(scale=1 / 32, zero_point=128)
SPEC = TensorSpec(name="boundary", data_type="uint8", shape=(4, 32, 32))
INTEGERS = CutTensor(boundary=SPEC, wire=SPEC, quantisation=SOURCE)


def alone(
    items: AnyArray, tensor: CutTensor, encoding: Encoding, stage: ToWire | None = None
) -> tuple[AnyArray, WireFigures]:
    """The lone tensor [n,*shape] of a cut."""
    given = ((item[np.newaxis],) for item in items)
    arrived, wire = through_the_wire(given, (tensor,), (encoding,), (stage,))
    return np.concatenate([item for (item,) in arrived]), wire


def calm(seed: int = 0) -> UInt8Array:
    """Integers [3,*shape] that are mostly zero (which is 128), and smooth where they are not."""
    random = np.random.default_rng(seed)
    bumps = random.normal(0, 20, (3, 4, 32, 8)).round() * (random.random((3, 4, 32, 8)) < 0.2)
    return (128 + bumps.repeat(4, axis=3)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("predictor", ["none", "left", "up"])
@pytest.mark.parametrize(("levels", "zero_point"), [(16, 7), (256, 120)])
def test_a_forecast_is_what_a_frame_takes(levels: int, zero_point: int, predictor: str) -> None:
    encoding = Symbols(
        levels=cast(Levels, levels),
        step=1 / 8,
        zero_point=zero_point,
        predictor=cast(Predictor, predictor),
    )
    symbols = requantise_table(SOURCE, encoding)[calm()]
    arrived, wire = alone(calm(), INTEGERS, encoding)
    assert np.array_equal(arrived, symbols)
    foreseen = forecast(symbols, encoding)
    assert foreseen.payload_bytes == wire.payload_bytes
    assert foreseen.payload_bytes_p95 == wire.payload_bytes_p95


def test_a_stage_stands_between_the_chain_and_the_wire() -> None:
    boundary = TensorSpec(name="real", data_type="float32", shape=(2, 3))
    wire = TensorSpec(name="symbols", data_type="uint8", shape=(3,))
    tensor = CutTensor(boundary=boundary, wire=wire, stage=Stage())
    encoding = Symbols(levels=16, step=1.0, zero_point=0)
    given = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    arrived, _ = alone(given, tensor, encoding, lambda item: item[:, 0].astype(np.uint8))
    assert arrived.tolist() == [[0, 1, 2], [6, 7, 8]]


@pytest.mark.parametrize("encoding", [Raw(), Lossless(), Picture(format="webp", quality=None)])
def test_what_is_sent_exactly_arrives_exactly(encoding: Encoding) -> None:
    spec = TensorSpec(name="picture", data_type="uint8", shape=(8, 8, 3))
    given = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    arrived, _ = alone(given, CutTensor(boundary=spec, wire=spec), encoding)
    assert np.array_equal(arrived, given)


def test_sizes_are_the_median_and_the_95th_percentile() -> None:
    spec = TensorSpec(name="picture", data_type="uint8", shape=(32, 32, 3))
    dull, busy = (
        np.zeros((32, 32, 3), np.uint8),
        np.random.default_rng(0).integers(0, 256, spec.shape),
    )
    given = np.stack([dull, dull, busy]).astype(np.uint8)
    tensor, encoding = CutTensor(boundary=spec, wire=spec), Picture(format="jpeg", quality=90)
    _, wire = alone(given, tensor, encoding)
    (least, most) = (alone(one[None], tensor, encoding)[1] for one in given[1:])
    assert wire.payload_bytes == least.payload_bytes
    spread = most.payload_bytes - least.payload_bytes
    assert wire.payload_bytes_p95 == pytest.approx(least.payload_bytes + 0.9 * spread, abs=1)


def test_several_tensors_cross_together_each_in_its_own_encoding() -> None:
    """Ids exactly, a scalar exactly, integers as symbols; the sizes add up."""
    ids = TensorSpec(name="ids", data_type="int64", shape=(40,))
    rate = TensorSpec(name="rate", data_type="float32", shape=(), batch_axis=None)
    tensors = [*(CutTensor(boundary=spec, wire=spec) for spec in (ids, rate)), INTEGERS]
    symbols = Symbols(levels=16, step=1 / 8, zero_point=7)
    random = np.random.default_rng(0)
    numbers = random.integers(0, 9, (3, 1, 40))
    given = [
        (row, np.asarray(0.5, np.float32), item[np.newaxis])
        for row, item in zip(numbers, calm(), strict=True)
    ]
    arrived, wire = through_the_wire(
        given, tensors, (Lossless(), Lossless(), symbols), [None, None, None]
    )
    for before, after in zip(given, arrived, strict=True):
        assert [value.shape for value in after] == [(1, 40), (), (1, 4, 32, 32)]
        assert all(np.array_equal(a, b) for a, b in zip(before[:2], after[:2], strict=True))
        assert np.array_equal(after[2], requantise_table(SOURCE, symbols)[before[2]])
    lone = alone(calm(), INTEGERS, symbols)[1]
    assert lone.payload_bytes < wire.payload_bytes < lone.payload_bytes + 100  # of 324
