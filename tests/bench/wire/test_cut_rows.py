"""Every codec is given the same items, and nothing that is fitted has seen them before."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.bench.wire import tiny
from tests.bench.wire.made_up import CUT, codec

from isthmus_bench.wire.cut_rows import SIZED_ITEMS, CutRow, measure_cut
from isthmus_bench.wire.limits import order0_bytes, static_channel_order0_bytes
from isthmus_bench.wire.ours import SymbolsCodec, fitted
from isthmus_bench.wire.rivals import Rival
from isthmus_bench.wire.scores import Score
from isthmus_bench.wire.subjects import CutTensors, Subject
from isthmus_bench.wire.suite import Recipe
from isthmus_bench.wire.weighing import AnyArray, Codec, Weighed
from isthmus_models.drawn import Part

FloatArray = NDArray[np.float32]
UInt8Array = NDArray[np.uint8]

EVALUATION = SIZED_ITEMS + 5  # more than are weighed
CALIBRATION = 4
NO_FLOOR = 0.0


@dataclass
class Listener:
    """A codec that keeps what it is given, each item once, and sends it as it is."""

    takes: Literal["symbols", "float32"]
    heard: dict[bytes, AnyArray] = field(default_factory=dict)

    @property
    def items(self) -> list[AnyArray]:
        """In the order in which they came."""
        return list(self.heard.values())

    def rival(self, name: str) -> Rival:
        """It as a rival."""
        return Rival(name, self.takes, self._encode, lambda payload, like: like)

    def _encode(self, item: AnyArray) -> bytes:
        payload = item.tobytes()
        self.heard[payload] = item
        return payload


@dataclass(frozen=True)
class Heard:
    """A row, and what two codecs of symbols and one of floats were given for it."""

    row: CutRow
    symbols: tuple[list[AnyArray], list[AnyArray]]
    floats: list[AnyArray]


def listened(subject: Subject, cut: str, floor: float = NO_FLOOR) -> Heard:
    one, other, floats = Listener("symbols"), Listener("symbols"), Listener("float32")
    rivals = [one.rival("one"), other.rival("other"), floats.rival("floats")]
    row = measure_cut(subject, cut, rivals, floor)
    return Heard(row, (one.items, other.items), floats.items)


def made(recipe: Recipe = tiny.RECIPE) -> Subject:
    return Subject(recipe, evaluation=EVALUATION, calibration=CALIBRATION)


@pytest.fixture(scope="module")
def subject() -> Subject:
    return made()


@pytest.fixture(scope="module")
def heard(subject: Subject) -> Heard:
    """The cut of one tensor, at its coarsest rung."""
    return listened(subject, "sum")


def split(items: Sequence[AnyArray]) -> tuple[list[UInt8Array], list[UInt8Array]]:
    """Our symbols, then the 8-bit ones."""
    assert len(items) == 2 * SIZED_ITEMS
    symbols = [item.view(np.uint8) for item in items]
    return symbols[:SIZED_ITEMS], symbols[SIZED_ITEMS:]


def test_every_codec_is_given_the_same_items(subject: Subject, heard: Heard) -> None:
    one, other = heard.symbols
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    (values,) = subject.activations("sum").tensors
    assert np.array_equal(np.stack(heard.floats), values[:SIZED_ITEMS])
    assert [each.name for each in heard.row.same_symbols] == ["one", "other"]
    assert [each.name for each in heard.row.int8] == ["one", "other", "floats"]
    assert [each.bytes for each in heard.row.int8] == [256, 256, 1024]


def test_lossless_rivals_get_our_symbols_of_the_chosen_rung(subject: Subject, heard: Heard) -> None:
    ours, _ = split(heard.symbols[0])
    (learnt,) = subject.activations("sum", fitted=True).tensors
    (values,) = subject.activations("sum").tensors
    expected = fitted(learnt).symbols(values[:SIZED_ITEMS], heard.row.chosen)
    assert np.array_equal(np.stack(ours), expected)
    assert [each.bytes for each in heard.row.same_symbols] == [256, 256]


def test_ours_and_the_limits_are_of_the_items_that_the_rivals_got(
    subject: Subject, heard: Heard
) -> None:
    """Sizes are compared with limits: both of the same symbols, or neither means anything."""
    ours, _ = split(heard.symbols[0])
    (learnt,) = subject.activations("sum", fitted=True).tensors
    tensor, row = fitted(learnt), heard.row
    coder = SymbolsCodec(tensor.ladder[row.chosen])
    assert row.ours.bytes == pytest.approx(np.mean([len(coder.encode(item)) for item in ours]))
    assert row.order0_bytes == pytest.approx(np.mean([order0_bytes(item) for item in ours]))
    tables_from = tensor.symbols(learnt, row.chosen)
    by_channel = static_channel_order0_bytes(np.stack(ours), tables_from)
    assert row.channel_order0_bytes == pytest.approx(by_channel)


def test_int8_is_the_whole_range_of_the_calibration_inputs(subject: Subject, heard: Heard) -> None:
    _, integers = split(heard.symbols[0])
    (learnt,) = subject.activations("sum", fitted=True).tensors
    (values,) = subject.activations("sum").tensors
    low, high = min(learnt.min(), 0), max(learnt.max(), 0)
    scale = (high - low) / 255
    expected = np.clip(np.rint((values - low) / scale), 0, 255)
    got = np.stack(integers).astype(float)
    assert np.abs(got - expected[:SIZED_ITEMS]).max() <= 1  # a zero point is a whole number
    assert low < 0 < high
    assert np.ptp(got) > 200  # of 255: it is the range, and no sliver of it
    error = subject.score_cut("sum", [((expected * scale) + low).astype(np.float32)]).error
    assert heard.row.int8_score.error == pytest.approx(error, rel=0.5)
    assert heard.row.int8_score.error < heard.row.rungs[-1].error


def test_a_cut_of_several_tensors_is_the_sum_of_them(subject: Subject) -> None:
    heard = listened(subject, "branches")
    row = heard.row
    assert (row.tensors, row.elements) == (2, 2 * 4 * 8 * 8)
    assert [each.bytes for each in row.int8] == [512, 512, 2048]
    learnt = subject.activations("branches", fitted=True).tensors
    found = subject.activations("branches").tensors
    in_order = np.concatenate([values[:SIZED_ITEMS] for values in found])
    assert np.array_equal(np.stack(heard.floats), in_order)
    total = 0.0
    for known, values in zip(learnt, found, strict=True):
        tensor = fitted(known)
        coder = SymbolsCodec(tensor.ladder[row.chosen])
        items = tensor.symbols(values[:SIZED_ITEMS], row.chosen)
        total += float(np.mean([len(coder.encode(item)) for item in items]))
    assert row.ours.bytes == pytest.approx(total)


def test_rungs_are_weighed_and_scored_on_all_inputs(subject: Subject, heard: Heard) -> None:
    (learnt,) = subject.activations("sum", fitted=True).tensors
    (values,) = subject.activations("sum").tensors
    tensor = fitted(learnt)
    assert len(heard.row.rungs) == len(tensor.ladder) > 3
    for index, (rung, encoding) in enumerate(zip(heard.row.rungs, tensor.ladder, strict=True)):
        symbols = tensor.symbols(values, index)
        sizes = [len(SymbolsCodec(encoding).encode(item)) for item in symbols]
        score = subject.score_cut("sum", [tensor.values(symbols, index)])
        assert (rung.step, rung.levels) == (encoding.step, encoding.levels)
        assert rung.bytes == pytest.approx(np.mean(sizes))
        assert rung.bytes_p95 == pytest.approx(np.percentile(sizes, 95))
        assert (rung.error, rung.agreement) == (score.error, score.agreement)
    assert heard.row.curve == [(rung.error, rung.bytes) for rung in heard.row.rungs]


class Scripted(Subject):
    """Its answers agree as was said, rung by rung; after the script, not at all."""

    def __init__(self, agreements: Sequence[float]) -> None:
        super().__init__(tiny.RECIPE, evaluation=3, calibration=2)
        self._agreements = iter(agreements)

    def score_cut(self, cut: str, tensors: Sequence[FloatArray]) -> Score:
        """The next line of the script."""
        return Score(0.1, next(self._agreements, 0.0))


@pytest.mark.parametrize(
    ("agreements", "chosen", "meets"),
    [
        ([1, 0.99, 0.95, 0.94, 0.99, 0.99], 2, True),  # luck behind a gap does not count
        ([1, 0.94], 0, True),
        ([0.9, 1, 1], 0, False),
        ([1] * 9, 8, True),
    ],
)
def test_the_rung_is_the_coarsest_that_meets_the_floor_as_do_all_finer_ones(
    agreements: Sequence[float], chosen: int, meets: bool
) -> None:
    row = measure_cut(Scripted(agreements), "sum", [], 0.95)
    assert len(row.rungs) == 9
    assert (row.chosen, row.meets_floor) == (chosen, meets)


def row_with(dim: Part | None) -> Heard:
    """The tiny network on even pictures, those of one part half as bright.

    The network is linear without a bias: so are its activations, without any rounding.
    """

    def inputs(part: Part, count: int) -> AnyArray:
        shown = tiny.pictures(part, count).view(np.uint8) & 0xFE
        return shown // 2 if part == dim else shown

    return listened(made(replace(tiny.RECIPE, inputs=inputs)), "sum")


def test_steps_and_ranges_follow_the_calibration_inputs_and_never_the_others() -> None:
    dim_judged, dim_learnt = row_with("evaluation"), row_with("calibration")
    bright = row_with(None)
    steps = [rung.step for rung in bright.row.rungs]
    assert [rung.step for rung in dim_judged.row.rungs] == steps
    assert [2 * rung.step for rung in dim_learnt.row.rungs] == steps
    # Half the range learnt from spreads the integers twice as far; half the values, half as far.
    spread, dim, wide = (
        np.std(np.stack(split(each.symbols[0])[1])) for each in (bright, dim_judged, dim_learnt)
    )
    assert dim == pytest.approx(spread / 2, rel=0.05)
    assert wide > 1.5 * spread


class Recording(Subject):
    """Remembers which activations it was asked for."""

    def __init__(self) -> None:
        super().__init__(tiny.RECIPE, evaluation=3, calibration=2)
        self.asked: list[bool] = []

    def activations(self, cut: str, *, fitted: bool = False) -> CutTensors:
        """As always."""
        self.asked.append(fitted)
        return super().activations(cut, fitted=fitted)


def test_one_set_of_activations_is_learnt_from_and_one_is_judged() -> None:
    subject = Recording()
    measure_cut(subject, "sum", [], NO_FLOOR)
    assert sorted(subject.asked) == [False, True]


def test_the_codecs_time_is_that_of_both_ways_over_the_heads() -> None:
    """10,000 symbols at 100 MB/s are 0.1 ms, at 200 MB/s half of that."""
    row = replace(CUT, ours=codec("ours", 500.0, 100.0), head_ms=3.0)
    assert row.codec_ms == pytest.approx(0.15)
    assert row.codec_share == pytest.approx(0.05)


def test_packed_symbols_are_sent_as_they_are_where_coding_takes_longer_than_it_saves() -> None:
    """4,500 of 5,000 packed bytes are saved in 0.15 ms: that is what 240 Mbit/s carry in it."""
    row = replace(CUT, ours=codec("ours", 500.0, 100.0))
    assert row.stored_pays_above_mbps == pytest.approx(240)


def test_speeds_of_several_tensors_are_of_all_their_symbols_over_all_the_time(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """256 symbols at 100 and 256 at 50 MB/s are 512 in 7.68 microseconds."""
    speeds = iter([(100.0, 10.0), (50.0, 40.0)])

    def weigh(_codec: Codec, items: Sequence[AnyArray]) -> Weighed:
        return Weighed(items[0].nbytes, *next(speeds))

    monkeypatch.setattr("isthmus_bench.wire.cut_rows.weigh", weigh)
    ours = measure_cut(subject, "branches", [], NO_FLOOR).ours
    assert (ours.name, ours.bytes) == ("ours", 512)
    assert ours.encode_mbps == pytest.approx(512 / 7.68)
    assert ours.decode_mbps == pytest.approx(512 / (25.6 + 6.4))
