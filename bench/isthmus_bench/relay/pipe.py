"""One direction of one connection: read a chunk, let the lane serve and delay it, write it.

Closing (FIN) and breaking (RST) a connection are packets like any other: they queue, they are
delayed, and a black hole swallows them too.
"""

import asyncio
import socket
from dataclasses import dataclass

from isthmus_bench.relay.lane import HEADER_BYTES, Lane
from isthmus_bench.relay.rates import arrival_s

__all__ = ["BrokenByPeerError", "Pipe"]

# Bytes under way in one direction of one connection: 200 Mbit/s for 160 ms. Past that the target
# is not reading, and the sender must feel it.
_DELAY_LINE_BYTES = 4 * 1024 * 1024


class BrokenByPeerError(Exception):
    """The news that one end broke the connection has reached the other end."""


@dataclass(frozen=True, slots=True)
class _Parcel:
    """A chunk under way; empty for the end of the stream, `None` for a broken connection."""

    due_s: float
    data: bytes | None


class Pipe:
    """One direction of one connection.

    `back` is the lane of the other direction; `lost` names the ends that could not be written to,
    because after that the kernel shows a broken connection to its reader as one that just ended.
    """

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        lane: Lane,
        back: Lane,
        lost: set[socket.socket],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._source = source
        self._sink = sink
        self._lane = lane
        self._back = back
        self._lost = lost
        self._parcels: asyncio.Queue[_Parcel] = asyncio.Queue()
        self._held_bytes = 0
        self._room = asyncio.Event()

    async def read(self) -> None:
        """Take chunks from the source and put them on the link until its stream ends."""
        departed_s: float | None = None
        data: bytes | None = b"-"
        while data:
            data, lay_ready = await self._receive()
            read_s = self._loop.time()
            arrived_s = arrival_s(read_s, departed_s if lay_ready else None)
            departed_s = await self._lane.carry(len(data or b"") or HEADER_BYTES, arrived_s)
            due_s = self._lane.due_s(max(departed_s, read_s))
            self._parcels.put_nowait(_Parcel(due_s, data))
            await self._wait_for_room(len(data or b""))

    async def write(self) -> None:
        """Give the sink what has travelled long enough."""
        while True:
            parcel = await self._parcels.get()
            wait_s = parcel.due_s - self._loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            if parcel.data is None:
                raise BrokenByPeerError
            try:
                if not parcel.data:
                    return self._sink.shutdown(socket.SHUT_WR)
                await self._loop.sock_sendall(self._sink, parcel.data)
            except OSError as error:  # the source hears of it over the link
                self._lost.add(self._sink)
                await self._back.carry_packet()
                raise BrokenByPeerError from error
            self._held_bytes -= len(parcel.data)
            self._room.set()

    async def _receive(self) -> tuple[bytes | None, bool]:
        """The next chunk, and whether it lay ready."""
        size_bytes = self._lane.chunk_bytes()
        lay_ready = True
        try:
            try:
                data = self._source.recv(size_bytes)
            except BlockingIOError:
                lay_ready = False
                data = await self._loop.sock_recv(self._source, size_bytes)
        except OSError:
            return None, lay_ready
        return (None if not data and self._source in self._lost else data), lay_ready

    async def _wait_for_room(self, size_bytes: int) -> None:
        self._held_bytes += size_bytes
        await asyncio.sleep(0)  # an unshaped lane never waits: let the others have their turn
        while self._held_bytes > _DELAY_LINE_BYTES:
            self._room.clear()
            await self._room.wait()
