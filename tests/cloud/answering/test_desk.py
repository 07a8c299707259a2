"""What is taken in, what is turned away at once, and that each ends exactly once."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest
from tests.cloud.device import GUARD_S, Head
from tests.cloud.gated import GatedTail
from tests.cloud.serving import fake_tail
from tests.cloud.wire import until

from isthmus import Bundle, ModelError
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import Answerer, Batching, Desk, DeskLimits, OverloadedError, StreamMemory
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.engines.batch_times import BatchTimes

MOST_WAITING = 3


class Clients:
    """Sends frames that nobody but the test waits for."""

    def __init__(self, answerer: Answerer, head: Head) -> None:
        self._answerer = answerer
        self._head = head
        self._memories: dict[str, StreamMemory] = {}
        self._sequence = 0

    def send(self, client: str, deadline_ms: int = 0) -> "asyncio.Future[pb.Result]":
        self._sequence += 1
        frame = self._head.frame("cut-16", self._sequence)
        frame.deadline_ms = deadline_ms
        memory = self._memories.setdefault(client, StreamMemory())
        return self._answerer.begin(frame, time.monotonic_ns(), 0, memory, client)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    with Desk(DeskLimits(max_waiting=MOST_WAITING), Batching()) as desk:
        yield desk
    assert desk.bytes_in_flight == 0
    assert desk.waiting == 0


@pytest.fixture
def clients(bundle: Bundle, desk: Desk, gate: GatedTail, head: Head) -> Clients:
    """One frame runs at a time, as the gate says; a frame is thought to take 50 ms."""
    tails = {name: fake_tail(bundle.manifest, name, gate) for name in ("input", "cut")}
    slow = BatchTimes((1,), (50.0,))
    timed = {
        name: replace(tail, parts=tuple(replace(part, times=slow) for part in tail.parts))
        for name, tail in tails.items()
    }
    return Clients(Answerer(bundle.manifest, timed, desk), head)


async def answered(*futures: "asyncio.Future[pb.Result]") -> list[int]:
    async with asyncio.timeout(GUARD_S):
        return [(await future).sequence for future in futures]


async def test_a_full_queue_refuses_with_a_time_to_come_back(
    clients: Clients, gate: GatedTail
) -> None:
    running = clients.send("one")
    await gate.begun()
    waiting = [clients.send(name) for name in ("one", "two", "three")]
    with pytest.raises(OverloadedError, match="3 frames wait, which is the most"):
        clients.send("four")
    gate.open_for_good()
    assert await answered(running, *waiting) == [1, 2, 3, 4]


async def test_whoever_fills_the_queue_makes_room_for_others(
    clients: Clients, gate: GatedTail
) -> None:
    running = clients.send("greedy")
    await gate.begun()
    greedy = [clients.send("greedy") for _ in range(MOST_WAITING)]
    modest = clients.send("modest")
    with pytest.raises(OverloadedError):
        await greedy[-1]
    with pytest.raises(OverloadedError):
        clients.send("greedy")
    gate.open_for_good()
    assert await answered(running, modest, *greedy[:-1]) == [1, 5, 2, 3]


async def test_what_could_not_be_in_time_is_refused_at_once(
    clients: Clients, gate: GatedTail, desk: Desk
) -> None:
    desk._gauge.learn(50.0)  # so long each takes, as far as anybody knows
    running = clients.send("one")
    await gate.begun()
    waiting = clients.send("two")
    assert desk.load().queue_ms == 100
    with pytest.raises(
        OverloadedError, match=r"a frame waits \d+ ms .* this one has \d+ ms"
    ) as refused:
        clients.send("three", deadline_ms=10)
    assert refused.value.retry_after_ms == 100
    in_time = clients.send("three", deadline_ms=60_000)
    gate.open_for_good()
    assert len(await answered(running, waiting, in_time)) == 3


async def test_a_frame_that_is_given_up_while_it_waits_is_not_run(
    clients: Clients, gate: GatedTail, desk: Desk
) -> None:
    running, waiting = clients.send("one"), clients.send("two")
    await gate.begun()
    waiting.cancel()
    await until(lambda: desk.waiting == 0)
    gate.open_for_good()
    await answered(running)
    await desk.quiet()
    assert gate.runs == 1


async def test_a_tail_that_raises_ends_its_frame_and_no_worker(
    bundle: Bundle, desk: Desk, tails: Mapping[str, Tail], head: Head
) -> None:
    class Broken:
        provider = "BrokenExecutionProvider"

        def run(self, feeds: object) -> list[object]:
            raise ZeroDivisionError("not even a ModelError")

    broken = fake_tail(bundle.manifest, "cut", Broken())  # type: ignore[arg-type]
    clients = Clients(Answerer(bundle.manifest, {**tails, "cut": broken}, desk), head)
    for _ in range(3):
        with pytest.raises((ZeroDivisionError, ModelError)):
            await clients.send("one")
    whole = Clients(Answerer(bundle.manifest, tails, desk), head)
    assert await answered(whole.send("one")) == [1]
