"""The frames that were accepted and not begun: first in, first out, and never without bound."""

import asyncio
from collections import deque

from isthmus_edge.stream.frame import Frame

__all__ = ["Waiting"]


class Waiting:
    """Who puts frames in sees to the bound, unless the stalest one may be dropped for it."""

    def __init__(self, capacity: int, *, drops_oldest: bool) -> None:
        self._capacity = capacity
        self._drops_oldest = drops_oldest
        self._frames: deque[Frame] = deque()
        self._some = asyncio.Event()

    def put(self, frame: Frame) -> Frame | None:
        """Queue a frame; the stalest one, if it had to go for it."""
        self._frames.append(frame)
        self._some.set()
        if self._drops_oldest and len(self._frames) > self._capacity:
            return self._frames.popleft()
        return None

    async def first(self) -> Frame:
        """The frame whose turn it is; it stays in the queue until it is taken."""
        while not self._frames:
            self._some.clear()
            await self._some.wait()
        return self._frames[0]

    def take(self, frame: Frame) -> bool:
        """Begin this frame; False if it has been dropped meanwhile."""
        if not self._frames or self._frames[0] is not frame:
            return False
        self._frames.popleft()
        return True

    def remove(self, sequence: int) -> Frame | None:
        """The frame of this number, which is not begun any more; None if it is not here."""
        for frame in self._frames:
            if frame.sequence == sequence:
                self._frames.remove(frame)
                return frame
        return None
