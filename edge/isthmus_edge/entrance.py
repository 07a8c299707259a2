"""The door for frames: as many places as the device's queue has, and shut once closing begins."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from isthmus import AgentClosedError, QueueFullError
from isthmus_edge.config import WhenFull

__all__ = ["Entrance"]

Place = Future[None]  # done as soon as it is had


class Entrance:
    """Frames take one of `places` when they are handed in, and give it back when they begin.

    With "drop-oldest" there is always a place: the queue sees to its bound itself.
    """

    def __init__(self, places: int, when_full: WhenFull) -> None:
        self._places = places
        self._waits = when_full == "wait"
        self._is_bounded = when_full != "drop-oldest"
        self._free = places
        self._queue: deque[Place] = deque()
        self._lock = threading.RLock()  # a signal handler may close what its thread enters
        self._is_closed = False

    def enter(self, hand_over: Callable[[], None], *, may_wait: bool) -> None:
        """Take a place, wait for one if need be, and hand a frame over.

        Raises QueueFullError where there is none and nobody waits for one, AgentClosedError once
        the door is shut. Nothing is handed over behind `close`.
        """
        place = self._asked(may_wait=may_wait)
        try:
            place.result()
        except BaseException:  # such as a KeyboardInterrupt
            self._leave(place)
            raise
        self._go_in(place, hand_over)

    async def enter_async(self, hand_over: Callable[[], None]) -> None:
        """Like `enter`, from any event loop, which goes on meanwhile."""
        place = self._asked(may_wait=True)
        try:
            await asyncio.wrap_future(place)
        except BaseException:  # such as a cancellation
            self._leave(place)
            raise
        self._go_in(place, hand_over)

    def give_back(self) -> None:
        """A frame has begun, or will not: who waits longest has its place."""
        with self._lock:
            while self._queue:
                place = self._queue.popleft()
                if place.set_running_or_notify_cancel():
                    place.set_result(None)
                    return
            self._free += 1

    @property
    def is_closed(self) -> bool:
        """Whether no frame is accepted any more."""
        return self._is_closed

    def close(self) -> None:
        """Let nobody in any more; idempotent."""
        with self._lock:
            self._is_closed = True
            while self._queue:  # who waits learns of the end
                self.give_back()

    def _asked(self, *, may_wait: bool) -> Place:
        place: Place = Future()
        with self._lock:
            if not self._is_bounded or self._is_closed:
                place.set_result(None)
            elif self._free > 0:
                self._free -= 1
                place.set_result(None)
            elif self._waits and may_wait:
                self._queue.append(place)
                if self.is_closed:  # by a signal handler, just now
                    self.close()
            else:
                raise QueueFullError(self._why_full())
        return place

    def _leave(self, place: Place) -> None:
        """Whoever waited for it does so no more."""
        if self._is_bounded and not place.cancel():
            self.give_back()

    def _go_in(self, place: Place, hand_over: Callable[[], None]) -> None:
        with self._lock:
            if self._is_closed:
                raise AgentClosedError("the agent is closed; open another one")
            hand_over()

    def _why_full(self) -> str:
        if self._waits:
            return (
                f"{self._places} frames wait for the device already, and this is the agent's own "
                "thread (a callback of an answer or an event), which must not wait: submit from "
                "another thread, or allow more (max_queued)"
            )
        return (
            f"{self._places} frames wait for the device already; try again later, "
            "allow more (max_queued), or let submit wait (when_full='wait')"
        )
