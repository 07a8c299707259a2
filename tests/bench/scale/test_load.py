"""The devices of the scale bench against a real service, and what is counted of answers."""

import asyncio
from collections.abc import Iterator
from math import inf

import msgspec
import pytest
from tests.bench.scale.made_up import scale_load

from isthmus.session import DeviceEvent, DeviceSession
from isthmus.v1 import split_pb2 as pb
from isthmus_bench.processes import EdgeProcess
from isthmus_bench.scale import load
from isthmus_bench.scale.fleets import IN_PROCESS, KINDS, Fleet, Place
from isthmus_bench.scale.load import _Ends, bear, phases_s, rate_per_s
from isthmus_bench.scale.orders import ScaleLoad, ScaleOrder
from isthmus_bench.scale.real import LOADER
from isthmus_bench.scale.subject import Subject
from isthmus_bench.serve import split_talker
from isthmus_bench.serve.tally import ANSWER, Tally


@pytest.fixture(scope="module")
def fleet(scale_subject: Subject) -> Iterator[Fleet]:
    """A plain process whose tails sleep."""
    logs = scale_subject.tables_path.parent / "logs"
    place = Place(scale_subject.path, logs, scale_subject.tables_path)
    (kind,) = (kind for kind in KINDS if kind.name == IN_PROCESS)
    with place.start(kind, sleeps=True) as fleet:
        yield fleet


def order(fleet: Fleet, subject: Subject, **changes: object) -> ScaleOrder:
    base = ScaleOrder(
        do="load",
        addresses=fleet.addresses * 2,
        case=str(subject.served.case),
        fingerprint=subject.fingerprint,
        devices=3,
        seconds=0.3,
        warm_s=0.1,
    )
    return msgspec.structs.replace(base, **changes)


def assert_all_answered(found: ScaleLoad) -> None:
    of = found.load
    assert of.accepted == of.answered > 0
    assert (of.errors, of.lost, of.wrong, of.unsent) == ({}, 0, 0, 0)
    assert (found.doubled, found.late) == (0, 0)


async def test_closed_loops_are_answered_rightly_by_tails_that_sleep(
    fleet: Fleet, scale_subject: Subject
) -> None:
    found = await bear(order(fleet, scale_subject, window=2))
    assert_all_answered(found)
    assert 0 < len(found.latencies_ms) == found.due < found.load.answered
    assert found.gap_ms > 0
    assert found.rate_per_s == pytest.approx(found.load.answers_per_s, rel=0.5)


async def test_cameras_send_at_their_phases_and_say_a_deadline(
    fleet: Fleet, scale_subject: Subject
) -> None:
    found = await bear(order(fleet, scale_subject, fps=10.0, seed=3, deadline_ms=60_000))
    assert_all_answered(found)
    due = sum(phase_s + n / 10 < 0.3 for phase_s in phases_s(3, 10.0, 3) for n in range(3))
    assert found.load.accepted == due


async def test_frames_that_are_of_no_use_before_they_can_be_begun_are_refused(
    fleet: Fleet, scale_subject: Subject
) -> None:
    """One at a time, each takes 4 ms: most of 40 that come at once cannot be begun within 1 ms."""
    found = await bear(order(fleet, scale_subject, devices=5, window=8, deadline_ms=1))
    assert found.load.errors.get("TOO_LATE", 0) > 0
    assert found.load.lost == 0
    assert found.load.accepted == found.load.answered + sum(found.load.errors.values())


async def test_a_load_goes_on_until_it_is_told(
    fleet: Fleet, scale_subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here by the twentieth frame that ends, whenever that may be."""
    told, ends, ended = asyncio.Event(), list[str](), Tally.ended

    def telling(self: Tally, due_at: float, now: float, kind: str, is_right: bool = True) -> None:
        ended(self, due_at, now, kind, is_right)
        ends.append(kind)
        if len(ends) == 20:
            told.set()

    monkeypatch.setattr(Tally, "ended", telling)
    found = await bear(order(fleet, scale_subject, fps=20.0, seconds=0.0, until_told=True), told)
    assert_all_answered(found)
    assert found.load.accepted >= 20


async def test_answers_after_the_deadline_are_late(
    fleet: Fleet, scale_subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline is not told here, so that the service answers nevertheless."""
    monkeypatch.setattr(load, "_with_deadline", lambda item, _: item)
    found = await bear(order(fleet, scale_subject, devices=5, window=8, deadline_ms=1))
    assert 0 < found.late <= found.load.answered


async def test_the_longest_gap_and_frames_after_the_end_are_counted() -> None:
    ends = _Ends()
    ends.set_times(1.0, 3.0)
    for due_at, now in ((0.5, 0.52), (1.0, 1.04), (1.1, 1.2), (1.9, 1.94), (2.9, 4.0)):
        ends.due(due_at)
        ends.accepted()
        ends.ended(due_at, now, ANSWER)
    ends.due(3.0)
    found = ends.load(0, None, 0.0)
    assert (ends.after_stop, found.answered) == (1, 5)
    assert ends.gap_s == pytest.approx(0.74)
    assert ends.took_ms == pytest.approx([40.0, 100.0, 40.0, 1100.0])
    assert found.p99_ms == pytest.approx(1100.0)
    assert (ends.counted, ends.answered_at) == (4, [1.04, 1.2, 1.94])


async def test_silence_until_the_end_is_a_gap_and_frames_without_an_answer_are_infinite() -> None:
    ends = _Ends()
    ends.set_times(0.0, 9.0)
    for due_at in (1.0, 2.0):
        ends.due(due_at)
    ends.ended(1.0, 1.5, ANSWER)
    assert ends.gap_s == 7.5
    found = scale_load([500.0], due=2)
    assert found.rising_ms == [500.0, inf]


@pytest.mark.parametrize("most", [1, 2, 8])
def test_a_rate_is_that_of_batches_wherever_the_clock_begins(most: int) -> None:
    """Batches of so many come every 0.1 s, their answers 0.1 ms apart."""
    for seconds in (1.02, 1.07, 2.0):
        batches = [n / 10 for n in range(1, 40) if 0.33 <= n / 10 < 0.33 + seconds]
        ends = [at + n * 1e-4 for at in batches for n in range(most)]
        assert rate_per_s(ends) == pytest.approx(10 * most, rel=1e-6)
    assert rate_per_s([]) == rate_per_s([1.0]) == rate_per_s([1.0, 1.0]) == 0.0


async def test_an_answer_that_comes_twice_is_counted(
    fleet: Fleet, scale_subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Twice(DeviceSession):
        def received(self, message: pb.CloudMessage, now: float) -> list[DeviceEvent]:
            events = super().received(message, now)
            again = message.WhichOneof("kind") == "result"
            return [*events, *super().received(message, now)] if again else events

    monkeypatch.setattr(split_talker, "DeviceSession", Twice)
    found = await bear(order(fleet, scale_subject))
    assert found.doubled == found.load.answered > 0


def test_a_process_obeys_orders_and_ends_a_load_when_told(
    fleet: Fleet, scale_subject: Subject
) -> None:
    fields = msgspec.to_builtins(order(fleet, scale_subject, fps=20.0, until_told=True))
    short = msgspec.to_builtins(order(fleet, scale_subject))
    with EdgeProcess({}, LOADER) as generator:
        assert generator.do(fields.pop("do"), **fields) == {"begun": True}
        ended = msgspec.convert(generator.do("end"), ScaleLoad).load
        assert (ended.answered, ended.lost) == (ended.accepted, 0)
        assert_all_answered(msgspec.convert(generator.do(short.pop("do"), **short), ScaleLoad))
