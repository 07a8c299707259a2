"""One connection through the relay: the client's, and one of its own to the target."""

import asyncio
import contextlib
import socket

from isthmus_bench.relay.lane import Lane
from isthmus_bench.relay.pipe import BrokenByPeerError, Pipe
from isthmus_bench.relay.sockets import close_with_rst, fit_accepted, small_socket

__all__ = ["Connection"]


class Connection:
    """Joins an accepted client to the target until both streams have ended or one end breaks.

    Opening it (SYN) takes a packet each way over the lanes.
    """

    def __init__(
        self, client: socket.socket, target: tuple[str, int], uplink: Lane, downlink: Lane
    ) -> None:
        self._client = client
        self._target_address = target
        self._target = small_socket(target)
        self._uplink = uplink
        self._downlink = downlink
        self._carrying = asyncio.get_running_loop().create_task(self._carry())

    def silence(self) -> None:
        """Let nothing pass any more, neither bytes nor ends, until this connection is cancelled."""
        self._carrying.cancel()

    async def run(self) -> None:
        """Until it is over; when cancelled, both ends get an RST and what was under way is lost."""
        ended = False
        try:
            await asyncio.wait({self._carrying})  # not `await task`: whose cancelling was it?
            if self._carrying.cancelled():
                await asyncio.get_running_loop().create_future()
            ended = self._carrying.result()
        finally:
            self._carrying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._carrying
            for end in (self._client, self._target):
                end.close() if ended else close_with_rst(end)

    async def _carry(self) -> bool:
        """Whether both streams came to their ends; false if the connection is to be broken."""
        up, down, lost = self._uplink, self._downlink, set[socket.socket]()
        ended = True
        try:
            await self._open()
            async with asyncio.TaskGroup() as tasks:
                for pipe in (
                    Pipe(self._client, self._target, up, down, lost),
                    Pipe(self._target, self._client, down, up, lost),
                ):
                    tasks.create_task(pipe.read())
                    tasks.create_task(pipe.write())
        except* (OSError, BrokenByPeerError):
            ended = False
        return ended

    async def _open(self) -> None:
        fit_accepted(self._client)
        await self._uplink.carry_packet()
        try:
            await asyncio.get_running_loop().sock_connect(self._target, self._target_address)
        except OSError:  # a refusal takes as long to come back as a welcome
            await self._downlink.carry_packet()
            raise
        await self._downlink.carry_packet()
