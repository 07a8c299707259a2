"""A small board, imitated: every piece of the device's work takes `factor` times its CPU time.

CPU time of the working thread, not wall time, is what is multiplied, so that other work on this
machine (the cloud's, above all) does not count as the board's; the rest is slept away, which leaves
the processor to the cloud, as if the board were a machine of its own. cgroup quotas do the same
more roughly, and only for root.
"""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

__all__ = ["SlowBoard"]


class SlowBoard:
    """A `Pace` for the agent; the work must run on one thread."""

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def run(self, work: Callable[[], Result]) -> tuple[Result, float]:
        """The result of `work()` and the time it takes on the board, in ms."""
        begin, cpu_begin = time.perf_counter(), time.thread_time()
        result = work()
        takes_s = (time.thread_time() - cpu_begin) * self._factor
        remaining_s = takes_s - (time.perf_counter() - begin)
        if remaining_s > 0:
            time.sleep(remaining_s)
        return result, takes_s * 1e3
