"""What one stream has still to say, but for the frames' outcomes."""

import asyncio
from collections import deque

from isthmus.v1 import split_pb2 as pb

__all__ = ["Outbox"]


class Outbox:
    """Messages, oldest first; one task puts and waits for room, another takes."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._messages: deque[pb.CloudMessage] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        """Nothing waits to be written."""
        return not self._messages

    def put(self, message: pb.CloudMessage) -> None:
        """Add a message; whoever can wait asks for `room` first."""
        self._messages.append(message)
        self.wake()

    async def room(self) -> None:
        """Wait until less than the places are taken."""
        while len(self._messages) >= self._places:
            self._room.clear()
            await self._room.wait()

    def take(self) -> pb.CloudMessage | None:
        """The oldest message, if there is one."""
        self._room.set()
        return self._messages.popleft() if self._messages else None

    def clear(self) -> None:
        """Nobody is to read what waits here."""
        self._messages.clear()

    def wake(self) -> None:
        """There is something to look at, here or elsewhere."""
        self._news.set()

    async def changed(self) -> None:
        """Wait for the next `wake`."""
        self._news.clear()
        await self._news.wait()
