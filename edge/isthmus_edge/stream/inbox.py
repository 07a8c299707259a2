"""What a connection brings, from its thread to the event loop."""

import asyncio

from isthmus.v1 import split_pb2 as pb
from isthmus_edge.stream.transport import Break

LONGEST_WAIT_S = 0.5  # a clock that is set back must not keep the time that is up from being seen

Item = pb.CloudMessage | Break

__all__ = ["Inbox", "Item"]


class Inbox:
    """Of one connection; made on the loop that reads it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[Item | None] = asyncio.Queue()

    def post(self, item: pb.CloudMessage | str | Break) -> None:
        """From any thread: a message, or how the connection ended."""
        if not self._loop.is_closed():
            given = item if isinstance(item, pb.CloudMessage) else Break.of(item)
            self._loop.call_soon_threadsafe(self._items.put_nowait, given)

    def wake(self) -> None:
        """From the loop: who waits for the next item gets None at once, to look at the time."""
        self._items.put_nowait(None)

    async def next(self, timeout_s: float) -> Item | None:
        """The next item, or None when the time is up: what has come is heeded before the clock."""
        if not self._items.empty():
            return self._items.get_nowait()
        try:
            async with asyncio.timeout(min(max(timeout_s, 0.0), LONGEST_WAIT_S)):
                return await self._items.get()
        except TimeoutError:
            return None
