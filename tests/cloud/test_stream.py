"""A stream without a network: what happens when the device hangs up, stalls or breaks off."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import cast

import grpc
import pytest
from tests.cloud.device import GUARD_S, Head
from tests.cloud.gated import GatedTail

from isthmus import Bundle
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import Answerer, StreamMemory
from isthmus_cloud.service import Context as ServicerContext
from isthmus_cloud.service import SplitService
from isthmus_cloud.session import Session
from isthmus_cloud.stream import OUTBOX_MESSAGES, Stream


@pytest.fixture
def answerer(bundle: Bundle, gate: GatedTail) -> Iterator[Answerer]:
    with Answerer(bundle.manifest, {"input": gate, "cut": gate}) as answerer:
        yield answerer
        gate.open_for_good()


class Wire:
    """Messages of the device, given one by one, and those of the service."""

    def __init__(self, bundle: Bundle) -> None:
        self._up: asyncio.Queue[pb.EdgeMessage] = asyncio.Queue()
        self.down: asyncio.Queue[pb.CloudMessage] = asyncio.Queue()
        self.taken = 0
        hello = pb.Hello(protocol=PROTOCOL, bundle_fingerprint=bundle.fingerprint)
        self.send(pb.EdgeMessage(hello=hello))

    def send(self, message: pb.EdgeMessage) -> None:
        self._up.put_nowait(message)

    async def messages(self) -> AsyncIterator[pb.EdgeMessage]:
        while True:
            message = await self._up.get()
            self.taken += 1
            yield message

    async def receive(self) -> pb.CloudMessage:
        async with asyncio.timeout(GUARD_S):
            return await self.down.get()


def new_session(bundle: Bundle) -> Session:
    terms = pb.Welcome(protocol=PROTOCOL, bundle_fingerprint=bundle.fingerprint, window=8)
    return Session(terms)


async def test_a_stream_that_ends_gives_up_its_queued_frames(
    bundle: Bundle, answerer: Answerer, gate: GatedTail, head: Head
) -> None:
    wire = Wire(bundle)
    for sequence in range(1, 6):
        wire.send(pb.EdgeMessage(frame=head.frame("cut-16", sequence)))
    wire.send(pb.EdgeMessage(heartbeat=pb.Heartbeat(id=1)))
    stream = Stream(new_session(bundle), answerer, wire.down.put)
    serving = asyncio.create_task(stream.serve(wire.messages()))
    kinds = [(await wire.receive()).WhichOneof("kind") for _ in range(2)]
    assert kinds == ["welcome", "heartbeat"]
    await gate.begun()
    assert answerer.load().frames_waiting == 4
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert answerer.load().frames_waiting == 0
    gate.open_for_good()
    frame = head.frame("cut-16", 9)
    async with asyncio.timeout(GUARD_S):
        await answerer.answer(frame, 1, 0, StreamMemory())
    assert gate.runs == 2  # the one that had begun, and this one


async def test_a_device_that_does_not_read_is_not_read_either(
    bundle: Bundle, answerer: Answerer
) -> None:
    wire = Wire(bundle)
    for number in range(10 * OUTBOX_MESSAGES):
        wire.send(pb.EdgeMessage(heartbeat=pb.Heartbeat(id=number)))
    stalled = asyncio.Event()

    async def write(message: pb.CloudMessage) -> None:
        await stalled.wait()
        await wire.down.put(message)

    stream = Stream(new_session(bundle), answerer, write)
    serving = asyncio.create_task(stream.serve(wire.messages()))
    for _ in range(100):
        await asyncio.sleep(0)  # let every task go as far as it can
    assert wire.taken <= OUTBOX_MESSAGES + 3
    stalled.set()
    assert (await wire.receive()).WhichOneof("kind") == "welcome"
    ids = [(await wire.receive()).heartbeat.id for _ in range(10 * OUTBOX_MESSAGES)]
    assert ids == list(range(10 * OUTBOX_MESSAGES))
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


class Context:
    """A call; on a `dead` one the transport fails at the first write."""

    def __init__(self, wire: Wire, dead: bool) -> None:
        self._wire = wire
        self._dead = dead

    async def write(self, message: pb.CloudMessage) -> None:
        if self._dead:
            raise grpc.aio.InternalError("the call is dead")
        await self._wire.down.put(message)


async def messages_that_break_off(wire: Wire) -> AsyncIterator[pb.EdgeMessage]:
    async for message in wire.messages():
        yield message
        await wire.receive()
        raise grpc.aio.InternalError("the call is dead")


@pytest.mark.parametrize("dead_to", ["reader", "writer"])
async def test_a_call_that_breaks_off_ends_its_stream_quietly(
    bundle: Bundle, answerer: Answerer, caplog: pytest.LogCaptureFixture, dead_to: str
) -> None:
    service = SplitService(answerer, bundle.fingerprint, window=8, max_frame_bytes=1 << 20)
    wire = Wire(bundle)
    messages = messages_that_break_off(wire) if dead_to == "reader" else wire.messages()
    context = Context(wire, dead=dead_to == "writer")
    with caplog.at_level(logging.INFO):
        async with asyncio.timeout(GUARD_S):
            await service.Stream(messages, cast("ServicerContext", context))
    assert [record.levelname for record in caplog.records] == ["INFO"]
