"""A frame that was sent: whoever answers first ends it, and the other is called off."""

import asyncio
from collections.abc import Mapping
from itertools import chain, repeat
from typing import Any

import numpy as np
import pytest
from tests.candidates import candidate

from isthmus import Candidate, Cut, LinkError, WireError
from isthmus.session import Answered, Failed, Lost, Missing
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.runtimes import AnyArray
from isthmus_edge.stream.flight import Flight
from isthmus_edge.stream.frame import Frame
from isthmus_edge.stream.underway import Ending, Underway

CUT = Cut(id="cut", chain="whole", depth=1, macs_share=0.5, tensors=(), tail=("tail.onnx",))
FROM_CLOUD: Mapping[str, AnyArray] = {"out": np.zeros(1)}
FROM_DEVICE: Mapping[str, AnyArray] = {"out": np.ones(1)}
PATIENT_S = 60.0


class FakeRest:
    """A rest that begins and ends when the test says so."""

    def __init__(self) -> None:
        self.done: asyncio.Future[tuple[Mapping[str, AnyArray], float]] = asyncio.Future()
        self.has_begun = False
        self.given_up = False

    def give_up(self) -> None:
        self.given_up = True
        self.done.cancel()


class FakeMeans:
    """Notes what was asked for."""

    def __init__(self) -> None:
        self.rests: list[FakeRest] = []
        self.sent: list[pb.Frame] = []
        self.key_frames = 0
        self.lost_marks: list[int] = []
        self.link_error: Exception | None = None
        self.wrong_answers = False

    def send_again(self, frame: Frame, message: pb.Frame) -> None:
        if self.link_error is not None:
            raise self.link_error
        self.sent.append(message)

    async def key_frame(self, frame: Frame, candidate: Candidate) -> pb.Frame:
        self.key_frames += 1
        return pb.Frame(sequence=frame.sequence)

    def not_held(self, message: pb.Frame) -> None:
        self.lost_marks.append(message.mark)

    async def finish(self, frame: Frame) -> Any:
        self.rests.append(FakeRest())
        return self.rests[-1]

    def merged(self, frame: Frame, cut: Cut, result: pb.Result) -> Mapping[str, AnyArray]:
        if self.wrong_answers:
            raise WireError("an output is missing")
        return FROM_CLOUD


class Sent:
    """One frame under way, and what the test tells it."""

    def __init__(
        self, means: FakeMeans, *patience_s: float, reference: int = 0, mark: int = 0
    ) -> None:
        self.means = means
        self.flight = Flight(1, 100)
        frame = Frame(1, {}, asyncio.Future(), None, cut=CUT)
        message = pb.Frame(sequence=1, reference=reference, mark=mark)
        asked = chain(patience_s, repeat(patience_s[-1]))
        underway = Underway(frame, candidate("cut"), message, means, lambda: next(asked))
        self.ending = asyncio.ensure_future(underway.end(self.flight))

    async def told(self, *news: Answered | Failed | Missing | Lost) -> None:
        """News came, and the frame has heeded it."""
        for one in news:
            self.flight.news.put_nowait(one)
        await settled()

    async def end(self) -> Ending:
        async with asyncio.timeout(PATIENT_S):
            return await self.ending


async def settled() -> None:
    """Every task has done what it can do by itself."""
    for _ in range(20):
        await asyncio.sleep(0)


ANSWER = Answered(1, pb.Result(sequence=1))


async def test_an_answer_in_time_ends_it_and_the_device_does_nothing() -> None:
    sent = Sent(FakeMeans(), PATIENT_S)
    await sent.told(ANSWER)
    ending = await sent.end()
    assert (ending.place, ending.outputs) == ("cloud", FROM_CLOUD)
    assert sent.means.rests == []


@pytest.mark.parametrize(
    "trouble", [Lost("the link is dead"), Failed(1, "OVERLOADED", "too many"), None]
)
async def test_the_device_finishes_what_is_lost_refused_or_late(
    trouble: Lost | Failed | None,
) -> None:
    sent = Sent(FakeMeans(), PATIENT_S if trouble else 0.0)
    await sent.told(*([trouble] if trouble else []))
    (rest,) = sent.means.rests
    rest.done.set_result((FROM_DEVICE, 7.0))
    ending = await sent.end()
    assert (ending.place, ending.outputs, ending.rest_ms) == ("device", FROM_DEVICE, 7.0)


async def test_it_is_late_when_asking_again_allows_no_more_time() -> None:
    waits_on, is_late = Sent(FakeMeans(), 0.0, PATIENT_S), Sent(FakeMeans(), 0.0, 0.0)
    await settled()
    assert waits_on.means.rests == []
    assert len(is_late.means.rests) == 1
    for sent in (waits_on, is_late):
        await sent.told(ANSWER)
        assert (await sent.end()).place == "cloud"


async def test_a_late_answer_that_is_earlier_than_the_device_wins_and_calls_it_off() -> None:
    sent = Sent(FakeMeans(), 0.0)
    await settled()
    (rest,) = sent.means.rests
    rest.has_begun = True
    await sent.told(ANSWER)
    assert (await sent.end()).place == "cloud"
    assert rest.given_up


async def test_an_answer_that_cannot_be_used_is_finished_by_the_device() -> None:
    means = FakeMeans()
    means.wrong_answers = True
    sent = Sent(means, PATIENT_S)
    await sent.told(ANSWER)
    means.rests[0].done.set_result((FROM_DEVICE, 1.0))
    assert (await sent.end()).place == "device"


async def test_a_frame_the_service_does_not_hold_is_sent_again_in_place_of_its_rest() -> None:
    sent = Sent(FakeMeans(), PATIENT_S)
    await sent.told(Lost("flap"), Missing(1, may_send_again=True))
    assert len(sent.means.sent) == 1
    assert sent.means.key_frames == 0  # it stood alone: no need to encode it anew
    assert sent.means.rests[0].given_up
    await sent.told(ANSWER)
    assert (await sent.end()).place == "cloud"


async def test_a_difference_is_sent_again_as_a_key_frame() -> None:
    sent = Sent(FakeMeans(), PATIENT_S, reference=3)
    await sent.told(Lost("flap"), Missing(1, may_send_again=True))
    assert sent.means.key_frames == 1
    await sent.told(ANSWER)
    await sent.end()


async def test_a_frame_that_the_device_has_begun_is_not_sent_again() -> None:
    sent = Sent(FakeMeans(), PATIENT_S)
    await sent.told(Lost("flap"))
    sent.means.rests[0].has_begun = True
    await sent.told(Missing(1, may_send_again=True))
    assert sent.means.sent == []
    sent.means.rests[0].done.set_result((FROM_DEVICE, 1.0))
    assert (await sent.end()).place == "device"


async def test_a_frame_that_may_not_be_sent_again_stays_with_the_device() -> None:
    sent = Sent(FakeMeans(), PATIENT_S)
    await sent.told(Lost("flap"), Missing(1, may_send_again=False))
    assert sent.means.sent == []
    sent.means.rests[0].done.set_result((FROM_DEVICE, 1.0))
    assert (await sent.end()).place == "device"


async def test_the_device_finishes_what_cannot_be_sent_again() -> None:
    means = FakeMeans()
    means.link_error = LinkError("down again")
    sent = Sent(means, PATIENT_S)
    await sent.told(Lost("flap"), Missing(1, may_send_again=True))
    (rest,) = means.rests
    assert not rest.given_up
    rest.done.set_result((FROM_DEVICE, 1.0))
    assert (await sent.end()).place == "device"


async def test_the_cloud_asks_for_a_key_frame_and_gets_one() -> None:
    sent = Sent(FakeMeans(), PATIENT_S, reference=3)
    await sent.told(Failed(1, "KEY_FRAME_NEEDED", "nothing held"))
    assert (sent.means.key_frames, len(sent.means.sent)) == (1, 1)
    await sent.told(ANSWER)
    assert (await sent.end()).place == "cloud"


@pytest.mark.parametrize(
    ("code", "lost_marks"), [("OVERLOADED", [4]), ("KEY_FRAME_NEEDED", [4]), ("TOO_LATE", [])]
)
async def test_what_was_refused_undecoded_is_told_to_be_no_reference(
    code: str, lost_marks: list[int]
) -> None:
    sent = Sent(FakeMeans(), PATIENT_S, reference=3, mark=4)
    await sent.told(Failed(1, code, "no"))
    assert sent.means.lost_marks == lost_marks
    await sent.told(ANSWER)
    assert (await sent.end()).place == "cloud"


async def test_a_rest_that_fails_is_the_frames_error() -> None:
    sent = Sent(FakeMeans(), 0.0)
    await settled()
    sent.means.rests[0].done.set_exception(WireError("the runtime failed"))
    with pytest.raises(WireError, match="the runtime failed"):
        await sent.end()
