"""What the bench calls ours is what the product fits, and what it sends."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from tests.partitioner.conftest import QUICK
from tests.partitioner.networks import pictures, saved
from tests.partitioner.wire.test_fitting import Bench, blocks, early

from isthmus import (
    UNMEASURED,
    Candidate,
    Cut,
    CutTensor,
    FrameEncoder,
    Levels,
    Predictor,
    Rung,
    Stage,
    SymbolCoder,
    Symbols,
    TensorSpec,
)
from isthmus_bench.wire.ours import OurTensor, SymbolsCodec, fitted
from isthmus_partitioner import Samples, SampleSets, load_model
from isthmus_partitioner.parts.values import activations

FloatArray = NDArray[np.float32]
UInt8Array = NDArray[np.uint8]

STEPS = (1 / 16, 1 / 4, 3 / 4)
SHAPE = (32, 20, 18)


def maps(count: int, seed: int) -> FloatArray:
    """Maps [count,32,20,18] behind a ReLU; every second channel is ten times as loud."""
    values = np.random.default_rng(seed).normal(0.3, 1, (count, *SHAPE))
    loud = np.where(np.arange(SHAPE[0]) % 2, 10, 1)[:, None, None]
    return np.maximum(values * loud, 0).astype(np.float32)


@pytest.fixture(scope="module")
def tensor() -> OurTensor:
    return fitted(maps(6, seed=1), STEPS)


def sent(item: UInt8Array, encoding: Symbols) -> bytes:
    """What the product puts into a frame for symbols [*shape]."""
    spec = TensorSpec(name="cut", data_type="uint8", shape=item.shape)
    place = CutTensor(boundary=spec, wire=spec, stage=Stage())
    cut = Cut(id="cut", chain="whole", depth=1, macs_share=0.5, tensors=(place,))
    candidate = Candidate(
        id="cut",
        cut="cut",
        precision="fp32",
        rungs=(Rung(encodings=(encoding,), figures=UNMEASURED),),
        chosen=0,
        kept=True,
        reason="",
    )
    (payload,) = FrameEncoder().encode(candidate, cut, 0, (item[np.newaxis],)).payloads
    return payload.data


@pytest.mark.parametrize("rung", range(len(STEPS)))
def test_values_come_back_within_half_a_step_or_at_the_end_of_the_levels(
    tensor: OurTensor, rung: int
) -> None:
    values, encoding = maps(3, seed=2), tensor.ladder[rung]
    back = tensor.values(tensor.symbols(values, rung), rung)
    lowest = -encoding.zero_point * encoding.step
    highest = (encoding.levels - 1 - encoding.zero_point) * encoding.step
    reached = np.clip(values, lowest, highest)
    assert np.abs(back - reached).max() <= encoding.step / 2 * (1 + 1e-4)
    assert np.abs(back - values).max() > encoding.step / 4  # it is a coarse world
    assert np.mean(reached == values) > 0.95


@pytest.mark.parametrize("rung", range(len(STEPS)))
def test_symbols_come_back_from_their_values_exactly(tensor: OurTensor, rung: int) -> None:
    levels = tensor.ladder[rung].levels
    symbols = np.random.default_rng(0).integers(0, levels, (3, *SHAPE), np.uint8)
    assert np.array_equal(tensor.symbols(tensor.values(symbols, rung), rung), symbols)


def test_channels_cross_in_the_order_that_was_fitted_and_come_back_in_their_own(
    tensor: OurTensor,
) -> None:
    order = tensor.transform.order
    assert order is not None
    assert not np.any(order[:16] % 2)  # the quiet ones come first
    one_loud = np.zeros((1, *SHAPE), np.float32)
    one_loud[:, 3] = 10
    symbols = tensor.symbols(one_loud, 0)
    zero = tensor.ladder[0].zero_point
    (place,) = np.flatnonzero((symbols[0] != zero).all(axis=(1, 2)))
    assert order[place] == 3
    assert np.flatnonzero(tensor.values(symbols, 0).any(axis=(0, 2, 3))).tolist() == [3]


# Levels, and how far symbols lie from the blank one.
PACKINGS: list[tuple[Levels, float]] = [
    (16, 0.3),
    (16, 4.0),
    (256, 0.3),
    (256, 30.0),
]  # levels, spread in steps


def test_every_packing_is_among_the_cases() -> None:
    met = [
        SymbolCoder().encode(symbols_of(levels, spread, (5, 9, 31))[0], levels, blank=levels // 3)
        for levels, spread in PACKINGS
    ]
    assert [coded.packing for coded in met] == ["mask", "pairs", "mask", "bytes"]


def symbols_of(levels: Levels, spread: float, shape: tuple[int, ...]) -> UInt8Array:
    drawn = np.random.default_rng(0).normal(levels // 3, spread, (4, *shape))
    return drawn.round().clip(0, levels - 1).astype(np.uint8)


@pytest.mark.parametrize("predictor", ["none", "left", "up"])
@pytest.mark.parametrize(("levels", "spread"), PACKINGS)
def test_what_is_weighed_is_the_data_of_a_frame_byte_by_byte(
    predictor: Predictor, levels: Levels, spread: float
) -> None:
    encoding = Symbols(levels=levels, step=0.5, zero_point=levels // 3, predictor=predictor)
    codec = SymbolsCodec(encoding)
    for item in symbols_of(levels, spread, (5, 9, 31)):
        assert codec.encode(item) == sent(item, encoding)


@pytest.mark.parametrize("predictor", ["none", "left", "up"])
@pytest.mark.parametrize(("levels", "spread"), PACKINGS)
def test_payloads_are_decoded_in_any_order_to_what_they_were(
    predictor: Predictor, levels: Levels, spread: float
) -> None:
    """Masked ones, packed ones and stored ones among each other."""
    encoding = Symbols(levels=levels, step=0.5, zero_point=levels // 3, predictor=predictor)
    noise = np.random.default_rng(1).integers(0, levels, (1, 5, 9, 31), np.uint8)
    items = [*symbols_of(levels, spread, (5, 9, 31)), *noise]
    codec = SymbolsCodec(encoding)
    payloads = [codec.encode(item) for item in items]
    for payload, item in reversed(list(zip(payloads, items, strict=True))):
        assert np.array_equal(codec.decode(payload, np.zeros_like(item)), item)


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        (early(), blocks(6, seed=1)),
        (early(loud=16.0), Samples({"picture": pictures(6, seed=1)}, ("one",) * 6)),
    ],
    ids=["wide smooth maps", "loud and quiet channels"],
)
def test_order_ladder_and_predictors_are_those_that_a_plan_would_have(
    model: onnx.ModelProto, shown: Samples, tmp_path: Path
) -> None:
    network = load_model(saved(model, tmp_path / "model.onnx"))
    bench = Bench(network, SampleSets(shown, blocks(2, seed=2), blocks(2, seed=3)), tmp_path)
    cut = bench.cut("stem.loud")
    plan = bench.fitted(cut, replace(QUICK, steps=STEPS))
    spec = cut.boundaries[0].tensor
    found = fitted(activations(network, [spec], shown)[spec.name].view(np.float32), STEPS)
    ladder = tuple(encoding for (encoding,) in plan.ladder)
    assert any(encoding.predictor != "none" for encoding in found.ladder)
    assert found.ladder == ladder
    (transform,) = plan.transforms
    assert transform.order is not None
    assert found.transform.order is not None
    assert np.array_equal(found.transform.order, transform.order)
