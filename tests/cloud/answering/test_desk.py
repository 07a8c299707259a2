"""What is taken in, what is turned away at once, and that each ends exactly once."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.cloud.device import GUARD_S, Head
from tests.cloud.gated import GatedTail
from tests.cloud.serving import fake_tail
from tests.cloud.wire import until

from isthmus import Bundle, ConfigError, ModelError
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

    def send(
        self, client: str, deadline_ms: int = 0, candidate: str = "cut-16"
    ) -> "asyncio.Future[pb.Result]":
        self._sequence += 1
        frame = self._head.frame(candidate, self._sequence)
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
    slow = {name: timed(tail, 50.0) for name, tail in tails.items()}
    return Clients(Answerer(bundle.manifest, slow, desk), head)


def timed(tail: Tail, took_ms: float) -> Tail:
    """This one, of whose parts each is thought to take so long."""
    times = BatchTimes((1,), (took_ms,))
    return replace(tail, parts=tuple(replace(part, times=times) for part in tail.parts))


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


async def test_memory_is_made_by_the_latest_frames_of_whoever_has_most_waiting(
    bundle: Bundle, gate: GatedTail, head: Head
) -> None:
    """As a full queue is: a client that has less is not turned away."""
    each = head.frame("cut-16")
    each_bytes = len(each.payloads[0].data) + 8 * 16 * 16 + 10 * 4
    with Desk(DeskLimits(max_bytes_in_flight=8 * each_bytes), Batching()) as desk:
        tails = {name: fake_tail(bundle.manifest, name, gate) for name in ("input", "cut")}
        clients = Clients(Answerer(bundle.manifest, tails, desk), head)
        running = clients.send("greedy")
        await gate.begun()
        greedy = [clients.send("greedy") for _ in range(7)]
        desk._gauge.learn(1000.0)
        with pytest.raises(OverloadedError, match="do not fit") as refused:
            clients.send("greedy")
        assert refused.value.retry_after_ms == 8000
        modest = clients.send("modest")
        with pytest.raises(OverloadedError, match="needed for another client's"):
            await greedy[-1]
        assert desk.bytes_in_flight == 8 * each_bytes
        gate.open_for_good()
        assert await answered(running, modest, *greedy[:-1]) == [1, 10, *range(2, 8)]
        assert desk.bytes_in_flight == 0


async def test_memory_that_a_running_frame_has_is_free_when_it_is_done(
    bundle: Bundle, gate: GatedTail, head: Head
) -> None:
    """There is room for one raw picture, not for two."""
    with Desk(DeskLimits(max_bytes_in_flight=11_500), Batching()) as desk:
        tails = {name: fake_tail(bundle.manifest, name, gate) for name in ("input", "cut")}
        clients = Clients(Answerer(bundle.manifest, tails, desk), head)
        desk._gauge.learn(1000.0)
        running = clients.send("one", candidate="input-raw")
        await gate.begun()
        with pytest.raises(OverloadedError, match="do not fit") as refused:
            clients.send("two", candidate="input-raw")
        assert refused.value.retry_after_ms == 1000
        gate.open_for_good()
        assert await answered(running) == [1]


async def test_a_client_that_crowds_is_refused_early_and_others_are_not(
    bundle: Bundle, gate: GatedTail, head: Head
) -> None:
    """By turns, its own frames go before the next one of the greedy alone."""
    with Desk(DeskLimits(), Batching()) as desk:
        tails = {name: fake_tail(bundle.manifest, name, gate) for name in ("input", "cut")}
        clients = Clients(Answerer(bundle.manifest, tails, desk), head)
        desk._gauge.learn(1000.0)
        running = clients.send("greedy")
        await gate.begun()
        greedy = [clients.send("greedy") for _ in range(9)]
        with pytest.raises(OverloadedError, match=r"waits 10000 ms at present") as refused:
            clients.send("greedy", deadline_ms=5000)
        assert refused.value.retry_after_ms == 10_000
        modest = clients.send("modest", deadline_ms=5000)
        gate.open_for_good()
        await answered(running, modest, *greedy)


async def test_a_frame_of_a_long_tail_does_not_wait_long_behind_short_ones(
    bundle: Bundle, desk: Desk, gate: GatedTail, head: Head
) -> None:
    """Three of 1 ms each, of which one runs, though the newcomer itself takes 5 s."""
    tails = {
        name: timed(fake_tail(bundle.manifest, name, gate), took_ms)
        for name, took_ms in (("input", 5000.0), ("cut", 1.0))
    }
    clients = Clients(Answerer(bundle.manifest, tails, desk), head)
    desk._gauge.learn(1e6)
    running = clients.send("one")
    await gate.begun()
    short = [clients.send(name) for name in ("one", "two")]
    long = clients.send("three", deadline_ms=10_000, candidate="input-raw")
    gate.open_for_good()
    assert await answered(running, *short, long) == [1, 2, 3, 4]


async def test_what_waits_for_a_version_that_goes_ends_on_the_loop(
    bundle: Bundle, desk: Desk, gate: GatedTail, head: Head
) -> None:
    """Versions are closed by another thread, which must not touch what the loop has."""
    tails = {name: fake_tail(bundle.manifest, name, gate) for name in ("input", "cut")}
    clients = Clients(Answerer(bundle.manifest, tails, desk), head)
    running = clients.send("one")
    await gate.begun()
    waiting = clients.send("one")
    threads = []
    waiting.add_done_callback(lambda _: threads.append(threading.current_thread()))
    asyncio.get_running_loop().set_debug(True)  # then asyncio refuses calls of other threads
    await asyncio.to_thread(desk.forget, tails.values())
    with pytest.raises(ModelError, match="is gone"):
        await waiting
    assert threads == [threading.main_thread()]
    gate.open_for_good()
    await answered(running)


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


async def test_an_engine_that_hangs_does_not_keep_the_service(
    bundle: Bundle, gate: GatedTail, head: Head, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(DeskLimits(), Batching())
    tails = {name: fake_tail(bundle.manifest, name, gate) for name in ("input", "cut")}
    clients = Clients(Answerer(bundle.manifest, tails, desk), head)
    hung, waiting = clients.send("one"), clients.send("two")
    await gate.begun()
    with caplog.at_level(logging.ERROR):
        desk.close(within_s=0.01)
    assert "1 of 1 workers did not end within 0.01 s: their engine hangs" in caplog.text
    for frame in (hung, waiting):
        with pytest.raises(OverloadedError, match="the service ends"):
            await frame
    gate.open_for_good()
    await until(lambda: desk.bytes_in_flight == 0)
    await desk.quiet()
    assert gate.runs == 1


async def test_a_drain_that_is_over_tells_every_frame(
    clients: Clients, gate: GatedTail, desk: Desk
) -> None:
    running, waiting = clients.send("one"), clients.send("two")
    await gate.begun()
    desk.give_up()
    for frame in (running, waiting):
        with pytest.raises(OverloadedError, match="the service ends"):
            await frame
    assert desk.waiting == 0
    assert desk.bytes_in_flight > 0  # of the one that runs
    gate.open_for_good()
    await desk.quiet()


async def test_frames_that_joined_a_batch_end_when_an_error_escapes(
    bundle: Bundle,
    desk: Desk,
    gate: GatedTail,
    tails: Mapping[str, Tail],
    head: Head,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever it is: none of them waits for ever, and the worker goes on."""

    class Gated:
        """The first part of the whole network, behind the gate."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner
            self.inputs, self.outputs, self.sizes = inner.inputs, inner.outputs, inner.sizes

        def run(self, feeds: Any) -> Sequence[Any]:
            gate.run([])
            return self._inner.run(feeds)  # type: ignore[no-any-return]

    first, *rest = tails["input"].parts
    own = replace(tails["input"], parts=(replace(first, program=Gated(first.program)), *rest))
    answerer = Answerer(bundle.manifest, {**tails, "input": own}, desk)
    whole = answerer.begin(head.frame("input-raw"), 1, 0, StreamMemory(), "one")
    await gate.begun()
    deep = answerer.begin(head.frame("cut-16"), 1, 0, StreamMemory(), "two")

    def escapes(*_: object) -> None:
        raise MemoryError("no room for the rows")

    monkeypatch.setattr(desk._workers._decoder, "batch", escapes)
    gate.open_for_good()
    for frame in (whole, deep):
        with pytest.raises(MemoryError):
            await asyncio.wait_for(frame, GUARD_S)
    monkeypatch.undo()
    again = answerer.begin(head.frame("cut-16"), 1, 0, StreamMemory(), "two")
    assert (await asyncio.wait_for(again, GUARD_S)).sequence == 1


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (Batching, "workers", 0),
        (Batching, "decoders", -1),
        (Batching, "linger_ms", -1.0),
        (Batching, "linger_ms", float("nan")),
        (Batching, "linger_ms", float("inf")),
        (DeskLimits, "max_waiting", 0),
        (DeskLimits, "max_bytes_in_flight", 0),
    ],
)
def test_numbers_that_make_no_sense_are_named(kind: Any, field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{field} is {value}; it must be"):
        kind(**{field: value})
