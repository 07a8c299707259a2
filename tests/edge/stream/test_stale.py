"""What nobody waits for any more does not go over a link that is too slow for it."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.edge.fakes import FakeService, marked_answer
from tests.tinybundle import tiny_pictures

from isthmus.session import Identity
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import Agent, AgentConfig, Connection, LinkEstimator, OnEnd, OnMessage
from isthmus_edge.policy.outlook import Outlook, Sent
from isthmus_edge.stream import addresses, transport
from isthmus_edge.stream.uplink import Uplink
from isthmus_edge.stream.ways import only_way

PATIENT = 20.0
PICTURES = tiny_pictures(4)


def frame(sequence: int) -> pb.EdgeMessage:
    return pb.EdgeMessage(frame=pb.Frame(sequence=sequence))


def outbox(*messages: pb.EdgeMessage) -> transport._Outbox:
    found = transport._Outbox()
    for message in messages:
        found.put(message)
    return found


def test_a_frame_that_has_not_left_is_taken_back() -> None:
    beat = pb.EdgeMessage(heartbeat=pb.Heartbeat(id=2))
    waiting = outbox(frame(1), frame(2), beat, frame(3))
    left = iter(waiting)
    assert next(left) == frame(1)
    assert waiting.withdraw(2)
    assert [next(left), next(left)] == [beat, frame(3)]
    assert not any(waiting.withdraw(sequence) for sequence in (1, 2, 3))


def test_an_outbox_that_is_closed_ends_whoever_waits_for_a_message() -> None:
    waiting = outbox(frame(1))
    found: list[pb.EdgeMessage] = []
    taker = threading.Thread(target=lambda: found.extend(waiting))
    taker.start()
    waiting.close()
    taker.join(PATIENT)
    assert not taker.is_alive()
    assert found in ([], [frame(1)])


def test_what_an_outbox_holds_when_it_is_finished_still_leaves_and_nothing_behind_it() -> None:
    waiting = outbox(frame(1), frame(2))
    waiting.finish()
    waiting.put(frame(3))
    assert list(waiting) == [frame(1), frame(2)]


class Slow(FakeService):
    """A link on which frames wait; `withdrawn` are those that were taken back."""

    def __init__(self) -> None:
        super().__init__()
        self.withdrawn: list[int] = []

    def connect(self, on_message: OnMessage, on_end: OnEnd) -> Connection:
        connection = super().connect(on_message, on_end)

        def withdraw(sequence: int) -> bool:
            self.withdrawn.append(sequence)
            return True

        connection.withdraw = withdraw  # type: ignore[method-assign]
        return connection


class Forgetful(LinkEstimator):
    """Notes what it hears of frames that did not leave."""

    def __init__(self) -> None:
        super().__init__()
        self.taken_back = 0

    def withdrawn(self, message: int) -> None:
        assert message > 0
        self.taken_back += 1
        super().withdrawn(message)


def test_a_frame_that_the_device_has_finished_is_taken_back(tiny_bundle: Path) -> None:
    service, estimator = Slow(), Forgetful()
    service.respond = lambda frame: None
    config = AgentConfig(
        bundle=tiny_bundle, cloud="127.0.0.1:1", candidate="input-raw", patience_ms=1.0
    )
    with Agent.open(config, transport=service, estimator=lambda: estimator) as agent:
        answers = [agent.infer(picture) for picture in PICTURES]
        assert {answer.place for answer in answers} == {"device"}
        assert agent.stats().pending == 0
    assert service.withdrawn == [answer.sequence for answer in answers]
    assert estimator.taken_back == len(answers)
    assert service.cancelled == service.withdrawn, "it may be there from an earlier stream"


def test_what_is_asked_again_is_told_of_deadline_queue_and_rests(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Sent] = []

    def spy(outlook: Outlook, decision: object, link: object, sent: Sent) -> float:
        told.append(sent)
        return PATIENT * 1e3

    monkeypatch.setattr(Outlook, "patience_ms", spy)
    service = FakeService()
    service.link_bps = 1e5
    held: list[pb.Frame] = []
    both = threading.Event()

    def respond(frame: pb.Frame) -> None:
        held.append(frame)
        if len(held) == 2:
            both.set()

    service.respond = respond
    config = AgentConfig(bundle=tiny_bundle, cloud="127.0.0.1:1", candidate="input-raw")
    with Agent.open(config, transport=service) as agent:
        service.respond = marked_answer
        agent.infer(PICTURES[0])
        service.respond = respond
        futures = [agent.submit(picture, 60_000.0) for picture in PICTURES[:2]]
        assert both.wait(PATIENT)
        for each in held:
            service.say(marked_answer(each))
        assert {future.result(PATIENT).place for future in futures} == {"cloud"}
    alone, first, second = told
    assert alone.left_ms is None
    assert first.left_ms is not None
    assert 0 < first.left_ms <= 60_000
    assert first.ahead_bytes < second.ahead_bytes
    assert 0 <= first.waited_ms < 60_000


async def run_until(up: Uplink, is_so: Callable[[], bool]) -> None:
    first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(up.run(first))
    async with asyncio.timeout(PATIENT):
        while not is_so():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0)
    running.cancel()
    up.close()
    if first.done():
        first.exception()


async def test_a_transport_that_cannot_begin_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addresses, "BACKOFF_S", (0.001, 0.002))
    service = FakeService()
    broken = [RuntimeError("can't start new thread")] * 2
    connect = service.connect

    def breaking(*callbacks: object) -> object:
        if broken:
            raise broken.pop()
        return connect(*callbacks)  # type: ignore[arg-type]

    monkeypatch.setattr(service, "connect", breaking)
    identity = Identity("one", "f" * 64)
    up = Uplink(only_way(service), identity, 1.0, LinkEstimator(), lambda *_: None)
    await run_until(up, lambda: up.connects == 1)
    assert not broken


async def test_only_answers_that_are_awaited_put_off_that_the_link_is_called_dead() -> None:
    """A large one keeps every sign of life behind it; one that is here does not any more."""
    service = FakeService()
    service.respond = lambda frame: None
    service.link_bps = 1e6
    allowed: list[float] = []
    identity = Identity("one", "f" * 64)
    up = Uplink(only_way(service), identity, 1.4, LinkEstimator(), lambda *_: None)
    session = up._session
    session.allow_for_answers = allowed.append  # type: ignore[method-assign,assignment]

    def two_frames_later() -> bool:
        if up.measured.is_set() and not service.frames:
            up.send(pb.Frame(sequence=1, candidate="cut"), 1_000_000)
            allowed.clear()
            service.say(pb.CloudMessage(load=pb.Load()))
        if any(seconds > 1.0 for seconds in allowed):
            allowed.clear()
            service.say(marked_answer(pb.Frame(sequence=1)))
        return bool(service.frames) and bool(allowed) and allowed[-1] == 0.0

    await run_until(up, two_frames_later)
