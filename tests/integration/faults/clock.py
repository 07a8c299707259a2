"""A monotonic clock that jumps, for everything in this process that asks Python's `time`.

It moves the event loop's clock too. What waits inside the C library is not moved: a kernel's timers
would not be either.
"""

import signal
import time
from collections.abc import Callable

JUMP_S = 5 * 3600
AHEAD, BACK = signal.SIGUSR2, signal.SIGHUP

__all__ = ["AHEAD", "BACK", "JUMP_S", "Clock"]


class Clock:
    """Put in place of the real one when it is made; jumps by `JUMP_S` at the signals."""

    def __init__(self) -> None:
        self._ahead_ns = 0
        self._ns: Callable[[], int] = time.monotonic_ns
        for name, clock in (("monotonic", self._now_s), ("monotonic_ns", self._now_ns)):
            setattr(time, name, clock)
        signal.signal(AHEAD, lambda *_: self._jump(JUMP_S))
        signal.signal(BACK, lambda *_: self._jump(-JUMP_S))

    def _jump(self, ahead_s: int) -> None:
        self._ahead_ns += ahead_s * 10**9

    def _now_ns(self) -> int:
        return self._ns() + self._ahead_ns

    def _now_s(self) -> float:
        return self._now_ns() / 1e9
