"""A timer that follows a session: it goes off when something may have run out."""

import asyncio
from collections.abc import Callable

__all__ = ["Alarm"]


class Alarm:
    """Calls `ring` with the loop's time when that of `wakes_at` has come.

    A time that moves later needs no call: the alarm then goes off in vain and is set again. One
    that moves earlier does (`set`).
    """

    def __init__(self, wakes_at: Callable[[], float], ring: Callable[[float], None]) -> None:
        self._wakes_at = wakes_at
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None

    def set(self) -> None:
        """Ask `wakes_at` again; nothing goes off where it is infinite."""
        self.stop()
        at = self._wakes_at()
        if at < float("inf"):
            self._handle = asyncio.get_running_loop().call_at(at, self._go_off)

    def stop(self) -> None:
        """Nothing goes off until the next `set`."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _go_off(self) -> None:
        self._ring(asyncio.get_running_loop().time())
        self.set()
