"""The relay's inside: every connection to it is carried to the target over an emulated link.

One `Lane` per direction is shared by all connections, as the bottleneck of a real link is.
"""

import asyncio
import socket
from typing import Literal

from isthmus_bench.relay.connection import Connection
from isthmus_bench.relay.delay import Delay
from isthmus_bench.relay.lane import Lane
from isthmus_bench.relay.rates import ConstantRate, Rate
from isthmus_bench.relay.shape import LinkShape
from isthmus_bench.relay.sockets import close_with_rst

__all__ = ["DIRECTIONS", "Direction", "EmulatedLink"]

Direction = Literal["uplink", "downlink"]
DIRECTIONS: tuple[Direction, ...] = ("uplink", "downlink")

_MOST_CONNECTIONS = 400  # two sockets each, and select() stops at 1024


class EmulatedLink:
    """Listens, and joins every accepted connection to one of its own to the target."""

    def __init__(self, target: tuple[str, int], shape: LinkShape) -> None:
        self._target = target
        begin_s = asyncio.get_running_loop().time()
        self._lanes = {
            direction: Lane(ConstantRate(bps), Delay(shape, index, begin_s))
            for index, (direction, bps) in enumerate(
                zip(DIRECTIONS, (shape.uplink_bps, shape.downlink_bps), strict=True)
            )
        }
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._is_half_open = False
        self._refuses = False

    def carried_bytes(self) -> dict[Direction, int]:
        """What each direction has carried so far, of all connections (`Lane.carried_bytes`)."""
        return {direction: lane.carried_bytes for direction, lane in self._lanes.items()}

    def set_rate(self, direction: Direction, rate: Rate) -> None:
        """Change the rate of one direction under all connections."""
        self._lanes[direction].set_rate(rate)

    def set_delay(self, shape: LinkShape) -> None:
        """Change round trip time, jitter and stalls to those of `shape`."""
        begin_s = asyncio.get_running_loop().time()
        for index, direction in enumerate(DIRECTIONS):
            self._lanes[direction].set_delay(Delay(shape, index, begin_s))

    def set_half_open(self, on: bool) -> None:
        """Silence every connection, old and new; they stay silent when it is switched off."""
        self._is_half_open = on
        if on:
            for connection in self._connections.values():
                connection.silence()

    def set_refuse(self, on: bool) -> None:
        """Break new connections as soon as they are made; the others go on."""
        self._refuses = on

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
            if self._refuses or len(self._connections) >= _MOST_CONNECTIONS:
                close_with_rst(client)
            else:
                self._join(client)

    def _join(self, client: socket.socket) -> None:
        connection = Connection(
            client, self._target, self._lanes["uplink"], self._lanes["downlink"]
        )
        running = asyncio.get_running_loop().create_task(connection.run())
        self._connections[running] = connection
        running.add_done_callback(self._connections.pop)
        if self._is_half_open:
            connection.silence()
