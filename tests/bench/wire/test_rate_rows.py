"""A stepping budget: what fixed rungs, a picture codec and the controller make of it."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.bench.wire import tiny
from tests.bench.wire.made_up import CUT, rung

from isthmus_bench.wire import rate_rows
from isthmus_bench.wire.cut_rows import CutRow, measure_cut
from isthmus_bench.wire.ours import OurTensor, SymbolsCodec, fitted
from isthmus_bench.wire.picture_rivals import PictureRival
from isthmus_bench.wire.rate_rows import RateRow, measure_rate
from isthmus_bench.wire.subjects import Subject
from isthmus_bench.wire.video import Clip

UInt8Array = NDArray[np.uint8]

FRAMES_A_STEP = 20
STEPS = (1.2, 0.1, 0.6, -0.2, 1.2, 0.3)
FRAMES = FRAMES_A_STEP * len(STEPS)
FLOOR = 0.9


@pytest.fixture(autouse=True)
def _link(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link whose budgets can be told by hand."""
    monkeypatch.setattr(rate_rows, "FRAMES_A_STEP", FRAMES_A_STEP)
    monkeypatch.setattr(rate_rows, "STEPS", STEPS)


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject(tiny.RECIPE, evaluation=6, calibration=4)


@pytest.fixture(scope="module")
def clip() -> Clip:
    """A scene that moves slowly before the tiny network."""
    wide = np.random.default_rng(3).integers(0, 256, (tiny.SIZE, tiny.SIZE + FRAMES, 3), np.uint8)
    frames = np.stack([wide[:, index : index + tiny.SIZE] for index in range(FRAMES)])
    return Clip("made up", "no camera has seen this", frames)


@pytest.fixture(scope="module")
def tensor(subject: Subject) -> OurTensor:
    return fitted(subject.activations("sum", fitted=True).tensors[0])


@pytest.fixture(scope="module")
def measured(subject: Subject) -> CutRow:
    return measure_cut(subject, "sum", [], FLOOR)


def allowing(row: CutRow, chosen: int) -> CutRow:
    """The same ladder, had the rungs up to `chosen` met the floor and no others."""
    agreements = [1.0 if index <= chosen else FLOOR / 2 for index in range(len(row.rungs))]
    rungs = tuple(
        replace(each, agreement=agreement)
        for each, agreement in zip(row.rungs, agreements, strict=True)
    )
    return replace(row, rungs=rungs, chosen=chosen)


def budgets_between(finest: float, coarsest: float) -> CutRow:
    """A plan whose rungs take so many bytes."""
    rungs = (rung(0.001, finest), rung(0.1, coarsest))
    return replace(CUT, cut="sum", rungs=rungs, chosen=1)


def sending(size: int) -> PictureRival:
    """A picture codec that always takes `size` bytes."""
    return PictureRival(
        f"{size} bytes",
        lambda picture: picture.tobytes().ljust(size)[:size],
        lambda payload: np.frombuffer(payload[: tiny.SIZE**2 * 3], np.uint8).reshape(
            tiny.SIZE, tiny.SIZE, 3
        ),
    )


def picture_row(subject: Subject, row: CutRow, clip: Clip, size: int) -> RateRow:
    return measure_rate(subject, row, clip, [sending(size)], FLOOR)[-1]


def test_overshoot_and_lateness_are_those_that_one_computes_by_hand(
    subject: Subject, clip: Clip
) -> None:
    """Budgets of 1100, 550, 800, 400, 1100 and 650 bytes, each for 20 frames of 610 bytes.

    At 550 a frame takes 1.109 periods, so the k-th is there 1 + 0.109 k after it came: more than 2
    from the 10th on, 11 are late. At 800, 0.7625: 3.18 - 0.2375 k, 4 late. At 400, 1.525:
    1 + 0.525 k, 19 late. At 1100, 0.5545: 11.5 - 0.4455 k, all 20 late. At 650, 0.9385:
    2.591 - 0.0615 k, 9 late.
    """
    row = picture_row(subject, budgets_between(1000, 500), clip, 610)
    assert (row.way, row.frames, row.bytes, row.changes) == ("610 bytes", 120, 610, 0)
    assert row.over_budget == pytest.approx(40 / 120)
    assert row.overshoot == pytest.approx((20 * (610 / 550 - 1) + 20 * (610 / 400 - 1)) / 120)
    assert row.late == pytest.approx((11 + 4 + 19 + 20 + 9) / 120)


@pytest.mark.parametrize(
    ("shares", "late"),
    [
        ([1.0, 1.0, 1.0, 1.0], []),
        ([2.0, 0.5, 0.5], []),  # just in time is in time
        ([2.5, 0.4, 0.4], [0]),
        ([2.5, 0.6, 0.4], [0, 1]),  # nobody overtakes
        ([0.1, 1.9, 1.2, 0.5], [2]),
    ],
)
def test_a_frame_waits_for_those_before_it(shares: list[float], late: list[int]) -> None:
    told = list(rate_rows._late(np.array(shares)))
    assert [index for index, is_late in enumerate(told) if is_late] == late


def test_the_least_budget_is_below_every_rung_and_above_nothing(
    subject: Subject, clip: Clip
) -> None:
    """However far the ladder reaches: of 450 bytes all fit but those with a budget of 400."""
    row = picture_row(subject, budgets_between(5000, 500), clip, 450)
    assert row.over_budget == pytest.approx(20 / 120)
    assert row.overshoot == pytest.approx(20 / 120 * (450 / 400 - 1))


@pytest.mark.parametrize(("place", "chosen"), [(1, 0), (2, 4)])
def test_a_fixed_rung_sends_every_frame_at_it(
    subject: Subject, clip: Clip, measured: CutRow, tensor: OurTensor, place: int, chosen: int
) -> None:
    ways = measure_rate(subject, allowing(measured, 4), clip, [], FLOOR)
    row = ways[place]
    assert row.way == ("finest rung", "coarsest allowed rung")[place - 1]
    stream = subject.on_pictures(clip.frames)
    symbols = tensor.symbols(stream.activations("sum").tensors[0], chosen)
    codec = SymbolsCodec(tensor.ladder[chosen])
    assert row.bytes == pytest.approx(np.mean([len(codec.encode(item)) for item in symbols]))
    score = stream.score_cut("sum", [tensor.values(symbols, chosen)])
    assert (row.error, row.agreement) == (score.error, score.agreement)
    assert (row.frames, row.changes) == (FRAMES, 0)


def test_a_picture_codec_is_judged_by_what_arrives(
    subject: Subject, clip: Clip, measured: CutRow
) -> None:
    dark = PictureRival("dark", lambda p: bytes(7), lambda _: np.zeros((8, 8, 3), np.uint8))
    row = measure_rate(subject, measured, clip, [dark], FLOOR)[-1]
    score = subject.on_pictures(clip.frames).score_pictures(np.zeros_like(clip.frames))
    assert (row.way, row.bytes) == ("dark", 7)
    assert (row.error, row.agreement) == (score.error, score.agreement)
    assert score.error > 0


@pytest.mark.parametrize("chosen", [0, 1, 4, 8])
def test_the_controller_keeps_to_the_allowed_rungs(
    subject: Subject, clip: Clip, measured: CutRow, tensor: OurTensor, chosen: int
) -> None:
    stream, row = subject.on_pictures(clip.frames), allowing(measured, chosen)
    rungs = rate_rows._RateBench(stream, row, tensor, FLOOR).controlled()
    assert len(rungs) == FRAMES
    assert set(rungs) <= set(range(chosen + 1))
    assert len(set(rungs)) > 1 or chosen == 0
    assert max(before - after for before, after in pairwise(rungs)) <= 1  # finer, one by one


def test_the_controller_is_the_first_row_and_takes_the_rungs_that_it_chose(
    subject: Subject, clip: Clip, measured: CutRow, tensor: OurTensor
) -> None:
    row = allowing(measured, 4)
    controlled, finest, coarsest = measure_rate(subject, row, clip, [], FLOOR)
    stream = subject.on_pictures(clip.frames)
    rungs = rate_rows._RateBench(stream, row, tensor, FLOOR).controlled()
    (values,) = stream.activations("sum").tensors
    sizes, arrived = [], []
    for value, each in zip(values, rungs, strict=True):
        symbols = tensor.symbols(value[None], each)
        sizes.append(len(SymbolsCodec(tensor.ladder[each]).encode(symbols)))
        arrived.append(tensor.values(symbols, each)[0])
    assert controlled.way == "rate control"
    assert controlled.bytes == pytest.approx(np.mean(sizes))
    assert controlled.error == stream.score_cut("sum", [np.stack(arrived)]).error
    assert controlled.changes == sum(a != b for a, b in pairwise(rungs)) > 0
    assert coarsest.bytes < controlled.bytes < finest.bytes
    assert controlled.over_budget < finest.over_budget


def test_where_no_rung_meets_the_floor_the_finest_is_kept(
    subject: Subject, clip: Clip, measured: CutRow, tensor: OurTensor
) -> None:
    poor = tuple(replace(each, agreement=0.1) for each in measured.rungs)
    row = replace(measured, rungs=poor, chosen=0, meets_floor=False)
    bench = rate_rows._RateBench(subject.on_pictures(clip.frames), row, tensor, FLOOR)
    assert set(bench.controlled()) == {0}
