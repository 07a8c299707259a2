"""The door for frames: as many places as the device's queue has, and shut once closing begins."""

import threading
from collections.abc import Callable

from isthmus import AgentClosedError, QueueFullError
from isthmus_edge.config import WhenFull

__all__ = ["Entrance"]


class Entrance:
    """Frames take one of `places` when they are handed in, and give it back when they begin.

    With "drop-oldest" there is always a place: the queue sees to its bound itself.
    """

    def __init__(self, places: int, when_full: WhenFull) -> None:
        self._places = places
        self._waits = when_full == "wait"
        self._is_bounded = when_full != "drop-oldest"
        self._free = threading.Semaphore(places)
        self._lock = threading.RLock()  # a signal handler may close what its thread enters
        self._is_closed = False

    def enter(self, hand_over: Callable[[], None], *, may_wait: bool) -> None:
        """Take a place, wait for one if need be, and hand a frame over.

        Raises QueueFullError where there is none and nobody waits for one, AgentClosedError once
        the door is shut. Nothing is handed over behind `close`.
        """
        self._take(may_wait=may_wait)
        try:
            with self._lock:
                if self._is_closed:
                    raise AgentClosedError("the agent is closed; open another one")
                hand_over()
        except AgentClosedError:
            self.give_back()  # who waits learns of the end, one after the other
            raise

    def give_back(self) -> None:
        """A frame has begun."""
        if self._is_bounded:
            self._free.release()

    @property
    def is_closed(self) -> bool:
        """Whether no frame is accepted any more."""
        return self._is_closed

    def close(self) -> None:
        """Let nobody in any more; idempotent."""
        with self._lock:
            self._is_closed = True
        self.give_back()

    def _take(self, *, may_wait: bool) -> None:
        if not self._is_bounded or self._free.acquire(blocking=self._waits and may_wait):
            return
        if self._waits:
            raise QueueFullError(
                f"{self._places} frames wait for the device already, and this is the agent's own "
                "thread (a callback of an answer or an event), which must not wait: submit from "
                "another thread, or allow more (max_queued)"
            )
        raise QueueFullError(
            f"{self._places} frames wait for the device already; try again later, "
            "allow more (max_queued), or let submit wait (when_full='wait')"
        )
