"""Many devices of one service, that keep it busy and note how each of their frames ends.

They are no agents: nothing is sent again, and nothing is finished here. So a frame that the service
has read and forgotten is lost, and is seen to be.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count, cycle
from typing import Any

import grpc
from tests.commands import PATIENCE_S
from tests.integration.faults.raw_device import End, tally_of
from tests.integration.faults.service_frames import Frames, Made
from tests.integration.faults.tally import Tally
from tests.integration.faults.traffic import WINDOW

from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus.v1.split_pb2_grpc import SplitStub

ALONE = (("grpc.use_local_subchannel_pool", 1),)  # each device has a connection of its own

_numbers = count(1)

__all__ = ["ALONE", "CAMERA", "BusyDevice", "Fleet", "Habits", "fleet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What a device does: which of its frames is poison (0: none), what deadlines they have
    (0: none), how long it rests after each, and whether it stops when the service says that it
    ends, or sends more than ever."""

    poison_every: int = 0
    deadline_ms: int = 0
    rest_s: float = 0.0
    heeds_drain: bool = True


CAMERA = Habits(rest_s=0.01)  # leaves the cores to what happens meanwhile


class BusyDevice:
    """One stream, with as many frames in flight as the window allows, until it is told to stop."""

    def __init__(self, call: Any, frames: Frames, habits: Habits, changed: Callable[[], None]):
        self._call = call
        self._frames = frames
        self._habits = habits
        self._changed = changed
        self._name = f"busy-{next(_numbers)}"
        self._plain, self._poison = cycle(frames.plain), cycle(frames.poison)
        self._made: dict[int, Made] = {}
        self._ends: list[End] = []
        self._open: set[int] = set()
        self._stops = False
        self._news = asyncio.Event()
        self._echoed = asyncio.Event()
        self._wrong = 0
        self.updates = 0
        self.since_drain: Counter[str] | None = None  # ends, once the service has said it ends

    @property
    def in_flight(self) -> int:
        """Frames that were sent and have not ended."""
        return len(self._open)

    @property
    def poisoned(self) -> set[int]:
        """Frames that cannot be answered."""
        return {sequence for sequence, made in self._made.items() if made.is_poison}

    @property
    def failed(self) -> dict[int, str]:
        """Frames that ended in an error, and its code."""
        return {sequence: kind for sequence, kind in self._ends if kind != "result"}

    def tally(self) -> Tally:
        """How all frames ended that were sent."""
        return replace(tally_of(len(self._made), self._ends), wrong=self._wrong)

    def tally_of_read(self) -> Tally:
        """The same of those that the service is known to have read: it reads in order, and where it
        ends the stream it may leave some unread."""
        read = max((sequence for sequence, _ in self._ends), default=0)
        return replace(tally_of(read, self._ends), wrong=self._wrong)

    def stop(self) -> None:
        """Send no more."""
        self._stops = True
        self._news.set()

    async def greet(self) -> None:
        """Say Hello and be welcomed."""
        hello = pb.Hello(
            protocol=PROTOCOL,
            session_id=self._name,
            bundle_fingerprint=self._frames.fingerprint,
        )
        await self._call.write(pb.EdgeMessage(hello=hello))
        message = await self._call.read()
        assert message.welcome.window == WINDOW, message

    async def work(self) -> grpc.StatusCode:
        """Until it was told to stop and all is answered, or the stream ends; how that ended."""
        writing = asyncio.create_task(self._write())
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                self._note(message)
        except grpc.aio.AioRpcError:
            pass  # the status says it
        writing.cancel()
        await asyncio.wait({writing})
        if not writing.cancelled():
            # gRPC's ways to say that the stream has ended under a write.
            ended = grpc.aio.AioRpcError | asyncio.InvalidStateError | None
            assert isinstance(writing.exception(), ended), writing.exception()
        status: grpc.StatusCode = await self._call.code()
        return status

    async def _write(self) -> None:
        while not self._stops:
            if self.in_flight < WINDOW + (self.since_drain is not None):
                await self._call.write(pb.EdgeMessage(frame=self._next_frame()))
                await asyncio.sleep(self._habits.rest_s)
            else:
                await self._something_new()
        while self._open:
            await self._something_new()
        if self.since_drain is not None:
            return  # the service ends the stream
        # What comes before the echo and is no news is an end too many.
        beat = pb.Heartbeat(id=1, settled_through=len(self._made))
        await self._call.write(pb.EdgeMessage(heartbeat=beat))
        await self._echoed.wait()
        await self._call.done_writing()

    async def _something_new(self) -> None:
        self._news.clear()
        await self._news.wait()

    def _next_frame(self) -> pb.Frame:
        sequence = len(self._made) + 1
        every = self._habits.poison_every
        made = next(self._poison if every and sequence % every == 0 else self._plain)
        self._made[sequence] = made
        self._open.add(sequence)
        return made.numbered(sequence, self._habits.deadline_ms)

    def _note(self, message: pb.CloudMessage) -> None:
        match message.WhichOneof("kind"):
            case "result":
                self._note_end(message.result.sequence, "result")
                made = self._made.get(message.result.sequence)
                self._wrong += made is None or not self._frames.is_right(message.result, made)
            case "error":
                assert message.error.sequence > 0, message
                self._note_end(message.error.sequence, pb.ErrorCode.Name(message.error.code))
            case "update":
                self.updates += 1
            case "drain":
                self.since_drain = Counter()
                if self._habits.heeds_drain:
                    self.stop()
                self._changed()
            case "heartbeat" if message.heartbeat.id:
                self._echoed.set()
        self._news.set()

    def _note_end(self, sequence: int, kind: str) -> None:
        self._ends.append((sequence, kind))
        self._open.discard(sequence)
        if self.since_drain is not None:
            self.since_drain[kind] += 1
        self._changed()


class Fleet:
    """The devices of one test."""

    def __init__(self) -> None:
        self.devices: list[BusyDevice] = []
        self.statuses: list[grpc.StatusCode] = []
        self._changed = asyncio.Event()

    def note(self) -> None:
        """A frame has ended, or the service says that it ends."""
        self._changed.set()

    def tally(self) -> Tally:
        """Of all that were sent."""
        return sum((device.tally() for device in self.devices), Tally(0, 0, 0, 0))

    def tally_of_read(self) -> Tally:
        """Of all that the service has read."""
        return sum((device.tally_of_read() for device in self.devices), Tally(0, 0, 0, 0))

    @property
    def failed(self) -> Counter[str]:
        """Errors in which frames have ended, by code."""
        return Counter(code for device in self.devices for code in device.failed.values())

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait for ends of frames until it has happened."""
        async with asyncio.timeout(PATIENCE_S):
            while not happened():
                self._changed.clear()
                await self._changed.wait()

    async def answered(self, count: int) -> None:
        """Wait until so many more frames have been answered."""
        enough = self.tally().cloud + count
        await self.until(lambda: self.tally().cloud >= enough)

    def stop(self) -> None:
        """No device sends any more."""
        for device in self.devices:
            device.stop()


@asynccontextmanager
async def fleet(address: str, frames: Frames, habits: Sequence[Habits]) -> AsyncIterator[Fleet]:
    """A device at work for each of these; at the end each stops, waits for what it has in flight,
    and leaves."""
    ships = Fleet()
    channels = [grpc.aio.insecure_channel(address, ALONE) for _ in habits]
    try:
        for channel, habit in zip(channels, habits, strict=True):
            call = SplitStub(channel).Stream()  # type: ignore[no-untyped-call]
            ships.devices.append(BusyDevice(call, frames, habit, ships.note))
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(device.greet() for device in ships.devices))
        working = [asyncio.create_task(device.work()) for device in ships.devices]
        try:
            yield ships
        finally:
            ships.stop()
            async with asyncio.timeout(PATIENCE_S):
                ships.statuses += await asyncio.gather(*working)
    finally:
        for channel in channels:
            await channel.close()
