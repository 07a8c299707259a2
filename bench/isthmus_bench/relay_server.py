"""The relay's sockets: every connection to it is carried to the target over an emulated link.

One `Lane` per direction is shared by all connections, as the bottleneck of a real link is. Each
direction of a connection is a `_Pipe`: read a chunk, wait until the lane has served it, hold it for
half the round trip time, write it. Opening (SYN), closing (FIN) and breaking (RST) a connection
are packets like any other: they queue, they are delayed, and a black hole swallows them too.
"""

import asyncio
import contextlib
import math
import socket
import struct
from dataclasses import dataclass

from isthmus.errors import ConfigError
from isthmus_bench.shaping import ConstantRate, LinkShape, RateHistory, arrival_s, chunk_bytes

__all__ = ["EmulatedLink", "open_listener"]

# What a sender may have standing before the link, twice this in Linux's counting: the smallest that
# still carried 200 Mbit/s on a busy machine.
_RECEIVE_BUFFER_BYTES = 16384
_SEND_BUFFER_BYTES = 65536
_HEADER_BYTES = 40
# Bytes under way in one direction of one connection: 200 Mbit/s for 160 ms. Past that the target
# is not reading, and the sender must feel it.
_DELAY_LINE_BYTES = 4 * 1024 * 1024


class Lane:
    """One direction of the link: a first-come-first-served queue at the rate of the moment."""

    def __init__(self, bps: float, delay_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._history = RateHistory(ConstantRate(bps))
        self._turn = asyncio.Lock()
        self._changed = self._loop.create_future()
        self._free_s = -math.inf
        self.delay_s = delay_s

    def change(self, bps: float, delay_s: float) -> None:
        """In force at once, also for the chunk that is being served."""
        self._history.change(self._loop.time(), ConstantRate(bps))
        self.delay_s = delay_s
        self._changed.set_result(None)
        self._changed = self._loop.create_future()

    def chunk_bytes(self) -> int:
        """How much to read from a socket at the present rate."""
        return chunk_bytes(self._history.bps_at(self._loop.time()))

    async def carry(self, size_bytes: int, arrived_s: float) -> float:
        """Wait for the turn of these bytes and until they have left; the time of leaving."""
        async with self._turn:
            start_s = max(self._free_s, arrived_s)
            while True:
                departure_s = self._history.departure_s(start_s, 8 * size_bytes)
                wait_s = departure_s - self._loop.time()
                if wait_s <= 0:
                    break
                timeout_s = None if math.isinf(wait_s) else wait_s
                await asyncio.wait({self._changed}, timeout=timeout_s)
            self._free_s = departure_s
        return departure_s

    async def carry_packet(self) -> None:
        """Carry one packet without payload to the far end."""
        departure_s = await self.carry(_HEADER_BYTES, self._loop.time())
        await asyncio.sleep(departure_s + self.delay_s - self._loop.time())


class EmulatedLink:
    """Listens, and joins every accepted connection to one of its own to the target."""

    def __init__(self, target: tuple[str, int], shape: LinkShape) -> None:
        self._target = target
        self._uplink = Lane(shape.uplink_bps, shape.rtt_ms / 2000)
        self._downlink = Lane(shape.downlink_bps, shape.rtt_ms / 2000)
        self._connections: set[asyncio.Task[None]] = set()

    def shape(self, shape: LinkShape) -> None:
        """Change the link under all connections."""
        self._uplink.change(shape.uplink_bps, shape.rtt_ms / 2000)
        self._downlink.change(shape.downlink_bps, shape.rtt_ms / 2000)

    async def reset(self) -> None:
        """Break every connection with an RST on both sides; what was under way is lost."""
        broken = list(self._connections)
        for connection in broken:
            connection.cancel()
        await asyncio.gather(*broken, return_exceptions=True)

    async def accept(self, listener: socket.socket) -> None:
        """Serve a listening socket for ever."""
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(listener)
            connection = loop.create_task(self._join(client))
            self._connections.add(connection)
            connection.add_done_callback(self._connections.discard)

    async def _join(self, client: socket.socket) -> None:
        target = _small_socket(self._target)
        up, down, lost = self._uplink, self._downlink, set[socket.socket]()
        done = False
        try:
            await self._open(client, target)
            async with asyncio.TaskGroup() as tasks:
                for pipe in (
                    _Pipe(client, target, up, down, lost),
                    _Pipe(target, client, down, up, lost),
                ):
                    tasks.create_task(pipe.read())
                    tasks.create_task(pipe.write())
            done = True
        except* (OSError, _BrokenError):
            pass  # the finally clause tells both ends, with an RST
        finally:
            for end in (client, target):
                if not done:
                    _make_close_abort(end)
                end.close()

    async def _open(self, client: socket.socket, target: socket.socket) -> None:
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        await self._uplink.carry_packet()
        try:
            await asyncio.get_running_loop().sock_connect(target, self._target)
        finally:  # a refusal takes as long to come back as a welcome
            await self._downlink.carry_packet()


class _BrokenError(Exception):
    """The news that one end broke the connection has reached the other end."""


@dataclass(frozen=True, slots=True)
class _Parcel:
    """A chunk under way; empty for the end of the stream, `None` for a broken connection."""

    due_s: float
    data: bytes | None


class _Pipe:
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
            departed_s = await self._lane.carry(len(data or b"") or _HEADER_BYTES, arrived_s)
            due_s = max(departed_s, read_s) + self._lane.delay_s
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
                raise _BrokenError
            try:
                if not parcel.data:
                    return self._sink.shutdown(socket.SHUT_WR)
                await self._loop.sock_sendall(self._sink, parcel.data)
            except OSError as error:  # the source hears of it over the link
                self._lost.add(self._sink)
                await self._back.carry_packet()
                raise _BrokenError from error
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


def open_listener(host: str, port: int) -> socket.socket:
    """A listening socket whose connections inherit its small receive buffer.

    Raises `ConfigError` if the address cannot be had.
    """
    listener = _small_socket((host, port))
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"relay: cannot listen on {host}:{port} ({error.strerror}); give an address of this"
            " machine with a free port, or port 0 to have one picked"
        ) from error
    return listener


def _small_socket(address: tuple[str, int]) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    small = socket.socket(family, socket.SOCK_STREAM)
    small.setblocking(False)
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    small.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    small.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return small


def _make_close_abort(end: socket.socket) -> None:
    """Lingering for zero seconds makes close() send an RST."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
