"""A simulated device on the split stream: the real session, recorded frames, real heartbeats."""

import asyncio
from collections.abc import Iterable
from typing import TypeAlias

import grpc

from isthmus import LinkError
from isthmus.session import (
    Answered,
    DeviceEvent,
    DeviceSession,
    Echoed,
    Failed,
    Identity,
    Lost,
    Refused,
    Welcomed,
)
from isthmus.v1 import split_pb2 as pb
from isthmus.v1.split_pb2_grpc import SplitStub
from isthmus_bench.serve.recorded import Item
from isthmus_bench.serve.talkers import OPEN_S, OPTIONS, Listener, connected, hang_up
from isthmus_bench.serve.tally import ANSWER

SILENCE_S = 60.0  # a service under such loads may be slow to echo; that is no dead link

Call: TypeAlias = "grpc.aio.StreamStreamCall[pb.EdgeMessage, pb.CloudMessage]"

__all__ = ["SplitTalker"]


class SplitTalker:
    """One session on one stream. It beats as a device does and rests when it is asked to; when the
    stream is over, it stays so."""

    def __init__(self, address: str, identity: Identity, window: int, listener: Listener) -> None:
        self._loop = asyncio.get_running_loop()
        self._window, self._listener = window, listener
        self._session = DeviceSession(identity, SILENCE_S)
        self._channel = grpc.aio.insecure_channel(address, OPTIONS)
        self._outbox: asyncio.Queue[pb.EdgeMessage | None] = asyncio.Queue()
        self._items: dict[int, Item] = {}
        self._welcome: asyncio.Future[None] = self._loop.create_future()
        self._tasks: list[asyncio.Task[None]] = []
        self._beat: asyncio.TimerHandle | None = None
        self._rest_until = 0.0
        self.is_over = False
        self.echoes = 0

    @property
    def credits(self) -> int:
        """See `Talker`."""
        if self._loop.time() < self._rest_until:
            return 0
        return min(self._window - len(self._items), self._session.credits)

    async def open(self) -> None:
        """See `Talker`: until the Welcome."""
        await connected(self._channel)
        call: Call = SplitStub(self._channel).Stream()  # type: ignore[no-untyped-call]
        self._put(self._session.connect(self._loop.time()))
        self._tasks = [asyncio.create_task(each) for each in (self._write(call), self._read(call))]
        try:
            await asyncio.wait_for(self._welcome, OPEN_S)
        except TimeoutError as error:
            raise LinkError(f"no Welcome within {OPEN_S:g} s") from error
        self._beat_in_time()

    def send(self, number: int, item: Item) -> None:
        """See `Talker`."""
        frame = pb.Frame.FromString(item.frame)
        frame.sequence = number
        self._items[number] = item
        self._put(self._session.send(frame))

    async def close(self) -> None:
        """See `Talker`."""
        if self._beat is not None:
            self._beat.cancel()
        await hang_up(self._tasks, self._channel)

    def _put(self, message: pb.EdgeMessage | None) -> None:
        self._outbox.put_nowait(message)

    def _beat_in_time(self) -> None:
        now = self._loop.time()
        if self.is_over:
            return
        if self._session.wants_beat(now):
            self._put(self._session.beat(now))
        self._heed(self._session.tick(now))
        if not self.is_over:
            self._beat = self._loop.call_at(self._session.wakes_at(), self._beat_in_time)

    async def _write(self, call: Call) -> None:
        try:
            while (message := await self._outbox.get()) is not None:
                await call.write(message)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the reader tells why the stream is over
        else:
            await call.done_writing()

    async def _read(self, call: Call) -> None:
        reason = "the service ended the stream"
        try:
            async for message in call:
                self._heed(self._session.received(message, self._loop.time()))
        except grpc.aio.AioRpcError as error:
            reason = f"{error.code().name}: {error.details()}"
        self._heed(self._session.lost(reason))

    def _heed(self, events: Iterable[DeviceEvent]) -> None:
        for event in events:
            match event:
                case Answered(sequence, result):
                    is_right = self._items.pop(sequence).is_answer(result.outputs[0].payload)
                    self._listener.ended(sequence, ANSWER, is_right, result.timing)
                case Failed(sequence, code, _, retry_after_s):
                    del self._items[sequence]
                    self._rest(retry_after_s)
                    self._listener.ended(sequence, code, True, None)
                case Echoed():
                    self.echoes += 1
                    self._listener.noticed()
                case Welcomed():
                    self._welcome.set_result(None)
                case Lost(reason) | Refused(_, reason):
                    self._over(reason)

    def _rest(self, seconds: float) -> None:
        """Send nothing for so long: the service has asked for it."""
        if seconds > 0:
            self._rest_until = self._loop.time() + seconds
            self._loop.call_at(self._rest_until, self._listener.noticed)

    def _over(self, reason: str) -> None:
        self.is_over = True
        if not self._welcome.done():
            self._welcome.set_exception(LinkError(reason))
        self._put(None)
        self._listener.noticed()
