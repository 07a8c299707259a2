"""A monotonic clock that jumps, for everything in this process that asks Python's `time`.

It moves the clock of asyncio's own event loops too. What waits inside the C library is not moved (a
kernel's timers would not be either), nor is uvloop, which asks the C library what time it is: where
that is used, `cloud_process.py` puts asyncio's own loop in its place.
"""

import os
import signal
import time
from collections.abc import Callable

JUMP_S = 5 * 3600
# SIGHUP is the service's own, and service_process.py has the three before BACK.
AHEAD, BACK = signal.SIGUSR2, signal.SIGRTMIN + 3
JUMPED = "the clock jumped by "

__all__ = ["AHEAD", "BACK", "JUMPED", "JUMP_S", "Clock"]


class Clock:
    """Put in place of the real one when it is made; jumps by `JUMP_S` at the signals, and says so
    in a line that begins with `JUMPED`."""

    def __init__(self) -> None:
        self._ahead_ns = 0
        self._ns: Callable[[], int] = time.monotonic_ns
        for name, clock in (("monotonic", self._now_s), ("monotonic_ns", self._now_ns)):
            setattr(time, name, clock)
        signal.signal(AHEAD, lambda *_: self._jump(JUMP_S))
        signal.signal(BACK, lambda *_: self._jump(-JUMP_S))

    def _jump(self, ahead_s: int) -> None:
        self._ahead_ns += ahead_s * 10**9
        # Not by `print`: the signal may have come in the middle of one.
        os.write(1, f"{JUMPED}{ahead_s} s\n".encode())

    def _now_ns(self) -> int:
        return self._ns() + self._ahead_ns

    def _now_s(self) -> float:
        return self._now_ns() / 1e9
