"""A small board, imitated: every piece of the device's work takes `factor` times its CPU time.

CPU time of the working thread counts, not wall time, so that other work on this machine (the
cloud's, above all) is not the board's; the rest is slept away, which leaves the processor to the
cloud, as if the board were a machine of its own. And it is the median CPU time of the recent work
of that kind, because a board of its own would not feel how this machine's caches and clocks waver.
Nor would it become slower when this machine does: whoever times the same work now and then can say
so, and the board keeps the speed that it had.
cgroup quotas do the same more roughly, and only for root.
"""

import time
from collections import defaultdict, deque
from collections.abc import Callable
from statistics import median
from typing import TypeVar

from isthmus_edge.device.calloff import CallOff

Result = TypeVar("Result")

__all__ = ["SlowBoard"]

_RECENT = 31


class SlowBoard:
    """A `Pace` for the agent; the work must run on one thread."""

    def __init__(self, factor: float) -> None:
        self._factor, self._drift = factor, 1.0
        self._cpu_s: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_RECENT))

    def keep_speed(self, drift: float) -> None:
        """From now on this machine takes `drift` times as long as when `factor` was right."""
        self._drift = drift

    def run(
        self, kind: str, work: Callable[[], Result], call_off: CallOff | None = None
    ) -> tuple[Result, float]:
        """The result of `work()` and the time it takes on the board, in ms."""
        begin, cpu_begin = time.perf_counter(), time.thread_time()
        result = work()
        self._cpu_s[kind].append((time.thread_time() - cpu_begin) / self._drift)
        takes_s = median(self._cpu_s[kind]) * self._factor
        remaining_s = takes_s - (time.perf_counter() - begin)
        if remaining_s > 0:
            pause = time.sleep if call_off is None else call_off.pause
            pause(remaining_s)
        return result, takes_s * 1e3
